package chat

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"onair/internal/control/store"
	"onair/internal/event"
	"onair/internal/fault"
)

// Of a server that has stopped, centrifuge leaves the goroutine that adds its metrics up, for a
// second the one that watched rooms becoming empty, and for five those that say good-bye.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/FZambia/eagle.(*Eagle).aggregate"),
		goleak.IgnoreAnyFunction("github.com/centrifugal/centrifuge/internal/dissolve.(*Dissolver).runWorker"),
		goleak.IgnoreAnyFunction("github.com/centrifugal/centrifuge.(*websocketTransport).Close"))
}

// rig is a server with its rooms, and the database behind it.
type rig struct {
	*Server
	store  *store.Store
	stream string
	http   *httptest.Server
	bus    *event.Bus
	stop   func()
}

// clock is moved by tests.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func openStore(t *testing.T, dir string) *store.Store {
	t.Helper()
	cfg := store.DefaultConfig()
	cfg.Dir = dir
	st, err := store.Open(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// newRig makes a server in a folder, in which it finds what another one left.
func newRig(t *testing.T, dir string, cfg Config, now func() time.Time) *rig {
	t.Helper()
	r := &rig{store: openStore(t, dir), bus: event.NewBus()}
	streams, _, err := r.store.LiveStreams(t.Context(), 1, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(streams) == 0 {
		l, err := r.store.CreateLiveStream(t.Context(), store.LiveStream{Title: "t", LatencyMode: "low"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, l)
	}
	r.stream = streams[0].ID
	r.Server, err = New(t.Context(), cfg, Deps{
		Store: r.store, Bus: r.bus, Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(), Now: now,
		Admit: func(_ context.Context, id string) (string, error) {
			if id != "pb" {
				return "", fault.New(fault.NotFound, "look up the playback id", id, "there is none", "")
			}
			return r.stream, nil
		},
		Client: func(q *http.Request) netip.Addr {
			if a, err := netip.ParseAddr(q.Header.Get("From-Address")); err == nil {
				return a
			}
			return netip.MustParseAddr("192.0.2.1")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/chat/{id}", r.Server)
	r.http = httptest.NewServer(mux)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		r.http.Close()
		_ = r.store.Close()
	})
	t.Cleanup(r.stop)
	return r
}

// client is somebody in the chat.
type client struct {
	t     *testing.T
	ws    *websocket.Conn
	you   Author
	id    int
	in    chan push
	rest  chan reply
	gone  chan error
	hello reply
}

type push struct {
	Offset int64 `json:"offset"`
	Event  struct {
		Event
		Reactions map[string]int `json:"reactions"`
		Connected int            `json:"connected"`
		Settings  *Settings      `json:"settings"`
		Pinned    *Event         `json:"pinned"`
	}
}

type reply struct {
	ID    int `json:"id"`
	Error *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
	Connect *struct {
		Data welcome `json:"data"`
		Subs map[string]struct {
			Recovered    bool   `json:"recovered"`
			Epoch        string `json:"epoch"`
			Offset       int64  `json:"offset"`
			Publications []struct {
				Offset int64 `json:"offset"`
				Data   Event `json:"data"`
			} `json:"publications"`
		} `json:"subs"`
	} `json:"connect"`
	RPC *struct {
		Data json.RawMessage `json:"data"`
	} `json:"rpc"`
}

// enter connects; the connect command's other fields are in extra.
func (r *rig) enter(t *testing.T, from string, h hello, extra map[string]any) *client {
	t.Helper()
	header := http.Header{}
	if from != "" {
		header.Set("From-Address", from)
	}
	ws, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(r.http.URL, "http")+"/chat/pb", &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(1 << 20)
	c := &client{t: t, ws: ws, in: make(chan push, 2000), rest: make(chan reply, 100), gone: make(chan error, 1)}
	go c.read()
	t.Cleanup(func() { _ = ws.CloseNow() })
	connect := map[string]any{"data": h}
	for k, v := range extra {
		connect[k] = v
	}
	c.hello = c.do(map[string]any{"connect": connect})
	if c.hello.Connect != nil {
		c.you = c.hello.Connect.Data.You
	}
	return c
}

func (c *client) read() {
	for {
		_, b, err := c.ws.Read(context.Background())
		if err != nil {
			c.gone <- err
			return
		}
		for line := range strings.SplitSeq(string(b), "\n") {
			var m struct {
				reply
				Push *struct {
					Pub *struct {
						Offset int64           `json:"offset"`
						Data   json.RawMessage `json:"data"`
					} `json:"pub"`
				} `json:"push"`
			}
			if line == "" || json.Unmarshal([]byte(line), &m) != nil {
				continue
			}
			switch {
			case m.Push != nil && m.Push.Pub != nil:
				p := push{Offset: m.Push.Pub.Offset}
				_ = json.Unmarshal(m.Push.Pub.Data, &p.Event)
				c.in <- p
			case m.ID != 0:
				c.rest <- m.reply
			}
		}
	}
}

func (c *client) do(cmd map[string]any) reply {
	c.t.Helper()
	c.id++
	cmd["id"] = c.id
	if err := c.ws.Write(c.t.Context(), websocket.MessageText, encode(cmd)); err != nil {
		c.t.Fatal(err)
	}
	select {
	case r := <-c.rest:
		return r
	case err := <-c.gone:
		c.gone <- err
		return reply{}
	}
}

func (c *client) call(method string, data any) reply {
	c.t.Helper()
	return c.do(map[string]any{"rpc": map[string]any{"method": method, "data": data}})
}

// send sends a message and returns its id.
func (c *client) send(text string) string {
	c.t.Helper()
	r := c.call("send", request{Text: text})
	if r.Error != nil || r.RPC == nil {
		c.t.Fatalf("%q was not sent: %+v", text, r.Error)
	}
	var s sent
	_ = json.Unmarshal(r.RPC.Data, &s)
	return s.ID
}

// refused sends what is not to be sent, and returns why.
func (c *client) refused(method string, data any) string {
	c.t.Helper()
	r := c.call(method, data)
	if r.Error == nil {
		c.t.Fatalf("%s of %+v was not refused", method, data)
	}
	return r.Error.Message
}

// next returns the next event of a kind; those of other kinds before it are passed over.
func (c *client) next(k Kind) push {
	c.t.Helper()
	for {
		select {
		case p := <-c.in:
			if p.Event.Kind == k {
				return p
			}
		case err := <-c.gone:
			c.t.Fatalf("gone while waiting for %s: %v", k, err)
		}
	}
}
