package hub

import (
	"testing"

	"pgregory.net/rapid"
)

func TestDequeIsAQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d deque[int]
		var want []int
		for i := range rapid.IntRange(1, 2000).Draw(t, "steps") {
			if len(want) > 0 && rapid.IntRange(0, 9).Draw(t, "op") < 4+(i/200)%3 {
				if got := d.pop(); got != want[0] {
					t.Fatalf("popped %d, want %d", got, want[0])
				}
				want = want[1:]
			} else {
				d.push(i)
				want = append(want, i)
			}
			if d.len() != len(want) {
				t.Fatalf("length %d, want %d", d.len(), len(want))
			}
			for j := range want {
				if *d.at(j) != want[j] {
					t.Fatalf("element %d is %d, want %d", j, *d.at(j), want[j])
				}
			}
		}
	})
}
