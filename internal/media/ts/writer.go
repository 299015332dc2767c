package ts

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// What a Writer does in ticks of Timescale.
const (
	// writerLead is how far time stamps are ahead of the programme clock: what a receiver
	// may take to put a picture together.
	writerLead = Timescale / 2
	// tableStep and clockStep are how often the tables and the clock are repeated at least.
	tableStep = Timescale / 10
	clockStep = Timescale * 35 / 1000
	// clockJump is a step of the clock that is said to be one.
	clockJump = 2 * Timescale
)

const (
	mapPID   = 0x1000
	firstPID = 0x100
)

// Writer is a media.Sink that writes a transport stream with one programme: each packet
// becomes one PES packet and is written with one call, in whole packets of 188 bytes. The
// tables are repeated every 0.1 s and in front of the key pictures, the clock every 35 ms.
//
// Time stamps are those of the packets, 0.5 s later, modulo 2^33; the programme clock is
// the time of decoding of what is being written. A Writer is not safe for concurrent use.
type Writer struct {
	w      io.Writer
	tracks []*outTrack
	// clockOf carries the programme clock.
	clockOf *outTrack
	buf     []byte
	// counters of the tables, version of the map.
	pat, pmt, version uint8
	now, tables       int64
	clock             int64
	started           bool
}

// outTrack is a track that is written.
type outTrack struct {
	track   *media.Track
	pid     uint16
	counter uint8
	form    form
	// head is what is written in front of each payload or each key: parameter sets, or what
	// an ADTS header takes from the configuration.
	head []byte
}

// form is how a codec is announced and wrapped.
type form struct {
	kind        byte // stream_type
	streamID    byte
	descriptors []byte
}

// NewWriter returns a Writer of the tracks. It fails with fault.Unsupported for a codec, or
// a layout of one, that has no settled place in a transport stream (AV1, VP8, VP9, FLAC),
// and writes nothing yet.
func NewWriter(w io.Writer, tracks []*media.Track) (*Writer, error) {
	if len(tracks) == 0 || len(tracks) > maxTracks {
		return nil, fault.New(fault.Invalid, "write MPEG-TS", "", fmt.Sprintf("%d tracks, not 1 to %d", len(tracks), maxTracks), "")
	}
	t := &Writer{w: w}
	for i, track := range tracks {
		o := &outTrack{pid: firstPID + uint16(i)}
		if err := o.set(track); err != nil {
			return nil, err
		}
		t.tracks = append(t.tracks, o)
		if t.clockOf == nil || t.clockOf.track.Kind() == media.Audio && track.Kind() == media.Video {
			t.clockOf = o
		}
	}
	return t, nil
}

// set makes the track's parameters those that are written from now on.
func (o *outTrack) set(t *media.Track) error {
	f, head, err := formOf(t)
	if err != nil {
		return err
	}
	o.track, o.form, o.head = t, f, head
	return nil
}

// WritePacket writes the packet. Its track is one of NewWriter's or a newer version of one,
// which may have another codec.
func (w *Writer) WritePacket(ctx context.Context, p *media.Packet) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var o *outTrack
	for _, t := range w.tracks {
		if t.track.ID == p.Track.ID {
			o = t
		}
	}
	if o == nil {
		return fault.New(fault.Invalid, "write MPEG-TS", "", fmt.Sprintf("track %d was not announced", p.Track.ID), "")
	}
	w.buf = w.buf[:0]
	changed := false
	if o.track != p.Track {
		old := o.form
		if err := o.set(p.Track); err != nil {
			return err
		}
		if old.kind != o.form.kind || string(old.descriptors) != string(o.form.descriptors) {
			w.version = (w.version + 1) & 0x1f
			changed = true
		}
	}
	payload, err := o.wrap(p)
	if err != nil {
		return err
	}
	dts := media.Rescale(p.DTS, int64(p.Track.Timescale), Timescale)
	pts := media.Rescale(p.PTS, int64(p.Track.Timescale), Timescale)
	key := p.Key && p.Track.Kind() == media.Video
	jump := w.tick(dts)
	if changed || !w.started || jump || key || w.now-w.tables >= tableStep {
		w.appendTables()
		w.tables = w.now
	}
	withClock := o == w.clockOf && (!w.started || jump || key || w.now-w.clock >= clockStep/2)
	if !withClock && (!w.started || jump || w.now-w.clock >= clockStep) {
		w.appendClock(w.clockOf, jump)
		w.clock = w.now
	}
	if withClock {
		w.clock = w.now
	}
	w.appendPES(o, payload, pts+writerLead, dts+writerLead, key, withClock, jump && withClock)
	w.started = true
	_, err = w.w.Write(w.buf)
	return err
}

