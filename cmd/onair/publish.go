package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/testcard"
	"onair/internal/wire/rtmp"
)

type publishCommand struct {
	URL              string        `arg:"" help:"Where to publish, with the stream key: rtmp://HOST/live/KEY."`
	VideoCodec       string        `enum:"h264,hevc,av1,none" default:"h264" help:"h264, hevc or av1; none for sound only."`
	AudioCodec       string        `enum:"aac,opus,none" default:"aac" help:"aac or opus; none for the picture only."`
	Size             string        `default:"1280x720" help:"Width and height in pixels."`
	FrameRate        int           `default:"30" help:"Frames a second."`
	Bitrate          int           `default:"2500" help:"Video bit rate in kbit/s."`
	KeyframeInterval time.Duration `default:"2s" help:"Time between key frames."`
	BFrames          int           `name:"b-frames" default:"0" help:"Consecutive B-frames (h264 and hevc)."`
	Duration         time.Duration `default:"0" help:"Stop after this time; 0 goes on until interrupted."`
}

// Run publishes until the time is over, the server ends it, or ctx ends.
func (cmd publishCommand) Run(ctx context.Context, c console) error {
	options, err := cmd.options()
	if err != nil {
		return err
	}
	if cmd.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cmd.Duration)
		defer cancel()
	}
	err = publishTestcard(ctx, cmd.URL, options, func() {
		fmt.Fprintln(c.err, "Publishing the test picture. Stop with Ctrl-C.")
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (cmd publishCommand) options() (testcard.Options, error) {
	o := testcard.Options{
		FrameRate:    cmd.FrameRate,
		VideoBitrate: cmd.Bitrate * 1000,
		KeyInterval:  cmd.KeyframeInterval,
		BFrames:      cmd.BFrames,
		NoVideo:      cmd.VideoCodec == "none",
		NoAudio:      cmd.AudioCodec == "none",
		VideoCodec:   map[string]media.Codec{"hevc": media.HEVC, "av1": media.AV1}[cmd.VideoCodec],
		AudioCodec:   map[string]media.Codec{"opus": media.Opus}[cmd.AudioCodec],
	}
	if _, err := fmt.Sscanf(cmd.Size, "%dx%d", &o.Width, &o.Height); err != nil ||
		o.Width < 64 || o.Height < 64 || o.Width%2 != 0 || o.Height%2 != 0 {
		return o, fault.New(fault.Invalid, "publish", "", fmt.Sprintf("%q is not a size", cmd.Size),
			"Give even numbers of at least 64, such as --size 1280x720.")
	}
	if o.NoVideo && o.NoAudio {
		return o, fault.New(fault.Invalid, "publish", "", "there is neither picture nor sound", "Leave one of them in.")
	}
	return o, nil
}

// errNoPicture says that the encoder of the test picture does not start.
var errNoPicture = errors.New("there is no test picture")

// publishTestcard sends the test picture to an RTMP server; onStart is called when the
// server takes it.
func publishTestcard(ctx context.Context, url string, o testcard.Options, onStart func()) error {
	source, err := testcard.Open(ctx, o)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoPicture, err)
	}
	defer source.Close()
	sink, err := rtmp.DialPublish(ctx, url)
	if err != nil {
		return err
	}
	defer sink.Close()
	onStart()
	err = media.Copy(ctx, sink, source)
	if errors.Is(err, io.EOF) {
		return fault.New(fault.Unavailable, "publish", "", "the encoder ended", "")
	}
	return err
}

// republishTestcard keeps the test picture on air until ctx ends: when it was cut it
// comes back, after a second at first and later less often. It gives up only where the
// picture cannot be made at all.
func republishTestcard(ctx context.Context, url string, o testcard.Options, log *slog.Logger) error {
	const slowest = 30 * time.Second
	for wait := time.Second; ; wait = min(2*wait, slowest) {
		begun := time.Now()
		err := publishTestcard(ctx, url, o, func() {})
		if errors.Is(err, errNoPicture) && ctx.Err() == nil {
			return err
		}
		if time.Since(begun) > slowest {
			wait = time.Second
		}
		select {
		case <-time.After(wait):
			log.Warn("test picture was cut", "error", err)
		case <-ctx.Done():
			return nil
		}
	}
}
