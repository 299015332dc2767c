package storetest

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"onair/internal/control/store"
	"onair/internal/fault"
)

func createAsset(t *testing.T, s *store.Store, l store.LiveStream) store.Asset {
	t.Helper()
	return must[store.Asset](t)(s.CreateAsset(t.Context(), l.ID))
}

// end ends the recording of an asset.
func end(t *testing.T, s *store.Store, a store.Asset) store.Asset {
	t.Helper()
	return must[store.Asset](t)(s.KeepRecorded(t.Context(), a.ID, store.Recorded{Status: store.AssetReady}))
}

func recorded(at time.Time) store.Recorded {
	return store.Recorded{
		Status: store.AssetRecording, Duration: 12*time.Hour + 1500*time.Microsecond, Bytes: 1 << 40,
		Tracks: []store.AssetTrack{
			{Rendition: "v0", Kind: "video", Codec: "H.264", CodecString: "avc1.64001f", Width: 1280, Height: 720, FrameRate: 29.97},
			{Rendition: "a0", Kind: "audio", Codec: "AAC", CodecString: "mp4a.40.2", SampleRate: 48000, Channels: 2},
		},
		Gaps: []store.AssetGap{{Start: at.Add(time.Minute), Duration: 2500 * time.Millisecond}},
	}
}

// assets follows one from its beginning until it is deleted.
func assets(t *testing.T, open Opener) {
	s, c := simple(t, open)
	l := create(t, s, store.Public, store.Signed, store.Public)
	a := createAsset(t, s, l)
	if !strings.HasPrefix(a.ID, "as_") || len(a.ID) != 29 || len(a.PlaybackIDs) != 2 {
		t.Errorf("made the asset %q with the playback ids %v", a.ID, a.PlaybackIDs)
	}
	want := store.Asset{
		ID: a.ID, LiveStreamID: l.ID, CreatedAt: c.Now(), UpdatedAt: c.Now(), Title: l.Title, Metadata: l.Metadata,
		Recorded:    store.Recorded{Status: store.AssetRecording},
		PlaybackIDs: []store.PlaybackID{{ID: a.PlaybackIDs[0].ID, Policy: store.Public}, {ID: a.PlaybackIDs[1].ID, Policy: store.Signed}},
	}
	same := func(what string, got store.Asset) {
		t.Helper()
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
		if d := cmp.Diff(want, must[store.Asset](t)(s.Asset(t.Context(), a.ID))); d != "" {
			t.Errorf("%s, read back (-want +got):\n%s", what, d)
		}
	}
	same("created", a)
	_, err := s.DeleteAsset(t.Context(), a.ID)
	wantKind(t, err, fault.Conflict)
	same("not deleted while it is recorded", want)

	c.Advance(time.Second)
	want.Recorded, want.GapCount, want.UpdatedAt = recorded(c.Now()), 1, c.Now()
	same("recorded on", must[store.Asset](t)(s.KeepRecorded(t.Context(), a.ID, recorded(c.Now()))))
	want.Title, want.Metadata = "new", map[string]string{}
	same("renamed", must[store.Asset](t)(s.UpdateAsset(t.Context(), a.ID, func(a *store.Asset) error {
		a.Title, a.Metadata = "new", map[string]string{}
		a.ID, a.Status, a.Bytes, a.PlaybackIDs, a.Gaps, a.LiveStreamID = "as_x", store.AssetReady, 1, nil, nil, "ls_x" // must not matter
		return nil
	})))
	no := fault.New(fault.Conflict, "test", "", "no", "")
	_, err = s.UpdateAsset(t.Context(), a.ID, func(a *store.Asset) error { a.Title, a.Metadata["x"] = "lost", "y"; return no })
	wantKind(t, err, fault.Conflict)
	c.Advance(-time.Hour) // a clock set back
	want.Recorded.Status, want.Recorded.Error = store.AssetErrored, "the disk is full"
	over := recorded(want.UpdatedAt)
	over.Status, over.Error = store.AssetErrored, "the disk is full"
	same("errored", must[store.Asset](t)(s.KeepRecorded(t.Context(), a.ID, over)))
	for _, status := range []store.AssetStatus{store.AssetRecording, store.AssetReady, store.AssetErrored} {
		_, err = s.KeepRecorded(t.Context(), a.ID, store.Recorded{Status: status})
		wantKind(t, err, fault.Conflict)
	}
	same("over is over", want)

	gone := must[store.LiveStream](t)(s.DeleteLiveStream(t.Context(), l.ID))
	same("its stream deleted", want)
	_, err = s.CreateAsset(t.Context(), gone.ID)
	wantKind(t, err, fault.NotFound)
	if d := cmp.Diff(want, must[store.Asset](t)(s.DeleteAsset(t.Context(), a.ID))); d != "" {
		t.Errorf("deleted (-want +got):\n%s", d)
	}
	want.Status, want.PlaybackIDs = store.AssetDeleted, nil
	same("deleted", must[store.Asset](t)(s.Asset(t.Context(), a.ID)))
	same("deleted again", must[store.Asset](t)(s.DeleteAsset(t.Context(), a.ID)))
	_, err = s.UpdateAsset(t.Context(), a.ID, func(*store.Asset) error { return nil })
	wantKind(t, err, fault.Conflict)
	_, err = s.KeepRecorded(t.Context(), a.ID, store.Recorded{Status: store.AssetReady})
	wantKind(t, err, fault.Conflict)
	_, err = s.KeepRecorded(t.Context(), a.ID, store.Recorded{Status: store.AssetDeleted})
	wantKind(t, err, fault.Internal)
	_, err = s.KeepRecorded(t.Context(), "as_none", store.Recorded{Status: store.AssetReady})
	wantKind(t, err, fault.NotFound)
}

