package ffmpeg

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"sync"
	"time"

	"onair/internal/fault"
)

// inherited are the settings of the server's environment that a child gets: where
// programs, libraries and drivers of circuits are. Anything else may be a secret.
var inherited = [...]string{
	"PATH", "LD_LIBRARY_PATH", "LIBVA_DRIVER_NAME", "LIBVA_DRIVERS_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES",
}

// environment is a child's. Without a bound on its arenas the C library reserves address
// space for each core.
func environment() []string {
	env := []string{"MALLOC_ARENA_MAX=4", "LC_ALL=C"}
	for _, name := range inherited {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// identity finds a user.
func identity(name string) (uid, gid int, ok bool) {
	if name == "" {
		return 0, 0, false
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, false
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	return uid, gid, err1 == nil && err2 == nil
}

// child is one running ffmpeg. Its output i is its file 3+i, its input file 0.
type child struct {
	cmd  *exec.Cmd
	in   *os.File
	outs []*os.File
	said *messages

	wait   sync.WaitGroup
	exited chan struct{} // closed when it is gone and reaped
	exit   error         // of Wait, behind exited
}

// firstOutput is the number of the file that a child's first output is.
const firstOutput = 3

// start starts ffmpeg with arguments and that many outputs. Who calls it ends the child by
// kill or by closing its input, and calls release.
func (t *Tool) start(args []string, outputs int, hardware bool) (*child, error) {
	c, err := startChild(t.path, t.box, t.cfg, args, outputs, hardware)
	if err != nil {
		t.metrics.ends.WithLabelValues("not_started").Inc()
		return nil, fault.Wrap(fault.Unavailable, "start", "ffmpeg", fmt.Errorf("%w: %w", ErrDied, err), "See that "+t.path+" can be run, and that there is memory for it.")
	}
	t.metrics.starts.Inc()
	t.metrics.running.Inc()
	return c, nil
}

func startChild(path string, box sandbox, cfg Config, args []string, outputs int, hardware bool) (*child, error) {
	cmd := exec.CommandContext(context.Background(), path, args...)
	cmd.Env = environment()
	cmd.Dir = string(os.PathSeparator)
	box.confine(cmd, hardware)
	c := &child{cmd: cmd, exited: make(chan struct{})}
	var theirs, ours []*os.File
	ok := false
	defer func() {
		closeAll(theirs)
		if !ok {
			closeAll(ours)
		}
	}()
	pipe := func(write bool) (mine, their *os.File, err error) {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, nil, err
		}
		if mine, their = r, w; write {
			mine, their = w, r
		}
		ours, theirs = append(ours, mine), append(theirs, their)
		return mine, their, nil
	}
	in, theirIn, err := pipe(true)
	if err != nil {
		return nil, err
	}
	said, theirSaid, err := pipe(false)
	if err != nil {
		return nil, err
	}
	for range outputs {
		out, theirOut, err := pipe(false)
		if err != nil {
			return nil, err
		}
		c.outs = append(c.outs, out)
		cmd.ExtraFiles = append(cmd.ExtraFiles, theirOut)
	}
	cmd.Stdin, cmd.Stderr = theirIn, theirSaid
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ok = true
	_ = limit(cmd.Process.Pid, cfg, hardware) // Find has said so once
	c.in, c.said = in, newMessages(said)
	c.wait.Go(c.said.read)
	c.wait.Go(func() {
		c.exit = cmd.Wait()
		close(c.exited)
	})
	return c, nil
}

// stopFeeding closes the child's input: it finishes what it has and ends.
func (c *child) stopFeeding() { c.in.Close() }

// stopReading closes our ends of its outputs.
func (c *child) stopReading() { closeAll(c.outs) }

// stop ends it at once.
func (c *child) stop() {
	select {
	case <-c.exited: // its number may be somebody else's by now
	default:
		kill(c.cmd)
	}
}

// used is the processor time of a child that has exited.
func (c *child) used() time.Duration {
	if c.cmd.ProcessState == nil {
		return 0
	}
	return c.cmd.ProcessState.UserTime() + c.cmd.ProcessState.SystemTime()
}

// release waits for the child and lets go of everything.
func (t *Tool) release(c *child) {
	<-c.exited
	c.stopFeeding()
	c.stopReading()
	c.said.close()
	c.wait.Wait()
	t.metrics.running.Dec()
	t.metrics.cpu.Add(c.used().Seconds())
	for level, n := range c.said.counted() {
		t.metrics.messages.WithLabelValues(level).Add(float64(n))
	}
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// bounded reads all of r, and fails when it is more than limit.
func bounded(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fault.New(fault.TooLarge, "read", "what ffmpeg wrote", "it is more than "+strconv.FormatInt(limit, 10)+" bytes", "")
	}
	return b, err
}
