package chat

import (
	"context"
	"encoding/json"
	"net/netip"
	"time"
	"unicode/utf8"

	"onair/internal/control/store"
	"onair/internal/event"
	"onair/internal/fault"
)

// quoteLength is how much of a message stands above its answers, in characters.
const quoteLength = 80

// Entry is an event with its number in the room.
type Entry struct {
	Seq   int64           `json:"seq"`
	Event json.RawMessage `json:"event"`
}

// Message returns the message that it is; false if it tells of something else.
func (e Entry) Message() (*Event, bool) {
	m := new(Event)
	if json.Unmarshal(e.Event, m) != nil || m.Kind != Message {
		return nil, false
	}
	return m, true
}

// History returns up to limit events of a room from before a number, oldest first; the newest
// if it is 0.
func (s *Server) History(ctx context.Context, streamID string, before int64, limit int) ([]Entry, error) {
	if _, err := s.room(ctx, streamID); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	list, err := s.store.ChatEvents(ctx, streamID, max(before, 0), limit)
	if err != nil {
		return nil, err
	}
	out := make([]Entry, len(list))
	for i, e := range list {
		out[i] = Entry{e.Seq, e.Body}
	}
	return out, nil
}

// message returns a message that is kept.
func (s *Server) message(ctx context.Context, streamID, id string) (*Event, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	kept, err := s.store.ChatEvent(ctx, streamID, id)
	if err != nil {
		return nil, err
	}
	e := new(Event)
	if json.Unmarshal(kept.Body, e) != nil || e.Kind != Message {
		return nil, fault.New(fault.NotFound, "look up the message", "", "it is no message", "")
	}
	return e, nil
}

func (s *Server) quote(ctx context.Context, streamID, id string) (*Quote, error) {
	e, err := s.message(ctx, streamID, id)
	if err != nil {
		return nil, err
	}
	if e.Gone {
		return nil, fault.New(fault.Conflict, "answer", "the message", "it was removed", "")
	}
	return &Quote{ID: e.ID, Name: e.Author.Name, Text: shorten(e.Text, quoteLength)}, nil
}

func shorten(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// Post writes a message for somebody who is not connected. It is not held to the limits of
// users.
func (s *Server) Post(ctx context.Context, streamID string, by Author, text string, media *time.Time) (*Event, error) {
	r, err := s.room(ctx, streamID)
	if err != nil {
		return nil, err
	}
	name, err := checkName(by.Name)
	if err != nil {
		return nil, err
	}
	by.Name = name
	settings := defaultSettings()
	if text, err = settings.checkText(text, Moderator); err != nil {
		return nil, err
	}
	e := &Event{Kind: Message, ID: newID(), At: s.now().UTC().Truncate(time.Millisecond), Author: &by, Text: text, MediaTime: media}
	if err := s.append(ctx, r, e); err != nil {
		return nil, err
	}
	s.m.messages.Inc()
	return e, nil
}

// Remove takes a message away: nobody is shown what it said any more.
func (s *Server) Remove(ctx context.Context, streamID, id string) error {
	r, err := s.room(ctx, streamID)
	if err != nil {
		return err
	}
	e, err := s.message(ctx, streamID, id)
	if err != nil || e.Gone {
		return err
	}
	if err := s.rewrite(ctx, r, map[string][]byte{id: encode(e.gone())}); err != nil {
		return err
	}
	if err := s.append(ctx, r, s.change(&Event{Kind: Removed, Target: id})); err != nil {
		return err
	}
	s.moderated(streamID, "removed", id)
	r.mu.Lock()
	pinned := r.pinned != nil && r.pinned.ID == id
	r.mu.Unlock()
	if pinned {
		return s.Pin(ctx, streamID, "")
	}
	return nil
}

func (s *Server) rewrite(ctx context.Context, r *room, bodies map[string][]byte) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	if err := s.store.RewriteChat(ctx, r.id, bodies); err != nil {
		return err
	}
	r.replace(bodies)
	return nil
}

// moderated tells of what was done.
func (s *Server) moderated(streamID, what, target string) {
	if s.Bus != nil {
		s.Bus.Publish(event.ChatModerated{StreamID: streamID, What: what, Target: target})
	}
}

// change completes an event that is no message.
func (s *Server) change(e *Event) *Event {
	e.ID, e.At = newID(), s.now().UTC().Truncate(time.Millisecond)
	return e
}

// Ban keeps a user from writing, for so long or, with 0, for good; a guest's address, too,
// for a guest can come as another one. With withMessages the user's newest messages go, too.
func (s *Server) Ban(ctx context.Context, streamID, userID string, d time.Duration, withMessages bool) error {
	if userID == "" || len(userID) > maxUserID || d < 0 {
		return fault.New(fault.Invalid, "ban", "", "it is not said who, or for how long", "Name the user_id of one of the messages, and seconds.")
	}
	r, err := s.room(ctx, streamID)
	if err != nil {
		return err
	}
	now := s.now()
	var until time.Time
	if d > 0 {
		until = now.Add(d)
	}
	name := ""
	recent, err := s.store.ChatBy(ctx, streamID, userID, clearMessages)
	if err != nil {
		return err
	}
	bodies := map[string][]byte{}
	if s.moderatorIsHere(userID) {
		return bannedModerator()
	}
	for _, kept := range recent {
		e := new(Event)
		if json.Unmarshal(kept.Body, e) != nil || e.Author == nil {
			continue
		}
		if name = e.Author.Name; e.Author.Role.moderates() {
			return bannedModerator()
		}
		if !e.Gone {
			bodies[e.ID] = encode(e.gone())
		}
	}
	ids := []string{userID}
	if isGuest(userID) {
		ids = append(ids, s.places(streamID, userID)...)
	}
	for _, id := range ids {
		if err := s.store.BanFromChat(ctx, streamID, store.ChatBan{UserID: id, Name: name, CreatedAt: now, Until: until}); err != nil {
			return err
		}
		r.mu.Lock()
		r.bans[id] = until
		r.mu.Unlock()
	}
	s.moderated(streamID, "banned", userID)
	if !withMessages || len(bodies) == 0 {
		return nil
	}
	if err := s.rewrite(ctx, r, bodies); err != nil {
		return err
	}
	return s.append(ctx, r, s.change(&Event{Kind: Cleared, Target: userID}))
}

