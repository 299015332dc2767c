/** A picture that stands still for this long (ms) is looked into. */
export const STILL_AFTER = 1500;
/** Pause between two looks at the playlist (ms). */
export const PROBE_EVERY = 700;
/** A playlist that moves while the picture has not for this long (ms) means that the engine hangs. */
export const HUNG_AFTER = 2500;
/** Longest pause between two restarts of the engine (ms). */
export const MAX_PATIENCE = 20_000;

export interface WatchdogHost {
  /** The text of the media playlist now; rejects if it cannot be had. */
  probe(): Promise<string>;
  /** Throw the engine away and make a new one. */
  restart(): void;
}

/**
 * Tells whether the picture moves, and restarts an engine that stands still although the
 * server's playlist goes on. Every known player hangs now and then after a server restart.
 */
export class Watchdog {
  private position = -1;
  private movedAt: number;
  private probedAt = 0;
  private probing = false;
  private seen: string | undefined;
  private changedAt = 0;
  private patience = HUNG_AFTER;
  /** How many times the engine was restarted. */
  restarts = 0;

  constructor(
    private readonly host: WatchdogHost,
    now: number,
  ) {
    this.movedAt = now;
  }

  /** Looks at the position (s) of a player that should be playing; says whether it stands still. */
  tick(now: number, position: number): boolean {
    if (position !== this.position) {
      this.position = position;
      // A second of steady playing earns the short patience back.
      if (now - this.movedAt < STILL_AFTER && this.changedAt === 0) this.patience = HUNG_AFTER;
      this.rest(now);
      return false;
    }
    if (now - this.movedAt < STILL_AFTER) return false;
    if (this.changedAt > 0 && now - this.changedAt >= this.patience) {
      this.restarts++;
      this.patience = Math.min(this.patience * 2, MAX_PATIENCE);
      this.rest(now);
      this.host.restart();
      return true;
    }
    if (!this.probing && now - this.probedAt >= PROBE_EVERY) {
      this.probedAt = now;
      void this.look(now);
    }
    return true;
  }

  /** Begins anew, after a pause that was wanted or a new engine. */
  rest(now: number): void {
    this.movedAt = now;
    this.changedAt = 0;
    this.seen = undefined;
  }

  private async look(now: number): Promise<void> {
    this.probing = true;
    try {
      const text = await this.host.probe();
      if (this.seen !== undefined && text !== this.seen && this.changedAt === 0) this.changedAt = now;
      this.seen = text;
    } catch {
      // The server is away: nothing to conclude about the engine.
    } finally {
      this.probing = false;
    }
  }
}
