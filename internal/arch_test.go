// Package internal_test guards the direction of imports between the packages of the
// program. The table below is the one of ARCHITECTURE.md.
package internal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// allowed lists, for each package below internal, what of the program it may import.
// A trailing "/..." stands for the folder and everything below it. Tests are held to
// the same table, but may also import what testOnly lists.
var allowed = map[string][]string{
	// L0: the vocabulary.
	"media": nil,
	"event": nil,
	"fault": nil,
	// L1: bytes and protocols. They know no streams, users or configuration files.
	"media/bitstream": {"media", "fault"},
	"media/fmp4":      {"media", "media/bitstream", "fault"},
	"media/mp4file":   {"media", "media/bitstream", "media/fmp4", "fault"},
	"media/flv":       {"media", "media/bitstream", "fault"},
	"media/mediatest": {"media", "media/bitstream"},
	"media/ts":        {"media", "media/bitstream", "fault"},
	"wire/rtmp":       {"media", "media/bitstream", "media/flv", "fault"},
	"wire/guard":      {"fault"},
	"wire/srt":        {"media", "media/bitstream", "media/ts", "fault"},
	"wire/rtc":        {"wire/rtc/egress", "media", "media/bitstream", "fault"},
	"wire/rtc/egress": {"media", "media/bitstream", "fault"},
	"ffmpeg":          {"media", "media/bitstream", "media/fmp4", "fault"},
	// L2: the hub, and control beside the path.
	"hub":                     {"media", "event", "fault"},
	"control/store":           {"event", "fault"},
	"control/store/storetest": {"control/store", "event", "fault"},
	"control/auth":            {"control/store", "event", "fault"},
	"control/retention":       {"control/store", "event", "fault"},
	"control/chat":            {"control/store", "event", "fault"},
	// The doctor listens to what a publisher sends, before anything is repaired.
	"control/doctor": {"media", "media/bitstream", "media/fmp4", "event", "fault"},
	"control/golive": {"fault"},
	"control/steer":  {"event", "fault"},
	// L3: what moves media between the wire and the hub, and what viewers touch.
	"ingest":       {"hub", "media", "media/bitstream", "event", "fault"},
	"ingest/pull":  {"ingest", "hub", "media", "media/bitstream", "media/fmp4", "event", "fault"},
	"deliver/pack": {"hub", "media", "media/bitstream", "media/fmp4", "event", "fault"},
	"transcode":    {"ffmpeg", "hub", "media", "media/bitstream", "event", "fault"},
	// What delivers segments counts its viewers in one way.
	"deliver/audience": {"fault"},
	"deliver/reply":    {"fault"},
	"deliver/m3u8":     {"media", "fault"},
	"deliver/mpd":      {"deliver/reply", "media"},
	"deliver/hls":      {"deliver/m3u8", "deliver/reply", "deliver/pack", "deliver/audience", "hub", "media", "event", "fault"},
	"deliver/replay":   {"deliver/m3u8", "deliver/mpd", "deliver/reply", "deliver/audience", "record", "media", "media/fmp4", "media/mp4file", "fault"},
	"deliver/dash":     {"deliver/mpd", "deliver/reply", "deliver/pack", "deliver/audience", "hub", "media", "media/fmp4", "event", "fault"},
	"deliver/images":   {"deliver/reply", "deliver/pack", "deliver/replay", "record", "ffmpeg", "hub", "media", "media/bitstream", "media/fmp4", "event", "fault"},
	// The hub and what it needs are for its tests, which compare it with net/http.
	"deliver/shortcut": {"deliver/hls", "deliver/pack", "deliver/audience", "hub", "media", "event", "fault"},
	"deliver/play":     {"hub", "media", "event", "fault"},
	// What keeps broadcasts reads what pack made, as any viewer. The hub is for its tests.
	"record":            {"deliver/pack", "hub", "media", "media/fmp4", "media/mp4file", "event", "fault"},
	"record/recordtest": {"record", "fault"},
	"record/bucket":     {"record", "fault"},
	// The bucket, and what makes recordings, are for its tests.
	"record/spool": {"record", "record/bucket", "deliver/pack", "hub", "media", "event", "fault"},
	"clip":         {"record", "ffmpeg", "media", "media/bitstream", "media/fmp4", "deliver/pack", "hub", "event", "fault"},
	"testcard":     {"media", "media/fmp4", "fault"},
	"slate":        {"media", "media/fmp4", "fault"},
	// L3': the API and the pages: snapshots and services only.
	"control/api": {"hub", "media", "control/auth", "control/chat", "control/doctor", "control/retention", "control/store", "event", "fault"},
	"control/web": {"fault"},
	// L4: the composition root. Nobody but cmd imports it.
	"node": {"..."},
}

