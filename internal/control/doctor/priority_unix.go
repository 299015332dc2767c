//go:build unix

package doctor

import "syscall"

// lowerPriority lets everything else go first. That it failed does not matter.
func lowerPriority(pid int) {
	const nice = 10
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, pid, nice); err != nil {
		return
	}
}
