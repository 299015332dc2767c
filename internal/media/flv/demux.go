package flv

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// Demuxer turns message bodies into packets. It keeps no clock and starts nothing;
// the zero value is ready. It is not safe for concurrent use.
//
// Packets point into the bodies they came from: a body must not be written to after
// it was handed over.
type Demuxer struct {
	// Nanoseconds is set before the first message of a sender that announced that its
	// stamps may have nanoseconds.
	Nanoseconds bool

	clock  clock
	tracks []*track
	// declared is the frame rate that onMetaData tells.
	declared float64
	stats    Stats
}

// Stats counts what a Demuxer did not turn into packets.
type Stats struct {
	// NoHeader counts frames that came before the sequence header of their track.
	NoHeader uint64
	// Ignored counts messages that carry nothing playable: ends of sequence, video
	// commands, colour metadata, silence.
	Ignored uint64
	// Refused counts frames of further tracks (not the first video or audio track)
	// that cannot be used: over MaxTracks, or in an unusable codec.
	Refused uint64
	// Changed counts frames that were left out because the parameters of their track
	// change more often than maxChanges allows.
	Changed uint64
}

// track is what the demuxer knows of one track of the sender.
type track struct {
	id    int
	codec media.Codec
	// header is the last sequence header. One that is repeated changes nothing, even if
	// parameter sets in frames have replaced what it says since.
	header []byte
	// wire describes the payload as the encoder sends it, media as packets carry it.
	// They differ in the length of NAL length prefixes alone. Both are nil until the
	// parameters are known.
	wire, media *media.Track
	// prefix is the size of NAL length prefixes less one, as the sequence header told.
	prefix byte
	// begun is set when the first frame came.
	begun bool
	// fine is set for a track of FineTimescale.
	fine bool
	// changes are the changes of parameters that the track may still make, and
	// refilled is when, in milliseconds, one was last added.
	changes  int
	refilled int64
	// held is the sequence header that waits until it may change the parameters; frames
	// are left out meanwhile.
	held *held
	// channels is what a MultichannelConfig told; 0 if none came.
	channels int
	// failed is why the track is refused; only further tracks are, the first of its
	// kind ends the session instead.
	failed error
}

// Tracks returns the newest version of every track whose parameters are known, in
// order of ID.
func (d *Demuxer) Tracks() []*media.Track {
	var out []*media.Track
	for _, t := range d.tracks {
		if t.media != nil {
			out = append(out, t.media)
		}
	}
	slices.SortFunc(out, func(a, b *media.Track) int { return a.ID - b.ID })
	return out
}

// Stats returns the counts so far.
func (d *Demuxer) Stats() Stats { return d.stats }

// Metadata takes the values of an onMetaData message. The frame rate fills in where the
// bitstream declares none; everything else is better known from the bitstream.
func (d *Demuxer) Metadata(m Metadata) {
	if r := m.Number("framerate"); r > 0 && r <= 1000 {
		d.declared = r
	}
}

// Video takes the body of a video message that is stamped ts (in milliseconds, modulo
// 2^32) and returns the packets in it: none for headers and the like, several for a
// multitrack message. The error is a fault that says what the encoder should do.
func (d *Demuxer) Video(ts uint32, body []byte) ([]*media.Packet, error) {
	if len(body) == 0 {
		d.stats.Ignored++
		return nil, nil
	}
	if body[0]&0x80 != 0 {
		m, err := parseEx(body, media.Video)
		if err != nil {
			return nil, invalid("video", err)
		}
		if m.command {
			d.stats.Ignored++
			return nil, nil
		}
		return d.each(m, media.Video, ts)
	}
	frame := body[0] >> 4
	if frame == frameCommand {
		d.stats.Ignored++
		return nil, nil
	}
	codec, err := legacyVideo(body[0] & 0x0f)
	if err != nil {
		return nil, err
	}
	if len(body) < 5 {
		d.stats.Ignored++
		return nil, nil
	}
	t := d.track(media.Video, 0)
	switch body[1] {
	case legacyHeader:
		return nil, d.setHeader(t, codec, body[5:])
	case legacyFrames:
		return d.one(d.frame(t, codec, frame == frameKey, stamp{ts: ts, cts: signed24(body[2:])}, body[5:]))
	default:
		d.stats.Ignored++
		return nil, nil
	}
}

