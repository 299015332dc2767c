//go:build e2e

package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/wire/rtmp"
)

// beepClip makes a clip whose square, where the test card has it, and beep come together
// each second.
func beepClip(t *testing.T, seconds int) (*clip, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "beep.mp4")
	_, errOut, err := run(t, 60*time.Second, "ffmpeg", "-hide_banner", "-v", "error", "-nostdin",
		"-f", "lavfi", "-i", "color=gray:size=640x360:rate=25,drawbox=x=iw*57/64:y=ih*27/32:w=iw/32:h=ih/16:color=black:t=fill,"+
			"drawbox=x=iw*57/64:y=ih*27/32:w=iw/32:h=ih/16:color=white:t=fill:enable='lt(mod(t,1),0.2)'",
		"-f", "lavfi", "-i", "aevalsrc='0.9*sin(2*PI*1000*t)*lt(mod(t,1),0.2)':s=48000",
		"-t", strconv.Itoa(seconds), "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-keyint_min", "25", "-sc_threshold", "0",
		"-c:a", "aac", "-b:a", "64k", "-f", "mp4", "-use_editlist", "0", "-movflags", "frag_keyframe+empty_moov+default_base_moof", file)
	if err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, errOut)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := &clip{name: "beep"}
	c.packets, c.tracks = readMP4(t, data)
	sort.SliceStable(c.packets, func(i, j int) bool {
		a, b := c.packets[i], c.packets[j]
		return a.Track.Duration(a.DTS) < b.Track.Duration(b.DTS)
	})
	return c, file
}

