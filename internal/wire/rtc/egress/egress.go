// Package egress sends live media to WebRTC viewers.
//
// A feed is packetised once (Fan) and sent to any number of viewers (Session). There is
// no peer connection a viewer: an ICE-lite agent that only answers checks, a DTLS
// handshake for the keys, and a loop a core that seals and sends a frame for all of its
// viewers in batches. Payloads are shared and never copied before they are sealed.
//
// A loop owns its viewers: nothing of a viewer's media is touched by another goroutine,
// so there are no locks in it. Whoever reads the sockets hands feedback to the loop.
package egress

import "time"

// Estimate is what is known of the way to a viewer.
type Estimate struct {
	// Bitrate is what the way seems to carry, in bits a second; 0 if it is not known yet.
	Bitrate int64
	// Loss is the part of packets that were lost lately, from 0 to 1.
	Loss float64
	// RTT is the round-trip time; 0 if it is not known yet.
	RTT time.Duration
}

// FanOptions are what a Fan is made with.
type FanOptions struct {
	// RequestKey is called, at most once a second and from any goroutine, when viewers need a
	// key frame. It must not wait. nil if key frames cannot be had.
	RequestKey func()
}
