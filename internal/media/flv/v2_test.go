package flv

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

// TestNanosecondsRoundTrip sends 29.97 frames a second exactly.
func TestNanosecondsRoundTrip(t *testing.T) {
	for name, o := range map[string]mediatest.Options{
		"H.264 with B-frames and AAC": {BFrames: 2, RateNum: 30000, RateDen: 1001},
		"HEVC and Opus":               {Video: media.HEVC, Audio: media.Opus, RateNum: 60000, RateDen: 1001},
		"AV1":                         {Video: media.AV1, NoAudio: true},
	} {
		t.Run(name, func(t *testing.T) {
			o.Duration = 2 * time.Second
			g := mediatest.NewGenerator(o)
			m := Muxer{Nanoseconds: true}
			d := Demuxer{}
			for _, tr := range g.Tracks() {
				if tr.Timescale == Timescale {
					t.Fatal("the generator counts in milliseconds")
				}
				if err := m.Add(tr); err != nil {
					t.Fatal(err)
				}
			}
			n := 0
			for {
				p, err := g.ReadPacket(t.Context())
				if err != nil {
					break
				}
				messages, err := m.Packet(p)
				if err != nil {
					t.Fatal(err)
				}
				var got []*media.Packet
				for _, msg := range messages {
					out, err := feed(&d, msg)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, out...)
				}
				if len(got) != 1 || got[0].Track.Timescale != FineTimescale || !bytes.Equal(got[0].Data, p.Data) {
					t.Fatalf("%d packets of %+v", len(got), got[0].Track)
				}
				if off := p.Track.Duration(p.DTS) - time.Duration(got[0].DTS); off > 1 || off < -1 {
					t.Fatalf("packet %d is off by %v", n, off)
				}
				if off := p.Track.Duration(p.PTS) - time.Duration(got[0].PTS); off > time.Millisecond/2 || off < -time.Millisecond/2 {
					t.Fatalf("packet %d is shown off by %v", n, off)
				}
				n++
			}
			if n == 0 {
				t.Fatal("nothing came")
			}
		})
	}
}

func modEx(nanoseconds uint32, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, nanoseconds)
	return append([]byte{body[0]&0xf0 | exModEx, 2, b[1], b[2], b[3], body[0] & 0x0f}, body[1:]...)
}

// TestNanosecondsThatComeLateAreRounded keeps the timescale of a track that began in
// milliseconds, and gives a sender that announced them the finer one at once.
func TestNanosecondsThatComeLateAreRounded(t *testing.T) {
	_, packets := source(mediatest.Options{NoAudio: true})
	for _, announced := range []bool{false, true} {
		d, m := Demuxer{Nanoseconds: announced}, Muxer{}
		var got []*media.Packet
		for i, p := range packets[:4] {
			messages, err := m.Packet(p)
			if err != nil {
				t.Fatal(err)
			}
			for _, msg := range messages {
				body := msg.Body()
				if body[1] == legacyFrames { // as Enhanced RTMP
					body = append([]byte{0x80 | body[0]&0x70 | exCodedFramesX}, append([]byte("avc1"), body[5:]...)...)
					if i > 0 {
						body = modEx(600_000, body)
					}
				}
				out, err := d.Video(msg.Timestamp, body)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, out...)
			}
		}
		if len(got) != 4 {
			t.Fatalf("%d packets", len(got))
		}
		want, scale := packets[1].DTS+1, Timescale
		if announced {
			want, scale = packets[1].DTS*nanosecondsPerTick+600_000, FineTimescale
		}
		if got[0].Track.Timescale != scale || got[1].DTS != want || got[1].Track != got[0].Track {
			t.Errorf("announced %v: %d in %d, want %d in %d", announced, got[1].DTS, got[1].Track.Timescale, want, scale)
		}
	}
}

