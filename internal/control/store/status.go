package store

// Status is the state of a live stream as API clients see it.
//
// Only one part of it is stored: whether the operator disabled the stream. The rest
// is what the hub sees at this moment, so a crash or a restart cannot leave a stream
// "active" in the database that nobody publishes. StatusOf puts the two together;
// the transition table says which changes between the results are possible, and so
// which requests are refused.
type Status string

// The states of a live stream.
const (
	// Idle streams wait for a publisher. A publisher that was admitted and has not
	// sent media yet leaves its stream idle.
	Idle Status = "idle"
	// Active streams can be watched.
	Active Status = "active"
	// Reconnecting streams lost their publisher and wait for it, as long as the
	// reconnect window lasts. Viewers stay.
	Reconnecting Status = "reconnecting"
	// Disabled streams refuse publishers until they are enabled again.
	Disabled Status = "disabled"
)

// Trigger is what happens to a live stream.
type Trigger string

// The triggers. The first five come from the media path, the rest from the operator.
const (
	OnConnect  Trigger = "connect"  // a publisher asks to be admitted
	OnMedia    Trigger = "media"    // a broadcast begins with its first media
	OnLost     Trigger = "lost"     // the publisher broke off
	OnReturned Trigger = "returned" // a publisher is back within the reconnect window
	OnEnded    Trigger = "ended"    // the publisher stopped, or the window is over
	OnDisable  Trigger = "disable"
	OnEnable   Trigger = "enable"
	OnComplete Trigger = "complete"
)

// transitions is the life of a live stream. A pair that is not here is impossible
// (media path) or refused (operator, connect).
//
// Connecting to an active stream is a takeover, hence allowed. Completing an idle
// stream is allowed because a publisher may be between connect and media.
// A disabled stream still hears its kicked publisher leave: lost and ended.
var transitions = map[Status]map[Trigger]Status{
	Idle: {
		OnConnect: Idle, OnMedia: Active, OnLost: Idle, OnEnded: Idle,
		OnDisable: Disabled, OnEnable: Idle, OnComplete: Idle,
	},
	Active: {
		OnConnect: Active, OnLost: Reconnecting, OnEnded: Idle,
		OnDisable: Disabled, OnEnable: Active, OnComplete: Idle,
	},
	Reconnecting: {
		OnConnect: Reconnecting, OnReturned: Active, OnEnded: Idle,
		OnDisable: Disabled, OnEnable: Reconnecting, OnComplete: Idle,
	},
	Disabled: {
		OnLost: Disabled, OnEnded: Disabled,
		OnDisable: Disabled, OnEnable: Idle,
	},
}

// Next returns the state after a trigger, and false where the table has no such change.
func (s Status) Next(t Trigger) (Status, bool) {
	next, ok := transitions[s][t]
	return next, ok
}

// StatusOf derives the state from the stored flag and from what the hub sees: live
// while media arrives, lingering while a lost publisher is being waited for.
func StatusOf(disabled, live, lingering bool) Status {
	switch {
	case disabled:
		return Disabled
	case live:
		return Active
	case lingering:
		return Reconnecting
	default:
		return Idle
	}
}
