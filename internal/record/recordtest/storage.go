// Package recordtest holds the tests that every storage of recordings passes.
package recordtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"onair/internal/fault"
	"onair/internal/record"
)

// Storage runs the tests on storages that open returns: each an empty one, which the tests do
// not close.
func Storage(t *testing.T, open func(t *testing.T) record.Storage) {
	tests := map[string]func(*testing.T, record.Storage){
		"what is put can be read":   testPut,
		"ranges":                    testRanges,
		"names":                     testNames,
		"list":                      testList,
		"delete":                    testDelete,
		"replaced as a whole":       testReplace,
		"an ended context":          testContext,
		"many at the same time":     testConcurrent,
		"nothing that is not there": testAbsent,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func put(t *testing.T, s record.Storage, name string, chunks ...string) {
	t.Helper()
	var list [][]byte
	for _, c := range chunks {
		list = append(list, []byte(c))
	}
	if err := s.Put(t.Context(), name, list); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s record.Storage, name string, offset, length int64) string {
	t.Helper()
	r, err := s.Open(t.Context(), name, offset, length)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func list(t *testing.T, s record.Storage, prefix string) string {
	t.Helper()
	objects, err := s.List(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, o := range objects {
		out = append(out, fmt.Sprintf("%s:%d", o.Name, o.Size))
	}
	return strings.Join(out, " ")
}

func testPut(t *testing.T, s record.Storage) {
	put(t, s, "as_1/v0/s1.m4s", "ab", "", "cde")
	put(t, s, "as_1/v0/empty.m4s")
	big := strings.Repeat("0123456789abcdef", 1<<16)
	put(t, s, "as_1/v0/big.m4s", big, big)
	for name, want := range map[string]string{"s1.m4s": "abcde", "empty.m4s": "", "big.m4s": big + big} {
		if got := get(t, s, "as_1/v0/"+name, 0, -1); got != want {
			t.Errorf("%s: %d bytes, want %d", name, len(got), len(want))
		}
	}
}

func testRanges(t *testing.T, s record.Storage) {
	put(t, s, "a/b", "01234", "56789")
	for _, c := range []struct {
		offset, length int64
		want           string
	}{
		{0, -1, "0123456789"}, {3, -1, "3456789"}, {3, 4, "3456"}, {0, 0, ""}, {5, 0, ""}, {9, 1, "9"}, {8, 5, "89"}, {0, 10, "0123456789"},
	} {
		if got := get(t, s, "a/b", c.offset, c.length); got != c.want {
			t.Errorf("from %d, %d bytes: %q, want %q", c.offset, c.length, got, c.want)
		}
	}
}

func testNames(t *testing.T, s record.Storage) {
	for _, name := range []string{
		"", "/", "/a", "a/", "a//b", "..", "a/../b", "./a", ".a", "a/.b", "a b", "a\\b", "a\x00b", "ä", strings.Repeat("a", 600),
	} {
		if err := s.Put(t.Context(), name, nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("put %q: %v", name, err)
		}
		if _, err := s.Open(t.Context(), name, 0, -1); !fault.Is(err, fault.Invalid) {
			t.Errorf("open %q: %v", name, err)
		}
		if err := s.Delete(t.Context(), name); !fault.Is(err, fault.Invalid) {
			t.Errorf("delete %q: %v", name, err)
		}
		if name == "" {
			continue
		}
		if _, err := s.List(t.Context(), name); !fault.Is(err, fault.Invalid) {
			t.Errorf("list %q: %v", name, err)
		}
	}
	if got := list(t, s, ""); got != "" {
		t.Errorf("there is %q", got)
	}
}

func testList(t *testing.T, s record.Storage) {
	for _, name := range []string{"as_2/v0/b.m4s", "as_1/v0/b.m4s", "as_1/v0/a.m4s", "as_10/v0/a.m4s", "as_1/a0/c.m4s"} {
		put(t, s, name, name)
	}
	for prefix, want := range map[string]string{
		"":              "as_1/a0/c.m4s:13 as_1/v0/a.m4s:13 as_1/v0/b.m4s:13 as_10/v0/a.m4s:14 as_2/v0/b.m4s:13",
		"as_1":          "as_1/a0/c.m4s:13 as_1/v0/a.m4s:13 as_1/v0/b.m4s:13",
		"as_1/v0":       "as_1/v0/a.m4s:13 as_1/v0/b.m4s:13",
		"as_1/v0/a.m4s": "as_1/v0/a.m4s:13",
		"as":            "",
		"as_1/v":        "",
	} {
		if got := list(t, s, prefix); got != want {
			t.Errorf("%q: %q, want %q", prefix, got, want)
		}
	}
}

func testDelete(t *testing.T, s record.Storage) {
	for _, name := range []string{"as_1/v0/a.m4s", "as_1/v0/b.m4s", "as_1/a0/a.m4s", "as_10/v0/a.m4s"} {
		put(t, s, name, "x")
	}
	for _, step := range []struct{ prefix, left string }{
		{"as_1/v0/a.m4s", "as_1/a0/a.m4s:1 as_1/v0/b.m4s:1 as_10/v0/a.m4s:1"},
		{"as_1/v", "as_1/a0/a.m4s:1 as_1/v0/b.m4s:1 as_10/v0/a.m4s:1"},
		{"as_1", "as_10/v0/a.m4s:1"},
		{"as_1", "as_10/v0/a.m4s:1"},
	} {
		if err := s.Delete(t.Context(), step.prefix); err != nil {
			t.Fatal(err)
		}
		if got := list(t, s, ""); got != step.left {
			t.Errorf("after %q: %q, want %q", step.prefix, got, step.left)
		}
	}
	put(t, s, "as_1/v0/a.m4s", "again")
	if got := get(t, s, "as_1/v0/a.m4s", 0, -1); got != "again" {
		t.Errorf("%q", got)
	}
}

// A reader that has an object open sees one or the other, and never a part.
func testReplace(t *testing.T, s record.Storage) {
	contents := [2]string{strings.Repeat("a", 300_000), strings.Repeat("b", 200_000)}
	put(t, s, "a/b", contents[0])
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 20 {
			if err := s.Put(context.Background(), "a/b", [][]byte{[]byte(contents[(i+1)%2])}); err != nil {
				t.Error(err)
			}
		}
	})
	for range 50 {
		if got := get(t, s, "a/b", 0, -1); got != contents[0] && got != contents[1] {
			t.Errorf("%d bytes that begin with %.1q", len(got), got)
		}
	}
	wg.Wait()
	if got := list(t, s, ""); got != "a/b:300000" {
		t.Error(got)
	}
}

func testContext(t *testing.T, s record.Storage) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Put(ctx, "a/b", [][]byte{[]byte("x")}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got := list(t, s, ""); got != "" {
		t.Errorf("there is %q", got)
	}
	if _, err := s.List(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func testConcurrent(t *testing.T, s record.Storage) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := range 8 {
				name := fmt.Sprintf("as_%d/v0/s%d.m4s", i, n)
				if err := s.Put(t.Context(), name, [][]byte{bytes.Repeat([]byte(name), 100)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i := range 16 {
		for n := range 8 {
			name := fmt.Sprintf("as_%d/v0/s%d.m4s", i, n)
			if get(t, s, name, 0, -1) != strings.Repeat(name, 100) {
				t.Errorf("%s is another", name)
			}
		}
	}
}

func testAbsent(t *testing.T, s record.Storage) {
	put(t, s, "a/b/c", "x")
	for _, name := range []string{"x", "a", "a/b", "a/b/d", "x/y"} {
		if r, err := s.Open(t.Context(), name, 0, -1); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %v %v", name, r, err)
		}
	}
}
