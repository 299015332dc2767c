package bucket_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"onair/internal/fault"
	"onair/internal/record"
	"onair/internal/record/bucket"
	"onair/internal/record/recordtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(s *recordtest.Server) bucket.Config {
	cfg := bucket.DefaultConfig()
	cfg.Endpoint, cfg.Bucket, cfg.AccessKey, cfg.SecretKey = s.Endpoint, s.Bucket, s.AccessKey, bucket.Secret(s.SecretKey)
	return cfg
}

func open(t testing.TB, cfg bucket.Config) *bucket.Bucket {
	t.Helper()
	b, err := bucket.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func TestBucketIsAStorage(t *testing.T) {
	s := recordtest.NewServer(t)
	n := new(atomic.Int64)
	recordtest.Storage(t, func(t *testing.T) record.Storage {
		cfg := config(s)
		cfg.Prefix = "folder/" + strconv.FormatInt(n.Add(1), 10) + "/"
		return open(t, cfg)
	})
}

// More than one page of a listing, and of deletions.
func TestPages(t *testing.T) {
	s := recordtest.NewServer(t)
	b := open(t, config(s))
	const objects = 1100
	var wg sync.WaitGroup
	const at = 11 // at a time
	for i := range at {
		wg.Go(func() {
			for n := range objects / at {
				if err := b.Put(t.Context(), fmt.Sprintf("as_1/v0/s1.%d.m4s", n*at+i), [][]byte{[]byte("x")}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if list, err := b.List(t.Context(), "as_1"); err != nil || len(list) != objects {
		t.Errorf("%d of %d objects: %v", len(list), objects, err)
	}
	if err := b.Delete(t.Context(), "as_1"); err != nil {
		t.Fatal(err)
	}
	if list, err := b.List(t.Context(), ""); err != nil || len(list) != 0 {
		t.Errorf("%d objects are left: %v", len(list), err)
	}
}

// A bucket that refuses says in words what is wrong, and never the secret.
func TestRefused(t *testing.T) {
	s := recordtest.NewServer(t)
	for name, c := range map[string]struct {
		change func(*bucket.Config)
		kind   fault.Kind
		words  string
	}{
		"secret":  {func(c *bucket.Config) { c.SecretKey = "wrong-secret-0123" }, fault.Unauthorized, "record-s3-secret-key"},
		"key":     {func(c *bucket.Config) { c.AccessKey = "nobody" }, fault.Unauthorized, "record-s3-access-key"},
		"bucket":  {func(c *bucket.Config) { c.Bucket = "elsewhere" }, fault.Unavailable, "record-s3-bucket"},
		"region":  {func(c *bucket.Config) { c.Region = "eu-west-1" }, fault.Invalid, "record-s3-region"},
		"address": {func(c *bucket.Config) { c.Endpoint = "http://127.0.0.1:1" }, fault.Unavailable, "can be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(s)
			c.change(&cfg)
			b := open(t, cfg)
			_, listed := b.List(t.Context(), "")
			_, opened := b.Open(t.Context(), "as_1/v0/a.m4s", 0, -1)
			for op, err := range map[string]error{
				"put": b.Put(t.Context(), "as_1/v0/a.m4s", [][]byte{[]byte("x")}), "list": listed, "open": opened,
				"delete": b.Delete(t.Context(), "as_1"), "check": b.Check(t.Context()),
			} {
				if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), string(cfg.SecretKey)) {
					t.Errorf("%s: %v", op, err)
				}
			}
		})
	}
	if err := open(t, config(s)).Check(t.Context()); err != nil {
		t.Errorf("the right one: %v", err)
	}
}

// A server that is away says so, and is used again when it is back.
func TestAway(t *testing.T) {
	s := recordtest.NewServer(t)
	b := open(t, config(s))
	s.Stop()
	if err := b.Put(t.Context(), "a/b", nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("away: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Put(ctx, "a/b", nil); ctx.Err() == nil || err == nil || fault.Is(err, fault.Unavailable) {
		t.Errorf("an ended context: %v", err)
	}
	s.Start()
	if err := b.Put(t.Context(), "a/b", nil); err != nil {
		t.Errorf("back: %v", err)
	}
}

// A server that takes connections and answers nothing keeps nobody longer than they want to wait.
func TestSilent(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer l.Close()
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	})
	b := open(t, bucket.Config{Endpoint: "http://" + l.Addr().String(), Bucket: "bucket", Region: "r", AccessKey: "a", SecretKey: "hush-hush", PathStyle: true})
	for name, ask := range map[string]func(context.Context) error{
		"check":  b.Check,
		"list":   func(ctx context.Context) error { _, err := b.List(ctx, ""); return err },
		"delete": func(ctx context.Context) error { return b.Delete(ctx, "a") },
		"open":   func(ctx context.Context) error { _, err := b.Open(ctx, "a/b", 0, -1); return err },
		"put":    func(ctx context.Context) error { return b.Put(ctx, "a/b", nil) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		began := time.Now()
		if err := ask(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 10*time.Second {
			t.Errorf("%s: after %v: %v", name, time.Since(began), err)
		}
		cancel()
	}
}

func TestConfig(t *testing.T) {
	if err := bucket.DefaultConfig().Validate(); err != nil {
		t.Errorf("no bucket: %v", err)
	}
	right := bucket.Config{Endpoint: "https://s3.example.com", Bucket: "b", Region: "r", AccessKey: "a", SecretKey: "hush-hush"}
	if err := right.Validate(); err != nil {
		t.Error(err)
	}
	for _, text := range []string{fmt.Sprint(right), fmt.Sprintf("%+v", right), fmt.Sprintf("%#v", right), fmt.Sprintf("%q", right.SecretKey)} {
		if strings.Contains(text, "hush") {
			t.Errorf("the secret is told: %s", text)
		}
	}
	for name, change := range map[string]func(*bucket.Config){
		"record-s3-endpoint":   func(c *bucket.Config) { c.Endpoint = "s3.example.com" },
		"record-s3-bucket":     func(c *bucket.Config) { c.Bucket = "" },
		"record-s3-region":     func(c *bucket.Config) { c.Region = "" },
		"record-s3-access-key": func(c *bucket.Config) { c.SecretKey = "" },
		"record-s3-prefix":     func(c *bucket.Config) { c.Prefix = "a//b" },
	} {
		cfg := right
		change(&cfg)
		if err := cfg.Validate(); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