// tick moves the clock to the time of a packet. Tracks are not exactly in order, so a
// little back is not a step back.
func (w *Writer) tick(dts int64) (jump bool) {
	switch d := dts - w.now; {
	case !w.started:
		w.now = dts
	case d < -clockJump || d > clockJump:
		w.now = dts
		return true
	case d > 0:
		w.now = dts
	}
	return false
}

// appendPES appends the transport packets of a PES packet.
func (w *Writer) appendPES(o *outTrack, payload []byte, pts, dts int64, key, clock, jump bool) {
	head := make([]byte, 0, 19)
	head = append(head, 0, 0, 1, o.form.streamID, 0, 0, 0x84, 0x80, 5) // aligned, with a PTS
	head = appendStamp(head, 2, pts)
	if dts != pts {
		head[7], head[8] = 0xc0, 10
		head[9] = head[9]&0x0f | 3<<4
		head = appendStamp(head, 1, dts)
	}
	// Pictures of more than 64 KiB have no length: they end where the next begins.
	if size := len(head) - 6 + len(payload); size <= 0xffff {
		binary.BigEndian.PutUint16(head[4:], uint16(size))
	}
	rest := len(head) + len(payload)
	for first := true; rest > 0; first = false {
		var adaptation []byte
		if first && (key || clock || o.track.Kind() == media.Audio) {
			adaptation = w.adaptation(key || o.track.Kind() == media.Audio, clock, jump)
		}
		room := packetSize - 4
		flags := byte(0x10)
		if adaptation != nil {
			room -= len(adaptation)
			flags = 0x30
		}
		stuffing := max(0, room-rest)
		if stuffing > 0 {
			flags = 0x30
			switch {
			case adaptation != nil:
				adaptation = appendFilling(adaptation, stuffing)
				adaptation[0] += byte(stuffing)
			case stuffing == 1:
				adaptation = []byte{0}
			default:
				adaptation = appendFilling([]byte{byte(stuffing - 1), 0}, stuffing-2)
			}
			room -= stuffing
		}
		start := byte(0)
		if first {
			start = 0x40
		}
		w.buf = append(w.buf, syncByte, start|byte(o.pid>>8), byte(o.pid), flags|o.counter)
		o.counter = (o.counter + 1) & 0x0f
		w.buf = append(w.buf, adaptation...)
		n := min(room, len(head))
		w.buf = append(w.buf, head[:n]...)
		head = head[n:]
		w.buf = append(w.buf, payload[:room-n]...)
		payload = payload[room-n:]
		rest -= room
	}
}

// adaptation makes an adaptation field without stuffing.
func (w *Writer) adaptation(random, clock, jump bool) []byte {
	b := []byte{1, 0}
	if random {
		b[1] |= 0x40
	}
	if jump {
		b[1] |= 0x80
	}
	if clock {
		b[0], b[1] = 7, b[1]|0x10
		base := uint64(w.now) & (clockWrap - 1)
		b = append(b, byte(base>>25), byte(base>>17), byte(base>>9), byte(base>>1), byte(base<<7)|0x7e, 0)
	}
	return b
}

// appendClock appends a packet with the clock and no payload; its counter stands still.
func (w *Writer) appendClock(o *outTrack, jump bool) {
	b := w.adaptation(false, true, jump)
	b[0] = packetSize - 5
	w.buf = append(w.buf, syncByte, byte(o.pid>>8), byte(o.pid), 0x20|(o.counter-1)&0x0f)
	w.buf = append(w.buf, b...)
	w.buf = appendFilling(w.buf, packetSize-4-len(b))
}

