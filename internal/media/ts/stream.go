package ts

import (
	"bytes"
	"encoding/binary"
	"time"

	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// stream is one elementary stream of the programme: it puts PES packets together (ISO/IEC
// 13818-1, section 2.4.3.6) and hands their content to its decoder.
type stream struct {
	element element
	coding  coding
	name    string
	// declared is the kind by the programme map, whatever the stream turns out to be.
	declared media.Kind
	// cause is why a stream that was declared usable is not.
	cause error
	id    int
	// track is nil until the parameters are known.
	track *media.Track

	buf []byte // the PES packet from its start code on
	// open is set while buf is being filled.
	open bool
	// cut is set if something is missing behind what buf holds.
	cut bool

	video videoStream
	audio audioStream
}

func newStream(e element) *stream {
	e.descriptors = bytes.Clone(e.descriptors)
	s := &stream{element: e}
	s.coding, s.name = e.classify()
	s.declared = s.coding.kind()
	return s
}

// refuse passes the stream over from now on.
func (s *stream) refuse(r *Reader, name string, cause error) {
	s.coding, s.name, s.cause, s.track = skipped, name, cause, nil
	s.release(r)
}

func (s *stream) scrambled(r *Reader) {
	if s.track == nil && s.coding.kind() != 0 {
		s.refuse(r, "scrambled "+s.name, nil)
		return
	}
	s.spoil(r)
}

// release lets go of what the stream holds.
func (s *stream) release(r *Reader) {
	r.held -= len(s.buf)
	s.buf, s.open = nil, false
	r.held -= len(s.video.hold)
	s.video.hold = nil
	s.audio.rest = nil
}

// spoil drops the PES packet that is being put together.
func (s *stream) spoil(r *Reader) {
	if s.open {
		r.stats.Damaged++
	}
	s.empty(r)
}

func (s *stream) empty(r *Reader) {
	r.held -= len(s.buf)
	s.buf, s.open, s.cut = s.buf[:0], false, false
	if cap(s.buf) > 1<<20 { // the memory of a large picture is not kept
		s.buf = nil
	}
}

// limit is the size that a PES packet may have: sound comes in small ones.
func (s *stream) limit() int {
	if s.coding.kind() == media.Audio {
		return maxAudioPES
	}
	return maxPES
}

// add takes the payload of one transport packet.
func (s *stream) add(r *Reader, h header, lost bool) {
	if s.coding.kind() == 0 {
		return
	}
	switch {
	case lost && s.coding.kind() == media.Video:
		s.spoil(r)
		s.video.lost(r)
	case lost && s.open:
		s.cut = true
		r.stats.Damaged++
		s.finish(r, nil, false)
	}
	if h.start {
		s.finish(r, h.payload, false)
		s.open = true
	}
	if !s.open || s.coding.kind() == 0 {
		return
	}
	if len(s.buf)+len(h.payload) > s.limit() || r.held+len(h.payload) > maxHeld {
		s.spoil(r)
		return
	}
	s.buf = append(s.buf, h.payload...)
	r.held += len(h.payload)
	if len(s.buf) >= 6 {
		if size := int(binary.BigEndian.Uint16(s.buf[4:])); size > 0 && len(s.buf) >= 6+size {
			r.held -= len(s.buf) - (6 + size)
			s.buf = s.buf[:6+size]
			s.finish(r, nil, false)
		}
	}
}

// finish hands on the PES packet that is being put together. next is the beginning of the
// one after, if it is there; end says that nothing comes any more.
func (s *stream) finish(r *Reader, next []byte, end bool) {
	r.now = time.Now()
	if s.open {
		p, ok := parsePES(s.buf)
		if !ok {
			r.stats.Damaged++
		}
		if ok && p.scrambled {
			s.scrambled(r)
			ok = false
		}
		if ok {
			if p.timed {
				p.dts = r.clock.unwrap(p.dts)
				p.pts = p.dts + ((p.pts-p.dts)&(clockWrap-1)<<31)>>31
			}
			switch s.coding.kind() {
			case media.Video:
				var follows []byte
				if q, ok := parsePES(next); ok {
					follows = q.payload
				}
				s.addVideo(r, p, follows)
			case media.Audio:
				s.addAudio(r, p)
			}
		}
		s.empty(r)
	}
	if end && s.coding.kind() == media.Video {
		s.endVideo(r)
	}
}

// pes is a parsed PES packet.
type pes struct {
	pts, dts int64
	// timed tells that the packet has times.
	timed     bool
	scrambled bool
	payload   []byte
}

// parsePES reads as much as there is; ok is false if the head is not whole.
func parsePES(b []byte) (p pes, ok bool) {
	if len(b) < 9 || b[0] != 0 || b[1] != 0 || b[2] != 1 || b[6]&0xc0 != 0x80 {
		return p, false
	}
	head := 9 + int(b[8])
	if head > len(b) {
		return p, false
	}
	p.scrambled = b[6]&0x30 != 0
	if b[7]&0x80 != 0 && head >= 14 {
		p.pts, p.timed = stamp(b[9:]), true
		p.dts = p.pts
		if b[7]&0x40 != 0 && head >= 19 {
			p.dts = stamp(b[14:])
		}
	}
	p.payload = b[head:]
	return p, true
}

func stamp(b []byte) int64 {
	return int64(b[0]>>1&7)<<30 | int64(b[1])<<22 | int64(b[2]>>1)<<15 | int64(b[3])<<7 | int64(b[4]>>1)
}

// describe makes the configuration the track's, from now on. It reports whether the track
// can be used.
func (s *stream) describe(r *Reader, t media.Track, sample []byte) bool {
	t.ID, t.Timescale, t.Language, t.Version = s.id, Timescale, s.element.language(), 0
	d, err := bitstream.Probe(&t, sample)
	if err != nil {
		r.stats.Damaged++
		if s.track == nil {
			s.refuse(r, s.name, err)
		}
		return s.track != nil
	}
	if old := r.newest[s.id]; old != nil {
		if same(old, d) {
			s.track = old
			return true
		}
		d.Version = old.Version + 1
	}
	s.track, r.newest[s.id] = d, d
	return true
}

func same(a, b *media.Track) bool {
	return a.Codec == b.Codec && bytes.Equal(a.Config, b.Config) && a.SampleRate == b.SampleRate && a.Channels == b.Channels && a.Language == b.Language
}
