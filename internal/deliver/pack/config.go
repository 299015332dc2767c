package pack

import (
	"errors"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
)

// Config says how streams are cut and how much of them is kept.
type Config struct {
	SegmentTarget         time.Duration `name:"pack-segment-target" yaml:"segment_target" env:"ONAIR_PACK_SEGMENT_TARGET" help:"Least length of a segment in the latency modes low and ultra; it ends at the next key frame." default:"2s"`
	StandardSegmentTarget time.Duration `name:"pack-standard-segment-target" yaml:"standard_segment_target" env:"ONAIR_PACK_STANDARD_SEGMENT_TARGET" help:"Least length of a segment in the latency mode standard." default:"4s"`
	MaxGroup              time.Duration `name:"pack-max-group" yaml:"max_group" env:"ONAIR_PACK_MAX_GROUP" help:"Longest distance of key frames for which every segment still begins with one. A longer one is cut between key frames." default:"12s"`
	Window                time.Duration `name:"pack-window" yaml:"window" env:"ONAIR_PACK_WINDOW" help:"How much of a live stream its playlists list; six segments at least." default:"30s"`
	MaxWindowBytes        int           `name:"pack-max-window-bytes" yaml:"max_window_bytes" env:"ONAIR_PACK_MAX_WINDOW_BYTES" help:"Most media one rendition keeps in memory, in bytes. The oldest segments go first." default:"268435456"`
	KeepEnded             time.Duration `name:"pack-keep-ended" yaml:"keep_ended" env:"ONAIR_PACK_KEEP_ENDED" help:"How long the last window of a stream that ended can still be watched." default:"60s"`
	MaxDiskBytes          int64         `name:"pack-max-disk-bytes" yaml:"max_disk_bytes" env:"ONAIR_PACK_MAX_DISK_BYTES" help:"Most media that the last windows of all streams take on disk, in bytes. They let streams go on after the server was killed; what is over the bound does not." default:"4294967296"`
	MaxHistory            time.Duration `name:"pack-max-history" yaml:"max_history" env:"ONAIR_PACK_MAX_HISTORY" help:"Age up to which the last window of a stream on disk is taken up again by a server that starts." default:"5m"`

	// Dir is the folder of the last windows; empty keeps none. It is the node's to choose.
	Dir string `kong:"-" yaml:"-"`
}

// The bounds that nobody needs to set.
const (
	// minSegments is the least number of segments in a full playlist (Apple's authoring
	// specification, 8.11); the bound on bytes may push it down to leastSegments, which
	// is what RFC 8216bis, section 6.2.2 asks for.
	minSegments   = 6
	leastSegments = 3
	// maxTracks is how many tracks of a publisher are packaged, and maxDerived how many that
	// are made of them; further ones are left out.
	maxTracks  = 8
	maxDerived = 8
	// maxPartBytes ends a part early, and maxSegmentBytes a segment: with 2 s they are
	// reached at 256 Mbit/s.
	maxPartBytes = 16 << 20
	// unlistedTarget is how long fragments are where parts are not listed: what is on disk of a
	// segment in progress lacks no more.
	unlistedTarget  = 500 * time.Millisecond
	maxSegmentBytes = 64 << 20
	// maxStartBytes and startAudioOnly bound what is collected before the first cut. A packet
	// counts for packetOverhead beside its payload.
	maxStartBytes  = 64 << 20
	packetOverhead = 192
	// startAudioOnly is how much audio without a picture makes an audio-only stream, and
	// startAnnounced the same where the publisher announced a video track.
	startAudioOnly = 3 * time.Second
	// startKnown is how much picture is enough where the distance of key frames is known.
	startKnown     = 500 * time.Millisecond
	startAnnounced = 10 * time.Second
	// holdSecondary is how far a secondary track may run ahead of the leading one before
	// it no longer waits to learn where the next segment begins, and secondaryWait how far
	// it may be behind before its segment is closed without it.
	holdSecondary = time.Second
	secondaryWait = time.Second
	// feedWait is the same for renditions that come in a feed of their own, which an encoder
	// makes of the source and which is late by what that takes; and derivedWait for those that
	// are made here, of which one that is 2 s late is given up.
	feedWait    = 4 * time.Second
	derivedWait = 3 * time.Second
	// derivedReach is how far one of those may be behind that has come within derivedWait: it
	// begins where players of other renditions are, and comes faster than time passes.
	derivedReach = 10 * time.Second
	// keySlack is by how much another rendition's key frame may precede the boundary whose
	// segment it begins.
	keySlack = 150 * time.Millisecond
	// maxAhead is how far a secondary track's stamps may lie in the future; beyond it
	// they are wrong.
	maxAhead = 10 * time.Second
	// maxQueue bounds the packets of a secondary track that wait.
	maxQueue = 4096
	// borderBurst is how many segments more than one a second a stream may have: sequence
	// numbers start from the clock and must not overtake it.
	borderBurst = 5
)

// DefaultConfig returns the settings that need no thought.
func DefaultConfig() Config {
	return Config{
		SegmentTarget:         2 * time.Second,
		StandardSegmentTarget: 4 * time.Second,
		MaxGroup:              12 * time.Second,
		Window:                30 * time.Second,
		MaxWindowBytes:        256 << 20,
		KeepEnded:             time.Minute,
		MaxDiskBytes:          4 << 30,
		MaxHistory:            5 * time.Minute,
	}
}

// Validate reports every setting that cannot work, each as a fault.Invalid.
func (c Config) Validate() error {
	bad := func(ok bool, key, cause, hint string) error {
		if ok {
			return nil
		}
		return fault.New(fault.Invalid, "read setting", key, cause, hint)
	}
	return errors.Join(
		bad(c.SegmentTarget >= time.Second && c.SegmentTarget <= 10*time.Second, "pack-segment-target", "is not between 1s and 10s", "Set 2s"),
		bad(c.StandardSegmentTarget >= time.Second && c.StandardSegmentTarget <= 10*time.Second, "pack-standard-segment-target", "is not between 1s and 10s", "Set 4s"),
		bad(c.MaxGroup >= c.SegmentTarget && c.MaxGroup >= c.StandardSegmentTarget && c.MaxGroup <= time.Minute, "pack-max-group", "is less than the segment targets or more than 1m", "Set 12s"),
		bad(c.Window >= 10*time.Second && c.Window <= time.Hour, "pack-window", "is not between 10s and 1h", "Set 30s; longer windows cost memory"),
		bad(c.MaxWindowBytes >= 8<<20, "pack-max-window-bytes", "is less than 8 MiB, which a few seconds of video fill", "Set 268435456"),
		bad(c.KeepEnded >= time.Second, "pack-keep-ended", "is less than 1s, so viewers would miss the end", "Set 60s"),
		bad(c.MaxDiskBytes >= 0, "pack-max-disk-bytes", "is negative", "Set 4294967296; 0 keeps nothing on disk"),
		bad(c.MaxHistory >= time.Second && c.MaxHistory <= time.Hour, "pack-max-history", "is not between 1s and 1h", "Set 5m"),
	)
}

// goals returns the intended length of a segment and of a part; no parts if 0.
func (c Config) goals(mode media.LatencyMode) (segment, part time.Duration) {
	switch mode {
	case media.LatencyUltra:
		return c.SegmentTarget, 200 * time.Millisecond
	case media.LatencyStandard:
		return c.StandardSegmentTarget, 0
	default:
		return c.SegmentTarget, 500 * time.Millisecond
	}
}
