package ffmpeg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strconv"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/fmp4"
)

// Bounds on what Recode takes and makes.
const (
	// recodeTime is how long it may take.
	recodeTime = 2 * time.Minute
	// maxRecodeUnits and maxRecodeBytes bound what is decoded: a segment of pack's, and the
	// pictures of the next one that are shown before its first.
	maxRecodeUnits, maxRecodeBytes = 8192, 128 << 20
	// maxRecoded is how many bytes may come out.
	maxRecoded = 256 << 20
	// recodeQuality is the constant quality, in the scale of all these encoders: hardly to be
	// told from the source.
	recodeQuality = "16"
)

// Recode decodes units, which begin with a key packet, and encodes those of their pictures
// again whose PTS is from ≤ PTS < to, in the same codec, size and format: without B-frames
// (DTS is PTS), the first of them a key picture and no other. The packets carry the track of
// their own parameters, with the source's timescale; they have no duration. The parameter
// sets of H.264 have other numbers than those of the source, so that both can stand together.
//
// The error is fault.Unsupported for a codec that this ffmpeg does not decode or encode in
// software, fault.Invalid and fault.TooLarge for units out of bounds, fault.Timeout after two
// minutes, and fault.Unavailable when nothing came of it.
func (t *Tool) Recode(ctx context.Context, track *media.Track, units []*media.Packet, from, to int64) ([]*media.Packet, error) {
	const op = "encode again"
	encoder, err := t.recoder(track, units)
	if err != nil {
		return nil, err
	}
	var in bytes.Buffer
	f := feeder{w: &in, track: track}
	for i, p := range units {
		if i == 0 {
			if err := f.header(p); err != nil {
				return nil, err
			}
		}
		if err := f.packet(p); err != nil {
			return nil, err
		}
	}
	shift := f.line.shift(track)
	ctx, cancel := context.WithTimeout(ctx, recodeTime)
	defer cancel()
	out, err := t.once(ctx, t.recodeArguments(track, encoder, from-shift, to-shift), in.Bytes(), maxRecoded, false)
	if err != nil {
		return nil, fault.Wrap(fault.KindOf(err), op, track.Codec.String(), err, "")
	}
	var packets []*media.Packet
	r := fmp4.NewReader(bytes.NewReader(out))
	for {
		p, err := r.ReadPacket(ctx)
		if errors.Is(err, io.EOF) && len(packets) > 0 {
			return packets, nil
		}
		if err == nil && (p.Track.Codec != track.Codec || p.Track.Timescale != track.Timescale || p.Key != (len(packets) == 0)) {
			err = errors.New("it is something else than what was asked for")
		}
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, op, track.Codec.String(), fmt.Errorf("%w: %w", ErrGarbage, err), "")
		}
		p.DTS, p.PTS, p.Duration = p.DTS+shift, p.PTS+shift, 0
		packets = append(packets, p)
	}
}

// recoder checks what Recode is given, and returns the encoder for it.
func (t *Tool) recoder(track *media.Track, units []*media.Packet) (string, error) {
	const op = "encode again"
	if err := t.checkSource("", track); err != nil {
		return "", err
	}
	size := 0
	for _, p := range units {
		size += len(p.Data)
	}
	switch {
	case len(units) == 0 || !units[0].Key:
		return "", fault.New(fault.Invalid, op, track.Codec.String(), "the pictures do not begin with a key picture", "")
	case len(units) > maxRecodeUnits || size > maxRecodeBytes:
		return "", fault.New(fault.TooLarge, op, track.Codec.String(), fmt.Sprintf("%d pictures of %d bytes are more than %d of %d", len(units), size, maxRecodeUnits, maxRecodeBytes), "")
	}
	for _, name := range recoders(track.Codec) {
		if t.recoders[name] {
			return name, nil
		}
	}
	return "", fault.New(fault.Unsupported, op, track.Codec.String(), "this ffmpeg has no encoder in software that keeps to the source's format", "Pictures can be cut between key pictures, and elsewhere with libx264, libx265, libaom-av1 or libsvtav1, and libvpx-vp9")
}

