package recordtest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Server is a real S3 server on this machine with one bucket, which can be stopped and
// started again at the same address. It is versitygw, which make builds as a test tool.
type Server struct {
	// Endpoint is the server's address, and the others what it asks for.
	Endpoint, Bucket, AccessKey, SecretKey string

	t        testing.TB
	tool     string
	dir      string
	front    net.Listener
	mu       sync.Mutex
	running  *exec.Cmd
	requests map[net.Conn]struct{}
	wg       sync.WaitGroup
}

// startTime is how long the server may take to start.
const startTime = 20 * time.Second

// NewServer starts a server with an empty bucket, which the test's end stops. Without the
// tool the test is skipped, or fails where CI is set.
func NewServer(t testing.TB) *Server {
	t.Helper()
	tool, err := findTool("versitygw")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("there is no S3 server to test with: make .cache/bin/versitygw")
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		Bucket: "recordings", AccessKey: "test-access", SecretKey: "test-secret",
		t: t, tool: tool, dir: t.TempDir(), requests: map[net.Conn]struct{}{},
	}
	for _, name := range []string{"data/" + s.Bucket, "meta"} {
		if err := os.MkdirAll(filepath.Join(s.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// The server listens on a socket in the file system, and what is here forwards to it: so
	// there is no port that another program could take meanwhile.
	if s.front, err = new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	s.Endpoint = "http://" + s.front.Addr().String()
	s.wg.Go(s.accept)
	t.Cleanup(s.close)
	s.Start()
	return s
}

func (s *Server) close() {
	s.Stop()
	_ = s.front.Close() // the test is over
	s.wg.Wait()
}

// findTool finds a program that make built.
func findTool(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		tool := filepath.Join(dir, ".cache", "bin", name)
		if _, err := os.Stat(tool); err == nil {
			return tool, nil
		}
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil || dir == filepath.Dir(dir) {
			return "", errors.New(tool + " is missing: run make .cache/bin/" + name)
		}
	}
}

func (s *Server) socket() string { return filepath.Join(s.dir, "s3.sock") }

// Objects is the folder in which the server keeps what is in the bucket, each in a file.
func (s *Server) Objects() string { return filepath.Join(s.dir, "data", s.Bucket) }

// Start starts the server again and waits until it answers.
func (s *Server) Start() {
	s.t.Helper()
	_ = os.Remove(s.socket()) // of the one before
	cmd := exec.CommandContext(context.Background(), s.tool, "--port", s.socket(), "--quiet", "--access", s.AccessKey, "--secret", s.SecretKey,
		"posix", "--sidecar", filepath.Join(s.dir, "meta"), filepath.Join(s.dir, "data"))
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	s.running = cmd
	s.mu.Unlock()
	for deadline := time.Now().Add(startTime); ; {
		c, err := new(net.Dialer).DialContext(context.Background(), "unix", s.socket())
		if err == nil {
			_ = c.Close() // it was only to see
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the S3 server does not answer: %v", err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// Stop kills the server, and breaks the requests that are on their way.
func (s *Server) Stop() {
	s.mu.Lock()
	cmd := s.running
	s.running = nil
	for c := range s.requests {
		_ = c.Close() // that is the purpose
	}
	s.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // it was killed
	}
}

// accept forwards connections.
func (s *Server) accept() {
	for {
		c, err := s.front.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() { s.forward(c) })
	}
}

func (s *Server) forward(c net.Conn) {
	defer c.Close()
	s.mu.Lock()
	up := s.running != nil
	s.requests[c] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.requests, c)
		s.mu.Unlock()
	}()
	if !up {
		return
	}
	back, err := new(net.Dialer).DialContext(context.Background(), "unix", s.socket())
	if err != nil {
		return
	}
	defer back.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(back, c) // ends with either
		_ = back.Close()        // so that the other direction ends
	}()
	_, _ = io.Copy(c, back) // ends with either
	_ = c.Close()           // so that the other direction ends
	<-done
}
