//go:build e2e

package e2e

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"onair/internal/record/recordtest"
)

const (
	// bucketAway is how long the S3 server is stopped in the middle of a recording.
	bucketAway = 60 * time.Second
	// bucketBack is how long what waits may take then: the longest pause between two
	// attempts is 30 s.
	bucketBack = 60 * time.Second
)

// bucketArgs are the settings of a server that records into the bucket.
func bucketArgs(s3 *recordtest.Server, secret string) []string {
	return []string{
		"--record-s3-endpoint", s3.Endpoint, "--record-s3-bucket", s3.Bucket, "--record-s3-access-key", s3.AccessKey,
		"--record-s3-secret-key", secret, "--record-s3-prefix", "e2e",
	}
}

// listen listens to the events of a server.
func (s *server) listen(t *testing.T) *lines {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.http+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	events := newLines()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer res.Body.Close()
		buf := make([]byte, 4096)
		for {
			n, err := res.Body.Read(buf)
			events.Write(buf[:n])
			if err != nil {
				events.close()
				return
			}
		}
	}()
	t.Cleanup(func() {
		res.Body.Close()
		<-done
	})
	return events
}

// spooled waits until no more than a number of objects waits for the bucket.
func (s *server) spooled(t *testing.T, most float64, limit time.Duration) time.Duration {
	t.Helper()
	begun := time.Now()
	for s.metric(t, "onair_record_spool_objects") > most {
		if time.Since(begun) > limit {
			t.Fatalf("%v objects wait for the bucket after %v", s.metric(t, "onair_record_spool_objects"), limit)
		}
		pause(t.Context(), 100*time.Millisecond)
	}
	return time.Since(begun)
}

