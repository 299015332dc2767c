package clip

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/record"
)

var coders = []struct {
	name string
	args []string
}{
	{"H.264", []string{"-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", "60", "-sc_threshold", "0"}},
	{"H.264 with B-frames", []string{"-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-b-pyramid", "normal", "-g", "60", "-sc_threshold", "0"}},
	{"HEVC with open groups", []string{"-c:v", "libx265", "-preset", "veryfast", "-tag:v", "hvc1", "-x265-params", "log-level=error:keyint=60:min-keyint=60:scenecut=0:bframes=3:open-gop=1:pools=1"}},
	{"AV1", []string{"-c:v", "libsvtav1", "-preset", "10", "-crf", "40", "-g", "60", "-svtav1-params", "scd=0:lp=1"}},
	{"VP9", []string{"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "60", "-b:v", "300k"}},
}

// A clip has the pictures that were asked for and no others, wherever it is cut; those of its
// middle are the recording's, bit by bit, and nothing of it is copied.
func TestClipIsExact(t *testing.T) {
	tool := realTool(t)
	for _, coder := range coders {
		t.Run(coder.name, func(t *testing.T) {
			s := recorded(t, made(t, "11", coder.args...))
			snap := s.snapshot(sourceID)
			all := s.pictures(sourceID)
			for i, p := range all {
				if p.number != i {
					t.Fatalf("picture %d of the recording has number %d", i, p.number)
				}
			}
			m := New(DefaultConfig(), s, tool, nil, nil, quiet, nil)
			random := rand.New(rand.NewPCG(1795779889869953339, 0)) // the same cuts each time
			segments := unpacked(mainOf(snap).Segments)
			borders := []time.Duration{segments[1].Start.Sub(snap.Origin), segments[3].Start.Sub(snap.Origin)}
			for k := range 9 {
				a, b := random.IntN(len(all)), random.IntN(len(all))
				if a > b {
					a, b = b, a
				}
				start, end := all[a].at, all[b].at+time.Second/rate
				switch k {
				case 0: // the edges of segments
					start, end = borders[0], borders[1]
				case 1:
					start, end = borders[0], borders[1]+100*time.Millisecond
				case 2:
					start, end = borders[0]+100*time.Millisecond, borders[1]
				case 3: // within one segment
					start, end = borders[1]+500*time.Millisecond, borders[1]+1500*time.Millisecond
				case 4: // of two segments
					start, end = borders[1]-300*time.Millisecond, borders[1]+300*time.Millisecond
				case 5: // between two pictures
					start, end = all[a].at+10*time.Millisecond, all[b].at+50*time.Millisecond
				case 7: // with the last picture before a key frame, which may lead it
					start = borders[0] - time.Second/rate
				case 8: // with the first one that may lead it
					start, end = borders[1]-2*time.Second/rate, borders[1]+400*time.Millisecond
				}
				s.checkClip(t, m, fmt.Sprintf("as_clip%d", k), all, start, end)
			}
		})
	}
}

func numbers(list []picture) (out []int) {
	for _, p := range list {
		out = append(out, p.number)
	}
	return out
}

// checkClip makes a clip and compares it with the recording.
func (s *source) checkClip(t *testing.T, m *Maker, id string, all []picture, start, end time.Duration) {
	t.Helper()
	snap := s.snapshot(sourceID)
	r := Request{ID: id, Asset: sourceID, Start: snap.Origin.Add(start), End: snap.Origin.Add(end)}
	if err := m.Make(t.Context(), r); err != nil {
		t.Errorf("%v to %v: %v", start, end, err)
		return
	}
	var want []picture
	for _, p := range all {
		if p.at >= start-grain && p.at < end-grain {
			want = append(want, p)
		}
	}
	got := s.pictures(id)
	if len(got) != len(want) {
		t.Errorf("%v to %v: %d pictures, not %d; numbers %v, not %v", start, end, len(got), len(want), numbers(got), numbers(want))
		return
	}
	for i := range got {
		if got[i].number != want[i].number || got[i].at != want[i].at {
			t.Errorf("%v to %v: picture %d is %d at %v, not %d at %v", start, end, i, got[i].number, got[i].at, want[i].number, want[i].at)
			return
		}
	}
	clip := s.snapshot(id)
	main, own := mainOf(clip), 0
	list := unpacked(main.Segments)
	for i := range list {
		seg := &list[i]
		if i > 0 && seg.BaseTime != list[i-1].BaseTime+list[i-1].Ticks {
			t.Errorf("%v to %v: segment %d is decoded from %d, and the one before it ends at %d", start, end, i, seg.BaseTime, list[i-1].BaseTime+list[i-1].Ticks)
		}
		if seg.Asset == "" {
			own++
			continue
		}
		from, to := seg.Start.Sub(snap.Origin), seg.Start.Add(seg.Duration).Sub(snap.Origin)
		for n := range got {
			if got[n].at >= from && got[n].at < to-grain && got[n].luma != want[n].luma {
				t.Errorf("%v to %v: picture %d in the middle is another", start, end, got[n].number)
			}
		}
	}
	if c := main.Inits[0].Track.Codec; len(main.Inits) != 1 && (c == media.H264 || c == media.VP9) {
		t.Errorf("%v to %v: %d initialization sections", start, end, len(main.Inits))
	}
	if own > 3 {
		t.Errorf("%v to %v: %d of %d segments are its own", start, end, own, len(list))
	}
	s.checkSound(t, clip, min(start, got[0].at), got[0].at, end)
}

// checkSound compares the frames of sound with the recording's. What was asked for may begin a
// little before the first picture, at start.
func (s *source) checkSound(t *testing.T, clip *record.Snapshot, asked, start, end time.Duration) {
	t.Helper()
	source := s.snapshot(sourceID)
	frames := func(snap *record.Snapshot) (out []*media.Packet, track *media.Track) {
		for _, r := range snap.Renditions {
			if r.Kind == media.Audio {
				for _, seg := range unpacked(r.Segments) {
					out = append(out, packets(t, r.Inits[seg.Init].Data, s.bytesOf(snap.ID, r.Name, &seg))...)
				}
				return out, r.Inits[0].Track
			}
		}
		t.Fatal("there is no sound")
		return nil, nil
	}
	all, track := frames(source)
	got, _ := frames(clip)
	const frame = 1024
	for i, p := range got {
		if i > 0 && p.DTS != got[i-1].DTS+got[i-1].Duration {
			t.Errorf("%v to %v: a frame of sound is at %d, and the one before ends at %d", start, end, p.DTS, got[i-1].DTS+got[i-1].Duration)
		}
		if n := int((p.PTS - all[0].PTS) / frame); n < 0 || n >= len(all) || string(all[n].Data) != string(p.Data) {
			t.Errorf("%v to %v: a frame of sound is none of the recording's", start, end)
		}
	}
	first, last := track.Duration(got[0].PTS), track.Duration(got[len(got)-1].PTS+frame)
	// It is heard when the first picture is shown, and not much longer than the last one.
	const one = frame * time.Second / 48000
	if first > max(start, track.Duration(all[0].PTS)) || first < asked-one-2*grain || (last-end).Abs() > one+time.Second/rate {
		t.Errorf("%v to %v: the sound is from %v to %v", start, end, first, last)
	}
}
