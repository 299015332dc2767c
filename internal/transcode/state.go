package transcode

// State is where a rendition that can be made stands.
type State string

// The states of a rendition.
const (
	// Idle: nobody asks for it.
	Idle State = "idle"
	// Starting: somebody asked, and nothing came from its encoder yet.
	Starting State = "starting"
	// Running: it is being made.
	Running State = "running"
	// Failed: its encoder does not work. It is tried again after a while.
	Failed State = "failed"
	// Refused: it would go over the budget. It is tried again with the next who asks.
	Refused State = "refused"
	// Shed: the machine was too slow for it. It is offered again after a while.
	Shed State = "shed"
)

// trigger is what can happen to a rendition.
type trigger uint8

const (
	// ask: somebody wants it, and there is room in the budget.
	ask trigger = iota
	// refuse: somebody wants it, and there is no room.
	refuse
	// come: the first packet came from the encoder.
	come
	// breakOff: the encoder broke off and is started again.
	breakOff
	// fail: the encoder was started often enough.
	fail
	// shed: it costs more than the machine has.
	shed
	// rest: nobody wants it any more, or it is not to be had any more, or the pause after a
	// failure is over.
	rest
)

// after is the life of a rendition: the state after t in s. What is not in the table
// changes nothing.
//
//	          ask       refuse   come     breakOff  fail    shed  rest
//	Idle      Starting  Refused  -        -         Failed  -     -
//	Starting  -         -        Running  -         Failed  Shed  Idle
//	Running   -         -        -        Starting  Failed  Shed  Idle
//	Failed    Starting  Refused  -        -         -       -     Idle
//	Refused   Starting  -        -        -         Failed  -     Idle
//	Shed      Starting  Refused  -        -         Failed  -     Idle
func (s State) after(t trigger) State {
	next, ok := map[State]map[trigger]State{
		Idle:     {ask: Starting, refuse: Refused, fail: Failed},
		Starting: {come: Running, fail: Failed, shed: Shed, rest: Idle},
		Running:  {breakOff: Starting, fail: Failed, shed: Shed, rest: Idle},
		Failed:   {ask: Starting, refuse: Refused, rest: Idle},
		Refused:  {ask: Starting, fail: Failed, rest: Idle},
		Shed:     {ask: Starting, refuse: Refused, fail: Failed, rest: Idle},
	}[s][t]
	if !ok {
		return s
	}
	return next
}

// encodes reports whether an encoder belongs to the rendition in that state.
func (s State) encodes() bool { return s == Starting || s == Running }
