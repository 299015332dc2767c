package ffmpeg

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// maxLine is the longest line of a child's that is kept, in bytes.
	maxLine = 512
	// maxLines is how many of its last warnings and errors are kept.
	maxLines = 16
	// maxSaid is how much a child may say in a second, in bytes. A child that says more
	// waits, and is taken for one that stands still when it does not stop.
	maxSaid = 256 << 10
)

// message is a line that ffmpeg wrote.
type message struct {
	level string // "warning", "error", "fatal" or "panic"
	part  string // of ffmpeg, such as "libx264"; may be empty
	text  string
}

// messages reads what a child says.
type messages struct {
	r    *os.File
	done chan struct{} // closed by close
	over chan struct{} // closed when read has returned
	once sync.Once

	mu    sync.Mutex
	lines []message // the last maxLines
	count map[string]int64
}

func newMessages(r *os.File) *messages {
	return &messages{r: r, done: make(chan struct{}), over: make(chan struct{}), count: map[string]int64{}}
}

// close ends read, once what the child said last has been taken, and waits for it.
func (m *messages) close() {
	m.once.Do(func() {
		// It is at the end already, unless something else holds the other end.
		_ = m.r.SetReadDeadline(time.Now().Add(lastWords))
		close(m.done)
	})
	<-m.over
}

// lastWords is how long is read on after a child is gone.
const lastWords = 200 * time.Millisecond

// read takes lines until the end.
func (m *messages) read() {
	defer close(m.over)
	defer m.r.Close()
	buf := make([]byte, 32<<10)
	var line []byte
	room, since := maxSaid, time.Now()
	for {
		n, err := m.r.Read(buf)
		for rest := buf[:n]; len(rest) > 0; {
			part, after, ended := bytes.Cut(rest, []byte{'\n'})
			// The rest of a line that is too long is left out.
			line = append(line, part[:min(len(part), maxLine-len(line))]...)
			if rest = after; ended {
				m.take(string(line))
				line = line[:0]
			}
		}
		if err != nil {
			m.take(string(line))
			return
		}
		if room -= n; room > 0 {
			continue
		}
		select {
		case <-time.After(time.Until(since.Add(time.Second))):
		case <-m.done:
		}
		room, since = maxSaid, time.Now()
	}
}

// take keeps a line, such as "[libx264 @ 0x55d0] [error] text".
func (m *messages) take(line string) {
	p := parseMessage(line)
	if p.text == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count[p.level]++
	if len(m.lines) == maxLines {
		m.lines = append(m.lines[:0], m.lines[1:]...)
	}
	m.lines = append(m.lines, p)
}

func parseMessage(line string) message {
	line = strings.TrimSpace(strings.ToValidUTF8(line, ""))
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, line)
	p := message{level: "other", text: line}
	for range 3 { // part, perhaps its parent, level
		in, rest, ok := strings.Cut(p.text, "] ")
		if !ok || !strings.HasPrefix(in, "[") {
			break
		}
		in = in[1:]
		p.text = strings.TrimSpace(rest)
		switch in {
		case "warning", "error", "fatal", "panic":
			p.level = in
			return p
		}
		if name, _, ok := strings.Cut(in, " @ "); ok {
			p.part = name
		}
	}
	return p
}

// counted returns how many lines there were of each level.
func (m *messages) counted() map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[string]int64, len(m.count))
	for k, v := range m.count {
		out[k] = v
	}
	return out
}

// reason is the first of the kept errors: those that follow are its consequences. It is
// the last line of any kind where there is no error, and may be empty.
func (m *messages) reason() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.lines {
		if p.level == "error" || p.level == "fatal" || p.level == "panic" {
			if p.part != "" {
				return p.part + ": " + p.text
			}
			return p.text
		}
	}
	if len(m.lines) > 0 {
		return m.lines[len(m.lines)-1].text
	}
	return ""
}

// says tells whether one of these was said lately.
func (m *messages) says(texts ...string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.lines {
		for _, t := range texts {
			if strings.Contains(p.text, t) {
				return true
			}
		}
	}
	return false
}
