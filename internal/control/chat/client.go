package chat

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/centrifugal/centrifuge"

	"onair/internal/fault"
)

// How connections end. Clients come back after codes from 4000 to 4499, and not after those
// from 4500 on.
var (
	closedRoom = centrifuge.Disconnect{Code: 4500, Reason: "this chat is gone"}
)

// reactions are what can be sent as one.
var reactions = []string{"❤️", "👍", "😂", "😮", "😢", "🔥", "👏", "🎉"}

// visit is what is known of a connection before it says who it is.
type visit struct {
	room    *room
	address netip.Addr
}

type visitKey struct{}

// ServeHTTP is the WebSocket at /chat/{id}, whose path value id is a playback id.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	streamID, err := s.Admit(r.Context(), r.PathValue("id"))
	var in *room
	if err == nil {
		in, err = s.room(r.Context(), streamID)
	}
	if err != nil {
		s.m.rejected.WithLabelValues("playback_id").Inc()
		http.Error(w, err.Error(), fault.HTTPStatus(fault.KindOf(err)))
		return
	}
	v := &visit{room: in, address: s.client(r)}
	reason := s.enter(v.address)
	if reason != "" {
		s.m.rejected.WithLabelValues(reason).Inc()
		w.Header().Set("Retry-After", "10")
		http.Error(w, "the chat has as many connections as it can have; try again later", http.StatusServiceUnavailable)
		return
	}
	seat := &seat{ResponseWriter: w, server: s, address: v.address}
	s.socket.ServeHTTP(seat, r.WithContext(context.WithValue(r.Context(), visitKey{}, v)))
	if !seat.taken {
		s.leave(v.address)
	}
}

// seat is a counted connection: it leaves when the socket is closed, or when it never was
// one.
type seat struct {
	http.ResponseWriter
	server  *Server
	address netip.Addr
	taken   bool
}

// Hijack implements http.Hijacker.
func (s *seat) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(s.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	s.taken = true
	conn := &seatedConn{Conn: c, server: s.server, address: s.address}
	s.server.mu.Lock()
	s.server.seats[conn] = struct{}{}
	s.server.mu.Unlock()
	return conn, rw, nil
}

type seatedConn struct {
	net.Conn
	server  *Server
	address netip.Addr
}

// Close implements net.Conn.
func (c *seatedConn) Close() error {
	err := c.Conn.Close()
	c.server.mu.Lock()
	_, seated := c.server.seats[c]
	delete(c.server.seats, c)
	c.server.mu.Unlock()
	if seated {
		c.server.leave(c.address)
	}
	return err
}

// closeAll closes the connections that did not end by themselves.
func (s *Server) closeAll() {
	s.mu.Lock()
	left := slices.Collect(maps.Keys(s.seats))
	s.mu.Unlock()
	for _, c := range left {
		_ = c.Close()
	}
}

func (s *Server) client(r *http.Request) netip.Addr {
	if s.Client != nil {
		return s.Client(r)
	}
	p, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}

// enter counts a connection; reason is set if it is one too many.
func (s *Server) enter(a netip.Addr) (reason string) {
	p := prefixOf(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.open >= s.cfg.MaxConnections:
		return "connections"
	case s.from[p] >= s.cfg.MaxPerAddress:
		return "address"
	}
	s.open++
	s.from[p]++
	s.m.connections.Inc()
	return ""
}

