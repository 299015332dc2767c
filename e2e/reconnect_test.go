//go:build e2e

package e2e

import (
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// shown is a frame that a player showed, as browser/reconnect.mjs tells.
type shown struct {
	at    time.Time
	media float64 // s
	clock time.Time
	width int
}

func (f *shown) UnmarshalJSON(b []byte) error {
	var v [4]*float64
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	f.at, f.media, f.width = time.UnixMilli(int64(*v[0])), *v[1], int(*v[3])
	if v[2] != nil {
		// What is read from a picture without a clock is a time far away.
		if c := time.UnixMilli(int64(*v[2])); c.Before(f.at.Add(time.Second)) && c.After(f.at.Add(-2*time.Minute)) {
			f.clock = c
		}
	}
	return nil
}

// watched is what became of one player.
type watched struct {
	Errors, Fatal []string
	Waits         int
	State         string
	Restarts      int
	Frames        []shown
}

// audience is a browser with all players on one stream.
type audience struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *lines
	err *lines
}

// watch opens the players and waits until each shows a picture.
func (s *server) watch(t *testing.T, st stream, args ...string) *audience {
	t.Helper()
	a := &audience{t: t, out: newLines(), err: newLines()}
	a.cmd = exec.Command("node", append([]string{"browser/reconnect.mjs", "--url", s.hlsURL(st)}, args...)...)
	a.cmd.Stdout, a.cmd.Stderr = a.out, a.err
	var err error
	if a.in, err = a.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.cmd.Process.Kill()
		a.cmd.Wait()
		if t.Failed() {
			t.Logf("browser:\n%s", a.err.tail(20))
		}
	})
	a.out.wait(t, "playing", 60*time.Second)
	return a
}

// leave closes the browser and returns what the players showed.
func (a *audience) leave() map[string]watched {
	a.t.Helper()
	a.in.Close()
	line := a.out.wait(a.t, `"players"`, 30*time.Second)
	var result struct {
		Players map[string]watched
		Loads   int
	}
	if err := json.Unmarshal([]byte(line), &result); err != nil {
		a.t.Fatal(err)
	}
	if result.Loads > 0 {
		a.t.Errorf("a page was loaded again %d times", result.Loads)
	}
	for name, w := range result.Players {
		a.t.Logf("%s: %d frames, waited %d times, errors %v", name, len(w.Frames), w.Waits, w.Errors)
	}
	return result.Players
}

// delay is the middle age of the frames shown in a stretch; 0 if none has a clock.
func (w watched) delay(from, to time.Time) time.Duration {
	var ages []time.Duration
	for _, f := range w.Frames {
		if f.at.After(from) && f.at.Before(to) && !f.clock.IsZero() {
			ages = append(ages, f.at.Sub(f.clock))
		}
	}
	if len(ages) == 0 {
		return 0
	}
	slices.Sort(ages)
	return ages[len(ages)/2]
}

// still is the longest time between two frames in a stretch.
func (w watched) still(from, to time.Time) (longest time.Duration) {
	last := from
	for _, f := range w.Frames {
		if f.at.After(from) && f.at.Before(to) {
			longest = max(longest, f.at.Sub(last))
			last = f.at
		}
	}
	return max(longest, to.Sub(last))
}

// fresh is when the first frame was shown that is is true for; zero if none was.
func (w watched) fresh(is func(shown) bool) time.Time {
	for _, f := range w.Frames {
		if is(f) {
			return f.at
		}
	}
	return time.Time{}
}

// cut is a publisher's absence.
type cut struct {
	name       string
	lost, back time.Time
	width      int // of the picture that came back
}

