package srt

import (
	"net/url"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"onair/internal/fault"
)

// maxStreamID is the longest stream id that the protocol carries, in bytes.
const maxStreamID = 512

// streamID is what a caller asks for.
type streamID struct {
	publish bool
	// name is the stream key of a publisher, the playback id of a player.
	name   string
	backup bool
	// query is what else came, in the form of a URL's query; it may be a secret.
	query string
}

// keyParameters are the query parameters that may carry the key, by preference.
var keyParameters = [...]string{"key", "streamkey", "stream_key"}

// parseStreamID reads a stream id in any of the forms that encoders are told to send:
//
//	publish:KEY  backup:KEY  play:ID  (also read:, request:, and a slash for the colon)
//	#!::m=publish,r=KEY,backup=1      (SRT access control)
//	KEY  /KEY  live/KEY  live/stream?key=KEY  KEY?backup=1
//
// raw or percent-encoded. What is not one of them is an error that says what to write.
func parseStreamID(raw string) (streamID, error) {
	bad := func(cause string) (streamID, error) {
		return streamID{}, fault.New(fault.Invalid, "read the SRT stream id", "", cause,
			"Write publish:KEY to publish, or play:ID to play")
	}
	if len(raw) > maxStreamID {
		return bad("it is longer than 512 bytes")
	}
	s := strings.TrimRight(strings.TrimSpace(raw), "\x00")
	s = strings.TrimPrefix(s, "streamid=")
	if strings.HasPrefix(s, "%23") || strings.ContainsRune(s, '%') && !strings.ContainsAny(s, "#:/?") {
		// Some programs hand on what was escaped for their URL.
		decoded, err := url.PathUnescape(s)
		if err != nil {
			return bad("its percent-encoding is broken")
		}
		s = decoded
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return bad("it has characters that cannot be typed")
		}
	}
	var id streamID
	var err error
	switch {
	case s == "":
		return bad("it is empty")
	case strings.HasPrefix(s, "#!::"):
		id, err = parseAccessControl(s[len("#!::"):])
	case strings.HasPrefix(s, "#!"):
		return bad("only the form #!::key=value,key=value is understood")
	default:
		id, err = parsePath(s)
	}
	if err != nil {
		return bad(err.Error())
	}
	switch {
	case id.name == "", id.name == ".":
		return bad("it names no stream")
	case strings.ContainsAny(id.name, "/\\ ") || id.name == "..":
		return bad("the name of the stream in it is not one")
	}
	return id, nil
}

// textError is an error whose text is all there is to it.
type textError string

func (e textError) Error() string { return string(e) }

// parseAccessControl reads what follows "#!::". The key m says what is wanted and is
// request by default, r names the stream; vhost servers put the path into h.
func parseAccessControl(s string) (streamID, error) {
	fields := make(map[string]string)
	for pair := range strings.SplitSeq(s, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		k, v, ok := strings.Cut(pair, "=")
		k = strings.ToLower(strings.TrimSpace(k))
		if !ok || k == "" {
			return streamID{}, textError("it has a part that is not key=value")
		}
		if _, twice := fields[k]; twice {
			return streamID{}, textError("it names one key twice")
		}
		fields[k] = strings.TrimSpace(v)
	}
	var id streamID
	mode := strings.ToLower(fields["m"])
	switch mode {
	case "publish":
		id.publish = true
	case "", "request", "play", "read":
	default:
		return streamID{}, textError("m=" + mode + " is not publish or request")
	}
	if t := fields["t"]; t != "" && t != "stream" {
		return streamID{}, textError("t=" + t + " is not stream")
	}
	name := fields["r"]
	if name == "" {
		name = fields["h"]
	}
	if mode == "" && truth(fields["backup"]) {
		id.publish = true
	}
	rest := make(url.Values)
	for k, v := range fields {
		switch k {
		case "m", "t", "r", "h", "backup":
		default:
			rest.Set(k, v)
		}
	}
	var err error
	if id.name, err = lastElement(name); err != nil {
		return streamID{}, err
	}
	id.backup = id.publish && truth(fields["backup"])
	id.query = rest.Encode()
	return id, nil
}

// parsePath reads the forms that are not access control. Without a verb it is a stream
// key: encoders have one field for it.
func parsePath(s string) (streamID, error) {
	s, query, _ := strings.Cut(s, "?")
	id := streamID{publish: true, query: query}
	s = strings.Trim(s, "/")
	verb, rest, ok := strings.Cut(s, ":")
	if !ok {
		verb, rest, ok = strings.Cut(s, "/")
	}
	if ok {
		switch strings.ToLower(verb) {
		case "publish", "push", "input":
			s = rest
		case "backup":
			s, id.backup = rest, true
		case "play", "read", "request":
			s, id.publish = rest, false
		}
	}
	// What other servers take as a user's name and password after the path is not ours.
	s, _, _ = strings.Cut(s, ":")
	var err error
	if id.name, err = lastElement(s); err != nil {
		return streamID{}, err
	}
	// A query that is not well formed still may hold the key.
	values, _ := url.ParseQuery(query)
	if id.publish {
		for _, p := range keyParameters {
			if v := values.Get(p); v != "" {
				id.name = v
				break
			}
		}
		id.backup = id.backup || truth(values.Get("backup"))
	}
	return id, nil
}

// lastElement returns what follows the last slash.
func lastElement(s string) (string, error) {
	s = strings.Trim(s, "/")
	for part := range strings.SplitSeq(s, "/") {
		if part == ".." || part == "." {
			return "", textError("it has dots for a name")
		}
	}
	return path.Base(s), nil
}

// truth reads a flag as people write it.
func truth(s string) bool {
	switch strings.ToLower(s) {
	case "1", "true", "yes", "on":
		return true
	}
	return false
}
