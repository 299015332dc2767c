package doctor

import (
	"context"
	"net/netip"
	"time"

	"onair/internal/event"
	"onair/internal/fault"
)

const (
	// strangersKept is how many encoders with an unknown key are remembered, each for
	// strangerShown.
	strangersKept = 16
	strangerShown = 2 * time.Minute
)

// stranger is an encoder that came with a key that nobody has.
type stranger struct {
	at             time.Time
	protocol, peer string // the peer is masked
	attempts       int
}

// listen follows what the program tells about publishers.
func (d *Doctor) listen(ctx context.Context) { d.follow(ctx, d.bus.Listen()) }

func (d *Doctor) follow(ctx context.Context, l *event.Listener) {
	for {
		e, missed, err := l.Next(ctx)
		if err != nil {
			return
		}
		if missed > 0 {
			d.forgetRenditions()
			d.forgetRecordings()
		}
		at := e.At
		switch e := e.Event.(type) {
		case event.StreamActive:
			d.active(e)
		case event.StreamIdle:
			if s := d.find(e.StreamID); s != nil {
				s.end(at)
			}
		case event.RenditionChanged:
			d.rendition(e)
		case event.AssetErrored:
			if !e.Clip {
				d.stopped(e.StreamID, stopped{at: at, asset: e.AssetID, code: e.Code, reason: clipped(e.Reason)})
			}
		case event.AssetResumed:
			d.recorded(e.StreamID, e.AssetID)
		case event.AssetReady:
			d.recorded(e.StreamID, e.AssetID)
		case event.IngestRefused:
			d.refused(e)
		}
	}
}

func (d *Doctor) active(e event.StreamActive) {
	s := d.find(e.StreamID)
	if s == nil {
		return
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	// Whoever was refused before has found the right settings.
	s.refusedAt, s.refused = time.Time{}, 0
	if e.TookOver && !e.Backup {
		s.takeovers.add(now)
	}
	if e.Resumed {
		s.resumes.add(now)
	}
}

// refused takes note of somebody who was not allowed to publish. What cannot be blamed
// on what was sent (a server that stops, say) is none of the doctor's business.
func (d *Doctor) refused(e event.IngestRefused) {
	now := time.Now()
	switch kind := fault.Kind(e.Code); {
	case e.StreamID == "" && (kind == fault.Unauthorized || kind == fault.NotFound):
		d.strange(stranger{at: now, protocol: e.Protocol, peer: masked(e.Peer), attempts: 1})
	case e.StreamID != "" && (kind == fault.Invalid || kind == fault.Unsupported || kind == fault.TooLarge || kind == fault.Timeout):
		s := d.findOrMake(e.StreamID, now)
		if s == nil {
			return
		}
		s.mu.Lock()
		s.refusedAt, s.refusedCode, s.refusedReason = now, e.Code, e.Reason
		s.refused++
		s.touched = now
		s.mu.Unlock()
	}
}

// strange remembers an encoder with an unknown key; the same again counts up.
func (d *Doctor) strange(n stranger) {
	d.mu.Lock()
	defer d.mu.Unlock()
	oldest := 0
	for i := range d.strangers {
		s := &d.strangers[i]
		if s.peer == n.peer && s.protocol == n.protocol && n.at.Sub(s.at) <= strangerShown {
			s.at = n.at
			s.attempts++
			return
		}
		if s.at.Before(d.strangers[oldest].at) {
			oldest = i
		}
	}
	d.strangers[oldest] = n
}

// latestStranger is the newest encoder with an unknown key; false if there was none for
// a while.
func (d *Doctor) latestStranger(now time.Time) (stranger, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var latest stranger
	for _, s := range d.strangers {
		if s.at.After(latest.at) {
			latest = s
		}
	}
	return latest, !latest.at.IsZero() && now.Sub(latest.at) <= strangerShown
}

// masked is an address without what tells one host from its neighbours: who does not
// own the stream it was meant for sees it too.
func masked(peer string) string {
	addr, err := netip.ParseAddrPort(peer)
	if err != nil {
		return "unknown"
	}
	bits := 48
	ip := addr.Addr().Unmap()
	if ip.Is4() {
		bits = 24
	}
	p, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		return "unknown"
	}
	return p.String()
}
