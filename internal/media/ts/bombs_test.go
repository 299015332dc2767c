package ts_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"
	"time"

	"onair/internal/fault"
	"onair/internal/media/mediatest"
	"onair/internal/media/ts"
)

// TestF7TableBombs reads programme tables that point at themselves, at each other and at
// everything, change all the time, or claim more than they hold: each ends with an error or
// the end, soon, and holds little. A stream between two of them is still read.
func TestF7TableBombs(t *testing.T) {
	good, sent := stream(t, mediatest.Options{Duration: time.Second})
	// table is a section with a right length and CRC of its body behind the head.
	table := func(id byte, of uint16, version byte, body ...byte) []byte {
		s := append([]byte{id, 0xb0, 0, byte(of >> 8), byte(of), 0xc1 | version<<1, 0, 0}, body...)
		binary.BigEndian.PutUint16(s[1:], 0xb000|uint16(len(s)-3+4))
		return binary.BigEndian.AppendUint32(s, crc(s))
	}
	program := func(number, pid uint16) []byte {
		return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, number), 0xe000|pid)
	}
	streams := func(pcr uint16, more ...byte) []byte {
		return append(binary.BigEndian.AppendUint16(nil, 0xe000|pcr), append([]byte{0xf0, 0}, more...)...)
	}
	repeat := func(n int, packet func(i int) []byte) (out []byte) {
		for i := range n {
			b := packet(i)
			b[3] = b[3]&0xf0 | byte(i)&15
			out = append(out, b...)
		}
		return out
	}
	var many, all []byte
	for i := range 40 {
		many = append(many, program(uint16(i+1), uint16(0x100+i))...)
		all = append(all, 0x1b, 0xe1, byte(i), 0xf0, 0)
	}
	const n = 20000
	for _, tt := range []struct {
		name string
		in   []byte
	}{
		{"a map at the PID of the programmes", repeat(n, func(int) []byte { return section(0, table(0, 1, 0, program(1, 0)...)) })},
		{"two that take turns", repeat(n, func(i int) []byte {
			return section(0, table(0, 1, byte(i)&31, program(1, uint16(0x100+i&1))...))
		})},
		{"a map for each of many programmes, changing", repeat(n, func(i int) []byte {
			if i%2 == 0 {
				return section(0, table(0, 1, byte(i)&31, many...))
			}
			return section(uint16(0x100+i%40), table(2, uint16(i%40+1), byte(i)&31, streams(0x100, all[:100]...)...))
		})},
		{"streams at the PIDs of the tables", append(section(0, table(0, 1, 0, program(1, 0x100)...)), repeat(n, func(i int) []byte {
			return section(0x100, table(2, 1, byte(i)&31, streams(0, 0x1b, 0xe0, 0, 0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0)...))
		})...)},
		{"descriptors longer than their map", append(section(0, table(0, 1, 0, program(1, 0x100)...)), repeat(n, func(i int) []byte {
			return section(0x100, table(2, 1, byte(i)&31, 0xe1, 0, 0xff, 0xff, 5, 255))
		})...)},
		{"descriptors of a stream longer than their map", append(section(0, table(0, 1, 0, program(1, 0x100)...)), repeat(n, func(i int) []byte {
			return section(0x100, table(2, 1, byte(i)&31, streams(0x101, 6, 0xe1, 1, 0xff, 0xff, 5, 0)...))
		})...)},
		{"empty descriptors", append(section(0, table(0, 1, 0, program(1, 0x100)...)), repeat(n, func(i int) []byte {
			return section(0x100, table(2, 1, byte(i)&31, streams(0x101, append([]byte{6, 0xe1, 1, 0xf0, 140}, make([]byte, 140)...)...)...))
		})...)},
		{"a section of no length", repeat(n, func(int) []byte { return section(0, []byte{0, 0xb0, 0}) })},
		{"a pointer beyond the packet", repeat(n, func(int) []byte {
			b := section(0, nil)
			b[4] = 255
			return b
		})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := time.Now()
			r := ts.NewReader(bytes.NewReader(tt.in))
			packets, err := readAll(r)
			if packets > 0 || !errors.Is(err, io.EOF) && fault.KindOf(err) == fault.Internal {
				t.Errorf("%d packets, then %v", packets, err)
			}
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("took %v", d)
			}
			runtime.ReadMemStats(&after)
			if total := after.TotalAlloc - before.TotalAlloc; total > 32*uint64(len(tt.in))+1<<20 {
				t.Errorf("%d bytes were asked for, for %d", total, len(tt.in))
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
				t.Errorf("%d bytes are held", grown)
			}
			runtime.KeepAlive(r)
		})
	}
	if n, err := readAll(ts.NewReader(bytes.NewReader(good))); n < len(sent)-2 || !errors.Is(err, io.EOF) {
		t.Errorf("without any, %d of %d packets come: %v", n, len(sent), err)
	}
}

func readAll(r *ts.Reader) (n int, err error) {
	for {
		if _, err = r.ReadPacket(context.Background()); err != nil {
			return n, err
		}
		n++
	}
}

// crc is the checksum of ISO/IEC 13818-1, annex A.
func crc(b []byte) uint32 {
	sum := ^uint32(0)
	for _, x := range b {
		sum ^= uint32(x) << 24
		for range 8 {
			top := sum >> 31
			sum = sum<<1 ^ 0x04c11db7*top
		}
	}
	return sum
}
