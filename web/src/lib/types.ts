// The shapes of the HTTP API that the pages read. Fields that the server may leave out
// are optional here even where it always sends them today.

export type StreamStatus = 'idle' | 'active' | 'reconnecting' | 'disabled';
export type LatencyMode = 'standard' | 'low' | 'ultra';

export interface Track {
  id: number;
  kind: 'video' | 'audio' | string;
  /** Which rendition it belongs to when the encoder sends several; empty is the main one. */
  rendition?: string;
  codec: string;
  codec_string?: string;
  width?: number;
  height?: number;
  /** Frames per second that the encoder declared; 0 if it declared none. */
  frame_rate?: number;
  measured_frame_rate?: number;
  /** Bits per second over the last seconds. */
  bitrate?: number;
  /** Seconds between key frames. */
  keyframe_interval?: number;
  sample_rate?: number;
  channels?: number;
}

export interface ActiveIngest {
  protocol: string;
  encoder?: string;
  peer?: string;
  since: string;
  session_id?: string;
  tracks?: Track[];
  bitrate?: number;
  bytes?: number;
  on_air?: 'main' | 'backup';
  /** Null if nothing is known of it. */
  backup?: { connected: boolean; ready: boolean; protocol: string | null } | null;
}

/** Addresses to publish to; null while a protocol is off. */
export interface IngestUrls {
  rtmp_url: string | null;
  rtmps_url: string | null;
  /** With the key and the passphrase in it. */
  srt_url: string | null;
  whip_url: string | null;
  golive_url: string | null;
  backup: {
    rtmp_url: string | null;
    rtmps_url: string | null;
    stream_key: string | null;
    srt_url: string | null;
    whip_url: string | null;
  } | null;
}

export interface Source {
  /** Secrets in it are masked. */
  url: string;
  on_demand: boolean;
  enabled: boolean;
  status: 'off' | 'idle' | 'connecting' | 'receiving' | 'failing' | 'unknown';
  since: string | null;
  last_error: string;
  attempts: number | null;
}

export interface Multitrack {
  enabled: boolean;
  max_video_tracks: number | null;
  max_bitrate: number | null;
}

export interface Target {
  id: string;
  url: string;
  stream_key: string;
  passthrough: string;
  enabled: boolean;
  status: 'idle' | 'starting' | 'broadcasting' | 'errored';
  since: string | null;
  last_error: string;
  attempts: number | null;
  bytes: number | null;
  dropped: number | null;
}

export interface LiveStream {
  id: string;
  created_at: string;
  updated_at?: string;
  status: StreamStatus;
  title: string;
  stream_key: string;
  latency_mode: LatencyMode;
  reconnect_window: number;
  playback_ids: { id: string; policy: string }[];
  ingest: IngestUrls;
  srt_passphrase: string | null;
  source: Source | null;
  multitrack: Multitrack;
  simulcast_targets: Target[];
  /** Missing from servers that do not encode. */
  ladder?: Ladder | null;
  /** Null: the server's default. */
  realtime_viewers?: number | null;
  /** Null without a public playback id. */
  playback: {
    hls_url?: string;
    dash_url?: string | null;
    whep_url?: string | null;
    watch_url?: string;
    thumbnail_url?: string | null;
    rtmp_url?: string | null;
    srt_url?: string | null;
  } | null;
  active_ingest: ActiveIngest | null;
  viewers: number;
}

export interface LiveStreamList {
  data: LiveStream[];
  next_cursor: string | null;
}

/** The way to play that the server chose for one viewer, and why. */
export interface WayAnswer {
  protocol: 'webrtc' | 'hls';
  code: string;
  reason: string;
  /** When to ask again; null: there is no need. */
  check_after_seconds: number | null;
}

export interface Playback {
  playback_id: string;
  /** What it plays: a live stream, or an asset, which is a recording. */
  type?: 'live_stream' | 'asset' | string;
  /** A live stream's, or an asset's. */
  status: StreamStatus | 'recording' | 'ready' | 'errored';
  /** Seconds of a recording. */
  duration?: number | null;
  /** When a recording began. */
  created_at?: string | null;
  poster_url?: string | null;
  storyboard_url?: string | null;
  download_url?: string | null;
  /** Seconds that viewers of a live stream can go back. */
  dvr?: number | null;
  /** The recording of the last broadcast of a stream that is not live. */
  replay?: { playback_id: string } | null;
  title: string;
  /** Null for a recording. */
  latency_mode: LatencyMode | null;
  hls_url: string;
  viewers?: number;
  way?: WayAnswer;
  whep_url?: string | null;
  dash_url?: string | null;
  thumbnail_url?: string | null;
  realtime_viewers?: number;
}