// thirdParty says which package alone may import a module whose types stay inside it.
var thirdParty = map[string][]string{
	"github.com/bluenviron/gortmplib":   {"wire/rtmp"},
	"github.com/bluenviron/mediacommon": {"media/bitstream", "media/mediatest", "media/ts"},
	"github.com/datarhei/gosrt":         {"wire/srt"},
	"github.com/pion":                   {"wire/rtc", "wire/rtc/egress"},
	"github.com/Eyevinn/mp4ff":          {"media/fmp4", "deliver/pack"},
	"github.com/Eyevinn/hls-m3u8":       {"deliver/hls"},
	"github.com/danielgtaylor/huma":     {"control/api"},
	"github.com/uptrace/bun":            {"control/store"},
	"github.com/pressly/goose":          {"control/store"},
	"modernc.org/sqlite":                {"control/store"},
	"github.com/jackc/pgx":              {"control/store"},
	"github.com/alecthomas/kong":        {"node"},
	"github.com/minio/minio-go":         {"record/bucket"},
	"github.com/centrifugal":            {"control/chat"},
}

// testOnly is what any test may import besides.
var testOnly = []string{"media/mediatest", "media/fmp4", "media/bitstream", "media/flv", "control/store/storetest", "record/recordtest"}

func TestImportsGoDownOnly(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(file))
		if pkg == "." || strings.Contains(file, "testdata") {
			return nil
		}
		seen[pkg] = true
		rules, ok := allowed[pkg]
		if !ok {
			t.Errorf("package internal/%s has no line in the table of allowed imports", pkg)
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		isTest := strings.HasSuffix(file, "_test.go")
		for _, imp := range f.Imports {
			p := strings.Trim(imp.Path.Value, `"`)
			if own, ok := strings.CutPrefix(p, "onair/internal/"); ok {
				if own != pkg && !permitted(rules, own) && !(isTest && permitted(testOnly, own)) {
					t.Errorf("%s imports internal/%s, which the table does not allow", file, own)
				}
				continue
			}
			checkThirdParty(t, file, pkg, p, isTest)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range allowed {
		if !seen[pkg] {
			t.Errorf("the table lists internal/%s, which does not exist", pkg)
		}
	}
}

func permitted(rules []string, own string) bool {
	for _, rule := range rules {
		if rule == "..." || rule == own {
			return true
		}
		if dir, ok := strings.CutSuffix(rule, "/..."); ok && (own == dir || strings.HasPrefix(own, dir+"/")) {
			return true
		}
	}
	return false
}

// checkThirdParty holds the vocabulary to the standard library, and each wrapped
// library to the package that wraps it.
func checkThirdParty(t *testing.T, file, pkg, imp string, isTest bool) {
	t.Helper()
	if isTest || !strings.Contains(firstElement(imp), ".") {
		return
	}
	if pkg == "media" || pkg == "event" || pkg == "fault" {
		t.Errorf("%s imports %s; internal/%s uses the standard library only", file, imp, pkg)
	}
	for module, owners := range thirdParty {
		if imp != module && !strings.HasPrefix(imp, module+"/") {
			continue
		}
		for _, owner := range owners {
			if owner == pkg {
				return
			}
		}
		t.Errorf("%s imports %s, which only %v may", file, imp, owners)
	}
}

func firstElement(p string) string {
	first, _, _ := strings.Cut(path.Clean(p), "/")
	return first
}

// TestSleepsAreOfFakeTime lets the tests of a package sleep only if they make their own
// time with testing/synctest.
func TestSleepsAreOfFakeTime(t *testing.T) {
	sleeps, bubbles := map[string]string{}, map[string]bool{}
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".cache") {
			return filepath.SkipDir
		}
		if err != nil || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if strings.Contains(string(b), "time."+"Sleep(") {
			sleeps[filepath.Dir(file)] = file
		}
		if strings.Contains(string(b), `"testing/synctest"`) {
			bubbles[filepath.Dir(file)] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir, file := range sleeps {
		if !bubbles[dir] {
			t.Errorf("%s sleeps, and nothing in %s uses testing/synctest", file, dir)
		}
	}
}