// assetPlayback keeps the playback ids of streams and of assets apart.
func assetPlayback(t *testing.T, open Opener) {
	s, _ := simple(t, open)
	l, hidden := create(t, s, store.Public), create(t, s)
	a, other := createAsset(t, s, l), createAsset(t, s, l)
	if none := createAsset(t, s, hidden); len(none.PlaybackIDs) != 0 {
		t.Errorf("the asset of a stream without playback ids has %v", none.PlaybackIDs)
	}
	id := a.PlaybackIDs[0].ID
	want := store.Playback{ID: id, Policy: store.Public, AssetID: a.ID, Title: l.Title}
	if d := cmp.Diff(want, must[store.Playback](t)(s.Playback(t.Context(), id))); d != "" {
		t.Errorf("playback (-want +got):\n%s", d)
	}
	if got := must[store.LiveStream](t)(s.LiveStream(t.Context(), l.ID)); !cmp.Equal(got, l) {
		t.Errorf("the stream has the asset's playback ids (-want +got):\n%s", cmp.Diff(l, got))
	}
	wantKind(t, s.RemovePlaybackID(t.Context(), l.ID, id), fault.NotFound)
	end(t, s, a)
	must[store.LiveStream](t)(s.DeleteLiveStream(t.Context(), l.ID))
	must[store.Playback](t)(s.Playback(t.Context(), id))
	must[store.Asset](t)(s.DeleteAsset(t.Context(), a.ID))
	_, err := s.Playback(t.Context(), id)
	wantKind(t, err, fault.NotFound)
	must[store.Playback](t)(s.Playback(t.Context(), other.PlaybackIDs[0].ID))
}

// assetBounds keeps what strange bitstreams and bad lines make of a recording.
func assetBounds(t *testing.T, open Opener) {
	s, c := simple(t, open)
	a := createAsset(t, s, create(t, s))
	r := store.Recorded{Status: store.AssetErrored, Error: "a\x00b\xffc" + strings.Repeat("é", 1000)}
	for range store.MaxAssetTracks + 1 {
		r.Tracks = append(r.Tracks, store.AssetTrack{Rendition: "v\x00", FrameRate: math.Inf(1), CodecString: strings.Repeat("x", 5000)})
	}
	for i := range store.MaxAssetGaps + 7 {
		r.Gaps = append(r.Gaps, store.AssetGap{Start: c.Now().Add(time.Duration(i)*time.Second + 1), Duration: 1})
	}
	kept := must[store.Asset](t)(s.KeepRecorded(t.Context(), a.ID, r))
	got := must[store.Asset](t)(s.Asset(t.Context(), a.ID))
	if d := cmp.Diff(kept, got); d != "" {
		t.Errorf("read back (-want +got):\n%s", d)
	}
	if len(got.Tracks) != store.MaxAssetTracks || got.Tracks[0].Rendition != "v" || got.Tracks[0].FrameRate != 0 || len(got.Tracks[0].CodecString) > 100 {
		t.Errorf("%d tracks, the first %+v", len(got.Tracks), got.Tracks[0])
	}
	if len(got.Gaps) != store.MaxAssetGaps || got.GapCount != len(r.Gaps) || !got.Gaps[0].Start.Equal(c.Now()) {
		t.Errorf("%d of %d gaps, the first %+v", len(got.Gaps), got.GapCount, got.Gaps[0])
	}
	if !strings.HasPrefix(got.Error, "abcéé") || len(got.Error) > 1000 {
		t.Errorf("the error is %q", got.Error)
	}
}

