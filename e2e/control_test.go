//go:build e2e

package e2e

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// controlled is what the API says of the ways in and out of a stream.
type controlled struct {
	stream
	Ingest struct {
		RTMPURL   string `json:"rtmp_url"`
		SRTURL    string `json:"srt_url"`
		WHIPURL   string `json:"whip_url"`
		GoLiveURL string `json:"golive_url"`
		Backup    struct {
			RTMPURL   string `json:"rtmp_url"`
			StreamKey string `json:"stream_key"`
			SRTURL    string `json:"srt_url"`
		} `json:"backup"`
	} `json:"ingest"`
	Passphrase *string `json:"srt_passphrase"`
	Source     *struct {
		URL       string `json:"url"`
		Status    string `json:"status"`
		LastError string `json:"last_error"`
	} `json:"source"`
	Receiving *struct {
		Protocol string `json:"protocol"`
		OnAir    string `json:"on_air"`
		Link     *struct {
			RTT *float64 `json:"rtt"`
		} `json:"link"`
		Backup *struct {
			Connected bool    `json:"connected"`
			Ready     bool    `json:"ready"`
			Protocol  *string `json:"protocol"`
		} `json:"backup"`
	} `json:"active_ingest"`
}

// target is a simulcast target as the API shows it.
type target struct {
	ID        string  `json:"id"`
	URL       string  `json:"url"`
	StreamKey string  `json:"stream_key"`
	Status    string  `json:"status"`
	LastError string  `json:"last_error"`
	Bytes     *uint64 `json:"bytes"`
}

// until asks again and again until ok, and fails with what was last seen.
func until[T any](t *testing.T, what string, limit time.Duration, look func() (T, bool)) T {
	t.Helper()
	for deadline := time.Now().Add(limit); ; {
		got, ok := look()
		if ok {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %v, but %+v", what, limit, got)
		}
		pause(t.Context(), 100*time.Millisecond)
	}
}

func (s *server) control(id string) controlled {
	s.t.Helper()
	var c controlled
	if status := s.call("GET", "/v1/live-streams/"+id, nil, &c); status != 200 {
		s.t.Fatalf("getting a stream: status %d", status)
	}
	return c
}

// ffmpegTo publishes a small test picture to an address.
func ffmpegTo(t *testing.T, format, to string) *publisher {
	t.Helper()
	return encode(t, "ffmpeg", "-hide_banner", "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25",
		"-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency",
		"-pix_fmt", "yuv420p", "-g", "25", "-c:a", "aac", "-f", format, to)
}

// TestControlAddresses publishes to the addresses as the API gives them, and reads the
// stream's health while it does.
func TestControlAddresses(t *testing.T) {
	beside(t)
	s := start(t)
	var c controlled
	if status := s.call("POST", "/v1/live-streams", map[string]any{"srt_passphrase": "correct-horse-battery"}, &c); status != 201 {
		t.Fatalf("creating: status %d", status)
	}
	if c.Passphrase == nil || !strings.Contains(c.Ingest.SRTURL, "publish:"+c.StreamKey) || c.Ingest.WHIPURL == "" || c.Ingest.GoLiveURL == "" || c.Ingest.Backup.SRTURL == "" {
		t.Fatalf("ingest %+v", c.Ingest)
	}
	var health struct {
		Status   string `json:"status"`
		Summary  string `json:"summary"`
		Findings []any  `json:"findings"`
		Sources  []struct {
			Protocol string `json:"protocol"`
			Tracks   []struct {
				Kind    string   `json:"kind"`
				Bitrate *float64 `json:"bitrate"`
			} `json:"tracks"`
		} `json:"sources"`
	}
	path := "/v1/live-streams/" + c.ID
	if s.call("GET", path+"/health", nil, &health); health.Status != "no_data" || health.Summary == "" {
		t.Errorf("health before anything came: %+v", health)
	}
	for _, wrong := range []string{strings.Replace(c.Ingest.SRTURL, "battery", "batterie", 1), strings.Split(c.Ingest.SRTURL, "&")[0]} {
		if err := ffmpegTo(t, "mpegts", wrong).wait(15 * time.Second); err == nil {
			t.Errorf("a wrong passphrase was let in")
		}
	}
	main := ffmpegTo(t, "mpegts", c.Ingest.SRTURL)
	got := until(t, "on air over SRT", 20*time.Second, func() (controlled, bool) {
		got := s.control(c.ID)
		return got, got.Status == "active" && got.Receiving != nil && got.Receiving.Link != nil && got.Receiving.Link.RTT != nil
	})
	if got.Receiving.Protocol != "srt" || got.Receiving.OnAir != "main" {
		t.Errorf("receiving %+v", got.Receiving)
	}
	until(t, "health", 20*time.Second, func() (any, bool) {
		s.call("GET", path+"/health", nil, &health)
		return health, health.Status != "no_data" && len(health.Sources) == 1 && len(health.Sources[0].Tracks) == 2 && health.Sources[0].Tracks[0].Bitrate != nil
	})

	backup := ffmpegTo(t, "flv", c.Ingest.Backup.RTMPURL+"/"+c.Ingest.Backup.StreamKey)
	until(t, "a backup that is ready", 20*time.Second, func() (controlled, bool) {
		got := s.control(c.ID)
		return got, got.Receiving != nil && got.Receiving.Backup != nil && got.Receiving.Backup.Ready && *got.Receiving.Backup.Protocol == "rtmp"
	})
	main.kill()
	until(t, "the backup on air", 20*time.Second, func() (controlled, bool) {
		got := s.control(c.ID)
		return got, got.Receiving != nil && got.Receiving.OnAir == "backup"
	})
	backup.stop()

	req, err := http.NewRequest(http.MethodGet, c.Ingest.GoLiveURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.StreamKey)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 || !strings.Contains(string(b), "encoder_configurations") {
		t.Errorf("the settings for OBS: %v, status %d: %s", err, res.StatusCode, b)
	}
	var off controlled
	if status := s.call("PATCH", path, map[string]any{"multitrack": map[string]any{"enabled": false}}, &off); status != 200 || off.Ingest.GoLiveURL != "" {
		t.Errorf("switched off: status %d, %q", status, off.Ingest.GoLiveURL)
	}
}

