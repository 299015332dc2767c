package ffmpeg

import (
	"os"
	"strings"
	"testing"
	"time"
)

// say lets somebody say something and returns what was understood.
func say(t *testing.T, text string) *messages {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	m := newMessages(r)
	done := make(chan struct{})
	go func() { defer close(done); m.read() }()
	if _, err := w.WriteString(text); err != nil {
		t.Fatal(err)
	}
	w.Close()
	<-done
	return m
}

func TestMessages(t *testing.T) {
	m := say(t, "[mov,mp4 @ 0x55] [warning] odd\n[libx264 @ 0x5] [error] broken\x1b[31m\n[error] Error while opening encoder\nplain\n")
	if got := m.reason(); got != "libx264: broken[31m" {
		t.Errorf("%q", got)
	}
	if !m.says("Error while opening") || m.says("nothing of the kind") {
		t.Error("what was said is not known")
	}
	if c := m.counted(); c["error"] != 2 || c["warning"] != 1 || c["other"] != 1 {
		t.Errorf("%v", c)
	}
	if got := say(t, "").reason(); got != "" {
		t.Errorf("%q", got)
	}
}

func TestMessagesAreBounded(t *testing.T) {
	m := say(t, strings.Repeat("x", 10*maxLine)+"\n"+strings.Repeat("[error] y\n", 4000))
	if len(m.lines) != maxLines || m.counted()["error"] != 4000 {
		t.Errorf("%d lines kept, counted %v", len(m.lines), m.counted())
	}
	if m := say(t, strings.Repeat("x", 10*maxLine)+"\nz"); len(m.lines[0].text) > maxLine || m.lines[1].text != "z" {
		t.Errorf("a line of %d bytes", len(m.lines[0].text))
	}
}

// TestMessagesThatNeverEnd are not waited for once the child is gone.
func TestMessagesThatNeverEnd(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() // what the child started holds it
	m := newMessages(r)
	go m.read()
	begin := time.Now()
	m.close()
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add("[libx264 @ 0x55d0] [error] text")
	f.Add("[a @ b] [c @ d] [warning] ] [")
	f.Add("[[[[ \xff\x00")
	f.Fuzz(func(t *testing.T, line string) {
		m := parseMessage(line)
		if strings.ContainsAny(m.text+m.part, "\n\r\x1b\x00") {
			t.Errorf("%q", m)
		}
	})
}

func TestStates(t *testing.T) {
	// Every state but the last has a way to the end that needs nobody's help.
	for s := starting; s < ended; s++ {
		if next, ok := s.next(eventExit); !ok || next.to != ended {
			t.Errorf("%v does not end when the child is gone", s)
		}
	}
	for from, events := range transitions {
		for e, next := range events {
			if next.to < from {
				t.Errorf("%v goes back to %v on %d", from, next.to, e)
			}
		}
	}
	for _, s := range []state{draining, stopping, cut} {
		if _, ok := s.next(eventDeadline); !ok {
			t.Errorf("%v may last for ever", s)
		}
	}
	if _, ok := killed.next(eventStop); ok {
		t.Error("a killed child is stopped again")
	}
}
