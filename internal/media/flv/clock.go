package flv

// clock unwraps the 32-bit millisecond counter that all messages of a session share.
type clock struct {
	started bool
	// raw is the last stamp as it came, time what it stands for.
	raw  uint32
	time int64
	// counts31 is set when the encoder was seen to count in 31 bits.
	counts31 bool
}

// near31 is how near the borders of the 31-bit range two stamps must be for the step
// between them to be the wrap of an encoder that counts in 31 bits.
const near31 = 10_000

// unwrap returns the time of a stamp. The shorter way round is the right one; times
// before the first stamp may be negative.
func (c *clock) unwrap(ts uint32) int64 {
	if !c.started {
		c.started, c.raw, c.time = true, ts, int64(ts)
		return c.time
	}
	step := int64(int32(ts - c.raw))
	switch {
	case end31(c.raw) && ts < near31:
		step += 1 << 31
		c.counts31 = true
	case c.counts31 && c.raw < near31 && end31(ts):
		step -= 1 << 31
	}
	c.raw = ts
	c.time += step
	return c.time
}

// end31 reports whether a stamp is near the end of the 31-bit range.
func end31(ts uint32) bool { return ts < 1<<31 && ts >= 1<<31-near31 }