func bannedModerator() error {
	return fault.New(fault.Forbidden, "ban", "the user", "it is a moderator or the host", "Take the role away first.")
}

func (s *Server) moderatorIsHere(userID string) bool {
	for _, c := range s.node.Hub().UserConnections(userID) {
		var who Author
		if json.Unmarshal(c.Info(), &who) == nil && who.Role.moderates() {
			return true
		}
	}
	return false
}

// places are the addresses that a guest is connected from, as bans have them.
func (s *Server) places(streamID, userID string) (ids []string) {
	seen := map[netip.Prefix]bool{}
	for _, c := range s.node.Hub().UserConnections(userID) {
		v, ok := c.Context().Value(visitKey{}).(*visit)
		if !ok || v.room.id != streamID || !v.address.IsValid() || seen[prefixOf(v.address)] {
			continue
		}
		seen[prefixOf(v.address)] = true
		ids = append(ids, s.signer.place(v.address))
	}
	return ids
}

// maxUserID bounds the id of a user, in bytes.
const maxUserID = 64

// Unban lets a user write again. Who was banned with an address stays banned there until that
// is let, too: Bans lists it under the same name.
func (s *Server) Unban(ctx context.Context, streamID, userID string) error {
	r, err := s.room(ctx, streamID)
	if err != nil {
		return err
	}
	if err := s.store.UnbanFromChat(ctx, streamID, userID); err != nil {
		return err
	}
	r.mu.Lock()
	delete(r.bans, userID)
	r.mu.Unlock()
	s.moderated(streamID, "unbanned", userID)
	return nil
}

// Bans returns who may not write in a room, those banned first first.
func (s *Server) Bans(ctx context.Context, streamID string) ([]store.ChatBan, error) {
	kept, err := s.store.ChatRoom(ctx, streamID)
	return kept.Bans, err
}

// Pin shows a message above the others; none for an empty id.
func (s *Server) Pin(ctx context.Context, streamID, id string) error {
	r, err := s.room(ctx, streamID)
	if err != nil {
		return err
	}
	var pinned *Event
	var body []byte
	if id != "" {
		if pinned, err = s.message(ctx, streamID, id); err != nil {
			return err
		}
		if pinned.Gone {
			return fault.New(fault.Conflict, "pin", "the message", "it was removed", "")
		}
		body = encode(pinned)
	}
	if err := s.store.SetChatPinned(ctx, streamID, body); err != nil {
		return err
	}
	r.mu.Lock()
	r.pinned = pinned
	r.mu.Unlock()
	if pinned == nil {
		s.moderated(streamID, "unpinned", "")
	} else {
		s.moderated(streamID, "pinned", id)
	}
	// Not kept: who comes is told of it anyhow, and what was removed is nowhere.
	s.fleeting(streamID, &fleeting{Kind: pinning, Pinned: pinned})
	return nil
}

// Room is how a room is now.
type Room struct {
	Settings
	Pinned    *Event
	Connected int
}

// Room returns the room of a live stream.
func (s *Server) Room(ctx context.Context, streamID string) (Room, error) {
	r, err := s.room(ctx, streamID)
	if err != nil {
		return Room{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return Room{r.settings, r.pinned, r.here}, nil
}

// SetSettings changes the settings of a room.
func (s *Server) SetSettings(ctx context.Context, streamID string, to Settings) error {
	to, err := to.check()
	if err != nil {
		return err
	}
	r, err := s.room(ctx, streamID)
	if err != nil {
		return err
	}
	if err := s.store.SetChatSettings(ctx, streamID, encode(to)); err != nil {
		return err
	}
	r.mu.Lock()
	r.settings = to
	r.mu.Unlock()
	s.moderated(streamID, "settings", "")
	s.fleeting(streamID, &fleeting{Kind: changed, Settings: to.shown()})
	return nil
}

// Token returns what somebody enters the chat of a live stream with as who they are there.
func (s *Server) Token(i Identity) (string, error) {
	name, err := checkName(i.Name)
	if err != nil {
		return "", err
	}
	refuse := func(field, cause, hint string) (string, error) {
		return "", fault.New(fault.Invalid, "make a token for", field, cause, hint)
	}
	switch {
	case name == "":
		return refuse("name", "it is empty", "Name the user as others shall see them.")
	case i.ID == "" || len(i.ID) > maxUserID || isGuest(i.ID):
		return refuse("user_id", "it is empty, longer than 64 bytes, or begins as those of guests", "Use your own application's id of the user.")
	case !i.Role.valid():
		return refuse("role", "there is no such role", "Use viewer, member, moderator or host.")
	case !i.Expires.After(s.now()):
		return refuse("expires_in", "it is over already", "Use 3600.")
	}
	i.Name = name
	return s.signer.sign(i), nil
}
