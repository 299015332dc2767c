import { describe, expect, it } from 'vitest';
import { ffmpegCommand } from '../console/commands';
import { Backoff, jitter, pause } from './backoff';
import { ServerClock } from './clock';
import { findings } from './findings';
import type { ActiveIngest, Track } from './types';

describe('Backoff', () => {
  it('doubles to its limit, spreads, and starts over', () => {
    const b = new Backoff(500, 4000, () => 0.5);
    expect([b.delay(), b.delay(), b.delay(), b.delay(), b.delay()]).toEqual([500, 1000, 2000, 4000, 4000]);
    b.reset();
    expect(b.delay()).toBe(500);
    expect(jitter(1000, () => 0)).toBe(750);
    expect(jitter(1000, () => 1)).toBe(1250);
  });

  it('ends a pause when it is called off', async () => {
    const c = new AbortController();
    const p = pause(1e9, c.signal);
    c.abort();
    await p;
    await pause(1e9, c.signal);
  });
});

describe('ServerClock', () => {
  const date = (ms: number) => new Date(ms).toUTCString();

  it('finds an offset within what the answers allow, better with each', () => {
    const clock = new ServerClock();
    const real = 7300; // the server is ahead by this
    let t = Date.parse('2026-01-01T00:00:00Z');
    for (let i = 0; i < 20; i++) {
      clock.sample(date(t + 20 + real), t, t + 40);
      t += 2137;
    }
    expect(Math.abs(clock.offset - real)).toBeLessThan(120);
    expect(clock.now(1000)).toBe(1000 + clock.offset);
  });

  it('leaves a clock alone that may be right', () => {
    const clock = new ServerClock();
    const t = Date.parse('2026-01-01T00:00:00Z') + 400;
    clock.sample(date(t), t - 5, t + 5);
    expect(clock.offset).toBe(0);
    clock.sample(null, t, t);
    clock.sample('nonsense', t, t);
    clock.sample(date(t + 60_000), t + 10, t);
    expect(clock.offset).toBe(0);
  });

  it('follows a clock that was set', () => {
    const clock = new ServerClock();
    const t = Date.parse('2026-01-01T00:00:00Z');
    clock.sample(date(t + 5000), t, t + 10);
    clock.sample(date(t - 20_000), t, t + 10);
    expect(clock.offset).toBeLessThan(-18_000);
  });
});

describe('findings', () => {
  const since = '2026-01-01T00:00:00Z';
  const now = Date.parse(since) + 60_000;
  const video: Track = {
    id: 1,
    kind: 'video',
    codec: 'H.264',
    frame_rate: 30,
    measured_frame_rate: 29.9,
    bitrate: 2e6,
    keyframe_interval: 2,
  };
  const audio: Track = { id: 2, kind: 'audio', codec: 'AAC', bitrate: 128_000 };
  const codes = (tracks: Track[], at = now) =>
    findings({ protocol: 'rtmp', since, tracks } as ActiveIngest, at).map((f) => f.code);

  it.each<[string, Track[], string[]]>([
    ['a good stream', [video, audio], []],
    ['nothing at all', [], ['no_media']],
    ['no audio', [video], ['audio_missing']],
    ['no video', [audio], ['video_missing']],
    ['rare key frames', [{ ...video, keyframe_interval: 10 }, audio], ['keyframe_interval_long']],
    ['4 s exactly', [{ ...video, keyframe_interval: 4 }, audio], []],
    ['lost frames', [{ ...video, measured_frame_rate: 20 }, audio], ['fps_low']],
    ['no declared rate', [{ ...video, frame_rate: 0 }, audio], ['fps_variable']],
    ['nothing measured yet', [{ ...video, measured_frame_rate: 0 }, audio], []],
    ['starved', [{ ...video, bitrate: 0 }, audio], ['ingest_starved']],
    ['HEVC', [{ ...video, codec: 'H.265' }, audio], ['hevc_no_browser']],
    [
      'worst first',
      [{ ...video, codec: 'HEVC', bitrate: 0, keyframe_interval: 9 }],
      ['ingest_starved', 'audio_missing', 'keyframe_interval_long', 'hevc_no_browser'],
    ],
  ])('%s', (_name, tracks, want) => expect(codes(tracks)).toEqual(want));

  it('gives a new publisher time', () => {
    expect(codes([video], Date.parse(since) + 1000)).toEqual([]);
    expect(codes([], Date.parse(since) + 1000)).toEqual([]);
  });
});

describe('ffmpegCommand', () => {
  it('names the address with the key, and a key frame every two seconds', () => {
    const command = ffmpegCommand('file', 'rtmp://h/live', 'sk_1');
    expect(command).toContain("'rtmp://h/live/sk_1'");
    expect(command).toContain('n_forced*2');
    expect(ffmpegCommand('test', 'rtmp://h/live', 'sk_1')).toContain('testsrc2');
  });
});
