package record

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"onair/internal/fault"
)

// ProblemKind is what can be wrong with an asset.
type ProblemKind string

// The kinds of problems.
const (
	// Damaged: part of the index cannot be read, and what it told is not known any more.
	Damaged ProblemKind = "damaged"
	// Missing: the index lists an object that is not in the storage.
	Missing ProblemKind = "missing"
	// Altered: an object has another size, or other samples, than the index tells.
	Altered ProblemKind = "altered"
	// Stray: the storage has an object that the index does not list.
	Stray ProblemKind = "stray"
)

// Problem is one thing that is wrong with an asset.
type Problem struct {
	Kind ProblemKind `json:"kind"`
	// Object is its name in the storage; that of the index if it is Damaged.
	Object string `json:"object"`
	// Detail says in words what was found.
	Detail string `json:"detail"`

	rendition string
	sequence  int64 // -1: none, as of an initialization section
}

// Report is what Verify found.
type Report struct {
	*Snapshot
	Problems []Problem
}

// Look finds the assets of the storage and changes nothing, as Load would, so that they can be
// verified and read while another server records into it.
func (l *Library) Look() error {
	names, err := l.journals.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		id, ok := assetOf(name)
		if !ok {
			continue
		}
		if r, err := l.journals.Read(name); err == nil {
			end, err := readEnd(r, r.Size())
			_ = r.Close() // nothing was written
			if err == nil && end != nil && end.State == deleted {
				continue // clips still need of it what is there
			}
		}
		l.mu.Lock()
		l.known[id] = struct{}{}
		l.mu.Unlock()
	}
	return nil
}

// Peek returns an asset as its index tells it: Recording as long as that has no end, also if
// nobody records any more.
func (l *Library) Peek(id string) (*Snapshot, error) {
	d, _, _, err := l.read(id)
	if err != nil {
		return nil, err
	}
	return d.snapshot(), nil
}

// assetOf returns the asset whose index a journal is.
func assetOf(journal string) (id string, ok bool) {
	id, ok = strings.CutSuffix(journal, "/index"+journalExt)
	return id, ok && !strings.Contains(id, "/")
}

// Verify compares the index of an asset with its objects: each is there and as large as the
// index tells. Deep reads the media, too, and compares its samples with those in the index.
// The state is Recording as long as the index has no end; objects that it does not list are no
// problem then. It changes nothing.
func (l *Library) Verify(ctx context.Context, id string, deep bool) (Report, error) {
	d, _, damaged, err := l.read(id)
	if err != nil {
		return Report{}, err
	}
	out := Report{Snapshot: d.snapshot()}
	if damaged {
		out.Problems = append(out.Problems, Problem{
			Kind: Damaged, Object: journalName(id), Detail: "part of the index cannot be read", sequence: -1,
		})
	}
	there, err := l.sizes(ctx, out.Snapshot)
	if err != nil {
		return out, err
	}
	for _, r := range out.Renditions {
		for _, i := range r.Inits {
			out.compare(there, id+"/"+r.Name+"/"+i.Name, int64(len(i.Data)), r.Name, -1)
		}
		for i := range r.Segments.Len() {
			if s := r.Segments.At(i); !s.Gap {
				out.compare(there, objectName(id, r.Name, &s), s.Size, r.Name, s.Sequence)
			}
		}
	}
	for name, size := range there {
		// Of what is being recorded objects are stored before the index lists them.
		if owner, _, _ := strings.Cut(name, "/"); size >= 0 && owner == id && out.State != Recording {
			out.Problems = append(out.Problems, Problem{Kind: Stray, Object: name, Detail: "the index does not list it", sequence: -1})
		}
	}
	if deep {
		if err := l.compareSamples(ctx, &out); err != nil {
			return out, err
		}
	}
	slices.SortStableFunc(out.Problems, func(a, b Problem) int { return cmp.Compare(a.Object, b.Object) })
	return out, nil
}

// objectName is where a segment is stored.
func objectName(asset, rendition string, s *Segment) string {
	return cmp.Or(s.Asset, asset) + "/" + rendition + "/" + s.Name
}

// sizes lists the objects of an asset, and of those that it refers to.
func (l *Library) sizes(ctx context.Context, s *Snapshot) (map[string]int64, error) {
	assets := map[string]struct{}{s.ID: {}}
	for _, r := range s.Renditions {
		for i := range r.Segments.Len() {
			if other := r.Segments.Unnamed(i).Asset; other != "" {
				assets[other] = struct{}{}
			}
		}
	}
	out := map[string]int64{}
	for id := range assets {
		list, err := l.storage.List(ctx, id)
		if err != nil {
			return nil, err
		}
		for _, o := range list {
			out[o.Name] = o.Size
		}
	}
	return out, nil
}

// compare notes what is wrong with an object, and ticks it off.
func (r *Report) compare(there map[string]int64, name string, size int64, rendition string, sequence int64) {
	found, ok := there[name]
	there[name] = -1
	switch {
	case ok && found < 0:
		// Listed twice: an initialization section that came again.
	case !ok:
		r.Problems = append(r.Problems, Problem{Missing, name, "it is in the index and not in the storage", rendition, sequence})
	case found != size:
		r.Problems = append(r.Problems, Problem{
			Altered, name, "it has " + strconv.FormatInt(found, 10) + " bytes, of " + strconv.FormatInt(size, 10), rendition, sequence,
		})
	}
}

