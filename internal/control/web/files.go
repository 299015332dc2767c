package web

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// file is one thing that can be served, in the encodings that the build made of it.
type file struct {
	contentType string
	variants    []variant // best first, the plain one last
}

type variant struct {
	encoding string // "br", "gzip", or empty for plain
	path     string
	etag     string
	size     int64
}

// encodings are the precompressed forms that the build may leave beside a file, smallest first.
var encodings = [...]struct{ name, suffix string }{{"br", ".br"}, {"gzip", ".gz"}}

// indexFiles learns what is in dist. Contents are hashed and not kept: they are in the
// binary already.
func indexFiles(dist fs.FS) (map[string]file, error) {
	index := make(map[string]file)
	err := fs.WalkDir(dist, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		contentType := typeOf(name)
		if contentType == "" {
			return nil // a compressed form, or nothing for browsers
		}
		f := file{contentType: contentType}
		for _, e := range encodings {
			v, err := describe(dist, name+e.suffix)
			if err == nil {
				v.encoding = e.name
				f.variants = append(f.variants, v)
			}
		}
		plain, err := describe(dist, name)
		if err != nil {
			return err
		}
		f.variants = append(f.variants, plain)
		index[name] = f
		return nil
	})
	return index, err
}

func describe(dist fs.FS, name string) (variant, error) {
	r, err := dist.Open(name)
	if err != nil {
		return variant{}, err
	}
	defer r.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, r)
	if err != nil {
		return variant{}, err
	}
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:12]) + `"`
	return variant{path: name, etag: etag, size: size}, nil
}

// typeOf names the type by the file's ending, without asking the machine's own tables.
func typeOf(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	case ".woff2":
		return "font/woff2"
	case ".txt":
		return "text/plain; charset=utf-8"
	}
	return ""
}

// choose returns the best variant under an Accept-Encoding header (RFC 9110, section 12.5.3).
func (f file) choose(accept string) variant {
	for _, v := range f.variants {
		if v.encoding != "" && accepts(accept, v.encoding) {
			return v
		}
	}
	return f.variants[len(f.variants)-1]
}

// accepts reports whether a header allows an encoding; one that is named beats "*".
func accepts(header, encoding string) bool {
	star := false
	for item := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(item, ";")
		name = strings.TrimSpace(name)
		q := 1.0
		if s, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(s, 64); err != nil {
				q = 0
			}
		}
		switch {
		case strings.EqualFold(name, encoding):
			return q > 0
		case name == "*":
			star = q > 0
		}
	}
	return star
}

// matches reports whether an If-None-Match header names the tag.
func matches(header, etag string) bool {
	for item := range strings.SplitSeq(header, ",") {
		item = strings.TrimSpace(item)
		if item == "*" || strings.TrimPrefix(item, "W/") == etag {
			return true
		}
	}
	return false
}
