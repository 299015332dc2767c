// Package chat is a room beside each live stream, in which viewers write to each other over
// WebSocket.
//
// A room is a log of events (messages, removals, changes of its settings), numbered without
// gaps and kept in the database; the newest are in memory, so that whoever lost the connection
// gets what it missed, also after a restart of the server. Connections, fan-out and slow
// readers are centrifuge's, whose JSON protocol clients speak.
package chat

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/control/store"
	"onair/internal/event"
	"onair/internal/fault"
)

// Store keeps rooms; *store.Store does.
type Store interface {
	InitSetting(ctx context.Context, name, value string) (kept string, made bool, err error)
	ChatRoom(ctx context.Context, streamID string) (store.ChatRoom, error)
	AppendChat(ctx context.Context, streamID string, e store.ChatEvent) (seq int64, err error)
	ChatEvents(ctx context.Context, streamID string, before int64, limit int) ([]store.ChatEvent, error)
	ChatEvent(ctx context.Context, streamID, id string) (store.ChatEvent, error)
	ChatBy(ctx context.Context, streamID, userID string, limit int) ([]store.ChatEvent, error)
	RewriteChat(ctx context.Context, streamID string, bodies map[string][]byte) error
	SetChatSettings(ctx context.Context, streamID string, settings []byte) error
	SetChatPinned(ctx context.Context, streamID string, pinned []byte) error
	BanFromChat(ctx context.Context, streamID string, b store.ChatBan) error
	UnbanFromChat(ctx context.Context, streamID, userID string) error
	PruneChat(ctx context.Context, before time.Time, limit int) (int, error)
}

// Deps is what a Server is made of.
type Deps struct {
	Store Store
	// Admit returns the live stream of a playback id, or why its chat cannot be entered.
	Admit func(ctx context.Context, playbackID string) (streamID string, err error)
	// Client returns the address of who asks; the connection's peer if it is nil.
	Client func(*http.Request) netip.Addr
	Bus    *event.Bus
	Log    *slog.Logger
	Reg    prometheus.Registerer
	// Now is the clock; nil is the real one.
	Now func() time.Time
}

// Server is all rooms. Its methods may be called from several goroutines.
type Server struct {
	Deps
	cfg    Config
	store  Store
	log    *slog.Logger
	now    func() time.Time
	signer *signer
	node   *centrifuge.Node
	broker *broker
	socket http.Handler
	m      *metrics

	mu    sync.Mutex
	rooms map[string]*room
	open  int // connections, those that are being made included
	from  map[netip.Prefix]int
	seats map[*seatedConn]struct{}
}

// New returns a Server. Run must be called for it to do anything beside answering.
func New(ctx context.Context, cfg Config, deps Deps) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{
		Deps: deps, cfg: cfg, store: deps.Store, log: deps.Log, now: deps.Now,
		rooms: map[string]*room{}, from: map[netip.Prefix]int{}, seats: map[*seatedConn]struct{}{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	var err error
	if s.signer, err = newSigner(ctx, deps.Store, s.now); err != nil {
		return nil, err
	}
	s.m = newMetrics(deps.Reg)
	s.node, err = centrifuge.New(centrifuge.Config{
		Name:                         "onair",
		ClientQueueMaxSize:           cfg.MaxQueue,
		ClientChannelLimit:           1,
		RecoveryMaxPublicationLimit:  ringEvents,
		ClientPresenceUpdateInterval: time.Minute,
		Metrics:                      centrifuge.MetricsConfig{RegistererGatherer: prometheus.NewRegistry()},
	})
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "make the chat", "", err, "")
	}
	s.broker = &broker{server: s}
	s.node.SetBroker(s.broker)
	s.node.OnConnecting(s.connecting)
	s.node.OnConnect(s.connected)
	s.socket = centrifuge.NewWebsocketHandler(s.node, centrifuge.WebsocketConfig{
		// Who somebody is stands in a token that a page sends, and never in a cookie: another
		// site's page can do no more here than its visitor's, and may embed the chat.
		CheckOrigin:        func(*http.Request) bool { return true },
		ReadBufferSize:     1 << 10,
		UseWriteBufferPool: true,
		MessageSizeLimit:   maxFrame,
		WriteTimeout:       writeTime,
	})
	return s, nil
}

