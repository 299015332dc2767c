package media

import "time"

// Link is what a transport knows of the way to its peer at one moment. A reading that
// the transport cannot take is nil: unknown is not zero.
type Link struct {
	// RTT is the round-trip time, Jitter the mean deviation of packet arrival.
	RTT, Jitter *time.Duration
	// Packets, Lost, Retransmitted and Dropped count transport packets since the
	// beginning: received, missing for a while, received as a repetition, and given up.
	Packets, Lost, Retransmitted, Dropped *uint64
	// Bitrate is what arrives, in bits a second; Available what the transport estimates
	// the way could carry.
	Bitrate, Available *float64
}

// Linked is a Source or Sink that can describe the way to its peer. Link never waits and
// may be called from any goroutine.
type Linked interface {
	Link() Link
}
