package rtmp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"onair/internal/fault"
)

func reader(b []byte) *chunkReader {
	return newChunkReader(bufio.NewReader(bytes.NewReader(b)))
}

func readAll(c *chunkReader) (out []message, err error) {
	for {
		m, err := c.read()
		if err != nil {
			return out, err
		}
		out = append(out, m)
	}
}

var messageOptions = cmp.Options{cmp.AllowUnexported(message{}), cmp.Comparer(bytes.Equal)}

func TestChunksRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{128, 129, 4096, 65536}).Draw(t, "chunk size")
		var want []message
		var buf bytes.Buffer
		w := newChunkWriter(&buf)
		w.size = size
		ts := rapid.SampledFrom([]uint32{0, 5, extended24 - 20, 1<<31 - 9, 1<<32 - 40}).Draw(t, "start")
		for range rapid.IntRange(1, 12).Draw(t, "messages") {
			ts += rapid.SampledFrom([]uint32{0, 1, 33, extended24 - 1, extended24, extended24 + 7, 1<<32 - 33}).Draw(t, "step")
			m := message{
				csid:      uint32(rapid.IntRange(3, 7).Draw(t, "csid")),
				typ:       typeVideo,
				streamID:  uint32(rapid.IntRange(0, 1).Draw(t, "stream")),
				timestamp: ts,
				body:      bytes.Repeat([]byte{byte(ts)}, rapid.SampledFrom([]int{0, 1, size - 1, size, size + 1, 3 * size}).Draw(t, "length")),
			}
			want = append(want, m)
			if err := w.write(m.csid, m.typ, m.streamID, m.timestamp, m.body); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
		r := reader(buf.Bytes())
		r.trusted, r.size = true, uint32(size)
		got, err := readAll(r)
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, messageOptions); d != "" {
			t.Fatal(d)
		}
		if r.partial != 0 {
			t.Fatalf("%d bytes are counted as partial at the end", r.partial)
		}
	})
}

