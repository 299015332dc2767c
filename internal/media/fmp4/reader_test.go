package fmp4

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

func readAll(t testing.TB, r *Reader) []*media.Packet {
	t.Helper()
	var ps []*media.Packet
	for {
		p, err := r.ReadPacket(context.Background())
		if errors.Is(err, io.EOF) {
			return ps
		}
		if err != nil {
			t.Fatalf("after %d packets: %v", len(ps), err)
		}
		ps = append(ps, p)
	}
}

func tool(t testing.TB, name string) {
	t.Helper()
	mediatest.Program(t, name)
}

func run1(t testing.TB, stdin []byte, name string, args ...string) []byte {
	t.Helper()
	c := exec.Command(name, args...)
	var out, msg bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(stdin), &out, &msg
	if err := c.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, msg.String())
	}
	return out.Bytes()
}

const ffmpegFlags = "empty_moov+default_base_moof+frag_"

func ffmpeg(t testing.TB, frag string, args ...string) []byte {
	t.Helper()
	all := append([]string{"-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x180:rate=30:duration=1.5",
		"-f", "lavfi", "-i", "sine=sample_rate=48000:duration=1.5", "-pix_fmt", "yuv420p", "-g", "15", "-ac", "2"}, args...)
	return run1(t, nil, "ffmpeg", append(all, "-f", "mp4", "-movflags", ffmpegFlags+frag, "pipe:1")...)
}

// stamp is what ffprobe and the Reader must agree on.
type stamp struct {
	Track    int
	DTS, PTS int64
	Key      bool
}

func (s stamp) String() string { return fmt.Sprintf("%+v", struct{ stamp }{s}) }

// probe asks ffprobe for the packets of a file, by track.
func probe(t testing.TB, file []byte) map[int][]stamp {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.mp4")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out := run1(t, nil, "ffprobe", "-v", "error", "-of", "json", "-show_entries",
		"packet=stream_index,pts,dts,flags:stream=index,id,codec_type", path)
	var v struct {
		Packets []struct {
			Stream   int `json:"stream_index"`
			PTS, DTS int64
			Flags    string
		}
		Streams []struct {
			Index int
			ID    string
			Type  string `json:"codec_type"`
		}
	}
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatal(err)
	}
	ids := map[int]int{}
	for _, s := range v.Streams {
		if s.Type == "video" || s.Type == "audio" {
			id, err := strconv.ParseInt(s.ID, 0, 32)
			if err != nil {
				t.Fatal(err)
			}
			ids[s.Index] = int(id)
		}
	}
	byTrack := map[int][]stamp{}
	for _, p := range v.Packets {
		if id := ids[p.Stream]; id != 0 {
			byTrack[id] = append(byTrack[id], stamp{id, p.DTS, p.PTS, strings.HasPrefix(p.Flags, "K")})
		}
	}
	return byTrack
}

func stamps(ps []*media.Packet) map[int][]stamp {
	byTrack := map[int][]stamp{}
	for _, p := range ps {
		id := p.Track.ID
		byTrack[id] = append(byTrack[id], stamp{id, p.DTS, p.PTS, p.Key})
	}
	return byTrack
}

// remux writes the packets as CMAF, one file a track, with a fragment for each n packets.
func remux(t testing.TB, ps []*media.Packet, n int) map[int][]byte {
	t.Helper()
	files, open := map[int][]byte{}, map[int]*Fragment{}
	flush := func(f *Fragment) { files[f.Track.ID] = f.AppendTo(files[f.Track.ID]) }
	for _, p := range ps {
		id := p.Track.ID
		f := open[id]
		if f == nil {
			init, err := Init(p.Track)
			if err != nil {
				t.Fatal(err)
			}
			files[id] = init
		}
		if f == nil || len(f.Samples) == n {
			sequence := uint32(1)
			if f != nil {
				flush(f)
				sequence = f.Sequence + 1
			}
			f = &Fragment{Sequence: sequence, Track: p.Track, BaseDTS: p.DTS}
			open[id] = f
		}
		f.Samples = append(f.Samples, Sample{uint32(p.Duration), int32(p.PTS - p.DTS), p.Key, p.Data})
	}
	for _, f := range open {
		flush(f)
	}
	return files
}

