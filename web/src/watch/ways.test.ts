import { describe, expect, it } from 'vitest';
import type { WayAnswer } from '../lib/types';
import { type Trouble, Ways } from './ways';

const webrtc: WayAnswer = {
  protocol: 'webrtc',
  code: 'realtime',
  reason: 'Few watch.',
  check_after_seconds: 30,
};
const hls: WayAnswer = { protocol: 'hls', code: 'limit', reason: 'Many watch.', check_after_seconds: 60 };

describe('the choice of a way', () => {
  it('follows the server', () => {
    const w = new Ways(true);
    expect(w.want(0)).toBe('hls'); // before it answered, and from one that knows no ways
    w.told(webrtc);
    expect(w.want(0)).toBe('webrtc');
    expect(w.checkAfter()).toBe(30_000);
    w.told(hls);
    expect(w.want(0)).toBe('hls');
    expect(w.why()).toEqual({ code: 'limit', words: 'Many watch.', detail: '' });
    expect(w.note()).toBe('');
    w.told(undefined);
    expect(w.checkAfter()).toBe(Number.POSITIVE_INFINITY);
  });

  it('has no WebRTC where the browser has none', () => {
    const w = new Ways(false);
    w.told(webrtc);
    expect(w.want(0)).toBe('hls');
    expect(w.able(0)).toBe(false);
    expect(w.why().code).toBe('no_webrtc');
  });

  it('leaves WebRTC alone for a while after it failed, each time longer, and says why', () => {
    const w = new Ways(true);
    w.told(webrtc);
    w.failed('blocked', 'not connected', 0);
    expect(w.want(59_999)).toBe('hls');
    expect(w.note()).toContain('does not get through this network');
    expect(w.why()).toMatchObject({ code: 'blocked', detail: 'not connected' });
    expect(w.able(60_000)).toBe(true);
    w.failed('blocked', '', 64_000);
    expect(w.want(64_000 + 119_999)).toBe('hls');
    expect(w.want(64_000 + 120_000)).toBe('webrtc');
    for (let i = 0; i < 20; i++) w.failed('blocked', '', 1e6);
    expect(w.want(1e6 + 900_000)).toBe('webrtc'); // never for good
  });

  it('trusts it again after it played for a minute', () => {
    const w = new Ways(true);
    w.told(webrtc);
    for (let i = 0; i < 5; i++) w.failed('lost', '', 0);
    w.works(300_000);
    expect(w.note()).toBe('');
    w.failed('lost', '', 361_000);
    expect(w.want(361_000 + 8000)).toBe('webrtc');
    // A picture that lasted for a moment earns nothing.
    w.works(370_000);
    w.failed('lost', '', 371_000);
    expect(w.want(371_000 + 8000)).toBe('hls');
  });

  it('waits as long as the server asked for', () => {
    const w = new Ways(true);
    w.told(webrtc);
    w.failed('busy', '503', 0, 90_000);
    expect(w.note()).toBe('');
    expect(w.want(89_999)).toBe('hls');
    expect(w.want(90_000)).toBe('webrtc');
  });

  it('begins anew in another network', () => {
    const w = new Ways(true);
    w.told(webrtc);
    w.failed('blocked', '', 0);
    w.networkChanged();
    expect(w.want(1)).toBe('webrtc');
  });

  it('keeps a way that the address demands, unless it fails', () => {
    const w = new Ways(true, 'webrtc');
    w.told(hls);
    expect(w.want(0)).toBe('webrtc');
    w.failed('refused', '406', 0);
    expect(w.want(1)).toBe('hls');
    const other = new Ways(true, 'hls');
    other.told(webrtc);
    expect(other.want(0)).toBe('hls');
    expect(other.why().code).toBe('demanded');
  });

  it('has words for every trouble', () => {
    const all: Trouble[] = ['blocked', 'no_picture', 'refused', 'busy', 'unreachable', 'lost', 'stalled'];
    for (const t of all) {
      const w = new Ways(true);
      w.failed(t, '', 0);
      expect(w.why().words).toMatch(/\.$/);
    }
  });
});
