package mediatest

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// Options say what a Generator makes. The zero value is H.264 of 1280x720 at 30 frames a
// second with a key frame every 2 s, and AAC-LC of 48 kHz stereo.
type Options struct {
	// Video is H264 (default), HEVC, AV1 or VP9; NoVideo leaves pictures out.
	Video   media.Codec
	NoVideo bool
	// Audio is AAC (default) or Opus; NoAudio leaves sound out.
	Audio   media.Codec
	NoAudio bool
	// Width and Height are even numbers of pixels.
	Width, Height int
	// RateNum/RateDen is the frame rate; 30/1 by default.
	RateNum, RateDen int
	// UndeclaredRate leaves the frame rate out of the parameter sets.
	UndeclaredRate bool
	// GOP is the distance of key frames in frames; 2 s by default.
	GOP int
	// BFrames is the number of B-frames between two others. PTS then are one frame
	// later than DTS, or more. H.264 and HEVC only.
	BFrames int
	// VariableRate moves every DTS but those of key frames by up to 30 % of a frame,
	// repeatably.
	VariableRate bool
	// FrameSize and AudioSize are about how many bytes a P-frame and an audio packet have
	// (2000 and 200); a key frame has five times as many.
	FrameSize, AudioSize int
	// SampleRate and Channels are of the sound; 48000 and 2 by default. Opus is always 48000.
	SampleRate, Channels int
	// VideoTimescale is 90000 by default, AudioTimescale the sample rate. Timescale, if
	// set, is both (1000 is what RTMP has).
	VideoTimescale, AudioTimescale, Timescale int
	// Offset is the time stamp of the first video packet, AudioDelay how much later (or
	// earlier, if negative) the sound begins.
	Offset, AudioDelay time.Duration
	// Start is the arrival of media time 0; packets arrive exactly when they are due.
	Start time.Time
	// Duration ends the media after that time; 0 is without end.
	Duration time.Duration
	// Seed varies the payload.
	Seed uint64
}

// Generator makes the packets of one encoder, always the same ones for the same
// Options. It is a media.Source. It is not safe for concurrent use.
type Generator struct {
	o      Options
	video  *media.Track
	audio  *media.Track
	frames int64 // video frames made
	blocks int64 // audio packets made
	random *rand.Rand
	// sequence is the sequence header OBU that AV1 key frames repeat.
	sequence []byte
}

// VideoID and AudioID are the track IDs of a Generator.
const (
	VideoID = 1
	AudioID = 2
)

// NewGenerator returns a Generator. It panics when the Options make no sense: they are
// a test's own constants.
func NewGenerator(o Options) *Generator {
	o.fill()
	g := &Generator{o: o, random: rand.New(rand.NewPCG(o.Seed, 1))}
	if !o.NoVideo {
		g.video = describe(VideoTrack(o))
		if o.Video == media.AV1 {
			g.sequence = g.video.Config[4:]
		}
	}
	if !o.NoAudio {
		g.audio = describe(AudioTrack(o))
	}
	return g
}

func describe(t *media.Track) *media.Track {
	d, err := bitstream.Describe(t)
	if err != nil {
		panic(fmt.Sprintf("mediatest: %v", err))
	}
	return d
}

func (o *Options) fill() {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	if o.Video == media.UnknownCodec {
		o.Video = media.H264
	}
	if o.Audio == media.UnknownCodec {
		o.Audio = media.AAC
	}
	def(&o.Width, 1280)
	def(&o.Height, 720)
	def(&o.RateNum, 30)
	def(&o.RateDen, 1)
	def(&o.GOP, max(1, 2*o.RateNum/o.RateDen))
	def(&o.FrameSize, 2000)
	def(&o.AudioSize, 200)
	def(&o.SampleRate, 48000)
	def(&o.Channels, 2)
	if o.Audio == media.Opus {
		o.SampleRate = 48000
	}
	if o.Timescale != 0 {
		o.VideoTimescale, o.AudioTimescale = o.Timescale, o.Timescale
	}
	def(&o.VideoTimescale, 90000)
	def(&o.AudioTimescale, o.SampleRate)
	if o.Start.IsZero() {
		o.Start = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)
	}
}

// Tracks returns the tracks, video first.
func (g *Generator) Tracks() []*media.Track {
	var ts []*media.Track
	if g.video != nil {
		ts = append(ts, g.video)
	}
	if g.audio != nil {
		ts = append(ts, g.audio)
	}
	return ts
}

