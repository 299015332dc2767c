package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"onair/internal/deliver/replay"
	"onair/internal/fault"
	"onair/internal/node"
	"onair/internal/record"
)

type recordingsCommand struct {
	List   recordingsListCommand   `cmd:"" help:"List the recordings, oldest first."`
	Verify recordingsVerifyCommand `cmd:"" help:"Compare recordings with their indexes. Changes nothing, and may run beside the server."`
	Repair recordingsRepairCommand `cmd:"" help:"Make recordings playable again that verify found something in. The server has to be stopped."`
	Export recordingsExportCommand `cmd:"" help:"Write a recording into an MP4 file."`
}

// archive is where the recordings are.
type archive struct {
	node.ArchiveConfig `embed:""`
}

func (a archive) open(ctx context.Context, change bool, c console) (*node.Archive, error) {
	log := slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelError}))
	return node.OpenArchive(ctx, a.ArchiveConfig, change, log)
}

// pick returns the assets that are named, or all.
func pick(lib *node.Archive, named []string) ([]string, error) {
	all := lib.Assets()
	for _, id := range named {
		if !slices.Contains(all, id) {
			return nil, fault.New(fault.NotFound, "find the recording", id, "there is none", "onair recordings list shows those that there are.")
		}
	}
	if len(named) > 0 {
		return named, nil
	}
	return all, nil
}

type recordingsListCommand struct {
	archive `embed:""`

	JSON bool `name:"json" help:"Print JSON, a line for each recording."`
}

// listed is a recording for programs. Times are RFC 3339, durations seconds.
type listed struct {
	ID       string    `json:"id"`
	StreamID string    `json:"live_stream_id"`
	Status   string    `json:"status"`
	Began    time.Time `json:"began_at"`
	Duration float64   `json:"duration"`
	Bytes    int64     `json:"size_bytes"`
	Gaps     int       `json:"gaps"`
	Error    string    `json:"error,omitempty"`
}

// Run prints a line for each recording.
func (cmd recordingsListCommand) Run(ctx context.Context, c console) error {
	lib, err := cmd.open(ctx, false, c)
	if err != nil {
		return err
	}
	defer lib.Close()
	var list []record.Report
	broken := false
	for _, id := range lib.Assets() {
		s, err := lib.Peek(id)
		if err != nil {
			broken = true
			fmt.Fprintf(c.err, "onair: %v\n", err)
			continue
		}
		list = append(list, record.Report{Snapshot: s})
	}
	slices.SortFunc(list, func(a, b record.Report) int { return cmp.Or(a.Began.Compare(b.Began), cmp.Compare(a.ID, b.ID)) })
	if err := cmd.print(c.out, list); err != nil {
		return err
	}
	if len(list) == 0 && !broken {
		fmt.Fprintln(c.err, "There are no recordings yet. A live stream with \"record\": true makes one of each broadcast.")
	}
	if broken {
		return errReported
	}
	return nil
}

func (cmd recordingsListCommand) print(out io.Writer, list []record.Report) error {
	if cmd.JSON {
		enc := json.NewEncoder(out)
		for _, r := range list {
			err := enc.Encode(listed{r.ID, r.StreamID, string(r.State), r.Began.UTC(), r.Duration.Seconds(), r.Bytes, len(r.Gaps), r.Error})
			if err != nil {
				return err
			}
		}
		return nil
	}
	if len(list) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RECORDING\tSTREAM\tBEGAN\tDURATION\tSIZE\tSTATE")
	for _, r := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.StreamID, r.Began.Local().Format(time.DateTime), r.Duration.Round(time.Second), size(r.Bytes), r.State)
	}
	return w.Flush()
}

