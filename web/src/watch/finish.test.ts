import { describe, expect, it } from 'vitest';
import { Finish, NEAR_END, STANDS } from './finish';

describe('Finish', () => {
  it('says that it is over when nothing moves at the end, whatever the browser says', () => {
    const f = new Finish();
    expect(f.tick(0, 61.8, 62)).toBe(false);
    expect(f.tick(STANDS - 250, 61.8, 62)).toBe(false);
    expect(f.tick(STANDS, 61.8, 62)).toBe(true);
    // The last part, of half a second, was left out, and so was the frame before it.
    const part = new Finish();
    expect(part.tick(0, 61.46, 62)).toBe(false);
    expect(part.tick(STANDS, 61.46, 62)).toBe(true);
    // The media may be a little longer than its playlist says.
    expect(f.tick(STANDS + 250, 62.1, 62)).toBe(false);
    expect(f.tick(2 * STANDS + 250, 62.1, 62)).toBe(true);
  });

  it('waits for what moves, is not near the end, goes on, or was paused', () => {
    const f = new Finish();
    for (let now = 0; now < 10_000; now += 250) expect(f.tick(now, 61.6 + now / 1e5, 62)).toBe(false);
    for (let now = 10_000; now < 20_000; now += 250) {
      expect(f.tick(now, 62 - NEAR_END - 0.1, 62)).toBe(false);
      expect(f.tick(now, 62, null)).toBe(false);
    }
    expect(f.tick(20_000, 61.9, 62)).toBe(false);
    f.rest();
    expect(f.tick(20_000 + STANDS, 61.9, 62)).toBe(false);
    expect(f.tick(20_000 + 2 * STANDS, 61.9, 62)).toBe(true);
  });
});
