package rtc

import "net/http"

// WHEP returns the handler of WHEP (draft-ietf-wish-whep), to be mounted at /whep/: POST
// /whep/{playback id}, and the sessions below /whep/session/.
func (s *Server) WHEP() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { problem(w, errPlayOff) })
}
