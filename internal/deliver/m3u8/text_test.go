package m3u8

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
)

// However a text is divided, its gzip form is one member with its bytes, which the standard
// library's reader checks; and its plain form is the same.
func TestBlocksJoinIntoOneText(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := func() (b []byte) {
		for range random.IntN(400) {
			b = fmt.Appendf(b, "#EXTINF:2.00000,\ns0tq3xyabc.%d.m4s\n", random.IntN(1<<30))
		}
		return b
	}
	for range 100 {
		head, rest := text(), text()
		want := bytes.Clone(head)
		blocks := make([]Block, random.IntN(8))
		for i := range blocks {
			piece := text()
			blocks[i] = NewBlock(piece)
			want = append(want, piece...)
		}
		joined := Join(blocks)
		if got := joined.Plain(bytes.Clone(head)); !bytes.Equal(got, want) {
			t.Fatalf("plain: %d bytes, %d wanted", len(got), len(want))
		}
		want = append(want, rest...)
		in := bytes.NewReader(bytes.Join(joined.Zip(head, rest), nil))
		r, err := gzip.NewReader(in)
		if err != nil {
			t.Fatal(err)
		}
		r.Multistream(false)
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) || in.Len() != 0 {
			t.Fatalf("gzip: %v, %d bytes, %d wanted, %d bytes follow", err, len(got), len(want), in.Len())
		}
	}
}
