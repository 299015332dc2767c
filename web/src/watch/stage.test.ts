import { describe, expect, it } from 'vitest';
import {
  CONNECT_LIMIT,
  HEAD_START,
  type Held,
  KEEP_LAST,
  PICTURE_LIMIT,
  PICTURE_START,
  PREPARE_AFTER,
  Stage,
} from './stage';
import type { Way } from './ways';

class Fake implements Held {
  up = false;
  gone = false;
  constructor(
    readonly way: Way,
    readonly hidden: boolean,
  ) {}
  connected() {
    return this.up;
  }
  destroy() {
    expect(this.gone).toBe(false);
    this.gone = true;
  }
}

function setup() {
  const opened: Fake[] = [];
  const troubles: string[] = [];
  const prepared: number[] = [];
  const shows: [Fake, Fake | null][] = [];
  const stage = new Stage<Fake>({
    open: (way, hidden) => {
      const f = new Fake(way, hidden);
      opened.push(f);
      return f;
    },
    prepare: () => prepared.push(1),
    show: (s, before) => shows.push([s, before]),
    trouble: (t) => troubles.push(t),
  });
  const at = (i: number) => opened[i] as Fake;
  const living = () => opened.filter((f) => !f.gone).map((f) => f.way);
  return { stage, opened, troubles, prepared, shows, at, living };
}

