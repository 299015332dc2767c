package ffmpeg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/fmp4"
)

// Bounds on what Picture takes and makes.
const (
	// pictureTime is how long one picture may take.
	pictureTime = 30 * time.Second
	// maxPicture is how large a coded picture may be, in bytes.
	maxPicture = 8 << 20
	// maxUnits and maxUnitBytes bound what is decoded for one picture.
	maxUnits     = 256
	maxUnitBytes = 128 << 20
	// maxSide is the largest side of a picture in pixels: WebP has no larger ones.
	maxSide = 16382
)

// Picture decodes key frames of one track and returns one picture of them, coded as asked
// for. Several stand side by side in rows of o.Columns, in the order given; the places that
// remain are black. A key frame that cannot be decoded has no place.
//
// The error is fault.Unsupported for a format that this ffmpeg does not make (see Formats)
// or a codec it does not decode, fault.Invalid or fault.TooLarge for units and sizes out
// of bounds, fault.Timeout after 30 s, and fault.Unavailable when nothing came of it.
func (t *Tool) Picture(ctx context.Context, track *media.Track, units []*media.Packet, o PictureOptions) ([]byte, error) {
	const op = "make a picture"
	o.Columns = max(1, min(o.Columns, len(units)))
	if err := t.checkPicture(track, units, o); err != nil {
		return nil, err
	}
	in, err := still(track, units)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, pictureTime)
	defer cancel()
	out, err := t.once(ctx, t.pictureArguments(track, len(units), o), in, maxPicture, false)
	if err == nil && o.Format == AVIF {
		out, err = avifOf(ctx, out)
	}
	switch {
	case err == nil:
		t.metrics.pictures.WithLabelValues("made").Inc()
		return out, nil
	case fault.Is(err, fault.Timeout):
		t.metrics.pictures.WithLabelValues("timeout").Inc()
	default:
		t.metrics.pictures.WithLabelValues("failed").Inc()
	}
	return nil, fault.Wrap(fault.KindOf(err), op, string(o.Format), err, "")
}

func (t *Tool) checkPicture(track *media.Track, units []*media.Packet, o PictureOptions) error {
	if err := t.checkSource("", track); err != nil {
		return err
	}
	refuse := func(kind fault.Kind, format string, args ...any) error {
		return fault.Wrap(kind, "make a picture", "", fmt.Errorf(format, args...), "")
	}
	if !slices.Contains(t.formats, o.Format) {
		return refuse(fault.Unsupported, "this ffmpeg does not make %q", o.Format)
	}
	if track.Kind() != media.Video {
		return refuse(fault.Invalid, "the track has no picture")
	}
	if len(units) == 0 || len(units) > maxUnits {
		return refuse(fault.Invalid, "there are %d key frames, not 1 to %d", len(units), maxUnits)
	}
	rows := (len(units) + o.Columns - 1) / o.Columns
	if o.Width < 16 || o.Height < 16 || o.Width%2 != 0 || o.Height%2 != 0 || o.Width*o.Columns > maxSide || o.Height*rows > maxSide {
		return refuse(fault.TooLarge, "%d × %d pictures of %d × %d are no even sizes up to %d", o.Columns, rows, o.Width, o.Height, maxSide)
	}
	size := 0
	for _, p := range units {
		if size += len(p.Data); size > maxUnitBytes {
			return refuse(fault.TooLarge, "the key frames have more than %d bytes", maxUnitBytes)
		}
		if !same(track, p.Track) || !bitstream.IsKey(track.Codec, p.Data) {
			return refuse(fault.Invalid, "a packet is no key frame of the track")
		}
	}
	return nil
}

// still is a file in which key frames stand a second apart.
func still(track *media.Track, units []*media.Packet) ([]byte, error) {
	var b bytes.Buffer
	f := feeder{w: &b, track: track}
	for i, p := range units {
		q := *p
		q.Track, q.Key, q.Duration = track, true, int64(track.Timescale)
		q.DTS = int64(i) * q.Duration
		q.PTS = q.DTS
		if i == 0 {
			if err := f.header(&q); err != nil {
				return nil, err
			}
		}
		if err := f.packet(&q); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

func (t *Tool) pictureArguments(track *media.Track, n int, o PictureOptions) []string {
	filter := fmt.Sprintf("scale=%d:%d:flags=bicubic,setsar=1", o.Width, o.Height)
	if n > 1 {
		filter += fmt.Sprintf(",tile=%dx%d", o.Columns, (n+o.Columns-1)/o.Columns)
	}
	args := append(head(), "-timelimit", strconv.Itoa(int(pictureTime/time.Second)))
	args = append(args, input(track, t.decoders[track.Codec])...)
	args = append(args, "-map", "0:v:0", "-fps_mode", "passthrough", "-frames:v", "1")
	switch o.Format {
	case WebP:
		args = append(args, "-vf", filter+",format=yuv420p", "-c:v", "libwebp", "-quality", "75", "-compression_level", "2", "-f", "image2pipe")
	case AVIF:
		args = append(args, "-vf", filter+",format=yuv420p", "-c:v", t.avif, "-crf", "32")
		if t.avif == "libsvtav1" {
			args = append(args, "-preset", "10")
		} else {
			args = append(args, "-usage", "realtime", "-still-picture", "1", "-cpu-used", "8", "-threads", "1")
		}
		args = append(args, "-f", "mp4", "-movflags", "delay_moov+default_base_moof+frag_every_frame+skip_trailer", "-use_editlist", "0")
	default:
		args = append(args, "-vf", filter+",format=yuvj420p", "-c:v", "mjpeg", "-q:v", "4", "-threads", "1", "-f", "image2pipe")
	}
	return append(args, "-flush_packets", "1", "-protocol_whitelist", "pipe", "pipe:"+strconv.Itoa(firstOutput))
}

// avifOf takes the one picture of an MP4 with AV1.
func avifOf(ctx context.Context, mp4 []byte) ([]byte, error) {
	p, err := fmp4.NewReader(bytes.NewReader(mp4)).ReadPacket(ctx)
	if err == nil && p.Track.Codec != media.AV1 {
		err = errors.New("it is no AV1")
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "read", "the picture that ffmpeg made", fmt.Errorf("%w: %w", ErrGarbage, err), "")
	}
	return avif(p), nil
}
