package rtmp

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/bluenviron/gortmplib/pkg/amf0"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/flv"
)

const (
	// maxCommands bounds the commands before publish or play. OBS sends five.
	maxCommands = 32
	// maxStreams bounds the message streams that a client may create.
	maxStreams = 8
	// maxAddress bounds tcUrl, app, and the stream name with its query, in bytes each.
	maxAddress = 4096
	// pingAfter is how long a line may be quiet before the peer is asked whether it is there.
	pingAfter = 10 * time.Second
	// lingerTime is how long a refused client has to read why, before the connection is
	// closed: closing at once would destroy what it has not read.
	lingerTime = 500 * time.Millisecond
	// partTime is how long a client that said goodbye has to close by itself.
	partTime = 5 * time.Second
)

// session is the server's side of a connection from handshake to publish or play.
type session struct {
	*conn
	peer      net.Addr
	protocol  string
	connected bool
	app       string
	tcURL     string
	flashVer  string
	client    capabilities
	streams   int
	// parted is set when the client said that it goes: it closes by itself, and some
	// take a close that comes first for an error (GStreamer).
	parted bool
}

// capabilities are what a client said of itself in connect (Enhanced RTMP v2,
// "Enhancing NetConnection connect Command").
type capabilities struct {
	fourCCs map[string]bool
	capsEx  int
}

// Bits of capsEx and of the values of the FourCC info maps.
const (
	capsReconnect  = 1
	capsMultitrack = 2
	capsModEx      = 4
	capsNanosecond = 8
	canDecode      = 1
	canForward     = 4

	// ourCaps is what we understand, on either side.
	ourCaps = capsReconnect | capsMultitrack | capsModEx | capsNanosecond
)

// knows tells whether the client named a FourCC.
func (c capabilities) knows(codec media.Codec) bool {
	name := flv.FourCC(codec)
	return name != "" && (c.fourCCs[name] || c.fourCCs["*"])
}

// precise tells whether the client can be sent stamps with nanoseconds, for which the
// legacy codecs have to be sent as Enhanced RTMP.
func (c capabilities) precise() bool {
	return c.capsEx&capsNanosecond != 0 && c.knows(media.H264) && c.knows(media.AAC) && c.knows(media.MP3)
}

// supports tells whether the client can be sent a codec: the legacy ones always, others
// if it said so.
func (c capabilities) supports(codec media.Codec) bool {
	switch codec {
	case media.H264, media.AAC, media.MP3:
		return true
	default:
		return c.knows(codec)
	}
}

// serve runs a connection from its first byte to its last. secret is set where TLS comes
// first.
func (s *Server) serve(ctx context.Context, nc net.Conn, secret *tls.Config, h Handler) {
	protocol := "rtmp"
	line := nc
	if secret != nil {
		protocol = "rtmps"
		line = tls.Server(nc, secret)
	}
	sock := &socket{Conn: line}
	defer func() {
		s.metrics.received.Add(float64(sock.received.Load()))
		s.metrics.sent.Add(float64(sock.sent.Load()))
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, sock.stop)()

	log := func(what string, err error) {
		s.log.Debug(what, "protocol", protocol, "peer", nc.RemoteAddr().String(), "reason", err.Error())
	}
	sock.setDeadline(time.Now().Add(s.cfg.HandshakeTimeout))
	if err := sock.armWrite(s.cfg.HandshakeTimeout); err != nil {
		return
	}
	err := secure(ctx, line)
	if err == nil {
		err = serveHandshake(sock)
	}
	if err != nil {
		reason := reasonOf(err, reasonHandshake)
		if m := mixupOf(err); m != nil {
			reason = reasonTLS
			s.mixups.tell(s.log, protocol, nc.RemoteAddr(), m)
		}
		if reason != "" {
			s.metrics.rejected.WithLabelValues(reason).Inc()
		}
		log("handshake failed", err)
		return
	}
	sock.setDeadline(time.Now().Add(s.cfg.PublishTimeout))
	se := &session{conn: newConn(sock, s.cfg.WriteTimeout), peer: nc.RemoteAddr(), protocol: protocol}
	req, err := se.negotiate()
	if err != nil {
		if reason := reasonOf(err, reasonProtocol); reason != "" {
			s.metrics.rejected.WithLabelValues(reason).Inc()
		}
		log("client left before it published or played", broken("negotiate", err))
		se.linger()
		return
	}
	defer s.stay(se)()
	if req.play {
		s.servePlay(ctx, se, req, h)
		return
	}
	s.servePublish(ctx, se, req, h)
	se.linger()
}

