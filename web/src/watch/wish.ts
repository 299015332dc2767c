import type { Way } from './ways';

export interface WishHost {
  /** The way that is shown; null while nothing plays. */
  way(): Way | null;
  /** Goes over to the way that has a past, or stays with it. */
  goBack(): void;
}

/**
 * Where the viewer wants to be: at the live edge, or behind it. Only HTTP has a past, so
 * whoever wants one goes over to it, and no other way takes its place meanwhile.
 */
export class Wish {
  /** The viewer went back, or paused: nothing jumps to live until asked to. */
  behind = false;
  /** Seconds behind live to go to once what comes plays; null: nothing was asked for. */
  private pending: number | null = null;

  constructor(private readonly host: WishHost) {}

  /** To stay with what is shown, as by a pause or by going to another moment of it. */
  stay(): void {
    this.behind = true;
    // Real time may be on its way into its place, and would show now instead of then.
    if (this.host.way() === 'hls') this.host.goBack();
  }

  /** To be so many seconds behind live as soon as that can be; Infinity for the beginning. */
  back(seconds: number): void {
    this.behind = true;
    this.pending = seconds;
    this.host.goBack();
  }

  /** Whether a moment to go to waits for what comes; another wish has to take its place. */
  get waits(): boolean {
    return this.pending !== null;
  }

  /** To be at the edge. */
  live(): void {
    this.behind = false;
    this.pending = null;
  }

  /** To see it move again, after a pause. */
  resume(): void {
    // There is nothing behind the live edge of WebRTC; but what has a past may be coming.
    if (this.host.way() === 'webrtc' && this.pending === null) this.behind = false;
  }

  /** Says once how far back to go, when that can be. */
  take(): number | null {
    const seconds = this.pending;
    this.pending = null;
    return seconds;
  }

  /** Nothing plays any more. stays says that what comes begins behind the edge, as recordings do. */
  forget(stays: boolean): void {
    this.behind = stays;
    this.pending = null;
  }
}
