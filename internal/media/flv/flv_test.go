package flv

import (
	"bytes"
	"context"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

var packetOptions = cmp.Options{cmp.Comparer(bytes.Equal), cmpopts.IgnoreFields(media.Packet{}, "Duration", "Arrival", "Track")}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// source makes the packets of a generator as RTMP has them, and its tracks.
func source(o mediatest.Options) ([]*media.Track, []*media.Packet) {
	o.Timescale = Timescale
	if o.Duration == 0 {
		o.Duration = 2 * time.Second
	}
	g := mediatest.NewGenerator(o)
	var out []*media.Packet
	for {
		p, err := g.ReadPacket(context.Background())
		if err != nil {
			return g.Tracks(), out
		}
		out = append(out, p)
	}
}

// feed puts a message into a demuxer.
func feed(d *Demuxer, m Message) ([]*media.Packet, error) {
	if m.Kind == media.Video {
		return d.Video(m.Timestamp, m.Body())
	}
	return d.Audio(m.Timestamp, m.Body())
}

// through sends packets through a muxer and a demuxer.
func through(t *testing.T, tracks []*media.Track, packets []*media.Packet) (*Demuxer, []*media.Packet) {
	t.Helper()
	var m Muxer
	var d Demuxer
	for _, tr := range tracks {
		if err := m.Add(tr); err != nil {
			t.Fatal(err)
		}
	}
	d.Metadata(m.Metadata())
	var out []*media.Packet
	for _, p := range packets {
		messages, err := m.Packet(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, msg := range messages {
			got, err := feed(&d, msg)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, got...)
		}
	}
	return &d, out
}

func same(t *testing.T, want, got []*media.Packet) {
	t.Helper()
	if d := cmp.Diff(want, got, packetOptions); d != "" {
		t.Fatalf("packets differ (-in +out):\n%s", d)
	}
	for i := range want {
		w, g := *want[i].Track, *got[i].Track
		w.Version, g.Version = 0, 0
		if d := cmp.Diff(w, g); d != "" {
			t.Fatalf("the track of packet %d differs (-in +out):\n%s", i, d)
		}
	}
}

// dolby makes packets of a codec that tells its parameters in every frame.
func dolby(t *testing.T, c media.Codec, frame string, id int) ([]*media.Track, []*media.Packet) {
	t.Helper()
	b := append(unhex(t, frame), make([]byte, 200)...)
	tr, err := bitstream.Probe(&media.Track{ID: id, Codec: c, Timescale: Timescale}, b)
	if err != nil {
		t.Fatal(err)
	}
	var out []*media.Packet
	for i := range 5 {
		out = append(out, &media.Packet{Track: tr, DTS: int64(i) * 32, PTS: int64(i) * 32, Key: true, Data: b})
	}
	return []*media.Track{tr}, out
}

const (
	ac3Frame  = "0b77b50b1e40ebf8403eff99ff0841fc"
	eac3Frame = "0b77017f3487c0002084210838008c06"
	mp3Frame  = "fffb9064000000000000000000000000"
)

func TestRoundTrip(t *testing.T) {
	for name, o := range map[string]mediatest.Options{
		"H.264 and AAC":      {BFrames: 2},
		"HEVC and AAC":       {Video: media.HEVC, BFrames: 3},
		"AV1 and Opus":       {Video: media.AV1, Audio: media.Opus},
		"VP9 and Opus":       {Video: media.VP9, Audio: media.Opus},
		"an undeclared rate": {UndeclaredRate: true, NoAudio: true},
	} {
		t.Run(name, func(t *testing.T) {
			tracks, packets := source(o)
			d, got := through(t, tracks, packets)
			same(t, packets, got)
			if diff := cmp.Diff(tracks, d.Tracks()); diff != "" {
				t.Error(diff)
			}
			if s := d.Stats(); s.NoHeader+s.Refused != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
	for c, frame := range map[media.Codec]string{media.AC3: ac3Frame, media.EAC3: eac3Frame, media.MP3: mp3Frame} {
		t.Run(c.String(), func(t *testing.T) {
			tracks, packets := dolby(t, c, frame, 2)
			d, got := through(t, tracks, packets)
			same(t, packets, got)
			if d.Tracks()[0].Version != 0 {
				t.Error("equal frames made versions")
			}
		})
	}
	t.Run("FLAC", func(t *testing.T) {
		tr, err := bitstream.Describe(&media.Track{ID: 2, Codec: media.FLAC, Timescale: Timescale,
			Config: append([]byte{0x80, 0, 0, streamInfoSize}, streamInfo()...)})
		if err != nil {
			t.Fatal(err)
		}
		in := []*media.Packet{{Track: tr, Key: true, Data: []byte{0xff, 0xf8, 1, 2}}}
		_, got := through(t, nil, in)
		same(t, in, got)
	})
}

// streamInfo makes a STREAMINFO of 48 kHz stereo with 16 bits.
func streamInfo() []byte {
	b := make([]byte, streamInfoSize)
	copy(b, []byte{0x10, 0, 0x10, 0})
	copy(b[10:], []byte{0x0b, 0xb8, 0x02, 0xf0}) // 48000 in 20 bits, 2 channels, 16 bits
	return b
}

func TestMultitrackRoundTrip(t *testing.T) {
	_, a := source(mediatest.Options{NoAudio: true})
	_, b := source(mediatest.Options{NoAudio: true, Width: 640, Height: 360, Seed: 2, BFrames: 1})
	_, c := source(mediatest.Options{NoAudio: true, Width: 320, Height: 180, Video: media.HEVC})
	_, x := source(mediatest.Options{NoVideo: true})
	_, y := source(mediatest.Options{NoVideo: true, Audio: media.Opus})
	retrack := func(in []*media.Packet, id int) []*media.Packet {
		tr := *in[0].Track
		tr.ID = id
		for i := range in {
			p := *in[i]
			p.Track = &tr
			in[i] = &p
		}
		return in
	}
	b, c, y = retrack(b, 3), retrack(c, 5), retrack(y, 4)
	var in []*media.Packet
	for i := range 60 {
		in = append(in, a[i], b[i], c[i], x[i], y[i])
	}
	d, got := through(t, nil, in)
	same(t, in, got)
	if n := len(d.Tracks()); n != 5 {
		t.Errorf("%d tracks", n)
	}
}

// h264 returns the track, the sequence header body, and the body of a key frame.
func h264(t testing.TB) (track *media.Track, header, key []byte) {
	t.Helper()
	tracks, packets := source(mediatest.Options{NoAudio: true, FrameSize: 50})
	header = append([]byte{0x17, 0, 0, 0, 0}, tracks[0].Config...)
	return tracks[0], header, append([]byte{0x17, 1, 0, 0, 0}, packets[0].Data...)
}

func TestFramesWaitForTheirHeader(t *testing.T) {
	_, header, key := h264(t)
	var d Demuxer
	for range 3 {
		if got, err := d.Video(0, key); len(got) != 0 || err != nil {
			t.Fatal(got, err)
		}
	}
	if _, err := d.Video(0, header); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Video(40, key); len(got) != 1 || err != nil {
		t.Fatal(got, err)
	}
	if d.Stats().NoHeader != 3 {
		t.Errorf("%+v", d.Stats())
	}
}

func TestHeaderThatChangesMakesAVersion(t *testing.T) {
	_, header, key := h264(t)
	big, _ := source(mediatest.Options{NoAudio: true, Width: 1920, Height: 1080})
	other := append([]byte{0x17, 0, 0, 0, 0}, big[0].Config...)
	var d Demuxer
	var seen []*media.Track
	for i, body := range [][]byte{header, key, header, key, other, key, other, key, header, key} {
		got, err := d.Video(uint32(i), body)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range got {
			seen = append(seen, p.Track)
		}
	}
	if seen[0] != seen[1] || seen[2] != seen[3] {
		t.Error("a repeated header made a version")
	}
	if seen[2].Version != 1 || seen[2].Width != 1920 || seen[2].ID != 1 || seen[4].Version != 2 || seen[4].Width != 1280 {
		t.Errorf("%+v %+v", seen[2], seen[4])
	}
}

func TestInBandParametersMakeAVersion(t *testing.T) {
	_, header, key := h264(t)
	sps := mediatest.H264SPS(640, 360, 25, 1)
	inBand := append([]byte{0x17, 1, 0, 0, 0}, 0, 0, 0, byte(len(sps)))
	inBand = append(append(inBand, sps...), key[5:]...)
	var d Demuxer
	if _, err := d.Video(0, header); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		got, err := d.Video(uint32(i), inBand)
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		p := got[0]
		if p.Track.Version != 1 || p.Track.Width != 640 || !bytes.Equal(p.Data, key[5:]) || !p.Key {
			t.Errorf("version %d of width %d, key %v, %d bytes of %d", p.Track.Version, p.Track.Width, p.Key, len(p.Data), len(key[5:]))
		}
	}
	// Encoders with parameter sets in their frames repeat the first header now and then.
	if _, err := d.Video(9, header); err != nil {
		t.Fatal(err)
	}
	if got := d.Tracks()[0]; got.Width != 640 || got.Version != 1 {
		t.Errorf("after a repeated header: %+v", got)
	}
}

func TestShortNALLengthsAreMadeLong(t *testing.T) {
	_, header, key := h264(t)
	nal := key[9:]
	for size := range 2 {
		h := bytes.Clone(header)
		h[5+4] = h[5+4]&^3 | byte(size)
		short := []byte{0x17, 1, 0, 0, 0}
		if size == 1 {
			short = append(short, byte(len(nal)>>8))
		} else if len(nal) > 255 {
			nal = nal[:255]
		}
		short = append(append(short, byte(len(nal))), nal...)
		var d Demuxer
		if _, err := d.Video(0, h); err != nil {
			t.Fatal(err)
		}
		got, err := d.Video(0, short)
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		if p := got[0]; p.Track.Config[4]&3 != 3 || !bytes.Equal(p.Data[4:], nal) || len(p.Data) != 4+len(nal) {
			t.Errorf("length size %d: %x", size+1, p.Data[:8])
		}
	}
}

func TestLegacyHEVC(t *testing.T) {
	tracks, packets := source(mediatest.Options{NoAudio: true, Video: media.HEVC})
	var d Demuxer
	if _, err := d.Video(0, append([]byte{0x1c, 0, 0, 0, 0}, tracks[0].Config...)); err != nil {
		t.Fatal(err)
	}
	got, err := d.Video(7, append([]byte{0x1c, 1, 0xff, 0xff, 0xf6}, packets[0].Data...))
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	if p := got[0]; p.DTS != 7 || p.PTS != -3 || p.Track.Codec != media.HEVC || !p.Key {
		t.Errorf("%+v", p)
	}
}

func TestWhatIsNoFrameIsIgnored(t *testing.T) {
	_, header, _ := h264(t)
	for name, body := range map[string][]byte{
		"nothing":                  {},
		"command frame":            {0x57, 0},
		"enhanced command":         {0xd1, 0},
		"end of sequence":          {0x17, 2, 0, 0, 0},
		"short":                    {0x17, 1},
		"empty frame":              {0x17, 1, 0, 0, 0},
		"colour metadata":          append([]byte{0xc4}, "avc1\x02\x00\x09colorInfo"...),
		"enhanced end of sequence": []byte("\x92avc1"),
	} {
		var d Demuxer
		if _, err := d.Video(0, header); err != nil {
			t.Fatal(err)
		}
		if got, err := d.Video(0, body); len(got) != 0 || err != nil || d.Stats().Ignored != 1 {
			t.Errorf("%s: %v %v %+v", name, got, err, d.Stats())
		}
	}
	for name, body := range map[string][]byte{"silence": {}, "short AAC": {0xaf, 1}, "end": []byte("\x92Opus"), "channels": []byte("\x94Opus\x01\x02\x00\x00\x00\x03")} {
		var d Demuxer
		if got, err := d.Audio(0, body); len(got) != 0 || err != nil || d.Stats().Ignored != 1 {
			t.Errorf("%s: %v %v %+v", name, got, err, d.Stats())
		}
	}
}

func TestUnsupportedCodecsAreNamed(t *testing.T) {
	for _, tt := range []struct {
		video bool
		body  string
		want  string
	}{
		{true, "\x14\x00\x00\x00\x00\x00", "VP6 is not supported. Set the encoder's video codec to H.264"},
		{true, "\x12\x00\x00\x00\x00\x00", "Sorenson H.263"},
		{true, "\x90vvc1", "VVC (H.266)"},
		{true, "\x90abcd", `"abcd"`},
		{false, "\xb0\x00", "Speex is not supported. Set the encoder's audio codec to AAC"},
		{false, "\x70\x00", "G.711 A-law"},
		{false, "\x90xyz ", `"xyz "`},
		{false, "\x90av01", `"av01"`},
	} {
		var d Demuxer
		var err error
		if tt.video {
			_, err = d.Video(0, []byte(tt.body))
		} else {
			_, err = d.Audio(0, []byte(tt.body))
		}
		if !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v", tt.body, err)
		}
	}
}

func TestFurtherTrackThatIsUnusableCostsOnlyItself(t *testing.T) {
	_, header, key := h264(t)
	var d Demuxer
	for _, body := range [][]byte{header, []byte("\x96\x00vvc1\x01garbage"), []byte("\x96\x01vvc1\x01garbage"), append([]byte("\x96\x00avc1\x02"), 1, 2, 3)} {
		if got, err := d.Video(0, body); len(got) != 0 || err != nil {
			t.Fatal(got, err)
		}
	}
	if got, err := d.Video(0, key); len(got) != 1 || err != nil {
		t.Fatal(got, err)
	}
	if d.Stats().Refused != 3 || len(d.Tracks()) != 1 {
		t.Errorf("%+v, %d tracks", d.Stats(), len(d.Tracks()))
	}
}

func TestOpusWithoutAHeader(t *testing.T) {
	var d Demuxer
	for _, body := range []string{"\x94Opus\x01\x01\x00\x00\x00\x04", "\x90Opus"} {
		if _, err := d.Audio(0, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.Tracks(); len(got) != 1 || got[0].Channels != 1 || got[0].SampleRate != 48000 {
		t.Errorf("%+v", got)
	}
}

func TestFLACHeaderInBothForms(t *testing.T) {
	info := streamInfo()
	for _, header := range [][]byte{info, cat("fLaC", []byte{0x80, 0, 0, 34}, info)} {
		var d Demuxer
		if _, err := d.Audio(0, cat("\x90fLaC", header)); err != nil {
			t.Fatal(err)
		}
		if tr := d.Tracks()[0]; tr.SampleRate != 48000 || !bytes.Equal(tr.Config[4:], info) {
			t.Errorf("%+v", tr)
		}
	}
}

func TestRecoveryPointIsAKey(t *testing.T) {
	_, header, _ := h264(t)
	sei := []byte{0, 0, 0, 5, 6, 6, 1, 0x84, 0x80}
	slice := []byte{0, 0, 0, 3, 0x41, 0x9a, 1}
	for _, tt := range []struct {
		body []byte
		key  bool
	}{
		{cat("\x17\x01\x00\x00\x00", sei, slice), true},
		{cat("\x27\x01\x00\x00\x00", sei, slice), false},
		{cat("\x17\x01\x00\x00\x00", slice), false},
	} {
		var d Demuxer
		if _, err := d.Video(0, header); err != nil {
			t.Fatal(err)
		}
		got, err := d.Video(0, tt.body)
		if err != nil || len(got) != 1 || got[0].Key != tt.key {
			t.Errorf("%x: %v %v", tt.body, got, err)
		}
	}
}

func TestMuxerOrigin(t *testing.T) {
	tracks, packets := source(mediatest.Options{NoAudio: true})
	m := Muxer{Origin: 1000}
	early := *packets[0]
	early.DTS, early.PTS = 990, 1040
	got, err := m.Packet(&early)
	if err != nil || got[1].Timestamp != 0 || signed24(got[1].Head[2:]) != 40 {
		t.Errorf("%+v %v", got, err)
	}
	late := *packets[1]
	late.DTS, late.PTS = 0, 1<<24
	if _, err := m.Packet(&late); !fault.Is(err, fault.Invalid) {
		t.Errorf("a composition offset of 2^24: %v", err)
	}
	if err := m.Add(&media.Track{Codec: media.UnknownCodec}); !fault.Is(err, fault.Unsupported) {
		t.Error(err)
	}
	if h, err := (&Muxer{}).Headers(0); len(h) != 0 || err != nil {
		t.Error(h, err)
	}
	_ = tracks
}
