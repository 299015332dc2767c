package rtmp

import (
	"github.com/bluenviron/gortmplib/pkg/amf0"
)

// reconnectRequest is the code that asks a client to come again, here or elsewhere
// (Enhanced RTMP v2, "Reconnect Request").
const reconnectRequest = "NetConnection.Connect.ReconnectRequest"

// Reconnect asks every encoder and player that understands it to connect again: to tcURL,
// such as rtmp://other.example.com/live, or to where it is if that is empty. It returns
// how many were asked. They leave by themselves, when their new connection is there.
func (s *Server) Reconnect(tcURL string) int {
	s.mu.Lock()
	var asked []*session
	for se := range s.movable {
		asked = append(asked, se)
	}
	s.mu.Unlock()
	n := 0
	for _, se := range asked {
		if se.askToReconnect(tcURL, "The server is about to stop.") == nil {
			n++
		}
	}
	return n
}

// stay keeps a client where Reconnect finds it, until leave is called.
func (s *Server) stay(se *session) (leave func()) {
	if se.client.capsEx&capsReconnect == 0 {
		return func() {}
	}
	s.mu.Lock()
	s.movable[se] = struct{}{}
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		delete(s.movable, se)
		s.mu.Unlock()
	}
}

// askToReconnect sends the request. It stands on the connection, not on a stream.
func (se *session) askToReconnect(tcURL, description string) error {
	info := status("status", reconnectRequest, description)
	if tcURL != "" {
		info = append(info, amf0.ObjectEntry{Key: "tcUrl", Value: tcURL})
	}
	return se.command(0, "onStatus", 0.0, nil, info)
}
