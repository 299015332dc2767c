import { describe, expect, it } from 'vitest';
import type { Rendition } from '../lib/types';
import { nameOf, rungsIn, withCores } from './ladder';

const r = (over: Partial<Rendition>): Rendition => ({
  name: '720p',
  made_by: 'server',
  kind: 'video',
  codec: 'H.264',
  codec_string: '',
  width: 1280,
  height: 720,
  frame_rate: 30,
  sample_rate: null,
  channels: null,
  bitrate: 2_000_000,
  peak_bitrate: null,
  listed: true,
  state: 'running',
  reason: '',
  encoder: 'libx264',
  since: 'a',
  cpu_seconds: null,
  lag_seconds: null,
  restarts: null,
  ...over,
});

describe('the qualities of a stream', () => {
  it('say how many cores they take, from two readings of the same run', () => {
    const seen = new Map();
    expect(withCores([r({ cpu_seconds: 10 })], seen, 1000)[0]?.cores).toBeNull();
    expect(withCores([r({ cpu_seconds: 11 })], seen, 3000)[0]?.cores).toBe(0.5);
    expect(withCores([r({ cpu_seconds: 0.2, since: 'b' })], seen, 5000)[0]?.cores).toBeNull();
    expect(withCores([r({ cpu_seconds: 0.1, since: 'b' })], seen, 6000)[0]?.cores).toBeNull();
    expect(withCores([r({})], seen, 7000)[0]?.cores).toBeNull();
  });

  it('have names that people know', () => {
    expect(nameOf(r({ name: 'source', made_by: 'publisher' }))).toBe('Source');
    expect(nameOf(r({ name: 'source', made_by: 'publisher', kind: 'audio' }))).toBe('Source audio');
    expect(nameOf(r({ name: 'realtime' }))).toBe('For real time');
    expect(nameOf(r({}))).toBe('720p');
  });

  it('can be written in any way', () => {
    expect(rungsIn(' 720p,480p@900k\n720p/hevc; audio ')).toEqual([
      '720p',
      '480p@900k',
      '720p/hevc',
      'audio',
    ]);
    expect(rungsIn(' \n')).toEqual([]);
  });
});
