// Package ffmpeg runs ffmpeg as a child process: arguments built of typed values, media
// through pipes, and an end that is always seen.
//
// Media goes in and comes out as fragmented MP4, a frame a fragment, one track a pipe
// (VP8 and VP9 go in as IVF, which has a place for VP8). Nothing that a publisher chose is
// ever an argument: pipes have no names, and sizes and rates are numbers.
package ffmpeg

import (
	"errors"
	"time"

	"onair/internal/media"
)

// What ends a Run besides its source and its context. The error of Run is a *fault.Error
// with one of these in its chain.
var (
	// ErrDied: ffmpeg ended by itself or by a signal. fault.Unavailable.
	ErrDied = errors.New("ffmpeg ended")
	// ErrStalled: ffmpeg took no input, or gave no output for it, for too long. fault.Timeout.
	ErrStalled = errors.New("ffmpeg stands still")
	// ErrEncoder: the encoder does not start. fault.Unavailable; another encoder may work.
	ErrEncoder = errors.New("the encoder does not start")
	// ErrGarbage: what ffmpeg wrote is no media. fault.Invalid.
	ErrGarbage = errors.New("ffmpeg wrote something that is no media")
	// ErrSource: the source cannot be transcoded: its codec has no decoder here, its picture
	// is larger than the bound, or it changed its parameters in the middle.
	// fault.Unsupported, fault.TooLarge or fault.Invalid.
	ErrSource = errors.New("the source cannot be transcoded")
	// ErrOutput: a Sink refused a packet; its error is in the chain too. fault.Internal.
	ErrOutput = errors.New("the output is not taken")
)

// Encoder is an encoder of this ffmpeg.
type Encoder struct {
	// Name is ffmpeg's name of it, such as "libx264".
	Name  string
	Codec media.Codec
	// Hardware is set if it is a circuit that encodes and not the processor.
	Hardware bool

	// device is the file of the circuit where ffmpeg must be told.
	device string
	// constraints is what the encoder writes into the middle of its codec strings, learned
	// from the frame it was tried with.
	constraints string
}

// Video says how a picture is encoded: without B-frames, with the key frames of the source
// and no others.
type Video struct {
	// Encoder is one of Tool.Encoders.
	Encoder Encoder
	// Width and Height are even. They should have the shape of the source's picture.
	Width, Height int
	// FrameRate is the most frames a second, reached by leaving out whole frames but never a
	// key frame; 0 keeps all.
	FrameRate float64
	// CRF is the constant quality in the scale of the codec (0 to 51, AV1 to 63; less is
	// better); 0 stands for the default of the codec. It is kept as long as it
	// needs less than MaxBitrate.
	CRF float64
	// MaxBitrate is the most bits a second, over one second.
	MaxBitrate int64
	// Fixed spends MaxBitrate whatever the content needs.
	Fixed bool
	// Preset is the encoder's trade of time for quality; empty for the default.
	Preset string
	// Profile is "high", "main" or "baseline" (which is Constrained Baseline) for H.264;
	// empty is "high". Other codecs have their main profile.
	Profile string
}

// Audio says how sound is encoded.
type Audio struct {
	// Codec is AAC or Opus.
	Codec media.Codec
	// Bitrate is in bits a second; 0 for 64,000 a channel.
	Bitrate int64
	// SampleRate is in hertz, 0 for the source's where the codec has it. Opus has 48,000.
	SampleRate int
	// Channels is 1 or 2; 0 for the source's, at most 2.
	Channels int
}

// Output is one of the things that are made of a source.
type Output struct {
	// Name tells outputs apart in logs and errors. ffmpeg is not told.
	Name string
	// TrackID and Rendition are those of the packets' tracks.
	TrackID   int
	Rendition string
	// Sink takes the packets, from a goroutine of its own. It must not wait for long: what
	// is not read holds up all outputs.
	Sink media.Sink
	// Video or Audio says how: exactly one of them.
	Video *Video
	Audio *Audio
}

// maxOutputs bounds the outputs of one ffmpeg.
const maxOutputs = 8

// Job is what one ffmpeg does.
type Job struct {
	// Stream names the stream in logs and errors. ffmpeg is not told.
	Stream string
	// Source is the track that is read. Packets of another version end the job.
	Source *media.Track
	// Outputs are 1 to 8, all of the source's kind.
	Outputs []Output
}

// Progress tells how a Job does.
type Progress struct {
	// State is "starting", "running" or "draining".
	State string
	// Lag is the media time between the newest packet fed and the newest that came out of
	// the slowest output. Reading ahead (a burst at the start) counts as lag.
	Lag time.Duration
	// CPU is the processor time that the child has used.
	CPU time.Duration
	// Resident is the child's memory in bytes; 0 where it is not known.
	Resident int64
	// Fed and Made count packets in and out.
	Fed, Made int64
}

// PictureFormat is how a still picture is coded.
type PictureFormat string

// The formats of pictures.
const (
	JPEG PictureFormat = "jpeg"
	WebP PictureFormat = "webp"
	AVIF PictureFormat = "avif"
)

// PictureOptions say what Picture makes.
type PictureOptions struct {
	Format PictureFormat
	// Width and Height are the size of one picture: even numbers.
	Width, Height int
	// Columns is how many pictures stand side by side where there are several; 0 and 1 are
	// one below the other.
	Columns int
}
