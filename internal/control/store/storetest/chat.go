package storetest

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"onair/internal/control/store"
	"onair/internal/fault"
)

func chatEvent(c *Clock, id, author string) store.ChatEvent {
	return store.ChatEvent{ID: id, CreatedAt: c.Now(), AuthorID: author, Body: []byte(`{"id":"` + id + `"}`)}
}

// chat keeps rooms, their events in order, and who may not write.
func chat(t *testing.T, open Opener) {
	s, c := simple(t, open)
	l := create(t, s)
	other := create(t, s)
	_, err := s.ChatRoom(t.Context(), "ls_none")
	wantKind(t, err, fault.NotFound)
	_, err = s.AppendChat(t.Context(), l.ID, chatEvent(c, "msg_0", "u"))
	wantKind(t, err, fault.NotFound) // nobody opened it yet
	room := must[store.ChatRoom](t)(s.ChatRoom(t.Context(), l.ID))
	if d := cmp.Diff(store.ChatRoom{LiveStreamID: l.ID, CreatedAt: c.Now().UTC(), Settings: []byte("{}"), Pinned: []byte{}}, room); d != "" {
		t.Errorf("a new room (-want +got):\n%s", d)
	}
	must[store.ChatRoom](t)(s.ChatRoom(t.Context(), other.ID))
	var want []store.ChatEvent
	for i, author := range []string{"u1", "u2", "", "u1"} {
		c.Advance(time.Second)
		e := chatEvent(c, "msg_"+strconv.Itoa(i+1), author)
		e.Seq = must[int64](t)(s.AppendChat(t.Context(), l.ID, e))
		if e.Seq != int64(i+1) {
			t.Errorf("event %d has number %d", i+1, e.Seq)
		}
		want = append(want, e)
	}
	if n := must[int64](t)(s.AppendChat(t.Context(), other.ID, chatEvent(c, "msg_1", "u1"))); n != 1 {
		t.Errorf("another room begins with %d", n)
	}
	for _, tt := range []struct {
		before int64
		limit  int
		want   []store.ChatEvent
	}{{0, 10, want}, {0, 2, want[2:]}, {3, 10, want[:2]}, {3, 1, want[1:2]}, {1, 10, []store.ChatEvent{}}} {
		if d := cmp.Diff(tt.want, must[[]store.ChatEvent](t)(s.ChatEvents(t.Context(), l.ID, tt.before, tt.limit))); d != "" {
			t.Errorf("%d before %d (-want +got):\n%s", tt.limit, tt.before, d)
		}
	}
	if d := cmp.Diff([]store.ChatEvent{want[0], want[3]}, must[[]store.ChatEvent](t)(s.ChatBy(t.Context(), l.ID, "u1", 5))); d != "" {
		t.Errorf("of one user (-want +got):\n%s", d)
	}
	if err := s.RewriteChat(t.Context(), l.ID, map[string][]byte{"msg_2": []byte(`{}`), "msg_none": []byte(`{}`)}); err != nil {
		t.Error(err)
	}
	if e := must[store.ChatEvent](t)(s.ChatEvent(t.Context(), l.ID, "msg_2")); string(e.Body) != "{}" || e.Seq != 2 {
		t.Errorf("rewritten: %+v", e)
	}
	_, err = s.ChatEvent(t.Context(), l.ID, "msg_9\x00")
	wantKind(t, err, fault.NotFound)
	if err := s.SetChatSettings(t.Context(), l.ID, []byte(`{"mode":"closed"}`)); err != nil {
		t.Error(err)
	}
	if err := s.SetChatPinned(t.Context(), l.ID, []byte(`{"id":"msg_1"}`)); err != nil {
		t.Error(err)
	}
	bans := []store.ChatBan{
		{UserID: "u1", Name: "One", CreatedAt: c.Now().UTC(), Until: c.Now().Add(time.Minute).UTC()},
		{UserID: "u2", Name: "Two", CreatedAt: c.Now().UTC()},
	}
	for _, b := range append([]store.ChatBan{{UserID: "u2", CreatedAt: c.Now()}}, bans...) {
		if err := s.BanFromChat(t.Context(), l.ID, b); err != nil {
			t.Error(err)
		}
	}
	room = must[store.ChatRoom](t)(s.ChatRoom(t.Context(), l.ID))
	if d := cmp.Diff(bans, room.Bans); d != "" || room.LastSeq != 4 || string(room.Settings) != `{"mode":"closed"}` || string(room.Pinned) != `{"id":"msg_1"}` {
		t.Errorf("the room is %+v (-want +got):\n%s", room, d)
	}
	c.Advance(time.Hour)
	if room = must[store.ChatRoom](t)(s.ChatRoom(t.Context(), l.ID)); len(room.Bans) != 1 || room.Bans[0].UserID != "u2" {
		t.Errorf("bans that are over count: %+v", room.Bans)
	}
	if err := s.UnbanFromChat(t.Context(), l.ID, "u2"); err != nil {
		t.Error(err)
	}
	if n := must[int](t)(s.PruneChat(t.Context(), want[2].CreatedAt, 1)); n != 1 {
		t.Errorf("%d are gone", n)
	}
	if n := must[int](t)(s.PruneChat(t.Context(), want[2].CreatedAt, 10)); n != 1 {
		t.Errorf("%d more are gone", n)
	}
	if got := must[[]store.ChatEvent](t)(s.ChatEvents(t.Context(), l.ID, 0, 10)); len(got) != 2 || got[0].Seq != 3 {
		t.Errorf("left are %+v", got)
	}
	// Everything goes with the stream.
	if _, err := s.DeleteLiveStream(t.Context(), l.ID); err != nil {
		t.Fatal(err)
	}
	if got := must[[]store.ChatEvent](t)(s.ChatEvents(t.Context(), l.ID, 0, 10)); len(got) != 0 {
		t.Errorf("of a deleted stream: %+v", got)
	}
}

// concurrentChat gives each event a number of its own, without holes.
func concurrentChat(t *testing.T, open Opener) {
	s, c := simple(t, open)
	l := create(t, s)
	must[store.ChatRoom](t)(s.ChatRoom(t.Context(), l.ID))
	const writers, each = 4, 10
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if _, err := s.AppendChat(t.Context(), l.ID, chatEvent(c, "msg_"+strconv.Itoa(w*each+i), "u")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i, e := range must[[]store.ChatEvent](t)(s.ChatEvents(t.Context(), l.ID, 0, writers*each+1)) {
		if e.Seq != int64(i+1) {
			t.Fatalf("number %d stands in place %d", e.Seq, i)
		}
	}
}
