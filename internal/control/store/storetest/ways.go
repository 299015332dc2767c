package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"onair/internal/control/store"
	"onair/internal/fault"
)

// ways keeps the settings of publishing and playing.
func ways(t *testing.T, open Opener) {
	s, _ := simple(t, open)
	in := sample()
	in.SRTPassphrase = "correct-horse-battery"
	in.Source = store.Source{URL: "rtsp://u:p@h/x?a=ü", OnDemand: true, Enabled: true}
	in.Multitrack = store.Multitrack{Disabled: true, MaxVideoTracks: 3, MaxBitrate: 12_000_000_000}
	many := 250
	in.Ladder = store.Ladder{Profile: "gaming", Rungs: []string{"720p60@2500k", "480p/hevc", "a,b \"ü\""}, Mode: "always"}
	in.RealtimeViewers = &many
	in.Targets = []store.SimulcastTarget{{ID: "st_ignored", URL: "rtmp://b/x", StreamKey: "k"}, {URL: "srt://a:1", Passthrough: "é", Disabled: true}}
	l := must[store.LiveStream](t)(s.CreateLiveStream(t.Context(), in, []store.Policy{store.Public}))
	if len(l.Targets) != 2 || l.Targets[0].ID == "st_ignored" || l.Targets[0].URL != "rtmp://b/x" {
		t.Errorf("targets %+v", l.Targets)
	}
	if got := must[store.LiveStream](t)(s.LiveStream(t.Context(), l.ID)); !cmp.Equal(got, l) {
		t.Errorf("read back (-want +got):\n%s", cmp.Diff(l, got))
	}
	if l.SRTPassphrase != in.SRTPassphrase || l.Source != in.Source || l.Multitrack != in.Multitrack {
		t.Errorf("kept %+v", l)
	}
	if p := must[store.Playback](t)(s.Playback(t.Context(), l.PlaybackIDs[0].ID)); p.SRTPassphrase != in.SRTPassphrase || p.RealtimeViewers == nil || *p.RealtimeViewers != 250 {
		t.Errorf("a player is told the passphrase %q and %v realtime viewers", p.SRTPassphrase, p.RealtimeViewers)
	}
	got := must[store.LiveStream](t)(s.UpdateLiveStream(t.Context(), l.ID, func(l *store.LiveStream) error {
		l.SRTPassphrase, l.Source, l.Multitrack, l.Targets = "", store.Source{}, store.Multitrack{}, nil
		l.Ladder, l.RealtimeViewers = store.Ladder{}, nil
		return nil
	}))
	if !cmp.Equal(got, must[store.LiveStream](t)(s.LiveStream(t.Context(), l.ID))) || !got.Ladder.IsZero() || got.RealtimeViewers != nil {
		t.Errorf("the ladder %+v and %v realtime viewers stay", got.Ladder, got.RealtimeViewers)
	}
	if p := must[store.Playback](t)(s.Playback(t.Context(), l.PlaybackIDs[0].ID)); p.RealtimeViewers != nil {
		t.Errorf("a player is told %d realtime viewers of the default", *p.RealtimeViewers)
	}
	none := 0
	got = must[store.LiveStream](t)(s.UpdateLiveStream(t.Context(), l.ID, func(l *store.LiveStream) error {
		l.Ladder.Rungs, l.RealtimeViewers = []string{"480p"}, &none
		return nil
	}))
	if back := must[store.LiveStream](t)(s.LiveStream(t.Context(), l.ID)); !cmp.Equal(got, back) || back.RealtimeViewers == nil || *back.RealtimeViewers != 0 {
		t.Errorf("none is read back as the default (-want +got):\n%s", cmp.Diff(got, back))
	}
	if got.SRTPassphrase != "" || got.Source != (store.Source{}) || got.Multitrack != (store.Multitrack{}) || len(got.Targets) != 2 {
		t.Errorf("cleared %+v", got)
	}
	in.Targets = append(in.Targets, in.Targets[0])
	_, err := s.CreateLiveStream(t.Context(), in, nil)
	wantKind(t, err, fault.Conflict)
}

