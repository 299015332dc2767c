package ffmpeg

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxFiles is how many files a child may have open: its pipes, and one library after
	// the other while it starts. Devices of circuits want more.
	maxFiles         = 64
	maxFilesHardware = 1024
	// processorGrace is how much processor time each core may give to a child that nobody
	// watches any more.
	processorGrace = 60
)

// sandbox is what of its surroundings is taken from a child.
type sandbox struct {
	uid, gid int  // 0: those of the server
	user     bool // runs as uid and gid
	network  bool // has no network
	// names is set if it has a name space of users: that permits us the rest where we are
	// not root, and to bound what has another user where we are, but may not bound others.
	names bool
}

// sandboxes lists what can be tried for a server of that user, the strictest first.
func sandboxes(cfg Config) []sandbox {
	if os.Geteuid() != 0 {
		return []sandbox{{network: true, names: true}, {}}
	}
	uid, gid, ok := identity(cfg.User)
	if !ok {
		return []sandbox{{network: true}, {}}
	}
	return []sandbox{
		{uid: uid, gid: gid, user: true, network: true, names: true},
		{uid: uid, gid: gid, user: true, network: true}, {uid: uid, gid: gid, user: true},
		{network: true}, {},
	}
}

// confine prepares a command. It gets a process group, so that what it starts ends with
// it, and dies with the server.
func (s sandbox) confine(cmd *exec.Cmd, hardware bool) {
	a := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if s.user {
		a.Credential = &syscall.Credential{Uid: uint32(s.uid), Gid: uint32(s.gid), Groups: []uint32{}}
		if hardware {
			a.Credential.Groups = deviceGroups()
		}
	}
	if s.network {
		a.Cloneflags = syscall.CLONE_NEWNET
	}
	// The groups of devices do not exist in a name space of one user.
	if s.names && !(hardware && s.user) {
		uid, gid := os.Geteuid(), os.Getegid()
		if s.user {
			uid, gid = s.uid, s.gid
			a.GidMappingsEnableSetgroups = true
		}
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
	}
	cmd.SysProcAttr = a
}

// deviceGroups are the groups that the files of encoding circuits belong to.
func deviceGroups() []uint32 {
	seen := map[uint32]bool{}
	groups := []uint32{}
	for _, pattern := range []string{"/dev/dri/renderD*", "/dev/video*", "/dev/nvidia*", "/dev/dma_heap/*"} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			var st syscall.Stat_t
			if syscall.Stat(name, &st) == nil && st.Gid != 0 && !seen[st.Gid] {
				seen[st.Gid] = true
				groups = append(groups, st.Gid)
			}
		}
	}
	return groups
}

// limit bounds a child that has just started. The error is that of the first limit that
// the system does not set; the others stand.
func limit(pid int, cfg Config, hardware bool) error {
	var failed error
	set := func(what int, n uint64) {
		if err := unix.Prlimit(pid, what, &unix.Rlimit{Cur: n, Max: n}, nil); err != nil && failed == nil {
			failed = fmt.Errorf("the limits of a process: %w", err)
		}
	}
	files := uint64(maxFilesHardware)
	if !hardware {
		files = maxFiles
		set(unix.RLIMIT_AS, uint64(cfg.MaxMemory))
	}
	set(unix.RLIMIT_NOFILE, files)
	set(unix.RLIMIT_FSIZE, 0)
	set(unix.RLIMIT_CORE, 0)
	allow(pid, 0)
	_ = unix.Setpriority(unix.PRIO_PROCESS, pid, cfg.Nice)
	return failed
}

// allow lets a child use some processor time beyond what it has used. Who watches it calls
// it again and again.
func allow(pid int, used time.Duration) {
	n := uint64(used/time.Second) + processorGrace*uint64(runtime.NumCPU())
	_ = unix.Prlimit(pid, unix.RLIMIT_CPU, &unix.Rlimit{Cur: n, Max: unix.RLIM_INFINITY}, nil)
}

// kill ends a child and everything that it started.
func kill(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
}

// usage returns the processor time and the memory of a running child; ok is false where
// that is not known.
func usage(pid int) (cpu time.Duration, resident int64, ok bool) {
	const ticks = 100 // USER_HZ is 100 on every architecture that Go runs on
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, false
	}
	// The name, in brackets, may hold anything; the fields are counted behind it.
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 22 {
		return 0, 0, false
	}
	number := func(b []byte) int64 { n, _ := strconv.ParseInt(string(b), 10, 64); return n }
	cpu = time.Duration(number(f[11])+number(f[12])) * time.Second / ticks
	return cpu, number(f[21]) * int64(os.Getpagesize()), true
}
