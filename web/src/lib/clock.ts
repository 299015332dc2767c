/**
 * Learns how far this computer's clock is from the server's, from Date headers. A header
 * names only the second, so each answer gives an interval for the offset; what all of
 * them allow is much narrower than a second after a few answers.
 */
export class ServerClock {
  private low = Number.NEGATIVE_INFINITY;
  private high = Number.POSITIVE_INFINITY;

  /** sent and got are local times (ms) around the request; date is its Date header. */
  sample(date: string | null, sent: number, got: number): void {
    const second = Date.parse(date ?? '');
    if (!Number.isFinite(second) || got < sent) return;
    // The server wrote second..second+999 ms at some moment between sent and got.
    const low = second - got;
    const high = second + 999 - sent;
    const cutLow = Math.max(low, this.low);
    const cutHigh = Math.min(high, this.high);
    // No overlap: a clock was set. Begin again with this answer.
    if (cutLow <= cutHigh) [this.low, this.high] = [cutLow, cutHigh];
    else [this.low, this.high] = [low, high];
  }

  /** Milliseconds to add to Date.now(); 0 while local time may well be right. */
  get offset(): number {
    if (!Number.isFinite(this.low)) return 0;
    if (this.low <= 0 && this.high >= 0) return 0;
    return (this.low + this.high) / 2;
  }

  now(local = Date.now()): number {
    return local + this.offset;
  }
}
