package play

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"

	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
)

// ended turns the end of what a loop follows into its own clean end.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// sending is the work on one target while its stream is live.
type sending struct {
	r      *Restreamer
	stream *hub.Stream
	target Target
	stop   context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	status TargetStatus
	sender Sender
}

// describe returns the status as it is now.
func (s *sending) describe() TargetStatus {
	s.mu.Lock()
	status, sender := s.status, s.sender
	s.mu.Unlock()
	status.ID = s.target.ID
	if l, ok := sender.(media.Linked); ok {
		status.Link = l.Link()
	}
	return status
}

// set changes the state; err is told if there is one.
func (s *sending) set(state TargetState, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.status.LastError = redact(err.Error(), s.target.URL)
	}
	if s.status.State == state {
		return
	}
	if s.status.State != "" {
		s.r.states.WithLabelValues(string(s.status.State)).Dec()
	}
	s.status.State, s.status.Since = state, time.Now()
	s.r.states.WithLabelValues(string(state)).Inc()
}

// run connects and sends, again and again, until the stream or ctx ends.
func (s *sending) run(ctx context.Context) {
	log := s.r.log.With("stream", s.stream.Name(), "target", s.target.ID)
	defer func() {
		s.mu.Lock()
		s.r.states.WithLabelValues(string(s.status.State)).Dec()
		s.status.State = ""
		s.mu.Unlock()
	}()
	failures := 0
	for {
		begun := time.Now()
		err := s.once(ctx)
		if ctx.Err() != nil || err == nil {
			log.Info("a target is not sent to any more")
			return
		}
		s.set(TargetErrored, err)
		if time.Since(begun) > steady {
			failures = 0
		}
		pause := s.pause(failures, err)
		failures++
		log.Warn("sending to a target failed", "error", redact(err.Error(), s.target.URL), "again_in", pause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.stream.Done():
		case <-ctx.Done():
		}
		timer.Stop()
		if s.stream.State() == hub.Ended || ctx.Err() != nil {
			return
		}
		s.set(TargetStarting, nil)
	}
}

// pause is how long to wait after a number of failures: twice as long each time, half of it
// by chance so that many do not come back at once. What cannot work is not tried often.
func (s *sending) pause(failures int, err error) time.Duration {
	d := s.r.cfg.MaxBackoff
	if failures < 30 && !fault.Is(err, fault.Unsupported) {
		d = min(d, minBackoff<<failures)
	}
	return d/2 + time.Duration(s.r.jitter()*float64(d/2))
}

// once connects and sends until something ends. It returns nil at the end of the stream.
func (s *sending) once(ctx context.Context) error {
	tracks, err := s.tracks(ctx)
	if err != nil {
		return ended(err)
	}
	s.mu.Lock()
	s.status.Attempts++
	s.mu.Unlock()
	sender, err := s.connect(ctx, tracks)
	if err != nil {
		s.r.attempts.WithLabelValues("failed").Inc()
		return err
	}
	s.r.attempts.WithLabelValues("connected").Inc()
	s.mu.Lock()
	s.sender = sender
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.sender = nil
		s.mu.Unlock()
		_ = sender.Close()
	}()
	return s.copy(ctx, sender, tracks)
}

// tracks waits for media and returns the first track of either kind.
func (s *sending) tracks(ctx context.Context) ([]*media.Track, error) {
	reader := s.stream.Feed().NewReader(hub.ReaderOptions{Name: "restream"})
	defer reader.Close()
	if _, err := reader.ReadPacket(ctx); err != nil {
		return nil, err
	}
	var tracks []*media.Track
	for _, kind := range []media.Kind{media.Video, media.Audio} {
		for _, t := range s.stream.Feed().Tracks() {
			if t.Kind() == kind {
				tracks = append(tracks, t)
				break
			}
		}
	}
	return tracks, nil
}

func (s *sending) connect(ctx context.Context, tracks []*media.Track) (Sender, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.r.cfg.DialTimeout, fault.New(fault.Timeout, "connect to the target", "",
		"it did not answer within "+s.r.cfg.DialTimeout.String(), "Check the address, and that the service is ready."))
	defer cancel()
	sender, err := s.r.dial(ctx, s.target.URL, tracks)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return sender, nil
}

// copy sends from the newest key on.
func (s *sending) copy(ctx context.Context, sender Sender, tracks []*media.Track) error {
	reader := s.stream.Feed().NewReader(hub.ReaderOptions{Name: "restream", MaxLag: s.r.cfg.MaxLag})
	defer reader.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A connection that takes nothing is closed under the write that waits for it.
	stalled := time.AfterFunc(s.r.cfg.WriteTimeout, func() {
		cancel(fault.New(fault.Timeout, "send to the target", "", "it took no data for "+s.r.cfg.WriteTimeout.String(), ""))
		_ = sender.Close()
	})
	stalled.Stop()
	defer stalled.Stop()
	for {
		p, err := reader.ReadPacket(ctx)
		var gap *hub.Gap
		switch {
		case errors.As(err, &gap):
			s.mu.Lock()
			s.status.Dropped += gap.Lost
			s.mu.Unlock()
			s.r.dropped.Add(float64(gap.Lost))
			return fault.New(fault.TooLarge, "send to the target", "", "it fell more than "+s.r.cfg.MaxLag.String()+" behind",
				"The way to it is too slow for this bit rate.")
		case err != nil:
			return ended(err)
		case !sent(tracks, p.Track):
			continue
		}
		stalled.Reset(s.r.cfg.WriteTimeout)
		err = sender.WritePacket(ctx, p)
		stalled.Stop()
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return err
		}
		s.mu.Lock()
		s.status.Packets++
		s.status.Bytes += uint64(len(p.Data))
		s.mu.Unlock()
		s.set(TargetBroadcasting, nil)
	}
}

func sent(tracks []*media.Track, t *media.Track) bool {
	for _, s := range tracks {
		if s.ID == t.ID {
			return true
		}
	}
	return false
}

// redact takes out of a text what is secret of an address: its last path element, its
// query, its fragment and its user's password, in the forms in which they occur in errors.
func redact(text, address string) string {
	const hidden = "…"
	u, err := url.Parse(address)
	if err != nil {
		return strings.ReplaceAll(text, address, hidden)
	}
	secrets := []string{u.RawQuery}
	add := func(raw string) {
		secrets = append(secrets, raw)
		if plain, err := url.QueryUnescape(raw); err == nil {
			secrets = append(secrets, plain)
		}
		if plain, err := url.PathUnescape(raw); err == nil {
			secrets = append(secrets, plain)
		}
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	add(path[strings.LastIndexByte(path, '/')+1:])
	add(u.EscapedFragment())
	for _, pair := range strings.FieldsFunc(u.RawQuery, func(r rune) bool { return r == '&' || r == ';' }) {
		_, value, _ := strings.Cut(pair, "=")
		add(value)
	}
	if u.User != nil {
		secrets = append(secrets, u.User.String())
		if password, ok := u.User.Password(); ok {
			add(password)
		}
	}
	// The longest first: one may be a part of another.
	for len(secrets) > 0 {
		longest := 0
		for i, s := range secrets {
			if len(s) > len(secrets[longest]) {
				longest = i
			}
		}
		if len(secrets[longest]) < 3 { // no secret, and its letters are in other words
			break
		}
		text = strings.ReplaceAll(text, secrets[longest], hidden)
		secrets[longest] = secrets[len(secrets)-1]
		secrets = secrets[:len(secrets)-1]
	}
	return text
}
