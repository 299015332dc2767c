package mp4file

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"onair/internal/media"
)

// headWriter writes boxes. Times of the movie are in ticks of scale, which is the finest of
// all tracks, so that a delay keeps its exact value in each track's own ticks.
type headWriter struct {
	b     []byte
	scale int64
	zero  int64 // when the first sample of all is presented
	wide  bool  // positions of 64 bits
	at    []int // where in b the positions of each track's chunks are to be written
}

func (w *headWriter) box(kind string, body func()) {
	at := len(w.b)
	w.b = append(append(w.b, 0, 0, 0, 0), kind...)
	body()
	binary.BigEndian.PutUint32(w.b[at:], uint32(len(w.b)-at))
}

func (w *headWriter) u16(v ...uint16) {
	for _, x := range v {
		w.b = binary.BigEndian.AppendUint16(w.b, x)
	}
}

func (w *headWriter) u32(v ...uint32) {
	for _, x := range v {
		w.b = binary.BigEndian.AppendUint32(w.b, x)
	}
}

func (w *headWriter) u64(v ...int64) {
	for _, x := range v {
		w.b = binary.BigEndian.AppendUint64(w.b, uint64(max(0, x)))
	}
}

// Versions and flags of a full box.
const version1 = 1 << 24

// writeHead writes everything before the payload.
func (f *File) writeHead(traks []*trak, payload int64) {
	w := headWriter{scale: 1000, zero: math.MaxInt64}
	size, sound := int64(1024), true
	for _, t := range traks {
		w.scale = max(w.scale, t.timescale)
		sound = sound && t.track.Kind() == media.Audio
		size += int64(len(t.init)+len(t.name)+len(t.durations.b)+len(t.offsets.b)+len(t.sizes)+len(t.syncs)) + int64(20*len(t.chunks)) + 1024
		for _, e := range t.entries {
			size += int64(len(e.sample))
		}
	}
	for _, t := range traks {
		w.zero = min(w.zero, w.rescale(t, t.presented))
	}
	w.wide = wide(payload, size)
	w.b = make([]byte, 0, size)
	w.box("ftyp", func() {
		if sound {
			w.b = append(w.b, "M4A \x00\x00\x02\x00M4A isomiso2mp42"...)
		} else {
			w.b = append(w.b, "isom\x00\x00\x02\x00isomiso2mp41mp42"...)
		}
	})
	w.moov(traks)
	if payload+8 > math.MaxUint32 {
		w.u32(1)
		w.b = append(w.b, "mdat"...)
		w.u64(payload + 16)
	} else {
		w.u32(uint32(payload + 8))
		w.b = append(w.b, "mdat"...)
	}
	w.positions(traks)
	f.head = slices.Clip(w.b)
}

// rescale converts ticks of a track to the movie's.
func (w *headWriter) rescale(t *trak, ticks int64) int64 {
	return media.Rescale(ticks, t.timescale, w.scale)
}

// delay is how much later than the first track a track begins, and length how long it is
// presented, rounded up so that nothing at the end is cut off.
func (w *headWriter) delay(t *trak) int64 { return w.rescale(t, t.presented) - w.zero }

func (w *headWriter) length(t *trak) int64 {
	length := w.rescale(t, t.lastEnd-t.presented)
	if w.scale != t.timescale {
		length++
	}
	return length
}

func (w *headWriter) moov(traks []*trak) {
	duration := int64(0)
	for _, t := range traks {
		duration = max(duration, w.delay(t)+w.length(t))
	}
	w.box("moov", func() {
		w.box("mvhd", func() {
			w.u32(version1, 0, 0, 0, 0, uint32(w.scale))
			w.u64(duration)
			w.u32(1 << 16) // rate
			w.u16(1<<8, 0) // volume
			w.u32(0, 0)    // reserved
			w.u32(identity()...)
			w.u32(0, 0, 0, 0, 0, 0)
			w.u32(uint32(len(traks) + 1))
		})
		seen := map[media.Kind]bool{}
		for i, t := range traks {
			w.trak(t, uint32(i+1), !seen[t.track.Kind()])
			seen[t.track.Kind()] = true
		}
	})
}

func identity() []uint32 { return []uint32{1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30} }

