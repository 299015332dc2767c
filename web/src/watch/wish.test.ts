import { describe, expect, it } from 'vitest';
import { type Held, Stage } from './stage';
import type { Way } from './ways';
import { Wish } from './wish';

/** A player whose server proposes real time, with a stage that opens nothing. */
function setup() {
  const opened: Held[] = [];
  const stage = new Stage<Held>({
    open: (way) => {
      const held = { way, connected: () => true, destroy: () => {} };
      opened.push(held);
      return held;
    },
    prepare: () => {},
    show: () => {},
    trouble: () => {},
  });
  let now = 0;
  const wish = new Wish({
    way: () => stage.shown?.way ?? null,
    goBack: () => stage.want('hls', now),
  });
  /** What the player does a few times a second. */
  const tick = () => {
    now += 250;
    stage.tick(now);
    if (!wish.behind) stage.want('webrtc', now);
  };
  /** The newest of a way shows its first picture. */
  const picture = (way: Way) => {
    const held = opened.filter((h) => h.way === way).at(-1);
    if (held) stage.firstPicture(held);
  };
  tick();
  picture('webrtc');
  return { stage, wish, tick, picture, ways: () => [stage.shown?.way, stage.coming?.way] };
}

/** One that has gone back from real time. */
function behind() {
  const t = setup();
  t.wish.back(30);
  t.tick();
  expect(t.ways()).toEqual(['webrtc', 'hls']);
  t.picture('hls');
  expect(t.wish.take()).toBe(30);
  expect(t.wish.take()).toBeNull();
  return t;
}

describe('going back in a live stream', () => {
  it('is not undone by real time that was on its way', () => {
    for (const how of ['stay', 'back'] as const) {
      const t = behind();
      t.wish.live();
      t.tick();
      expect(t.ways()).toEqual(['hls', 'webrtc']);
      if (how === 'stay') t.wish.stay();
      else t.wish.back(20);
      t.picture('webrtc');
      t.tick();
      expect(t.ways()).toEqual(['hls', undefined]);
      expect(t.wish.behind).toBe(true);
    }
  });

  it('is not undone by a picture that has to be started again', () => {
    const t = setup();
    t.wish.stay(); // a pause
    t.wish.back(30);
    t.wish.resume();
    t.tick();
    expect(t.ways()).toEqual(['webrtc', 'hls']);
    expect(t.wish.behind).toBe(true);
    t.picture('hls');
    t.wish.resume();
    expect(t.wish.behind).toBe(true);
  });

  it('is given up by going to live', () => {
    const t = setup();
    t.wish.back(30);
    t.wish.live();
    t.tick();
    expect(t.ways()).toEqual(['webrtc', undefined]);
    expect(t.wish.take()).toBeNull();
    // A pause of real time ends at the edge.
    t.wish.stay();
    t.wish.resume();
    expect(t.wish.behind).toBe(false);
  });

  it('goes to where was asked for last', () => {
    const t = behind();
    // An engine that had to be made anew begins at the edge, and is to be where the old one was.
    t.wish.back(30);
    expect(t.ways()).toEqual(['hls', undefined]);
    expect(t.wish.waits).toBe(true);
    t.wish.back(5);
    expect(t.wish.take()).toBe(5);
    expect(t.wish.waits).toBe(false);
  });

  it('ends with what was played', () => {
    const t = setup();
    t.wish.back(30);
    t.wish.forget(false);
    expect([t.wish.behind, t.wish.take()]).toEqual([false, null]);
    t.wish.forget(true);
    expect(t.wish.behind).toBe(true);
  });
});
