/** A report of the stream doctor, good or with findings. */
export function report(status) {
  const since = new Date(Date.now() - 95_000).toISOString();
  const finding = (code, severity, title, evidence) => ({
    code,
    severity,
    title,
    evidence,
    fix: {
      obs: 'Settings → Output → Keyframe Interval: 2 s.',
      ffmpeg: 'Add -g with twice the frame rate.',
      browser: '',
    },
    source: 'main',
    since,
    count: 2,
  });
  const findings =
    status === 'good'
      ? []
      : [
          finding('uplink_loss', 'critical', 'The way from the encoder loses 7.3 % of the packets.', {
            loss_percent: 7.3,
            rtt_ms: 88.123456,
          }),
          finding('keyframe_interval_long', 'warning', 'A key frame comes only every 10 s.', {
            keyframe_interval_seconds: 10,
          }),
          finding('audio_silent', 'warning', 'The sound has been silent for 64 s.', { level_dbfs: null }),
          finding('bframes_in_realtime', 'info', 'The picture has B-frames, which add delay.', {}),
        ];
  const track = {
    id: 1,
    kind: 'video',
    codec: 'H.264',
    codec_string: 'avc1.64001f',
    rendition: '',
    bitrate: 2_500_000,
    width: 1280,
    height: 720,
    declared_frame_rate: 30,
    frame_rate: 29.97,
    frames_missing: 0,
    keyframe_interval: 10,
    b_frames: true,
    sample_rate: null,
    channels: null,
    audio_level_dbfs: null,
    audio_peak_dbfs: null,
  };
  const sound = { ...track, id: 2, kind: 'audio', codec: 'AAC', bitrate: 128_000, sample_rate: 48_000 };
  const link = {
    rtt_seconds: 0.088,
    jitter_seconds: null,
    loss: 0.073,
    retransmission: null,
    dropped: null,
    available_bitrate: null,
  };
  const source = {
    session_id: 'se_1',
    protocol: 'srt',
    encoder: 'OBS 32.0.2',
    backup: false,
    since,
    ended_at: null,
    stale: false,
    tracks: [track, { ...track, id: 3, rendition: '360p', height: 360, bitrate: null }, sound],
    av_offset_seconds: 0.012,
    av_drift_seconds: 0,
    clock_drift_seconds: -0.02,
    link,
    repaired: { jump: 1 },
  };
  return {
    status,
    score: status === 'good' ? 100 : 40,
    summary:
      status === 'good'
        ? 'All is well.'
        : 'Viewers see interruptions: the way from the encoder loses packets.',
    since,
    stale: status === 'no_data',
    measured_at: new Date().toISOString(),
    findings,
    sources: [source, { ...source, session_id: 'se_2', backup: true, repaired: null }],
    history: Array.from({ length: 60 }, (_, i) => ({
      at: new Date(Date.now() - (60 - i) * 5000).toISOString(),
      offline: i > 20 && i < 26,
      bitrate: i > 20 && i < 26 ? null : 2_400_000 + ((i * 37) % 11) * 30_000,
    })),
  };
}