// Audio takes the body of an audio message, as Video does. A body without bytes is a
// gap of silence and yields nothing.
func (d *Demuxer) Audio(ts uint32, body []byte) ([]*media.Packet, error) {
	if len(body) == 0 {
		d.stats.Ignored++
		return nil, nil
	}
	switch format := body[0] >> 4; format {
	case soundEx:
		m, err := parseEx(body, media.Audio)
		if err != nil {
			return nil, invalid("audio", err)
		}
		return d.each(m, media.Audio, ts)
	case soundAAC:
		if len(body) < 3 {
			d.stats.Ignored++
			return nil, nil
		}
		t := d.track(media.Audio, 0)
		switch body[1] {
		case legacyHeader:
			return nil, d.setHeader(t, media.AAC, body[2:])
		case legacyFrames:
			return d.one(d.frame(t, media.AAC, true, stamp{ts: ts}, body[2:]))
		}
		d.stats.Ignored++
		return nil, nil
	case soundMP3, soundMP3 | 12: // 14 is MP3 at 8 kHz
		return d.one(d.frame(d.track(media.Audio, 0), media.MP3, true, stamp{ts: ts}, body[1:]))
	default:
		return nil, unsupportedSound(format)
	}
}

func (d *Demuxer) one(p *media.Packet, err error) ([]*media.Packet, error) {
	if p == nil || err != nil {
		return nil, err
	}
	return []*media.Packet{p}, nil
}

// each handles every track's part of an Enhanced RTMP message.
func (d *Demuxer) each(m exMessage, k media.Kind, ts uint32) ([]*media.Packet, error) {
	var out []*media.Packet
	for _, part := range m.tracks {
		t := d.track(k, part.index)
		if t == nil || t.failed != nil {
			d.stats.Refused++
			continue
		}
		p, err := d.enhanced(t, m, k, ts, part)
		if err != nil && part.index > 0 {
			// A further track that cannot be used costs that track, not the stream.
			t.failed = err
			d.stats.Refused++
			continue
		}
		if err != nil {
			return out, err
		}
		if p != nil {
			out = append(out, p)
		}
	}
	return out, nil
}

func (d *Demuxer) enhanced(t *track, m exMessage, k media.Kind, ts uint32, part exTrack) (*media.Packet, error) {
	codec := codecOf(part.fourCC, k)
	if codec == media.UnknownCodec {
		return nil, unsupportedFourCC(part.fourCC, k)
	}
	switch m.packetType {
	case exSequenceStart:
		return nil, d.setHeader(t, codec, part.body)
	case exCodedFrames:
		b, cts := part.body, int32(0)
		if codec == media.H264 || codec == media.HEVC {
			if len(b) < 3 {
				return nil, invalid("video", errShort)
			}
			cts, b = signed24(b), b[3:]
		}
		return d.frame(t, codec, m.frameType == frameKey, stamp{ts, cts, m.nanoseconds, m.precise}, b)
	case exCodedFramesX:
		if k == media.Video {
			return d.frame(t, codec, m.frameType == frameKey, stamp{ts, 0, m.nanoseconds, m.precise}, part.body)
		}
	case exMultichannel:
		if k == media.Audio && len(part.body) >= 2 {
			t.channels = int(part.body[1])
		}
	}
	d.stats.Ignored++
	return nil, nil
}

// track returns the state of the sender's track, and nil above MaxTracks.
func (d *Demuxer) track(k media.Kind, index int) *track {
	id := 2*index + 1
	if k == media.Audio {
		id++
	}
	for _, t := range d.tracks {
		if t.id == id {
			return t
		}
	}
	// The first video and the first audio track always find a place.
	if len(d.tracks) >= MaxTracks && index > 0 {
		return nil
	}
	t := &track{id: id, fine: d.Nanoseconds, changes: maxChanges}
	d.tracks = append(d.tracks, t)
	return t
}

// stamp is what a message says of the time of its frames.
type stamp struct {
	ts          uint32
	cts         int32
	nanoseconds int64
	// precise is set where nanoseconds were told.
	precise bool
}

// frame makes a packet of a coded frame.
func (d *Demuxer) frame(t *track, codec media.Codec, flagged bool, at stamp, b []byte) (*media.Packet, error) {
	if len(b) == 0 {
		d.stats.Ignored++
		return nil, nil
	}
	// Only frames move the clock: encoders stamp late sequence headers with 0.
	ms := d.clock.unwrap(at.ts)
	if at.precise && !t.begun {
		d.makeFine(t)
	}
	t.begun = true
	if err := d.release(t); err != nil {
		return nil, err
	}
	err := d.learn(t, codec, flagged, b)
	if err == nil && (t.wire == nil || t.codec != codec) && t.held == nil {
		d.stats.NoHeader++
		return nil, nil
	}
	if err == nil && t.held != nil {
		err = errTooOften
	}
	key := true
	if err == nil && codec.Kind() == media.Video {
		b, key, err = d.picture(t, codec, flagged, ms, b)
	}
	switch {
	case errors.Is(err, errTooOften):
		d.stats.Changed++
		return nil, nil
	case err != nil:
		return nil, err
	case len(b) == 0:
		d.stats.Ignored++
		return nil, nil
	}
	dts, cts := ms, int64(at.cts)
	switch {
	case t.fine:
		dts, cts = ms*nanosecondsPerTick+at.nanoseconds, cts*nanosecondsPerTick
	case at.nanoseconds >= nanosecondsPerTick/2:
		dts++
	}
	return &media.Packet{Track: t.media, DTS: dts, PTS: dts + cts, Key: key, Data: b}, nil
}

