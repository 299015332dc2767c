package pack

import (
	"testing"
	"time"
)

func TestGroupsFallIntoEvenParts(t *testing.T) {
	for _, tt := range []struct {
		fps   float64
		group time.Duration
		part  time.Duration
		want  int
	}{
		{25, 2 * time.Second, 500 * time.Millisecond, 13},       // 13, 13, 13, 11 and not 12, 12, 12, 12, 2
		{24, 2 * time.Second, 500 * time.Millisecond, 12},       // divides
		{30, 2 * time.Second, 200 * time.Millisecond, 6},        // divides
		{25, 2 * time.Second, 200 * time.Millisecond, 5},        // divides
		{25, 10 * time.Second, 500 * time.Millisecond, 13},      // 250 frames in 20 parts
		{25, 100 * time.Millisecond, 500 * time.Millisecond, 0}, // shorter than half a part
		{5, 700 * time.Millisecond, 500 * time.Millisecond, 0},  // would be twice as long
	} {
		p := &plan{part: tt.part, group: tt.group}
		if n := p.evenParts(time.Duration(float64(time.Second) / tt.fps)); n != tt.want {
			t.Errorf("%v fps in groups of %v: %d frames a part of %v, want %d", tt.fps, tt.group, n, tt.part, tt.want)
		}
	}
}