func assetPages(t *testing.T, open Opener) {
	s, c := simple(t, open)
	l, other := create(t, s, store.Public), create(t, s)
	var want []string // of l, oldest first
	for i := range 7 {
		if i%3 == 0 {
			c.Advance(time.Second)
		}
		a := createAsset(t, s, l)
		if i != 5 {
			end(t, s, a)
		}
		want = append(want, a.ID)
	}
	foreign := end(t, s, createAsset(t, s, other))
	must[store.Asset](t)(s.DeleteAsset(t.Context(), want[2]))
	must[store.LiveStream](t)(s.DeleteLiveStream(t.Context(), l.ID)) // they are found all the same
	list := func(f store.AssetFilter, limit int) map[string]bool {
		t.Helper()
		got := map[string]bool{}
		var last time.Time
		for cursor := ""; ; {
			page, next, err := s.Assets(t.Context(), f, limit, cursor)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) > limit || (next != "" && len(page) != limit) {
				t.Fatalf("limit %d: a page of %d with next %q", limit, len(page), next)
			}
			for _, a := range page {
				if got[a.ID] || (!last.IsZero() && a.CreatedAt.After(last)) {
					t.Errorf("%s comes twice or not newest first", a.ID)
				}
				if n := len(a.PlaybackIDs); a.LiveStreamID == l.ID && a.Status != store.AssetDeleted && n != 1 {
					t.Errorf("a listed asset has %d playback ids", n)
				}
				got[a.ID], last = true, a.CreatedAt
			}
			if cursor = next; next == "" {
				return got
			}
		}
	}
	set := func(ids ...string) map[string]bool {
		out := map[string]bool{}
		for _, id := range ids {
			out[id] = true
		}
		return out
	}
	there := append([]string{want[0], want[1]}, want[3:]...)
	for _, tt := range []struct {
		name   string
		filter store.AssetFilter
		want   map[string]bool
	}{
		{"all", store.AssetFilter{}, set(append([]string{foreign.ID}, there...)...)},
		{"of a stream", store.AssetFilter{LiveStreamID: l.ID}, set(there...)},
		{"being recorded", store.AssetFilter{Status: store.AssetRecording}, set(want[5])},
		{"deleted", store.AssetFilter{Status: store.AssetDeleted, LiveStreamID: l.ID}, set(want[2])},
		{"errored", store.AssetFilter{Status: store.AssetErrored}, set()},
		{"of none", store.AssetFilter{LiveStreamID: "ls_none"}, set()},
		{"of nonsense", store.AssetFilter{LiveStreamID: "'\x00"}, set()},
	} {
		for _, limit := range []int{1, 3, 100} {
			if d := cmp.Diff(tt.want, list(tt.filter, limit)); d != "" {
				t.Errorf("%s, %d a page (-want +got):\n%s", tt.name, limit, d)
			}
		}
	}
	for _, bad := range []string{"x", "!!!!", "AAAA", strings.Repeat("A", 5000), "MS4nOyBEUk9Q"} {
		_, _, err := s.Assets(t.Context(), store.AssetFilter{}, 1, bad)
		wantKind(t, err, fault.Invalid)
	}
}

func streamAssets(t *testing.T, open Opener) {
	s, c := simple(t, open)
	l, other, none := create(t, s), create(t, s), create(t, s)
	want := store.StreamAssets{}
	for range store.MaxRecentAssets + 2 {
		c.Advance(time.Second)
		a := createAsset(t, s, l)
		end(t, s, a)
		want.Recent = append([]string{a.ID}, want.Recent...)
	}
	c.Advance(time.Second)
	must[store.Asset](t)(s.DeleteAsset(t.Context(), want.Recent[0]))
	active := createAsset(t, s, l)
	want.Active, want.Recent = active.ID, append([]string{active.ID}, want.Recent[1:store.MaxRecentAssets]...)
	foreign := end(t, s, createAsset(t, s, other))
	got, err := s.StreamAssets(t.Context(), l.ID, none.ID, other.ID)
	if d := cmp.Diff(map[string]store.StreamAssets{l.ID: want, other.ID: {Recent: []string{foreign.ID}}}, got); err != nil || d != "" {
		t.Errorf("%v, assets (-want +got):\n%s", err, d)
	}
	if got, err := s.StreamAssets(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("of no stream: %v, %v", got, err)
	}
}