// compareSamples reads all segments that are as large as they should be.
func (l *Library) compareSamples(ctx context.Context, out *Report) error {
	wrong := map[string]bool{}
	for _, p := range out.Problems {
		wrong[p.Object] = true
	}
	for _, r := range out.Renditions {
		list, err := l.Tables(ctx, out.ID, r.Name)
		if err != nil {
			return err
		}
		tables, next := list[0], 0
		for i := range r.Segments.Len() {
			s := r.Segments.At(i)
			if s.Gap {
				continue
			}
			for next < len(tables) && tables[next].Sequence < s.Sequence {
				next++
			}
			if next == len(tables) || tables[next].Sequence != s.Sequence {
				continue // it was added since the index was read for tables
			}
			table := tables[next]
			name := objectName(out.ID, r.Name, &s)
			if wrong[name] || s.Size > maxObject || len(table.Data) == 0 {
				continue
			}
			data, err := l.whole(ctx, name)
			if err != nil {
				return err
			}
			if now, err := l.cfg.Scan([][]byte{data}); err != nil || !bytes.Equal(now, table.Data) {
				out.Problems = append(out.Problems, Problem{Altered, name, "its samples are others than in the index", r.Name, s.Sequence})
			}
		}
	}
	return nil
}

func (l *Library) whole(ctx context.Context, name string) ([]byte, error) {
	o, err := l.storage.Open(ctx, name, 0, -1)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	return io.ReadAll(io.LimitReader(o, maxObject))
}

// Repair makes an asset playable that Verify found problems in, and returns what it changed:
// segments that are missing or altered become gaps; those that are stored and not in the index,
// or otherwise than the index tells, are taken into it if they are whole. What is stored and of
// no use is removed, unless the index is damaged. The library must be loaded; fault.Conflict
// while the asset is being recorded, fault.Invalid if its index has lost its beginning, and
// fault.NotFound if none of its segments is there, of which nothing could be played: then it is
// more likely that this is another storage, and what the index tells stays.
func (l *Library) Repair(ctx context.Context, id string, deep bool) (fixed []Problem, err error) {
	const op = "repair"
	l.mu.Lock()
	_, known := l.known[id]
	busy := l.active[id] != nil
	l.mu.Unlock()
	switch {
	case !known:
		return nil, notFound(op, id)
	case busy:
		return nil, fault.New(fault.Conflict, op, id, "it is being recorded, or was when the server was killed", "Start the server once, which ends it")
	}
	report, err := l.Verify(ctx, id, deep)
	if err != nil || len(report.Problems) == 0 {
		return nil, err
	}
	if report.nothingThere() {
		return nil, fault.New(fault.NotFound, op, id, "none of its segments is in the storage", "See whether this is the folder or the bucket that it was recorded into; delete it if they are lost")
	}
	d, _, damaged, err := l.read(id)
	if err != nil {
		return nil, err
	}
	w := &writer{l: l, asset: &Asset{id: id}, draft: d}
	for _, p := range report.Problems {
		if p.sequence >= 0 {
			w.add(&entry{R: p.rendition, Lost: &lostEntry{Sequence: p.sequence}}, nil)
		} else if r := d.rendition(p.rendition); r != nil {
			// An initialization section, which the index holds whole.
			name := p.Object[strings.LastIndexByte(p.Object, '/')+1:]
			if i, ok := r.Init(name); ok {
				if err := l.storage.Put(ctx, p.Object, [][]byte{i.Data}); err != nil {
					return nil, err
				}
			}
		}
	}
	// Objects are removed only once the index does not list them, durably.
	err = w.flush()
	if err == nil {
		err = w.adopt(ctx, damaged)
	}
	if damaged {
		w.add(&entry{Repaired: &d.useless}, nil)
	}
	if d.end != nil {
		w.add(&entry{End: d.end}, nil) // an index that is complete ends with it
	}
	err = errors.Join(err, w.flush())
	if w.j != nil {
		err = errors.Join(err, w.j.Close())
	}
	l.reread(id)
	if err != nil {
		return nil, err
	}
	left, err := l.Verify(ctx, id, false)
	for _, p := range report.Problems {
		if !slices.ContainsFunc(left.Problems, func(q Problem) bool { return p.Kind == q.Kind && p.Object == q.Object }) {
			fixed = append(fixed, p)
		}
	}
	return fixed, err
}

// reread has an asset read again as it is now. Who has begun to read it before is waited for:
// it would be kept as it was.
func (l *Library) reread(id string) {
	l.reading.Lock()
	defer l.reading.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.IndexFunc(l.cache, func(c *cached) bool { return c.asset.id == id }); i >= 0 {
		l.forget(i)
	}
}

// nothingThere reports whether all segments are missing, if there should be any, and nothing is
// stored that may be one.
func (r *Report) nothingThere() bool {
	missing, all := 0, 0
	for _, p := range r.Problems {
		if p.Kind == Stray {
			return false
		}
		if p.Kind == Missing && p.sequence >= 0 {
			missing++
		}
	}
	for _, rendition := range r.Renditions {
		for i := range rendition.Segments.Len() {
			if !rendition.Segments.Unnamed(i).Gap {
				all++
			}
		}
	}
	return all > 0 && missing == all
}
