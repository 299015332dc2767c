package hub

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"onair/internal/fault"
	"onair/internal/media"
)

// groupStarts returns the clocks at which the kept groups begin, in ms.
func groupStarts(f *Feed) (ms []int64) {
	for i := range f.groups.len() {
		ms = append(ms, f.groups.at(i).clock.Milliseconds())
	}
	return ms
}

func TestOldGroupsLeaveWhole(t *testing.T) {
	h, _ := newTestHub(func(c *Config) { c.MaxFeedDuration = 3 * second })
	p := mustPublish(t, h, "s", PublishOptions{})
	v := videoTrack(1)
	writeGroups(t, p, v, 0, 150, 25, 100) // six groups of 1 s
	f := p.stream.Feed()
	if diff := cmp.Diff([]int64{3000, 4000, 5000}, groupStarts(f)); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if f.slots.at(0).p.DTS != 3000 || f.slots.len() != 75 {
		t.Errorf("the ring begins at %d with %d packets", f.slots.at(0).p.DTS, f.slots.len())
	}
	if got := testutil.ToFloat64(h.metrics.droppedTime); got != 3 {
		t.Errorf("%v groups counted as dropped by age, want 3", got)
	}
}

func TestKeysFarApartStillAllowJoining(t *testing.T) {
	h, _ := newTestHub(func(c *Config) { c.MaxFeedDuration = 3 * second })
	p := mustPublish(t, h, "s", PublishOptions{})
	v := videoTrack(1)
	writeGroups(t, p, v, 0, 900, 250, 100) // groups of 10 s, the last one of 6 s
	if diff := cmp.Diff([]int64{20000, 30000}, groupStarts(p.stream.Feed())); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

func TestBoundInBytes(t *testing.T) {
	const size = 64 << 10
	h, _ := newTestHub(func(c *Config) { c.MaxFeedBytes = 2 << 20 })
	p := mustPublish(t, h, "s", PublishOptions{})
	v := videoTrack(1)
	for i := range 200 {
		mustWrite(t, p, pkt(v, int64(i)*40, i%10 == 0, size))
		if p.stream.Feed().bytes > 2<<20 {
			t.Fatalf("%d bytes kept after packet %d", p.stream.Feed().bytes, i)
		}
		if first := p.stream.Feed().slots.at(0).p; !first.Key {
			t.Fatalf("the ring begins with %d, which is no key", first.DTS)
		}
	}
	if got := testutil.ToFloat64(h.metrics.droppedBytes); got < 15 {
		t.Errorf("%v groups counted as dropped by bytes", got)
	}
}

func TestOversizeGroupIsGivenUp(t *testing.T) {
	const size = 64 << 10
	h, _ := newTestHub(func(c *Config) { c.MaxFeedBytes = 1 << 20 })
	p := mustPublish(t, h, "s", PublishOptions{})
	v := videoTrack(1)
	mustWrite(t, p, pkt(v, 0, true, size))
	near := p.stream.Feed().NewReader(ReaderOptions{})
	far := p.stream.Feed().NewReader(ReaderOptions{})
	next := int64(0)
	for i := int64(1); i < 100; i++ {
		mustWrite(t, p, pkt(v, i*40, false, size))
		if p.stream.Feed().bytes > 1<<20 {
			t.Fatalf("%d bytes kept after packet %d", p.stream.Feed().bytes, i)
		}
		// Who follows closely does not notice.
		for _, dts := range drain(t, near) {
			if dts != next {
				t.Fatalf("got %d, want %d", dts, next)
			}
			next += 40
		}
	}
	if got := testutil.ToFloat64(h.metrics.droppedOversize); got != 1 {
		t.Errorf("%v groups given up, want 1", got)
	}
	joiner := p.stream.Feed().NewReader(ReaderOptions{From: OldestKept})
	if got := drain(t, joiner); got != nil {
		t.Errorf("joined in mid-group at %v", got)
	}
	if diff := cmp.Diff([]int64{-1}, drain(t, far)); diff != "" {
		t.Errorf("the reader that was left behind (-want +got):\n%s", diff)
	}
	mustWrite(t, p, pkt(v, 4000, true, size))
	if diff := cmp.Diff([]int64{4000}, drain(t, joiner)); diff != "" {
		t.Errorf("joined at the next key (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int64{4000}, drain(t, far)); diff != "" {
		t.Errorf("continued at the next key (-want +got):\n%s", diff)
	}
}

func TestPacketLargerThanTheBound(t *testing.T) {
	h, _ := newTestHub(func(c *Config) { c.MaxFeedBytes = 1 << 20 })
	p := mustPublish(t, h, "s", PublishOptions{})
	v := videoTrack(1)
	mustWrite(t, p, pkt(v, 0, true, 100), pkt(v, 40, false, 2<<20), pkt(v, 80, false, 100))
	if p.stream.Feed().bytes > 1<<20 || p.stream.Feed().groups.len() != 0 {
		t.Errorf("kept %d bytes and %d groups", p.stream.Feed().bytes, p.stream.Feed().groups.len())
	}
}

func TestTinyKeysAreBoundedInNumber(t *testing.T) {
	h, _ := newTestHub(func(c *Config) { c.MaxFeedBytes = 1 << 20 })
	p := mustPublish(t, h, "s", PublishOptions{})
	v := videoTrack(1)
	for range 50_000 {
		mustWrite(t, p, pkt(v, 0, true, 0))
	}
	if n := p.stream.Feed().slots.len(); n > 1<<20/packetOverhead {
		t.Errorf("%d empty packets kept", n)
	}
}

func TestShareWhenAllTogetherAreTooMuch(t *testing.T) {
	h, _ := newTestHub(func(c *Config) { c.MaxFeedBytes, c.MaxTotalBytes = 8<<20, 8<<20 })
	var pubs []*Publication
	for _, name := range []string{"a", "b", "c", "d"} {
		pubs = append(pubs, mustPublish(t, h, name, PublishOptions{}))
	}
	v := videoTrack(1)
	for i := range 400 {
		for _, p := range pubs {
			mustWrite(t, p, pkt(v, int64(i)*10, i%10 == 0, 16<<10))
		}
		if got := h.bytes.Load(); got > 8<<20+4*(16<<10+packetOverhead) {
			t.Fatalf("%d bytes kept in all", got)
		}
	}
	for _, p := range pubs {
		p.End(nil)
	}
	if got := h.bytes.Load(); got != 0 {
		t.Errorf("%d bytes are still counted after all streams ended", got)
	}
}

func TestAudioAloneIsGroupedBySeconds(t *testing.T) {
	h, _ := newTestHub(nil)
	p := mustPublish(t, h, "s", PublishOptions{})
	a := audioTrack(2)
	for ms := int64(0); ms < 3500; ms += 20 {
		mustWrite(t, p, pkt(a, ms, true, 10))
	}
	if diff := cmp.Diff([]int64{0, 1000, 2000, 3000}, groupStarts(p.stream.Feed())); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	// Video joins: from its key on it alone opens groups.
	v := videoTrack(1)
	for ms := int64(3500); ms < 8000; ms += 20 {
		mustWrite(t, p, pkt(a, ms, true, 10), pkt(v, ms, (ms-3500)%2000 == 0, 10))
	}
	if diff := cmp.Diff([]int64{0, 1000, 2000, 3000, 3500, 5500, 7500}, groupStarts(p.stream.Feed())); diff != "" {
		t.Errorf("groups with video (-want +got):\n%s", diff)
	}
	// Video stays away: after a while audio opens groups again.
	for ms := int64(8000); ms < 21000; ms += 20 {
		mustWrite(t, p, pkt(a, ms, true, 10))
	}
	if got := groupStarts(p.stream.Feed()); got[len(got)-1] < 19000 {
		t.Errorf("groups after video went away: %v", got)
	}
	r := p.stream.Feed().NewReader(ReaderOptions{})
	drain(t, r)
	mustWrite(t, p, pkt(v, 21000, false, 10))
	if got := drain(t, r); got != nil {
		t.Errorf("a reader that joined at audio was handed video in mid-group: %v", got)
	}
}

func TestSeveralVideoTracksMakeOneGroup(t *testing.T) {
	h, _ := newTestHub(nil)
	p := mustPublish(t, h, "s", PublishOptions{})
	hi, lo := videoTrack(1), videoTrack(3)
	for i := range int64(75) {
		mustWrite(t, p, pkt(hi, i*40, i%25 == 0, 10))
		if i > 3 { // the second rendition begins late
			mustWrite(t, p, pkt(lo, i*40, i%25 == 0, 10))
		}
	}
	if diff := cmp.Diff([]int64{0, 1000, 2000}, groupStarts(p.stream.Feed())); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if got := testutil.ToFloat64(h.metrics.undecodable); got != 21 {
		t.Errorf("%v packets before the second track's key, want 21", got)
	}
	// The high one goes away: the low one opens groups.
	for ms := int64(3000); ms < 16000; ms += 40 {
		mustWrite(t, p, pkt(lo, ms, ms%1000 == 0, 10))
	}
	if got := groupStarts(p.stream.Feed()); got[len(got)-1] < 15000 {
		t.Errorf("groups after the first track went away: %v", got)
	}
}

func TestNewParametersBeginWithAKey(t *testing.T) {
	h, _ := newTestHub(nil)
	p := mustPublish(t, h, "s", PublishOptions{})
	v := videoTrack(1)
	same, other := *v, *v
	other.Version, other.Config = 1, []byte{2}
	mustWrite(t, p, pkt(v, 0, true, 10), pkt(&same, 40, false, 10), pkt(&other, 80, false, 10),
		pkt(&other, 120, true, 10), pkt(&other, 160, false, 10))
	r := p.stream.Feed().NewReader(ReaderOptions{From: OldestKept})
	if diff := cmp.Diff([]int64{0, 40, 120, 160}, drain(t, r)); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
	if got := p.stream.Feed().Tracks(); len(got) != 1 || got[0] != &other {
		t.Errorf("tracks are %v", got)
	}
}

func TestTooManyTracks(t *testing.T) {
	h, _ := newTestHub(nil)
	p := mustPublish(t, h, "s", PublishOptions{})
	for id := range maxFeedTracks {
		mustWrite(t, p, pkt(audioTrack(id), 0, true, 1))
	}
	if err := p.WritePacket(t.Context(), pkt(audioTrack(99), 0, true, 1)); !fault.Is(err, fault.TooMany) {
		t.Errorf("track 33: %v", err)
	}
	for _, bad := range []*media.Packet{nil, {}, {Track: &media.Track{Codec: media.AAC}}} {
		if err := p.WritePacket(t.Context(), bad); !fault.Is(err, fault.Internal) {
			t.Errorf("packet %+v: %v", bad, err)
		}
	}
}

func TestMeasuredRates(t *testing.T) {
	h, _ := newTestHub(nil)
	p := mustPublish(t, h, "s", PublishOptions{Tracks: []*media.Track{videoTrack(1), audioTrack(2)}})
	if got := len(mustStream(t, h, "s").Snapshot().Tracks); got != 2 {
		t.Fatalf("%d tracks before the first packet, want the 2 announced", got)
	}
	v, a := videoTrack(1), audioTrack(2)
	v.Timescale = 90000
	for i := range int64(30 * 20) { // 29.97 frames a second, a key every 60
		q := pkt(v, i*3003, i%60 == 0, 1000)
		mustWrite(t, p, q)
		mustWrite(t, p, pkt(a, i*40, true, 100)) // 25 packets a second
	}
	s := mustStream(t, h, "s").Snapshot()
	vs, as := s.Tracks[0], s.Tracks[1]
	if vs.MeasuredFrameRate < 29.96 || vs.MeasuredFrameRate > 29.98 || as.MeasuredFrameRate < 24.9 || as.MeasuredFrameRate > 25.1 {
		t.Errorf("measured %v video and %v audio packets a second", vs.MeasuredFrameRate, as.MeasuredFrameRate)
	}
	if vs.Bitrate < 239_000 || vs.Bitrate > 240_500 || s.Bitrate < vs.Bitrate+19_000 {
		t.Errorf("measured %v bits a second of video, %v in all", vs.Bitrate, s.Bitrate)
	}
	if got := vs.KeyframeInterval.Round(time.Millisecond); got != 2002*time.Millisecond {
		t.Errorf("key frames %v apart, want 2.002s", got)
	}
	if vs.Packets != 600 || vs.Width != 1280 || vs.Codec != media.H264 || vs.Kind != media.Video || s.Bytes != 600*1100 {
		t.Errorf("snapshot %+v", s)
	}
}

func TestOrderOfPictures(t *testing.T) {
	h, _ := newTestHub(nil)
	p := mustPublish(t, h, "s", PublishOptions{})
	f, v, a := p.stream.Feed(), videoTrack(1), audioTrack(2)
	check := func(reordered bool, pictures uint64) {
		t.Helper()
		if r, n := f.Order(); r != reordered || n != pictures {
			t.Errorf("reordered %v after %d pictures, want %v after %d", r, n, reordered, pictures)
		}
	}
	frame := func(tr *media.Track, dts, pts int64) {
		q := pkt(tr, dts, dts%400 == 0, 10)
		q.PTS = pts
		mustWrite(t, p, q)
	}
	check(false, 0)
	for i := range int64(5) {
		frame(a, i*40, i*40)
		frame(v, i*40, i*40+80)
	}
	check(false, 5)
	frame(v, 200, 360)
	frame(v, 240, 280)
	check(true, 7)
	same := *v
	frame(&same, 280, 320)
	check(true, 8)
	// Another encoder setting is looked at anew.
	other := *v
	other.Config = []byte{9}
	frame(&other, 400, 400)
	frame(&other, 440, 440)
	check(false, 2)
	// So is another publisher.
	p = mustPublish(t, h, "s", PublishOptions{})
	check(false, 0)
}
