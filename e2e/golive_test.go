//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"onair/internal/wire/rtmp"
)

// goLive is what OBS reads of the answer to its question.
type goLive struct {
	Meta struct {
		ConfigID string `json:"config_id"`
	} `json:"meta"`
	Status struct {
		Result string `json:"result"`
		HTML   string `json:"html_en_us"`
	} `json:"status"`
	Endpoints []struct {
		Protocol    string `json:"protocol"`
		URLTemplate string `json:"url_template"`
	} `json:"ingest_endpoints"`
	Encoders []struct {
		Type          string `json:"type"`
		Width, Height int
		Settings      struct {
			Bitrate int `json:"bitrate"`
			Keyint  int `json:"keyint_sec"`
		} `json:"settings"`
	} `json:"encoder_configurations"`
}

// asOBS posts the question of OBS 32 on Windows with an RTX card at 1080p60.
func (s *server) asOBS(key string) goLive {
	s.t.Helper()
	question := map[string]any{
		"service": "IVS", "schema_version": "2025-01-25", "authentication": key,
		"client": map[string]any{"name": "obs-studio", "version": "32.0.1", "supported_codecs": []string{"h264", "h265", "av1"}},
		"capabilities": map[string]any{
			"cpu": map[string]any{"physical_cores": 8, "logical_cores": 16, "speed": 3400, "name": "CPU"}, "memory": map[string]any{"total": 1 << 34, "free": 1 << 33},
			"gaming_features": nil, "system": map[string]any{"version": "10.0", "name": "Windows", "build": 22631, "release": "23H2", "revision": "4317", "bits": 64, "arm": false, "armEmulation": false},
			"gpu": []any{map[string]any{"model": "NVIDIA GeForce RTX 4070", "vendor_id": 0x10de, "device_id": 10118, "dedicated_video_memory": 12 << 30, "shared_system_memory": 1 << 34, "driver_version": "32.0.15.6094"}},
		},
		"preferences": map[string]any{
			"maximum_aggregate_bitrate": nil, "maximum_video_tracks": nil, "vod_track_audio": false, "composition_gpu_index": 0,
			"audio_samples_per_sec": 48000, "audio_channels": 2, "audio_max_buffering_ms": 960, "audio_fixed_buffering": false,
			"canvases": []any{map[string]any{"width": 1920, "height": 1080, "canvas_width": 1920, "canvas_height": 1080, "framerate": map[string]any{"numerator": 60, "denominator": 1}}},
		},
	}
	body, err := json.Marshal(question)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := http.Post(s.http+"/golive", "application/json", bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	var out goLive
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("status %d, %v", res.StatusCode, err)
	}
	return out
}

// TestGoLive asks as OBS does, and publishes what it was told to where it was told to.
func TestGoLive(t *testing.T) {
	s := start(t)
	st := s.create("low")
	got := s.asOBS(st.StreamKey)
	if got.Status.Result != "success" || len(got.Encoders) < 3 || len(got.Endpoints) == 0 || got.Meta.ConfigID == "" {
		t.Fatalf("%+v", got)
	}
	var heights []int
	for i, e := range got.Encoders {
		if e.Type != "obs_nvenc_h264_tex" || e.Settings.Keyint != 2 || e.Settings.Bitrate == 0 || e.Height > 1080 {
			t.Errorf("rendition %d: %+v", i, e)
		}
		heights = append(heights, e.Height)
	}
	// As OBS does with what it is told.
	address := strings.Replace(got.Endpoints[0].URLTemplate, "{stream_key}", st.StreamKey+"?clientConfigId="+got.Meta.ConfigID, 1)
	tracks, packets := ladderOf(t, 12*time.Second, heights...)
	pub, err := rtmp.DialPublish(t.Context(), address, tracks...)
	if err != nil {
		t.Fatal(err)
	}
	defer pub.Close()
	sent := make(chan error, 1)
	go func() { sent <- paced(t.Context(), pub, packets) }()
	s.waitStatus(st, "active", 10*time.Second)
	s.waitVariants(st, len(heights), 10*time.Second)
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// TestGoLiveIsLimited holds the answer to the settings of the stream.
func TestGoLiveIsLimited(t *testing.T) {
	s := start(t)
	few := s.createWith(map[string]any{"multitrack": map[string]any{"max_video_tracks": 2, "max_bitrate": 8_000_000}})
	got, sum := s.asOBS(few.StreamKey), 0
	for _, e := range got.Encoders {
		sum += e.Settings.Bitrate
	}
	if got.Status.Result != "success" || len(got.Encoders) == 0 || len(got.Encoders) > 2 || sum > 8000 {
		t.Errorf("%d tracks with %d kbit/s: %+v", len(got.Encoders), sum, got.Status)
	}
	off := s.createWith(map[string]any{"multitrack": map[string]any{"enabled": false}})
	if got := s.asOBS(off.StreamKey); got.Status.Result != "error" || !strings.Contains(got.Status.HTML, "switched off") {
		t.Errorf("switched off: %+v", got.Status)
	}
	if got := s.asOBS("sk_nobody"); got.Status.Result != "error" || got.Status.HTML == "" || len(got.Encoders) > 0 {
		t.Errorf("an unknown key: %+v", got.Status)
	}
}
