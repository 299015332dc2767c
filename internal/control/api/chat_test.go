package api

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/control/chat"
)

// withChat gives the API rooms, in which nobody is.
func withChat(t *testing.T) *harness {
	t.Helper()
	return newHarness(t, func(d *Deps) {
		rooms, err := chat.New(t.Context(), chat.DefaultConfig(), chat.Deps{
			Store: d.Store, Admit: d.Auth.StreamOf, Bus: d.Bus, Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(),
		})
		if err != nil {
			t.Fatal(err)
		}
		d.Chat = rooms
	})
}

func TestChat(t *testing.T) {
	h := withChat(t)
	l := h.create("")
	base := "/v1/live-streams/" + str(t, l, "id") + "/chat"
	room := h.want(200, "GET", base, "")
	if room["mode"] != "everyone" || room["connected"] != 0.0 || room["pinned"] != nil || !strings.HasPrefix(str(t, room, "url"), "ws://live.test:8080/chat/pb_") {
		t.Errorf("a new room: %v", room)
	}
	var ids []string
	for _, text := range []string{"one", "two", "three"} {
		m := h.want(201, "POST", base+"/messages", `{"text":"`+text+`","name":"Host"}`)
		if m["text"] != text || m["author"].(map[string]any)["role"] != "moderator" {
			t.Errorf("posted %v", m)
		}
		ids = append(ids, str(t, m, "id"))
	}
	page := h.want(200, "GET", base+"/messages?limit=2", "")
	data := page["data"].([]any)
	if len(data) != 2 || data[0].(map[string]any)["text"] != "three" {
		t.Errorf("a page: %v", page)
	}
	rest := h.want(200, "GET", base+"/messages?limit=2&cursor="+str(t, page, "next_cursor"), "")
	if data := rest["data"].([]any); len(data) != 1 || data[0].(map[string]any)["id"] != ids[0] || rest["next_cursor"] != nil {
		t.Errorf("the rest: %v", rest)
	}

	h.want(204, "PUT", base+"/pin", `{"message_id":"`+ids[1]+`"}`)
	if p := h.want(200, "GET", base, "")["pinned"].(map[string]any); p["text"] != "two" {
		t.Errorf("pinned %v", p)
	}
	h.want(204, "DELETE", base+"/messages/"+ids[1], "")
	if room := h.want(200, "GET", base, ""); room["pinned"] != nil {
		t.Errorf("what was removed is pinned: %v", room)
	}
	list := h.want(200, "GET", base+"/messages", "")["data"].([]any)
	if m := list[1].(map[string]any); m["id"] != ids[1] || m["text"] != "" || m["removed"] != true {
		t.Errorf("removed: %v", m)
	}
	h.want(409, "PUT", base+"/pin", `{"message_id":"`+ids[1]+`"}`)
	h.want(404, "PUT", base+"/pin", `{"message_id":"msg_none"}`)
	h.want(204, "DELETE", base+"/pin", "")

	room = h.want(200, "PATCH", base, `{"slow_mode":5,"blocked_words":["Darn"]}`)
	if room["slow_mode"] != 5.0 || room["mode"] != "everyone" || room["blocked_words"].([]any)[0] != "darn" {
		t.Errorf("changed: %v", room)
	}
	if room = h.want(200, "PATCH", base, `{"slow_mode":null,"mode":"members"}`); room["slow_mode"] != 0.0 || room["mode"] != "members" || len(room["blocked_words"].([]any)) != 1 {
		t.Errorf("changed: %v", room)
	}
	h.want(422, "PATCH", base, `{"mode":"nobody"}`)

	h.want(204, "POST", base+"/bans", `{"user_id":"u7","seconds":60}`)
	h.want(204, "POST", base+"/bans", `{"user_id":"u8"}`)
	bans := h.want(200, "GET", base+"/bans", "")["data"].([]any)
	if len(bans) != 2 || bans[0].(map[string]any)["until"] == nil || bans[1].(map[string]any)["until"] != nil {
		t.Errorf("banned: %v", bans)
	}
	h.want(204, "DELETE", base+"/bans/u7", "")
	if bans := h.want(200, "GET", base+"/bans", "")["data"].([]any); len(bans) != 1 {
		t.Errorf("banned: %v", bans)
	}

	if tok := h.want(201, "POST", base+"/tokens", `{"user_id":"u9","name":"Nine"}`); strings.Count(str(t, tok, "token"), ".") != 1 {
		t.Errorf("a token: %v", tok)
	}
	h.want(422, "POST", base+"/tokens", `{"user_id":"gst_x","name":"Nine"}`)

	h.want(204, "DELETE", "/v1/live-streams/"+str(t, l, "id"), "")
	h.want(404, "GET", base, "")
}

func TestNoChat(t *testing.T) {
	h := newHarness(t)
	l := h.create("")
	if p := h.want(422, "GET", "/v1/live-streams/"+str(t, l, "id")+"/chat", ""); !strings.Contains(str(t, p, "detail"), "--chat-max-connections") {
		t.Errorf("%v", p)
	}
}