// outlives checks that a player went on through a cut.
func (w watched) outlives(t *testing.T, player string, c cut, limit time.Duration) {
	t.Helper()
	before := w.delay(c.lost.Add(-4*time.Second), c.lost)
	first := w.fresh(func(f shown) bool {
		return f.at.After(c.back) && f.width == c.width && (f.clock.After(c.back) || f.clock.IsZero() && c.width != 640)
	})
	if first.IsZero() {
		t.Errorf("%s, %s: no new picture came; fatal %v, errors %v", player, c.name, w.Fatal, w.Errors)
		return
	}
	after := w.delay(first.Add(2*time.Second), first.Add(5*time.Second))
	still := w.still(c.lost, c.back)
	t.Logf("%s, %s: new picture %v after the return, delay %v → %v, stood still %v meanwhile",
		player, c.name, first.Sub(c.back).Round(time.Millisecond), before, after, still.Round(time.Millisecond))
	// Beyond the player's delay, by whichever it shows: that it is as before is asked below.
	if wait := first.Sub(c.back); wait > max(before, after)+limit {
		t.Errorf("%s, %s: the new picture came after %v at a delay of %v, then %v", player, c.name, wait, before, after)
	}
	// As before, but for two parts, and a second more for players that do not catch up and ran
	// dry, as on a busy machine they do by themselves.
	rise := time.Second
	if player == "hls" || player == "shaka" {
		rise += time.Second
	}
	if after > before+rise {
		t.Errorf("%s, %s: the delay rose from %v to %v", player, c.name, before, after)
	}
}

// arrival waits until an encoder has connected, and returns when that was.
func (s *server) arrival(t *testing.T) time.Time {
	t.Helper()
	until(t, "an encoder", 20*time.Second, func() (float64, bool) {
		n := s.metric(t, `onair_ingest_publishers{protocol="rtmp"}`)
		return n, n > 0
	})
	return time.Now()
}

// TestReconnect cuts the publisher off for 1 s, 5 s and 30 s, and lets another one take its
// place: hls.js and Shaka with default settings, Chromium's own player and the server's page
// go on without an error that ends playback.
func TestReconnect(t *testing.T) {
	s := start(t)
	st := s.create("low")
	card := []string{"--size", "640x360", "--bitrate", "600"}
	p := s.testcard(st, card...)
	s.waitPlayable(st, 15*time.Second)
	a := s.watch(t, st, "--page", s.http+"/watch/"+st.playbackID()+"?way=hls")
	pause(t.Context(), 4*time.Second)
	var cuts []cut
	lose := func(name string, gap time.Duration, width int, again func() *publisher) {
		c := cut{name: name, width: width}
		p.kill()
		c.lost = time.Now()
		pause(t.Context(), gap)
		p = again()
		c.back = s.arrival(t)
		cuts = append(cuts, c)
		pause(t.Context(), 8*time.Second)
	}
	same := func() *publisher {
		return encode(t, program(t), append([]string{"publish", s.publishURL(st)}, card...)...)
	}
	lose("1 s", time.Second, 640, same)
	lose("5 s", 5*time.Second, 640, same)
	lose("30 s", 30*time.Second, 640, same)
	pause(t.Context(), 6*time.Second) // until Chromium's own player has left that behind
	lose("another encoder", time.Second, 480, func() *publisher {
		return encode(t, "ffmpeg", "-hide_banner", "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=size=480x270:rate=20",
			"-f", "lavfi", "-i", "sine=frequency=500:sample_rate=44100", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency",
			"-g", "40", "-pix_fmt", "yuv420p", "-c:a", "aac", "-ac", "1", "-f", "flv", s.publishURL(st))
	})
	pause(t.Context(), 3*time.Second) // Chromium's own player is that far behind
	players := a.leave()
	for _, name := range []string{"hls", "shaka", "native", "own"} {
		w := players[name]
		if len(w.Fatal) > 0 {
			t.Errorf("%s: fatal: %v", name, w.Fatal)
		}
		if w.Restarts > 0 {
			t.Errorf("%s began anew %d times", name, w.Restarts)
		}
		for _, c := range cuts {
			w.outlives(t, name, c, 3*time.Second)
		}
	}
}