// bucketOrder returns the objects of an asset in the bucket in the order in which they came,
// the index among them.
func bucketOrder(t *testing.T, s3 *recordtest.Server, id string) []string {
	t.Helper()
	type object struct {
		name string
		at   time.Time
	}
	var list []object
	root := filepath.Join(s3.Objects(), "e2e")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		name, _ := filepath.Rel(root, path)
		if strings.HasPrefix(name, id+"/") || name == "index/"+id+".log" {
			list = append(list, object{name, info.ModTime()})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(list, func(a, b object) int { return a.at.Compare(b.at) })
	var names []string
	for _, o := range list {
		names = append(names, o.name)
	}
	return names
}

// localMedia counts what is left of a recording's media in the data folder.
func localMedia(t *testing.T, data string) (n int) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(data, "recordings"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (strings.HasSuffix(path, ".m4s") || strings.HasSuffix(path, ".mp4")) {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRecordingIntoBucket records into a real S3 server that is stopped in the middle and
// again at the end: nothing is lost, the order is kept, nothing is left waiting, and the asset
// plays from the bucket alone.
func TestRecordingIntoBucket(t *testing.T) {
	beside(t)
	s3 := recordtest.NewServer(t)
	data := t.TempDir()
	s := start(t, append(bucketArgs(s3, s3.SecretKey), "--data", data)...)
	events := s.listen(t)
	st := s.createWith(map[string]any{"latency_mode": "low", "record": true})
	p := s.testcard(st, "--size", "320x180", "--bitrate", "300")
	s.waitPlayable(st, 15*time.Second)
	a := s.assetOf(st, 20*time.Second, func(a asset) bool { return a.Status == "recording" && a.Duration >= 6 })
	s.spooled(t, 4, 10*time.Second)

	s3.Stop()
	stopped := time.Now()
	events.wait(t, "storage.away", 20*time.Second)
	pause(t.Context(), bucketAway-time.Since(stopped))
	if got := s.assetOf(st, time.Second, func(b asset) bool { return b.ID == a.ID }); got.Status != "recording" || got.Duration < a.Duration+bucketAway.Seconds()-4 {
		t.Errorf("after %v without the bucket the asset is %s, with %.1f s", bucketAway, got.Status, got.Duration)
	}
	most := s.metric(t, "onair_record_spool_objects")
	s3.Start()
	events.wait(t, "storage.back", bucketBack)
	t.Logf("%v objects waited after %v, and were sent %v after the server was back", most, bucketAway, s.spooled(t, 4, bucketBack).Round(100*time.Millisecond))
	pause(t.Context(), 4*time.Second)

	s3.Stop()
	pause(t.Context(), 3*time.Second)
	p.stop()
	s.call(http.MethodPost, "/v1/live-streams/"+st.ID+"/complete", nil, nil)
	a = s.assetOf(st, 10*time.Second, recorded)
	if n := localMedia(t, data); n == 0 {
		t.Error("nothing waits for the bucket, which is away")
	}
	pause(t.Context(), 5*time.Second)
	s3.Start()
	t.Logf("the spool is empty %v after the server was back", s.spooled(t, 0, bucketBack).Round(100*time.Millisecond))
	if n := localMedia(t, data); n > 0 {
		t.Errorf("%d objects are left in the data folder", n)
	}

	// In the order of their numbers in each rendition, and the index at last.
	order := bucketOrder(t, s3, a.ID)
	if len(order) == 0 || order[len(order)-1] != "index/"+a.ID+".log" {
		t.Fatalf("the index does not come last: %v", order)
	}
	segments, last := 0, map[string]int{}
	for _, name := range order[:len(order)-1] {
		rendition, number := filepath.Dir(name), strings.Split(filepath.Base(name), ".")
		n, err := strconv.Atoi(number[1])
		if err != nil || number[2] != "m4s" {
			continue
		}
		if before, ok := last[rendition]; ok && n != before+1 {
			t.Errorf("%s: %d comes after %d", rendition, n, before)
		}
		last[rendition] = n
		segments++
	}
	if least := 2 * int(a.Duration/2); segments < least {
		t.Errorf("%d segments in the bucket, for %.1f s", segments, a.Duration)
	}

	// It plays, from the bucket: there is nothing else.
	url := s.http + "/hls/" + a.PlaybackIDs[0].ID + "/index.m3u8"
	if text := s.firstMedia(url); strings.Contains(text, "EXT-X-GAP") || strings.Contains(text, "EXT-X-DISCONTINUITY\n") {
		t.Errorf("something is missing:\n%s", text)
	}
	out, errOut, err := run(t, time.Minute, "ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", url)
	if err != nil || strings.TrimSpace(errOut) != "" {
		t.Fatalf("%v %s", err, errOut)
	}
	if d := seconds(t, strings.TrimSpace(out)); d < a.Duration-0.2 || d > a.Duration+0.2 {
		t.Errorf("it plays for %.2f s and is listed with %.2f", d, a.Duration)
	}
	if n := float64(len(pictures(t, url))) / 30; n < a.Duration-1 || n > a.Duration+1 {
		t.Errorf("it has pictures for %.2f s of %.2f", n, a.Duration)
	}
	if err := s.stop(); err != nil {
		t.Errorf("the server ended with %v", err)
	}

	// A server that starts while the bucket is away knows its recordings, and plays them when it
	// is back.
	s3.Stop()
	again := start(t, append(bucketArgs(s3, s3.SecretKey), "--data", data)...)
	again.assetOf(st, time.Second, func(b asset) bool { return b.ID == a.ID && b.Status == "ready" })
	s3.Start()
	url = again.http + "/hls/" + a.PlaybackIDs[0].ID + "/index.m3u8"
	if out, errOut, err = run(t, time.Minute, "ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", url); err != nil || errOut != "" {
		t.Errorf("after a start without the bucket: %v %s%s", err, out, errOut)
	}
	if err := again.stop(); err != nil {
		t.Errorf("the server ended with %v", err)
	}

	// A machine that has nothing but the bucket finds it there.
	other := t.TempDir()
	if err := os.Mkdir(filepath.Join(other, "recordings"), 0o700); err != nil {
		t.Fatal(err)
	}
	out, errOut, err = run(t, time.Minute, program(t), append([]string{"recordings", "verify", "--data", other}, bucketArgs(s3, s3.SecretKey)...)...)
	if err != nil || !strings.Contains(out, a.ID) {
		t.Errorf("another machine: %v\n%s%s", err, out, errOut)
	}
}

// TestBucketRefuses records into a bucket with the wrong secret: that is told in words, and
// neither the live stream nor what is recorded is affected.
func TestBucketRefuses(t *testing.T) {
	beside(t)
	s3 := recordtest.NewServer(t)
	s := start(t, bucketArgs(s3, "a-wrong-secret-0123456789")...)
	events := s.listen(t)
	st := s.createWith(map[string]any{"latency_mode": "low", "record": true})
	s.testcard(st, "--size", "320x180", "--bitrate", "300")
	s.waitPlayable(st, 15*time.Second)
	events.wait(t, "storage.away", 20*time.Second)
	if line := events.wait(t, "record-s3-secret-key", time.Second); !strings.Contains(line, `"code":"unauthorized"`) || strings.Contains(line, "a-wrong-secret") {
		t.Errorf("the event: %s", line)
	}
	if line := s.log.wait(t, "the bucket does not take recordings", time.Second); !strings.Contains(line, "record-s3-secret-key") {
		t.Errorf("the log: %s", line)
	}
	a := s.assetOf(st, 20*time.Second, func(a asset) bool { return a.Status == "recording" && a.Duration >= 6 })
	if got := s.get(st.ID); got.Status != "active" {
		t.Errorf("the live stream is %s", got.Status)
	}
	w := play(t, "hls", s.hlsURL(st), 4)
	w.advances(t, "hls.js", 4)
	if text := s.firstMedia(s.http + "/hls/" + a.PlaybackIDs[0].ID + "/index.m3u8"); !strings.Contains(text, ".m4s") {
		t.Errorf("what was recorded:\n%s", text)
	}
	if n := s.metric(t, "onair_record_spool_away_seconds"); n == 0 {
		t.Error("the metrics do not show that the bucket is away")
	}
}
