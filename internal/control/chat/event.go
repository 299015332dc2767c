package chat

import (
	"encoding/json"
	"time"
)

// Role is what somebody may do in a room.
type Role string

// The roles.
const (
	Viewer    Role = "viewer"
	Member    Role = "member"    // may write where only members may
	Moderator Role = "moderator" // may remove messages and ban, and is not held to limits
	Host      Role = "host"      // the broadcaster; may what a moderator may
)

func (r Role) moderates() bool { return r == Moderator || r == Host }

func (r Role) valid() bool { return r == Viewer || r == Member || r.moderates() }

// Author is who wrote a message.
type Author struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Role Role   `json:"role"`
}

// Kind is what an event tells of.
type Kind string

// The kinds of events.
const (
	Message Kind = "message"
	Removed Kind = "removed" // Target is the id of the message
	Cleared Kind = "cleared" // Target is the id of the user whose messages are gone
	// These are told and not kept: they are how the room is now.
	pinning  Kind = "pinned"
	changed  Kind = "settings"
	reaction Kind = "reactions"
	counted  Kind = "count"
)

// Event is one thing that happened in a room, as clients see it.
type Event struct {
	Kind Kind      `json:"type"`
	ID   string    `json:"id"`
	At   time.Time `json:"at"`
	// Author, Text and the three after them are of a message.
	Author *Author `json:"author,omitempty"`
	Text   string  `json:"text,omitempty"`
	// ReplyTo is the message it answers, as that was then.
	ReplyTo *Quote `json:"reply_to,omitempty"`
	// MediaTime is the wall clock of the picture that its author was seeing.
	MediaTime *time.Time `json:"media_time,omitempty"`
	// Gone is set when the message was removed; it has no text then.
	Gone   bool   `json:"removed,omitempty"`
	Target string `json:"target,omitempty"`
}

// Quote is the beginning of a message that another one answers.
type Quote struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Text string `json:"text"`
}

// Mode says who may write in a room.
type Mode string

// The modes.
const (
	Everyone Mode = "everyone"
	Members  Mode = "members" // users of the operator's own application, hosts and moderators
	Closed   Mode = "closed"  // hosts and moderators
)

// Settings are those of a room.
type Settings struct {
	Mode Mode `json:"mode"`
	// SlowMode is the least time between two messages of one user, in seconds; 0 is off.
	SlowMode int `json:"slow_mode"`
	// Links says whether messages may have addresses of other sites.
	Links bool `json:"links"`
	// BlockedWords are not told to clients.
	BlockedWords []string `json:"blocked_words,omitempty"`
}

func defaultSettings() Settings { return Settings{Mode: Everyone} }

// shown is what clients see of settings.
func (s Settings) shown() *Settings {
	s.BlockedWords = nil
	return &s
}

// gone is a message without what it said.
func (e *Event) gone() *Event {
	return &Event{Kind: e.Kind, ID: e.ID, At: e.At, Author: e.Author, Gone: true}
}

// encode returns the JSON of what always has one.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("chat: " + err.Error()) // only types of this package, none of which can fail
	}
	return b
}