// many joins messages of one track each into one message of many tracks.
func many(t *testing.T, mode byte, in []Message) []byte {
	t.Helper()
	first := in[0].Body()
	out := []byte{first[0]&0xf0 | exMultitrackVideo, mode<<4 | first[0]&0x0f}
	if first[0]&0x0f == exMultitrackVideo {
		t.Fatal("the first track has to be track 0")
	}
	if mode == multitrackMany {
		out = append(out, first[1:5]...)
	}
	for i, m := range in {
		b := m.Body()
		cc, body := b[1:5], b[5:]
		if i > 0 {
			cc, body = b[2:6], b[7:]
		}
		if mode == multitrackManyCodec {
			out = append(out, cc...)
		}
		out = append(out, byte(i), byte(len(body)>>16), byte(len(body)>>8), byte(len(body)))
		out = append(out, body...)
	}
	return out
}

func TestManyTracksInOneMessage(t *testing.T) {
	for mode, codecs := range map[byte][2]media.Codec{
		multitrackMany:      {media.HEVC, media.HEVC},
		multitrackManyCodec: {media.HEVC, media.AV1},
	} {
		_, a := source(mediatest.Options{NoAudio: true, Video: codecs[0]})
		_, b := source(mediatest.Options{NoAudio: true, Video: codecs[1], Width: 320, Height: 180})
		second := *b[0].Track
		second.ID = 3
		var m Muxer
		var d Demuxer
		var want, got []*media.Packet
		for i := range 30 {
			q := *b[i]
			q.Track = &second
			want = append(want, a[i], &q)
			var rows [2][]Message
			for j, p := range []*media.Packet{a[i], &q} {
				messages, err := m.Packet(p)
				if err != nil {
					t.Fatal(err)
				}
				rows[j] = messages
			}
			for k := range rows[0] {
				pair := []Message{rows[0][k], rows[1][k]}
				out, err := d.Video(pair[0].Timestamp, many(t, mode, pair))
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, out...)
			}
		}
		same(t, want, got)
	}
}

// TestChangesAreBounded sends a new sequence header before every frame.
func TestChangesAreBounded(t *testing.T) {
	a, _, _ := h264(t)
	other, _ := source(mediatest.Options{NoAudio: true, Width: 320, Height: 180})
	_, _, key := h264(t)
	headers := [2][]byte{append([]byte{0x17, 0, 0, 0, 0}, a.Config...), append([]byte{0x17, 0, 0, 0, 0}, other[0].Config...)}
	var d Demuxer
	const seconds, rate = 60, 25
	frames, last := 0, a
	for i := range uint32(seconds * rate) {
		for _, body := range [][]byte{headers[i%2], key} {
			got, err := d.Video(i*1000/rate, body)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range got {
				frames, last = frames+1, p.Track
			}
		}
	}
	if most := maxChanges + seconds*1000/changeTime; last.Version > most || last.Version < most-2 {
		t.Errorf("%d changes, want at most %d", last.Version, most)
	}
	if s := d.Stats(); s.Changed == 0 || int(s.Changed)+frames != seconds*rate {
		t.Errorf("%d frames came through, %+v", frames, s)
	}
	// One that settles is whole again.
	for i := range uint32(3 * rate) {
		got, err := d.Video((seconds*rate+i)*1000/rate, key)
		if err != nil {
			t.Fatal(err)
		}
		frames += len(got)
		if i > 2*rate && len(got) != 1 {
			t.Fatal("frames are still left out")
		}
	}
}

// TestRepeatedHeadersCostNothing sends the same header before every frame.
func TestRepeatedHeadersCostNothing(t *testing.T) {
	_, header, key := h264(t)
	var d Demuxer
	for i := range uint32(1000) {
		if _, err := d.Video(i*40, header); err != nil {
			t.Fatal(err)
		}
		got, err := d.Video(i*40, key)
		if err != nil || len(got) != 1 || got[0].Track.Version != 0 {
			t.Fatalf("%d packets, %v", len(got), err)
		}
	}
}

