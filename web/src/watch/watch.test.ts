import { describe, expect, it, vi } from 'vitest';
import { EdgeKeeper } from './edge';
import { actionFor } from './keys';
import { HUNG_AFTER, MAX_PATIENCE, STILL_AFTER, Watchdog } from './watchdog';

describe('Watchdog', () => {
  function setup(probe: () => Promise<string>) {
    const restart = vi.fn();
    const dog = new Watchdog({ probe, restart }, 0);
    let now = 0;
    const run = async (ms: number, position: (t: number) => number) => {
      let still = false;
      for (const end = now + ms; now < end; ) {
        now += 250;
        still = dog.tick(now, position(now));
        await Promise.resolve();
        await Promise.resolve();
      }
      return still;
    };
    return { dog, restart, run };
  }
  let n = 0;
  const moving = async () => String(n++);

  it('leaves a picture alone that moves', async () => {
    const probe = vi.fn(moving);
    const t = setup(probe);
    expect(await t.run(20_000, (now) => now / 1000)).toBe(false);
    expect(probe).not.toHaveBeenCalled();
    expect(t.restart).not.toHaveBeenCalled();
  });

  it('restarts an engine that hangs while the playlist goes on, and then less and less often', async () => {
    const t = setup(moving);
    await t.run(STILL_AFTER + 700 + HUNG_AFTER + 750, () => 5);
    expect(t.restart).toHaveBeenCalledOnce();
    await t.run(120_000, () => 5);
    const in2min = t.restart.mock.calls.length;
    expect(in2min).toBeGreaterThan(4);
    expect(in2min).toBeLessThan(120_000 / MAX_PATIENCE + 6);
  });

  it('does nothing while the server has nothing new or is away', async () => {
    const same = setup(async () => 'the same');
    expect(await same.run(30_000, () => 5)).toBe(true);
    expect(same.restart).not.toHaveBeenCalled();
    const away = setup(async () => {
      throw new Error('away');
    });
    await away.run(30_000, () => 5);
    expect(away.restart).not.toHaveBeenCalled();
  });

  it('forgets its suspicion when the picture moves or rests by wish', async () => {
    const t = setup(moving);
    await t.run(3000, () => 5);
    await t.run(250, () => 6);
    await t.run(3000, () => 6);
    t.dog.rest(6500);
    await t.run(1000, () => 6);
    expect(t.restart).not.toHaveBeenCalled();
  });
});

describe('EdgeKeeper', () => {
  it('jumps once when far behind for a while, and not for a moment', () => {
    const keeper = new EdgeKeeper();
    const jumps: number[] = [];
    for (let now = 0; now < 4000; now += 250) if (keeper.tick(now, 8.5, 1.5)) jumps.push(now);
    expect(jumps).toEqual([1500]);
    expect(keeper.tick(9000, 8.5, 1.5)).toBe(true);
    for (let now = 20_000; now < 40_000; now += 250) {
      expect(keeper.tick(now, now % 1000 === 0 ? 2 : 9, 1.5)).toBe(false);
    }
  });

  it('goes nowhere while no media arrives, and hurries when the picture stands still', () => {
    const keeper = new EdgeKeeper();
    for (let now = 0; now < 10_000; now += 250) expect(keeper.tick(now, 9, 1.5, false, true)).toBe(false);
    expect(keeper.tick(10_000, 9, 1.5, true, true)).toBe(false);
    expect(keeper.tick(10_500, 9, 1.5, true, true)).toBe(true);
  });

  it('measures by the target, which is long without parts', () => {
    const keeper = new EdgeKeeper();
    for (let now = 0; now < 10_000; now += 250) {
      expect(keeper.tick(now, 17, 6)).toBe(false);
      expect(keeper.tick(now, 3.9, 0.6)).toBe(false);
      expect(keeper.tick(now, null, 2)).toBe(false);
      expect(keeper.tick(now, 99, null)).toBe(false);
    }
  });
});

describe('actionFor', () => {
  const press = (key: string, path: string[] = ['body'], ctrlKey = false) =>
    actionFor({ key, ctrlKey, metaKey: false, altKey: false, path });
  it('knows the keys', () => {
    expect(press(' ')).toBe('play');
    expect(press('K')).toBe('play');
    expect(press('ArrowLeft')).toBe('back');
    expect(press('?')).toBe('help');
    expect(press('x')).toBeUndefined();
  });
  it('leaves keys to what has the focus, and to the browser', () => {
    expect(press('m', ['input', 'body'])).toBeUndefined();
    expect(press('m', ['button', 'dialog', 'body'])).toBeUndefined();
    expect(press(' ', ['button', 'body'])).toBeUndefined();
    expect(press(' ', ['media-play-button', 'body'])).toBeUndefined();
    expect(press('k', ['button', 'body'])).toBe('play');
    expect(press('ArrowUp', ['media-volume-range', 'body'])).toBeUndefined();
    expect(press('ArrowUp', ['button', '[menu]', 'body'])).toBeUndefined();
    expect(press('f', ['body'], true)).toBeUndefined();
  });
});
