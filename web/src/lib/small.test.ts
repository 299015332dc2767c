import { describe, expect, it } from 'vitest';
import { ffmpegCommand, gstreamerCommand, whipSnippet } from '../console/commands';
import { Backoff, jitter, pause } from './backoff';
import { ServerClock } from './clock';
import { decibels, known, millis, percent } from './format';

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

describe('readings', () => {
  it('that are missing are unknown, and zero is zero', () => {
    expect(known(null, millis)).toBe('unknown');
    expect(known(undefined, percent)).toBe('unknown');
    expect(known(0, millis)).toBe('0 ms');
    expect(known(0, percent)).toBe('0 %');
    expect(known(0.0123, percent)).toBe('1.2 %');
    expect(known(0.42, percent)).toBe('42 %');
    expect(decibels(-18.4)).toBe('−18 dB');
    expect(decibels(-120)).toBe('below −90 dB');
  });
});

describe('commands', () => {
  it('name the address, and a key frame every two seconds', () => {
    const command = ffmpegCommand('file', 'rtmp', 'rtmp://h/live/sk_1');
    expect(command).toContain("-f flv 'rtmp://h/live/sk_1'");
    expect(command).toContain('n_forced*2');
    expect(ffmpegCommand('test', 'srt', 'srt://h:1?streamid=publish:sk_1')).toContain(
      "-f mpegts 'srt://h:1?streamid=publish:sk_1'",
    );
    expect(gstreamerCommand('rtmp', 'rtmp://h/live/sk_1')).toContain(
      "rtmp2sink location='rtmp://h/live/sk_1'",
    );
    expect(gstreamerCommand('srt', 'srt://h:1?x')).toMatch(/mpegtsmux.*! srtsink uri='srt:\/\/h:1\?x'/);
    expect(whipSnippet('/whip', 'sk_1')).toContain('Bearer sk_1');
  });
});
