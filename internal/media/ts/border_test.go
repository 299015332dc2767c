package ts

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"pgregory.net/rapid"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// untimed takes the times out of the PES packet that begins in b.
func untimed(b []byte) {
	for ; len(b) >= packetSize; b = b[packetSize:] {
		h, ok := parseHeader(b[:packetSize])
		if ok && h.start && len(h.payload) > 9 && h.payload[2] == 1 && h.pid >= firstPID && h.pid < mapPID {
			h.payload[7] = 0
			for i := range h.payload[9 : 9+h.payload[8]] {
				h.payload[9+i] = 0xff
			}
		}
	}
}

func readAll(t interface{ Fatal(...any) }, b []byte) (map[int][]*media.Packet, *Reader) {
	r := NewReader(bytes.NewReader(b))
	got := map[int][]*media.Packet{}
	for {
		p, err := r.ReadPacket(context.Background())
		if errors.Is(err, io.EOF) {
			return got, r
		}
		if err != nil {
			t.Fatal(err)
		}
		got[p.Track.ID] = append(got[p.Track.ID], p)
	}
}

// An elementary stream that is cut into PES packets anywhere, with times only where an access
// unit begins, comes out whole: pictures and sound.
func TestCutAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := mediatest.Options{NoAudio: true, Duration: 2 * time.Second, FrameSize: 900, GOP: 10,
			Video: rapid.SampledFrom([]media.Codec{media.H264, media.HEVC}).Draw(t, "codec")}
		if rapid.Bool().Draw(t, "sound") {
			o = mediatest.Options{NoVideo: true, Duration: 2 * time.Second, SampleRate: 48000}
		}
		g := mediatest.NewGenerator(o)
		w, err := NewWriter(nil, g.Tracks())
		if err != nil {
			t.Fatal(err)
		}
		out := w.tracks[0]
		var elementary []byte
		var starts []int
		var sent []*media.Packet
		for {
			p, err := g.ReadPacket(context.Background())
			if err != nil {
				break
			}
			b, err := out.wrap(p)
			if err != nil {
				t.Fatal(err)
			}
			starts = append(starts, len(elementary))
			elementary = append(elementary, b...)
			sent = append(sent, p)
		}
		w.appendTables()
		next := 0
		for at := 0; at < len(elementary); {
			n := min(rapid.IntRange(300, 6000).Draw(t, "cut"), len(elementary)-at)
			for _, s := range starts { // whose zero one at the end is cannot be told
				if s == at+n-1 {
					n++
				}
			}
			from := len(w.buf)
			var dts int64
			begins := next < len(starts) && starts[next] < at+n
			if begins {
				dts = media.Rescale(sent[next].DTS, int64(sent[next].Track.Timescale), Timescale)
			}
			w.appendPES(out, elementary[at:at+n], dts, dts, false, false, false)
			if !begins {
				untimed(w.buf[from:])
			}
			for at += n; next < len(starts) && starts[next] < at; next++ {
			}
		}
		got, r := readAll(t, w.buf)
		packets := got[sent[0].Track.ID]
		if len(packets) != len(sent) {
			t.Fatalf("%d packets, want %d: %+v", len(packets), len(sent), r.Stats())
		}
		for i, p := range packets {
			want := media.Rescale(sent[i].DTS, int64(sent[i].Track.Timescale), Timescale)
			if d := p.DTS - want; !bytes.Equal(p.Data, sent[i].Data) || d < -2 || d > 2 {
				t.Fatalf("packet %d: %d bytes at %d, want %d at %d", i, len(p.Data), p.DTS, len(sent[i].Data), want)
			}
		}
	})
}

// Frames whose PES packets tell no time are counted on from the one before.
func TestTimesMissing(t *testing.T) {
	g := mediatest.NewGenerator(mediatest.Options{Duration: 2 * time.Second})
	var b bytes.Buffer
	w, err := NewWriter(&b, g.Tracks())
	if err != nil {
		t.Fatal(err)
	}
	want := map[int][]int64{}
	for i := 0; ; i++ {
		p, err := g.ReadPacket(context.Background())
		if err != nil {
			break
		}
		from := b.Len()
		if err := w.WritePacket(context.Background(), p); err != nil {
			t.Fatal(err)
		}
		if i > 4 && i%3 != 0 {
			untimed(b.Bytes()[from:])
		}
		want[p.Track.ID] = append(want[p.Track.ID], media.Rescale(p.PTS, int64(p.Track.Timescale), Timescale)+writerLead)
	}
	got, r := readAll(t, b.Bytes())
	for id := range want {
		if len(got[id]) != len(want[id]) {
			t.Fatalf("track %d: %d packets, want %d: %+v", id, len(got[id]), len(want[id]), r.Stats())
		}
		for i, p := range got[id] {
			if d := p.PTS - want[id][i]; d < -2 || d > 2 {
				t.Errorf("track %d packet %d at %d, want %d", id, i, p.PTS, want[id][i])
			}
		}
	}
}

// Of several programmes the first is read that has something of use.
func TestPrograms(t *testing.T) {
	g := mediatest.NewGenerator(mediatest.Options{Duration: 2 * time.Second})
	w, err := NewWriter(nil, g.Tracks())
	if err != nil {
		t.Fatal(err)
	}
	section := func(pid uint16, counter *uint8, b []byte) []byte {
		w.buf = nil
		w.appendSection(pid, counter, b)
		return w.buf
	}
	mapOf := func(number uint16, kind byte, pid uint16) []byte {
		b := []byte{tablePMT, 0, 0, 0, 0, 0xc1, 0, 0, 0xe1, 0, 0xf0, 0, kind, 0xe0 | byte(pid>>8), byte(pid), 0xf0, 0}
		binary.BigEndian.PutUint16(b[3:], number)
		return b
	}
	var pat, second, third uint8
	var out []byte
	for {
		p, err := g.ReadPacket(context.Background())
		if err != nil {
			break
		}
		if len(out)%5 == 0 {
			out = append(out, section(0, &pat, []byte{tablePAT, 0, 0, 0, 1, 0xc1, 0, 0, 0, 0, 0xe0, 0x10, 0, 9, 0xf2, 0, 0, 2, 0xf0, 2, 0, 1, 0xf0, 0, 0, 3, 0xf0, 3})...)
			out = append(out, section(0x1002, &second, mapOf(2, 0x02, 0x300))...) // MPEG-2 video
			out = append(out, section(0x1003, &third, mapOf(3, 0x1b, 0x400))...)
		}
		var one bytes.Buffer
		w.w = &one
		if err := w.WritePacket(context.Background(), p); err != nil {
			t.Fatal(err)
		}
		// The tables of the writer are for the programme 1 alone: its association goes.
		for b := one.Bytes(); len(b) > 0; b = b[packetSize:] {
			if h, _ := parseHeader(b[:packetSize]); h.pid != 0 {
				out = append(out, b[:packetSize]...)
			}
		}
	}
	got, r := readAll(t, out)
	if r.current != 1 || len(got[1]) != 60 || len(got[2]) < 93 || r.Stats().Programs != 4 || r.Stats().Changes != 0 {
		t.Errorf("programme %d, %d and %d packets, %+v", r.current, len(got[1]), len(got[2]), r.Stats())
	}
}
