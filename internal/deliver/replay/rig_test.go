package replay

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/record"
)

const (
	playbackID = "pb_1"
	assetID    = "as_1"
	base       = "/hls/" + playbackID + "/"
	child      = base + "0123456789abcdef/"
)

// began is when all assets of tests begin.
var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fake is a library of one asset.
type fake struct {
	mu      sync.Mutex
	s       *record.Snapshot
	objects map[string][]byte
	err     error // of Open
	short   bool  // objects end before they should
	opened  int
}

func (f *fake) Snapshot(asset string) (*record.Snapshot, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.s, asset == assetID && f.s != nil
}

func (f *fake) Open(_ context.Context, asset, rendition, name string, offset, length int64) (io.ReadCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened++
	if f.err != nil {
		return nil, f.err
	}
	data, ok := f.objects[asset+"/"+rendition+"/"+name]
	if !ok {
		return nil, fault.New(fault.NotFound, "open", name, "there is no such object", "")
	}
	data = data[offset:]
	if length >= 0 {
		data = data[:length]
	}
	if f.short {
		data = data[:len(data)/2]
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func video(width, height int, codec string) *media.Track {
	return &media.Track{Codec: media.H264, Timescale: 90_000, Width: width, Height: height, FrameRate: 30, CodecString: codec}
}

func audio(codec media.Codec, name, language string) *media.Track {
	return &media.Track{Codec: codec, Timescale: 48_000, SampleRate: 48_000, Channels: 2, CodecString: name, Language: language}
}

// rendition is one without segments.
func rendition(name string, tracks ...*media.Track) *record.Rendition {
	r := &record.Rendition{Name: name, Kind: tracks[0].Kind()}
	for i, t := range tracks {
		r.Inits = append(r.Inits, &record.Init{Name: fmt.Sprintf("i1a2b3c.%s.%d.mp4", name, i), Track: t, Data: []byte("init of " + name)})
	}
	return r
}

// add appends n segments of a length, as pack would number and name them.
func add(r *record.Rendition, n int, length time.Duration, edit ...func(i int, s *record.Segment)) *record.Rendition {
	list := unpacked(r.Segments)
	for i := range n {
		at := len(list)
		s := record.Segment{
			Sequence: 1_772_366_400 + int64(at), Start: began, Duration: length, Independent: true,
			Size: 200_000 + int64(at%7)*10_000,
		}
		if r.Kind == media.Video {
			s.KeySize = 20_000 + int64(at%5)*1000
		} else {
			s.Size = 32_000
		}
		if at > 0 {
			last := &list[at-1]
			s.Start, s.Init, s.BaseTime = last.Start.Add(last.Duration), last.Init, last.BaseTime+last.Ticks
		}
		s.Ticks = r.Inits[0].Track.Ticks(length)
		s.Name = fmt.Sprintf("s1a2b3c.%s.%d.m4s", r.Name, s.Sequence)
		for _, e := range edit {
			e(i, &s)
		}
		if s.Gap {
			s.Size, s.KeySize, s.Independent = 0, 0, false
		}
		list = append(list, s)
	}
	r.Segments = record.SegmentsOf(list)
	return r
}

// rung is a smaller picture that was made while somebody watched it: between pairs of indexes
// of n segments that last 2 s. It has no segments before and after, and gaps between.
func rung(n int, pairs ...int) *record.Rendition {
	r := add(rendition("480p", video(854, 480, "avc1.64001e")), n, 2*time.Second, func(i int, s *record.Segment) {
		s.Gap = true
		for j := 0; j < len(pairs); j += 2 {
			s.Gap = s.Gap && (i < pairs[j] || i >= pairs[j+1])
		}
		s.Size /= 4
	})
	r.Segments = r.Segments.Slice(pairs[0], pairs[len(pairs)-1])
	return r
}

func snapshot(state record.State, list ...*record.Rendition) *record.Snapshot {
	s := &record.Snapshot{ID: assetID, State: state, Began: began, Origin: began, TargetDuration: 3, Renditions: list}
	for _, r := range list {
		for i := range r.Segments.Len() {
			s.Bytes += r.Segments.Unnamed(i).Size
		}
	}
	return s
}

type rig struct {
	t   testing.TB
	lib *fake
	h   *Handler
	reg *prometheus.Registry
}

func newRig(t testing.TB, s *record.Snapshot) *rig {
	r := &rig{t: t, lib: &fake{s: s, objects: map[string][]byte{}}, reg: prometheus.NewRegistry()}
	r.h = NewHandler(DefaultConfig(), r.lib, func(_ context.Context, id string) (string, error) {
		switch id {
		case playbackID:
			return assetID, nil
		case "pb_closed":
			return "", fault.New(fault.Forbidden, "play", id, "its playback needs a token", "Add one")
		case "pb_deleted":
			return "as_deleted", nil
		}
		return "", fault.New(fault.NotFound, "play", id, "there is no such playback id", "")
	}, slog.New(slog.DiscardHandler), r.reg)
	return r
}

// get asks for a path; headers are pairs.
func (r *rig) get(path string, headers ...string) *httptest.ResponseRecorder {
	return ask(r.t, r.h, http.MethodGet, path, headers...)
}

func ask(t testing.TB, h http.Handler, method, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

// unpacked are the segments of a rendition.
func unpacked(s record.Segments) (list []record.Segment) {
	for i := range s.Len() {
		list = append(list, s.At(i))
	}
	return list
}

// alter changes a segment of a rendition.
func alter(r *record.Rendition, i int, change func(s *record.Segment)) {
	list := unpacked(r.Segments)
	change(&list[i])
	r.Segments = record.SegmentsOf(list)
}
