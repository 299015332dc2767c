//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/wire/rtmp"
	"onair/internal/wire/srt"
)

// way is one way in: how a clip is sent to a stream. It returns once all was sent.
type way struct {
	name string
	// refuses says why a clip cannot come this way; empty if it can.
	refuses func(c *clip) string
	// source, if set, is the address from which the stream fetches what is published to
	// another one. It joins late, by its nature.
	source func(s *server, origin stream) string
	// passphrase is that of the stream; empty: SRT in the clear.
	passphrase string
	publish    func(ctx context.Context, t *testing.T, s *server, st stream, c *clip) error
	// never tells of clips that no client of that protocol could offer.
	never func(c *clip) bool
	// tolerance is how far the way itself may move time stamps.
	tolerance time.Duration
}

// exit is one way out.
type exit struct {
	name    string
	refuses func(c *clip) string // in whose words a clip cannot leave this way
	read    func(ctx context.Context, t *testing.T, s *server, st stream, w way) ([]*media.Packet, error)
	late    bool
}

// send writes the clip at its own pace.
func send(ctx context.Context, sink media.Sink, c *clip) error {
	begin := time.Now()
	for _, p := range c.packets {
		if wait := time.Until(begin.Add(p.Track.Duration(p.DTS))); wait > 0 {
			pause(ctx, wait)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := sink.WritePacket(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func carriesAll(*clip) string { return "" }

// TestMatrix sends every clip by every way in and reads it by every way out: the same
// frames with the same bytes in the same order, sound and picture as far apart as they
// were. What cannot be is refused in words.
func TestMatrix(t *testing.T) {
	pair := selfSigned(t)
	s := start(t, "--rtmps", "127.0.0.1:0", "--tls-cert", pair.cert, "--tls-key", pair.key, "--allow-private-addresses")
	clips := makeClips(t)
	const frame = 20 * time.Millisecond
	noAV1 := func(c *clip) string {
		if c.video == media.AV1 {
			return "AV1"
		}
		return ""
	}
	rtmpPublish := func(dial func(ctx context.Context, tracks []*media.Track, st stream) (*rtmp.Publisher, error)) func(context.Context, *testing.T, *server, stream, *clip) error {
		return func(ctx context.Context, _ *testing.T, _ *server, st stream, c *clip) error {
			p, err := dial(ctx, c.tracks, st)
			if err != nil {
				return err
			}
			defer p.Close()
			return send(ctx, p, c)
		}
	}
	srtPublish := func(query string) func(context.Context, *testing.T, *server, stream, *clip) error {
		return func(ctx context.Context, _ *testing.T, s *server, st stream, c *clip) error {
			p, err := srt.DialPublish(ctx, s.srtURL("publish:"+st.StreamKey)+query, c.tracks)
			if err != nil {
				return err
			}
			defer p.Close()
			return send(ctx, p, c)
		}
	}
	ways := []way{
		{name: "RTMP", refuses: carriesAll, tolerance: frame, publish: rtmpPublish(func(ctx context.Context, tracks []*media.Track, st stream) (*rtmp.Publisher, error) {
			return rtmp.DialPublish(ctx, s.publishURL(st), tracks...)
		})},
		{name: "RTMPS", refuses: carriesAll, tolerance: frame, publish: rtmpPublish(func(ctx context.Context, tracks []*media.Track, st stream) (*rtmp.Publisher, error) {
			return rtmp.Dialer{TLS: &tls.Config{RootCAs: pair.pool}}.Publish(ctx, s.rtmpsURL(st), tracks...)
		})},
		{name: "SRT", refuses: noAV1, tolerance: frame, publish: srtPublish("")},
		{name: "SRT with a passphrase", refuses: noAV1, tolerance: frame, passphrase: "matrix-passphrase",
			publish: srtPublish("&passphrase=matrix-passphrase&pbkeylen=16")},
		{name: "WHIP", tolerance: frame, publish: whipClip, refuses: carriesAll, never: func(c *clip) bool { return c.audio != media.Opus }},
	}
	toOrigin := ways[0].publish
	ways = append(ways,
		way{name: "fetched over RTMP", refuses: carriesAll, tolerance: frame, publish: toOrigin, source: (*server).playURL},
		way{name: "fetched over SRT", refuses: func(c *clip) string {
			if c.video == media.AV1 {
				return "not supported"
			}
			return ""
		}, tolerance: frame, publish: toOrigin, source: func(s *server, origin stream) string {
			return s.srtURL("play:" + origin.playbackID())
		}},
		way{name: "fetched over HLS", refuses: carriesAll, tolerance: frame, publish: toOrigin, source: (*server).hlsURL},
	)
	exits := []exit{
		{name: "LL-HLS", refuses: carriesAll, read: func(ctx context.Context, t *testing.T, s *server, st stream, w way) ([]*media.Packet, error) {
			return s.readHLS(ctx, t, st)
		}},
		{name: "RTMP", refuses: carriesAll, late: true, read: func(ctx context.Context, _ *testing.T, s *server, st stream, w way) ([]*media.Packet, error) {
			p, err := rtmp.DialPlay(ctx, s.playURL(st))
			if err != nil {
				return nil, err
			}
			defer p.Close()
			return readAll(ctx, p)
		}},
		{name: "SRT", late: true, refuses: func(c *clip) string {
			if c.video == media.AV1 {
				return "media are not supported" // SRT carries a code and no text
			}
			return ""
		}, read: func(ctx context.Context, _ *testing.T, s *server, st stream, w way) ([]*media.Packet, error) {
			address := s.srtURL("play:" + st.playbackID())
			if w.passphrase != "" {
				address += "&passphrase=" + w.passphrase
			}
			p, err := srt.DialPlay(ctx, address)
			if err != nil {
				return nil, err
			}
			defer p.Close()
			return readAll(ctx, p)
		}},
	}
	for _, w := range ways {
		for _, c := range clips {
			if w.never != nil && w.never(c) {
				continue
			}
			if w.never != nil && w.never(c) {
				continue
			}
			t.Run(w.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				s.in(t).cross(t, w, c, exits)
			})
		}
	}
}

// cross sends one clip by one way and reads it by all.
func (s *server) cross(t *testing.T, w way, c *clip, exits []exit) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	settings := map[string]any{"latency_mode": "low"}
	if w.passphrase != "" {
		settings["srt_passphrase"] = w.passphrase
	}
	sent := make(chan error, 1)
	var st stream
	if w.source != nil {
		origin := s.create("low")
		go func() { sent <- w.publish(ctx, t, s, origin, c) }()
		s.waitStatus(origin, "active", 20*time.Second)
		s.waitPlayable(origin, 10*time.Second)
		settings["source"] = map[string]any{"url": w.source(s, origin)}
		st = s.createWith(settings)
	} else {
		st = s.createWith(settings)
		go func() { sent <- w.publish(ctx, t, s, st, c) }()
	}
	if why := w.refuses(c); why != "" {
		if w.source != nil {
			s.fails(t, st, why)
			return
		}
		if err := <-sent; err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("the refusal does not name %s: %v", why, err)
		}
		return
	}
	s.waitStatus(st, "active", 20*time.Second)
	var readers sync.WaitGroup
	for _, e := range exits {
		readers.Go(func() {
			got, err := e.read(ctx, t, s, st, w)
			if why := e.refuses(c); why != "" {
				if err == nil || !strings.Contains(err.Error(), why) {
					t.Errorf("to %s: the refusal does not name %s: %v", e.name, why, err)
				}
				return
			}
			var a arrived
			if err == nil {
				a, err = c.compare(got, e.late || w.source != nil, w.tolerance)
			}
			if err != nil {
				t.Errorf("to %s: %v", e.name, err)
				return
			}
			t.Logf("to %s: %d of %d frames, %d of %d of sound, moved against each other by %v",
				e.name, a.got[media.Video], a.sent[media.Video], a.got[media.Audio], a.sent[media.Audio], a.skew)
		})
	}
	if err := <-sent; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("publishing: %v", err)
	}
	readers.Wait()
}

// fails waits until fetching the stream's source has failed in words that contain why.
func (s *server) fails(t *testing.T, st stream, why string) {
	t.Helper()
	var got struct {
		Source struct {
			LastError string `json:"last_error"`
		} `json:"source"`
	}
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); pause(t.Context(), 100*time.Millisecond) {
		s.call("GET", "/v1/live-streams/"+st.ID, nil, &got)
		if got.Source.LastError != "" {
			break
		}
	}
	if !strings.Contains(got.Source.LastError, why) {
		t.Errorf("the refusal does not name %s: %q", why, got.Source.LastError)
	}
}
