package doctor

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/doctor.md")

// TestGuide holds docs/doctor.md to the catalogue.
func TestGuide(t *testing.T) {
	const path = "../../../docs/doctor.md"
	want := guide()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/doctor.md is not what the catalogue says; run go test ./internal/control/doctor -run TestGuide -update\n%s", diff)
	}
}

// TestCatalogueIsComplete checks that every row tells what people need.
func TestCatalogueIsComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range catalogue() {
		if seen[e.code] {
			t.Errorf("%s is there twice", e.code)
		}
		seen[e.code] = true
		for name, text := range map[string]string{
			"meaning": e.meaning, "when": e.when, "evidence": e.evidence, "OBS": e.fix.OBS, "browser": e.fix.Browser, "ffmpeg": e.fix.FFmpeg,
		} {
			if text == "" {
				t.Errorf("%s has no text for %s", e.code, name)
			}
		}
		if _, ok := weights[e.severity]; !ok {
			t.Errorf("%s has severity %q", e.code, e.severity)
		}
	}
	for _, row := range notYet() {
		for _, code := range strings.Split(row[0], ", ") {
			if seen[code] {
				t.Errorf("%s is raised, and listed as not yet", code)
			}
		}
	}
}

// guide is the text of docs/doctor.md.
func guide() string {
	var b strings.Builder
	b.WriteString(`# The stream doctor

What is wrong with a stream is told in words, with numbers and with what to do: at
` + "`GET /v1/live-streams/{id}/health`, on the stream's page, and as `live_stream.health` events" + ` when something is found or
is over. This page lists every code. It is written from the program's own table; a test keeps them equal.

## How to read a report

- **status** is ` + "`good`, `degraded` (a warning), `bad` (something critical), or `no_data`" + ` (no publisher). **score** goes from
  100 down: 40 for each critical finding, 15 for a warning, 2 for information. It is null without data.
- A reading that is not known is ` + "`null`" + `, never zero: RTMP does not tell of lost packets, and loudness and pictures need
  ffmpeg on the server.
- After the publisher is lost, findings and readings stay as they were last and are marked ` + "`stale`" + `; graphs show the gap.
- A finding is raised after its condition held for a while and cleared after it was over for a while, so that it does not
  flicker. **since** is when the condition began, **count** how often it did in this broadcast.
- **source** is ` + "`main` or `backup`" + `. What is critical about a backup that only stands by is a warning.
  What the server encodes of the stream is told as ` + "`main`" + `.
- Loudness and pictures are looked at every 15 s (` + "`doctor-sample-interval`" + `), one second of sound and a key frame each time.

## Findings

`)
	for _, e := range catalogue() {
		fmt.Fprintf(&b, "### %s\n\n%s. %s\n\n- Raised: %s%s.\n", e.code, title(e.severity), e.meaning, e.when, patience(&e))
		fmt.Fprintf(&b, "- Evidence: %s.\n", e.evidence)
		if e.fix == (Fix{e.fix.OBS, e.fix.OBS, e.fix.OBS}) {
			fmt.Fprintf(&b, "- What to do: %s\n\n", e.fix.OBS)
			continue
		}
		fmt.Fprintf(&b, "- OBS: %s\n- Browser: %s\n- ffmpeg: %s\n\n", e.fix.OBS, e.fix.Browser, e.fix.FFmpeg)
	}
	b.WriteString("## Not yet\n\nThese codes are reserved; nothing raises them yet.\n\n| code | waits for |\n| --- | --- |\n")
	for _, row := range notYet() {
		codes := strings.Split(row[0], ", ")
		fmt.Fprintf(&b, "| `%s` | %s |\n", strings.Join(codes, "`, `"), row[1])
	}
	return b.String()
}

func title(s Severity) string {
	switch s {
	case Critical:
		return "Critical"
	case Warning:
		return "Warning"
	default:
		return "Information"
	}
}

// patience says how long a condition must hold and be over.
func patience(e *entry) string {
	if e.raise == 0 && e.clear == 0 {
		return ""
	}
	return fmt.Sprintf("; held for %s, cleared after %s", seconds(e.raise), seconds(e.clear))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.0f s", d.Seconds()) }
