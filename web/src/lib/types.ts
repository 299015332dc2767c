// The shapes of the HTTP API that the pages read. Fields that the server may leave out
// are optional here even where it always sends them today.

export type StreamStatus = 'idle' | 'active' | 'reconnecting' | 'disabled';
export type LatencyMode = 'standard' | 'low' | 'ultra';

export interface Track {
  id: number;
  kind: 'video' | 'audio' | string;
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
  /** rtmp_url is null while RTMP is off. */
  ingest: { rtmp_url: string | null };
  /** Null without a public playback id. */
  playback: { hls_url?: string; watch_url?: string } | null;
  active_ingest: ActiveIngest | null;
  viewers: number;
}

export interface LiveStreamList {
  data: LiveStream[];
  next_cursor: string | null;
}

export interface Playback {
  playback_id: string;
  status: StreamStatus;
  title: string;
  latency_mode: LatencyMode;
  hls_url: string;
  viewers?: number;
}

export interface ServerInfo {
  version?: string;
  rtmp_url?: string;
  hls_base?: string;
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
  errors?: { message?: string; location?: string }[];
  request_id?: string;
}
