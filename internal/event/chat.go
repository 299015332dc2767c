package event

import "time"

// ChatMessage says that somebody wrote in the chat of a live stream.
type ChatMessage struct {
	StreamID   string    `json:"live_stream_id"`
	MessageID  string    `json:"message_id"`
	At         time.Time `json:"at"`
	AuthorID   string    `json:"author_id"`
	AuthorName string    `json:"author_name"`
	AuthorRole string    `json:"author_role"`
	Text       string    `json:"text"`
}

// ChatModerated says that something was done about a chat: a message was removed or pinned,
// somebody was banned or let back, the settings changed.
type ChatModerated struct {
	StreamID string `json:"live_stream_id"`
	// What is removed, pinned, unpinned, banned, unbanned or settings.
	What string `json:"what"`
	// Target is the id of the message or of the user; empty for settings.
	Target string `json:"target,omitempty"`
}

// Type returns "chat.message".
func (ChatMessage) Type() string { return "chat.message" }

// Type returns "chat.moderated".
func (ChatModerated) Type() string { return "chat.moderated" }

// Stream returns the live stream's id.
func (e ChatMessage) Stream() string { return e.StreamID }

// Stream returns the live stream's id.
func (e ChatModerated) Stream() string { return e.StreamID }