// Run serves until ctx ends, and then tells all who are connected to come back later.
func (s *Server) Run(ctx context.Context) error {
	if err := s.node.Run(); err != nil {
		return fault.Wrap(fault.Internal, "run the chat", "", err, "")
	}
	every, prune := time.NewTicker(tick), time.NewTicker(pruneEvery)
	defer every.Stop()
	defer prune.Stop()
	for {
		select {
		case <-every.C:
			s.tell()
		case <-prune.C:
			s.prune(ctx)
		case <-ctx.Done():
			stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
			defer cancel()
			if err := s.node.Shutdown(stop); err != nil {
				s.log.Debug("chat connections that did not end are closed", "error", err)
			}
			s.closeAll()
			return nil
		}
	}
}

// known returns a room that is in memory.
func (s *Server) known(streamID string) (*room, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.rooms[streamID]
	return r, ok
}

// room returns a room, read from the database if it is not in memory.
func (s *Server) room(ctx context.Context, streamID string) (*room, error) {
	s.mu.Lock()
	r := s.rooms[streamID]
	if r == nil {
		if len(s.rooms) >= maxRooms {
			s.mu.Unlock()
			return nil, fault.New(fault.TooMany, "open", "the chat", "as many chats are open as can be", "Try again later.")
		}
		r = &room{id: streamID}
		s.rooms[streamID] = r
	}
	r.mu.Lock()
	r.used = s.now()
	r.mu.Unlock()
	s.mu.Unlock()
	if err := s.load(ctx, r); err != nil {
		s.mu.Lock()
		if r.mu.Lock(); !r.loaded && s.rooms[streamID] == r {
			delete(s.rooms, streamID)
		}
		r.mu.Unlock()
		s.mu.Unlock()
		return nil, err
	}
	return r, nil
}

// Forget closes the room of a live stream that was deleted.
func (s *Server) Forget(streamID string) {
	s.mu.Lock()
	delete(s.rooms, streamID)
	s.mu.Unlock()
	for _, c := range s.node.Hub().Connections() {
		if c.IsSubscribed(streamID) {
			c.Disconnect(closedRoom)
		}
	}
}

// Connected is how many are in the chat of a live stream.
func (s *Server) Connected(streamID string) int {
	r, ok := s.known(streamID)
	if !ok {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.here
}

// tell tells the rooms' reactions and counts, and forgets rooms in which nobody is.
func (s *Server) tell() {
	s.mu.Lock()
	list := make([]*room, 0, len(s.rooms))
	for id, r := range s.rooms {
		r.mu.Lock()
		idle := r.here == 0 && s.now().Sub(r.used) > idleRoom
		r.mu.Unlock()
		if idle {
			delete(s.rooms, id)
			continue
		}
		list = append(list, r)
	}
	s.mu.Unlock()
	for _, r := range list {
		r.mu.Lock()
		reactions, here := r.reactions, r.here
		other := here != r.told && s.now().Sub(r.toldAt) >= countEvery
		if r.reactions = nil; other {
			r.told, r.toldAt = here, s.now()
		}
		r.mu.Unlock()
		if len(reactions) > 0 {
			s.fleeting(r.id, &fleeting{Kind: reaction, Reactions: reactions})
		}
		if other {
			s.fleeting(r.id, &fleeting{Kind: counted, Connected: here})
		}
	}
}

// fleeting is what is told and not kept.
type fleeting struct {
	Kind      Kind           `json:"type"`
	Reactions map[string]int `json:"reactions,omitempty"`
	Connected int            `json:"connected,omitempty"`
	Settings  *Settings      `json:"settings,omitempty"`
	Pinned    *Event         `json:"pinned,omitempty"` // none any more if it is missing
}

func (s *Server) fleeting(streamID string, f *fleeting) {
	if _, err := s.node.Publish(streamID, encode(f)); err != nil {
		s.log.Debug("chat could not tell of reactions or counts", "error", err)
	}
}

// prune removes messages that are older than what is kept.
func (s *Server) prune(ctx context.Context) {
	for ctx.Err() == nil {
		n, err := s.store.PruneChat(ctx, s.now().Add(-s.cfg.KeepFor), pruneBatch)
		if err != nil {
			s.log.Warn("old chat messages are removed later", "error", err)
			return
		}
		s.m.pruned.Add(float64(n))
		if n < pruneBatch {
			return
		}
	}
}

func newID() string { return "msg_" + strings.ToLower(rand.Text()) }
