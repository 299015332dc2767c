// Package reply is what the handlers of HLS, DASH and pictures have in common: how they
// read the names and headers of a request, and how they tell viewers of an error.
package reply

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"onair/internal/fault"
)

// ErrElsewhere is the error of a directory for the id of something that another handler serves.
var ErrElsewhere = errors.New("what the playback id plays is served by another handler")

// MaxName bounds a segment of a path, in bytes.
const MaxName = 64

// WellFormed reports whether a path segment can be an id, a session or a rendition.
func WellFormed(s string) bool {
	if s == "" || len(s) > MaxName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// AcceptsGzip reads an Accept-Encoding header (RFC 9110, section 12.5.3): "*" is every
// coding that the header does not name. It allocates nothing.
func AcceptsGzip(header string) bool {
	others := false
	for header != "" {
		var item string
		item, header, _ = strings.Cut(header, ",")
		coding, params, _ := strings.Cut(item, ";")
		q := strings.TrimSpace(params)
		wanted := q != "q=0" && q != "q=0.0" && q != "q=0.00" && q != "q=0.000"
		switch strings.TrimSpace(coding) {
		case "gzip":
			return wanted
		case "*":
			others = wanted
		}
	}
	return others
}

// Preflight answers what a browser asks before a request for media with unusual headers: any
// page may read it, with those that players send.
func Preflight(w http.ResponseWriter) {
	head := w.Header()
	head.Set("Access-Control-Allow-Origin", "*")
	head.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
	head.Set("Access-Control-Allow-Headers", "Range, Authorization, Content-Type, CMCD-Request, CMCD-Object, CMCD-Status, CMCD-Session")
	head.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}

// Problem is the text of an error as viewers get it: RFC 9457 problem details.
func Problem(status int, code fault.Kind, detail string) []byte {
	text, _ := json.Marshal(map[string]any{ // strings and a number: cannot fail
		"type": "about:blank", "title": http.StatusText(status), "status": status,
		"code": string(code), "detail": detail,
	})
	return text
}

// Of tells what Problem is to say of an error. What is not a fault is not told.
func Of(err error) (status int, code fault.Kind, detail string) {
	code = fault.KindOf(err)
	if status = fault.HTTPStatus(code); status == http.StatusInternalServerError {
		return status, fault.Internal, "Something went wrong in the server; its log tells more."
	}
	return status, code, err.Error()
}
