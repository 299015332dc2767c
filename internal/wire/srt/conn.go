package srt

import (
	"context"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"onair/internal/fault"
)

const (
	// firstRTT is what the round trip is taken for before it is measured (4.10).
	firstRTT = 100 * time.Millisecond
	// minNAK is the shortest time between two reports of one loss (4.8.2).
	minNAK = 20 * time.Millisecond
	// repairs is how many round trips a hole gets at least.
	repairs = 3
	// minReports is how often a loss is reported within the latency at least: a busy machine
	// measures round trips that are too long to wait for.
	minReports = 8
	// lightACK is after how many packets one is acknowledged between two ticks (4.8.1).
	lightACK = 64
	// ackTimes is how many acknowledgements may be on their way; older ones measure nothing.
	ackTimes = 64
	// keyRefresh is after how many packets the sender changes its key, keyAnnounce how
	// many before that it tells the new one (6.1.6).
	keyRefresh, keyAnnounce = 1 << 24, 1 << 12
	// keyPause is the least time between two refreshes that a peer may cause.
	keyPause = time.Second
	// closeRepeats is how often a shutdown is sent: one may be lost.
	closeRepeats = 2
)

// settings are what a handshake decided.
type settings struct {
	id, peerID              uint32
	peer                    netip.AddrPort
	isn                     uint32
	recvLatency, peerDelay  time.Duration
	payload                 int
	window                  int
	keys                    *ciphers
	peerTimeout, mediaLimit time.Duration
	// receives is set if media come on this connection.
	receives bool
}

// conn is one SRT connection: what came in and in what state both directions are. Its
// methods return the packets that are to be sent, so that nothing is sent under its lock.
type conn struct {
	settings
	buffers *payloads
	start   time.Time
	// send hands datagrams to the socket.
	send func(peer netip.AddrPort, datagrams ...[]byte)

	// readable and writable are told that there may be something to do; done is closed
	// with the connection.
	readable, writable chan struct{}
	done               chan struct{}

	mu      sync.Mutex
	in      *receiver
	out     *sender
	failure error // why it is closed; io.EOF if the peer said so
	closed  bool
	output  [][]byte

	rtt, rttVar time.Duration
	measured    bool
	jitter      time.Duration
	lastTransit time.Duration

	heard, heardMedia, spoke time.Time

	ackNumber   uint32
	ackAt       [ackTimes]time.Time
	acked       uint32
	ackSent     time.Time
	ackAnswered bool
	sinceACK    int
	lastNAK     time.Time

	kmAt         time.Time // of the last refresh by the peer
	keyLeft      int       // packets until our key changes
	newKM        []byte    // told and not confirmed
	newKMAt      time.Time
	newKey       bool // the peer has our new key
	received     meter
	transmitted  meter
	capacity     float64 // packets a second that the way in could carry
	probeAt      time.Time
	probeSeq     uint32
	peerCapacity float64 // of the way out, as the peer estimates it
	undecrypted  uint64
	pool         []byte // the payload that is being read
	rest         []byte
}

func newConn(s settings, buffers *payloads, send func(netip.AddrPort, ...[]byte), now time.Time) *conn {
	return &conn{
		settings: s, buffers: buffers, start: now, send: send,
		readable: make(chan struct{}, 1), writable: make(chan struct{}, 1), done: make(chan struct{}),
		in: newReceiver(s.isn, s.recvLatency, buffers, now), out: newSender(s.isn, s.peerDelay, s.window),
		rtt: firstRTT, rttVar: firstRTT / 2, heard: now, heardMedia: now, spoke: now,
		acked: s.isn, ackAnswered: true, keyLeft: keyRefresh, lastNAK: now,
	}
}

// timestamp is the time on our clock as packets carry it.
func (c *conn) timestamp(now time.Time) uint32 { return uint32(now.Sub(c.start).Microseconds()) }

// flush sends what c.output holds. The lock is held on entry and not on return.
func (c *conn) flush() {
	out := c.output
	c.output = nil
	c.mu.Unlock()
	if len(out) > 0 {
		c.send(c.peer, out...)
	}
}

