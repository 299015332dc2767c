package node

import (
	"sync"

	"onair/internal/control/api"
	"onair/internal/control/doctor"
	"onair/internal/hub"
	"onair/internal/ingest"
)

// publishers is who publishes now: it plugs the doctor into ingest, and what is known of
// the ways to publishers into the API.
type publishers struct {
	hub    *hub.Hub
	doctor *doctor.Doctor

	mu       sync.Mutex
	sessions map[string]ingest.Session // by their own id
}

func newPublishers(h *hub.Hub, d *doctor.Doctor) *publishers {
	return &publishers{hub: h, doctor: d, sessions: make(map[string]ingest.Session)}
}

// Watch implements ingest.Monitor.
func (p *publishers) Watch(s ingest.Session) ingest.Tap {
	p.mu.Lock()
	p.sessions[s.Session] = s
	p.mu.Unlock()
	return watched{p.doctor.Watch(doctor.Session(s)), p, s.Session}
}

// watched is a doctor's tap that also tells when its publisher left.
type watched struct {
	*doctor.Tap
	publishers *publishers
	session    string
}

// Ended implements ingest.Tap.
func (w watched) Ended(err error) {
	w.Tap.Ended(err)
	w.publishers.mu.Lock()
	delete(w.publishers.sessions, w.session)
	w.publishers.mu.Unlock()
}

// Ingest implements api.Ingests.
func (p *publishers) Ingest(streamID string) (api.IngestStatus, bool) {
	stream, ok := p.hub.Stream(streamID)
	if !ok {
		return api.IngestStatus{}, false
	}
	snap := stream.Snapshot()
	p.mu.Lock()
	defer p.mu.Unlock()
	var out api.IngestStatus
	for id, s := range p.sessions {
		if s.StreamID != streamID {
			continue
		}
		if s.Backup {
			out.Backup = s.Protocol
			out.Ready = snap.Standby != nil && snap.Standby.Session == id
		}
		if snap.Publisher != nil && snap.Publisher.Session == id && s.Link != nil {
			link := s.Link()
			out.Link = &link
		}
	}
	return out, true
}
