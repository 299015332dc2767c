package m3u8

import (
	"slices"
	"testing"
)

// A source that is more than anybody can begin with is not the first.
func TestVariantsAreInAnOrderToBeginWith(t *testing.T) {
	m := multivariant{video: []Rendition{{Name: "v0", Peak: 9_000_000}, {Name: "720p", Peak: 3_000_000}, {Name: "360p", Peak: 800_000}}}
	names := func() (out []string) {
		for _, c := range m.inOrder(100_000) {
			out = append(out, c.Name)
		}
		return out
	}
	if got := names(); !slices.Equal(got, []string{"720p", "v0", "360p"}) {
		t.Errorf("the order is %v", got)
	}
	m.video[0].Peak = 4_900_000
	if got := names(); !slices.Equal(got, []string{"v0", "720p", "360p"}) {
		t.Errorf("the order is %v", got)
	}
	m.video = m.video[:1]
	m.video[0].Peak = 20_000_000
	if got := names(); !slices.Equal(got, []string{"v0"}) {
		t.Errorf("the order is %v", got)
	}
}
