package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"onair/internal/control/store"
	"onair/internal/fault"
)

// keeping keeps how far viewers may go back, and what is kept of a stream's assets.
func keeping(t *testing.T, open Opener) {
	s, _ := simple(t, open)
	create(t, s)
	want := map[string]store.Retention{}
	for _, tt := range []struct {
		dvr  time.Duration
		keep store.Retention
	}{
		{0, store.Retention{}},
		{store.DVRWhole, store.Retention{Days: 36_500}},
		{time.Second, store.Retention{Bytes: 1 << 50}},
		{30 * 24 * time.Hour, store.Retention{Days: 1, Bytes: 1}},
	} {
		in := sample()
		in.DVR, in.Retention = tt.dvr, tt.keep
		l := must[store.LiveStream](t)(s.CreateLiveStream(t.Context(), in, nil))
		got := must[store.LiveStream](t)(s.LiveStream(t.Context(), l.ID))
		if got.DVR != tt.dvr || got.Retention != tt.keep {
			t.Errorf("kept %v and %+v, want %v and %+v", got.DVR, got.Retention, tt.dvr, tt.keep)
		}
		if !tt.keep.IsZero() {
			want[l.ID] = tt.keep
		}
	}
	for _, limit := range []int{1, 2, 100} {
		got := map[string]store.Retention{}
		for after := ""; ; {
			page := must[[]store.StreamRetention](t)(s.Retentions(t.Context(), after, limit))
			for _, r := range page {
				if r.LiveStreamID <= after {
					t.Errorf("%s comes after %s", r.LiveStreamID, after)
				}
				got[r.LiveStreamID], after = r.Retention, r.LiveStreamID
			}
			if len(page) < limit {
				break
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%d a page, streams that do not keep everything (-want +got):\n%s", limit, d)
		}
	}
}

// clips are assets that stay when what they were cut from goes.
func clips(t *testing.T, open Opener) {
	s, c := simple(t, open)
	l := create(t, s, store.Public, store.Signed)
	a := createAsset(t, s, l)
	c.Advance(time.Minute)
	at := c.Now()
	cut := func(n store.NewClip) store.Asset {
		t.Helper()
		n.Clip = store.Clip{Of: a.ID, Start: at.Add(1500), End: at.Add(time.Second + 999)}
		return must[store.Asset](t)(s.CreateClip(t.Context(), n))
	}
	public := true
	clip := cut(store.NewClip{PublicDownload: &public})
	want := store.Asset{
		ID: clip.ID, LiveStreamID: l.ID, CreatedAt: at, UpdatedAt: at, Title: l.Title, Metadata: l.Metadata, PublicDownload: true,
		Recorded: store.Recorded{Status: store.AssetRecording}, Clip: store.Clip{Of: a.ID, Start: at.Add(time.Microsecond), End: at.Add(time.Second)},
		PlaybackIDs: clip.PlaybackIDs,
	}
	if d := cmp.Diff(want, clip); d != "" || len(clip.PlaybackIDs) != 2 || clip.PlaybackIDs[1].Policy != store.Signed || clip.PlaybackIDs[0].ID == a.PlaybackIDs[0].ID {
		t.Errorf("a clip with the playback ids %v (-want +got):\n%s", clip.PlaybackIDs, d)
	}
	if d := cmp.Diff(clip, must[store.Asset](t)(s.Asset(t.Context(), clip.ID))); d != "" {
		t.Errorf("read back (-want +got):\n%s", d)
	}
	if like := cut(store.NewClip{}); like.PublicDownload != a.PublicDownload {
		t.Errorf("a clip may be downloaded otherwise than what it is cut from: %t", like.PublicDownload)
	} else if err := s.DropAsset(t.Context(), like.ID); err != nil {
		t.Error(err)
	}
	none := ""
	if bare := cut(store.NewClip{Title: &none, Metadata: map[string]string{}, Policies: []store.Policy{}}); bare.Title != "" || len(bare.Metadata)+len(bare.PlaybackIDs) > 0 || bare.PublicDownload {
		t.Errorf("a bare clip: %+v", bare)
	} else if err := s.DropAsset(t.Context(), bare.ID); err != nil {
		t.Error(err)
	} else {
		_, err := s.Asset(t.Context(), bare.ID)
		wantKind(t, err, fault.NotFound)
	}
	got := must[map[string]store.StreamAssets](t)(s.StreamAssets(t.Context(), l.ID))
	if d := cmp.Diff(map[string]store.StreamAssets{l.ID: {Active: a.ID, Recent: []string{a.ID}}}, got); d != "" {
		t.Errorf("a clip counts as a broadcast (-want +got):\n%s", d)
	}
	clip = end(t, s, clip)
	wantKind(t, s.DropAsset(t.Context(), clip.ID), fault.Conflict)
	clip = must[store.Asset](t)(s.UpdateAsset(t.Context(), clip.ID, func(a *store.Asset) error {
		a.PublicDownload, a.Clip = false, store.Clip{}
		return nil
	}))
	if clip.PublicDownload || clip.Clip != want.Clip {
		t.Errorf("changed to %+v", clip)
	}
	end(t, s, a)
	must[store.Asset](t)(s.DeleteAsset(t.Context(), a.ID))
	_, err := s.CreateClip(t.Context(), store.NewClip{Clip: store.Clip{Of: a.ID}})
	wantKind(t, err, fault.Conflict)
	for _, id := range []string{"as_none", "", "'\x00"} {
		_, err := s.CreateClip(t.Context(), store.NewClip{Clip: store.Clip{Of: id}})
		wantKind(t, err, fault.NotFound)
	}
	page, _, err := s.Assets(t.Context(), store.AssetFilter{ClipOf: a.ID}, 10, "")
	if err != nil || len(page) != 1 || page[0].ID != clip.ID {
		t.Errorf("the clips of a deleted asset: %v, %v", page, err)
	}
	if page, _, err = s.Assets(t.Context(), store.AssetFilter{ClipOf: "'\x00"}, 10, ""); err != nil || len(page) != 0 {
		t.Errorf("the clips of nonsense: %v, %v", page, err)
	}
}

// usage sums up what assets take.
func usage(t *testing.T, open Opener) {
	s, c := simple(t, open)
	if u := must[store.Usage](t)(s.Usage(t.Context())); u != (store.Usage{}) {
		t.Errorf("nothing takes %+v", u)
	}
	sized := func(l store.LiveStream, bytes int64) store.Asset {
		t.Helper()
		c.Advance(time.Second)
		a := createAsset(t, s, l)
		return must[store.Asset](t)(s.KeepRecorded(t.Context(), a.ID, store.Recorded{Status: store.AssetReady, Bytes: bytes, Duration: time.Duration(bytes) * time.Second}))
	}
	small, large, empty := create(t, s), create(t, s), create(t, s)
	first := sized(small, 10)
	sized(large, 1<<52)
	gone := sized(large, 1<<60)
	last := sized(small, 5)
	clip := must[store.Asset](t)(s.CreateClip(t.Context(), store.NewClip{Clip: store.Clip{Of: first.ID}}))
	must[store.Asset](t)(s.DeleteAsset(t.Context(), gone.ID))
	must[store.LiveStream](t)(s.DeleteLiveStream(t.Context(), small.ID))
	wantSmall := store.Usage{LiveStreamID: small.ID, Count: 3, Bytes: 15, Oldest: first.CreatedAt}
	if u := must[store.Usage](t)(s.Usage(t.Context())); u.Count != 4 || u.Bytes != 1<<52+15 || !u.Oldest.Equal(first.CreatedAt) {
		t.Errorf("all take %+v", u)
	}
	for id, want := range map[string]store.Usage{
		small.ID: wantSmall, empty.ID: {LiveStreamID: empty.ID}, "'\x00": {LiveStreamID: "'\x00"},
	} {
		if d := cmp.Diff(want, must[store.Usage](t)(s.StreamUsage(t.Context(), id))); d != "" {
			t.Errorf("%q (-want +got):\n%s", id, d)
		}
	}
	for _, limit := range []int{1, 2, 5} {
		var got []store.Usage
		for cursor := ""; ; {
			page, next, err := s.Usages(t.Context(), limit, cursor)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, page...)
			if cursor = next; next == "" {
				break
			}
		}
		if len(got) != 2 || got[0].LiveStreamID != large.ID || got[0].Bytes != 1<<52 || got[1] != wantSmall {
			t.Errorf("%d a page: %+v", limit, got)
		}
	}
	_, _, err := s.Usages(t.Context(), 1, "!!")
	wantKind(t, err, fault.Invalid)
	kept := func(a store.Asset, status store.AssetStatus) store.KeptAsset {
		return store.KeptAsset{ID: a.ID, CreatedAt: a.CreatedAt, Status: status, Duration: a.Duration, Bytes: a.Bytes, Clip: a.Clip.Of != ""}
	}
	all := []store.KeptAsset{kept(first, store.AssetReady), kept(last, store.AssetReady), kept(clip, store.AssetRecording)}
	if got := must[[]store.KeptAsset](t)(s.OldestAssets(t.Context(), small.ID, 2)); !cmp.Equal(all[:1], got[:1]) || len(got) != 2 {
		t.Errorf("the oldest two: %+v", got)
	}
	got := must[[]store.KeptAsset](t)(s.OldestAssets(t.Context(), small.ID, 9))
	if len(got) == 3 && got[1].Clip { // made in the same moment
		got[1], got[2] = got[2], got[1]
	}
	if d := cmp.Diff(all, got); d != "" {
		t.Errorf("oldest first (-want +got):\n%s", d)
	}
	if got, err := s.OldestAssets(t.Context(), "'\x00", 9); err != nil || len(got) != 0 {
		t.Errorf("of nonsense: %v, %v", got, err)
	}
}

