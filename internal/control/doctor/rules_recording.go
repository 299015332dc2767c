package doctor

import (
	"time"
)

// stopped is why and since when a broadcast is not recorded that should be; its zero value
// says that it is, or need not be.
type stopped struct {
	at                  time.Time
	asset, code, reason string
}

// stopped takes note that a broadcast is not recorded.
func (d *Doctor) stopped(streamID string, why stopped) {
	if s := d.find(streamID); s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stopped = why
	}
}

// recorded takes note that an asset goes on, or is complete: clips have events, too.
func (d *Doctor) recorded(streamID, asset string) {
	if s := d.find(streamID); s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.stopped.asset == asset {
			s.stopped = stopped{}
		}
	}
}

// forgetRecordings drops what is known of recordings, as forgetRenditions does.
func (d *Doctor) forgetRecordings() {
	for _, s := range d.all() {
		s.mu.Lock()
		s.stopped = stopped{}
		s.mu.Unlock()
	}
}

// recordingEntries are about what the server keeps of a stream.
func recordingEntries() []entry {
	const fix = "Nothing is wrong with what is sent. For the operator: the reason says what is in the way; make room on the disk of the data folder, or see whether the bucket is there and its keys are valid. Who publishes can record locally meanwhile."
	return []entry{{
		code: "recording_stopped", severity: Critical, raise: 0, clear: 0, check: checkRecording, always: true,
		meaning:  "The broadcast should be recorded and is not: the storage does not take it. Viewers notice nothing now; in the recording this time will be missing. The server tries again, and goes on in the same recording once the storage works.",
		when:     "a segment, or the index, could not be stored",
		evidence: "`seconds`, `code`, `reason`",
		fix:      Fix{OBS: fix, Browser: fix, FFmpeg: fix},
	}}
}

func checkRecording(e *exam) verdict {
	s := e.broadcast.stopped
	if s.at.IsZero() {
		return fine
	}
	ago := e.now.Sub(s.at)
	return verdict{is: yes, title: "The recording stopped " + spoken(ago) + " ago: " + s.reason, evidence: map[string]any{
		"seconds": round(ago.Seconds(), 0), "code": s.code, "reason": s.reason,
	}}
}