// reasonOf tells why a connection was rejected; "" if it only went away.
func reasonOf(err error, other string) string {
	var f *fault.Error
	switch {
	case fault.Is(broken("", err), fault.Timeout):
		return reasonTimeout
	case errors.As(err, &f):
		return other
	default:
		return ""
	}
}

// linger lets the client read what was sent last and then close; it waits for that for
// a short time, even when the server stops. What still comes is thrown away.
func (se *session) linger() {
	wait := lingerTime
	if se.parted && !se.socket.isStopped() {
		wait = partTime
	} else {
		se.socket.closeWrite()
	}
	nc := se.socket.Conn
	if nc.SetReadDeadline(time.Now().Add(wait)) != nil {
		return
	}
	b := make([]byte, smallBuffer)
	for {
		if _, err := nc.Read(b); err != nil {
			return
		}
	}
}

// target is what a client asks for in the end.
type target struct {
	play     bool
	streamID uint32
	key      string
	query    string
}

// negotiate answers commands until the client publishes or plays. An error was told to
// the client where the protocol has a way to.
func (se *session) negotiate() (target, error) {
	for commands := 0; ; {
		m, err := se.next()
		if err != nil {
			return target{}, err
		}
		if !m.command() {
			continue // nothing else has a meaning yet, and nothing else is parsed
		}
		if commands++; commands > maxCommands {
			return target{}, protocol(fault.TooMany, "too many commands before publish")
		}
		name := amfName(m.values())
		if !known(name) {
			continue
		}
		c, err := decodeCall(m)
		if err != nil {
			return target{}, err
		}
		t, done, err := se.answer(m, c)
		if err != nil || done {
			return t, err
		}
	}
}

// known lists the commands that are looked at before authorisation.
func known(name string) bool {
	switch name {
	case "connect", "releaseStream", "FCPublish", "FCUnpublish", "createStream", "publish", "play",
		"getStreamLength", "_checkbw", "deleteStream", "closeStream":
		return true
	default:
		return false
	}
}

func (se *session) answer(m message, c call) (t target, done bool, err error) {
	if c.name == "connect" {
		return t, false, se.connect(c)
	}
	if !se.connected {
		return t, false, protocol(fault.Invalid, c.name+" before connect")
	}
	switch c.name {
	case "createStream":
		if se.streams++; se.streams > maxStreams {
			return t, false, protocol(fault.TooMany, "too many message streams")
		}
		return t, false, se.command(0, "_result", c.id, nil, float64(se.streams))
	case "getStreamLength":
		return t, false, se.result(c, 0.0)
	case "FCPublish":
		err := se.command(0, "onFCPublish", 0.0, nil, status("status", "NetStream.Publish.Start", ""))
		if err != nil {
			return t, false, err
		}
		return t, false, se.result(c, amf0.Undefined{})
	case "publish", "play":
		name, ok := c.arg(1).(string)
		if !ok || len(name) > maxAddress {
			code := publishRejected
			if c.name == "play" {
				code = playFailed
			}
			err := fault.New(fault.Invalid, c.name, "", fmt.Sprintf("the stream name is not a text of at most %d bytes", maxAddress), "")
			return t, false, errors.Join(err, se.command(m.streamID, "onStatus", 0.0, nil, status("error", code, err.Error())))
		}
		key, query := splitKey(se.tcURL, se.app, name)
		return target{play: c.name == "play", streamID: max(m.streamID, 1), key: key, query: query}, true, nil
	default:
		return t, false, se.result(c, amf0.Undefined{})
	}
}

// result answers a command if it wants an answer.
func (se *session) result(c call, value any) error {
	if c.id == 0 {
		return nil
	}
	return se.command(0, "_result", c.id, nil, value)
}