// deletedAssets are known by name until they are forgotten.
func deletedAssets(t *testing.T, open Opener) {
	s, c := simple(t, open)
	l := create(t, s)
	var want []store.DeletedAsset
	var all []store.Asset
	for range 5 {
		all = append(all, end(t, s, createAsset(t, s, l)))
	}
	for _, i := range []int{3, 0, 4, 1} { // 2 stays
		c.Advance(time.Minute)
		must[store.Asset](t)(s.DeleteAsset(t.Context(), all[i].ID))
		want = append(want, store.DeletedAsset{ID: all[i].ID, At: c.Now()})
	}
	for _, limit := range []int{1, 3, 10} {
		var got []store.DeletedAsset
		for after := (store.DeletedAsset{}); ; {
			page := must[[]store.DeletedAsset](t)(s.DeletedAssets(t.Context(), after, limit))
			got = append(got, page...)
			if len(page) < limit {
				break
			}
			after = page[len(page)-1]
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%d a page (-want +got):\n%s", limit, d)
		}
	}
	for _, id := range []string{all[3].ID, all[3].ID, all[2].ID, "as_none"} {
		if err := s.ForgetAsset(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	_, err := s.Asset(t.Context(), all[3].ID)
	wantKind(t, err, fault.NotFound)
	must[store.Asset](t)(s.Asset(t.Context(), all[2].ID)) // as it was not deleted
	if got := must[[]store.DeletedAsset](t)(s.DeletedAssets(t.Context(), store.DeletedAsset{}, 10)); len(got) != 3 {
		t.Errorf("left are %v", got)
	}
}

// lastReplay finds what is watched of a stream after its broadcast.
func lastReplay(t *testing.T, open Opener) {
	s, c := simple(t, open)
	l := create(t, s, store.Public, store.Public)
	none := func(id string, p store.Policy) {
		t.Helper()
		_, err := s.LastReplay(t.Context(), id, p)
		wantKind(t, err, fault.NotFound)
	}
	none(l.ID, store.Public)
	a := createAsset(t, s, l)
	c.Advance(time.Second)
	must[store.Asset](t)(s.CreateClip(t.Context(), store.NewClip{Clip: store.Clip{Of: a.ID}}))
	c.Advance(time.Second)
	broken := createAsset(t, s, l)
	must[store.Asset](t)(s.KeepRecorded(t.Context(), broken.ID, store.Recorded{Status: store.AssetErrored}))
	want := store.Replay{PlaybackID: a.PlaybackIDs[0].ID, AssetID: a.ID, CreatedAt: a.CreatedAt, Status: store.AssetRecording}
	if d := cmp.Diff(want, must[store.Replay](t)(s.LastReplay(t.Context(), l.ID, store.Public))); d != "" {
		t.Errorf("while it is recorded (-want +got):\n%s", d)
	}
	must[store.Asset](t)(s.KeepRecorded(t.Context(), a.ID, store.Recorded{Status: store.AssetErrored, Duration: time.Minute}))
	want.Status, want.Duration = store.AssetErrored, time.Minute
	if d := cmp.Diff(want, must[store.Replay](t)(s.LastReplay(t.Context(), l.ID, store.Public))); d != "" {
		t.Errorf("that broke off (-want +got):\n%s", d)
	}
	c.Advance(time.Second)
	newer := end(t, s, createAsset(t, s, l))
	if got := must[store.Replay](t)(s.LastReplay(t.Context(), l.ID, store.Public)); got.AssetID != newer.ID || got.Status != store.AssetReady {
		t.Errorf("the newest is %+v", got)
	}
	none(l.ID, store.Signed)
	none("'\x00", store.Public)
	must[store.Asset](t)(s.DeleteAsset(t.Context(), newer.ID))
	if got := must[store.Replay](t)(s.LastReplay(t.Context(), l.ID, store.Public)); got.AssetID != a.ID {
		t.Errorf("with the newest deleted: %+v", got)
	}
}
