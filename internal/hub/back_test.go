package hub

import (
	"testing"
	"time"
)

// A reader that asks for it joins some time before the newest packet, at a key.
func TestReaderJoinsSomeTimeBack(t *testing.T) {
	for _, tt := range []struct{ back, want time.Duration }{
		{0, 8 * time.Second}, {time.Second, 8 * time.Second}, {1500 * time.Millisecond, 6 * time.Second},
		{3500 * time.Millisecond, 4 * time.Second}, {time.Minute, 0},
	} {
		f := newFeed(nil, SourceFeed)
		for i := range time.Duration(5) {
			f.groups.push(group{seq: uint64(10 * i), clock: 2 * i * time.Second})
		}
		f.clock = 9 * time.Second
		r := &Reader{feed: f, opt: ReaderOptions{Back: tt.back}, joining: true}
		r.join()
		if got := time.Duration(r.next/10) * 2 * time.Second; got != tt.want || r.joining {
			t.Errorf("%v back it joins at %v, want %v", tt.back, got, tt.want)
		}
	}
}
