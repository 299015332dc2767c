// Package m3u8 is what the playlists of live streams and of recordings have in common: how
// text is appended, and the playlist of playlists (RFC 8216bis, section 4).
package m3u8

import (
	"strconv"
	"time"
)

// The names of playlists in the paths of HLS.
const (
	IndexName  = "index.m3u8"
	FramesName = "iframes.m3u8" // key frames only
)

// Unit is the last decimal of a duration that Seconds prints.
const Unit = 10 * time.Microsecond

// Printer appends text to B.
type Printer struct{ B []byte }

// Text appends a string.
func (p *Printer) Text(s string) *Printer {
	p.B = append(p.B, s...)
	return p
}

// Int appends a decimal number.
func (p *Printer) Int(v int64) *Printer {
	p.B = strconv.AppendInt(p.B, v, 10)
	return p
}

// Seconds appends a duration of at least 0 with five decimals.
func (p *Printer) Seconds(d time.Duration) *Printer {
	n := int64((d + Unit/2) / Unit)
	p.B = strconv.AppendInt(p.B, n/100_000, 10)
	p.B = append(p.B, '.')
	frac := n % 100_000
	for div := int64(10_000); div > 0; div /= 10 {
		p.B = append(p.B, byte('0'+frac/div%10))
	}
	return p
}

// Time appends a time of the wall clock as EXT-X-PROGRAM-DATE-TIME has it, in milliseconds.
func (p *Printer) Time(at time.Time) *Printer {
	p.B = at.UTC().Round(time.Millisecond).AppendFormat(p.B, "2006-01-02T15:04:05.000Z")
	return p
}
