package rtmp

import (
	"net/url"
	"strings"
)

// keyParameters are the query parameters that may carry the key, by preference.
var keyParameters = [...]string{"key", "streamkey", "stream_key"}

// splitKey finds the stream key in what a client sent. Clients split an address at
// different slashes, so that the path of tcURL and the stream name are joined first;
// the key is the last element. It is taken as it stands: nothing is decoded, so that
// what is compared is what was typed. A query at the end of either is kept apart; if it
// has a parameter key, streamkey or stream_key, that is the key instead.
func splitKey(tcURL, app, name string) (key, query string) {
	base := tcURL
	if _, rest, ok := strings.Cut(base, "://"); ok {
		_, base, _ = strings.Cut(rest, "/")
	}
	if base == "" {
		base = app
	}
	base, q1, _ := strings.Cut(base, "?")
	if q1 == "" {
		_, q1, _ = strings.Cut(app, "?")
	}
	name, q2, _ := strings.Cut(name, "?")
	query = strings.Trim(q2+"&"+q1, "&")

	path := strings.TrimRight(strings.TrimRight(base, "/")+"/"+name, "/")
	key = path[strings.LastIndexByte(path, '/')+1:]
	if name == "" && !strings.Contains(strings.Trim(base, "/"), "/") {
		key = "" // an address with nothing but the app names no stream
	}
	// A query that is not well formed still may hold the key.
	values, _ := url.ParseQuery(query)
	for _, p := range keyParameters {
		if v := values.Get(p); v != "" {
			return v, query
		}
	}
	return key, query
}