func TestReaderReadsWhatFFmpegPipes(t *testing.T) {
	if testing.Short() {
		t.Skip("runs encoders for some seconds")
	}
	tool(t, "ffmpeg")
	tool(t, "ffprobe")
	for _, tt := range []struct {
		name, frag string
		args       []string
		want       []string // codec strings
	}{
		{"h264 B-frames", "keyframe", []string{"-c:v", "libx264", "-bf", "2", "-c:a", "aac"}, []string{"avc1.64000d", "mp4a.40.2"}},
		{"h264 every frame", "every_frame", []string{"-c:v", "libx264", "-tune", "zerolatency", "-c:a", "aac"}, []string{"avc1.64000d", "mp4a.40.2"}},
		{"edit list", "keyframe+delay_moov", []string{"-c:v", "libx264", "-bf", "2", "-c:a", "aac"}, []string{"avc1.64000d", "mp4a.40.2"}},
		{"ladder", "keyframe", []string{"-map", "0:v", "-map", "0:v", "-map", "1:a", "-c:v", "libx264", "-s:v:1", "160x90", "-c:a", "aac"},
			[]string{"avc1.64000d", "avc1.64000b", "mp4a.40.2"}},
		{"hevc ac3", "keyframe+delay_moov", []string{"-c:v", "libx265", "-x265-params", "log-level=none", "-tag:v", "hvc1", "-c:a", "ac3"}, []string{"hvc1.1.6.L60.90", "ac-3"}},
		{"vp9 opus", "keyframe", []string{"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"}, []string{"vp09.00.11.08", "Opus"}},
		{"av1 flac", "keyframe", []string{"-c:v", "libsvtav1", "-preset", "12", "-c:a", "flac", "-strict", "-2"}, []string{"av01.0.00M.08", "fLaC"}},
		{"mp3", "keyframe", []string{"-vn", "-c:a", "libmp3lame"}, []string{"mp4a.40.34"}},
		{"eac3", "keyframe+delay_moov", []string{"-vn", "-c:a", "eac3"}, []string{"ec-3"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := ffmpeg(t, tt.frag, tt.args...)
			// Odd reads must not matter.
			r := NewReader(iotest.HalfReader(bytes.NewReader(file)))
			ps := readAll(t, r)
			var got []string
			for _, tr := range r.Tracks() {
				got = append(got, tr.CodecString)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("codec strings (-want +got):\n%s", d)
			}
			if d := cmp.Diff(probe(t, file), stamps(ps)); d != "" {
				t.Errorf("packets (-ffprobe +got):\n%s", d)
			}
			interleaved(t, ps)
			for id, f := range remux(t, ps, 7) {
				back := readAll(t, NewReader(bytes.NewReader(f)))
				if len(back) == 0 {
					t.Fatalf("track %d: nothing comes back", id)
				}
				if msg := run1(t, f, "ffmpeg", "-v", "error", "-i", "pipe:0", "-f", "null", "-"); len(msg) > 0 {
					t.Errorf("track %d: ffmpeg complains about our file: %s", id, msg)
				}
			}
		})
	}
}

func interleaved(t *testing.T, ps []*media.Packet) {
	t.Helper()
	last := map[int]int64{}
	for _, p := range ps {
		if d, ok := last[p.Track.ID]; ok && p.DTS < d {
			t.Errorf("track %d: DTS %d after %d", p.Track.ID, p.DTS, d)
		}
		last[p.Track.ID] = p.DTS
		if p.Arrival.IsZero() {
			t.Error("a packet has no arrival")
		}
	}
}

// Without ffmpeg: what Init and AppendTo wrote comes back as it was.
func TestReaderInvertsWriter(t *testing.T) {
	for _, o := range []mediatest.Options{
		{NoAudio: true, BFrames: 2}, {NoVideo: true}, {NoAudio: true, Video: media.HEVC}, {NoAudio: true, Video: media.AV1},
		{NoAudio: true, Video: media.VP9}, {NoVideo: true, Audio: media.Opus},
	} {
		o.FrameSize = 100
		g := mediatest.NewGenerator(o)
		var want []*media.Packet
		for range 50 {
			p := *g.Next()
			p.Arrival = p.Arrival.UTC()
			want = append(want, &p)
		}
		for _, f := range remux(t, want, 7) {
			r := NewReader(bytes.NewReader(f))
			got := readAll(t, r)
			for i, p := range got {
				p.Arrival = want[i].Arrival
				track := *p.Track
				track.ID = want[i].Track.ID
				p.Track = &track
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("%v: (-want +got)\n%s", r.Tracks()[0].Codec, d)
			}
		}
	}
}

