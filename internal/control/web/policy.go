package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// policies are the content security policies of the pages.
type policies struct{ page, watch, docs string }

// styleHash is what a hash source of a policy looks like; nothing else may come from the build.
var styleHash = regexp.MustCompile(`^sha256-[A-Za-z0-9+/]{43}=$`)

// readPolicies makes the policies. The watch page's controls bring their own style sheets
// in shadow roots; the build lists their hashes in csp.json, so that no page but the
// reference needs inline styles allowed.
func readPolicies(dist fs.FS) (policies, error) {
	var built struct {
		Styles []string `json:"styles"`
	}
	data, err := fs.ReadFile(dist, "csp.json")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return policies{}, err
	}
	if err == nil {
		if err := json.Unmarshal(data, &built); err != nil {
			return policies{}, fmt.Errorf("csp.json: %w", err)
		}
	}
	styles := "'self'"
	for _, s := range built.Styles {
		if !styleHash.MatchString(s) {
			return policies{}, fmt.Errorf("csp.json: %q is not a hash of a style sheet", s)
		}
		styles += " '" + s + "'"
	}
	return policies{
		page:  policy("'self'", "'none'"),
		watch: policy(styles, "'none'"),
		// The reference draws itself with inline styles, and its fonts are data.
		docs: policy("'self' 'unsafe-inline'", "data:"),
	}, nil
}

func policy(styles, fonts string) string {
	return strings.Join([]string{
		"default-src 'none'",
		"script-src 'self'",
		"style-src " + styles,
		"img-src 'self' data:",
		"font-src " + fonts,
		"media-src 'self' blob:",
		"connect-src 'self'",
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
	}, "; ")
}
