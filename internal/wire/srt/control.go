package srt

import (
	"encoding/binary"
	"io"
	"math"
	"time"
)

// takeControl acts on a control packet of the peer.
func (c *conn) takeControl(h header, body []byte, now time.Time) {
	u32 := func(i int) uint32 { return binary.BigEndian.Uint32(body[4*i:]) }
	switch h.typ {
	case ctrlACK:
		c.takeACK(h.info, body, now)
	case ctrlACKACK:
		c.takeACKACK(h.info, now)
	case ctrlNAK:
		c.takeNAK(body, now)
	case ctrlDropReq:
		if len(body) >= 8 && seqDiff(u32(1)&seqMask, u32(0)&seqMask) >= 0 {
			c.in.forget(u32(0)&seqMask, u32(1)&seqMask)
			notify(c.readable)
		}
	case ctrlShutdown:
		c.in.finish()
		c.end(io.EOF)
	case ctrlUser:
		c.takeUser(h.sub, body, now)
	}
}

func (c *conn) takeACK(number uint32, body []byte, now time.Time) {
	if len(body) < 4 {
		return
	}
	if number != 0 {
		c.control(now, ctrlACKACK, 0, number, nil)
	}
	if !c.out.ack(binary.BigEndian.Uint32(body) & seqMask) {
		return
	}
	if len(body) >= 16 && !c.receives {
		if rtt := time.Duration(binary.BigEndian.Uint32(body[4:])) * time.Microsecond; rtt < time.Minute {
			c.rtt, c.measured = rtt, true
			c.rttVar = min(time.Duration(binary.BigEndian.Uint32(body[8:]))*time.Microsecond, time.Minute)
		}
		c.out.window = int(min(max(binary.BigEndian.Uint32(body[12:]), 2), maxWindow))
	}
	if len(body) >= 24 {
		c.peerCapacity = float64(binary.BigEndian.Uint32(body[20:]))
	}
	c.pump(now)
}

func (c *conn) takeACKACK(number uint32, now time.Time) {
	if number == 0 || number > c.ackNumber || c.ackNumber-number >= ackTimes {
		return
	}
	at := &c.ackAt[number%ackTimes]
	if at.IsZero() {
		return
	}
	rtt := now.Sub(*at)
	*at = time.Time{}
	if number == c.ackNumber {
		c.ackAnswered = true
	}
	if !c.measured {
		c.measured, c.rtt, c.rttVar = true, rtt, rtt/2
		return
	}
	c.rttVar += ((c.rtt - rtt).Abs() - c.rttVar) / 4
	c.rtt += (rtt - c.rtt) / 8
}

func (c *conn) takeNAK(body []byte, now time.Time) {
	c.out.report(body, now, c.rtt)
	c.pump(now)
}

// takeUser takes messages about keys (6.1.6). Whatever does not open with the passphrase
// changes nothing.
func (c *conn) takeUser(sub uint16, body []byte, now time.Time) {
	if c.keys == nil {
		return
	}
	switch sub {
	case extKMReq:
		if !c.keys.known(body) {
			if now.Sub(c.kmAt) < keyPause {
				return
			}
			c.kmAt = now
			if !c.keys.refresh(body) {
				return
			}
		}
		c.control(now, ctrlUser, extKMRsp, 0, body)
	case extKMRsp:
		if c.newKM != nil && string(body) == string(c.newKM) {
			c.newKM, c.newKey = nil, true
		}
	}
}

func (c *conn) sendNAK(list []uint32, now time.Time) {
	body := make([]byte, 0, 4*len(list))
	for _, w := range list {
		body = binary.BigEndian.AppendUint32(body, w)
	}
	c.control(now, ctrlNAK, 0, 0, body)
}

func (c *conn) sendACK(now time.Time) {
	if c.ackNumber++; c.ackNumber == math.MaxUint32 {
		c.ackNumber = 1
	}
	c.ackAt[c.ackNumber%ackTimes] = now
	c.acked, c.ackSent, c.ackAnswered, c.sinceACK = c.in.next, now, false, 0
	packets, bytes := c.received.rates(now)
	body := make([]byte, 0, 28)
	for _, v := range []uint32{c.in.next, uint32(c.rtt.Microseconds()), uint32(c.rttVar.Microseconds()),
		uint32(max(c.in.free(), 2)), uint32(packets), uint32(c.capacity), uint32(bytes)} {
		body = binary.BigEndian.AppendUint32(body, v)
	}
	c.control(now, ctrlACK, 0, c.ackNumber, body)
}