// picture brings a frame into the form of packets and takes the parameter sets in it.
func (d *Demuxer) picture(t *track, codec media.Codec, flagged bool, ms int64, b []byte) (out []byte, key bool, err error) {
	out, params, err := bitstream.Normalize(t.wire, b)
	if err != nil {
		return nil, false, fmt.Errorf("%s frame at %d ms: %w", codec, ms, err)
	}
	if params != nil {
		if err := d.setConfig(t, &media.Track{Codec: codec, Config: params}); err != nil {
			return nil, false, err
		}
	}
	return out, isKey(codec, flagged, out), nil
}

// makeFine gives a track that yielded no packet yet the timescale of nanoseconds.
func (d *Demuxer) makeFine(t *track) {
	t.fine = true
	if t.media != nil {
		wire, public := *t.wire, *t.media
		wire.Timescale, public.Timescale = FineTimescale, FineTimescale
		t.wire, t.media = &wire, &public
	}
}

// isKey trusts the bitstream before the flag: players can start only where it says so.
// An encoder with periodic intra refresh or open groups never sends an IDR picture
// after the first; its recovery points count where it flags them as key frames.
func isKey(codec media.Codec, flagged bool, b []byte) bool {
	switch codec {
	case media.H264, media.HEVC, media.AV1:
		return bitstream.IsKey(codec, b) || codec == media.H264 && flagged && hasRecoveryPoint(b)
	default:
		return flagged
	}
}

// hasRecoveryPoint reports whether an H.264 access unit has an SEI message of payload
// type 6 (ITU-T H.264, D.2.8) before its first slice.
func hasRecoveryPoint(accessUnit []byte) bool {
	for nal, err := range bitstream.NALUs(accessUnit) {
		if err != nil || len(nal) < 2 {
			return false
		}
		switch typ := nal[0] & 0x1f; {
		case typ >= 1 && typ <= 5:
			return false
		case typ == 6:
			for b := nal[1:]; len(b) >= 2 && b[0] != 0xff && b[1] != 0xff; {
				if b[0] == 6 {
					return true
				}
				size := int(b[1])
				if len(b) < 2+size {
					break
				}
				b = b[2+size:]
			}
		}
	}
	return false
}

// signed24 reads an SI24, the composition time offset in milliseconds.
func signed24(b []byte) int32 {
	return int32(uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8) >> 8
}

// setHeader takes a sequence header of a track.
func (d *Demuxer) setHeader(t *track, codec media.Codec, b []byte) error {
	if t.codec == codec && t.header != nil && bytes.Equal(t.header, b) {
		t.held = nil
		return nil
	}
	config, err := configOf(t, codec, b)
	if err != nil {
		return err
	}
	if config == nil || codec == media.VP8 || codec == media.VP9 {
		// The parameters, or some of them, are in the frames: learn finds them.
		if t.codec != codec {
			t.wire = nil
		}
		t.codec, t.header, t.held = codec, config, nil
		return nil
	}
	if at := lengthSizeAt(codec); at >= 0 && at < len(config) {
		t.prefix = config[at] & 3
	}
	err = d.setConfig(t, &media.Track{Codec: codec, Config: config})
	if errors.Is(err, errTooOften) {
		t.held = &held{codec, bytes.Clone(b)}
		return nil
	}
	if err != nil {
		return err
	}
	t.header, t.held = bytes.Clone(b), nil
	return nil
}

// setConfig makes the next version of a track from codec, configuration and what else
// next holds.
func (d *Demuxer) setConfig(t *track, next *media.Track) error {
	if t.media != nil && !d.mayChange(t) {
		return errTooOften
	}
	next.ID, next.Timescale, next.Config = t.id, Timescale, bytes.Clone(next.Config)
	if t.fine {
		next.Timescale = FineTimescale
	}
	if len(next.Config) == 0 {
		next.Config = nil
	}
	if t.media != nil {
		next.Version = t.media.Version + 1
	}
	at := lengthSizeAt(next.Codec)
	if at >= 0 && at < len(next.Config) {
		// Parameter sets found between frames say nothing of the length prefixes, which
		// stay as the sequence header told.
		next.Config[at] = next.Config[at]&^3 | t.prefix
	}
	wire, err := bitstream.Describe(next)
	if err != nil {
		return headerFault(next.Codec, err)
	}
	public := *wire
	if public.FrameRate == 0 && public.Kind() == media.Video {
		public.FrameRate = d.declared
	}
	if at >= 0 && at < len(public.Config) {
		public.Config = bitstream.CanonicalConfig(wire)
	}
	t.codec, t.wire, t.media = next.Codec, wire, &public
	return nil
}
