package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/fault"
)

// writeCertificate writes a self-signed key pair whose serial number is n.
func writeCertificate(t *testing.T, dir string, n int64, at time.Time) TLSConfig {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := TLSConfig{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	for name, block := range map[string]*pem.Block{
		cfg.Cert: {Type: "CERTIFICATE", Bytes: der},
		cfg.Key:  {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return cfg
}

// A renewed certificate is served without a restart, and a broken one is not.
func TestCertificateIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		cfg := writeCertificate(t, dir, 1, time.Unix(1000, 0))
		conf, err := tlsConfig(cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		serial := func() int64 {
			pair, err := conf.GetCertificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := x509.ParseCertificate(pair.Certificate[0])
			if err != nil {
				t.Fatal(err)
			}
			return leaf.SerialNumber.Int64()
		}
		writeCertificate(t, dir, 2, time.Unix(2000, 0))
		if got := serial(); got != 1 {
			t.Errorf("the certificate was looked at too early: %d", got)
		}
		time.Sleep(certificateAge)
		if got := serial(); got != 2 {
			t.Errorf("certificate %d is served after the files changed, want 2", got)
		}
		if err := os.WriteFile(cfg.Cert, []byte("no certificate"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(certificateAge)
		if got := serial(); got != 2 {
			t.Errorf("certificate %d is served after the files broke, want 2", got)
		}
	})
}

func TestCertificateMistakes(t *testing.T) {
	if err := (TLSConfig{Cert: "a.pem"}).Validate(); !fault.Is(err, fault.Invalid) {
		t.Errorf("a certificate without a key: %v", err)
	}
	if _, err := tlsConfig(TLSConfig{Cert: "/nowhere/c.pem", Key: "/nowhere/k.pem"}, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("files that are not there: %v", err)
	}
	if conf, err := tlsConfig(TLSConfig{}, nil); conf != nil || err != nil {
		t.Errorf("no certificate: %v, %v", conf, err)
	}
}
