// Package rtmp speaks RTMP, RTMPS and Enhanced RTMP v2, as the server that encoders and
// players connect to, and as the client that publishes or plays.
//
// A connection to the Server becomes a PublishRequest (a media.Source) or a PlayRequest
// (a media.Sink), and is handed to a Handler. The package knows no streams, users or
// configuration files: who may publish is decided by whoever takes the request.
//
// The chunk reader and writer and the command flow are our own
// (docs/decisions/0002-rtmp-chunk-reader.md); AMF0 values and the client's handshake
// are gortmplib's. What an encoder sends is bounded at every level; ARCHITECTURE.md
// lists the bounds.
//
// Section numbers in comments are those of Adobe's "RTMP 1.0" specification.
package rtmp

import (
	"strings"
	"unicode"
)

// Message types (5.4, 7.1).
const (
	typeSetChunkSize  = 1
	typeAbort         = 2
	typeAck           = 3
	typeUserControl   = 4
	typeWindowAckSize = 5
	typePeerBandwidth = 6
	typeAudio         = 8
	typeVideo         = 9
	typeDataAMF3      = 15
	typeCommandAMF3   = 17
	typeDataAMF0      = 18
	typeCommandAMF0   = 20
	typeAggregate     = 22
)

// User control events (7.1.7).
const (
	eventStreamBegin  = 0
	eventStreamEOF    = 1
	eventPingRequest  = 6
	eventPingResponse = 7
)

// Chunk streams that we send on.
const (
	csidControl = 2
	csidCommand = 3
	csidAudio   = 4
	csidData    = 5
	csidVideo   = 6
)

const (
	// defaultChunkSize is what both directions begin with (5.4.1).
	defaultChunkSize = 128
	// ourChunkSize is what we send with: a frame is one or a few chunks.
	ourChunkSize = 65536
	// ourWindow is the acknowledgement window that we ask for, in bytes.
	ourWindow = 2_500_000
	// minWindow is the smallest window that we acknowledge by: a peer that asks for
	// less would be answered more often than it sends.
	minWindow = 16 * 1024
)

// message is one RTMP message.
type message struct {
	csid     uint32
	typ      uint8
	streamID uint32
	// timestamp is in milliseconds, modulo 2^32.
	timestamp uint32
	// body belongs to the message: nobody writes to it again.
	body []byte
}

// media reports whether the message carries sound or pictures.
func (m *message) media() bool {
	return m.typ == typeAudio || m.typ == typeVideo || m.typ == typeAggregate
}

// printable makes a text from outside fit for logs: at most n characters, no controls.
func printable(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}
