package rtmp

import (
	"context"
	"crypto/tls"
	"net"
	"net/url"

	"onair/internal/media"
)

// Dialer connects to RTMP and RTMPS servers. The zero value is ready.
type Dialer struct {
	// Net makes the TCP connection; its Control may refuse addresses.
	Net net.Dialer
	// TLS holds the settings of rtmps:// addresses, such as the authorities to trust;
	// nil for the system's. The server's certificate is verified for its host.
	TLS *tls.Config
}

// DialPublish connects to rtmp://HOST[:PORT]/APP/KEY (or rtmps://) and publishes; see
// Dialer.Publish.
func DialPublish(ctx context.Context, address string, tracks ...*media.Track) (*Publisher, error) {
	return Dialer{}.Publish(ctx, address, tracks...)
}

// DialPlay connects to rtmp://HOST[:PORT]/APP/NAME (or rtmps://) and plays; see
// Dialer.Play.
func DialPlay(ctx context.Context, address string) (*Player, error) {
	return Dialer{}.Play(ctx, address)
}

func (d Dialer) connect(ctx context.Context, u *url.URL) (net.Conn, error) {
	port := u.Port()
	if u.Scheme == "rtmps" {
		if port == "" {
			port = defaultTLSPort
		}
		settings := &tls.Config{}
		if d.TLS != nil {
			settings = d.TLS.Clone()
		}
		if settings.ServerName == "" {
			settings.ServerName = u.Hostname()
		}
		settings.MinVersion = max(settings.MinVersion, tls.VersionTLS12)
		secure := tls.Dialer{NetDialer: &d.Net, Config: settings}
		return secure.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	}
	if port == "" {
		port = defaultPort
	}
	return d.Net.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
}
