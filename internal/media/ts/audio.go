package ts

import (
	"bytes"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/ac3"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/eac3"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg1audio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// maxAudioPES is the size of a PES packet with sound in bytes: its length field has 16 bits.
const maxAudioPES = 128 << 10

// audioStream cuts a byte stream into frames and gives each its time.
type audioStream struct {
	// rest is the beginning of a frame whose end is in the next PES packet.
	rest []byte
	// anchor is the time of a frame, samples how many came since.
	anchor  int64
	samples int64
	known   bool
	// mux is the configuration that a LATM stream told last.
	mux *mpeg4audio.StreamMuxConfig
	// seen is what the header of the frame before said that makes a configuration.
	seen []byte
}

// partial and noFrame are what frameSize returns instead of a size.
const (
	partial = 0  // the frame is not whole
	noFrame = -1 // none begins here
)

// addAudio takes the payload of a PES packet. Its time is that of the first frame that
// begins in it.
func (s *stream) addAudio(r *Reader, p pes) {
	a := &s.audio
	b := make([]byte, 0, len(a.rest)+len(p.payload))
	b = append(append(b, a.rest...), p.payload...)
	old := len(a.rest)
	a.rest = nil
	at, stamped := 0, p.timed
	for at < len(b) && s.coding.kind() == media.Audio {
		n := s.frameSize(b[at:])
		if n == noFrame {
			if at == 0 || at < old { // the beginning was lost
				old = min(old, at)
			}
			skip := s.nextSync(b[at+1:])
			if skip < 0 {
				r.stats.Damaged++
				return
			}
			at += 1 + skip
			continue
		}
		if stamped && at >= old {
			a.anchor, a.samples, a.known, stamped = p.pts, 0, true, false
		}
		if n == partial {
			if !s.cut && len(b)-at <= 16<<10 {
				a.rest = bytes.Clone(b[at:])
			}
			return
		}
		if a.known {
			s.frameOf(r, b[at:at+n:at+n])
		}
		at += n
	}
}

// nextSync is how far the next byte is that may begin a frame; -1 if there is none.
func (s *stream) nextSync(b []byte) int {
	switch s.coding {
	case latm:
		return bytes.IndexByte(b, 0x56)
	case dolby:
		return bytes.IndexByte(b, 0x0b)
	case opus:
		return bytes.IndexByte(b, 0x7f)
	default:
		return bytes.IndexByte(b, 0xff)
	}
}

// frameSize is the size of the frame at the front of b, partial or noFrame.
func (s *stream) frameSize(b []byte) int {
	n := noFrame
	switch s.coding {
	case adts:
		n = adtsSize(b)
	case latm:
		n = latmSize(b)
	case mpegAudio:
		n = mpegSize(b)
	case dolby:
		n = dolbySize(b)
	case opus:
		if n, _ = opusSize(b); n > len(b) {
			return partial
		}
		return n
	}
	if n > len(b) {
		return partial
	}
	return n
}

func adtsSize(b []byte) int {
	if b[0] != 0xff || len(b) > 1 && b[1]&0xf6 != 0xf0 {
		return noFrame
	}
	if len(b) < 7 {
		return partial
	}
	size := int(b[3]&3)<<11 | int(b[4])<<3 | int(b[5]>>5)
	if b[2]>>2&0xf > 12 || size <= adtsHead(b) {
		return noFrame
	}
	if size+1 < len(b) && (b[size] != 0xff || b[size+1]&0xf6 != 0xf0) {
		return noFrame // the sync word stood in the payload of a frame
	}
	return size
}

// adtsHead is the size of the header: 9 bytes with a checksum.
func adtsHead(b []byte) int {
	if b[1]&1 == 0 {
		return 9
	}
	return 7
}

func latmSize(b []byte) int {
	if b[0] != 0x56 || len(b) > 1 && b[1]&0xe0 != 0xe0 {
		return noFrame
	}
	if len(b) < 3 {
		return partial
	}
	return 3 + int(b[1]&0x1f)<<8 + int(b[2])
}

func mpegSize(b []byte) int {
	if b[0] != 0xff || len(b) > 1 && b[1]&0xe0 != 0xe0 {
		return noFrame
	}
	if len(b) < 5 {
		return partial
	}
	var h mpeg1audio.FrameHeader
	if h.Unmarshal(b) != nil || h.FrameLen() < 5 {
		return noFrame
	}
	return h.FrameLen()
}

// dolbySize is the size of an AC-3 frame, or of an E-AC-3 frame with the dependent ones behind it.
func dolbySize(b []byte) int {
	n := dolbyFrame(b)
	if n <= 0 || n > len(b) || b[5]>>3 <= 10 {
		return n
	}
	for n < len(b) {
		var next eac3.SyncInfo
		if len(b)-n < 8 || next.Unmarshal(b[n:]) != nil || next.Strmtyp != 1 && next.Substreamid == 0 {
			return n
		}
		size := dolbyFrame(b[n:])
		if size <= 0 {
			return n
		}
		n += size
	}
	return n
}

func dolbyFrame(b []byte) int {
	if b[0] != 0x0b || len(b) > 1 && b[1] != 0x77 {
		return noFrame
	}
	if len(b) < 8 {
		return partial
	}
	if b[5]>>3 > 10 {
		var s eac3.SyncInfo
		if s.Unmarshal(b) != nil || s.FrameSize() < 8 {
			return noFrame
		}
		return s.FrameSize()
	}
	var s ac3.SyncInfo
	if s.Unmarshal(b) != nil || s.FrameSize() < 8 {
		return noFrame
	}
	return s.FrameSize()
}

// frameOf takes a whole frame with its header.
func (s *stream) frameOf(r *Reader, b []byte) {
	switch s.coding {
	case adts:
		s.frameADTS(r, b)
	case latm:
		s.frameLATM(r, b)
	case mpegAudio:
		s.frameMPEG(r, b)
	case dolby:
		s.frameDolby(r, b)
	case opus:
		s.frameOpus(r, b)
	}
}

// sound hands on one frame in the shape that media.Codec documents.
func (s *stream) sound(r *Reader, data []byte) {
	a := &s.audio
	t := s.track
	bySamples := *t
	bySamples.Timescale = t.SampleRate
	n := bitstream.Duration(&bySamples, data)
	at := func(samples int64) int64 {
		return a.anchor + media.Rescale(samples, int64(t.SampleRate), Timescale)
	}
	pts := at(a.samples)
	a.samples += n
	p := &media.Packet{Track: t, PTS: pts, DTS: pts, Duration: at(a.samples) - pts, Key: true, Arrival: r.now, Data: data}
	r.queue = append(r.queue, p)
}

// parametersOf makes the track when what a frame's header says is not what it said before.
func (s *stream) parametersOf(r *Reader, head []byte, frame []byte, t func() (media.Track, error)) bool {
	if s.track != nil && bytes.Equal(s.audio.seen, head) {
		return true
	}
	track, err := t()
	if err != nil {
		r.stats.Damaged++
		if s.track == nil {
			s.refuse(r, s.name, refused(s.name+": "+err.Error()))
		}
		return false
	}
	if !s.describe(r, track, frame) {
		return false
	}
	s.audio.seen = bytes.Clone(head)
	return true
}

func (s *stream) frameADTS(r *Reader, b []byte) {
	// Profile, rate and channels stand in the third and fourth byte.
	head := []byte{b[2] &^ 2, b[3] & 0xc0}
	au := b[adtsHead(b):]
	ok := s.parametersOf(r, head, au, func() (media.Track, error) {
		if b[6]&3 != 0 {
			return media.Track{}, fmt.Errorf("frames with several blocks")
		}
		channels := b[2]&1<<2 | b[3]>>6
		if channels == 0 {
			n, err := mpeg4audio.CountChannelsFromRawDataBlock(au)
			if pce, e := mpeg4audio.ParsePCEFromRawDataBlock(au); e == nil && pce != nil {
				n, err = pce.ChannelCount, nil
			}
			if err != nil || n < 1 || n > 8 || n == 7 {
				return media.Track{}, fmt.Errorf("a layout of channels that the header does not tell")
			}
			channels = byte(min(n, 7))
		}
		kind, rate := b[2]>>6+1, b[2]>>2&0xf
		return media.Track{Codec: media.AAC, Config: []byte{kind<<3 | rate>>1, rate<<7 | channels<<3}}, nil
	})
	if ok && b[6]&3 == 0 {
		s.sound(r, au)
	}
}

func (s *stream) frameLATM(r *Reader, b []byte) {
	m := mpeg4audio.AudioMuxElement{MuxConfigPresent: true, StreamMuxConfig: s.audio.mux}
	if err := m.Unmarshal(b[3:]); err != nil || m.StreamMuxConfig == nil {
		if s.audio.mux != nil || len(b) > 3 && b[3]&0x80 == 0 {
			r.stats.Damaged++
		}
		return
	}
	c := m.StreamMuxConfig
	s.audio.mux = c
	if len(c.Programs) == 0 || len(c.Programs[0].Layers) == 0 || c.Programs[0].Layers[0].AudioSpecificConfig == nil {
		r.stats.Damaged++
		return
	}
	config, err := c.Programs[0].Layers[0].AudioSpecificConfig.Marshal()
	if err != nil {
		r.stats.Damaged++
		return
	}
	for _, sub := range m.Payloads {
		if len(sub) == 0 || len(sub[0]) == 0 || len(sub[0][0]) == 0 {
			continue
		}
		au := sub[0][0]
		if s.parametersOf(r, config, au, func() (media.Track, error) {
			return media.Track{Codec: media.AAC, Config: config}, nil
		}) {
			s.sound(r, au)
		}
	}
}

func (s *stream) frameMPEG(r *Reader, b []byte) {
	if layer := 4 - b[1]>>1&3; layer != 3 {
		if s.track == nil {
			name := "MPEG-1 audio layer " + [...]string{"I", "II", "III", "?"}[layer-1]
			s.refuse(r, name, nil)
		}
		return
	}
	head := []byte{b[1] & 0x18, b[2] & 0x0c, b[3] & 0xc0}
	if s.parametersOf(r, head, b, func() (media.Track, error) { return media.Track{Codec: media.MP3}, nil }) {
		s.name = "MP3"
		s.sound(r, b)
	}
}

func (s *stream) frameDolby(r *Reader, b []byte) {
	if b[5]>>3 > 10 {
		// The configuration tells the bit rate, which may vary: only the rest makes a new one.
		head := []byte{b[2] & 0xf8, b[4], b[5]}
		if s.parametersOf(r, head, b, func() (media.Track, error) { return media.Track{Codec: media.EAC3}, nil }) {
			s.sound(r, b)
		}
		return
	}
	if s.parametersOf(r, b[4:7], b, func() (media.Track, error) { return media.Track{Codec: media.AC3}, nil }) {
		s.sound(r, b)
	}
}
