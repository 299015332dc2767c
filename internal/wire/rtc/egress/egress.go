// Package egress sends live media to WebRTC viewers.
//
// A feed is packetised once (Fan) and sent to any number of viewers (Session). There is
// no peer connection a viewer: an ICE-lite agent that only answers checks, a DTLS
// handshake for the keys, and a loop a core that seals and sends a frame for all of its
// viewers in batches. Payloads are shared and never copied before they are sealed.
//
// A loop owns its viewers: nothing of a viewer's media is touched by another goroutine,
// so there are no locks in it. Whoever reads the sockets hands feedback to the loop.
//
// fan.go and packetise.go make packets of a feed, flow.go decides which of them a viewer
// gets with what numbers, loop.go and batch.go send them, feedback.go and estimate.go
// read what viewers say, and engine.go, session.go and stun.go let them in.
package egress

import "time"

// Bounds that are no settings.
const (
	// maxPayload is the largest RTP payload, in bytes. With headers, authentication and the
	// number of a repetition it stays below 1280 bytes, which every IPv6 path carries.
	maxPayload = 1180
	// maxPacket bounds an RTP packet as it is sent, in bytes.
	maxPacket = 1280
	// repairPackets is how many packets of a feed are kept to be sent again.
	repairPackets = 1024
	// maxGroupBytes and maxGroupFrames bound the newest group of pictures, which is kept for
	// viewers that join. A larger one is not: they wait for the next.
	maxGroupBytes  = 8 << 20
	maxGroupFrames = 1800
	// maxFrame bounds a frame, in bytes.
	maxFrame = 4 << 20
	// burstPackets is how much of one frame is sent at once, and what a viewer that catches
	// up gets each paceTime: 32 packets in 5 ms are 60 Mbit/s. A socket that nobody enlarged
	// holds about 90.
	burstPackets = 32
	paceTime     = 5 * time.Millisecond
	// maxAddresses bounds the addresses of a session from which it is heard.
	maxAddresses = 8
	// maxFeedback bounds the packets of a viewer that wait to be looked at, maxInbox those
	// of all viewers of a loop.
	maxFeedback = 32
	maxInbox    = 4096
	// handshakePackets and handshakeBytes bound what of a handshake waits to be read.
	handshakePackets = 32
	handshakeBytes   = 48 << 10
	// lagTime is how old a frame may be before a loop leaves it out, to go on at the newest
	// key frame.
	lagTime = 500 * time.Millisecond
	// keyTime is the least time between two requests for a key frame, of a feed and of a
	// viewer.
	keyTime = time.Second
)

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
