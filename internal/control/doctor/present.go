package doctor

import (
	"fmt"
	"maps"
	"time"

	"onair/internal/media"
)

// Health returns the report of a stream; false if nothing is known of it, and then the
// report says just that.
func (d *Doctor) Health(streamID string) (Report, bool) {
	now := time.Now()
	r := Report{StreamID: streamID, Status: NoData, Findings: []Finding{}, Sources: []Source{}, History: []Point{}}
	s := d.find(streamID)
	found := s != nil
	if found {
		s.report(&r)
	}
	if r.Status == NoData {
		if n, ok := d.latestStranger(now); ok {
			r.Findings = sorted(append(r.Findings, d.wrongKey(n)))
			found = true
		}
	}
	r.Summary = summary(&r)
	return r, found
}

// wrongKey is the finding of an encoder that nobody expected.
func (d *Doctor) wrongKey(n stranger) Finding {
	f := Finding{
		Code: "key_wrong", Title: fmt.Sprintf("An encoder at %s was refused: it used a stream key that nobody has", n.peer),
		Source: "main", Since: n.at, Count: n.attempts,
		Evidence: map[string]any{
			"attempts": n.attempts, "last_attempt": n.at.UTC().Format(time.RFC3339), "protocol": n.protocol, "peer": n.peer,
		},
	}
	for i := range d.rules {
		if d.rules[i].code == f.Code {
			f.Severity, f.Fix = d.rules[i].severity, d.rules[i].fix
		}
	}
	return f
}

// report fills r with what is known.
func (s *stream) report(r *Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	active := s.active()
	r.Findings = append(r.Findings, s.findings(active)...)
	since := s.since
	r.Since = &since
	r.Stale = active == nil
	if score := s.score; active != nil && s.status != NoData {
		r.Status, r.Score = s.status, &score
	}
	for _, p := range []*source{&s.main, &s.backup} {
		if p.tap == nil {
			continue
		}
		src := p.report()
		r.Sources = append(r.Sources, src)
		if at := p.exam.read; !at.IsZero() && (r.MeasuredAt == nil || at.After(*r.MeasuredAt)) {
			r.MeasuredAt = &at
		}
	}
	r.History = s.history.points()
}

// summary is the report in one sentence.
func summary(r *Report) string {
	switch {
	case r.Status == NoData && len(r.Findings) > 0 && !r.Stale:
		return r.Findings[0].Title + "."
	case r.Status == NoData && len(r.Findings) > 0:
		return "No publisher is connected. Last found: " + r.Findings[0].Title + "."
	case r.Status == NoData:
		return "No publisher is connected."
	case r.Status == Good && len(r.Findings) == 0:
		return "Nothing is wrong with what arrives."
	case r.Status == Good:
		return "Nothing is wrong with what arrives. For information: " + r.Findings[0].Title + "."
	}
	more := ""
	if n := len(r.Findings) - 1; n > 0 {
		more = fmt.Sprintf(" And %d more.", n)
	}
	return r.Findings[0].Title + "." + more
}

// report is the source as the API shows it.
func (p *source) report() Source {
	t, e := p.tap, &p.exam
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Source{
		Session: t.session.Session, Protocol: t.session.Protocol, Encoder: t.session.Encoder, Backup: t.session.Backup,
		Since: t.session.Since, EndReason: t.reason, Tracks: []Track{}, Repaired: maps.Clone(p.repaired),
	}
	if s.Repaired == nil {
		s.Repaired = map[string]int64{}
	}
	if !t.ended.IsZero() {
		ended := t.ended
		s.Ended, s.Stale = &ended, true
	}
	if e.read.IsZero() {
		return s
	}
	s.AVOffset, s.AVDrift, s.AVStart = number(e.avOffset, 3), number(e.avDrift, 3), number(e.avStart, 3)
	s.ClockDrift, s.ClockSkew = number(e.drift, 2), number(e.skew, 0)
	s.Link = Link{
		RTT: number(e.link.rtt, 4), Jitter: number(e.link.jitter, 4), Loss: number(e.link.loss, 4),
		Retransmission: number(e.link.retransmission, 4), Dropped: copied(e.link.dropped),
		Bitrate: number(e.link.bitrate, 0), Available: number(e.link.available, 0),
	}
	for i := range e.video {
		s.Tracks = append(s.Tracks, e.video[i].report(&t.looks, i == 0))
	}
	for i := range e.audio {
		s.Tracks = append(s.Tracks, e.audio[i].report(&t.looks, i == 0))
	}
	return s
}

// report is the track as the API shows it. sampled is set for the track that samples are
// taken of.
func (r reading) report(l *looks, sampled bool) Track {
	t := Track{
		ID: r.id, Kind: r.track.Kind().String(), Codec: r.track.Codec.String(), CodecString: r.track.CodecString, Rendition: r.track.Rendition,
		Bitrate: number(r.bitrate, 0), BitrateVariation: number(r.variation, 3),
		AudioChannelLevels: []float64{}, TimestampJumps: r.jumps, TimestampsBackward: r.backward,
	}
	if r.track.Kind() == media.Audio {
		t.SampleRate, t.Channels = positive(r.track.SampleRate), positive(r.track.Channels)
		if sampled && !l.heardAt.IsZero() {
			at := l.heardAt
			t.SampledAt = &at
			t.AudioLevel, t.AudioPeak = number(l.sound.level, 1), number(l.sound.peak, 1)
			t.AudioClipped = number(l.sound.clipped, 4)
			t.AudioSilent = number(lasting(l.silentSince, l.heardAt), 1)
			for _, v := range l.sound.channels {
				t.AudioChannelLevels = append(t.AudioChannelLevels, round(v, 1))
			}
		}
		return t
	}
	t.Width, t.Height, t.ResolutionChanges = positive(r.track.Width), positive(r.track.Height), &r.resizes
	if r.track.FrameRate > 0 {
		t.DeclaredFrameRate = number(r.track.FrameRate, 3)
	}
	t.FrameRate, t.FramesMissing = number(r.fps, 2), &r.missing
	t.KeyframeInterval, t.KeyframeDeviation = number(r.keyMean, 2), number(r.keyDeviation, 3)
	t.KeyframeMin, t.KeyframeMax = number(r.keyMin, 2), number(r.keyMax, 2)
	t.BFrames, t.Interlaced = &r.bframes, &r.interlaced
	if c := r.track.Codec; c == media.H264 || c == media.HEVC {
		t.OpenGOP = &r.openGOP
	}
	if sampled && !l.seenAt.IsZero() {
		at := l.seenAt
		t.SampledAt = &at
		t.PictureBrightness = number(l.brightness, 3)
		t.PictureUnchanged = number(lasting(l.stillSince, l.seenAt), 1)
	}
	return t
}

func copied(v *uint64) *uint64 {
	if v == nil {
		return nil
	}
	c := *v
	return &c
}

// positive is a number that 0 stands for unknown in.
func positive(v int) *int {
	if v <= 0 {
		return nil
	}
	return &v
}
