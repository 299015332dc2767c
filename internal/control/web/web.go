// Package web serves the pages for people: the console at "/", the watch page at
// "/watch/{id}", the API reference at "/docs", and what they load from "/assets/".
//
// The pages are built from the repository's web folder into dist and embedded. A binary
// built without them says so on every page, and everything else in it works.
//
// Pages run under a content security policy without inline script and without any other
// host; an asset's name contains a hash of its content, so it may be cached for ever.
package web

import (
	"embed"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
)

//go:embed all:dist
var embedded embed.FS

// maxIDLen bounds the id in a watch page's address; longer ones name nothing.
const maxIDLen = 64

// New returns the handler for every page and asset. It answers "/", "/watch/{id}",
// "/docs", "/assets/…" and the favicon, and a helpful 404 for the rest, so it can be
// mounted at the root of a mux whose other patterns are more specific. The error says
// that the embedded files cannot be read.
func New() (http.Handler, error) {
	dist, err := fs.Sub(embedded, "dist")
	if err != nil {
		return nil, fmt.Errorf("open the embedded pages: %w", err)
	}
	return newHandler(dist)
}

// handler serves one set of built pages.
type handler struct {
	files fs.FS
	index map[string]file // by path inside the set
	csp   policies
	built bool // false: only the placeholder is there
}

func newHandler(dist fs.FS) (*handler, error) {
	index, err := indexFiles(dist)
	if err != nil {
		return nil, fmt.Errorf("read the embedded pages: %w", err)
	}
	csp, err := readPolicies(dist)
	if err != nil {
		return nil, fmt.Errorf("read the embedded pages: %w", err)
	}
	_, built := index["index.html"]
	return &handler{files: dist, index: index, csp: csp, built: built}, nil
}

// ServeHTTP answers GET and HEAD.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	harden(w.Header())
	w.Header().Set("Content-Security-Policy", h.csp.page)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "This address is a page: use GET.", http.StatusMethodNotAllowed)
		return
	}
	path := r.URL.Path
	switch {
	case path == "/":
		h.page(w, r, "index.html", http.StatusOK)
	case path == "/docs":
		w.Header().Set("Content-Security-Policy", h.csp.docs)
		h.page(w, r, "docs.html", http.StatusOK)
	case path == "/docs/":
		http.Redirect(w, r, "/docs", http.StatusPermanentRedirect)
	case strings.HasPrefix(path, "/watch/"):
		if !validID(strings.TrimPrefix(path, "/watch/")) {
			h.missing(w, r)
			return
		}
		w.Header().Set("Content-Security-Policy", h.csp.watch)
		h.page(w, r, "watch.html", http.StatusOK)
	case strings.HasPrefix(path, "/assets/"):
		h.asset(w, r, strings.TrimPrefix(path, "/"), "public, max-age=31536000, immutable")
	case path == "/favicon.svg":
		h.asset(w, r, "favicon.svg", "public, max-age=86400")
	case path == "/favicon.ico":
		http.Redirect(w, r, "/favicon.svg", http.StatusFound)
	default:
		h.missing(w, r)
	}
}

// validID reports whether id can be a playback id. Whether it is one is for the API to say.
func validID(id string) bool {
	if id == "" || len(id) > maxIDLen {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

func (h *handler) missing(w http.ResponseWriter, r *http.Request) {
	h.page(w, r, "404.html", http.StatusNotFound)
}

func (h *handler) page(w http.ResponseWriter, r *http.Request, name string, status int) {
	w.Header().Set("Cache-Control", "no-cache")
	if !h.built {
		// Without pages nothing is at its usual place; a monitor should see that too.
		h.send(w, r, "placeholder.html", http.StatusServiceUnavailable)
		return
	}
	h.send(w, r, name, status)
}

func (h *handler) asset(w http.ResponseWriter, r *http.Request, name, cache string) {
	if _, ok := h.index[name]; !ok {
		// The usual reason is a page from before an upgrade. It must not be cached.
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "No such file. Reload the page: it may be from an earlier version of this server.", http.StatusNotFound)
		return
	}
	w.Header().Set("Cache-Control", cache)
	h.send(w, r, name, http.StatusOK)
}

// send writes a file in the smallest encoding that the client takes.
func (h *handler) send(w http.ResponseWriter, r *http.Request, name string, status int) {
	f, ok := h.index[name]
	if !ok {
		http.Error(w, "This page is not part of this build.", http.StatusNotFound)
		return
	}
	v := f.choose(r.Header.Get("Accept-Encoding"))
	head := w.Header()
	head.Set("Content-Type", f.contentType)
	head.Set("ETag", v.etag)
	if len(f.variants) > 1 {
		head.Set("Vary", "Accept-Encoding")
	}
	if status == http.StatusOK && matches(r.Header.Get("If-None-Match"), v.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body, err := h.files.Open(v.path)
	if err != nil {
		http.Error(w, "The page cannot be read.", http.StatusInternalServerError)
		return
	}
	defer body.Close()
	if v.encoding != "" {
		head.Set("Content-Encoding", v.encoding)
	}
	head.Set("Content-Length", strconv.FormatInt(v.size, 10))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	// The client going away is the only way this fails, and nobody is left to tell.
	_, _ = io.Copy(w, body)
}

// harden sets what every answer carries.
func harden(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()")
}
