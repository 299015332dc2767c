package rtmp

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/bluenviron/gortmplib/pkg/amf0"

	"onair/internal/media"
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

// maxMoves bounds how often a Publisher follows its server to another place.
const maxMoves = 16

// move follows a server's request to connect again. One that cannot be followed changes
// nothing: the connection is used for as long as it lasts.
func (p *Publisher) move(from *publication, request call) {
	info, _ := object(request.arg(1))
	where, _ := info.GetString("tcUrl")
	p.mu.Lock()
	defer p.mu.Unlock()
	address, ok := p.elsewhere(where)
	if !ok || p.closed || p.moving || from != p.on || p.next != nil || p.moves == maxMoves {
		return
	}
	p.moving = true
	p.moves++
	tracks := p.tracks
	p.working.Go(func() { p.follow(address, tracks) })
}

// elsewhere is the address to publish to at a tcUrl, which may be relative, and is that of
// now if it is empty. A key that goes to a server by TLS goes nowhere without. The lock is
// held: a connection that was asked for before may be there in this moment.
func (p *Publisher) elsewhere(tcURL string) (string, bool) {
	if tcURL == "" {
		return p.address, true
	}
	now, err := url.Parse(p.address)
	if err != nil || len(tcURL) > maxAddress {
		return "", false
	}
	path := strings.TrimRight(now.EscapedPath(), "/")
	name := path[strings.LastIndexByte(path, '/')+1:]
	to, err := now.Parse(tcURL)
	if err != nil || to.Host == "" || to.Scheme != now.Scheme && to.Scheme != "rtmps" {
		return "", false
	}
	to.Path, to.RawPath = strings.TrimRight(to.Path, "/")+"/"+name, ""
	query := strings.Trim(now.RawQuery+"&"+to.RawQuery, "&")
	if to.RawQuery == now.RawQuery {
		query = now.RawQuery
	}
	to.RawQuery = query
	return to.String(), true
}

// follow makes the connection that takes over.
func (p *Publisher) follow(address string, tracks []*media.Track) {
	next, err := p.open(p.ctx, address, tracks)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moving = false
	if err != nil {
		return
	}
	if p.closed {
		next.client.socket.Close()
		return
	}
	p.address, p.next = address, next
	p.working.Go(func() { p.listen(next) })
}

// goodbye ends a publication and waits for the server to close.
func (n *publication) goodbye() error {
	c := n.client
	err := errors.Join(
		c.send("FCUnpublish", nil, c.name),
		c.send("deleteStream", nil, float64(c.streamID)),
	)
	c.socket.closeWrite()
	c.socket.setDeadline(time.Now().Add(closeTime))
	<-n.ended
	return errors.Join(err, c.socket.Close())
}