// size is a number of bytes for people.
func size(n int64) string {
	const step = 1000
	v, unit := float64(n), ""
	for _, unit = range []string{"B", "kB", "MB", "GB", "TB"} {
		if v < step {
			break
		}
		if unit != "TB" {
			v /= step
		}
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

type recordingsVerifyCommand struct {
	archive `embed:""`

	Deep   bool     `help:"Read all media, and compare its samples, too."`
	JSON   bool     `name:"json" help:"Print JSON, a line for each recording."`
	Assets []string `arg:"" optional:"" name:"asset" help:"Ids of recordings, such as as_…; by default all."`
}

// Run prints what is wrong, and fails if anything is.
func (cmd recordingsVerifyCommand) Run(ctx context.Context, c console) error {
	lib, err := cmd.open(ctx, false, c)
	if err != nil {
		return err
	}
	defer lib.Close()
	assets, err := pick(lib, cmd.Assets)
	if err != nil {
		return err
	}
	wrong := 0
	for i, id := range assets {
		progress(c.err, i, len(assets), id)
		report, err := lib.Verify(ctx, id, cmd.Deep)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			report.Problems = append(report.Problems, record.Problem{Kind: record.Damaged, Object: id, Detail: err.Error()})
		}
		if len(report.Problems) > 0 {
			wrong++
		}
		cmd.tell(c.out, id, report.Problems)
	}
	if wrong > 0 {
		fmt.Fprintf(c.err, "Something is wrong with %d of %d recordings. Stop the server, and run: onair recordings repair\n", wrong, len(assets))
		return errReported
	}
	return nil
}

func (cmd recordingsVerifyCommand) tell(out io.Writer, id string, problems []record.Problem) {
	if cmd.JSON {
		if problems == nil {
			problems = []record.Problem{}
		}
		_ = json.NewEncoder(out).Encode(map[string]any{"id": id, "ok": len(problems) == 0, "problems": problems}) // as Fprintf
		return
	}
	if len(problems) == 0 {
		fmt.Fprintf(out, "%s  ok\n", id)
	}
	for _, p := range problems {
		fmt.Fprintf(out, "%s  %s  %s: %s\n", id, p.Kind, p.Object, p.Detail)
	}
}

// progress tells how far long work is, if somebody looks.
func progress(w io.Writer, done, all int, what string) {
	f, ok := w.(*os.File)
	if !ok {
		return
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return
	}
	fmt.Fprintf(f, "\r\x1b[K%d of %d  %s\r", done, all, what)
}

type recordingsRepairCommand struct {
	archive `embed:""`

	Deep   bool     `help:"Read all media, and take what is altered out, too."`
	Assets []string `arg:"" optional:"" name:"asset" help:"Ids of recordings, such as as_…; by default all."`
}

// Run repairs, and prints what it changed.
func (cmd recordingsRepairCommand) Run(ctx context.Context, c console) error {
	lib, err := cmd.open(ctx, true, c)
	if err != nil {
		return err
	}
	defer lib.Close()
	assets, err := pick(lib, cmd.Assets)
	if err != nil {
		return err
	}
	failed, changed := false, 0
	for i, id := range assets {
		progress(c.err, i, len(assets), id)
		fixed, err := lib.Repair(ctx, id, cmd.Deep)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failed = true
			fmt.Fprintf(c.err, "onair: %v\n", err)
		}
		changed += len(fixed)
		for _, p := range fixed {
			fmt.Fprintf(c.out, "%s  repaired  %s: %s\n", id, p.Object, p.Detail)
		}
	}
	if failed {
		return errReported
	}
	if changed == 0 {
		fmt.Fprintln(c.err, "There was nothing to repair.")
	}
	return nil
}

type recordingsExportCommand struct {
	archive `embed:""`

	Asset     string `arg:"" help:"Id of the recording, such as as_…"`
	File      string `arg:"" optional:"" help:"The file, .mp4 or .m4a (sound only); by default the recording's id with .mp4. It must not be there yet."`
	Rendition string `help:"Its pictures, such as v0 or 720p; by default what the publisher sent."`
}

// Run writes the file under another name first, so that there is never half of one.
func (cmd recordingsExportCommand) Run(ctx context.Context, c console) error {
	const op = "export"
	file := cmp.Or(cmd.File, cmd.Asset+".mp4")
	if _, err := os.Stat(file); err == nil {
		return fault.New(fault.Conflict, op, file, "the file is there already", "Remove it, or name another one.")
	}
	lib, err := cmd.open(ctx, false, c)
	if err != nil {
		return err
	}
	defer lib.Close()
	if _, err := pick(lib, []string{cmd.Asset}); err != nil {
		return err
	}
	made, err := replay.NewFile(ctx, replaying{lib}, cmd.Asset, filepath.Ext(file), cmd.Rendition)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return fault.Wrap(fault.Unavailable, op, file, err, "Choose a folder that is there and can be written to.")
	}
	out := &counting{w: temp, of: made.Size(), err: c.err, name: file}
	err = made.CopyRange(ctx, out, 0, made.Size())
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), file)
	}
	if err != nil {
		_ = os.Remove(temp.Name()) // the first error is the one to tell
		return err
	}
	fmt.Fprintf(c.out, "%s  %s\n", file, size(made.Size()))
	return nil
}

// replaying plugs an archive into replay.
type replaying struct{ *node.Archive }

// Snapshot implements replay.FileLibrary.
func (r replaying) Snapshot(id string) (*record.Snapshot, bool) {
	asset, ok := r.Asset(id)
	if !ok {
		return nil, false
	}
	return asset.Snapshot(), true
}

// counting tells how much is written.
type counting struct {
	w       io.Writer
	err     io.Writer
	name    string
	n, of   int64
	percent int64
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	if p := c.n * 100 / max(c.of, 1); p != c.percent {
		c.percent = p
		progress(c.err, int(p), 100, c.name)
	}
	return n, err
}