// ReadPacket returns the next packet at once, and io.EOF after Options.Duration.
func (g *Generator) ReadPacket(ctx context.Context) (*media.Packet, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if g.o.Duration > 0 && g.due() >= g.o.Duration {
		return nil, io.EOF
	}
	return g.Next(), nil
}

// Next returns the next packet; there is always one.
func (g *Generator) Next() *media.Packet {
	if g.nextIsVideo() {
		return g.nextVideo()
	}
	return g.nextAudio()
}

// due is the media time of the next packet, counted from Offset.
func (g *Generator) due() time.Duration {
	if g.nextIsVideo() {
		return g.videoTime(g.frames)
	}
	return g.audioTime(g.blocks)
}

func (g *Generator) nextIsVideo() bool {
	if g.audio == nil || g.video == nil {
		return g.audio == nil
	}
	return g.videoTime(g.frames) <= g.audioTime(g.blocks)
}

// videoTime is when the frame is due; n counts in decoding order.
func (g *Generator) videoTime(n int64) time.Duration {
	d := time.Duration(media.Rescale(n*int64(g.o.RateDen), int64(g.o.RateNum), int64(time.Second)))
	if g.o.VariableRate && n%int64(g.o.GOP) != 0 {
		frame := int64(time.Second) * int64(g.o.RateDen) / int64(g.o.RateNum)
		d += time.Duration((n*7919%61 - 30) * frame / 100)
	}
	return d
}

func (g *Generator) audioTime(n int64) time.Duration {
	return g.o.AudioDelay + time.Duration(media.Rescale(n*int64(g.blockSamples()), int64(g.o.SampleRate), int64(time.Second)))
}

func (g *Generator) blockSamples() int {
	if g.o.Audio == media.Opus {
		return 960
	}
	return 1024
}

func (g *Generator) nextVideo() *media.Packet {
	n := g.frames
	g.frames++
	at := g.o.Offset + g.videoTime(n)
	shown, kind := g.display(n)
	p := &media.Packet{Track: g.video, DTS: g.video.Ticks(at), Key: kind == 'I', Arrival: g.o.Start.Add(at)}
	p.PTS = p.DTS
	if g.o.BFrames > 0 {
		p.PTS = max(p.DTS, g.video.Ticks(g.o.Offset+g.videoTime(shown+1)))
	}
	if !g.o.VariableRate {
		p.Duration = g.video.Ticks(g.o.Offset+g.videoTime(n+1)) - p.DTS
	}
	p.Data = g.frame(kind)
	return p
}

// display tells where the n-th decoded frame stands in display order, and its kind.
func (g *Generator) display(n int64) (int64, byte) {
	gop := int64(g.o.GOP)
	first, k := n-n%gop, n%gop
	if k == 0 {
		return n, 'I'
	}
	m := int64(g.o.BFrames + 1)
	group, j := (k-1)/m, (k-1)%m
	if j > 0 {
		return first + group*m + j, 'B'
	}
	return first + group*m + min(m, gop-1-group*m), 'P'
}

func (g *Generator) nextAudio() *media.Packet {
	n := g.blocks
	g.blocks++
	at := g.o.Offset + g.audioTime(n)
	t := g.audio
	ticks := media.Rescale(n*int64(g.blockSamples()), int64(g.o.SampleRate), int64(t.Timescale))
	next := media.Rescale((n+1)*int64(g.blockSamples()), int64(g.o.SampleRate), int64(t.Timescale))
	start := t.Ticks(g.o.Offset + g.o.AudioDelay)
	return &media.Packet{Track: t, DTS: start + ticks, PTS: start + ticks, Duration: next - ticks,
		Key: true, Arrival: g.o.Start.Add(at), Data: g.sound()}
}

func (g *Generator) sound() []byte {
	var head []byte
	switch {
	case g.o.Audio == media.Opus:
		head = []byte{0xfc} // CELT, fullband, 20 ms, stereo, one frame
	case g.o.Channels == 1:
		head = []byte{0x01, 0x18, 0x20, 0x07}
	default:
		head = []byte{0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c}
	}
	return append(head, g.filling(g.o.AudioSize-len(head))...)
}

// filling returns payload bytes that hold no start code.
func (g *Generator) filling(n int) []byte {
	b := make([]byte, max(0, n))
	for i := range b {
		b[i] = byte(0x20 + g.random.IntN(0xd0))
	}
	return b
}

// nal puts a NAL unit behind its length.
func nal(b []byte, header []byte, payload []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(header)+len(payload)))
	return append(append(b, header...), payload...)
}
