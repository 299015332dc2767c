package golive

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"onair/internal/fault"
)

var update = flag.Bool("update", false, "write the golden files")

const testKey = "sk_golive_secret"

// question is what OBS 31.1 sends, with what differs between the cases put in.
func question(gpu, prefs, canvas string) string {
	return `{"service":"IVS","schema_version":"2025-01-25","authentication":"` + testKey + `",
	"client":{"name":"obs-studio","version":"31.1.2","supported_codecs":["h264","h265","av1"]},
	"capabilities":{"cpu":{"physical_cores":4,"logical_cores":8,"speed":3400,"name":"Some CPU"},"memory":{"total":16777216000,"free":8000000000},
		"gaming_features":null,"system":{"version":"10.0","name":"Windows","build":22631,"release":"23H2","revision":"4317","bits":64,"arm":false,"armEmulation":false},
		"gpu":` + gpu + `},
	"preferences":{` + prefs + `"vod_track_audio":false,"composition_gpu_index":0,"audio_samples_per_sec":48000,"audio_channels":2,
		"audio_max_buffering_ms":960,"audio_fixed_buffering":false,"canvases":[` + canvas + `]}}`
}

const (
	hd60   = `{"width":1920,"height":1080,"canvas_width":1920,"canvas_height":1080,"framerate":{"numerator":60,"denominator":1}}`
	hd30   = `{"width":1280,"height":720,"canvas_width":1920,"canvas_height":1080,"framerate":{"numerator":30,"denominator":1}}`
	tall30 = `{"width":1080,"height":1920,"canvas_width":1080,"canvas_height":1920,"framerate":{"numerator":30000,"denominator":1001}}`
	rtx    = `[{"model":"NVIDIA GeForce RTX 4070","vendor_id":4318,"device_id":10118,"dedicated_video_memory":12570329088,"shared_system_memory":17051000832,"driver_version":"32.0.15.6094"}]`
	radeon = `[{"model":"AMD Radeon RX 7600","vendor_id":4098,"device_id":29824,"dedicated_video_memory":8573157376,"shared_system_memory":17051000832,"driver_version":null}]`
	arc    = `[{"model":"Intel(R) UHD Graphics 770","vendor_id":32902,"device_id":18048,"dedicated_video_memory":134217728,"shared_system_memory":17051000832,"driver_version":null}]`
	mx     = `[{"model":"NVIDIA GeForce MX150","vendor_id":4318,"device_id":7440,"dedicated_video_memory":0,"shared_system_memory":0,"driver_version":null}]`
)

var flat = `{"service":"IVS","schema_version":"2024-06-04","authentication":"` + testKey + `",
	"client":{"name":"obs-studio","version":"30.2.3","supported_codecs":["h264"]},
	"capabilities":{"cpu":{"physical_cores":8,"logical_cores":16,"speed":null,"name":null},"memory":{"total":1,"free":1},"gaming_features":null,
		"system":{"version":"10.0","name":"Windows","build":1,"release":"23H2","revision":4317,"bits":64,"arm":false,"armEmulation":false},"gpu":` + rtx + `},
	"preferences":{"maximum_aggregate_bitrate":null,"maximum_video_tracks":null,"vod_track_audio":true,"composition_gpu_index":null,
		"width":1920,"height":1080,"canvas_width":1920,"canvas_height":1080,"framerate":{"numerator":60000,"denominator":1001}}}`

var goldens = map[string]string{
	"rtx-1080p60":       question(rtx, "", hd60),
	"amd-1080p60":       question(radeon, "", hd60),
	"intel-1080p60":     question(arc, "", hd60),
	"cpu-720p30":        question("null", "", hd30),
	"cpu-1080p60":       question("null", "", hd60),
	"no-nvenc":          question(mx, "", hd30),
	"one-track":         question(rtx, `"maximum_video_tracks":1,`, hd60),
	"three-tracks":      question(rtx, `"maximum_video_tracks":3,`, hd60),
	"low-bitrate":       question(rtx, `"maximum_aggregate_bitrate":3000,`, hd60),
	"very-low-bitrate":  question(rtx, `"maximum_aggregate_bitrate":500,`, hd60),
	"vertical-and-odd":  question(radeon, "", tall30),
	"two-canvases":      question(rtx, "", hd60+","+tall30),
	"schema-2024-06-04": flat,
	"amd-on-linux":      strings.Replace(question(radeon, "", hd30), `"name":"Windows"`, `"name":"Linux"`, 1),
	"nvidia-on-linux":   strings.Replace(question(rtx, `"maximum_video_tracks":1,`, hd30), `"name":"Windows"`, `"name":"Linux"`, 1),
	"mac":               strings.Replace(question("null", "", hd30), `"name":"Windows"`, `"name":"macOS"`, 1),
}

