//go:build unix

package steer

import (
	"runtime"
	"syscall"
	"time"
)

// newMeter returns a function that tells which share of the cores that it may use this
// process kept busy since it was called last. Other processes are left out: encoders have
// a lower priority and a budget of their own, and sending viewers elsewhere does not help
// against what is not onair.
func newMeter() func() (float64, bool) {
	var last time.Duration
	var at time.Time
	return func() (float64, bool) {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			return 0, false
		}
		now, used := time.Now(), time.Duration(u.Utime.Nano()+u.Stime.Nano())
		wall, spent := now.Sub(at), used-last
		first := at.IsZero()
		at, last = now, used
		if first || wall <= 0 {
			return 0, false
		}
		return min(1, spent.Seconds()/wall.Seconds()/float64(runtime.GOMAXPROCS(0))), true
	}
}