// head writes a message header of type 0.
func head(csid byte, ts, length uint32, typ byte) []byte {
	b := put24([]byte{csid}, ts)
	b = put24(b, length)
	return append(b, typ, 1, 0, 0, 0)
}

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestChunkHeaders(t *testing.T) {
	long := bytes.Repeat([]byte{7}, 200)
	ext := []byte{1, 0, 0, 5}
	for _, tt := range []struct {
		name string
		in   []byte
		want []message
		err  string
	}{
		{"two-byte chunk stream id", cat([]byte{0, 10}, head(0, 9, 1, 8)[1:], []byte{5}),
			[]message{{csid: 74, typ: 8, streamID: 1, timestamp: 9, body: []byte{5}}}, ""},
		{"three-byte chunk stream id", cat([]byte{1, 10, 2}, head(0, 9, 1, 8)[1:], []byte{5}),
			[]message{{csid: 64 + 10 + 512, typ: 8, streamID: 1, timestamp: 9, body: []byte{5}}}, ""},
		{"interleaved", cat(head(4, 1, 200, 9), long[:128], head(5, 2, 1, 8), []byte{6}, []byte{0xc4}, long[128:]),
			[]message{{csid: 5, typ: 8, streamID: 1, timestamp: 2, body: []byte{6}}, {csid: 4, typ: 9, streamID: 1, timestamp: 1, body: long}}, ""},
		{"extended timestamp, repeated", cat(head(4, extended24, 200, 9), ext, long[:128], []byte{0xc4}, ext, long[128:]),
			[]message{{csid: 4, typ: 9, streamID: 1, timestamp: 1<<24 + 5, body: long}}, ""},
		{"extended timestamp, not repeated", cat(head(4, extended24, 200, 9), ext, long[:128], []byte{0xc4}, long[128:]),
			[]message{{csid: 4, typ: 9, streamID: 1, timestamp: 1<<24 + 5, body: long}}, ""},
		{"extended timestamp, repeated with 31 bits", cat(head(4, extended24, 200, 9), []byte{0x81, 0, 0, 5}, long[:128], []byte{0xc4}, ext, long[128:]),
			[]message{{csid: 4, typ: 9, streamID: 1, timestamp: 1<<31 + 1<<24 + 5, body: long}}, ""},
		{"extended timestamp, not repeated, one byte left", cat(head(4, extended24, 129, 9), ext, long[:128], []byte{0xc4}, long[:1]),
			[]message{{csid: 4, typ: 9, streamID: 1, timestamp: 1<<24 + 5, body: long[:129]}}, ""},
		{"delta repeated", cat(head(4, 1000, 1, 8), []byte{1}, []byte{0x84, 0, 0, 20}, []byte{2}, []byte{0xc4}, []byte{3}),
			[]message{{csid: 4, typ: 8, streamID: 1, timestamp: 1000, body: []byte{1}}, {csid: 4, typ: 8, streamID: 1, timestamp: 1020, body: []byte{2}},
				{csid: 4, typ: 8, streamID: 1, timestamp: 1040, body: []byte{3}}}, ""},
		{"small absolute time repeated as delta", cat(head(4, 23, 1, 8), []byte{1}, []byte{0xc4}, []byte{2}),
			[]message{{csid: 4, typ: 8, streamID: 1, timestamp: 23, body: []byte{1}}, {csid: 4, typ: 8, streamID: 1, timestamp: 46, body: []byte{2}}}, ""},
		{"large absolute time is no delta", cat(head(4, 100000, 1, 8), []byte{1}, []byte{0xc4}, []byte{2}),
			[]message{{csid: 4, typ: 8, streamID: 1, timestamp: 100000, body: []byte{1}}, {csid: 4, typ: 8, streamID: 1, timestamp: 100000, body: []byte{2}}}, ""},
		{"begins with type 1", cat([]byte{0x44, 0, 0, 7, 0, 0, 1, 20, 9}),
			[]message{{csid: 4, typ: 20, timestamp: 7, body: []byte{9}}}, ""},
		{"begins with type 2", []byte{0x84, 0, 0, 7}, nil, "without a message length"},
		{"begins with type 3", []byte{0xc4}, nil, "without a header"},
		{"message inside a message", cat(head(4, 0, 200, 9), long[:128], head(4, 0, 1, 9)), nil, "inside another"},
		{"no bytes", cat(head(4, 3, 0, 8)), []message{{csid: 4, typ: 8, streamID: 1, timestamp: 3}}, ""},
		{"ends in a header", []byte{4, 0}, nil, "unexpected EOF"},
		{"ends in a payload", cat(head(4, 0, 9, 8), []byte{1}), nil, "unexpected EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readAll(reader(tt.in))
			if tt.err == "" && !errors.Is(err, io.EOF) || tt.err != "" && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("the error is %v, want %q", err, tt.err)
			}
			if d := cmp.Diff(tt.want, got, messageOptions); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestAbortDropsThePartialMessage(t *testing.T) {
	r := reader(cat(head(4, 0, 200, 9), make([]byte, 128), head(5, 0, 1, 8), []byte{1}, head(4, 7, 1, 9), []byte{2}))
	if m, err := r.read(); err != nil || m.csid != 5 {
		t.Fatal(m, err)
	}
	r.abort(4)
	if r.partial != 0 {
		t.Errorf("%d bytes are still counted", r.partial)
	}
	if m, err := r.read(); err != nil || m.timestamp != 7 {
		t.Fatal(m, err)
	}
}

func TestUnfinishedMessagesAreBoundedTogether(t *testing.T) {
	var in []byte
	for csid := byte(3); csid < 8; csid++ {
		in = append(in, head(csid, 0, 5<<20, 9)...)
		in = append(in, make([]byte, 5<<20-1)...)
	}
	r := reader(in)
	r.trusted, r.size = true, 5<<20-1
	_, err := r.read()
	if !fault.Is(err, fault.TooLarge) || !strings.Contains(err.Error(), "unfinished") {
		t.Errorf("five messages of 5 MiB: %v", err)
	}
}