// TestControlTargets passes a stream on to a second server, and sees what is wrong with
// a third that is not there.
func TestControlTargets(t *testing.T) {
	beside(t)
	s, other := start(t, "--allow-private-addresses"), start(t)
	st, there := s.create("low"), other.create("low")
	all := "/v1/live-streams/" + st.ID + "/simulcast-targets"
	var good, bad target
	if status := s.call("POST", all, map[string]any{"url": "rtmp://" + other.rtmp + "/live", "stream_key": there.StreamKey}, &good); status != 201 {
		t.Fatalf("adding a target: status %d", status)
	}
	if strings.Contains(good.StreamKey, there.StreamKey) || good.Status != "idle" {
		t.Errorf("a new target is %+v", good)
	}
	s.testcard(st, "--size", "320x180", "--bitrate", "300")
	read := func(id, status string) target {
		t.Helper()
		return until(t, id+" is "+status, 20*time.Second, func() (target, bool) {
			var x target
			s.call("GET", all+"/"+id, nil, &x)
			return x, x.Status == status
		})
	}
	read(good.ID, "broadcasting")
	other.waitStatus(there, "active", 20*time.Second)
	until(t, "bytes", 10*time.Second, func() (target, bool) {
		var x target
		s.call("GET", all+"/"+good.ID, nil, &x)
		return x, x.Bytes != nil && *x.Bytes > 0
	})

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	if status := s.call("POST", all, map[string]any{"url": "rtmp://" + closed + "/live", "stream_key": "the-other-services-key"}, &bad); status != 201 {
		t.Fatalf("adding a target while live: status %d", status)
	}
	if got := read(bad.ID, "errored"); got.LastError == "" || strings.Contains(got.LastError, "the-other-services-key") {
		t.Errorf("why it fails: %q", got.LastError)
	}
	read(good.ID, "broadcasting") // undisturbed

	s.call("PATCH", all+"/"+good.ID, map[string]any{"enabled": false}, nil)
	read(good.ID, "idle")
	until(t, "the other server's publisher gone", 20*time.Second, func() (stream, bool) {
		got := other.get(there.ID)
		return got, got.Status != "active"
	})
	s.call("PATCH", all+"/"+good.ID, map[string]any{"enabled": true}, nil)
	other.waitStatus(there, "active", 20*time.Second)
	if status := s.call("DELETE", all+"/"+good.ID, nil, nil); status != 204 {
		t.Errorf("removing: status %d", status)
	}
	until(t, "the other server's publisher gone for good", 20*time.Second, func() (stream, bool) {
		got := other.get(there.ID)
		return got, got.Status != "active"
	})
}

// TestControlSource fetches a stream from another server.
func TestControlSource(t *testing.T) {
	beside(t)
	s, other := start(t, "--allow-private-addresses"), start(t)
	there := other.create("low")
	other.testcard(there, "--size", "320x180", "--bitrate", "300")
	from := other.playURL(there) + "?token=s3cret"
	var c controlled
	if status := s.call("POST", "/v1/live-streams", map[string]any{"source": map[string]any{"url": from}}, &c); status != 201 {
		t.Fatalf("creating: status %d", status)
	}
	if u, err := url.Parse(c.Source.URL); err != nil || strings.Contains(c.Source.URL, "s3cret") || u.Path != "/play/"+there.playbackID() {
		t.Errorf("the source is shown as %s", c.Source.URL)
	}
	until(t, "receiving", 20*time.Second, func() (controlled, bool) {
		got := s.control(c.ID)
		return got, got.Status == "active" && got.Source.Status == "receiving"
	})
	s.call("PATCH", "/v1/live-streams/"+c.ID, map[string]any{"source": map[string]any{"enabled": false}}, nil)
	until(t, "off", 20*time.Second, func() (controlled, bool) {
		got := s.control(c.ID)
		return got, got.Status != "active" && got.Source.Status == "off"
	})
}

// TestControlSourceIsGuarded refuses what the server could reach and its users may not.
func TestControlSourceIsGuarded(t *testing.T) {
	beside(t)
	s, other := start(t), start(t)
	there := other.create("low")
	var c controlled
	if status := s.call("POST", "/v1/live-streams", map[string]any{"source": map[string]any{"url": other.playURL(there)}}, &c); status != 201 {
		t.Fatalf("creating: status %d", status)
	}
	until(t, "refused", 20*time.Second, func() (controlled, bool) {
		got := s.control(c.ID)
		return got, got.Source.Status == "failing" && strings.Contains(got.Source.LastError, "public address")
	})
}