var testEndpoints = []Endpoint{{"RTMPS", "rtmps://live.example.com:1936/live/{stream_key}"}, {"RTMP", "rtmp://live.example.com/live/{stream_key}"}}

func serveTest(t testing.TB, l Limits) (http.Handler, *prometheus.Registry, *bytes.Buffer) {
	t.Helper()
	reg := prometheus.NewRegistry()
	var log bytes.Buffer
	h, err := New(Deps{Log: slog.New(slog.NewTextHandler(&log, nil)), Reg: reg,
		Stream: func(_ context.Context, _ *http.Request, key string) (Stream, error) {
			switch key {
			case testKey:
				return Stream{Limits: l, Endpoints: testEndpoints}, nil
			case "broken":
				return Stream{}, fmt.Errorf("the disk at /secret is full")
			default:
				return Stream{}, fault.New(fault.Unauthorized, "go live", "", "the stream key is not known", "Copy it from the stream's page")
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	return h, reg, &log
}

func ask(t testing.TB, h http.Handler, body string) (*httptest.ResponseRecorder, Response) {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/golive", strings.NewReader(body)))
	var out Response
	if rec.Code == http.StatusOK {
		if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil {
			t.Fatalf("%v in %s", err, rec.Body)
		}
	}
	return rec, out
}

func TestGoldens(t *testing.T) {
	h, _, log := serveTest(t, Limits{Enabled: true})
	for name, body := range goldens {
		t.Run(name, func(t *testing.T) {
			rec, _ := ask(t, h, body)
			file := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(file, rec.Body.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), rec.Body.String()); d != "" || rec.Code != http.StatusOK {
				t.Errorf("status %d (-want +got):\n%s", rec.Code, d)
			}
		})
	}
	if strings.Contains(log.String(), testKey) {
		t.Error("the log has the key")
	}
}

func TestRefusalsAreShownByOBS(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		limits     Limits
		want       string
	}{
		{"switched off", goldens["rtx-1080p60"], Limits{}, "it is switched off. Switch it on in the stream&#39;s settings"},
		{"wrong key", strings.ReplaceAll(goldens["rtx-1080p60"], testKey, "other"), Limits{Enabled: true}, "the stream key is not known. Copy it"},
		{"no JSON", "hello <b>", Limits{Enabled: true}, "it is no JSON"},
		{"wrong type", strings.Replace(goldens["rtx-1080p60"], `"authentication":"`+testKey+`"`, `"authentication":7`, 1), Limits{Enabled: true}, "authentication is of another type"},
		{"no canvas", question(rtx, "", ""), Limits{Enabled: true}, "its size is missing"},
		{"no rate", question(rtx, "", `{"width":1280,"height":720,"framerate":{"numerator":0,"denominator":0}}`), Limits{Enabled: true}, "its frame rate is missing"},
		{"no room", question(rtx, `"maximum_aggregate_bitrate":100,`, hd60), Limits{Enabled: true}, "1 kbit/s are too few"},
		{"owner's bound", goldens["rtx-1080p60"], Limits{Enabled: true, MaxBitrate: 70}, "70 kbit/s are too few"},
		{"no H.264", strings.Replace(goldens["rtx-1080p60"], `"h264",`, "", 1), Limits{Enabled: true}, "it cannot encode H.264"},
		{"our own failure", strings.ReplaceAll(goldens["rtx-1080p60"], testKey, "broken"), Limits{Enabled: true}, "The server failed; its log says why."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, _, log := serveTest(t, tt.limits)
			rec, out := ask(t, h, tt.body)
			if rec.Code != http.StatusOK || out.Status == nil || out.Status.Result != Failure || !strings.Contains(out.Status.HTML, tt.want) {
				t.Errorf("status %d: %s", rec.Code, rec.Body)
			}
			if len(out.Encoders) > 0 || strings.Contains(rec.Body.String()+log.String(), testKey) {
				t.Errorf("%s\n%s", rec.Body, log)
			}
		})
	}
}

func TestBombs(t *testing.T) {
	h, _, _ := serveTest(t, Limits{Enabled: true})
	for name, body := range map[string]string{
		"depth":     strings.Repeat(`{"client":`, 6000),
		"length":    `{"authentication":"` + strings.Repeat("k", maxBody) + `"}`,
		"count":     `{"capabilities":{"gpu":[` + strings.Repeat(`{},`, 15000) + `{}]}}`,
		"canvases":  `{"preferences":{"canvases":[` + strings.Repeat(`{},`, 15000) + `{}]}}`,
		"repeated":  `{` + strings.Repeat(`"a":1,`, 10000) + `"b":1}`,
		"huge size": question(rtx, "", `{"width":1e300,"height":1e300,"framerate":{"numerator":1e300,"denominator":1}}`),
		"negative":  question(rtx, `"maximum_video_tracks":-5,"maximum_aggregate_bitrate":-1,`, `{"width":-1920,"height":1080,"framerate":{"numerator":60,"denominator":1}}`),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			rec, out := ask(t, h, body)
			if rec.Code == http.StatusOK && out.Status.Result != Failure {
				t.Errorf("accepted: %s", rec.Body)
			}
			if took := time.Since(start); took > 5*time.Second || rec.Body.Len() > 4096 {
				t.Errorf("took %v for %d bytes", took, rec.Body.Len())
			}
		})
	}
	rec, _ := ask(t, h, strings.Repeat(" ", maxBody+1))
	if rec.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", rec.Code)
	}
}