func (c *conn) control(now time.Time, typ, sub uint16, info uint32, body []byte) {
	b := header{control: true, typ: typ, sub: sub, info: info, timestamp: c.timestamp(now), dest: c.peerID}.append(make([]byte, 0, headerSize+len(body)))
	c.output = append(c.output, append(b, body...))
	c.spoke = now
}

// notify wakes whoever waits on ch.
func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// packet takes a packet of the peer.
func (c *conn) packet(h header, body []byte, now time.Time) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.heard = now
	if h.control {
		c.takeControl(h, body, now)
	} else {
		c.takeData(h, body, now)
	}
	c.flush()
}

func (c *conn) takeData(h header, body []byte, now time.Time) {
	if h.msg == 0 || len(body) == 0 || len(body) > maxPayload {
		return // a packet of a filter, or not one of live mode
	}
	if c.keys != nil && !c.keys.decrypt(body, h.key, h.seq) || c.keys == nil && h.key != keyNone {
		c.undecrypted++
		return
	}
	c.heardMedia = now
	c.received.add(headerSize+len(body), now)
	c.measure(h, len(body), now)
	first, last, gap := c.in.push(h.seq, h.timestamp, h.again, body, now)
	if gap {
		c.sendNAK(appendLoss(nil, first, last), now)
	}
	if c.sinceACK++; c.sinceACK >= lightACK {
		c.sinceACK = 0
		c.control(now, ctrlACK, 0, 0, binary.BigEndian.AppendUint32(nil, c.in.next))
	}
	if c.in.read != c.in.next {
		notify(c.readable)
	}
}

// measure takes the jitter (RFC 3550, A.8) and the capacity of the way from a packet.
// Every sixteenth packet is sent together with the one after it.
func (c *conn) measure(h header, size int, now time.Time) {
	if h.again {
		c.probeAt = time.Time{}
		return
	}
	transit := now.Sub(c.start) - time.Duration(h.timestamp)*time.Microsecond
	if d := (transit - c.lastTransit).Abs(); c.lastTransit != 0 && d < time.Minute {
		c.jitter += (d - c.jitter) / 16
	}
	c.lastTransit = transit
	switch h.seq & 0xF {
	case 0:
		c.probeAt, c.probeSeq = now, h.seq
	case 1:
		if d := now.Sub(c.probeAt); !c.probeAt.IsZero() && h.seq == seqAdd(c.probeSeq, 1) && d > 0 {
			rate := float64(size) / maxPayload / d.Seconds()
			if c.capacity == 0 {
				c.capacity = rate
			}
			c.capacity += (rate - c.capacity) / 8
		}
		c.probeAt = time.Time{}
	}
}

// tick does what is due.
func (c *conn) tick(now time.Time) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	if silent := now.Sub(c.heard); silent > c.peerTimeout {
		c.in.finish()
		c.end(fault.New(fault.Timeout, "receive SRT", "", "nothing was heard of the peer for "+c.peerTimeout.String(), "Check the network; for an unsteady one raise the latency"))
	} else if c.receives && now.Sub(c.heardMedia) > c.mediaLimit {
		c.end(fault.New(fault.Timeout, "receive SRT", "", "no media came for "+c.mediaLimit.String(), "Check that the encoder is running, and its passphrase"))
		c.goodbye(now)
	}
	if c.closed {
		c.flush()
		return
	}
	patience := c.rtt + 4*c.rttVar
	c.in.giveUp(now, repairs*patience)
	if c.in.read != c.in.next {
		notify(c.readable)
	}
	if c.in.next != c.acked || !c.ackAnswered && now.Sub(c.ackSent) > patience {
		c.sendACK(now)
	}
	if every := max(min(patience/2, c.recvLatency/minReports), minNAK); now.Sub(c.lastNAK) >= every {
		c.lastNAK = now
		if list := c.in.losses(now, every); len(list) > 0 {
			c.sendNAK(list, now)
		}
	}
	if c.newKM != nil && now.Sub(c.newKMAt) > patience+patience/2 {
		c.newKMAt = now
		c.control(now, ctrlUser, extKMReq, 0, c.newKM)
	}
	c.out.tick(now)
	c.pump(now)
	if now.Sub(c.spoke) >= keepAliveTime {
		c.control(now, ctrlKeepAlive, 0, 0, make([]byte, 4))
	}
	c.flush()
}