// connect answers the connect command.
func (se *session) connect(c call) error {
	o, ok := object(c.arg(0))
	if se.connected || !ok {
		cause := "connect has no properties"
		if se.connected {
			cause = "connect comes twice"
		}
		return se.refuseConnect(c, fault.New(fault.Invalid, "connect", "", cause, ""))
	}
	app, okApp := o.GetString("app")
	tcURL, okURL := o.GetString("tcUrl")
	if !okApp && !okURL {
		return se.refuseConnect(c, fault.New(fault.Invalid, "connect", "", "there is neither app nor tcUrl", "Publish to rtmp://HOST/live with the stream key"))
	}
	if max(len(app), len(tcURL)) > maxAddress {
		return se.refuseConnect(c, fault.New(fault.TooLarge, "connect", "", fmt.Sprintf("the address has more than %d bytes", maxAddress), ""))
	}
	se.connected, se.app, se.tcURL = true, app, tcURL
	flashVer, _ := o.GetString("flashVer")
	se.flashVer = printable(flashVer, maxEncoder)
	se.client = capabilitiesOf(o)

	return se.batch(func(w *chunkWriter) error {
		window := binary.BigEndian.AppendUint32(nil, ourWindow)
		err := errors.Join(
			w.write(csidControl, typeWindowAckSize, 0, 0, window),
			w.write(csidControl, typePeerBandwidth, 0, 0, window, []byte{2}), // dynamic
			w.write(csidControl, typeUserControl, 0, 0, eventBody(eventStreamBegin, 0)),
			w.write(csidControl, typeSetChunkSize, 0, 0, binary.BigEndian.AppendUint32(nil, ourChunkSize)),
		)
		w.size = ourChunkSize
		// Some clients look for the capabilities in the first object, some in the second.
		properties := append(amf0.Object{
			{Key: "fmsVer", Value: "FMS/3,0,1,123"},
			{Key: "capabilities", Value: 31.0},
			{Key: "mode", Value: 1.0},
		}, ourCapabilities(ourCaps)...)
		information := append(status("status", "NetConnection.Connect.Success", "Connection succeeded."),
			amf0.ObjectEntry{Key: "objectEncoding", Value: 0.0})
		information = append(information, ourCapabilities(ourCaps)...)
		return errors.Join(err, writeValues(w, csidCommand, typeCommandAMF0, 0, "_result", c.id, properties, information))
	})
}

// refuseConnect tells why and returns it.
func (se *session) refuseConnect(c call, f *fault.Error) error {
	return errors.Join(f, se.command(0, "_error", c.id, nil, status("error", "NetConnection.Connect.Rejected", f.Error())))
}

// ourCapabilities says that whatever has a place in the program is forwarded.
func ourCapabilities(capsEx int) amf0.Object {
	var list amf0.StrictArray
	var video, audio amf0.Object
	for c := media.H264; c <= media.FLAC; c++ {
		e := amf0.ObjectEntry{Key: flv.FourCC(c), Value: float64(canForward)}
		list = append(list, e.Key)
		if c.Kind() == media.Video {
			video = append(video, e)
		} else {
			audio = append(audio, e)
		}
	}
	return amf0.Object{
		{Key: "fourCcList", Value: list},
		{Key: "videoFourCcInfoMap", Value: video},
		{Key: "audioFourCcInfoMap", Value: audio},
		{Key: "capsEx", Value: float64(capsEx)},
	}
}

func capabilitiesOf(o amf0.Object) capabilities {
	c := capabilities{fourCCs: make(map[string]bool)}
	if v, ok := o.Get("fourCcList"); ok {
		list, _ := v.(amf0.StrictArray)
		for _, e := range list {
			if name, ok := e.(string); ok {
				c.fourCCs[name] = true
			}
		}
	}
	for _, key := range []string{"videoFourCcInfoMap", "audioFourCcInfoMap"} {
		v, _ := o.Get(key)
		m, _ := object(v)
		for _, e := range m {
			if mask, ok := e.Value.(float64); ok && int(mask)&(canDecode|canForward) != 0 {
				c.fourCCs[e.Key] = true
			}
		}
	}
	caps, _ := o.GetFloat64("capsEx")
	c.capsEx = int(caps)
	return c
}
