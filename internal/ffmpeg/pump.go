package ffmpeg

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/fmp4"
)

// feed writes the source to the child. The timeline is sent with the first packet, before
// anything can come out. It returns nil at the source's end.
func (r *run) feed(ctx context.Context, lines chan<- timeline) error {
	defer close(lines)
	f := feeder{w: r.child.in, track: r.job.Source}
	for {
		p, err := r.src.ReadPacket(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case !same(r.job.Source, p.Track):
			return fault.Wrap(fault.Invalid, "transcode", r.job.Stream, fmt.Errorf("%w: its parameters changed", ErrSource), "")
		case r.fed.Load() >= r.tool.worn && p.Key:
			r.src.next = p
			return nil
		}
		r.newestIn.Store(int64(p.Track.Duration(p.PTS)))
		r.blocked.Store(int64(time.Since(r.started)))
		if r.fed.Load() == 0 {
			if err = f.header(p); err == nil {
				lines <- f.line
			}
		}
		if err == nil {
			err = f.packet(p)
		}
		r.blocked.Store(0)
		var path *os.PathError
		switch {
		case errors.As(err, &path):
			return errBroken
		case err != nil:
			return err
		}
		r.fed.Add(1)
	}
}

// readAll reads every output in a goroutine of its own.
func (r *run) readAll(ctx context.Context, lines <-chan timeline) {
	line, fed := <-lines
	var wait sync.WaitGroup
	for i := range r.outputs {
		wait.Go(func() {
			var err error
			if fed {
				err = r.read(ctx, i, line)
			}
			r.ended <- ending{err: err}
		})
	}
	wait.Wait()
}

// read takes what comes out of output i. It returns nil at a regular end.
func (r *run) read(ctx context.Context, i int, line timeline) error {
	o, told := r.job.Outputs[i], &r.outputs[i]
	in := bufio.NewReaderSize(r.child.outs[i], 64<<10)
	if err := looksRight(in); err != nil {
		return r.unreadable(o, err)
	}
	reader := fmp4.NewReader(in)
	var from, to *media.Track
	for {
		p, err := reader.ReadPacket(ctx)
		if err != nil {
			return r.unreadable(o, err)
		}
		if p.Track != from {
			if from, to, err = p.Track, r.track(o, p.Track), r.expected(o, p.Track); err != nil {
				return r.unreadable(o, err)
			}
		}
		shift := line.shift(to)
		p.Track, p.DTS, p.PTS = to, p.DTS+shift, p.PTS+shift
		if p.DTS < told.end {
			continue // priming of sound, where another had come to already
		}
		told.end = p.DTS + p.Duration
		told.fed.Store(r.fed.Load())
		told.newest.Store(int64(to.Duration(p.PTS)))
		told.at.Store(int64(time.Since(r.started)))
		told.made.Add(1)
		r.once.Do(func() { close(r.first) })
		if err := o.Sink.WritePacket(ctx, p); err != nil {
			return fault.Wrap(fault.Internal, "transcode", r.job.Stream, fmt.Errorf("%w: %s: %w", ErrOutput, o.Name, err), "")
		}
	}
}

// looksRight tells a file of ours from anything else before it is waited for boxes.
func looksRight(in *bufio.Reader) error {
	b, err := in.Peek(8)
	switch {
	case err != nil && len(b) == 0:
		return err
	case err == nil && string(b[4:]) == "ftyp":
		return nil
	}
	return fault.New(fault.Invalid, "read", "what ffmpeg wrote", "it does not begin as MP4 does", "")
}

// unreadable sorts the ends of an output: nil for a regular one.
func (r *run) unreadable(o Output, err error) error {
	var path *os.PathError
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case errors.As(err, &path), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %s", errCut, o.Name)
	case errors.Is(err, context.Canceled):
		return err
	}
	return fault.Wrap(fault.Invalid, "transcode", r.job.Stream, fmt.Errorf("%w: %s: %w", ErrGarbage, o.Name, err), "See that transcode-ffmpeg is an ffmpeg.")
}

// track is the track of the packets of an output.
func (r *run) track(o Output, made *media.Track) *media.Track {
	t := *made
	t.ID, t.Rendition, t.Language, t.KeyInterval = o.TrackID, o.Rendition, r.job.Source.Language, r.job.Source.KeyInterval
	if o.Video != nil {
		// What the encoder writes depends on what ffmpeg took the source's rate for.
		t.FrameRate = r.tool.Plan(*o.Video, r.job.Source).FrameRate
	}
	return &t
}

// expected checks that an output is what was asked for.
func (r *run) expected(o Output, made *media.Track) error {
	scale := r.job.Source.Timescale
	if o.Audio != nil {
		scale = made.SampleRate
	}
	if made.Timescale != scale || made.Kind() != r.job.Source.Kind() {
		return fmt.Errorf("it has %s in a timescale of %d", made.Codec, made.Timescale)
	}
	return nil
}
