// Package srt speaks SRT in live mode, as the listener that encoders and players call,
// and as the caller that publishes or plays.
//
// A connection to the Server becomes a PublishRequest (a media.Source) or a PlayRequest
// (a media.Sink), and is handed to a Handler before its handshake is answered. The
// package knows no streams, users or configuration files: who may publish is decided by
// whoever takes the request, and Secrets tells the passphrase.
//
// The connection is our own; the handshake's fields, key material and ciphers are
// gosrt's packages (docs/decisions/0008-srt-connection.md). Packets are handed on in
// order as soon as they are complete: the latency is how long a lost one is waited for,
// and costs nothing while none is. ARCHITECTURE.md lists the bounds.
//
// Section numbers in comments are those of draft-sharabayko-srt-01.
package srt

import "time"

const (
	// minLatency is the shortest latency that can be configured.
	minLatency = 20 * time.Millisecond
	// tick is the resolution of every timer of a connection (4.8.1).
	tick = 10 * time.Millisecond
	// keepAliveTime is how long nothing is sent before a keep-alive is (4.9).
	keepAliveTime = time.Second
	// ourVersion is the version of SRT that we say, 1.5.0: with it come retransmission
	// flags and periodic loss reports.
	ourVersion = 0x010500
	// minVersion is the first one with handshakes of version 5.
	minVersion = 0x010300

	// mtu is the largest packet with its IP and UDP headers.
	mtu = 1500
	// headerSize is the size of an SRT header, ipHeader of what is around it.
	headerSize, ipHeader = 16, 28
	// maxPayload is the largest payload of a data packet, minMTU the smallest packet that
	// a peer may ask for: one packet of MPEG-TS.
	maxPayload = mtu - ipHeader - headerSize
	minMTU     = 188 + ipHeader + headerSize
	// tsPayload is what we send: seven packets of MPEG-TS.
	tsPayload, tsPacket = 7 * 188, 188

	// maxWindow is how many packets a connection keeps in either direction: 10.8 MB, four
	// seconds of 20 Mbit/s.
	maxWindow = 8192
	// maxPeerLatency is the longest latency that we grant a peer.
	maxPeerLatency = 8 * time.Second

	// minPassphrase and maxPassphrase are its lengths in bytes (6.1.4).
	minPassphrase, maxPassphrase = 10, 80
)
