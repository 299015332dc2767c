package hls

import (
	"strings"
	"testing"
	"time"

	"onair/internal/deliver/reply"
)

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"/hls/a/index.m3u8", child + "v0/index.m3u8", "/hls//", "/hls/a/b/c", "/hls/a/b/c/d/e", "/hls/\x00/index.m3u8", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, ok := parsePath(path)
		if !ok {
			return
		}
		back := prefix + got.id + "/" + playlistName
		if got.session != "" {
			back = prefix + got.id + "/" + got.session + "/" + got.rendition + "/" + got.file
		}
		if back != path {
			t.Errorf("%q was read as %+v", path, got)
		}
	})
}

func FuzzParseDirectives(f *testing.F) {
	for _, s := range []string{"", "_HLS_msn=5&_HLS_part=2&_HLS_skip=YES", "_HLS_part=1", "_HLS_msn=-1", "a&b=&=c&_HLS_msn", "_HLS_msn=1&_HLS_msn=2", "_HLS_msn=99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		d, ok := parseDirectives(query)
		if ok && (d.sequence < -1 || d.part < -1 || d.part >= 0 && d.sequence < 0) {
			t.Errorf("%q was read as %+v", query, d)
		}
		if ok && d.sequence >= 0 && !strings.Contains(query, "_HLS_msn=") {
			t.Errorf("%q has no _HLS_msn", query)
		}
	})
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"bytes=0-", "bytes=-5", "bytes=-0", "bytes=5-4", "bytes=0-1,2-3", "bytes=9223372036854775808-", "bytes= 1-2", "x"} {
		f.Add(s, int64(1000))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		start, length, whole, ok := reply.ParseRange(header, size)
		switch {
		case whole:
			if start != 0 || length != size {
				t.Errorf("%q of %d: whole is %d+%d", header, size, start, length)
			}
		case ok && (start < 0 || length <= 0 || start > size-length):
			t.Errorf("%q of %d: %d+%d", header, size, start, length)
		}
	})
}

// The parsers of what viewers send, with inputs made to cost much.
func TestBombs(t *testing.T) {
	long := strings.Repeat("9", 1<<20)
	begin := time.Now()
	allocs := testing.AllocsPerRun(5, func() {
		parsePath("/hls/" + "a/" + "b/c/d")
		parseDirectives("_HLS_msn=5&_HLS_part=3&_HLS_skip=YES")
		reply.ParseRange("bytes=5-", 100)
		reply.AcceptsGzip("gzip, deflate, br")
	})
	if allocs != 0 {
		t.Errorf("parsing allocates %v times", allocs)
	}
	for name, query := range map[string]string{
		"digits": "_HLS_msn=" + long, "pairs": strings.Repeat("&", 1<<20), "names": long, "repeated": strings.Repeat("_HLS_msn=1&", 1<<16),
	} {
		if _, ok := parseDirectives(query); ok && name == "digits" {
			t.Errorf("%s were read", name)
		}
	}
	parsePath("/hls/" + strings.Repeat("/", 1<<20))
	parsePath("/hls/" + long + "/index.m3u8")
	reply.ParseRange("bytes="+long+"-"+long, 5)
	reply.ParseRange("bytes="+strings.Repeat("0-0,", 1<<18), 5)
	reply.AcceptsGzip(strings.Repeat("br;q=0.5,", 1<<17))
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("bombs took %v", d)
	}
}
