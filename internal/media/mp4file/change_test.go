package mp4file

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

// follow appends another recording to r, track by track.
func (r *recording) follow(next *recording) {
	for i := range r.tracks {
		r.tracks[i].Segments = append(r.tracks[i].Segments, next.tracks[i].Segments...)
		r.chunks[i] = append(r.chunks[i], next.chunks[i]...)
		r.expected[i] = append(r.expected[i], next.expected[i]...)
	}
}

// changing records 4 s of each of the options, one after the other.
func changing(t testing.TB, options ...mediatest.Options) *recording {
	t.Helper()
	var r *recording
	for i, o := range options {
		o.Duration, o.Offset = 4*time.Second, time.Duration(i)*4*time.Second
		next := record(t, generate(o), 2*time.Second, 7)
		if r == nil {
			r = next
		} else {
			r.follow(next)
		}
	}
	return r
}

// A track whose parameters change has a sample entry of each, and in each key frame of
// H.264 and HEVC what the decoder needs for it; what is the same again is not new.
func TestChangeOfParameters(t *testing.T) {
	for _, codec := range []media.Codec{media.H264, media.HEVC, media.AV1, media.VP9} {
		t.Run(codec.String(), func(t *testing.T) {
			large := mediatest.Options{Video: codec, BFrames: 2}
			small := large
			small.Width, small.Height = 640, 360
			r := changing(t, large, small, large)
			var want []byte // the samples of pictures as they must be in the file
			sets := map[*media.Track][]byte{}
			for i, at := range []int{0, 2, 4} {
				track := r.tracks[0].Segments[at].Track
				for _, set := range bitstream.ParameterSets(track) {
					sets[track] = append(append(sets[track], 0, 0, byte(len(set)>>8), byte(len(set))), set...)
				}
				if hasSets := codec == media.H264 || codec == media.HEVC; hasSets != (len(sets[track]) > 0) {
					t.Fatalf("part %d has %d bytes of parameter sets", i, len(sets[track]))
				}
			}
			n := 0
			for _, s := range r.tracks[0].Segments {
				reader, err := s.Table.read(s.Size)
				if err != nil {
					t.Fatal(err)
				}
				for range reader.left {
					w := &r.expected[0][n]
					if w.sync {
						w.data = append(bytes.Clone(sets[s.Track]), w.data...)
					}
					want = append(want, w.data...)
					n++
				}
			}
			f := r.file(t)
			b := whole(t, f)
			compare(t, r, b)
			parsed, list := parse(t, b)
			var have []byte
			for _, g := range list[0] {
				have = append(have, g.data...)
			}
			if !bytes.Equal(have, want) {
				t.Error("the samples differ")
			}
			stbl := parsed.Moov.Traks[0].Mdia.Minf.Stbl
			if n := len(stbl.Stsd.Children); n != 2 {
				t.Errorf("%d sample entries", n)
			}
			var used []string
			for i, e := range stbl.Stsc.Entries {
				used = append(used, fmt.Sprintf("%d from %d", stbl.Stsc.GetSampleDescriptionID(i+1), e.FirstChunk))
			}
			if got := strings.Join(used, ", "); got != "1 from 1, 2 from 3, 1 from 5" {
				t.Errorf("the segments have the entries %s", got)
			}
			random := rand.New(rand.NewPCG(5, 6))
			for range 3000 {
				from := random.Int64N(f.Size())
				n := random.Int64N(min(f.Size()-from, 1<<(1+random.IntN(18)))) + 1
				var part bytes.Buffer
				if err := f.CopyRange(t.Context(), &part, from, n); err != nil || !bytes.Equal(part.Bytes(), b[from:from+n]) {
					t.Fatalf("the range of %d bytes from %d: %v, or it differs", n, from, err)
				}
			}
		})
	}
}