// TestHostileStampsBecomeContinuousHLS publishes over RTMP with time stamps that are
// wrong, and looks at what a viewer gets: time stamps that grow without a hole, and the
// beep with the square.
func TestHostileStampsBecomeContinuousHLS(t *testing.T) {
	const length = 18
	s := start(t)
	c, file := beepClip(t, length)
	source := syncOffsets(t, file)
	if len(source) < length-2 {
		t.Fatalf("the clip has %d beeps", len(source))
	}
	from := 7 * time.Second
	shift := func(by time.Duration) func(*media.Packet, time.Duration) time.Duration {
		return func(_ *media.Packet, at time.Duration) time.Duration {
			if at >= from {
				return by
			}
			return 0
		}
	}
	var all []*hostile
	for name, tt := range map[string]struct{ hostileStamps }{
		"1 h ahead":         {hostileStamps{stamp: shift(time.Hour)}},
		"1 h back":          {hostileStamps{stamp: shift(-time.Hour), begin: 2 * time.Hour}},
		"2^32 ms":           {hostileStamps{stamp: shift(0), begin: 1<<32*time.Millisecond - from}},
		"0.1 % fast":        {hostileStamps{stamp: func(_ *media.Packet, at time.Duration) time.Duration { return at / 1000 }}},
		"3 s in no time":    {hostileStamps{stamp: shift(3 * time.Second)}},
		"5 s of silence":    {hostileStamps{stamp: shift(0), silent: 5 * time.Second}},
		"5 s, clock stands": {hostileStamps{stamp: shift(-5 * time.Second), silent: 5 * time.Second}},
		"sound 2 s early":   {hostileStamps{stamp: shift(0), late: 2 * time.Second}},
		"backward": {hostileStamps{stamp: func(p *media.Packet, at time.Duration) time.Duration {
			if p.Track.Kind() == media.Video && int(at/(40*time.Millisecond))%10 == 9 {
				return -90 * time.Millisecond
			}
			return 0
		}}},
	} {
		st := s.create("low")
		h := &hostile{name: name, st: st, sent: make(chan error, 1), file: filepath.Join(t.TempDir(), "viewed.mkv")}
		all = append(all, h)
		go func() { h.sent <- hostilePublish(t.Context(), s.publishURL(st), c, from, tt.hostileStamps) }()
	}
	for _, h := range all {
		s.waitPlayable(h.st, 15*time.Second)
		h.viewer = exec.Command("ffmpeg", "-hide_banner", "-v", "error", "-nostdin", "-copyts", "-i", s.hlsURL(h.st), "-t", "60", "-c", "copy", h.file)
		h.viewer.Stderr = &h.log
		if err := h.viewer.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range all {
		if err := <-h.sent; err != nil {
			t.Errorf("%s: %v", h.name, err)
		}
		if err := h.viewer.Wait(); err != nil {
			t.Errorf("%s: ffmpeg: %v\n%s", h.name, err, h.log.String())
		}
	}
	for _, h := range all {
		t.Run(h.name, func(t *testing.T) {
			continuous(t, h.file, 10*time.Second)
			offsets := syncOffsets(t, h.file)
			if len(offsets) < 6 {
				t.Errorf("%d beeps with a square", len(offsets))
			}
			for _, o := range offsets {
				if (o - source[2]).Abs() > 40*time.Millisecond {
					t.Errorf("sound and picture are %v apart, %v at the source (all: %v)", o, source[2], offsets)
					break
				}
			}
		})
	}
}

// hostile is a stream whose publisher's time stamps are wrong, and who views it.
type hostile struct {
	name, file string
	st         stream
	sent       chan error
	viewer     *exec.Cmd
	log        logBuffer
}

// hostileStamps say what is wrong with them.
type hostileStamps struct {
	stamp  func(p *media.Packet, at time.Duration) time.Duration // what is added
	begin  time.Duration                                         // of the first one
	silent time.Duration                                         // nothing is sent for so long
	late   time.Duration                                         // nothing but sound is sent before
}

// hostilePublish sends the clip at its own pace with wrong stamps.
func hostilePublish(ctx context.Context, url string, c *clip, from time.Duration, h hostileStamps) error {
	p, err := rtmp.DialPublish(ctx, url, c.tracks...)
	if err != nil {
		return err
	}
	defer p.Close()
	begin := time.Now()
	for _, q := range c.packets {
		at := q.Track.Duration(q.DTS)
		if at >= from && at < from+h.silent || at < h.late && q.Track.Kind() == media.Video {
			continue
		}
		pause(ctx, time.Until(begin.Add(at)))
		moved := *q
		by := q.Track.Ticks(h.begin + h.stamp(q, at))
		moved.DTS, moved.PTS = q.DTS+by, q.PTS+by
		if err := p.WritePacket(ctx, &moved); err != nil {
			return err
		}
	}
	return nil
}

// continuous checks a recording with ffprobe: time stamps grow, without a hole longer than
// filler has, for at least so long.
func continuous(t *testing.T, file string, length time.Duration) {
	t.Helper()
	out, errOut, err := run(t, 60*time.Second, "ffprobe", "-v", "error", "-show_entries", "packet=codec_type,dts_time", "-of", "csv=p=0", file)
	if err != nil {
		t.Fatalf("ffprobe: %v\n%s", err, errOut)
	}
	first, last := map[string]float64{}, map[string]float64{}
	for _, line := range strings.Fields(out) {
		kind, text, _ := strings.Cut(strings.TrimRight(line, ","), ",")
		at := seconds(t, text)
		was, seen := last[kind]
		if last[kind] = at; !seen {
			first[kind] = at
			continue
		}
		if at <= was || at-was > 1.05 {
			t.Errorf("%s goes on at %.3f after %.3f", kind, at, was)
		}
	}
	for _, kind := range []string{"video", "audio"} {
		if got := last[kind] - first[kind]; got < length.Seconds() {
			t.Errorf("%.1f s of %s", got, kind)
		}
	}
}

// TestACutIsFilled kills an encoder and starts it again: a recording of the stream has no
// hole, and the beep comes with the square before and after.
func TestACutIsFilled(t *testing.T) {
	s := start(t)
	st := s.create("low")
	first := s.testcard(st, "--size", "640x360", "--bitrate", "800")
	s.waitPlayable(st, 15*time.Second)
	file := filepath.Join(t.TempDir(), "viewed.mkv")
	viewer := exec.Command("ffmpeg", "-hide_banner", "-v", "error", "-nostdin", "-copyts", "-i", s.hlsURL(st), "-t", "60", "-c", "copy", file)
	var log logBuffer
	viewer.Stderr = &log
	if err := viewer.Start(); err != nil {
		t.Fatal(err)
	}
	pause(t.Context(), 5*time.Second)
	first.kill()
	s.waitStatus(st, "reconnecting", 5*time.Second)
	pause(t.Context(), 4*time.Second)
	second := s.testcard(st, "--size", "640x360", "--bitrate", "800")
	s.waitStatus(st, "active", 10*time.Second)
	pause(t.Context(), 6*time.Second)
	second.stop()
	s.call("PUT", "/v1/live-streams/"+st.ID+"/complete", nil, nil)
	if err := viewer.Wait(); err != nil {
		t.Errorf("ffmpeg: %v\n%s", err, log.String())
	}
	continuous(t, file, 13*time.Second)
	offsets := syncOffsets(t, file)
	if len(offsets) < 6 {
		t.Errorf("%d beeps with a square", len(offsets))
	}
	for _, o := range offsets {
		if o.Abs() > 40*time.Millisecond {
			t.Errorf("sound and picture are %v apart (all: %v)", o, offsets)
			break
		}
	}
}