func TestReaderReadsSharedFiles(t *testing.T) {
	tool(t, "ffprobe")
	for _, name := range []string{"audio_en_2c_128k_aac.mp4", "fragmented_captions.mp4", "sample_opus_fragmented.mp4", "sd-dash0000000000.m4s", "video_144p_108k_h264.mp4"} {
		t.Run(name, func(t *testing.T) {
			file, err := os.ReadFile(mediatest.SharedFile(t, "mp4/"+name))
			if err != nil {
				t.Fatal(err)
			}
			ps := readAll(t, NewReader(bytes.NewReader(file)))
			if d := cmp.Diff(probe(t, file), stamps(ps)); d != "" {
				t.Errorf("packets (-ffprobe +got):\n%s", d)
			}
		})
	}
}

// Every file, fragmented or not, must give packets or a named error.
func TestReaderNamesWhatItCannotRead(t *testing.T) {
	dir := filepath.Dir(mediatest.SharedFile(t, "mp4/ed_hevc.mp4"))
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		r := NewReader(bytes.NewReader(b))
		n := 0
		for err == nil {
			if _, err = r.ReadPacket(context.Background()); err == nil {
				n++
			}
		}
		var named *fault.Error
		if !errors.Is(err, io.EOF) && !errors.As(err, &named) {
			t.Errorf("%s: %v", f.Name(), err)
		}
		t.Logf("%s: %d packets, %v", f.Name(), n, err)
	}
}

func TestReaderErrors(t *testing.T) {
	g := mediatest.NewGenerator(mediatest.Options{NoAudio: true})
	var ps []*media.Packet
	for range 20 {
		ps = append(ps, g.Next())
	}
	file := remux(t, ps, 10)[mediatest.VideoID]
	init, err := Init(ps[0].Track)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		in      []byte
		packets int
		kind    fault.Kind
		is      error
	}{
		{"nothing", nil, 0, fault.Invalid, io.ErrUnexpectedEOF},
		{"header cut", init[:100], 0, fault.Invalid, io.ErrUnexpectedEOF},
		{"fragment cut", file[:len(file)-1], 10, fault.Invalid, io.ErrUnexpectedEOF},
		{"no header", file[len(init):], 0, fault.Invalid, nil},
		{"not MP4", []byte("this is no MP4 at all, but text"), 0, fault.Invalid, io.ErrUnexpectedEOF},
		{"header only", init, 0, "", io.EOF},
		{"progressive", append(bytes.Clone(init), 0, 0, 0, 12, 'm', 'd', 'a', 't', 1, 2, 3, 4), 0, fault.Unsupported, nil},
		{"unknown codec", bytes.Replace(init, []byte("avc1"), []byte("drac"), 1), 0, fault.Unsupported, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := NewReader(bytes.NewReader(tt.in))
			n := 0
			var err error
			for err == nil {
				if _, err = r.ReadPacket(context.Background()); err == nil {
					n++
				}
			}
			if n != tt.packets {
				t.Errorf("%d packets, want %d", n, tt.packets)
			}
			if tt.kind != "" && !fault.Is(err, tt.kind) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v, want %s, %v", err, tt.kind, tt.is)
			}
			if _, again := r.ReadPacket(context.Background()); again == nil || again.Error() != err.Error() {
				t.Errorf("then %v: the error is not final", again)
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := NewReader(bytes.NewReader(file)).ReadPacket(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	lost := errors.New("lost")
	if _, err := NewReader(iotest.ErrReader(lost)).ReadPacket(context.Background()); !errors.Is(err, lost) {
		t.Errorf("the reader's own error is lost: %v", err)
	}
}

// A change of parameters in the payload is a new version of the track.
func TestReaderSeesNewParameters(t *testing.T) {
	big := mediatest.NewGenerator(mediatest.Options{NoAudio: true})
	small := mediatest.H264SPS(640, 360, 30, 1)
	first := big.Next()
	var unit []byte
	for _, n := range [][]byte{small, mediatest.H264PPS()} {
		unit = append(unit, 0, 0, 0, byte(len(n)))
		unit = append(unit, n...)
	}
	second := *first
	second.DTS += 3000
	second.Data = append(unit, first.Data...)
	file := remux(t, []*media.Packet{first, &second}, 1)[mediatest.VideoID]
	r := NewReader(bytes.NewReader(file))
	ps := readAll(t, r)
	if len(ps) != 2 || ps[0].Track.Width != 1280 || ps[0].Track.Version != 0 {
		t.Fatalf("before the change: %+v", ps[0].Track)
	}
	if tr := ps[1].Track; tr.Width != 640 || tr.Version != 1 || r.Tracks()[0] != tr {
		t.Errorf("after the change: %+v", tr)
	}
	if !bytes.Equal(ps[1].Data, first.Data) || !bitstream.IsKey(media.H264, ps[1].Data) {
		t.Error("the parameter sets stayed in the payload")
	}
}
