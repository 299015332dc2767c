package hub

import (
	"time"

	"onair/internal/media"
)

const (
	// statsMarks marks, statsStep apart, make the window that rates are measured over.
	statsMarks = 6
	statsStep  = time.Second
	// statsStale is after how long without a packet a track's rates read 0.
	statsStale = 3 * time.Second
)

// trackStats measures one track of a feed as it is written. Adding a packet allocates
// nothing; everything else is worked out when somebody asks.
type trackStats struct {
	track *media.Track
	// primed is set when packets that are no keys can be decoded.
	primed bool

	packets, bytes uint64
	// pictures counts packets of the present version of the track, shown is the highest of
	// their PTS in ticks; reordered is set if one came after another that is shown later.
	pictures  uint64
	shown     int64
	reordered bool

	size    int           // of the last packet
	dts     time.Duration // of the last packet
	arrived time.Time

	key         time.Duration // DTS of the last key
	hasKey      bool
	keyInterval time.Duration // between the last two keys

	marks [statsMarks]mark // marks[next] is the oldest once the window is full
	next  int
	n     int
}

// mark is a packet that rates can be measured from: what had come before it.
type mark struct {
	dts            time.Duration
	packets, bytes uint64
}

// add counts p, whose DTS is dts.
func (t *trackStats) add(p *media.Packet, dts time.Duration, now time.Time) {
	if t.packets > 0 && dts < t.dts {
		t.n, t.next, t.hasKey = 0, 0, false
		t.pictures = 0
	}
	t.reordered = t.reordered || t.pictures > 0 && p.PTS < t.shown
	t.shown = max(p.PTS, t.shown)
	if t.pictures == 0 {
		t.shown = p.PTS
	}
	t.pictures++
	if t.n == 0 || dts-t.marks[(t.next+statsMarks-1)%statsMarks].dts >= statsStep {
		t.marks[t.next] = mark{dts: dts, packets: t.packets, bytes: t.bytes}
		t.next = (t.next + 1) % statsMarks
		t.n = min(t.n+1, statsMarks)
	}
	if p.Key && p.Track.Kind() == media.Video {
		if t.hasKey {
			t.keyInterval = dts - t.key
		}
		t.key, t.hasKey = dts, true
	}
	t.packets++
	t.bytes += uint64(len(p.Data))
	t.size = len(p.Data)
	t.dts = dts
	t.arrived = now
}

// rates returns packets and bits a second over the window; 0 when it is too short or
// the track has fallen silent.
func (t *trackStats) rates(now time.Time) (packets, bits float64) {
	if t.n == 0 || now.Sub(t.arrived) > statsStale {
		return 0, 0
	}
	oldest := t.marks[0]
	if t.n == statsMarks {
		oldest = t.marks[t.next]
	}
	span := (t.dts - oldest.dts).Seconds()
	if span <= 0 {
		return 0, 0
	}
	return float64(t.packets-1-oldest.packets) / span,
		float64(t.bytes-uint64(t.size)-oldest.bytes) * 8 / span
}

// interval returns the time between key packets: the last whole one, or the present
// one if it is longer already.
func (t *trackStats) interval() time.Duration {
	if !t.hasKey {
		return 0
	}
	return max(t.keyInterval, t.dts-t.key)
}

func (t *trackStats) snapshot(now time.Time) TrackSnapshot {
	tr := t.track
	out := TrackSnapshot{
		ID: tr.ID, Rendition: tr.Rendition, Kind: tr.Kind(), Codec: tr.Codec, CodecString: tr.CodecString,
		Width: tr.Width, Height: tr.Height, FrameRate: tr.FrameRate,
		SampleRate: tr.SampleRate, Channels: tr.Channels,
		KeyframeInterval: t.interval(), Packets: t.packets,
	}
	out.MeasuredFrameRate, out.Bitrate = t.rates(now)
	return out
}
