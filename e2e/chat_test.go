//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// chatter is a connection to the chat that speaks as much of Centrifuge's protocol as its
// clients do.
type chatter struct {
	ws   *websocket.Conn
	id   int
	room string
	// epoch and offset are how far it has seen the room.
	epoch  string
	offset int64
	texts  []string
}

type chatReply struct {
	ID    int `json:"id"`
	Error *struct {
		Message string `json:"message"`
	} `json:"error"`
	Connect *struct {
		Subs map[string]struct {
			Recovered    bool      `json:"recovered"`
			Epoch        string    `json:"epoch"`
			Offset       int64     `json:"offset"`
			Publications []chatPub `json:"publications"`
		} `json:"subs"`
	} `json:"connect"`
	Push *struct {
		Pub *chatPub `json:"pub"`
	} `json:"push"`
}

type chatPub struct {
	Offset int64 `json:"offset"`
	Data   struct {
		Type string `json:"type"`
		Text string `json:"text"`
	} `json:"data"`
}

// enterChat connects, or comes back for what was missed if c has been there.
func (c *chatter) enter(ctx context.Context, url, token string) error {
	ws, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return err
	}
	ws.SetReadLimit(1 << 20)
	c.ws, c.id = ws, 1
	connect := map[string]any{"data": map[string]any{"token": token, "again": c.room != ""}}
	if c.room != "" {
		connect["subs"] = map[string]any{c.room: map[string]any{"recover": true, "epoch": c.epoch, "offset": c.offset}}
	}
	if err := c.write(ctx, map[string]any{"id": c.id, "connect": connect}); err != nil {
		return err
	}
	list, err := c.read(ctx)
	if err != nil {
		return err
	}
	if list[0].Connect == nil {
		return fmt.Errorf("not let in: %+v", list[0].Error)
	}
	for room, sub := range list[0].Connect.Subs {
		if c.room != "" && !sub.Recovered {
			return fmt.Errorf("what was missed since %d is not there", c.offset)
		}
		c.room, c.epoch = room, sub.Epoch
		for i := range sub.Publications {
			if err := c.take(&sub.Publications[i]); err != nil {
				return err
			}
		}
		c.offset = sub.Offset
	}
	return c.takeAll(list[1:])
}

func (c *chatter) write(ctx context.Context, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.ws.Write(ctx, websocket.MessageText, b)
}

func (c *chatter) read(ctx context.Context) (list []chatReply, err error) {
	_, b, err := c.ws.Read(ctx)
	for line := range strings.SplitSeq(string(b), "\n") {
		if line == "" {
			continue
		}
		var r chatReply
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, err
}

func (c *chatter) take(p *chatPub) error {
	if p.Offset == 0 {
		return nil // told and not kept
	}
	if p.Offset != c.offset+1 {
		return fmt.Errorf("event %d came after %d", p.Offset, c.offset)
	}
	c.offset = p.Offset
	if p.Data.Type == "message" {
		c.texts = append(c.texts, p.Data.Text)
	}
	return nil
}

func (c *chatter) takeAll(list []chatReply) error {
	for _, r := range list {
		if r.Push != nil && r.Push.Pub != nil {
			if err := c.take(r.Push.Pub); err != nil {
				return err
			}
		}
	}
	return nil
}

// until reads until the newest message is text.
func (c *chatter) until(ctx context.Context, text string) error {
	for len(c.texts) == 0 || c.texts[len(c.texts)-1] != text {
		list, err := c.read(ctx)
		if err != nil {
			return fmt.Errorf("waiting for %q after %d messages: %w", text, len(c.texts), err)
		}
		if err := c.takeAll(list); err != nil {
			return err
		}
	}
	return nil
}

// say sends a message and reads until it was taken.
func (c *chatter) say(ctx context.Context, text string) error {
	c.id++
	if err := c.write(ctx, map[string]any{"id": c.id, "rpc": map[string]any{"method": "send", "data": map[string]any{"text": text}}}); err != nil {
		return err
	}
	for {
		list, err := c.read(ctx)
		if err != nil {
			return err
		}
		if err := c.takeAll(list); err != nil {
			return err
		}
		for _, r := range list {
			if r.ID == c.id {
				if r.Error != nil {
					return fmt.Errorf("%q was refused: %s", text, r.Error.Message)
				}
				return nil
			}
		}
	}
}

// TestChat has everybody in a room see every message once and in order, also those who come
// back after the server was killed.
func TestChat(t *testing.T) {
	beside(t)
	const readers, messages = 100, 40
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	data := t.TempDir()
	s := start(t, "--data", data)
	st := s.create("low")
	var token struct{ Token string }
	if code := s.call("POST", "/v1/live-streams/"+st.ID+"/chat/tokens", map[string]any{"user_id": "host", "name": "Host", "role": "host"}, &token); code != 201 {
		t.Fatalf("the token: %d", code)
	}
	url := func() string { return "ws" + strings.TrimPrefix(s.http, "http") + "/chat/" + st.playbackID() }
	host := new(chatter)
	if err := host.enter(ctx, url(), token.Token); err != nil {
		t.Fatal(err)
	}
	crowd := make([]*chatter, readers)
	each := func(what string, do func(c *chatter) error) {
		t.Helper()
		var wg sync.WaitGroup
		for _, c := range crowd {
			wg.Go(func() {
				if err := do(c); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
	for i := range crowd {
		crowd[i] = new(chatter)
	}
	each("enter", func(c *chatter) error { return c.enter(ctx, url(), "") })
	var said []string
	say := func(n int) {
		t.Helper()
		for range n {
			text := fmt.Sprint("message ", len(said))
			if err := host.say(ctx, text); err != nil {
				t.Fatal(err)
			}
			said = append(said, text)
		}
	}
	say(messages)
	each("read", func(c *chatter) error { return c.until(ctx, said[len(said)-1]) })

	// Half of them are away when the next ones are sent, and then the server dies.
	for _, c := range crowd[:readers/2] {
		_ = c.ws.CloseNow()
	}
	say(messages)
	if err := s.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.ended
	s.ended <- nil
	for _, c := range append([]*chatter{host}, crowd[readers/2:]...) {
		_ = c.ws.CloseNow()
	}
	s = start(t, "--data", data)
	if err := host.enter(ctx, url(), token.Token); err != nil {
		t.Fatal(err)
	}
	say(messages)
	each("come back", func(c *chatter) error {
		if err := c.enter(ctx, url(), ""); err != nil {
			return err
		}
		return c.until(ctx, said[len(said)-1])
	})
	for i, c := range crowd {
		if got := strings.Join(c.texts, "\n"); got != strings.Join(said, "\n") {
			t.Fatalf("reader %d has %d messages of %d", i, len(c.texts), len(said))
		}
		_ = c.ws.CloseNow()
	}
	var page struct {
		Data []struct{ Text string } `json:"data"`
	}
	if code := s.call("GET", "/v1/live-streams/"+st.ID+"/chat/messages?limit=1", nil, &page); code != 200 || len(page.Data) != 1 || page.Data[0].Text != said[len(said)-1] {
		t.Errorf("the newest message: %d %+v", code, page)
	}
	_ = host.ws.CloseNow()
}
