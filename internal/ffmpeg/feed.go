package ffmpeg

import (
	"encoding/binary"
	"io"

	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/fmp4"
)

// startSecond is where the child's timeline begins. Packets may lie a little before the
// first (priming of sound), and times below zero are lost in MP4.
const startSecond = 10

// timeline moves the child's times to small numbers and back, by whole seconds, so that
// nothing is rounded in any timescale.
type timeline struct{ seconds int64 }

func newTimeline(first *media.Packet) timeline {
	scale := int64(first.Track.Timescale)
	at := min(first.DTS, first.PTS)
	s := at / scale
	if at%scale < 0 {
		s--
	}
	return timeline{s - startSecond}
}

func (t timeline) shift(track *media.Track) int64 { return t.seconds * int64(track.Timescale) }

// feeder writes packets of one track as ffmpeg reads them.
type feeder struct {
	w     io.Writer
	track *media.Track
	line  timeline
	f     fmp4.Fragment
	buf   []byte
	last  int64 // DTS of the packet before
	usual int64 // duration of a packet
}

// header writes what comes before the first packet, and takes its time as the beginning.
func (f *feeder) header(first *media.Packet) error {
	f.line = newTimeline(first)
	f.last = first.DTS
	f.usual = int64(f.track.Timescale) / 30
	if f.track.FrameRate > 0 {
		f.usual = int64(float64(f.track.Timescale) / f.track.FrameRate)
	}
	if framed(f.track.Codec) {
		_, err := f.w.Write(ivfHeader(f.track))
		return err
	}
	b, err := fmp4.Init(f.track)
	if err != nil {
		return err
	}
	f.f = fmp4.Fragment{Track: f.track, Samples: make([]fmp4.Sample, 1)}
	_, err = f.w.Write(b)
	return err
}

// packet writes one packet, in one call.
func (f *feeder) packet(p *media.Packet) error {
	shift := f.line.shift(f.track)
	if framed(f.track.Codec) {
		f.buf = append(f.buf[:0], make([]byte, 12)...)
		binary.LittleEndian.PutUint32(f.buf, uint32(len(p.Data)))
		binary.LittleEndian.PutUint64(f.buf[4:], uint64(p.PTS-shift))
		f.buf = append(f.buf, p.Data...)
		_, err := f.w.Write(f.buf)
		return err
	}
	// How long it lasts is only known by the next; it does not matter much.
	switch step := p.DTS - f.last; {
	case p.Duration > 0:
		f.usual = p.Duration
	case step > 0 && step < int64(f.track.Timescale):
		f.usual = step
	}
	f.last = p.DTS
	f.f.Sequence++
	f.f.BaseDTS = p.DTS - shift
	f.f.Samples[0] = fmp4.Sample{Duration: uint32(max(1, f.usual)), CTSOffset: int32(p.PTS - p.DTS), Key: p.Key, Data: p.Data}
	f.buf = f.f.AppendTo(f.buf[:0])
	_, err := f.w.Write(f.buf)
	return err
}

// ivfHeader is the head of an IVF file: mark, version, its size, codec, size of the
// picture, ticks a second, frames.
func ivfHeader(t *media.Track) []byte {
	b := append(make([]byte, 0, 32), "DKIF\x00\x00\x20\x00VP80"...)
	if t.Codec == media.VP9 {
		b[11], b[10] = '0', '9'
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(t.Width))
	b = binary.LittleEndian.AppendUint16(b, uint16(t.Height))
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Timescale))
	b = binary.LittleEndian.AppendUint32(b, 1)
	return append(b, make([]byte, 8)...)
}

// same tells whether a decoder that was told of a can read b.
func same(a, b *media.Track) bool {
	return a == b || a.Codec == b.Codec && a.Timescale == b.Timescale && a.Width == b.Width && a.Height == b.Height &&
		a.SampleRate == b.SampleRate && a.Channels == b.Channels &&
		string(bitstream.CanonicalConfig(a)) == string(bitstream.CanonicalConfig(b))
}
