package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"onair/internal/control/store"
	"onair/internal/event"
	"onair/internal/fault"
)

// room is the chat of a live stream.
type room struct {
	id string

	// writing is held while an event is stored and told, so that all see the same order.
	writing sync.Mutex

	mu        sync.Mutex
	loaded    bool
	epoch     string
	top       int64    // number of the newest event
	ring      []stored // the newest events, without holes
	bytes     int      // of the ring
	settings  Settings
	pinned    *Event
	bans      map[string]time.Time // until when; zero: for good
	talkers   map[string]*talker
	reactions map[string]int // since the last tick
	told      int            // the count that was told last, and when
	toldAt    time.Time
	here      int // connections
	used      time.Time
}

type stored struct {
	seq  int64
	id   string
	body []byte
}

// talker is what is remembered of somebody who writes, or of an address.
type talker struct {
	messages, reactions *rate.Limiter
	last                time.Time // of the newest message
	seen                time.Time
}

// load reads a room from the database, once.
func (s *Server) load(ctx context.Context, r *room) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	loaded := r.loaded
	r.mu.Unlock()
	if loaded {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	kept, err := s.store.ChatRoom(ctx, r.id)
	if err != nil {
		return err
	}
	events, err := s.store.ChatEvents(ctx, r.id, 0, ringEvents)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settings, r.pinned = readRoom(kept)
	r.epoch = strconv.FormatInt(kept.CreatedAt.UnixMicro(), 36)
	r.top = kept.LastSeq
	r.bans = map[string]time.Time{}
	for _, b := range kept.Bans {
		r.bans[b.UserID] = b.Until
	}
	for _, e := range events {
		r.keep(stored{e.Seq, e.ID, e.Body})
	}
	r.loaded = true
	return nil
}

// readRoom takes what cannot be read for what a new room has.
func readRoom(kept store.ChatRoom) (Settings, *Event) {
	settings := defaultSettings()
	if json.Unmarshal(kept.Settings, &settings) != nil {
		settings = defaultSettings()
	}
	if len(kept.Pinned) == 0 {
		return settings, nil
	}
	pinned := new(Event)
	if json.Unmarshal(kept.Pinned, pinned) != nil {
		return settings, nil
	}
	return settings, pinned
}

// keep takes an event into the ring. It is called with the lock held.
func (r *room) keep(e stored) {
	if n := len(r.ring); n > 0 && r.ring[n-1].seq+1 != e.seq {
		r.ring, r.bytes = nil, 0
	}
	r.ring = append(r.ring, e)
	r.bytes += len(e.body)
	for len(r.ring) > ringEvents || r.bytes > ringBytes && len(r.ring) > 1 {
		r.bytes -= len(r.ring[0].body)
		r.ring[0] = stored{}
		r.ring = r.ring[1:]
	}
	r.top = max(r.top, e.seq)
}

// newest returns the bodies of the newest n events in memory.
func (r *room) newest(n int) []json.RawMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]json.RawMessage, 0, n)
	for _, e := range r.ring[max(0, len(r.ring)-n):] {
		out = append(out, e.body)
	}
	return out
}

// replace gives events in memory other bodies.
func (r *room) replace(bodies map[string][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, e := range r.ring {
		if body, ok := bodies[e.id]; ok {
			r.bytes += len(body) - len(e.body)
			r.ring[i].body = body
		}
	}
}

// append stores an event, and tells it to all.
func (s *Server) append(ctx context.Context, r *room, e *Event) error {
	author := ""
	if e.Author != nil {
		author = e.Author.ID
	}
	body := encode(e)
	r.writing.Lock()
	defer r.writing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	seq, err := s.store.AppendChat(ctx, r.id, store.ChatEvent{ID: e.ID, CreatedAt: e.At, AuthorID: author, Body: body})
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.keep(stored{seq, e.ID, body})
	epoch := r.epoch
	r.mu.Unlock()
	if e.Kind == Message && s.Bus != nil {
		s.Bus.Publish(event.ChatMessage{
			StreamID: r.id, MessageID: e.ID, At: e.At, AuthorID: e.Author.ID, AuthorName: e.Author.Name, AuthorRole: string(e.Author.Role), Text: e.Text,
		})
	}
	return s.broker.tell(r.id, seq, epoch, body)
}

// banned reports until when somebody may not write: by user or by address.
func (r *room) banned(now time.Time, ids ...string) (until time.Time, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if id == "" {
			continue
		}
		until, ok = r.bans[id]
		if ok && !until.IsZero() && !until.After(now) {
			delete(r.bans, id)
			ok = false
		}
		if ok {
			return until, true
		}
	}
	return time.Time{}, false
}

// talker returns what is remembered of an id. It is called with the lock held.
func (r *room) talker(id string, factor int, now time.Time) *talker {
	t := r.talkers[id]
	if t == nil {
		if len(r.talkers) >= maxTalkers {
			r.forgetTalkers(now)
		}
		if r.talkers == nil {
			r.talkers = map[string]*talker{}
		}
		t = &talker{
			messages:  rate.NewLimiter(rate.Every(talkEvery/time.Duration(factor)), talkBurst*factor),
			reactions: rate.NewLimiter(rate.Every(reactEvery/time.Duration(factor)), reactBurst*factor),
		}
		r.talkers[id] = t
	}
	t.seen = now
	return t
}

// forgetTalkers makes room: first of those whose limits are as new, then of all.
func (r *room) forgetTalkers(now time.Time) {
	for id, t := range r.talkers {
		if now.Sub(t.seen) > talkBurst*talkEvery+time.Duration(r.settings.SlowMode)*time.Second {
			delete(r.talkers, id)
		}
	}
	if len(r.talkers) >= maxTalkers {
		clear(r.talkers)
	}
}

// allow counts a message of a user from an address, or says when the next one may be sent.
func (r *room) allow(user, address string, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.talker(user, 1, now)
	if slow := time.Duration(r.settings.SlowMode) * time.Second; slow > 0 && !t.last.IsZero() {
		if wait := t.last.Add(slow).Sub(now); wait > 0 {
			return fault.New(fault.TooMany, "send", "the message", fmt.Sprintf("slow mode is on: one message in %d s", r.settings.SlowMode),
				fmt.Sprintf("Send it again in %d s.", int(wait/time.Second)+1))
		}
	}
	if address != "" && !r.talker(address, addressFactor, now).messages.AllowN(now, 1) || !t.messages.AllowN(now, 1) {
		return fault.New(fault.TooMany, "send", "the message", "you are writing very fast", "Wait a few seconds and send it again.")
	}
	t.last = now
	return nil
}

// react counts a reaction, if it is not one too many.
func (r *room) react(user, address, emoji string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.talker(user, 1, now).reactions.AllowN(now, 1) || address != "" && !r.talker(address, addressFactor, now).reactions.AllowN(now, 1) {
		return false
	}
	if r.reactions == nil {
		r.reactions = map[string]int{}
	}
	r.reactions[emoji]++
	return true
}

// addressOf is the key of an address in the limits.
func addressOf(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return prefixOf(a).String()
}