// TestWhateverIsAskedForIsWithinBounds holds the answer to what was allowed.
func TestWhateverIsAskedForIsWithinBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r Request
		side := rapid.IntRange(minSide, 4096)
		r.Preferences.Canvas = Canvas{float64(side.Draw(t, "width")), float64(side.Draw(t, "height")), Framerate{
			float64(rapid.SampledFrom([]int{24, 25, 30, 48, 50, 60, 120, 24000, 30000, 60000}).Draw(t, "num")), 1}}
		if r.Preferences.Framerate.Numerator > 1000 {
			r.Preferences.Framerate.Denominator = 1001
		}
		bitrate, tracks := float64(rapid.IntRange(0, 20000).Draw(t, "kbps")), float64(rapid.IntRange(0, 12).Draw(t, "tracks"))
		r.Preferences.MaximumAggregateBitrate, r.Preferences.MaximumVideoTracks = &bitrate, &tracks
		r.Capabilities.GPU = []GPU{{VendorID: float64(rapid.SampledFrom([]int{0, vendorNVIDIA, vendorAMD, vendorIntel, vendorApple}).Draw(t, "gpu"))}}
		l := Limits{Enabled: true, MaxTracks: rapid.IntRange(0, 5).Draw(t, "limit"), MaxBitrate: rapid.IntRange(0, 20000).Draw(t, "limit kbps")}
		out, err := Configure(r, l)
		if err != nil {
			if bound := tightest(int(bitrate), l.MaxBitrate); bound == 0 || bound >= leastKbps+audioKbps {
				t.Fatalf("refused: %v", err)
			}
			return
		}
		sum, full := 0, 0.0
		for i, e := range out.Encoders {
			sum += e.Settings["bitrate"].(int)
			if float64(e.Width) > r.Preferences.Width || float64(e.Height) > r.Preferences.Height || e.Width%2+e.Height%2 != 0 {
				t.Fatalf("%d × %d of %v × %v", e.Width, e.Height, r.Preferences.Width, r.Preferences.Height)
			}
			if i > 0 && e.Height >= out.Encoders[i-1].Height && e.Width >= out.Encoders[i-1].Width {
				t.Fatal("the renditions do not get smaller")
			}
			if e.Settings["keyint_sec"] != keySeconds {
				t.Fatalf("settings %v", e.Settings)
			}
			// Frames between keys are a whole number of the first rendition's, so that keys coincide.
			p := picture{num: e.Framerate.Numerator, den: e.Framerate.Denominator}
			span := float64(p.keyInterval()) / p.fps()
			if i == 0 {
				full = span
			}
			if d := span - full; d > 1e-9 || d < -1e-9 {
				t.Fatalf("rendition %d has keys every %v s and the first every %v s", i, span, full)
			}
		}
		if bitrate > 0 && sum+audioKbps > int(bitrate) || l.MaxBitrate > 0 && sum > l.MaxBitrate {
			t.Fatalf("%d kbit/s of %v and %d", sum, bitrate, l.MaxBitrate)
		}
		if bound := tightest(int(tracks), l.MaxTracks); bound > 0 && len(out.Encoders) > bound {
			t.Fatalf("%d tracks of %d", len(out.Encoders), bound)
		}
	})
}

