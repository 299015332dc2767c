package hls

import (
	"encoding/binary"
	"testing"
	"time"
)

// fragment is what a test needs to know of a moof.
type fragment struct {
	tfdt     int64
	duration int64
	samples  int
	sync     bool // of the first sample
}

func boxes(b []byte, each func(name string, body []byte)) {
	for len(b) >= 8 {
		n := binary.BigEndian.Uint32(b)
		each(string(b[4:8]), b[8:n])
		b = b[n:]
	}
}

// fragments reads the moofs of a part or segment.
func fragments(t testing.TB, b []byte) (list []fragment) {
	t.Helper()
	defer func() {
		if recover() != nil {
			t.Fatalf("not a fragment: %d bytes", len(b))
		}
	}()
	boxes(b, func(name string, moof []byte) {
		if name != "moof" {
			return
		}
		var f fragment
		boxes(moof, func(name string, traf []byte) {
			if name == "traf" {
				f = readTraf(traf)
			}
		})
		list = append(list, f)
	})
	return list
}

func readTraf(traf []byte) (f fragment) {
	var defDuration, defFlags uint32
	boxes(traf, func(name string, b []byte) {
		flags := binary.BigEndian.Uint32(b) & 0xffffff
		b = b[4:]
		word := func() uint32 {
			v := binary.BigEndian.Uint32(b)
			b = b[4:]
			return v
		}
		switch name {
		case "tfhd":
			word()
			if flags&8 != 0 {
				defDuration = word()
			}
			if flags&0x10 != 0 {
				word()
			}
			if flags&0x20 != 0 {
				defFlags = word()
			}
		case "tfdt":
			f.tfdt = int64(binary.BigEndian.Uint64(b))
		case "trun":
			n := word()
			if flags&1 != 0 {
				word()
			}
			first, hasFirst := uint32(0), flags&4 != 0
			if hasFirst {
				first = word()
			}
			for i := range n {
				d, fl := defDuration, defFlags
				if flags&0x100 != 0 {
					d = word()
				}
				if flags&0x200 != 0 {
					word()
				}
				if flags&0x400 != 0 {
					fl = word()
				}
				if flags&0x800 != 0 {
					word()
				}
				if i == 0 {
					if hasFirst {
						fl = first
					}
					f.sync = fl&0x10000 == 0
				}
				f.duration += int64(d)
				f.samples++
			}
		}
	})
	return f
}

// join checks that EXT-X-START leads to the beginning of a segment that decodes.
func (l *linter) join(now *lintState, offset float64) {
	end := now.segments[len(now.segments)-1]
	if !end.complete {
		for _, p := range end.parts {
			end.duration += p.duration
		}
	}
	at := end.pdt.Add(time.Duration((end.duration - offset) * float64(time.Second)))
	for _, s := range now.segments {
		if s.pdt.Sub(at).Abs() >= 2*time.Millisecond {
			continue
		}
		name := s.uri
		if !s.complete {
			name = s.parts[0].name
		}
		if fragments(l.t, l.find(name))[0].sync {
			return
		}
	}
	l.fail("EXT-X-START leads to %v, where nothing begins", at)
}