// pump sends what may be sent and wakes a writer that waits.
func (c *conn) pump(now time.Time) {
	n := len(c.output)
	c.output = c.out.pump(now, c.timestamp(now), c.output)
	for _, d := range c.output[n:] {
		c.transmitted.add(len(d), now)
		c.spoke = now
	}
	if c.out.unsent() < maxUnsent {
		notify(c.writable)
	}
}

// end closes the connection for that reason. The lock is held.
func (c *conn) end(reason error) {
	if c.closed {
		return
	}
	c.closed, c.failure = true, reason
	close(c.done)
}

func (c *conn) goodbye(now time.Time) {
	for range closeRepeats {
		c.control(now, ctrlShutdown, 0, 0, make([]byte, 4))
	}
}

// close ends the connection from our side.
func (c *conn) close() {
	c.mu.Lock()
	if !c.closed {
		c.end(fault.New(fault.Conflict, "use the SRT connection", "", "it was closed", ""))
		c.goodbye(time.Now())
	}
	c.flush()
}

// drain waits until the peer has what was written and had the time to play it, at most
// drainTime.
func (c *conn) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	empty := func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.out.queue) == 0
	}
	for !empty() {
		select {
		case <-c.writable:
		case <-c.done:
			return
		case <-ctx.Done():
			return
		}
	}
	play := time.NewTimer(min(c.peerDelay, drainTime))
	defer play.Stop()
	select {
	case <-play.C:
	case <-c.done:
	case <-ctx.Done():
	}
}

// read waits for bytes in order. After the peer's goodbye all that came is read first.
func (c *conn) read(ctx context.Context, p []byte) (int, error) {
	for {
		if len(c.rest) > 0 {
			n := copy(p, c.rest)
			if c.rest = c.rest[n:]; len(c.rest) == 0 {
				c.buffers.put(c.pool)
				c.pool = nil
			}
			return n, nil
		}
		c.mu.Lock()
		c.pool = c.in.pop()
		closed, failure := c.closed, c.failure
		c.mu.Unlock()
		if c.rest = c.pool; c.pool != nil {
			continue
		}
		if closed {
			return 0, failure
		}
		select {
		case <-c.readable:
		case <-c.done:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// write queues a payload, and waits while too much is queued, at most that long.
func (c *conn) write(ctx context.Context, p []byte, limit time.Duration) error {
	var timeout <-chan time.Time
	for {
		c.mu.Lock()
		if c.closed {
			failure := c.failure
			c.mu.Unlock()
			return failure
		}
		if c.out.unsent() < maxUnsent {
			err := c.enqueue(p, time.Now())
			c.flush()
			return err
		}
		c.mu.Unlock()
		if timeout == nil {
			t := time.NewTimer(limit)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-c.writable:
		case <-c.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timeout:
			return fault.New(fault.Timeout, "send SRT", "", "the peer takes nothing for "+limit.String(), "")
		}
	}
}

func (c *conn) enqueue(p []byte, now time.Time) error {
	datagram := append(make([]byte, headerSize, headerSize+len(p)), p...)
	key := uint8(keyNone)
	if c.keys != nil {
		if err := c.rekey(now); err != nil {
			return err
		}
		key = c.keys.outKey
		if err := c.keys.encrypt(datagram[headerSize:], c.out.next()); err != nil {
			return err
		}
	}
	c.out.push(datagram, key, c.peerID)
	c.pump(now)
	return nil
}

// rekey tells the peer of a new key in time, and changes to it when the peer has it.
func (c *conn) rekey(now time.Time) error {
	switch c.keyLeft--; {
	case c.keyLeft == keyAnnounce:
		km, err := c.keys.renew()
		if err != nil {
			return err
		}
		c.newKM, c.newKMAt, c.newKey = km, now, false
		c.control(now, ctrlUser, extKMReq, 0, km)
	case c.keyLeft <= 0 && c.newKey:
		c.keys.outKey = keyEven + keyOdd - c.keys.outKey
		c.keyLeft, c.newKey = keyRefresh, false
	}
	return nil
}