// recoders are the encoders in software of a codec that Recode takes, the preferred first.
// libsvtav1 has only one format of pictures.
func recoders(c media.Codec) []string {
	switch c {
	case media.H264:
		return []string{"libx264"}
	case media.HEVC:
		return []string{"libx265"}
	case media.AV1:
		return []string{"libaom-av1", "libsvtav1"}
	case media.VP9:
		return []string{"libvpx-vp9"}
	}
	return nil
}

// recodeArguments are those of Recode; times are the child's.
func (t *Tool) recodeArguments(track *media.Track, encoder string, from, to int64) []string {
	args := append(head(), input(track, t.decoders[track.Codec])...)
	args = append(args, "-copyts", "-map", "0:v:0",
		"-vf", fmt.Sprintf("trim=start_pts=%d:end_pts=%d", from, to),
		"-c:v", encoder, "-g", strconv.Itoa(endless),
		"-fps_mode", "passthrough", "-enc_time_base", "1/"+strconv.Itoa(track.Timescale))
	threads := Video{Width: track.Width, Height: track.Height}.threads(track.FrameRate)
	switch encoder {
	case "libx265":
		args = append(args, "-crf", recodeQuality, "-preset", "fast", "-bf", "0", "-sc_threshold", "0", "-tag:v", "hvc1",
			"-x265-params", "log-level=error:scenecut=0:open-gop=0:bframes=0:frame-threads=1:pools="+threads)
	case "libx264":
		args = append(args, "-crf", recodeQuality, "-preset", "fast", "-bf", "0", "-sc_threshold", "0",
			"-forced-idr", "1", "-threads", threads, "-x264-params", "sps-id="+strconv.Itoa(freeID(track.Config)))
		// What the source's decoders can do is enough.
		if profile := map[byte]string{66: "baseline", 77: "main"}[profileOf(track.Config)]; profile != "" {
			args = append(args, "-profile:v", profile)
		}
	case "libaom-av1":
		args = append(args, "-crf", recodeQuality, "-b:v", "0", "-usage", "realtime", "-cpu-used", "7", "-lag-in-frames", "0", "-row-mt", "1", "-threads", threads)
	case "libvpx-vp9":
		args = append(args, "-crf", recodeQuality, "-b:v", "0", "-deadline", "realtime", "-cpu-used", "5", "-lag-in-frames", "0", "-auto-alt-ref", "0", "-row-mt", "1", "-threads", threads)
	case "libsvtav1":
		args = append(args, "-crf", recodeQuality, "-preset", "8", "-svtav1-params", "scd=0:lp="+threads)
	}
	return append(args, output(track, Encoder{Name: encoder}, firstOutput)...)
}

// freeID is a number that neither SPS nor PPS of an avcC have (ISO/IEC 14496-15, section
// 5.3.3.1); 0 if there is none.
func freeID(config []byte) int {
	used := uint32(0)
	if len(config) < 7 {
		return 0
	}
	rest := config[5:]
	for i, at := range []int{4, 1} { // where the number begins
		if len(rest) == 0 {
			return 0
		}
		n := int(rest[0])
		if i == 0 {
			n &= 31
		}
		rest = rest[1:]
		for range n {
			if len(rest) < 2 {
				return 0
			}
			size := int(rest[0])<<8 | int(rest[1])
			if len(rest) < 2+size || size < at+2 {
				return 0
			}
			used |= 1 << (setID(rest[2+at:]) & 31)
			rest = rest[2+size:]
		}
	}
	if used == 1<<32-1 {
		return 0
	}
	return bits.TrailingZeros32(^used)
}

// setID reads the Exp-Golomb code (ITU-T H.264, section 9.1) that two bytes begin with.
func setID(b []byte) int {
	v := uint32(b[0])<<24 | uint32(b[1])<<16
	zeros := bits.LeadingZeros32(v | 1<<24)
	return int(v<<zeros>>(31-zeros)) - 1
}

// profileOf is the profile of an avcC.
func profileOf(config []byte) byte {
	if len(config) < 2 {
		return 0
	}
	return config[1]
}