// TestWhatGoesAlongIsPassedOver mixes colour metadata, channel layouts and ends of
// sequence between frames.
func TestWhatGoesAlongIsPassedOver(t *testing.T) {
	for _, o := range []mediatest.Options{{Video: media.HEVC, Audio: media.Opus}, {Video: media.AV1, Audio: media.Opus}} {
		_, packets := source(o)
		var m Muxer
		var d Demuxer
		var got []*media.Packet
		extras := map[media.Kind][]string{
			media.Video: {"\xd4hvc1\x02\x00\x09colorInfo\x03\x00\x00\x09", "\x92hvc1", "\x92av01", "\x96\x02hvc1\x01", "\x95av01\x80"},
			media.Audio: {"\x94Opus\x01\x02\x00\x00\x00\x03", "\x92Opus", "\x95\x02Opus\x01", ""},
		}
		for _, p := range packets {
			messages, err := m.Packet(p)
			if err != nil {
				t.Fatal(err)
			}
			for _, msg := range messages {
				out, err := feed(&d, msg)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, out...)
			}
			for _, extra := range extras[p.Track.Kind()] {
				out, err := feed(&d, Message{Kind: p.Track.Kind(), Timestamp: messages[0].Timestamp, Data: []byte(extra)})
				if err != nil || len(out) > 0 {
					t.Fatalf("%q yields %d packets, %v", extra, len(out), err)
				}
			}
		}
		same(t, packets, got)
	}
}

// TestEveryCodecOnEveryPath sends each codec as first track, as further track, and with
// nanoseconds.
func TestEveryCodecOnEveryPath(t *testing.T) {
	samples := map[media.Codec][]*media.Packet{}
	for _, o := range []mediatest.Options{{BFrames: 2}, {Video: media.HEVC}, {Video: media.AV1, Audio: media.Opus}, {Video: media.VP9}} {
		_, packets := source(o)
		for _, p := range packets[:40] {
			if c := p.Track.Codec; len(samples[c]) < 10 && (len(samples[c]) > 0 || p.Key) {
				samples[c] = append(samples[c], p)
			}
		}
	}
	for c, frame := range map[media.Codec]string{media.AC3: ac3Frame, media.EAC3: eac3Frame, media.MP3: mp3Frame, media.VP8: "1002009d012a4001b400"} {
		_, samples[c] = dolby(t, c, frame, 1)
	}
	flac, err := bitstream.Describe(&media.Track{ID: 1, Codec: media.FLAC, Timescale: Timescale, Config: append([]byte{0x80, 0, 0, streamInfoSize}, streamInfo()...)})
	if err != nil {
		t.Fatal(err)
	}
	samples[media.FLAC] = []*media.Packet{{Track: flac, Key: true, Data: []byte{0xff, 0xf8, 1, 2}}}
	if len(samples) != int(media.FLAC) {
		t.Fatalf("%d codecs of %d", len(samples), media.FLAC)
	}
	for c, packets := range samples {
		for name, path := range map[string]struct {
			index, scale int
		}{"first": {0, Timescale}, "further": {3, Timescale}, "nanoseconds": {0, 90000}, "further with nanoseconds": {2, 90000}} {
			t.Run(c.String()+" "+name, func(t *testing.T) {
				id := 2*path.index + 1
				if c.Kind() == media.Audio {
					id++
				}
				in, want := *packets[0].Track, *packets[0].Track
				in.ID, in.Timescale, want.ID, want.Timescale = id, path.scale, id, Timescale
				m, d := Muxer{Nanoseconds: true}, Demuxer{}
				for i := range path.index { // what comes before it
					other := *packets[0].Track
					other.ID = 100 + i
					if err := m.Add(&other); err != nil {
						t.Fatal(err)
					}
				}
				at := func(ms int64) int64 { return ms }
				if path.scale != Timescale {
					want.Timescale = FineTimescale
					at = func(ms int64) int64 { return ms*int64(path.scale)/Timescale + 7 } // not on a millisecond
				}
				var sent, got []*media.Packet
				for _, p := range packets {
					q := *p
					q.Track, q.DTS, q.PTS = &in, at(p.DTS), at(p.PTS)
					messages, err := m.Packet(&q)
					if err != nil {
						t.Fatal(err)
					}
					for _, msg := range messages {
						out, err := feed(&d, msg)
						if err != nil {
							t.Fatal(err)
						}
						got = append(got, out...)
					}
					w := q
					w.Track = &want
					w.DTS, w.PTS = media.Rescale(q.DTS, int64(in.Timescale), int64(want.Timescale)), media.Rescale(q.PTS, int64(in.Timescale), int64(want.Timescale))
					sent = append(sent, &w)
				}
				same(t, sent, got)
			})
		}
	}
}
