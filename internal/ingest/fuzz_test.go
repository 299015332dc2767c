package ingest

import (
	"encoding/binary"
	"testing"
	"time"

	"onair/internal/media"
)

// FuzzTimeline reads packets of 20 bytes: track, size, a pause in milliseconds, DTS and
// the distance of the PTS. The rig checks that what comes out is in order.
func FuzzTimeline(f *testing.F) {
	one := func(b []byte, track byte, pause uint16, dts int64, cts int64) []byte {
		b = append(b, track, 0)
		b = binary.BigEndian.AppendUint16(b, pause)
		b = binary.BigEndian.AppendUint64(b, uint64(dts))
		return binary.BigEndian.AppendUint64(b, uint64(cts))
	}
	var sane, wild []byte
	for i := range int64(40) {
		sane = one(one(sane, 0, 33, i*33, 66), 1, 0, i*21, 0)
		wild = one(one(wild, byte(i), 33, i*i*i*1e12, -i*1e15), 1, 60000, -i*33, 1<<62)
	}
	f.Add(sane)
	f.Add(wild)
	video, audio := rtmpTracks()
	odd := *audio
	odd.ID, odd.Timescale, odd.SampleRate, odd.Config = 7, 1, 7, nil
	fast := *video
	fast.ID, fast.Timescale = 9, 1_000_000_000
	tracks := []*media.Track{video, audio, &odd, &fast}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newRig(t)
		now := origin
		for ; len(b) >= 20; b = b[20:] {
			now = now.Add(time.Duration(binary.BigEndian.Uint16(b[2:])) * time.Millisecond)
			dts := int64(binary.BigEndian.Uint64(b[4:]))
			p := &media.Packet{Track: tracks[b[0]%4], DTS: dts, PTS: dts + int64(binary.BigEndian.Uint64(b[12:])), Key: true, Arrival: now, Data: b[1:2]}
			r.put(p)
		}
	})
}