func (s *Server) leave(a netip.Addr) {
	p := prefixOf(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if s.from[p]--; s.from[p] <= 0 {
		delete(s.from, p)
	}
	s.m.connections.Dec()
}

// hello is what a client says of itself when it connects.
type hello struct {
	Token string `json:"token"` // who it is; a guest's own from before, or an application's
	Name  string `json:"name"`  // how a guest wants to be called
	// Again is set by who has the room's past already.
	Again bool `json:"again"`
}

// welcome is the answer.
type welcome struct {
	You       Author            `json:"you"`
	Token     string            `json:"token"` // to be the same one next time
	Settings  *Settings         `json:"settings"`
	Pinned    *Event            `json:"pinned"`
	Connected int               `json:"connected"`
	Reactions []string          `json:"reactions"`
	History   []json.RawMessage `json:"history"`
}

// connecting decides who a new connection is.
func (s *Server) connecting(ctx context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
	v, ok := ctx.Value(visitKey{}).(*visit)
	if !ok {
		return centrifuge.ConnectReply{}, centrifuge.DisconnectBadRequest
	}
	var h hello
	if len(e.Data) > 0 && json.Unmarshal(e.Data, &h) != nil {
		return centrifuge.ConnectReply{}, centrifuge.DisconnectBadRequest
	}
	who, err := s.identify(v.room.id, h)
	if err != nil {
		return centrifuge.ConnectReply{}, toClient(err)
	}
	w := welcome{You: who.Author, Token: s.signer.sign(who), Reactions: reactions, History: []json.RawMessage{}}
	v.room.mu.Lock()
	w.Settings, w.Pinned, w.Connected = v.room.settings.shown(), v.room.pinned, v.room.here+1
	v.room.mu.Unlock()
	if !h.Again {
		w.History = v.room.newest(pageEvents)
	}
	return centrifuge.ConnectReply{
		Credentials:   &centrifuge.Credentials{UserID: who.ID, Info: encode(who.Author)},
		Data:          encode(w),
		Subscriptions: map[string]centrifuge.SubscribeOptions{v.room.id: {EnableRecovery: true}},
	}, nil
}

// identify returns who somebody is.
func (s *Server) identify(streamID string, h hello) (Identity, error) {
	name, err := checkName(h.Name)
	if err != nil {
		return Identity{}, err
	}
	if h.Token == "" {
		return s.signer.guest(streamID, name), nil
	}
	who, err := s.signer.read(h.Token, streamID)
	if err != nil {
		return Identity{}, err
	}
	if name != "" && isGuest(who.ID) {
		who.Name = name
	}
	return who, nil
}

func isGuest(id string) bool { return len(id) > 4 && id[:4] == "gst_" }

// connected takes what a client asks for.
func (s *Server) connected(c *centrifuge.Client) {
	v, ok := c.Context().Value(visitKey{}).(*visit)
	var who Author
	if !ok || json.Unmarshal(c.Info(), &who) != nil {
		c.Disconnect(centrifuge.DisconnectServerError)
		return
	}
	r := v.room
	r.mu.Lock()
	r.here++
	r.mu.Unlock()
	c.OnDisconnect(func(e centrifuge.DisconnectEvent) {
		r.mu.Lock()
		r.here--
		r.used = s.now()
		r.mu.Unlock()
		s.m.gone.WithLabelValues(goneReason(e.Code)).Inc()
	})
	c.OnRPC(func(e centrifuge.RPCEvent, reply centrifuge.RPCCallback) {
		answer, err := s.call(c.Context(), v, who, e)
		if err != nil {
			s.m.refused.WithLabelValues(string(fault.KindOf(err))).Inc()
			reply(centrifuge.RPCReply{}, toClient(err))
			return
		}
		reply(centrifuge.RPCReply{Data: encode(answer)}, nil)
	})
}

func goneReason(code uint32) string {
	switch code {
	case centrifuge.DisconnectConnectionClosed.Code:
		return "left"
	case centrifuge.DisconnectSlow.Code, centrifuge.DisconnectWriteError.Code:
		return "slow"
	case closedRoom.Code:
		return "closed"
	default:
		return "other"
	}
}

// request is what calls have; each uses some.
type request struct {
	ID        string     `json:"id"`
	Text      string     `json:"text"`
	ReplyTo   string     `json:"reply_to"`
	MediaTime *time.Time `json:"media_time"`
	Emoji     string     `json:"emoji"`
	UserID    string     `json:"user_id"`
	Seconds   int        `json:"seconds"`
	Clear     bool       `json:"clear"`
	Before    int64      `json:"before"`
	Settings  *Settings  `json:"settings"`
}

// call is one thing that a client wants done.
func (s *Server) call(ctx context.Context, v *visit, who Author, e centrifuge.RPCEvent) (any, error) {
	var q request
	if len(e.Data) > 0 && json.Unmarshal(e.Data, &q) != nil {
		return nil, fault.New(fault.Invalid, "ask", "the chat", "the request is not JSON as it should be", "")
	}
	switch e.Method {
	case "send":
		return s.send(ctx, v, who, q)
	case "react":
		return s.react(v, who, q)
	case "history":
		return s.History(ctx, v.room.id, q.Before, pageEvents)
	}
	if !who.Role.moderates() {
		return nil, fault.New(fault.Forbidden, "moderate", "the chat", "only moderators and the host may do that", "")
	}
	done := struct{}{}
	switch e.Method {
	case "remove":
		return done, s.Remove(ctx, v.room.id, q.ID)
	case "ban":
		return done, s.Ban(ctx, v.room.id, q.UserID, time.Duration(q.Seconds)*time.Second, q.Clear)
	case "unban":
		return done, s.Unban(ctx, v.room.id, q.UserID)
	case "pin":
		return done, s.Pin(ctx, v.room.id, q.ID)
	case "settings":
		if q.Settings == nil {
			return nil, fault.New(fault.Invalid, "set up the chat", "settings", "there are none in the request", "")
		}
		return done, s.SetSettings(ctx, v.room.id, *q.Settings)
	}
	return nil, fault.New(fault.NotFound, "ask", "the chat", "there is no such call", "")
}

// sent is the answer to who sent a message.
type sent struct {
	ID string `json:"id"`
}

// send is a message of a client.
func (s *Server) send(ctx context.Context, v *visit, who Author, q request) (any, error) {
	r, now := v.room, s.now()
	r.mu.Lock()
	settings := r.settings
	r.mu.Unlock()
	if err := settings.mayWrite(who.Role); err != nil {
		return nil, err
	}
	if !who.Role.moderates() {
		place := ""
		if isGuest(who.ID) {
			place = s.signer.place(v.address)
		}
		if until, ok := r.banned(now, who.ID, place); ok {
			return nil, banned(until)
		}
	}
	text, err := settings.checkText(q.Text, who.Role)
	if err != nil {
		return nil, err
	}
	e := &Event{Kind: Message, ID: newID(), At: now.UTC().Truncate(time.Millisecond), Author: &who, Text: text, MediaTime: q.MediaTime}
	if q.ReplyTo != "" {
		if e.ReplyTo, err = s.quote(ctx, r.id, q.ReplyTo); err != nil {
			return nil, err
		}
	}
	if !who.Role.moderates() {
		if err := r.allow(who.ID, addressOf(v.address), now); err != nil {
			return nil, err
		}
	}
	if err := s.append(ctx, r, e); err != nil {
		return nil, err
	}
	s.m.messages.Inc()
	return sent{e.ID}, nil
}

func banned(until time.Time) error {
	hint := ""
	if !until.IsZero() {
		hint = "You can write again at " + until.UTC().Format("15:04") + " UTC."
	}
	return fault.New(fault.Forbidden, "send", "the message", "you cannot write in this chat", hint)
}

// react is a reaction of a client. One too many is not told of, and not counted.
func (s *Server) react(v *visit, who Author, q request) (any, error) {
	if !slices.Contains(reactions, q.Emoji) {
		return nil, fault.New(fault.Invalid, "react", "", "there is no such reaction", "")
	}
	v.room.react(who.ID, addressOf(v.address), q.Emoji, s.now())
	return struct{}{}, nil
}

// toClient is an error as clients see it: why, and what to do. Its code is the HTTP status.
func toClient(err error) error {
	code := fault.HTTPStatus(fault.KindOf(err))
	text := "the server could not do that now"
	var f *fault.Error
	if errors.As(err, &f) && code < http.StatusInternalServerError && f.Cause != nil {
		text = f.Cause.Error()
		if f.Hint != "" {
			text += ". " + f.Hint
		}
	}
	return &centrifuge.Error{Code: uint32(code), Message: text, Temporary: code >= http.StatusInternalServerError}
}
