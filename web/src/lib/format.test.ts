import { describe, expect, it } from 'vitest';
import { ago, bitrate, bytes, channels, clock, count, delay, fps, NONE, seconds, since } from './format';

describe('format', () => {
  it.each([
    [2_500_000, '2.5 Mb/s'],
    [2_628_400, '2.63 Mb/s'],
    [12_345_678, '12.3 Mb/s'],
    [128_000, '128 kb/s'],
    [0, NONE],
    [undefined, NONE],
    [Number.NaN, NONE],
    [-1, NONE],
  ])('bitrate %s', (n, want) => expect(bitrate(n)).toBe(want));

  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1 kB'],
    [248_000_000, '248 MB'],
    [1_234_567_890, '1.2 GB'],
    [5e15, '5000 TB'],
    [undefined, NONE],
  ])('bytes %s', (n, want) => expect(bytes(n)).toBe(want));

  it.each([
    [0, '0:00'],
    [59.9, '0:59'],
    [61, '1:01'],
    [3723, '1:02:03'],
    [-5, '0:00'],
  ])('clock %s', (n, want) => expect(clock(n)).toBe(want));

  it('rates and times', () => {
    expect(fps(29.97)).toBe('29.97');
    expect(fps(30)).toBe('30');
    expect(fps(0)).toBe(NONE);
    expect(seconds(2)).toBe('2 s');
    expect(seconds(2.04)).toBe('2 s');
    expect(seconds(0)).toBe(NONE);
    expect(delay(2.123)).toBe('2.1 s');
    expect(delay(-0.2)).toBe('0.0 s');
    expect(delay(42.4)).toBe('42 s');
    expect(delay(130)).toBe('2:10');
    expect(delay(null)).toBe(NONE);
    expect(channels(2)).toBe('stereo');
    expect(channels(6)).toBe('6 channels');
    expect(channels(0)).toBe(NONE);
    expect(count(1, 'viewer')).toBe('1 viewer');
    expect(count(2345, 'viewer')).toBe('2,345 viewers');
  });

  it('ago and since', () => {
    const now = Date.parse('2026-01-02T12:00:00Z');
    expect(ago('2026-01-02T11:59:30Z', now)).toBe('just now');
    expect(ago('2026-01-02T11:55:00Z', now)).toBe('5 min ago');
    expect(ago('2026-01-02T09:00:00Z', now)).toBe('3 h ago');
    expect(ago('2025-06-01T00:00:00Z', now)).toContain('2025');
    expect(ago('nonsense', now)).toBe(NONE);
    expect(since('2026-01-02T11:59:00Z', now)).toBe(60);
    expect(since('2026-01-02T12:01:00Z', now)).toBe(0);
    expect(since('nonsense', now)).toBe(0);
  });
});
