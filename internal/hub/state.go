package hub

// State is where a stream stands in its life.
type State uint8

// The states of a stream.
const (
	// Idle: made, and nobody has published yet.
	Idle State = iota
	// Live: a publisher is connected.
	Live
	// Lingering: the publisher was lost and the stream waits for it; readers stay.
	Lingering
	// Ended: over for good. The next publisher of that name begins another Stream.
	Ended
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case Idle:
		return "idle"
	case Live:
		return "live"
	case Lingering:
		return "lingering"
	case Ended:
		return "ended"
	default:
		return "unknown"
	}
}

// trigger is what can happen to a stream.
type trigger uint8

const (
	// publish: a publisher arrives.
	publish trigger = iota
	// lose: the publisher broke off and is worth waiting for.
	lose
	// stop: the publisher said goodbye, somebody ended the stream, or there is nothing to wait for.
	stop
	// expire: the wait for a lost publisher is over.
	expire

	states, triggers = int(Ended) + 1, int(expire) + 1
)

// table is the life of a stream: table[s][t] is the state after t in s. Where it names
// s itself nothing changes, with one exception: publish while Live is a takeover.
//
//	            publish    lose        stop    expire
//	Idle        Live       -           Ended   -
//	Live        (takeover) Lingering   Ended   -
//	Lingering   Live       -           Ended   Ended
//	Ended       -          -           -       -
func (s State) after(t trigger) State {
	return [states][triggers]State{
		Idle:      {publish: Live, lose: Idle, stop: Ended, expire: Idle},
		Live:      {publish: Live, lose: Lingering, stop: Ended, expire: Live},
		Lingering: {publish: Live, lose: Lingering, stop: Ended, expire: Ended},
		Ended:     {publish: Ended, lose: Ended, stop: Ended, expire: Ended},
	}[s][t]
}
