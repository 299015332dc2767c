package pack

import (
	"slices"
	"time"

	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// plan is what must be known before the first cut and cannot change after it.
type plan struct {
	segment time.Duration // a segment ends at the first key frame from here on
	part    time.Duration // intended length of a part; 0: no parts
	group   time.Duration // longest distance of key frames seen
	target  int           // EXT-X-TARGETDURATION in seconds
	video   bool          // pictures lead
	early   bool          // key frames are asked for: one comes a second after the first
	late    time.Duration // by how much the first packet came later than those behind it
	// cadence holds the distances of a track's packets, by track.
	cadence map[trackKey][]time.Duration
}

// trackKey names a track within a stream.
type trackKey struct {
	feed string
	id   int
}

func keyOf(t *media.Track) trackKey { return trackKey{t.Rendition, t.ID} }

// limit is the longest segment: its duration rounded to a second must not exceed the
// target duration (RFC 8216bis, section 4.4.3.1).
func (p *plan) limit() time.Duration {
	return time.Duration(p.target)*time.Second + 450*time.Millisecond
}

// learner collects the first packets of a stream until the plan can be made: up to the
// end of the first segment, which viewers wait for anyway. docs/decisions/0003 says why.
type learner struct {
	cfg           Config
	segment, part time.Duration
	// announced is set if the publisher said that there will be video.
	announced bool

	packets  []*media.Packet
	bytes    int
	video    int // ID of the video track that leads
	hasVideo bool
	firstKey time.Duration
	lastKey  time.Duration
	lastDTS  time.Duration
	group    time.Duration
	track    *media.Track
	audio    map[int]span
	early    bool
}

type span struct{ first, last time.Duration }

func newLearner(cfg Config, mode media.LatencyMode, announced bool) *learner {
	l := &learner{cfg: cfg, announced: announced, audio: map[int]span{}}
	l.segment, l.part = cfg.goals(mode)
	return l
}

// add takes a packet and reports whether enough is known.
func (l *learner) add(p *media.Packet) bool {
	at := p.Track.Duration(p.DTS)
	if p.Track.Rendition != "" {
		// Other renditions follow the source: without its picture there is nothing to align with.
		if l.hasVideo {
			l.keep(p)
		}
		return l.bytes > maxStartBytes
	}
	if p.Track.Kind() == media.Video {
		return l.addVideo(p, at)
	}
	l.keep(p)
	s, ok := l.audio[p.Track.ID]
	if !ok {
		s.first = at
	}
	s.last = at
	l.audio[p.Track.ID] = s
	if l.hasVideo {
		return l.bytes > maxStartBytes
	}
	wait := startAudioOnly
	if l.announced {
		wait = startAnnounced
	}
	return s.last-s.first >= wait || s.last < s.first || l.bytes > maxStartBytes
}

func (l *learner) addVideo(p *media.Packet, at time.Duration) bool {
	if !l.hasVideo {
		if !p.Key {
			return false
		}
		l.hasVideo, l.video, l.track = true, p.Track.ID, p.Track
		l.firstKey, l.lastKey, l.lastDTS = at, at, at
		l.keep(p)
		return false
	}
	l.keep(p)
	if p.Track.ID != l.video {
		return l.bytes > maxStartBytes
	}
	step := at - l.lastDTS
	l.lastDTS = at
	if step < 0 || step > l.cfg.MaxGroup || p.Key && p.Track != l.track {
		return true
	}
	if p.Key {
		l.group = max(l.group, at-l.lastKey)
		l.lastKey = at
	}
	if known := p.Track.KeyInterval; known > 0 && at-l.firstKey >= startKnown {
		l.group, l.early = max(l.group, known), true
		return true
	}
	return p.Key && at-l.firstKey >= l.segment-jitter || at-l.firstKey >= l.cfg.MaxGroup || l.bytes > maxStartBytes
}

func (l *learner) keep(p *media.Packet) {
	l.packets = append(l.packets, p)
	l.bytes += len(p.Data) + packetOverhead
}

// has reports whether the packet that was added last was kept: what comes before the first
// picture of a video is of no use.
func (l *learner) has(p *media.Packet) bool {
	n := len(l.packets)
	return n > 0 && l.packets[n-1] == p
}

// jitter is by how much a key frame may be early and still count as on time.
const jitter = 10 * time.Millisecond

// plan makes the plan from what was collected.
func (l *learner) plan() *plan {
	p := &plan{segment: l.segment, part: l.part, group: l.group, video: l.hasVideo, early: l.early, cadence: map[trackKey][]time.Duration{}}
	// The group that had not ended counts for what was seen of it: beyond the longest
	// one, segments are cut between key frames.
	longest := max(l.segment, l.group, min(l.cfg.MaxGroup, l.lastDTS-l.lastKey))
	// One second more than the longest group leaves room for a key frame that comes at a
	// change of scene: see segmenter.cutsAt.
	p.target = int((longest-2*jitter+time.Second-1)/time.Second) + 1
	last := map[trackKey]int64{}
	for _, pkt := range l.packets {
		id := keyOf(pkt.Track)
		if before, ok := last[id]; ok && pkt.DTS > before {
			p.cadence[id] = append(p.cadence[id], pkt.Track.Duration(pkt.DTS-before))
		}
		last[id] = pkt.DTS
	}
	p.late = l.lateness()
	return p
}

// lateness is by how much longer the leading track's first packet was under way than the
// quickest packet. An encoder that starts holds its first frames back and then sends them
// at once: taken by itself, the first arrival would put the whole stream's
// PROGRAM-DATE-TIME too late, and viewers would be told too small a delay.
func (l *learner) lateness() time.Duration {
	var first, best time.Duration
	var origin time.Time
	for _, p := range l.packets {
		if p.Arrival.IsZero() {
			return 0
		}
		if l.hasVideo && (p.Track.ID != l.video || p.Track.Rendition != "") {
			continue
		}
		if origin.IsZero() {
			origin = p.Arrival
			first = -p.Track.Duration(p.DTS)
			best = first
		}
		best = min(best, p.Arrival.Sub(origin)-p.Track.Duration(p.DTS))
	}
	return min(first-best, l.cfg.MaxGroup)
}

// holdBack is PART-HOLD-BACK as far as it is known before the tracks are: audio, which may
// begin later, adds up to a frame to the length of a part.
func (p *plan) holdBack() time.Duration {
	const frame = 24 * time.Millisecond
	if p.part == 0 {
		return 0
	}
	return 3 * (p.part + frame)
}

// partTarget chooses PART-TARGET for a track, and whether parts follow a grid: for audio
// of short frames, parts of alternately n and n+1 frames keep step with the video's.
//
// A part must last at most the target, and at least 85 % of it (RFC 8216bis, section
// 4.4.4.9). Where no whole number of frames fits in between, the target becomes a
// multiple of the frame's duration.
func (p *plan) partTarget(pkt *media.Packet) (target time.Duration, grid bool) {
	if p.part == 0 {
		return 0, false
	}
	steps := p.cadence[keyOf(pkt.Track)]
	if pkt.Track.Kind() == media.Audio {
		frame := pkt.Track.Duration(bitstream.Duration(pkt.Track, pkt.Data))
		if frame <= 0 {
			frame = median(steps)
		}
		return p.audioTarget(frame, pkt.Track)
	}
	return p.videoTarget(steps, pkt.Track), false
}

func (p *plan) audioTarget(frame time.Duration, t *media.Track) (time.Duration, bool) {
	if frame <= 0 {
		return p.part, false
	}
	slack := t.Duration(2)
	if slack > 2*time.Millisecond {
		slack = 2 * time.Millisecond
	}
	low := p.part / frame
	high := (p.part + frame - 1) / frame
	if low > 0 && float64(low*frame) >= minPart*float64(high*frame+slack) {
		return roundUp(high*frame + slack), high > low
	}
	n := max(1, (p.part+frame/2)/frame)
	return roundUp(n*frame + slack), false
}

// evenParts is the number of frames by which the group that was seen falls into parts of
// about the same length; 0 if there is no such number near the intended length. Without
// it a group that is a little longer than a whole number of parts ends in a part of one
// or two frames, which costs every viewer a request and has made hls.js 1.7 stall.
func (p *plan) evenParts(frame time.Duration) int {
	const most = 1.2 // of the intended length
	parts := int((p.group + p.part/2) / p.part)
	if parts == 0 {
		return 0
	}
	frames := int((p.group + frame/2) / frame)
	n := (frames + parts - 1) / parts
	if float64(n)*float64(frame) > most*float64(p.part) {
		return 0
	}
	return n
}

func (p *plan) videoTarget(steps []time.Duration, t *media.Track) time.Duration {
	frame := median(steps)
	if frame == 0 && t.FrameRate > 0 {
		frame = time.Duration(float64(time.Second) / t.FrameRate)
	}
	if frame <= 0 {
		return p.part
	}
	n := max(1, int((p.part+jitter/5)/frame))
	if float64(n)*float64(frame) < minPart*float64(p.part)+float64(time.Millisecond) {
		n = int((p.part + frame - 1) / frame)
	}
	n = max(n, p.evenParts(mean(steps, frame)))
	target := max(p.part, time.Duration(n)*frame)
	if len(steps) > 0 && slices.Min(steps) != slices.Max(steps) {
		// Stamps in milliseconds: the same number of frames lasts a little longer or
		// shorter each time, and must not be one frame less for it.
		const rounding = 2 * time.Millisecond
		target = max(target, time.Duration(n)*mean(steps, frame)+rounding)
	}
	irregular, slowest := 0, frame
	var sum time.Duration
	for i, d := range steps {
		sum += d
		if i >= n {
			sum -= steps[i-n]
		}
		if i >= n-1 && sum <= time.Duration(n)*frame*11/10 {
			target = max(target, sum) // stamps in milliseconds make some frames longer
		}
		if d > frame*6/5 {
			irregular++
			if d < time.Second/2 {
				slowest = max(slowest, d)
			}
		}
	}
	if irregular >= 3 && irregular*20 > len(steps) {
		// Variable frame rate: a frame as long as 15 % of the target may come at any time.
		target = max(target, min(time.Second, time.Duration(float64(slowest)/(1-minPart))))
	}
	return roundUp(target)
}

// minPart is the least length of a part in terms of the part target.
const minPart = 0.85

// roundUp rounds up to 10 µs, the precision that playlists are written in.
func roundUp(d time.Duration) time.Duration {
	const unit = 10 * time.Microsecond
	return (d + unit - 1) / unit * unit
}

// mean is the average of the steps: unlike the median it is exact for stamps in
// milliseconds. other is returned if there are none.
func mean(steps []time.Duration, other time.Duration) time.Duration {
	if len(steps) == 0 {
		return other
	}
	var sum time.Duration
	for _, d := range steps {
		sum += d
	}
	return max(sum/time.Duration(len(steps)), 1)
}

func median(steps []time.Duration) time.Duration {
	if len(steps) == 0 {
		return 0
	}
	s := slices.Clone(steps)
	slices.Sort(s)
	return s[len(s)/2]
}
