package doctor

import "time"

// Status is a stream's traffic light.
type Status string

// The states of a stream's health.
const (
	Good     Status = "good"     // nothing that viewers would notice
	Degraded Status = "degraded" // at least one warning
	Bad      Status = "bad"      // at least one critical finding
	NoData   Status = "no_data"  // no publisher; findings and readings are the last ones
)

// Severity is how much a finding matters.
type Severity string

// The severities of a finding.
const (
	Info     Severity = "info"
	Warning  Severity = "warning"
	Critical Severity = "critical"
)

// Report is the health of one stream. A reading that is not known is null, never zero.
// After the publisher was lost the last readings are kept, and marked stale.
type Report struct {
	StreamID string `json:"live_stream_id"`
	Status   Status `json:"status"`
	// Score is 100 without findings, and less with each; null without data.
	Score *int `json:"score"`
	// Summary says the same in one sentence.
	Summary string `json:"summary"`
	// Since is when the status became what it is; null if it never was another.
	Since *time.Time `json:"since"`
	// Stale is set while no publisher sends: findings and readings are the last ones.
	Stale bool `json:"stale"`
	// MeasuredAt is when the readings were taken; null without any.
	MeasuredAt *time.Time `json:"measured_at"`
	Findings   []Finding  `json:"findings"`
	// Sources are the publishers: the main one first, then the backup.
	Sources []Source `json:"sources"`
	// History holds the last minutes, oldest first, a point every few seconds.
	History []Point `json:"history"`
}

// Finding is one thing that is wrong.
type Finding struct {
	// Code is stable; docs/doctor.md lists them.
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	// Title is one sentence with the most important number.
	Title string `json:"title"`
	// Evidence holds the numbers (and names) that the finding rests on, by name and unit.
	Evidence map[string]any `json:"evidence"`
	Fix      Fix            `json:"fix"`
	// Source is "main" or "backup".
	Source string `json:"source"`
	// Since is when it began, Count how often it did in this broadcast.
	Since time.Time `json:"since"`
	Count int       `json:"count"`
}

// Fix says what to do about a finding, for each kind of publisher.
type Fix struct {
	OBS     string `json:"obs"`
	Browser string `json:"browser"`
	FFmpeg  string `json:"ffmpeg"`
}

// Source is one publisher of a stream, and what was measured of it.
type Source struct {
	Session  string    `json:"session_id"`
	Protocol string    `json:"protocol"`
	Encoder  string    `json:"encoder"`
	Backup   bool      `json:"backup"`
	Since    time.Time `json:"since"`
	// Ended is when it was lost or left; null while it is connected.
	Ended *time.Time `json:"ended_at"`
	// EndReason is why; empty if it stopped by itself.
	EndReason string  `json:"end_reason"`
	Stale     bool    `json:"stale"`
	Tracks    []Track `json:"tracks"`
	// AVOffset is how much the sound is ahead of the picture as both arrive, AVDrift how
	// much that changed since the beginning, AVStart how much later the first sound was
	// than the first picture; seconds.
	AVOffset *float64 `json:"av_offset_seconds"`
	AVDrift  *float64 `json:"av_drift_seconds"`
	AVStart  *float64 `json:"av_start_seconds"`
	// ClockDrift is how much media time gained on the wall clock over the last 10 s (less
	// than zero: the encoder sends less than real time); ClockSkew is by how many parts
	// per million the encoder's clock is fast, over minutes.
	ClockDrift *float64 `json:"clock_drift_seconds"`
	ClockSkew  *float64 `json:"clock_skew_ppm"`
	Link       Link     `json:"link"`
	// Repaired counts what the stream's timeline had to repair, by kind.
	Repaired map[string]int64 `json:"repaired"`
}

// Track is what was measured of one track. Rates are of the last 10 to 60 seconds.
type Track struct {
	ID          int    `json:"id"`
	Kind        string `json:"kind"`
	Codec       string `json:"codec"`
	CodecString string `json:"codec_string"`
	Rendition   string `json:"rendition"`
	// Bitrate is in bits a second; BitrateVariation is its coefficient of variation.
	Bitrate          *float64 `json:"bitrate"`
	BitrateVariation *float64 `json:"bitrate_variation"`

	Width             *int     `json:"width"`
	Height            *int     `json:"height"`
	ResolutionChanges *int     `json:"resolution_changes"`
	DeclaredFrameRate *float64 `json:"declared_frame_rate"`
	FrameRate         *float64 `json:"frame_rate"`
	// FramesMissing counts frames that the time stamps leave room for, since the beginning.
	FramesMissing *uint64 `json:"frames_missing"`
	// KeyframeInterval is in seconds: the mean of the last ones, their least and greatest,
	// and their relative deviation.
	KeyframeInterval   *float64  `json:"keyframe_interval"`
	KeyframeMin        *float64  `json:"keyframe_interval_min"`
	KeyframeMax        *float64  `json:"keyframe_interval_max"`
	KeyframeDeviation  *float64  `json:"keyframe_interval_deviation"`
	BFrames            *bool     `json:"b_frames"`
	OpenGOP            *bool     `json:"open_gop"`
	Interlaced         *bool     `json:"interlaced"`
	PictureBrightness  *float64  `json:"picture_brightness"`
	PictureUnchanged   *float64  `json:"picture_unchanged_seconds"`
	SampleRate         *int      `json:"sample_rate"`
	Channels           *int      `json:"channels"`
	AudioLevel         *float64  `json:"audio_level_dbfs"`
	AudioPeak          *float64  `json:"audio_peak_dbfs"`
	AudioClipped       *float64  `json:"audio_clipped"`
	AudioSilent        *float64  `json:"audio_silent_seconds"`
	AudioChannelLevels []float64 `json:"audio_channel_levels_dbfs"`
	// SampledAt is when picture and level were last looked at; null if never.
	SampledAt *time.Time `json:"sampled_at"`
	// TimestampJumps and TimestampsBackward count since the beginning.
	TimestampJumps     uint64 `json:"timestamp_jumps"`
	TimestampsBackward uint64 `json:"timestamps_backward"`
}

// Link is the way from the publisher, as far as its transport tells.
type Link struct {
	// RTT and Jitter are in seconds.
	RTT    *float64 `json:"rtt_seconds"`
	Jitter *float64 `json:"jitter_seconds"`
	// Loss and Retransmission are shares of the packets of the last 10 s, from 0 to 1.
	Loss           *float64 `json:"loss"`
	Retransmission *float64 `json:"retransmission"`
	// Dropped counts packets that came too late or never, since the beginning.
	Dropped *uint64 `json:"dropped"`
	// Bitrate is what arrives, Available what the transport thinks the way can carry.
	Bitrate   *float64 `json:"bitrate"`
	Available *float64 `json:"available_bitrate"`
}

// Point is one moment of the main source for graphs.
type Point struct {
	At time.Time `json:"at"`
	// Offline is set while no publisher was connected; then the readings are null.
	Offline          bool     `json:"offline"`
	Bitrate          *float64 `json:"bitrate"`
	FrameRate        *float64 `json:"frame_rate"`
	KeyframeInterval *float64 `json:"keyframe_interval"`
	FramesMissing    *float64 `json:"frames_missing"`
	AudioLevel       *float64 `json:"audio_level_dbfs"`
	RTT              *float64 `json:"rtt_seconds"`
	Loss             *float64 `json:"loss"`
	ClockDrift       *float64 `json:"clock_drift_seconds"`
	AVOffset         *float64 `json:"av_offset_seconds"`
}
