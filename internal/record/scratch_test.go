package record

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/media/mediatest"
)

// What is written over in place is read as it was written last, on the disk too, where it goes
// past the cache.
func TestScratch(t *testing.T) {
	f, err := NewFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const name = "as_a/open.0.log"
	s, err := f.Scratch(name)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var want []byte
	for i, at := range []int{0, 1, 1, 0, 3} { // in blocks
		b := bytes.Repeat([]byte{byte('a' + i)}, 2*ScratchBlock+1)[1:] // not where a block begins
		if n, err := s.WriteAt(b, int64(at*ScratchBlock)); err != nil || n != len(b) {
			t.Fatalf("%d, %v", n, err)
		}
		want = append(want, make([]byte, max(0, (at+2)*ScratchBlock-len(want)))...)
		copy(want[at*ScratchBlock:], b)
		r, err := f.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("after write %d: %d bytes, want %d, %v", i, len(got), len(want), err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := s.Empty(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(f.path(name)); err != nil || info.Size() != 0 {
		t.Errorf("%v, %v", info, err)
	}
}

// The power is cut when the files of the journal of parts were written over more than once: what
// is of earlier turns is not taken for new, and at most a second is lost.
func TestPowerCutAfterTurns(t *testing.T) {
	random := rand.New(rand.NewPCG(31, 32))
	worst := time.Duration(0)
	for range 4 {
		at := 12*time.Second + time.Duration(random.Int64N(int64(8*time.Second)))
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, pack.DefaultConfig())
			defer r.close()
			r.publish(mediatest.Options{FrameSize: 40000, AudioSize: 60})
			worst = max(worst, cutAt(t, r, at, true, random))
		})
	}
	t.Logf("at most %v was lost", worst)
	if worst > time.Second {
		t.Errorf("%v was lost", worst)
	}
}

// A file of the journal of parts is read up to the end of its last turn.
func TestRecordsOfEarlierTurnsAreNone(t *testing.T) {
	d := newFakeDisk()
	l, f := library(t, d)
	w := &writer{l: l, asset: &Asset{id: assetID}, draft: &draft{}}
	o := &openLog{w: w}
	defer o.close()
	turn := func(seed uint32, sequences ...int64) {
		o.begun, o.size, o.seed = false, 0, seed
		o.buf = appendEntry(nil, &entry{Turn: &turnEntry{seed}}, nil)
		for _, n := range sequences {
			for range 2 { // of one length each, so that records of one turn begin where others did
				o.buf = appendSeeded(o.buf, seed, &entry{R: "v0", Part: &partEntry{segmentEntry: segmentEntry{Sequence: n}}}, make([]byte, 1000))
			}
			o.pad()
			if err := o.write(); err != nil {
				t.Fatal(err)
			}
			o.buf = o.buf[:0]
		}
	}
	turn(1, 1, 2, 3, 4, 5, 6)
	turn(2, 7, 8)
	r, err := f.Read(openName(assetID, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []int64
	err = readParts(r, r.Size(), func(e *entry, _ []byte) {
		if e.Part != nil {
			got = append(got, e.Part.Sequence)
		}
	})
	if err != nil || len(got) != 4 || got[0] != 7 || got[3] != 8 {
		t.Errorf("%v, %v", got, err)
	}
}
