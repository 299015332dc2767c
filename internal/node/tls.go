package node

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"

	"onair/internal/fault"
)

// TLSConfig is the server's certificate, for every listener that speaks TLS.
type TLSConfig struct {
	Cert string `name:"tls-cert" default:"" help:"File with the certificate and its chain, in PEM. It is read again when it changes."`
	Key  string `name:"tls-key" default:"" help:"File with the certificate's private key, in PEM."`
}

// Validate reports what cannot work.
func (c TLSConfig) Validate() error {
	if (c.Cert == "") != (c.Key == "") {
		key := "tls-cert"
		if c.Key == "" {
			key = "tls-key"
		}
		return fault.New(fault.Invalid, "set", key, "it is empty, and its counterpart is not",
			"Give both --tls-cert and --tls-key, or neither.")
	}
	return nil
}

// certificateAge is how long a certificate is used before its files are looked at again.
const certificateAge = 10 * time.Second

// certificate serves a key pair from files, and serves the new one once they change: a
// certificate is renewed without a restart.
type certificate struct {
	cfg TLSConfig
	log *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate
	changed time.Time // of the newer of the two files, when pair was read
	looked  time.Time
}

// tlsConfig returns nil when no certificate is configured.
func tlsConfig(cfg TLSConfig, log *slog.Logger) (*tls.Config, error) {
	if cfg.Cert == "" {
		return nil, nil
	}
	c := &certificate{cfg: cfg, log: log}
	if err := c.read(); err != nil {
		return nil, fault.Wrap(fault.Invalid, "read the certificate", cfg.Cert, err,
			"Give PEM files that belong together with --tls-cert and --tls-key.")
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}, nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) >= certificateAge {
		if err := c.read(); err != nil {
			c.log.Warn("the certificate's files have changed and cannot be used; the old one stays", "error", err)
		}
	}
	return c.pair, nil
}

// read takes the files if they have changed. What is there stays if they are unusable.
func (c *certificate) read() error {
	c.looked = time.Now()
	var newest time.Time
	for _, name := range []string{c.cfg.Cert, c.cfg.Key} {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		if info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	if c.pair != nil && newest.Equal(c.changed) {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.cfg.Cert, c.cfg.Key)
	if err != nil {
		return err
	}
	c.pair, c.changed = &pair, newest
	return nil
}