describe('Stage', () => {
  it('plays WebRTC alone when its picture is there at once', () => {
    const t = setup();
    t.stage.want('webrtc', 0);
    expect(t.at(0).hidden).toBe(false);
    t.at(0).up = true;
    t.stage.tick(800);
    t.stage.firstPicture(t.at(0));
    for (let now = 1000; now < 60_000; now += 250) {
      t.stage.want('webrtc', now);
      t.stage.tick(now);
    }
    expect(t.opened).toHaveLength(1);
    expect(t.troubles).toEqual([]);
  });

  it('shows HTTP within 4 s where WebRTC is blocked, and gives WebRTC up', () => {
    const t = setup();
    t.stage.want('webrtc', 0);
    t.stage.tick(PREPARE_AFTER - 1);
    expect(t.prepared).toHaveLength(0);
    t.stage.tick(HEAD_START - 1);
    expect(t.prepared).toHaveLength(1);
    expect(t.living()).toEqual(['webrtc']);
    t.stage.tick(HEAD_START);
    expect(t.living()).toEqual(['webrtc', 'hls']);
    expect(t.at(1).hidden).toBe(true);
    t.stage.want('webrtc', HEAD_START + 10); // the next question does not take its company away
    t.stage.firstPicture(t.at(1));
    expect(t.stage.shown).toBe(t.at(1));
    expect(t.living()).toEqual(['webrtc', 'hls']); // it still may come
    t.stage.tick(CONNECT_LIMIT);
    expect(t.troubles).toEqual(['blocked']);
    expect(t.living()).toEqual(['hls']);
    t.stage.want('hls', CONNECT_LIMIT + 1);
    expect(t.living()).toEqual(['hls']);
  });

  it('goes over to HTTP at once when the offer is refused', () => {
    const t = setup();
    t.stage.want('webrtc', 0);
    t.stage.failed(t.at(0), 'refused', '406', 100);
    expect(t.living()).toEqual(['hls']);
    expect(t.stage.shown).toBe(t.at(1));
    expect(t.troubles).toEqual(['refused']);
    t.stage.failed(t.at(0), 'lost', '', 200); // it is gone already
    expect(t.troubles).toEqual(['refused']);
  });

  it('waits longer for a WebRTC that is connected: its encoder may have to start', () => {
    const t = setup();
    t.stage.want('webrtc', 0);
    t.at(0).up = true;
    t.stage.tick(PICTURE_START - 1);
    expect(t.living()).toEqual(['webrtc']);
    expect(t.prepared).toHaveLength(0);
    t.stage.tick(PICTURE_START);
    t.stage.firstPicture(t.at(1));
    t.stage.tick(CONNECT_LIMIT + 500);
    expect(t.troubles).toEqual([]);
    t.stage.firstPicture(t.at(0));
    expect(t.stage.shown).toBe(t.at(0));
    expect(t.living()).toEqual(['webrtc']);
    expect(t.shows).toEqual([
      [t.at(0), null],
      [t.at(1), t.at(0)],
      [t.at(0), t.at(1)],
    ]);
    const slow = setup();
    slow.stage.want('webrtc', 0);
    slow.at(0).up = true;
    slow.stage.tick(PICTURE_START);
    slow.stage.tick(PICTURE_LIMIT);
    expect(slow.troubles).toEqual(['no_picture']);
    expect(slow.living()).toEqual(['hls']);
  });

  it('keeps what plays until what is wanted has a picture', () => {
    const t = setup();
    t.stage.want('hls', 0);
    t.stage.firstPicture(t.at(0));
    t.stage.want('webrtc', 10_000);
    expect(t.stage.shown).toBe(t.at(0));
    expect(t.at(1).hidden).toBe(true);
    t.at(1).up = true;
    t.stage.tick(11_000);
    t.stage.firstPicture(t.at(1));
    expect(t.stage.shown).toBe(t.at(1));
    expect(t.living()).toEqual(['webrtc']);
    // And back, as when the crowd has grown.
    t.stage.want('hls', 60_000);
    t.stage.want('hls', 61_000);
    expect(t.living()).toEqual(['webrtc', 'hls']);
    t.stage.firstPicture(t.at(2));
    expect(t.living()).toEqual(['hls']);
    // The server thought better of it before there was a picture.
    t.stage.want('webrtc', 90_000);
    t.stage.want('hls', 91_000);
    expect(t.living()).toEqual(['hls']);
    expect(t.troubles).toEqual([]);
  });

  it('drops WebRTC that was coming when HTTP is wanted after all, before either has a picture', () => {
    const t = setup();
    t.stage.want('hls', 0);
    t.stage.want('webrtc', 250);
    expect(t.living()).toEqual(['hls', 'webrtc']);
    t.stage.want('hls', 500);
    expect(t.living()).toEqual(['hls']);
  });

  it('tries WebRTC unseen, and nobody notices that it fails', () => {
    const t = setup();
    t.stage.want('hls', 0);
    t.stage.firstPicture(t.at(0));
    t.stage.want('webrtc', 10_000);
    t.stage.tick(10_000 + CONNECT_LIMIT);
    expect(t.troubles).toEqual(['blocked']);
    expect(t.stage.shown).toBe(t.at(0));
    expect(t.living()).toEqual(['hls']);
    expect(t.shows).toHaveLength(1);
  });

  it('keeps the last picture of a connection that broke until HTTP has one', () => {
    const t = setup();
    t.stage.want('webrtc', 0);
    t.at(0).up = true;
    t.stage.firstPicture(t.at(0));
    t.stage.failed(t.at(0), 'lost', 'ICE failed', 30_000);
    expect(t.stage.shown).toBe(t.at(0));
    expect(t.stage.dead).toBe(true);
    t.stage.want('hls', 30_100);
    expect(t.opened).toHaveLength(2);
    t.stage.firstPicture(t.at(1));
    expect(t.stage.shown).toBe(t.at(1));
    expect(t.living()).toEqual(['hls']);
    // Where it takes long, what comes is shown as it is.
    const u = setup();
    u.stage.want('webrtc', 0);
    u.stage.firstPicture(u.at(0));
    u.stage.failed(u.at(0), 'stalled', '', 1000);
    u.stage.tick(1000 + KEEP_LAST - 1);
    expect(u.stage.shown).toBe(u.at(0));
    u.stage.tick(1000 + KEEP_LAST);
    expect(u.stage.shown).toBe(u.at(1));
    expect(u.living()).toEqual(['hls']);
  });

  it('does without company that cannot play the stream', () => {
    const t = setup();
    t.stage.want('webrtc', 0);
    t.at(0).up = true;
    t.stage.tick(PICTURE_START);
    t.stage.unfit(t.at(1));
    t.stage.tick(PICTURE_START + 250);
    expect(t.living()).toEqual(['webrtc']);
    expect(t.opened).toHaveLength(2);
  });

  it('counts no time while the page cannot be seen, and ends both', () => {
    const t = setup();
    t.stage.want('webrtc', 0);
    t.stage.rest(600_000);
    t.stage.tick(600_250);
    expect(t.living()).toEqual(['webrtc']);
    t.stage.tick(600_000 + HEAD_START);
    t.stage.clear();
    expect(t.living()).toEqual([]);
    expect(t.stage.shown).toBeNull();
    t.stage.tick(700_000);
    expect(t.opened).toHaveLength(2);
  });
});
