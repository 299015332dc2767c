package clip

import (
	"bytes"
	"context"
	"errors"
	"io"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/fmp4"
	"onair/internal/record"
)

// read returns the samples of a segment, in decoding order and with their durations.
func (k *cutter) read(ctx context.Context, r *record.Rendition, seg *record.Segment) ([]*media.Packet, error) {
	asset := k.s.ID
	if seg.Asset != "" {
		asset = seg.Asset
	}
	o, err := k.lib.Open(ctx, asset, r.Name, seg.Name, 0, -1)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	if seg.Size > maxSegment {
		return nil, fault.New(fault.TooLarge, "clip", seg.Name, "the segment has too many bytes", "")
	}
	src := fmp4.NewReader(io.MultiReader(bytes.NewReader(r.Inits[seg.Init].Data), io.LimitReader(o, maxSegment)))
	var out []*media.Packet
	for {
		p, err := src.ReadPacket(ctx)
		switch {
		case errors.Is(err, io.EOF) && len(out) > 0:
			return out, nil
		case errors.Is(err, io.EOF):
			return nil, fault.New(fault.Invalid, "clip", seg.Name, "a segment of the recording is empty", "")
		case err != nil:
			return nil, err
		}
		out = append(out, p)
	}
}

// segment makes a segment of some of the samples of another one. Each lasts until the next.
func (k *cutter) segment(r *record.Rendition, seg *record.Segment, samples []*media.Packet) (record.OwnSegment, error) {
	own := record.OwnSegment{Segment: *seg}
	track := r.Inits[seg.Init].Track
	end := samples[len(samples)-1].DTS + samples[len(samples)-1].Duration
	return own, fill(&own, k.s, track, samples, end)
}

// fill makes the bytes of a segment and what the index says of it. end is where its last
// sample ends, as decoding time.
func fill(own *record.OwnSegment, s *record.Snapshot, track *media.Track, samples []*media.Packet, end int64) error {
	f := fmp4.Fragment{Sequence: 1, Track: track, BaseDTS: samples[0].DTS, Samples: make([]fmp4.Sample, len(samples))}
	payload := 0
	for i, p := range samples {
		next := end
		if i+1 < len(samples) {
			next = samples[i+1].DTS
		}
		const most = 1 << 31
		if d := next - p.DTS; d <= 0 || d > most {
			return fault.New(fault.Invalid, "clip", own.Name, "the times of a segment of the recording are not in order", "")
		}
		f.Samples[i] = fmp4.Sample{Duration: uint32(next - p.DTS), CTSOffset: int32(p.PTS - p.DTS), Key: p.Key, Data: p.Data}
		payload += len(p.Data)
	}
	own.Data = f.AppendTo(nil)
	own.KeySize = 0
	if track.Kind() == media.Video {
		own.KeySize = int64(len(own.Data) - payload + len(samples[0].Data))
	}
	own.Independent = samples[0].Key || track.Kind() == media.Audio
	own.BaseTime, own.Ticks, own.Offset = samples[0].DTS, end-samples[0].DTS, samples[0].PTS-samples[0].DTS
	own.Start = s.Origin.Add(track.Duration(samples[0].PTS))
	own.Duration = track.Duration(end) - track.Duration(samples[0].DTS)
	return nil
}