func targets(t *testing.T, open Opener) {
	s, c := simple(t, open)
	l, other := create(t, s), create(t, s)
	one := must[store.SimulcastTarget](t)(s.AddTarget(t.Context(), l.ID, store.SimulcastTarget{URL: "rtmp://h/app/", StreamKey: "k", Passthrough: "p"}))
	want := store.SimulcastTarget{ID: one.ID, CreatedAt: c.Now(), UpdatedAt: c.Now(), URL: "rtmp://h/app/", StreamKey: "k", Passthrough: "p"}
	if d := cmp.Diff(want, one); d != "" {
		t.Errorf("added (-want +got):\n%s", d)
	}
	if got := must[store.SimulcastTarget](t)(s.Target(t.Context(), l.ID, one.ID)); !cmp.Equal(got, one) {
		t.Errorf("read back %+v", got)
	}
	_, err := s.AddTarget(t.Context(), l.ID, store.SimulcastTarget{URL: "rtmp://h/app", StreamKey: "k"})
	wantKind(t, err, fault.Conflict) // the same place
	_, err = s.AddTarget(t.Context(), "ls_none", one)
	wantKind(t, err, fault.NotFound)
	must[store.SimulcastTarget](t)(s.AddTarget(t.Context(), other.ID, one)) // another stream may
	c.Advance(time.Second)
	got := must[store.SimulcastTarget](t)(s.UpdateTarget(t.Context(), l.ID, one.ID, func(x *store.SimulcastTarget) {
		x.Disabled, x.Passthrough, x.URL, x.ID = true, "", "rtmp://evil/x", "st_other"
	}))
	want.Disabled, want.Passthrough, want.UpdatedAt = true, "", c.Now()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("updated (-want +got):\n%s", d)
	}
	for _, err := range []error{
		s.RemoveTarget(t.Context(), other.ID, one.ID), s.RemoveTarget(t.Context(), l.ID, "st_none"), s.RemoveTarget(t.Context(), "ls_none", one.ID),
	} {
		wantKind(t, err, fault.NotFound)
	}
	_, err = s.UpdateTarget(t.Context(), other.ID, one.ID, func(*store.SimulcastTarget) {})
	wantKind(t, err, fault.NotFound)
	var wg sync.WaitGroup
	for i := range 2 * store.MaxTargets { // at once, so that two could see room for one
		wg.Go(func() {
			_, err := s.AddTarget(t.Context(), l.ID, store.SimulcastTarget{URL: fmt.Sprintf("rtmp://h%d/x", i)})
			if err != nil && !fault.Is(err, fault.Conflict) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all := must[[]store.SimulcastTarget](t)(s.Targets(t.Context(), l.ID))
	if len(all) != store.MaxTargets || all[0].ID != one.ID {
		t.Errorf("%d targets, want %d, the first first", len(all), store.MaxTargets)
	}
	if l := must[store.LiveStream](t)(s.LiveStream(t.Context(), l.ID)); !cmp.Equal(l.Targets, all) {
		t.Errorf("the stream has other targets (-want +got):\n%s", cmp.Diff(all, l.Targets))
	}
	if err := s.RemoveTarget(t.Context(), l.ID, one.ID); err != nil {
		t.Error(err)
	}
	_, err = s.Target(t.Context(), l.ID, one.ID)
	wantKind(t, err, fault.NotFound)
	must[store.LiveStream](t)(s.DeleteLiveStream(t.Context(), l.ID))
	if left := must[[]store.SimulcastTarget](t)(s.Targets(t.Context(), l.ID)); len(left) != 0 {
		t.Errorf("a deleted stream keeps %d targets", len(left))
	}
}

func pulls(t *testing.T, open Opener) {
	s, _ := simple(t, open)
	src := store.Source{URL: "rtmp://h/x", OnDemand: true, Enabled: true}
	add := func(src store.Source, disabled bool) store.LiveStream {
		return must[store.LiveStream](t)(s.CreateLiveStream(t.Context(), store.LiveStream{Source: src, Disabled: disabled}, nil))
	}
	l := add(src, false)
	add(src, true)
	add(store.Source{URL: "rtmp://h/x"}, false)
	add(store.Source{Enabled: true}, false)
	want := []store.Pull{{StreamID: l.ID, Source: src}}
	if d := cmp.Diff(want, must[[]store.Pull](t)(s.Pulls(t.Context()))); d != "" {
		t.Errorf("pulls (-want +got):\n%s", d)
	}
}
