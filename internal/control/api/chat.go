package api

import (
	"context"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"onair/internal/control/chat"
	"onair/internal/control/store"
	"onair/internal/fault"
)

// Chat is what the API sees of the chat rooms; *chat.Server implements it.
type Chat interface {
	Room(ctx context.Context, streamID string) (chat.Room, error)
	SetSettings(ctx context.Context, streamID string, to chat.Settings) error
	History(ctx context.Context, streamID string, before int64, limit int) ([]chat.Entry, error)
	Post(ctx context.Context, streamID string, by chat.Author, text string, media *time.Time) (*chat.Event, error)
	Remove(ctx context.Context, streamID, id string) error
	Pin(ctx context.Context, streamID, id string) error
	Ban(ctx context.Context, streamID, userID string, d time.Duration, withMessages bool) error
	Unban(ctx context.Context, streamID, userID string) error
	Bans(ctx context.Context, streamID string) ([]store.ChatBan, error)
	Token(i chat.Identity) (string, error)
	Forget(streamID string)
}

type (
	chatAuthor struct {
		ID   string `json:"id" doc:"Of a guest it begins with gst_; else it is your application's id of the user."`
		Name string `json:"name"`
		Role string `json:"role" enum:"viewer,member,moderator,host"`
	}
	chatMessage struct {
		ID        string            `json:"id" example:"msg_f6tra4n5l8y7w9x4z5b6c7e8f9"`
		At        time.Time         `json:"at"`
		Author    chatAuthor        `json:"author"`
		Text      string            `json:"text" doc:"Empty if it was removed."`
		ReplyTo   string            `json:"reply_to" doc:"Id of the message that it answers; empty for none."`
		MediaTime orNull[time.Time] `json:"media_time" doc:"The wall clock of the picture that its author was seeing, if that is known."`
		Removed   bool              `json:"removed"`
	}
	chatRoom struct {
		Mode         string              `json:"mode" enum:"everyone,members,closed" doc:"Who may write: everyone, users of your application (who have a token) and moderators, or moderators alone."`
		SlowMode     int                 `json:"slow_mode" doc:"Least time between two messages of one user in seconds; 0 is off."`
		Links        bool                `json:"links" doc:"Whether messages may have addresses of other sites."`
		BlockedWords []string            `json:"blocked_words" nullable:"false" doc:"Messages that have one of them are refused. Viewers are not told which."`
		Pinned       orNull[chatMessage] `json:"pinned" doc:"The message above the others."`
		Connected    int                 `json:"connected" doc:"Connections now."`
		URL          string              `json:"url" doc:"WebSocket of the chat, for the stream's first playback id; empty without one." example:"wss://live.example.com/chat/pb_x"`
	}
	chatPatch struct {
		Mode         optional[string]   `json:"mode" required:"false" enum:"everyone,members,closed"`
		SlowMode     optional[int]      `json:"slow_mode" required:"false" minimum:"0" maximum:"3600"`
		Links        optional[bool]     `json:"links" required:"false"`
		BlockedWords optional[[]string] `json:"blocked_words" required:"false" maxItems:"500"`
	}
	chatBan struct {
		UserID    string            `json:"user_id" doc:"Of a guest there is a second one, which begins with adr_ and stands for the address it came from."`
		Name      string            `json:"name"`
		CreatedAt time.Time         `json:"created_at"`
		Until     orNull[time.Time] `json:"until" doc:"Null: for good."`
	}
	patchChatInput struct {
		ID   string `path:"id" doc:"Id of the live stream." example:"ls_bxk3w2q7zjv4m5r6t7y2a3c4d5"`
		Body chatPatch
	}
	chatMessagesInput struct {
		ID     string `path:"id" doc:"Id of the live stream." example:"ls_bxk3w2q7zjv4m5r6t7y2a3c4d5"`
		Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"50" doc:"Most events that are looked at for the page; some may be no messages."`
		Cursor string `query:"cursor" maxLength:"20" doc:"next_cursor of the page before."`
	}
	postChatInput struct {
		ID   string `path:"id" doc:"Id of the live stream." example:"ls_bxk3w2q7zjv4m5r6t7y2a3c4d5"`
		Body struct {
			Text      string     `json:"text" maxLength:"2000" doc:"Up to 500 characters."`
			Name      string     `json:"name" minLength:"1" maxLength:"160" doc:"As viewers see who wrote it."`
			UserID    string     `json:"user_id,omitempty" maxLength:"64" default:"api"`
			Role      string     `json:"role,omitempty" enum:"viewer,member,moderator,host" default:"moderator"`
			MediaTime *time.Time `json:"media_time,omitempty" doc:"As in messages."`
		}
	}
	chatMessageInput struct {
		ID        string `path:"id" doc:"Id of the live stream." example:"ls_bxk3w2q7zjv4m5r6t7y2a3c4d5"`
		MessageID string `path:"message_id" doc:"Id of the message." example:"msg_f6tra4n5l8y7w9x4z5b6c7e8f9"`
	}
	pinChatInput struct {
		ID   string `path:"id" doc:"Id of the live stream." example:"ls_bxk3w2q7zjv4m5r6t7y2a3c4d5"`
		Body struct {
			MessageID string `json:"message_id" maxLength:"64"`
		}
	}
	banChatInput struct {
		ID   string `path:"id" doc:"Id of the live stream." example:"ls_bxk3w2q7zjv4m5r6t7y2a3c4d5"`
		Body struct {
			UserID        string `json:"user_id" minLength:"1" maxLength:"64" doc:"author.id of one of the user's messages."`
			Seconds       int    `json:"seconds,omitempty" minimum:"0" maximum:"31536000" doc:"How long; 0 or left out: for good."`
			ClearMessages bool   `json:"clear_messages,omitempty" doc:"Removes the user's newest messages, up to 200."`
		}
	}
	unbanChatInput struct {
		ID     string `path:"id" doc:"Id of the live stream." example:"ls_bxk3w2q7zjv4m5r6t7y2a3c4d5"`
		UserID string `path:"user_id" maxLength:"64" doc:"As in the list of bans."`
	}
	chatTokenInput struct {
		ID   string `path:"id" doc:"Id of the live stream." example:"ls_bxk3w2q7zjv4m5r6t7y2a3c4d5"`
		Body struct {
			UserID    string `json:"user_id" minLength:"1" maxLength:"64" doc:"Your application's id of the user."`
			Name      string `json:"name" minLength:"1" maxLength:"160"`
			Role      string `json:"role,omitempty" enum:"viewer,member,moderator,host" default:"member"`
			ExpiresIn int    `json:"expires_in,omitempty" minimum:"60" maximum:"2592000" default:"86400" doc:"Seconds."`
		}
	}
	chatOutput     struct{ Body chatRoom }
	chatPostOutput struct{ Body chatMessage }
	chatMessages   struct {
		Body struct {
			Data       []chatMessage  `json:"data" nullable:"false" doc:"Newest first."`
			NextCursor orNull[string] `json:"next_cursor"`
		}
	}
	chatBans struct {
		Body struct {
			Data       []chatBan `json:"data" nullable:"false" doc:"Those banned first come first."`
			NextCursor null      `json:"next_cursor" doc:"Always null."`
		}
	}
	chatTokenOutput struct {
		Body struct {
			Token     string    `json:"token" doc:"For the user's page, which connects with it."`
			ExpiresAt time.Time `json:"expires_at"`
		}
	}
)

func (a *API) chatRoutes(op describeOp) {
	const base = "/v1/live-streams/{id}/chat"
	kinds := []fault.Kind{fault.NotFound, fault.Unsupported}
	register(a, op("get-chat", http.MethodGet, base, tagChat, "Read the chat's settings", "", http.StatusOK), kinds, a.getChat)
	register(a, op("update-chat", http.MethodPatch, base, tagChat, "Change the chat's settings",
		"A merge patch (RFC 7396); who is there sees it at once.", http.StatusOK), kinds, a.patchChat)
	register(a, op("list-chat-messages", http.MethodGet, base+"/messages", tagChat, "List messages", "Newest first.", http.StatusOK), kinds, a.listChat)
	register(a, op("create-chat-message", http.MethodPost, base+"/messages", tagChat, "Write a message",
		"Without being held to the limits of users.", http.StatusCreated), kinds, a.postChat)
	register(a, op("delete-chat-message", http.MethodDelete, base+"/messages/{message_id}", tagChat, "Remove a message",
		"Nobody is shown what it said any more.", http.StatusNoContent), kinds, a.removeChat)
	register(a, op("pin-chat-message", http.MethodPut, base+"/pin", tagChat, "Pin a message", "In place of an earlier one.", http.StatusNoContent), kinds, a.pinChat)
	register(a, op("unpin-chat-message", http.MethodDelete, base+"/pin", tagChat, "Unpin the message", "", http.StatusNoContent), kinds, a.unpinChat)
	register(a, op("list-chat-bans", http.MethodGet, base+"/bans", tagChat, "List who may not write", "", http.StatusOK), kinds, a.listBans)
	register(a, op("create-chat-ban", http.MethodPost, base+"/bans", tagChat, "Keep a user from writing",
		"For a while or for good. Of a guest that is connected the address is banned, too.", http.StatusNoContent), kinds, a.banChat)
	register(a, op("delete-chat-ban", http.MethodDelete, base+"/bans/{user_id}", tagChat, "Let a user write again", "", http.StatusNoContent), kinds, a.unbanChat)
	register(a, op("create-chat-token", http.MethodPost, base+"/tokens", tagChat, "Let a user of your application in",
		"Makes a token that says who the user is. Ask for it on your own server, once the user has signed in there.", http.StatusCreated), kinds, a.chatToken)
}

// chat returns the rooms, of a stream that exists.
func (a *API) chat(ctx context.Context, streamID string) (Chat, store.LiveStream, error) {
	if a.deps.Chat == nil {
		return nil, store.LiveStream{}, fault.New(fault.Unsupported, "open the chat of", streamID, "chat is switched off", "Set --chat-max-connections to more than 0.")
	}
	l, err := a.deps.Store.LiveStream(ctx, streamID)
	return a.deps.Chat, l, err
}

func (a *API) getChat(ctx context.Context, in *streamInput) (*chatOutput, error) {
	rooms, l, err := a.chat(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	r, err := rooms.Room(ctx, l.ID)
	if err != nil {
		return nil, err
	}
	out := &chatOutput{chatRoom{
		Mode: string(r.Mode), SlowMode: r.SlowMode, Links: r.Links, BlockedWords: r.BlockedWords, Connected: r.Connected,
	}}
	if out.Body.BlockedWords == nil {
		out.Body.BlockedWords = []string{}
	}
	if r.Pinned != nil {
		out.Body.Pinned = some(messageOf(r.Pinned))
	}
	if len(l.PlaybackIDs) > 0 {
		out.Body.URL = "ws" + trimHTTP(infoOf(ctx).base) + "/chat/" + l.PlaybackIDs[0].ID
	}
	return out, nil
}

// trimHTTP leaves the s of https, and what comes after.
func trimHTTP(base string) string { return base[len("http"):] }

func messageOf(e *chat.Event) chatMessage {
	m := chatMessage{ID: e.ID, At: e.At.UTC(), Text: e.Text, Removed: e.Gone}
	if e.Author != nil {
		m.Author = chatAuthor{e.Author.ID, e.Author.Name, string(e.Author.Role)}
	}
	if e.ReplyTo != nil {
		m.ReplyTo = e.ReplyTo.ID
	}
	if e.MediaTime != nil {
		m.MediaTime = some(e.MediaTime.UTC())
	}
	return m
}

func (a *API) patchChat(ctx context.Context, in *patchChatInput) (*chatOutput, error) {
	rooms, l, err := a.chat(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	r, err := rooms.Room(ctx, l.ID)
	if err != nil {
		return nil, err
	}
	to, b := r.Settings, in.Body
	mode := string(to.Mode)
	b.Mode.to(&mode, string(chat.Everyone))
	to.Mode = chat.Mode(mode)
	b.SlowMode.to(&to.SlowMode, 0)
	b.Links.to(&to.Links, false)
	b.BlockedWords.to(&to.BlockedWords, nil)
	if err := rooms.SetSettings(ctx, l.ID, to); err != nil {
		return nil, err
	}
	return a.getChat(ctx, &streamInput{ID: in.ID})
}

func (a *API) listChat(ctx context.Context, in *chatMessagesInput) (*chatMessages, error) {
	rooms, l, err := a.chat(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	before := int64(0)
	if in.Cursor != "" {
		if before, err = strconv.ParseInt(in.Cursor, 10, 64); err != nil || before < 1 {
			return nil, fault.New(fault.Invalid, "read the list", "cursor", "the cursor is not one of this server",
				"Use next_cursor of the page before as it stands, or leave the cursor out to begin.")
		}
	}
	list, err := rooms.History(ctx, l.ID, before, in.Limit)
	if err != nil {
		return nil, err
	}
	out := new(chatMessages)
	out.Body.Data = []chatMessage{}
	for i := len(list) - 1; i >= 0; i-- {
		if e, ok := list[i].Message(); ok {
			out.Body.Data = append(out.Body.Data, messageOf(e))
		}
	}
	if len(list) == in.Limit && list[0].Seq > 1 {
		out.Body.NextCursor = some(strconv.FormatInt(list[0].Seq, 10))
	}
	return out, nil
}

func (a *API) postChat(ctx context.Context, in *postChatInput) (*chatPostOutput, error) {
	rooms, l, err := a.chat(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	b := in.Body
	e, err := rooms.Post(ctx, l.ID, chat.Author{ID: b.UserID, Name: b.Name, Role: chat.Role(b.Role)}, b.Text, b.MediaTime)
	if err != nil {
		return nil, err
	}
	return &chatPostOutput{messageOf(e)}, nil
}

func (a *API) removeChat(ctx context.Context, in *chatMessageInput) (*emptyOutput, error) {
	rooms, l, err := a.chat(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return nil, rooms.Remove(ctx, l.ID, in.MessageID)
}

func (a *API) pinChat(ctx context.Context, in *pinChatInput) (*emptyOutput, error) {
	rooms, l, err := a.chat(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if in.Body.MessageID == "" {
		return nil, fault.New(fault.Invalid, "pin", "message_id", "it is empty", "Send DELETE to unpin.")
	}
	return nil, rooms.Pin(ctx, l.ID, in.Body.MessageID)
}

func (a *API) unpinChat(ctx context.Context, in *streamInput) (*emptyOutput, error) {
	rooms, l, err := a.chat(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return nil, rooms.Pin(ctx, l.ID, "")
}

func (a *API) listBans(ctx context.Context, in *streamInput) (*chatBans, error) {
	rooms, l, err := a.chat(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	list, err := rooms.Bans(ctx, l.ID)
	if err != nil {
		return nil, err
	}
	out := new(chatBans)
	out.Body.Data = make([]chatBan, len(list))
	for i, b := range list {
		out.Body.Data[i] = chatBan{UserID: b.UserID, Name: b.Name, CreatedAt: b.CreatedAt}
		if !b.Until.IsZero() {
			out.Body.Data[i].Until = some(b.Until)
		}
	}
	return out, nil
}

func (a *API) banChat(ctx context.Context, in *banChatInput) (*emptyOutput, error) {
	rooms, l, err := a.chat(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return nil, rooms.Ban(ctx, l.ID, in.Body.UserID, time.Duration(in.Body.Seconds)*time.Second, in.Body.ClearMessages)
}

func (a *API) unbanChat(ctx context.Context, in *unbanChatInput) (*emptyOutput, error) {
	rooms, l, err := a.chat(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return nil, rooms.Unban(ctx, l.ID, in.UserID)
}

func (a *API) chatToken(ctx context.Context, in *chatTokenInput) (*chatTokenOutput, error) {
	rooms, l, err := a.chat(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	b := in.Body
	i := chat.Identity{
		Author: chat.Author{ID: b.UserID, Name: b.Name, Role: chat.Role(b.Role)}, StreamID: l.ID,
		Expires: time.Now().Add(time.Duration(b.ExpiresIn) * time.Second).Truncate(time.Second),
	}
	token, err := rooms.Token(i)
	if err != nil {
		return nil, err
	}
	out := new(chatTokenOutput)
	out.Body.Token, out.Body.ExpiresAt = token, i.Expires.UTC()
	return out, nil
}

// Client returns the address of whoever sent a request: of the client behind proxies that are
// trusted.
func (a *API) Client(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := peer.Addr().Unmap()
	if a.trusted(addr) {
		addr = a.client(r.Header, addr)
	}
	return addr
}
