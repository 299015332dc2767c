package doctor

import "time"

// entry is a row of the catalogue: when a finding is raised, and what people read of it.
type entry struct {
	code     string
	severity Severity
	// raise and clear are how long the condition must hold, and be over.
	raise, clear time.Duration
	// check answers for one publisher; nil for what is found out when somebody asks.
	check func(e *exam) verdict
	// always is set for rules that need no publisher.
	always bool

	// meaning says what it is and why it matters, when gives the threshold in words,
	// evidence names the numbers. They are docs/doctor.md, with the fix.
	meaning, when, evidence string
	fix                     Fix
}

// catalogue returns the table of findings, in the order in which equally severe ones
// are told. Codes are stable: they are in the API, in events and in people's scripts.
func catalogue() []entry {
	var all []entry
	all = append(all, arrivalEntries()...)
	all = append(all, pictureEntries()...)
	all = append(all, formatEntries()...)
	all = append(all, soundEntries()...)
	all = append(all, clockEntries()...)
	all = append(all, encodingEntries()...)
	return append(all, recordingEntries()...)
}

// notYet are codes of the catalogue that nothing raises yet, with what they wait for.
func notYet() [][2]string {
	return [][2]string{
		{"encoder_overload", "the browser's own report (the studio page)"},
		{"source_higher_than_ladder", "a ladder that leaves the source out"},
		{"viewers_bandwidth_short", "viewers' statistics"},
		{"viewers_rebuffering, viewers_errors, viewers_startup_slow", "viewers' statistics"},
		{"key_rotated, takeover_refused", "rotation with overlap and takeover policies"},
		{"disk_low, object_store_failing, cert_expiring, clock_unsynced", "the platform's checks"},
	}
}
