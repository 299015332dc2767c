package ffmpeg

import "time"

// state is what a running child is doing.
type state uint8

const (
	starting state = iota // nothing has come out yet
	running
	draining // the source has ended: the input is closed, what is inside still comes
	stopping // it shall end: the input is closed, what is inside may still come
	cut      // its outputs are closed too: it cannot wait for us any more
	killed
	ended
)

var stateNames = [...]string{"starting", "running", "draining", "stopping", "cut", "killed", "ended"}

func (s state) String() string { return stateNames[s] }

// event is what happens to a running child.
type event uint8

const (
	eventOutput   event = iota // a packet came out
	eventEnd                   // the source ended
	eventStop                  // the context ended, or something about it failed
	eventStall                 // no input is taken, or nothing comes out for it
	eventDeadline              // the state has lasted for as long as it may
	eventExit                  // the child is gone and reaped
)

// act is what is done on the way to the next state.
type act uint8

const (
	nothing act = iota
	closeInput
	closeOutputs
	killChild
)

type transition struct {
	to state
	do act
}

// transitions is the whole life of a child. What is not listed changes nothing.
//
// ffmpeg ends by itself when its input is closed. It does not always heed SIGTERM (while
// it waits for its input or its reader), so that is never sent.
var transitions = map[state]map[event]transition{
	starting: {
		eventOutput: {running, nothing},
		eventEnd:    {draining, closeInput},
		eventStop:   {stopping, closeInput},
		eventStall:  {killed, killChild},
		eventExit:   {ended, nothing},
	},
	running: {
		eventEnd:   {draining, closeInput},
		eventStop:  {stopping, closeInput},
		eventStall: {killed, killChild},
		eventExit:  {ended, nothing},
	},
	draining: {
		eventStop:     {stopping, nothing},
		eventDeadline: {cut, closeOutputs},
		eventExit:     {ended, nothing},
	},
	stopping: {
		eventDeadline: {cut, closeOutputs},
		eventExit:     {ended, nothing},
	},
	cut: {
		eventDeadline: {killed, killChild},
		eventExit:     {ended, nothing},
	},
	killed: {
		eventExit: {ended, nothing},
	},
}

// next returns what an event does in a state; ok is false if nothing.
func (s state) next(e event) (transition, bool) {
	t, ok := transitions[s][e]
	return t, ok
}

// How long the states on the way to the end may last. A child that shall end (stopping,
// cut) is gone within 4 s; one that drains has the stall time from one packet to the next.
const (
	exitTime = 2 * time.Second
	cutTime  = time.Second
	// drainTime is how long it may go on draining although something comes out.
	drainTime = 15 * time.Second
	// graceTime is how long the last of the output may take to be read and taken after
	// the child is gone.
	graceTime = time.Second
)
