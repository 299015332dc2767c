package pack

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// packets yields a list and then io.EOF.
type packets []*media.Packet

func (p *packets) ReadPacket(context.Context) (*media.Packet, error) {
	if len(*p) == 0 {
		return nil, io.EOF
	}
	next := (*p)[0]
	*p = (*p)[1:]
	return next, nil
}

func generate(t *testing.T, o mediatest.Options) []*media.Packet {
	t.Helper()
	if o.Start.IsZero() {
		o.Start = start
	}
	g := mediatest.NewGenerator(o)
	described := map[*media.Track]*media.Track{}
	var list []*media.Packet
	for {
		p, err := g.ReadPacket(t.Context())
		if err != nil {
			return list
		}
		if described[p.Track] == nil {
			d, err := bitstream.Describe(p.Track)
			if err != nil {
				t.Fatal(err)
			}
			described[p.Track] = d
		}
		p.Track = described[p.Track]
		list = append(list, p)
	}
}

func testStream(mode media.LatencyMode) *Stream {
	return newStream(DefaultConfig(), "ls_test", mode, false, newMetrics(nil), slog.New(slog.DiscardHandler))
}

func TestPlain(t *testing.T) {
	s := testStream(media.LatencyLow)
	list := packets(generate(t, mediatest.Options{Duration: 20 * time.Second}))
	for _, p := range list {
		s.write(p)
	}
	for _, r := range s.Renditions() {
		snap := r.Snapshot()
		t.Logf("%s: target %d part target %v hold %v peak %d avg %d rate %v hint %s", r.Name(), s.TargetDuration(), r.PartTarget(), s.PartHoldBack(), snap.Peak, snap.Average, snap.FrameRate, snap.Hint)
		for _, seg := range snap.Segments {
			t.Logf("  %d %v %v parts %d size %d", seg.Sequence, seg.Start, seg.Duration, len(seg.Parts), seg.Blob.Size)
			for _, p := range seg.Parts {
				t.Logf("      %s %v %v", p.Name, p.Duration, p.Independent)
			}
		}
	}
}
