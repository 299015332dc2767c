// What a server says of its encoders and of a stream's renditions.
export const TRANSCODING = {
  mode: 'just-in-time',
  available: true,
  reason: '',
  ffmpeg_version: '7.1',
  ladders: [
    { name: 'default', rungs: ['source', '720p', '480p', '360p', 'audio'] },
    { name: 'mobile', rungs: ['480p', '240p', 'audio'] },
  ],
  encoders: [
    { name: 'h264_nvenc', codec: 'H.264', hardware: true },
    { name: 'libx264', codec: 'H.264', hardware: false },
    { name: 'libopus', codec: 'Opus', hardware: false },
  ],
  cores_budget: 3,
  cores_used: 1.2,
};

const started = Date.now();

export function renditions() {
  const since = new Date(started).toISOString();
  const base = {
    codec_string: '',
    width: null,
    height: null,
    frame_rate: null,
    sample_rate: null,
    channels: null,
    bitrate: null,
    peak_bitrate: null,
    listed: true,
    reason: '',
    encoder: null,
    since,
    cpu_seconds: null,
    lag_seconds: null,
    restarts: null,
  };
  const sent = { ...base, made_by: 'publisher', state: 'running', name: 'source' };
  const made = { ...base, made_by: 'server', kind: 'video', codec: 'H.264', frame_rate: 30 };
  const cpu = ((Date.now() - started) / 1000) * 0.42;
  return [
    { ...sent, kind: 'video', codec: 'H.264', width: 1920, height: 1080, frame_rate: 30, bitrate: 5_200_000 },
    { ...sent, kind: 'audio', codec: 'Opus', sample_rate: 48000, channels: 2, bitrate: 128_000 },
    {
      ...made,
      name: '720p',
      width: 1280,
      height: 720,
      bitrate: 2_400_000,
      state: 'refused',
      reason: 'encode: the encoding budget of 3 cores is full. Raise --transcode-cores, or take a rung out.',
    },
    {
      ...made,
      name: '480p',
      width: 854,
      height: 480,
      bitrate: 1_100_000,
      state: 'running',
      encoder: 'libx264',
      cpu_seconds: cpu,
      lag_seconds: 0.2,
      restarts: 1,
    },
    { ...made, name: '360p', width: 640, height: 360, bitrate: 700_000, state: 'idle' },
    {
      ...made,
      name: 'aac',
      kind: 'audio',
      codec: 'AAC',
      frame_rate: null,
      channels: 2,
      bitrate: 128_000,
      state: 'starting',
      encoder: 'aac',
    },
  ];
}
