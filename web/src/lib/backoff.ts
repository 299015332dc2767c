/** Delays that double from `first` to `max` ms, each spread by ±25 % so that clients do not come in step. */
export class Backoff {
  private next: number;
  constructor(
    private readonly first: number,
    private readonly max: number,
    private readonly random: () => number = Math.random,
  ) {
    this.next = first;
  }
  /** The delay before the coming try, in ms. */
  delay(): number {
    const d = this.next;
    this.next = Math.min(this.next * 2, this.max);
    return jitter(d, this.random);
  }
  reset(): void {
    this.next = this.first;
  }
}

/** ms spread by ±25 %. */
export function jitter(ms: number, random: () => number = Math.random): number {
  return Math.round(ms * (0.75 + random() / 2));
}

/** Resolves after ms, or at once when the signal aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