func TestOverride(t *testing.T) {
	h, _, _ := serveTest(t, Limits{Enabled: true, MaxTracks: 2})
	get := func(query, key string) (int, Response, string) {
		r := httptest.NewRequest(http.MethodGet, "/golive?"+query, nil)
		if key != "" {
			r.Header.Set("Authorization", "Bearer "+key)
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		var out Response
		if err := json.Unmarshal(rec.Body.Bytes(), &out); rec.Code == 200 && err != nil {
			t.Fatal(err)
		}
		return rec.Code, out, rec.Body.String()
	}
	code, out, _ := get("gpu=nvidia&width=1280&height=720&fps=30", testKey)
	if code != 200 || out.Status != nil || len(out.Encoders) != 2 || out.Encoders[0].Type != "obs_nvenc_h264_tex" || out.Encoders[0].Height != 720 {
		t.Errorf("status %d: %+v", code, out)
	}
	if d := cmp.Diff(testEndpoints, out.IngestEndpoints); d != "" || out.Meta == nil || out.Meta.ConfigID == "" || out.Audio == nil {
		t.Errorf("%+v\n%s", out.Meta, d)
	}
	for _, tt := range []struct {
		query, key string
		code       int
	}{
		{"", "", 401}, {"", "other", 401}, {"gpu=voodoo", testKey, 400}, {"width=x", testKey, 400}, {"width=-1", testKey, 400}, {"", "broken", 500},
	} {
		if code, _, body := get(tt.query, tt.key); code != tt.code || strings.Contains(body, "/secret") {
			t.Errorf("%q of %q: %d %s", tt.query, tt.key, code, body)
		}
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodDelete, "/golive", nil))
	if rec.Code != http.StatusMethodNotAllowed {
		t.Errorf("DELETE: %d", rec.Code)
	}
}

func TestAnswersAreCounted(t *testing.T) {
	h, reg, _ := serveTest(t, Limits{Enabled: true})
	ask(t, h, goldens["rtx-1080p60"])
	ask(t, h, goldens["two-canvases"])
	ask(t, h, "{}")
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range families[0].GetMetric() {
		if m.GetCounter().GetValue() != 1 {
			t.Errorf("%v", m)
		}
	}
}

// TestCompositionGPU: an index that no adapter has means the first one.
func TestCompositionGPU(t *testing.T) {
	for index, want := range map[string]float64{"0": vendorNVIDIA, "1": vendorAMD, "1.5": vendorAMD, "2": vendorNVIDIA, "-1": vendorNVIDIA, "1e300": vendorNVIDIA, "9223372036854775808": vendorNVIDIA} {
		r, err := Parse([]byte(`{"capabilities":{"gpu":[{"vendor_id":4318},{"vendor_id":4098}]},"preferences":{"composition_gpu_index":` + index + `}}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.gpu().VendorID; got != want {
			t.Errorf("index %s: vendor %v, want %v", index, got, want)
		}
	}
}

func FuzzRequest(f *testing.F) {
	for _, body := range goldens {
		f.Add([]byte(body))
	}
	f.Add([]byte(question(rtx, `"composition_gpu_index":1e300,`, hd60)))
	f.Add([]byte(`{"preferences":{"width":1e308,"height":64,"framerate":{"numerator":1,"denominator":1}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		if err != nil {
			if fault.KindOf(err) == fault.Internal {
				t.Fatal(err)
			}
			return
		}
		out, err := Configure(r, Limits{Enabled: true})
		if err != nil {
			if fault.KindOf(err) == fault.Internal {
				t.Fatal(err)
			}
			return
		}
		if n := len(out.Encoders); n < 1 || n > maxTracks {
			t.Fatalf("%d tracks", n)
		}
		if text, err := json.Marshal(out); err != nil || len(text) > maxBody {
			t.Fatalf("%d bytes, %v", len(text), err)
		}
	})
}