// What only looks like a change leaves the file as it is.
func TestTheSameParametersAgain(t *testing.T) {
	r := changing(t, mediatest.Options{}, mediatest.Options{})
	for i := range r.tracks {
		version := *r.tracks[i].Track
		version.Version, version.ID = 3, 9
		r.tracks[i].Segments[1].Track = &version
	}
	b := whole(t, r.file(t))
	compare(t, r, b)
	f, _ := parse(t, b)
	for i, trak := range f.Moov.Traks {
		if n := len(trak.Mdia.Minf.Stbl.Stsd.Children); n != 1 {
			t.Errorf("track %d has %d sample entries", i, n)
		}
	}
}

// The number of channels may change, and what else a decoder sees itself.
func TestChangeOfChannels(t *testing.T) {
	for _, codec := range []media.Codec{media.AAC, media.Opus} {
		o := mediatest.Options{NoVideo: true, Audio: codec}
		mono := o
		mono.Channels = 1
		r := changing(t, o, mono)
		b := whole(t, r.file(t))
		compare(t, r, b)
		f, _ := parse(t, b)
		if n := len(f.Moov.Trak.Mdia.Minf.Stbl.Stsd.Children); n != 2 {
			t.Errorf("%v: %d sample entries", codec, n)
		}
	}
}

func TestChangesThatAreRefused(t *testing.T) {
	video, sound := mediatest.Options{NoAudio: true}, mediatest.Options{NoVideo: true}
	with := func(o mediatest.Options, f func(*mediatest.Options)) mediatest.Options { f(&o); return o }
	for _, tt := range []struct {
		a, b  mediatest.Options
		words string
	}{
		{video, with(video, func(o *mediatest.Options) { o.Video = media.HEVC }), "from H.264 of 1280x720 to HEVC of 1280x720 after 4s, and a track of an MP4 file has one codec"},
		{sound, with(sound, func(o *mediatest.Options) { o.Audio = media.Opus }), "one codec"},
		{sound, with(sound, func(o *mediatest.Options) { o.SampleRate = 44100 }), "from AAC of 48000 Hz with 2 channels to AAC of 44100 Hz with 2 channels after 4s, and browsers go on"},
		{video, with(video, func(o *mediatest.Options) { o.Timescale = 1000 }), "1000 ticks a second"},
	} {
		r := changing(t, tt.a, tt.b)
		if _, err := New(r.tracks, r.open); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%v, want %q", err, tt.words)
		}
	}
}

func TestSameCore(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"\x11\x90", "\x11\x90", true},
		{"\x11\x90", "\x11\x88", true},             // mono
		{"\x11\x90", "\x11\x90\x56\xe5\x00", true}, // says that there is no SBR
		{"\x11\x90", "\x12\x10", false},            // 44.1 kHz
		{"\x11\x90", "\x2b\x11\x88", false},        // HE-AAC of 48 kHz
		{"\xf9\x46\x40", "\xf9\x46\x42", false},
		{"\x11", "\x11\x90", false},
	} {
		if sameCore([]byte(tt.a), []byte(tt.b)) != tt.same {
			t.Errorf("%x and %x", tt.a, tt.b)
		}
	}
}

func TestTooManyChanges(t *testing.T) {
	r := changing(t, mediatest.Options{NoAudio: true})
	for n := range maxEntries {
		track := *r.tracks[0].Track
		track.Width += n + 1
		seg := r.tracks[0].Segments[0]
		seg.Track = &track
		seg.BaseTime = int64(n+1) * 4 * 90000
		r.tracks[0].Segments = append(r.tracks[0].Segments, seg)
	}
	_, err := New(r.tracks, r.open)
	if !fault.Is(err, fault.TooLarge) || !strings.Contains(err.Error(), fmt.Sprint(maxEntries)) {
		t.Errorf("%v", err)
	}
	r.tracks[0].Segments = r.tracks[0].Segments[:maxEntries]
	if _, err := New(r.tracks, r.open); err != nil {
		t.Error(err)
	}
}
