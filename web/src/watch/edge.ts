/** Never further behind than this many times the target (and never less than MIN_LIMIT seconds). */
const FACTOR = 3;
const MIN_LIMIT = 4;
/** How long (ms) it must have been too far behind before the player jumps. */
const HOLD = 1500;
/** A picture that stands still while media arrives has less to lose: seconds beyond the target, and the hold (ms). */
const STILL_BEYOND = 2;
const HOLD_STILL = 500;
/** Pause (ms) after a jump. */
const REST = 5000;

/**
 * Decides when to jump back to the live edge. Small lags are caught up by playing a little
 * faster, which hls.js does; it never does so for large ones.
 */
export class EdgeKeeper {
  private since: number | null = null;
  private jumpedAt = Number.NEGATIVE_INFINITY;

  /**
   * Whether to jump now. now is in ms, latency and target in seconds. fresh says that new
   * media is arriving: without it there is nowhere to jump to. still, that the picture
   * stands still.
   */
  tick(now: number, latency: number | null, target: number | null, fresh = true, still = false): boolean {
    const tooFar = (t: number) => (still ? t + STILL_BEYOND : Math.max(MIN_LIMIT, t * FACTOR));
    if (!fresh || latency === null || target === null || target <= 0 || latency <= tooFar(target)) {
      this.since = null;
      return false;
    }
    this.since ??= now;
    if (now - this.since < (still ? HOLD_STILL : HOLD) || now - this.jumpedAt < REST) return false;
    this.since = null;
    this.jumpedAt = now;
    return true;
  }
}
