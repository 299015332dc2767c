package store

import (
	"encoding/json"
	"math"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

type assetRow struct {
	bun.BaseModel `bun:"table:assets,alias:a"`

	ID           string `bun:",pk"`
	LiveStreamID string
	CreatedAt    int64
	UpdatedAt    int64
	Status       string
	Title        string
	Duration     int64
	SizeBytes    int64
	Error        string
	Tracks       string
	Gaps         string
	GapCount     int
	Metadata     string
	ClipOf       string
	ClipStart    int64
	ClipEnd      int64

	PublicDownload bool
}

// tidy brings what was recorded into the form in which it is read back: bounded, whole
// microseconds, and nothing that JSON or a database cannot take, for an odd value from a
// bitstream must not keep a recording from being written down.
func (a *Asset) tidy() {
	a.Duration = a.Duration.Truncate(time.Microsecond)
	a.Error = text(a.Error, maxAssetError)
	tracks := a.Tracks[:min(len(a.Tracks), MaxAssetTracks)]
	a.Tracks = nil
	for _, t := range tracks {
		if math.IsNaN(t.FrameRate) || math.IsInf(t.FrameRate, 0) {
			t.FrameRate = 0
		}
		for _, s := range []*string{&t.Rendition, &t.Kind, &t.Codec, &t.CodecString} {
			*s = text(*s, maxIDLen)
		}
		a.Tracks = append(a.Tracks, t)
	}
	gaps := a.Gaps[:min(len(a.Gaps), MaxAssetGaps)]
	a.Gaps = nil
	for _, g := range gaps {
		g.Start = fromMicros(micros(g.Start))
		a.Gaps = append(a.Gaps, g)
	}
}

// text cuts s to n bytes, and takes from it what PostgreSQL does not keep.
func text(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\x00", "")
}

func toAssetRow(a Asset) (*assetRow, error) {
	r := &assetRow{
		ID: a.ID, LiveStreamID: a.LiveStreamID, CreatedAt: micros(a.CreatedAt), UpdatedAt: micros(a.UpdatedAt),
		Status: string(a.Status), Title: a.Title, Duration: a.Duration.Microseconds(), SizeBytes: a.Bytes,
		Error: a.Error, GapCount: a.GapCount, ClipOf: a.Clip.Of, PublicDownload: a.PublicDownload,
	}
	if a.Clip.Of != "" {
		r.ClipStart, r.ClipEnd = micros(a.Clip.Start), micros(a.Clip.End)
	}
	for _, f := range []struct {
		dst   *string
		v     any
		n     int
		empty string
	}{
		{&r.Tracks, a.Tracks, len(a.Tracks), "[]"},
		{&r.Gaps, a.Gaps, len(a.Gaps), "[]"},
		{&r.Metadata, a.Metadata, len(a.Metadata), "{}"},
	} {
		*f.dst = f.empty
		if f.n == 0 {
			continue
		}
		b, err := json.Marshal(f.v)
		if err != nil {
			return nil, err
		}
		*f.dst = string(b)
	}
	return r, nil
}

func (r *assetRow) asset() (Asset, error) {
	a := Asset{
		ID: r.ID, LiveStreamID: r.LiveStreamID, CreatedAt: fromMicros(r.CreatedAt), UpdatedAt: fromMicros(r.UpdatedAt),
		Title: r.Title, GapCount: r.GapCount, Metadata: map[string]string{}, PublicDownload: r.PublicDownload,
		Recorded: Recorded{
			Status: AssetStatus(r.Status), Error: r.Error, Bytes: r.SizeBytes,
			Duration: time.Duration(r.Duration) * time.Microsecond,
		},
	}
	if r.ClipOf != "" {
		a.Clip = Clip{r.ClipOf, fromMicros(r.ClipStart), fromMicros(r.ClipEnd)}
	}
	for _, f := range []struct {
		src string
		dst any
	}{{r.Tracks, &a.Tracks}, {r.Gaps, &a.Gaps}, {r.Metadata, &a.Metadata}} {
		if err := json.Unmarshal([]byte(f.src), f.dst); err != nil {
			return Asset{}, err
		}
	}
	if len(a.Tracks) == 0 {
		a.Tracks = nil
	}
	if len(a.Gaps) == 0 {
		a.Gaps = nil
	}
	return a, nil
}
