// Package auth decides who may administer, publish and watch.
//
// Secrets are compared in constant time, and never stand in an error, a log line or an
// event. The administrator's token is kept as its SHA-256 only.
package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"onair/internal/control/store"
	"onair/internal/fault"
)

const (
	// adminSetting is where the hash of the made token is kept.
	adminSetting = "admin_token_sha256"
	// minToken is the least length of a token that somebody chose.
	minToken = 16
	// maxToken bounds what is hashed for a comparison.
	maxToken = 512
)

// Auth answers questions about credentials. Its methods may be called from several
// goroutines.
type Auth struct {
	store    *store.Store
	log      *slog.Logger
	admin    atomic.Pointer[[sha256.Size]byte]
	playback *otter.Cache[string, cached]
	replays  *otter.Cache[replayKey, cachedReplay]
	keys     *otter.Cache[keyHash, cachedKey]
	failures *otter.Cache[string, *rate.Limiter]
	refused  *prometheus.CounterVec
	lookups  *prometheus.CounterVec
}

// New returns an Auth over the store. Until EnsureAdminToken was called, nobody is the
// administrator.
func New(_ context.Context, st *store.Store, log *slog.Logger, reg prometheus.Registerer) (*Auth, error) {
	playback, err := otter.New(&otter.Options[string, cached]{MaximumSize: playbackCacheSize, Executor: inline})
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "make the cache of playback ids", "", err, "")
	}
	replays, err := otter.New(&otter.Options[replayKey, cachedReplay]{MaximumSize: replayCacheSize, Executor: inline})
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "make the cache of recordings", "", err, "")
	}
	keys, err := otter.New(&otter.Options[keyHash, cachedKey]{MaximumSize: keyCacheSize, Executor: inline})
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "make the cache of stream keys", "", err, "")
	}
	failures, err := otter.New(&otter.Options[string, *rate.Limiter]{MaximumSize: failureCacheSize, Executor: inline})
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "make the list of failed attempts", "", err, "")
	}
	a := &Auth{
		store: st, log: log, playback: playback, replays: replays, keys: keys, failures: failures,
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_auth_refused_total",
			Help: "Credentials that were refused, by reason: stream_key, stream_disabled, admin_token, admin_rate, playback_id, playback_policy.",
		}, []string{"reason"}),
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_auth_playback_lookups_total",
			Help: "Lookups of playback ids, by where the answer came from: cache or database.",
		}, []string{"source"}),
	}
	for _, c := range []prometheus.Collector{a.refused, a.lookups} {
		if err := reg.Register(c); err != nil {
			return nil, fault.Wrap(fault.Internal, "register the metrics of auth", "", err, "")
		}
	}
	return a, nil
}

// inline runs a cache's housekeeping in the goroutine that caused it, so that no
// goroutine is left behind that nobody waits for.
func inline(fn func()) { fn() }

// AdmitPublish returns the stream that a stream key publishes to. It is a
// fault.Unauthorized for a key that nobody has, whatever it looks like, and a
// fault.Disabled for a stream that the operator switched off; a fault.Unavailable if the
// database cannot be asked, here and below.
func (a *Auth) AdmitPublish(ctx context.Context, key string) (store.LiveStream, error) {
	l, err := a.store.LiveStreamByKey(ctx, key)
	switch {
	case fault.Is(err, fault.NotFound):
		return store.LiveStream{}, a.unknownKey()
	case err != nil:
		return store.LiveStream{}, away(ctx, "publish", err)
	}
	if err := a.mayPublish(l); err != nil {
		return store.LiveStream{}, err
	}
	return l, nil
}

func (a *Auth) unknownKey() error {
	a.refused.WithLabelValues("stream_key").Inc()
	return fault.New(fault.Unauthorized, "publish", "", "the stream key is not known",
		"Copy it again from the live stream's page or from stream_key in the API; it may have been reset.")
}

// mayPublish refuses publishers of a stream that the operator switched off.
func (a *Auth) mayPublish(l store.LiveStream) error {
	if _, ok := store.StatusOf(l.Disabled, false, false).Next(store.OnConnect); ok {
		return nil
	}
	a.refused.WithLabelValues("stream_disabled").Inc()
	return fault.New(fault.Disabled, "publish to", l.ID, "the live stream is disabled",
		"Enable it on its page or with POST /v1/live-streams/"+l.ID+"/enable.")
}

// EnsureAdminToken makes sure that there is an administrator's token. A configured one
// counts for this process, in place of the stored one. Without it the token made on
// the first start is used; created tells that this is the first start and that token
// is to be shown, for it cannot be read again. Otherwise token is empty.
func (a *Auth) EnsureAdminToken(ctx context.Context, configured string) (token string, created bool, err error) {
	if configured != "" {
		if err := checkToken(configured); err != nil {
			return "", false, err
		}
		a.setAdmin(sha256.Sum256([]byte(configured)))
		return "", false, nil
	}
	token = newToken()
	sum := sha256.Sum256([]byte(token))
	kept, created, err := a.store.InitSetting(ctx, adminSetting, hex.EncodeToString(sum[:]))
	if err != nil {
		return "", false, err
	}
	if created {
		a.setAdmin(sum)
		return token, true, nil
	}
	b, err := hex.DecodeString(kept)
	if err != nil || len(b) != sha256.Size {
		return "", false, fault.New(fault.Internal, "read the admin token", "", "what the database has is not a hash",
			"Name a token with --admin-token.")
	}
	a.setAdmin([sha256.Size]byte(b))
	return "", false, nil
}

// ResetAdminToken makes a new token in place of the stored one and returns it. Other
// processes on the same database use it when they start again.
func (a *Auth) ResetAdminToken(ctx context.Context) (string, error) {
	token := newToken()
	sum := sha256.Sum256([]byte(token))
	if err := a.store.SetSetting(ctx, adminSetting, hex.EncodeToString(sum[:])); err != nil {
		return "", err
	}
	a.setAdmin(sum)
	return token, nil
}

// CheckAdmin tells whether token is the administrator's.
func (a *Auth) CheckAdmin(token string) bool {
	want := a.admin.Load()
	if want == nil || token == "" || len(token) > maxToken {
		return false
	}
	got := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

func (a *Auth) setAdmin(sum [sha256.Size]byte) { a.admin.Store(&sum) }

func newToken() string { return "at_" + strings.ToLower(rand.Text()) }

func checkToken(t string) error {
	bad := func(cause string) error {
		return fault.New(fault.Invalid, "read the configuration", "admin-token", cause, "Make one with: openssl rand -hex 24.")
	}
	switch {
	case len(t) < minToken:
		return bad("it is shorter than 16 characters")
	case len(t) > maxToken:
		return bad("it is longer than 512 characters")
	}
	for i := range len(t) {
		if t[i] <= ' ' || t[i] > '~' {
			return bad("it has spaces or characters that cannot be sent in a header")
		}
	}
	return nil
}
