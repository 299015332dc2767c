package api

import (
	"time"

	"onair/internal/control/store"
	"onair/internal/fault"
)

// What dvr of a live stream can be.
const (
	dvrOff    = "off"
	dvrWhole  = "whole"
	dvrWindow = "window"
)

const (
	// minDVR and maxDVR bound dvr_window, in seconds. Less than a minute viewers have anyway.
	minDVR = 60
	maxDVR = 30 * 24 * 3600
	// maxDays and maxBytes bound the limits of a retention.
	maxDays  = 36_500
	maxBytes = 1 << 50
)

type (
	retentionLimits struct {
		Days  orNull[int]   `json:"days" doc:"An asset is removed so many days after it ended; null: none is."`
		Bytes orNull[int64] `json:"bytes" doc:"The oldest assets are removed while all of them take more; null: any amount is kept."`
	}
	retentionBody struct {
		Days  int   `json:"days,omitempty" minimum:"0" maximum:"36500" doc:"Assets are removed so many days after they ended; 0: never."`
		Bytes int64 `json:"bytes,omitempty" minimum:"0" maximum:"1125899906842624" doc:"The oldest assets are removed while all of the stream's take more; 0: any amount is kept."`
	}
	retentionPatch struct {
		Days  optional[int]   `json:"days" required:"false" minimum:"0" maximum:"36500" doc:"Null or 0: assets are kept for ever."`
		Bytes optional[int64] `json:"bytes" required:"false" minimum:"0" maximum:"1125899906842624" doc:"Null or 0: any amount is kept."`
	}
)

// dvrNames returns a stream's dvr and dvr_window.
func dvrNames(d time.Duration) (mode string, window orNull[int]) {
	switch {
	case d < 0:
		return dvrWhole, window
	case d > 0:
		return dvrWindow, some(int(d / time.Second))
	}
	return dvrOff, window
}

// dvrOf returns store.LiveStream.DVR as it is asked for; an empty mode and a nil window are
// not mentioned, and leave it as it was.
func dvrOf(op, mode string, window *int, was time.Duration) (time.Duration, error) {
	bad := func(field, cause, hint string) (time.Duration, error) {
		return 0, fault.New(fault.Invalid, op, field, cause, hint)
	}
	if mode == "" && window == nil {
		return was, nil
	}
	if window != nil && (*window < minDVR || *window > maxDVR) {
		return bad("dvr_window", "dvr_window is out of range", "Use 60 to 2592000 seconds, or dvr: whole.")
	}
	if mode == "" {
		mode, _ = dvrNames(was)
	}
	switch {
	case mode != dvrWindow && window != nil:
		return bad("dvr_window", "dvr_window is given, and dvr is "+mode, "Set dvr to window, or leave dvr_window out.")
	case mode == dvrOff:
		return 0, nil
	case mode == dvrWhole:
		return store.DVRWhole, nil
	case window != nil:
		return time.Duration(*window) * time.Second, nil
	case was > 0:
		return was, nil
	}
	return bad("dvr_window", "dvr is window, and dvr_window does not say how long it is", "Give dvr_window in seconds, or set dvr to whole.")
}

// checkRecording refuses what needs a recording where there is none, and limits that
// cannot be meant.
func checkRecording(op string, l store.LiveStream) error {
	if l.DVR != 0 && !l.Record {
		return fault.New(fault.Invalid, op, "dvr", "viewers can go back only in what is recorded, and record is false",
			"Set record to true, or dvr to off.")
	}
	if r := l.Retention; r.Days < 0 || r.Days > maxDays || r.Bytes < 0 || r.Bytes > maxBytes {
		return fault.New(fault.Invalid, op, "retention", "a limit is out of range", "Use up to 36500 days and 1 PiB; null or 0 is no limit.")
	}
	return nil
}

func retentionOf(r store.Retention) retentionLimits {
	return retentionLimits{unlessZero(r.Days), unlessZero(r.Bytes)}
}

func (b *retentionBody) apply(r *store.Retention) {
	if b != nil {
		*r = store.Retention{Days: b.Days, Bytes: b.Bytes}
	}
}

func (p *retentionPatch) apply(r *store.Retention) {
	p.Days.to(&r.Days, 0)
	p.Bytes.to(&r.Bytes, 0)
}

// applyDVR merges dvr and dvr_window of a patch into a stream.
func (p *patchBody) applyDVR(op string, l *store.LiveStream) (err error) {
	mode := ""
	p.DVR.to(&mode, dvrOff)
	var window *int
	if p.DVRWindow.set && !p.DVRWindow.null {
		window = &p.DVRWindow.v
	}
	l.DVR, err = dvrOf(op, mode, window, l.DVR)
	return err
}
