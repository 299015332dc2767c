package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/fmp4"
)

const (
	// maxDecoded bounds what a child may answer: 3 s of 8 channels at 48 kHz.
	maxDecoded = 3 << 20
	// skipPackets is how many of the first audio packets are not listened to: a decoder
	// that starts in the middle fades in.
	skipPackets = 2
)

// Decoder runs an ffmpeg that can do no harm, whatever a publisher makes it decode.
type Decoder interface {
	// Decode lets one ffmpeg read MP4 with one track of that codec, and returns what it
	// writes as args, those of an output, say: at most limit bytes. It is killed when ctx ends.
	Decode(ctx context.Context, codec media.Codec, mp4 []byte, limit int64, args ...string) ([]byte, error)
}

// ffmpeg is a decoder in child processes: one for each look.
type ffmpeg struct{ confined Decoder }

// newFFmpeg sees that there is the program; the error is a fault.Unavailable.
func newFFmpeg(name string, confined Decoder) (*ffmpeg, error) {
	if _, err := exec.LookPath(name); err != nil {
		return nil, fault.Wrap(fault.Unavailable, "find", name, err,
			"Install ffmpeg or set doctor-ffmpeg; without it loudness, black and frozen pictures are not known")
	}
	return &ffmpeg{confined}, nil
}

func (f *ffmpeg) listen(ctx context.Context, packets []*media.Packet) (sound, error) {
	in, err := contained(packets)
	if err != nil {
		return sound{}, err
	}
	out, err := f.confined.Decode(ctx, packets[0].Track.Codec, in, maxDecoded, "-vn", "-c:a", "pcm_s16be", "-f", "au")
	if err != nil {
		return sound{}, err
	}
	pcm, channels, err := readAU(out)
	if err != nil {
		return sound{}, err
	}
	skip := 0
	if n := len(packets); n > 2*skipPackets {
		skip = len(pcm) / n * skipPackets
		skip -= skip % (2 * channels)
	}
	return hear(pcm[skip:], channels), nil
}

func (f *ffmpeg) look(ctx context.Context, key *media.Packet) (still, error) {
	in, err := contained([]*media.Packet{key})
	if err != nil {
		return nil, err
	}
	small := fmt.Sprintf("scale=%d:%d:flags=area:out_range=full,format=gray", stillWidth, stillHeight)
	out, err := f.confined.Decode(ctx, key.Track.Codec, in, maxDecoded, "-an", "-frames:v", "1", "-vf", small, "-f", "rawvideo")
	if err != nil {
		return nil, err
	}
	if len(out) != stillWidth*stillHeight {
		return nil, fault.New(fault.Invalid, "look at", "a key frame", fmt.Sprintf("ffmpeg answered %d bytes", len(out)), "")
	}
	return out, nil
}

// contained puts packets of one track into a fragmented MP4.
func contained(packets []*media.Packet) ([]byte, error) {
	if len(packets) == 0 {
		return nil, errors.New("no packets")
	}
	t := *packets[0].Track
	b, err := fmp4.Init(&t)
	if err != nil {
		return nil, err
	}
	f := fmp4.Fragment{Sequence: 1, Track: &t}
	for i, p := range packets {
		d := int64(1)
		if i+1 < len(packets) {
			d = min(max(1, packets[i+1].DTS-p.DTS), int64(t.Timescale))
		} else if i > 0 {
			d = int64(f.Samples[i-1].Duration)
		}
		f.Samples = append(f.Samples, fmp4.Sample{Duration: uint32(d), Key: true, Data: p.Data})
	}
	return f.AppendTo(b), nil
}

// readAU reads a Sun audio file of 16-bit samples: six words of 32 bits (mark, where the
// samples begin, their size, encoding, rate, channels), then the samples.
func readAU(b []byte) (pcm []byte, channels int, err error) {
	const words, linear16 = 24, 3
	if len(b) < words || string(b[:4]) != ".snd" || binary.BigEndian.Uint32(b[12:]) != linear16 {
		return nil, 0, fault.New(fault.Invalid, "read", "decoded sound", "it is no AU file of 16 bits", "")
	}
	begin, n := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[20:])
	if begin < words || uint64(begin) > uint64(len(b)) || n < 1 || n > 64 {
		return nil, 0, fault.New(fault.Invalid, "read", "decoded sound", "its head makes no sense", "")
	}
	return b[begin:], int(n), nil
}
