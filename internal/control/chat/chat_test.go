package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"onair/internal/event"
)

func (r *rig) token(t *testing.T, id, name string, role Role) string {
	t.Helper()
	token, err := r.Token(Identity{Author{id, name, role}, r.stream, r.now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestGuestsTalk(t *testing.T) {
	r := newRig(t, t.TempDir(), DefaultConfig(), nil)
	feed := r.bus.Listen()
	a := r.enter(t, "", hello{Name: "  Ann\u202e  B "}, nil)
	b := r.enter(t, "", hello{}, nil)
	if a.you.Name != "Ann B" || a.you.Role != Viewer || !strings.HasPrefix(b.you.Name, "Guest ") || a.you.ID == b.you.ID {
		t.Errorf("they are %+v and %+v", a.you, b.you)
	}
	media := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	id := a.send("hello   there\x00")
	first := b.next(Message)
	if e := first.Event; e.ID != id || e.Text != "hello there" || *e.Author != a.you || first.Offset != 1 {
		t.Errorf("got %+v", first)
	}
	if got := b.call("send", request{Text: "hi", ReplyTo: id, MediaTime: &media}); got.Error != nil {
		t.Fatal(got.Error)
	}
	a.next(Message) // its own
	if e := a.next(Message).Event; e.ReplyTo == nil || *e.ReplyTo != (Quote{id, "Ann B", "hello there"}) || !e.MediaTime.Equal(media) {
		t.Errorf("the answer is %+v", e)
	}
	if env, _, err := feed.Next(t.Context()); err != nil || env.Event.(event.ChatMessage).Text != "hello there" {
		t.Errorf("told %+v, %v", env, err)
	}
	// Who comes later is given what was.
	c := r.enter(t, "", hello{}, nil)
	if n := len(c.hello.Connect.Data.History); n != 2 {
		t.Errorf("%d of the past", n)
	}
	// A guest who comes back is the same.
	again := r.enter(t, "", hello{Token: a.hello.Connect.Data.Token, Name: "Anna"}, nil)
	if again.you != (Author{a.you.ID, "Anna", Viewer}) {
		t.Errorf("came back as %+v", again.you)
	}
}

func TestNothingIsMissedOverARestart(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, dir, DefaultConfig(), nil)
	a := r.enter(t, "", hello{}, nil)
	mod := r.enter(t, "", hello{Token: r.token(t, "mod", "Mod", Moderator)}, nil)
	mod.send("one")
	seen := a.next(Message)
	sub := a.hello.Connect.Subs[r.stream]
	mod.send("two")
	token := r.token(t, "mod", "Mod", Moderator)
	r.stop()
	var closed websocket.CloseError
	if err := <-a.gone; !errors.As(err, &closed) || closed.Code != 3001 {
		t.Errorf("ended with %v", err)
	}
	r = newRig(t, dir, DefaultConfig(), nil)
	mod = r.enter(t, "", hello{Token: token}, nil)
	mod.send("three")
	a = r.enter(t, "", hello{Token: a.hello.Connect.Data.Token, Again: true}, map[string]any{
		"subs": map[string]any{r.stream: map[string]any{"recover": true, "epoch": sub.Epoch, "offset": seen.Offset}},
	})
	got := a.hello.Connect.Subs[r.stream]
	if !got.Recovered || len(got.Publications) != 2 || got.Publications[0].Data.Text != "two" || got.Publications[1].Data.Text != "three" {
		t.Errorf("recovered %+v", got)
	}
	if n := len(a.hello.Connect.Data.History); n != 0 {
		t.Errorf("%d of the past a second time", n)
	}
}

// Whoever comes back gets all that is in memory at once, however large the messages are.
func TestMuchIsMissed(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxQueue = minQueue
	r := newRig(t, t.TempDir(), cfg, nil)
	a := r.enter(t, "", hello{}, nil)
	sub := a.hello.Connect.Subs[r.stream]
	_ = a.ws.CloseNow()
	long := strings.Repeat("\U0001f439", maxText)
	const messages = ringBytes / (4 * maxText) * 4 / 5
	for range messages {
		if _, err := r.Post(t.Context(), r.stream, Author{"h", "Host", Host}, long, nil); err != nil {
			t.Fatal(err)
		}
	}
	a = r.enter(t, "", hello{}, map[string]any{
		"subs": map[string]any{r.stream: map[string]any{"recover": true, "epoch": sub.Epoch, "offset": sub.Offset}},
	})
	if a.hello.Connect == nil {
		t.Fatalf("not let in: %+v", a.hello)
	}
	if got := a.hello.Connect.Subs[r.stream]; !got.Recovered || len(got.Publications) != messages || got.Publications[0].Data.Text != long {
		t.Errorf("recovered: %v, %d messages", got.Recovered, len(got.Publications))
	}
	a.send("back")
}

func TestModeration(t *testing.T) {
	ck := &clock{t: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)}
	r := newRig(t, t.TempDir(), DefaultConfig(), ck.now)
	a := r.enter(t, "192.0.2.7", hello{Name: "Ann"}, nil)
	host := r.enter(t, "", hello{Token: r.token(t, "h", "Host", Host)}, nil)
	for _, m := range []string{"remove", "ban", "unban", "pin", "settings"} {
		if why := a.refused(m, request{}); !strings.Contains(why, "only moderators") {
			t.Errorf("%s: %q", m, why)
		}
	}
	id := a.send("rude")
	if got := host.call("pin", request{ID: id}); got.Error != nil {
		t.Fatal(got.Error)
	}
	if p := a.next(pinning).Event.Pinned; p == nil || p.Text != "rude" {
		t.Errorf("pinned %+v", p)
	}
	if got := host.call("remove", request{ID: id}); got.Error != nil {
		t.Fatal(got.Error)
	}
	if e := a.next(Removed).Event; e.Target != id {
		t.Errorf("removed %+v", e)
	}
	if p := a.next(pinning).Event.Pinned; p != nil {
		t.Errorf("what was removed is pinned: %+v", p)
	}
	late := r.enter(t, "", hello{}, nil)
	if past := fmt.Sprintf("%s", late.hello.Connect.Data.History); strings.Contains(past, "rude") {
		t.Errorf("what was removed is shown: %s", past)
	}
	list, err := r.History(t.Context(), r.stream, 0, 10)
	if b := encode(list); err != nil || strings.Contains(string(b), `"text":"rude"`) {
		t.Errorf("%s, %v", b, err)
	}

	a.send("more")
	if got := host.call("ban", request{UserID: a.you.ID, Seconds: 600, Clear: true}); got.Error != nil {
		t.Fatal(got.Error)
	}
	if e := late.next(Cleared).Event; e.Target != a.you.ID {
		t.Errorf("cleared %+v", e)
	}
	if why := a.refused("send", request{Text: "x"}); !strings.Contains(why, "cannot write") || !strings.Contains(why, "12:10") {
		t.Errorf("%q", why)
	}
	// The same person as another guest, and somebody else.
	if why := r.enter(t, "192.0.2.7", hello{}, nil).refused("send", request{Text: "x"}); !strings.Contains(why, "cannot write") {
		t.Errorf("%q", why)
	}
	late.send("fine")
	ck.add(10 * time.Minute)
	a.send("sorry")
	if why := host.refused("ban", request{UserID: "h"}); why == "" {
		t.Error("no reason")
	}
	host.send("I am here")
	if why := host.refused("ban", request{UserID: "h"}); !strings.Contains(why, "moderator or the host") {
		t.Errorf("%q", why)
	}
}

func TestSettings(t *testing.T) {
	ck := &clock{t: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)}
	r := newRig(t, t.TempDir(), DefaultConfig(), ck.now)
	guest := r.enter(t, "192.0.2.8", hello{}, nil)
	member := r.enter(t, "192.0.2.9", hello{Token: r.token(t, "m", "Mem", Member)}, nil)
	host := r.enter(t, "", hello{Token: r.token(t, "h", "Host", Host)}, nil)
	set := func(s Settings) {
		t.Helper()
		if err := r.SetSettings(t.Context(), r.stream, s); err != nil {
			t.Fatal(err)
		}
		if e := guest.next(changed).Event; e.Settings == nil || e.Settings.Mode != s.Mode || e.Settings.BlockedWords != nil {
			t.Errorf("told %+v", e.Settings)
		}
	}
	for _, text := range []string{"see https://evil.example", "evil.com/x", "WWW.evil.example"} {
		if why := guest.refused("send", request{Text: text}); !strings.Contains(why, "links") {
			t.Errorf("%q: %q", text, why)
		}
	}
	host.send("see https://example.com")
	set(Settings{Mode: Everyone, Links: true, BlockedWords: []string{" Darn "}})
	guest.send("see https://fine.example, darned")
	if why := guest.refused("send", request{Text: "DARN!"}); !strings.Contains(why, "word") {
		t.Errorf("%q", why)
	}
	set(Settings{Mode: Members, SlowMode: 30})
	if why := guest.refused("send", request{Text: "x"}); !strings.Contains(why, "only members") {
		t.Errorf("%q", why)
	}
	member.send("one")
	if why := member.refused("send", request{Text: "two"}); !strings.Contains(why, "in 31 s") && !strings.Contains(why, "in 30 s") {
		t.Errorf("%q", why)
	}
	ck.add(30 * time.Second)
	member.send("two")
	set(Settings{Mode: Closed})
	if why := member.refused("send", request{Text: "x"}); !strings.Contains(why, "closed") {
		t.Errorf("%q", why)
	}
	host.send("still")
	for _, bad := range []Settings{{Mode: "some"}, {Mode: Everyone, SlowMode: -1}, {Mode: Everyone, BlockedWords: make([]string, 501)}, {Mode: Everyone, BlockedWords: []string{strings.Repeat("x", 61)}}} {
		if err := r.SetSettings(t.Context(), r.stream, bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func TestLimits(t *testing.T) {
	ck := &clock{t: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)}
	r := newRig(t, t.TempDir(), DefaultConfig(), ck.now)
	a := r.enter(t, "192.0.2.1", hello{}, nil)
	for i := range talkBurst {
		a.send(fmt.Sprint("message ", i))
	}
	if why := a.refused("send", request{Text: "one more"}); !strings.Contains(why, "very fast") {
		t.Errorf("%q", why)
	}
	ck.add(talkEvery)
	a.send("later")
	// Many guests at one address.
	n := 0
	for range addressFactor * talkBurst {
		g := r.enter(t, "2001:db8::1", hello{}, nil)
		if got := g.call("send", request{Text: "x"}); got.Error == nil {
			n++
		}
		_ = g.ws.CloseNow()
	}
	if got := r.enter(t, "2001:db8::2", hello{}, nil).call("send", request{Text: "x"}); n != addressFactor*talkBurst || got.Error == nil {
		t.Errorf("%d from one address, and then %+v", n, got.Error)
	}
	if got := r.enter(t, "2001:db8:1::2", hello{}, nil).call("send", request{Text: "x"}); got.Error != nil {
		t.Errorf("another address: %+v", got.Error)
	}
	for text, want := range map[string]string{"": "empty", " \u200b ": "empty", strings.Repeat("é", maxText+1): "500", strings.Repeat("x", 9*maxText): "500"} {
		if why := a.refused("send", request{Text: text}); !strings.Contains(why, want) {
			t.Errorf("%.20q: %q", text, why)
		}
	}
	if why := a.refused("react", request{Emoji: "x"}); !strings.Contains(why, "no such reaction") {
		t.Errorf("%q", why)
	}
	if why := a.refused("dance", nil); why == "" {
		t.Error("no reason")
	}
}

func TestReactionsAndCountsAreTold(t *testing.T) {
	ck := &clock{t: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)}
	r := newRig(t, t.TempDir(), DefaultConfig(), ck.now)
	a := r.enter(t, "", hello{}, nil)
	for range 3 {
		if got := a.call("react", request{Emoji: "🔥"}); got.Error != nil {
			t.Fatal(got.Error)
		}
	}
	n := 0
	for n < 3 {
		n += a.next(reaction).Event.Reactions["🔥"]
	}
	if n := a.next(counted).Event.Connected; n != 1 {
		t.Errorf("%d are there", n)
	}
	b := r.enter(t, "", hello{}, nil)
	ck.add(countEvery)
	if n := a.next(counted).Event.Connected; n != 2 {
		t.Errorf("%d are there", n)
	}
	_ = b.ws.CloseNow()
	ck.add(countEvery)
	if n := a.next(counted).Event.Connected; n != 1 {
		t.Errorf("%d are there", n)
	}
	if got := r.Connected(r.stream); got != 1 {
		t.Errorf("%d are there", got)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxConnections, cfg.MaxPerAddress = 3, 2
	r := newRig(t, t.TempDir(), cfg, nil)
	url := "ws" + strings.TrimPrefix(r.http.URL, "http") + "/chat/"
	dial := func(id, from string) (int, *websocket.Conn) {
		ws, res, err := websocket.Dial(t.Context(), url+id, &websocket.DialOptions{HTTPHeader: http.Header{"From-Address": {from}}})
		if err != nil && res == nil {
			t.Fatal(err)
		}
		return res.StatusCode, ws
	}
	if code, _ := dial("nobody", "192.0.2.1"); code != http.StatusNotFound {
		t.Errorf("an unknown id: %d", code)
	}
	var open []*websocket.Conn
	for i, tt := range []struct {
		from string
		code int
	}{{"192.0.2.1", 101}, {"192.0.2.1", 101}, {"192.0.2.1", 503}, {"192.0.2.2", 101}, {"192.0.2.3", 503}} {
		code, ws := dial("pb", tt.from)
		if code != tt.code {
			t.Errorf("%d: %d, want %d", i, code, tt.code)
		}
		if ws != nil {
			open = append(open, ws)
		}
	}
	if got := testutil.ToFloat64(r.m.connections); got != 3 {
		t.Errorf("%v connections", got)
	}
	for _, ws := range open {
		_ = ws.CloseNow()
	}
	r.stop()
	if got := testutil.ToFloat64(r.m.connections); got != 0 || len(r.from) != 0 || r.open != 0 {
		t.Errorf("%v connections are left, %d, %d", got, len(r.from), r.open)
	}
}

func TestTokens(t *testing.T) {
	r := newRig(t, t.TempDir(), DefaultConfig(), nil)
	good := r.token(t, "u", "U", Member)
	text, sum, _ := strings.Cut(good, ".")
	other, err := r.Token(Identity{Author{"u", "U", Host}, "ls_other", r.now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ token, want string }{
		"nonsense":     {"x", "none of this server"},
		"no signature": {text + ".", "not made by this server"},
		"altered":      {text[:len(text)-2] + "xx." + sum, "not made by this server"},
		"long":         {strings.Repeat("x", maxToken) + "." + sum, "none of this server"},
		"another":      {other, "another stream"},
		"expired":      {r.signer.sign(Identity{Author{"u", "U", Host}, r.stream, r.now()}), "expired"},
	} {
		got := r.enter(t, "", hello{Token: tt.token}, nil)
		if got.hello.Error == nil || !strings.Contains(got.hello.Error.Message, tt.want) || strings.Contains(got.hello.Error.Message, tt.token) {
			t.Errorf("%s: %+v", name, got.hello.Error)
		}
	}
	for _, bad := range []Identity{
		{Author: Author{"", "n", Viewer}}, {Author: Author{"gst_x", "n", Viewer}}, {Author: Author{"u", "", Viewer}}, {Author: Author{"u", "n", "king"}},
		{Author: Author{"u", strings.Repeat("n", 41), Viewer}}, {Author: Author{strings.Repeat("u", 65), "n", Viewer}},
	} {
		bad.Expires = r.now().Add(time.Hour)
		if _, err := r.Token(bad); err == nil {
			t.Errorf("%+v got a token", bad)
		}
	}
	if _, err := r.Token(Identity{Author: Author{"u", "n", Viewer}}); err == nil {
		t.Error("a token that has expired was made")
	}
	b, err := json.Marshal(r.enter(t, "", hello{Token: good}, nil).hello.Connect.Data.You)
	if err != nil || string(b) != `{"id":"u","name":"U","role":"member"}` {
		t.Errorf("%s, %v", b, err)
	}
}

func TestARingHasNoHolesAndIsBounded(t *testing.T) {
	r := new(room)
	for i := range int64(3 * ringEvents) {
		r.keep(stored{seq: i + 1, body: []byte("x")})
	}
	if n := len(r.ring); n != ringEvents || r.ring[0].seq != 2*ringEvents+1 || r.bytes != ringEvents {
		t.Errorf("%d events, %d bytes", n, r.bytes)
	}
	r.keep(stored{seq: 5 * ringEvents, body: make([]byte, ringBytes)})
	r.keep(stored{seq: 5*ringEvents + 1, body: make([]byte, 10)})
	if len(r.ring) != 1 || r.bytes != 10 {
		t.Errorf("%d events, %d bytes", len(r.ring), r.bytes)
	}
}
