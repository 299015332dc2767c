/**
 * How near (s) to its end what stands still has been played to it. More than a part of half a
 * second, as hls.js may leave the last one out.
 */
export const NEAR_END = 1;
/** How long (ms) it has to stand there. */
export const STANDS = 2000;

/**
 * Says that all of what is over was played when the browser does not: `ended` may stay out
 * where the last part was not loaded, or sound and picture end at slightly different times.
 */
export class Finish {
  private position = -1;
  private since = 0;

  /** Looks at the position (s) of what should be playing; end is where it ends (s), null while it goes on. */
  tick(now: number, position: number, end: number | null): boolean {
    if (end === null || end - position > NEAR_END || position !== this.position) {
      this.position = position;
      this.since = now;
      return false;
    }
    return now - this.since >= STANDS;
  }

  /** Begins anew, after a pause that was wanted. */
  rest(): void {
    this.position = -1;
  }
}