func appendFilling(b []byte, n int) []byte {
	for range n {
		b = append(b, 0xff)
	}
	return b
}

func appendStamp(b []byte, mark byte, v int64) []byte {
	v &= clockWrap - 1
	return append(b, mark<<4|byte(v>>29)&0x0e|1, byte(v>>22), byte(v>>14)|1, byte(v>>7), byte(v<<1)|1)
}

// appendTables appends the programme association and the programme map.
func (w *Writer) appendTables() {
	w.appendSection(0, &w.pat, []byte{tablePAT, 0, 0, 0, 1, 0xc1, 0, 0, 0, 1, 0xe0 | mapPID>>8, mapPID & 0xff})
	b := []byte{tablePMT, 0, 0, 0, 1, 0xc1 | w.version<<1, 0, 0, 0xe0 | byte(w.clockOf.pid>>8), byte(w.clockOf.pid), 0xf0, 0}
	for _, o := range w.tracks {
		d := o.form.descriptors
		if code := languageCode(o.track.Language); code != "" {
			d = append(append(append(d[:len(d):len(d)], 0x0a, 4), code...), 0)
		}
		b = append(b, o.form.kind, 0xe0|byte(o.pid>>8), byte(o.pid), 0xf0|byte(len(d)>>8), byte(len(d)))
		b = append(b, d...)
	}
	w.appendSection(mapPID, &w.pmt, b)
}

// appendSection completes a section and appends its packets.
func (w *Writer) appendSection(pid uint16, counter *uint8, b []byte) {
	binary.BigEndian.PutUint16(b[1:], 0xb000|uint16(len(b)-3+4))
	b = binary.BigEndian.AppendUint32(b, checksum(b))
	b = append([]byte{0}, b...) // pointer_field
	for start := byte(0x40); len(b) > 0; start = 0 {
		n := min(len(b), packetSize-4)
		w.buf = append(w.buf, syncByte, start|byte(pid>>8), byte(pid), 0x10|*counter)
		*counter = (*counter + 1) & 0x0f
		w.buf = append(w.buf, b[:n]...)
		w.buf = appendFilling(w.buf, packetSize-4-n)
		b = b[n:]
	}
}

// wrap returns the payload of the PES packet.
func (o *outTrack) wrap(p *media.Packet) ([]byte, error) {
	switch p.Track.Codec {
	case media.H264, media.HEVC:
		b := make([]byte, 0, len(p.Data)+len(o.head)+64)
		b = append(b, 0, 0, 0, 1)
		if p.Track.Codec == media.H264 {
			b = append(b, 0x09, 0xf0)
		} else {
			b = append(b, 0x46, 0x01, 0x50)
		}
		if p.Key {
			b = append(b, o.head...)
		}
		for nal, err := range bitstream.NALUs(p.Data) {
			if err != nil {
				return nil, fault.Wrap(fault.Invalid, "write MPEG-TS", "", err, "")
			}
			b = append(append(b, 0, 0, 0, 1), nal...)
		}
		return b, nil
	case media.AAC:
		size := len(p.Data) + 7
		if size > 0x1fff {
			return nil, fault.New(fault.TooLarge, "write MPEG-TS", "", fmt.Sprintf("an AAC frame of %d bytes is over %d", len(p.Data), 0x1fff-7), "")
		}
		b := make([]byte, 0, size)
		b = append(b, 0xff, 0xf1, o.head[0], o.head[1]|byte(size>>11), byte(size>>3), byte(size<<5)|0x1f, 0xfc)
		return append(b, p.Data...), nil
	case media.Opus:
		b := []byte{0x7f, 0xe0}
		n := len(p.Data)
		for ; n >= 0xff; n -= 0xff {
			b = append(b, 0xff)
		}
		return append(append(b, byte(n)), p.Data...), nil
	default:
		return p.Data, nil
	}
}
