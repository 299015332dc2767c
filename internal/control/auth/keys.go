package auth

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/maypok86/otter/v2"

	"onair/internal/control/store"
	"onair/internal/fault"
)

// keyCacheSize bounds the stream keys that are remembered, known and unknown together.
// They are remembered by their hash.
const keyCacheSize = 10_000

type cachedKey struct {
	stream  store.LiveStream
	missing error
	until   time.Time
}

// keyHash is what a stream key is remembered by.
type keyHash [sha256.Size]byte

// StreamByKey returns the stream that a stream key publishes to, for questions that come
// before publishing, which anybody may ask in any number: known and unknown keys are
// remembered for some seconds. It is a fault.Unauthorized for a key that nobody has and
// a fault.Disabled for a stream that was switched off.
func (a *Auth) StreamByKey(ctx context.Context, key string) (store.LiveStream, error) {
	if !store.PlausibleID(key) {
		return store.LiveStream{}, a.unknownKey()
	}
	h := keyHash(sha256.Sum256([]byte(key)))
	c, ok := a.keys.GetIfPresent(h)
	if !ok || !time.Now().Before(c.until) {
		if ok {
			a.keys.Invalidate(h)
		}
		var err error
		c, err = a.keys.Get(ctx, h, otter.LoaderFunc[keyHash, cachedKey](func(ctx context.Context, _ keyHash) (cachedKey, error) {
			return a.lookupKey(ctx, key)
		}))
		if err != nil {
			return store.LiveStream{}, away(ctx, "look up the stream key", err)
		}
	}
	if c.missing != nil {
		return store.LiveStream{}, a.unknownKey()
	}
	if err := a.mayPublish(c.stream); err != nil {
		return store.LiveStream{}, err
	}
	return c.stream, nil
}

func (a *Auth) lookupKey(ctx context.Context, key string) (cachedKey, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTime)
	defer cancel()
	l, err := a.store.LiveStreamByKey(ctx, key)
	switch {
	case fault.Is(err, fault.NotFound):
		return cachedKey{missing: err, until: time.Now().Add(missTTL)}, nil
	case err != nil:
		return cachedKey{}, err
	}
	return cachedKey{stream: l, until: time.Now().Add(hitTTL)}, nil
}

// ForgetKey drops what is remembered of stream keys, after they or their stream changed.
func (a *Auth) ForgetKey(keys ...string) {
	for _, k := range keys {
		a.keys.Invalidate(sha256.Sum256([]byte(k)))
	}
}

// Passphrase returns what encrypts an SRT connection: the passphrase of the stream that
// a stream key publishes to, or that a playback id plays. Empty: not encrypted. Its
// errors are those of StreamByKey and StreamOf.
func (a *Auth) Passphrase(ctx context.Context, publish bool, name string) (string, error) {
	if publish {
		l, err := a.StreamByKey(ctx, name)
		return l.SRTPassphrase, err
	}
	if _, err := a.StreamOf(ctx, name); err != nil {
		return "", err
	}
	p, err := a.Playback(ctx, name)
	return p.SRTPassphrase, err
}

// AdmitPull returns the stream that the server itself publishes to when it fetches the
// stream's source.
func (a *Auth) AdmitPull(ctx context.Context, streamID string) (store.LiveStream, error) {
	l, err := a.store.LiveStream(ctx, streamID)
	if err != nil {
		return store.LiveStream{}, away(ctx, "publish", err)
	}
	return l, a.mayPublish(l)
}
