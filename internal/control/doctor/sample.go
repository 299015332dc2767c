package doctor

import (
	"context"
	"math"
	"time"

	"onair/internal/media"
)

const (
	// sampleAudio and sampleBytes bound the sound of a sample, sampleKey its picture.
	sampleAudio = 128
	sampleBytes = 512 << 10
	sampleKey   = 4 << 20
	// sampleSpan is how much sound is enough, sampleWait how long is waited for it and
	// for a key frame.
	sampleSpan = 1200 * time.Millisecond
	sampleWait = 15 * time.Second

	// stillWidth × stillHeight is the size to which pictures are made small.
	stillWidth  = 64
	stillHeight = 36
)

// Thresholds of what is seen and heard in samples.
const (
	silentBelow = -60.0 // dBFS
	// aloneBelow and besidesAbove are the levels of the quieter and the louder channel
	// from which on one of them is missing.
	aloneBelow   = -60.0
	besidesAbove = -45.0
	// clippedAbove is the share of samples that stand at full scale in a row.
	clippedAbove = 0.003
	// blackBelow is the brightness, from 0 to 1, under which a picture is black, and
	// blackShare the share of its pixels that must be nearly so.
	blackBelow = 0.04
	blackShare = 0.98
	// stillDifference is how much one pixel of 255 may differ, and stillMean all of them
	// on average, for two pictures to be the same.
	stillDifference = 8
	stillMean       = 1.0
)

// collector gathers a sample while one is wanted: sound of a moment and a key frame.
// It refers to the packets, which are never written to.
type collector struct {
	wanted bool
	since  time.Time
	audio  [sampleAudio]*media.Packet
	count  int
	bytes  int
	full   bool
	key    *media.Packet
}

func (c *collector) want(now time.Time) { *c = collector{wanted: true, since: now} }

// drop lets go of what was gathered.
func (c *collector) drop() { *c = collector{} }

func (c *collector) take(p *media.Packet) {
	if p.Track.Rendition != "" {
		return
	}
	if p.Track.Kind() == media.Video {
		if p.Key && c.key == nil && len(p.Data) <= sampleKey {
			c.key = p
		}
		return
	}
	if c.count > 0 && c.audio[0].Track != p.Track {
		if c.audio[0].Track.ID != p.Track.ID {
			return // one track is listened to
		}
		clear(c.audio[:c.count])
		c.count, c.bytes, c.full = 0, 0, false
	}
	if c.full = c.full || c.count == sampleAudio || c.bytes+len(p.Data) > sampleBytes; c.full {
		return
	}
	c.audio[c.count] = p
	c.count++
	c.bytes += len(p.Data)
}

// enough reports whether the sample holds what is to be had of a publisher with such
// tracks, or waited long enough for it.
func (c *collector) enough(now time.Time, audio, video bool) bool {
	if now.Sub(c.since) >= sampleWait {
		return true
	}
	if video && c.key == nil {
		return false
	}
	if !audio || c.full {
		return true
	}
	if c.count < 2 {
		return false
	}
	t := c.audio[0].Track
	return t.Duration(c.audio[c.count-1].DTS-c.audio[0].DTS) >= sampleSpan
}

// sound is what was heard in a sample: levels in dBFS.
type sound struct {
	level, peak float64
	clipped     float64 // share of the samples that stand at full scale
	channels    []float64
}

// still is a small picture: stillWidth × stillHeight brightness values.
type still []byte

// decoder looks at what only a decoder can tell.
type decoder interface {
	// listen decodes packets of one audio track.
	listen(ctx context.Context, packets []*media.Packet) (sound, error)
	// look decodes one key frame.
	look(ctx context.Context, key *media.Packet) (still, error)
}

// looks is what samples said so far. Times are zero while it is not so.
type looks struct {
	next             time.Time // when the next sample is due
	heardAt, seenAt  time.Time
	sound            sound
	silentSince      time.Time
	clippedSince     time.Time
	alone            int // the channel that is heard alone; -1 for none
	aloneSince       time.Time
	brightness, dark float64
	blackSince       time.Time
	still            still
	stillSince       time.Time
}

func (l *looks) heard(s sound, at time.Time) {
	l.heardAt, l.sound = at, s
	mark(&l.silentSince, s.level < silentBelow, at)
	mark(&l.clippedSince, s.clipped > clippedAbove, at)
	l.alone = -1
	if len(s.channels) == 2 {
		for c, level := range s.channels {
			if level > besidesAbove && s.channels[1-c] < aloneBelow {
				l.alone = c
			}
		}
	}
	mark(&l.aloneSince, l.alone >= 0, at)
}

func (l *looks) seen(s still, at time.Time) {
	sum, dark := 0, 0
	for _, v := range s {
		sum += int(v)
		if v < 26 {
			dark++
		}
	}
	l.brightness = float64(sum) / float64(len(s)) / 255
	l.dark = float64(dark) / float64(len(s))
	l.seenAt = at
	mark(&l.blackSince, l.brightness < blackBelow && l.dark >= blackShare, at)
	if !l.still.same(s) {
		l.still, l.stillSince = s, at
	}
}

// mark sets since to at when something begins, and to zero when it is over.
func mark(since *time.Time, is bool, at time.Time) {
	switch {
	case !is:
		*since = time.Time{}
	case since.IsZero():
		*since = at
	}
}

// same reports whether two pictures differ by no more than coding them again would.
func (s still) same(o still) bool {
	if len(s) == 0 || len(s) != len(o) {
		return false
	}
	sum := 0
	for i := range s {
		d := int(s[i]) - int(o[i])
		if d < 0 {
			d = -d
		}
		if d > stillDifference {
			return false
		}
		sum += d
	}
	return float64(sum)/float64(len(s)) <= stillMean
}

// hear measures interleaved samples of 16 bits, big-endian.
func hear(pcm []byte, channels int) sound {
	const full = 32400 // -0.1 dBFS: coding moves what was cut off to either side of full scale
	s := sound{channels: make([]float64, channels)}
	samples, clipped := 0, 0
	var peak int
	runs := make([]int, channels)
	for i := 0; i+2*channels <= len(pcm); i += 2 * channels {
		for c := range channels {
			v := int(int16(uint16(pcm[i+2*c])<<8 | uint16(pcm[i+2*c+1])))
			s.channels[c] += float64(v) * float64(v)
			if v < 0 {
				v = -v
			}
			peak = max(peak, v)
			if v < full {
				runs[c] = 0
				continue
			}
			switch runs[c]++; {
			case runs[c] == 3:
				clipped += 3
			case runs[c] > 3:
				clipped++
			}
		}
		samples++
	}
	all := 0.0
	for c, square := range s.channels {
		all = max(all, square)
		s.channels[c] = decibels(math.Sqrt(square / float64(max(samples, 1))))
	}
	s.level = decibels(math.Sqrt(all / float64(max(samples, 1))))
	s.peak = decibels(float64(peak))
	s.clipped = float64(clipped) / float64(max(samples*channels, 1))
	return s
}

// decibels is the level of an amplitude of 16 bits in dBFS; digital silence is -100.
func decibels(amplitude float64) float64 {
	const floor = -100
	if amplitude <= 0 {
		return floor
	}
	return max(floor, 20*math.Log10(amplitude/32768))
}