/** How a live stream is made into several qualities; null, and no rungs, are the server's default. */
export interface Ladder {
  profile: string | null;
  rungs: string[];
  mode: LadderMode | null;
}
export type LadderMode = 'just-in-time' | 'always' | 'off';

/** A rendition of a stream: one that its publisher sends, or one that the server makes or could make. */
export interface Rendition {
  name: string;
  made_by: 'publisher' | 'server' | string;
  kind: 'video' | 'audio' | string;
  codec: string;
  codec_string: string;
  width: number | null;
  height: number | null;
  frame_rate: number | null;
  sample_rate: number | null;
  channels: number | null;
  bitrate: number | null;
  peak_bitrate: number | null;
  /** It is in playlists; what is not is made for WebRTC only. */
  listed: boolean;
  state: 'idle' | 'starting' | 'running' | 'failed' | 'refused' | 'shed' | string;
  reason: string;
  encoder: string | null;
  since: string | null;
  cpu_seconds: number | null;
  lag_seconds: number | null;
  restarts: number | null;
}

/** What the server can encode with. */
export interface Transcoding {
  mode: LadderMode;
  available: boolean;
  reason: string;
  ffmpeg_version: string | null;
  /** The default first. */
  ladders: { name: string; rungs: string[] }[];
  encoders: { name: string; codec: string; hardware: boolean }[];
  cores_budget: number;
  cores_used: number;
}

export type HealthStatus = 'good' | 'degraded' | 'bad' | 'no_data';
export type Severity = 'info' | 'warning' | 'critical';

/** Something about an incoming stream that its viewers feel, and what to do about it. */
export interface Finding {
  code: string;
  severity: Severity;
  title: string;
  evidence: Record<string, unknown> | null;
  fix: { obs: string; browser: string; ffmpeg: string };
  source: 'main' | 'backup' | string;
  since: string;
  count: number;
}

/** A reading that is null is unknown. */
export interface HealthTrack {
  id: number;
  kind: string;
  codec: string;
  codec_string: string;
  rendition: string;
  bitrate: number | null;
  width: number | null;
  height: number | null;
  declared_frame_rate: number | null;
  frame_rate: number | null;
  frames_missing: number | null;
  keyframe_interval: number | null;
  b_frames: boolean | null;
  sample_rate: number | null;
  channels: number | null;
  audio_level_dbfs: number | null;
  audio_peak_dbfs: number | null;
}

export interface HealthSource {
  session_id: string;
  protocol: string;
  encoder: string;
  backup: boolean;
  since: string;
  ended_at: string | null;
  stale: boolean;
  tracks: HealthTrack[] | null;
  av_offset_seconds: number | null;
  av_drift_seconds: number | null;
  clock_drift_seconds: number | null;
  link: {
    rtt_seconds: number | null;
    jitter_seconds: number | null;
    loss: number | null;
    retransmission: number | null;
    dropped: number | null;
    available_bitrate: number | null;
  };
  repaired: Record<string, number> | null;
}

export interface HealthPoint {
  at: string;
  offline: boolean;
  bitrate: number | null;
}

export interface Health {
  status: HealthStatus;
  score: number | null;
  summary: string;
  since: string | null;
  /** Nobody publishes: findings and readings are the last ones. */
  stale: boolean;
  measured_at: string | null;
  findings: Finding[] | null;
  sources: HealthSource[] | null;
  history: HealthPoint[] | null;
}

export interface ServerInfo {
  version?: string;
  rtmp_url?: string;
  hls_base?: string;
  /** Viewers of a stream over WebRTC where the stream does not say otherwise; 0 when that is off. */
  realtime_viewers?: number;
  transcoding?: Transcoding | null;
}

/** One event of /v1/events. */
export interface FeedEvent {
  seq: number;
  at: string;
  type: string;
  live_stream_id?: string;
  data?: Record<string, unknown>;
}

/** RFC 9457 problem details as this server sends them. */
export interface Problem {
  title?: string;
  status?: number;
  detail?: string;
  code?: string;
  errors?: { detail?: string; pointer?: string; parameter?: string }[];
  request_id?: string;
}
