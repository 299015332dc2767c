import type { Trouble, Way } from './ways';

/** WebRTC that is not connected after this time (ms) may need company: what HTTP plays with is loaded. */
export const PREPARE_AFTER = 400;
/** WebRTC that is not connected after this time (ms) gets company: HTTP is started beside it, unseen. */
export const HEAD_START = 800;
/** One that is connected gets it when it is without a picture for this long (ms). */
export const PICTURE_START = 1500;
/** WebRTC that is not connected after this time (ms) is given up. */
export const CONNECT_LIMIT = 4000;
/** One that is connected may wait this long (ms) for its picture: an encoder may have to start for it. */
export const PICTURE_LIMIT = 12_000;
/** A dead way's last picture is kept this long (ms) while the other one starts. */
export const KEEP_LAST = 5000;

/** An engine with the <video> it plays into. */
export interface Held {
  readonly way: Way;
  /** Whether its connection stands. */
  connected(): boolean;
  destroy(): void;
}

export interface StageHost<S extends Held> {
  /** Starts a way; hidden, while something else is shown. */
  open(way: Way, hidden: boolean): S;
  /** HTTP may be opened soon. */
  prepare(): void;
  /** From now on the viewer sees and hears s instead of before. */
  show(s: S, before: S | null): void;
  /** WebRTC did not do. */
  trouble(trouble: Trouble, detail: string, wait: number): void;
}

interface Place<S> {
  held: S;
  since: number;
  /** Whether it has shown a picture. */
  seen: boolean;
  /** When it failed while it was shown. */
  deadAt: number | null;
}

/**
 * Holds what is shown and what may be shown next. A change of way starts the new one
 * unseen and swaps when its first picture is there; WebRTC that is slow to start gets
 * HTTP beside it, so that a network that blocks it costs little. Times are in ms.
 */
export class Stage<S extends Held> {
  private now: Place<S> | null = null;
  private next: Place<S> | null = null;
  private wanted: Way = 'hls';
  /** HTTP turned out not to play this, so WebRTC gets no company. */
  private alone = false;

  constructor(private readonly host: StageHost<S>) {}

  get shown(): S | null {
    return this.now?.held ?? null;
  }
  get coming(): S | null {
    return this.next?.held ?? null;
  }
  /** Whether what is shown has failed and only its last picture stays. */
  get dead(): boolean {
    return this.now?.deadAt != null;
  }

  /** Makes this the way, at once where nothing plays yet. */
  want(way: Way, at: number): void {
    this.wanted = way;
    if (!this.now) {
      this.now = this.begin(way, false, at);
      this.host.show(this.now.held, null);
    } else if (this.now.held.way === way && this.now.deadAt === null) {
      // A slow WebRTC keeps its company until it has a picture itself; HTTP has none.
      if (this.now.seen || way === 'hls') this.dropNext();
    } else if (this.next?.held.way !== way) {
      this.dropNext();
      this.next = this.begin(way, true, at);
    }
  }

  /** s shows its first picture. */
  firstPicture(s: S): void {
    const place = this.placeOf(s);
    if (!place || place.seen) return;
    place.seen = true;
    if (place === this.now) {
      if (s.way === this.wanted) this.dropNext();
      return;
    }
    const before = this.swap();
    // What is really wanted may still come after its company.
    if (before && before.held.way === this.wanted && s.way !== this.wanted && before.deadAt === null) {
      this.next = before;
    } else before?.held.destroy();
  }

  /** s, which is WebRTC, does not do. */
  failed(s: S, trouble: Trouble, detail: string, at: number, wait = 0): void {
    const place = this.placeOf(s);
    if (!place || place.deadAt !== null) return;
    this.wanted = 'hls';
    this.host.trouble(trouble, detail, wait);
    if (place === this.next) {
      this.dropNext();
      return;
    }
    place.deadAt = at;
    this.next ??= this.begin('hls', true, at);
    if (!place.seen) this.swap()?.held.destroy();
  }

  /** s, which was to come, cannot play this at all. */
  unfit(s: S): void {
    if (this.next?.held !== s) return;
    this.alone = true;
    this.dropNext();
  }

  /** Called a few times a second. */
  tick(at: number): void {
    const slow = [this.now, this.next].find((p) => p?.held.way === 'webrtc' && !p.seen && p.deadAt === null);
    if (slow) {
      const age = at - slow.since;
      if (age >= CONNECT_LIMIT && !slow.held.connected()) {
        this.failed(slow.held, 'blocked', `not connected after ${CONNECT_LIMIT / 1000} s`, at);
      } else if (age >= PICTURE_LIMIT) {
        this.failed(slow.held, 'no_picture', `no picture after ${PICTURE_LIMIT / 1000} s`, at);
      } else if (slow === this.now && !this.next && !this.alone) {
        const up = slow.held.connected();
        if (age >= (up ? PICTURE_START : HEAD_START)) this.next = this.begin('hls', true, at);
        else if (age >= PREPARE_AFTER && !up) this.host.prepare();
      }
    }
    if (this.now?.deadAt != null && this.next && at - this.now.deadAt >= KEEP_LAST)
      this.swap()?.held.destroy();
  }

  /** The page cannot be seen, so pictures may not come: their time does not run. */
  rest(at: number): void {
    for (const p of [this.now, this.next]) if (p) p.since = at;
  }

  /** Ends both. */
  clear(): void {
    this.dropNext();
    this.now?.held.destroy();
    this.now = null;
    this.alone = false;
  }

  private begin(way: Way, hidden: boolean, at: number): Place<S> {
    return { held: this.host.open(way, hidden), since: at, seen: false, deadAt: null };
  }

  private placeOf(s: S): Place<S> | null {
    return this.now?.held === s ? this.now : this.next?.held === s ? this.next : null;
  }

  private dropNext(): void {
    this.next?.held.destroy();
    this.next = null;
  }

  /** Shows what was coming and returns what was shown. */
  private swap(): Place<S> | null {
    const before = this.now;
    this.now = this.next;
    this.next = null;
    if (this.now) this.host.show(this.now.held, before?.held ?? null);
    return before;
  }
}
