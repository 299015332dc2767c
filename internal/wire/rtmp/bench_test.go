package rtmp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
)

// BenchmarkReadChunks reads frames of 12 KB in chunks of the size that ffmpeg sends (128),
// that OBS sends (4096), and that we send.
func BenchmarkReadChunks(b *testing.B) {
	for _, size := range []int{1, 128, 4096, ourChunkSize} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			var buf bytes.Buffer
			w := newChunkWriter(&buf)
			w.size = size
			body := make([]byte, 12_000)
			for i := range 30 {
				if err := w.write(csidVideo, typeVideo, 1, uint32(33*i), body); err != nil {
					b.Fatal(err)
				}
			}
			if err := w.flush(); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(30 * 12_000)
			b.ReportAllocs()
			for b.Loop() {
				r := newChunkReader(bufio.NewReaderSize(bytes.NewReader(buf.Bytes()), mediaBuffer))
				r.size, r.trusted = uint32(size), true
				if _, err := readAll(r); !errors.Is(err, io.EOF) {
					b.Fatal(err)
				}
			}
		})
	}
}
