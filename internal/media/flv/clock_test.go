package flv

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClock(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   []uint32
		want []int64
	}{
		{"steady", []uint32{0, 33, 66}, []int64{0, 33, 66}},
		{"32-bit wrap", []uint32{1<<32 - 10, 23}, []int64{1<<32 - 10, 1<<32 + 23}},
		{"31-bit wrap", []uint32{1<<31 - 10, 23, 56}, []int64{1<<31 - 10, 1<<31 + 23, 1<<31 + 56}},
		{"31-bit wrap, then a late one, then on", []uint32{1<<31 - 10, 23, 1<<31 - 5, 30}, []int64{1<<31 - 10, 1<<31 + 23, 1<<31 - 5, 1<<31 + 30}},
		{"beyond 31 bits without a wrap", []uint32{1<<31 - 10, 1<<31 + 23}, []int64{1<<31 - 10, 1<<31 + 23}},
		{"a step back", []uint32{5000, 4990, 5023}, []int64{5000, 4990, 5023}},
		{"a step back below the first", []uint32{5, 1<<32 - 10}, []int64{5, -10}},
		{"a restart", []uint32{500000, 0}, []int64{500000, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c clock
			var got []int64
			for _, ts := range tt.in {
				got = append(got, c.unwrap(ts))
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}