// trak writes a track; of each kind, only the first is enabled.
func (w *headWriter) trak(t *trak, id uint32, enabled bool) {
	from := find(t.init, "trak").body
	mdia := find(from, "mdia").body
	minf := find(mdia, "minf").body
	w.box("trak", func() {
		w.box("tkhd", func() {
			flags := uint32(2) // in the movie
			if enabled {
				flags |= 1
			}
			w.u32(version1|flags, 0, 0, 0, 0, id, 0)
			w.u64(w.delay(t) + w.length(t))
			// The rest is the same in both versions: from 8 reserved bytes to the height.
			old := find(from, "tkhd").body
			w.b = append(w.b, old[len(old)-60:]...)
		})
		w.edits(t)
		w.box("mdia", func() {
			w.box("mdhd", func() {
				w.u32(version1, 0, 0, 0, 0, uint32(t.timescale))
				w.u64(t.end - t.first)
				old := find(mdia, "mdhd").body
				w.b = append(w.b, old[len(old)-4:]...) // language
			})
			w.hdlr(t, find(mdia, "hdlr"))
			w.b = append(w.b, find(mdia, "elng").whole...)
			w.box("minf", func() {
				for _, kind := range []string{"vmhd", "smhd", "dinf"} {
					w.b = append(w.b, find(minf, kind).whole...)
				}
				w.stbl(t)
			})
		})
	})
}

func (w *headWriter) hdlr(t *trak, old child) {
	name := strings.ReplaceAll(t.name, "\x00", "")
	if name == "" {
		w.b = append(w.b, old.whole...)
		return
	}
	w.box("hdlr", func() {
		w.b = append(w.b, old.body[:24]...)
		w.b = append(append(w.b, name...), 0)
	})
}

// edits writes when the track begins: after a delay, if another one begins earlier, and
// with what is presented first, which with B-frames is not when it is decoded.
func (w *headWriter) edits(t *trak) {
	delay, start := w.delay(t), t.mediaTime()
	if delay <= 0 && start == 0 {
		return
	}
	w.box("edts", func() {
		w.box("elst", func() {
			w.u32(version1)
			if delay > 0 {
				w.u32(2)
				w.u64(delay)
				w.u32(math.MaxUint32, math.MaxUint32) // nothing of the media
				w.u16(1, 0)
			} else {
				w.u32(1)
			}
			w.u64(w.length(t), start)
			w.u16(1, 0) // rate
		})
	})
}

func (w *headWriter) stbl(t *trak) {
	table := func(kind string, entry int, entries []byte) {
		w.box(kind, func() {
			w.u32(0, uint32(len(entries)/entry))
			w.b = append(w.b, entries...)
		})
	}
	w.box("stbl", func() {
		w.box("stsd", func() {
			w.u32(0, uint32(len(t.entries)))
			for _, e := range t.entries {
				w.b = append(w.b, e.sample...)
			}
		})
		table("stts", 8, t.durations.b)
		if len(t.offsets.b) > 0 {
			table("ctts", 8, t.offsets.b)
		}
		if len(t.syncs) > 0 || !t.allSync {
			table("stss", 4, t.syncs)
		}
		var runs []byte
		for i, c := range t.chunks {
			if i == 0 || c.samples != t.chunks[i-1].samples || c.entry != t.chunks[i-1].entry {
				for _, v := range [...]uint32{uint32(i + 1), c.samples, uint32(c.entry + 1)} {
					runs = binary.BigEndian.AppendUint32(runs, v)
				}
			}
		}
		table("stsc", 12, runs)
		w.box("stsz", func() {
			w.u32(0, 0, uint32(t.samples))
			w.b = append(w.b, t.sizes...)
		})
		kind, entry := "stco", 4
		if w.wide {
			kind, entry = "co64", 8
		}
		w.box(kind, func() {
			w.u32(0, uint32(len(t.chunks)))
			w.at = append(w.at, len(w.b))
			w.b = append(w.b, make([]byte, entry*len(t.chunks))...)
		})
	})
}

// positions fills in where the chunks lie, now that the head has its size.
func (w *headWriter) positions(traks []*trak) {
	for i, t := range traks {
		b := w.b[w.at[i]:]
		for _, c := range t.chunks {
			at := c.at + int64(len(w.b))
			if w.wide {
				binary.BigEndian.PutUint64(b, uint64(at))
				b = b[8:]
			} else {
				binary.BigEndian.PutUint32(b, uint32(at))
				b = b[4:]
			}
		}
	}
}
