package node

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"onair/internal/control/auth"
	"onair/internal/control/golive"
)

// multitrack plugs auth and the addresses of the ports into what OBS asks before it
// sends several renditions.
type multitrack struct {
	auth        *auth.Auth
	publicURL   string
	rtmp, rtmps int // ports; 0 is off
}

// stream implements golive.Deps.Stream.
func (m multitrack) stream(ctx context.Context, r *http.Request, key string) (golive.Stream, error) {
	s, err := m.auth.StreamByKey(ctx, key)
	if err != nil {
		return golive.Stream{}, err
	}
	out := golive.Stream{Limits: golive.Limits{
		Enabled: !s.Multitrack.Disabled, MaxTracks: s.Multitrack.MaxVideoTracks, MaxBitrate: int(s.Multitrack.MaxBitrate / 1000),
	}}
	host := m.host(r)
	add := func(protocol, scheme string, port, usual int) {
		if port == 0 {
			return
		}
		at := host
		if port != usual {
			at = net.JoinHostPort(host, strconv.Itoa(port))
		}
		out.Endpoints = append(out.Endpoints, golive.Endpoint{Protocol: protocol, URLTemplate: scheme + "://" + at + "/live/{stream_key}"})
	}
	add("RTMPS", "rtmps", m.rtmps, 443)
	add("RTMP", "rtmp", m.rtmp, 1935)
	return out, nil
}

// host is the name by which the encoder reached the server.
func (m multitrack) host(r *http.Request) string {
	if u, err := url.Parse(m.publicURL); err == nil && u.Host != "" {
		return u.Hostname()
	}
	if host, _, err := net.SplitHostPort(r.Host); err == nil {
		return host
	}
	return r.Host
}
