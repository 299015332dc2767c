import { type Engine, type EngineEvents, fetchText, LIVE_LIMIT, type Quality } from './engine';

/** Plays with what the browser brings itself, where it has no Media Source Extensions (older iPhones). */
export class NativeEngine implements Engine {
  readonly name = 'native';
  readonly hls = null;
  private end = -1;
  private endAt = Number.NEGATIVE_INFINITY;
  private readonly finished = () => this.events.onFinished();
  private readonly failed = () => {
    // MEDIA_ERR_SRC_NOT_SUPPORTED is also what a missing playlist looks like, so it is tried again.
    if (this.video.error) this.timer = setTimeout(() => this.load(), 1500);
  };
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly url: string,
    private readonly events: EngineEvents,
  ) {}

  async start(): Promise<void> {
    if (!this.video.canPlayType('application/vnd.apple.mpegurl')) {
      this.events.onFault('codec_unsupported');
      return;
    }
    this.video.addEventListener('ended', this.finished);
    this.video.addEventListener('error', this.failed);
    this.load();
  }

  private load(): void {
    this.video.src = this.url;
    this.video.load();
    void this.video.play().catch(() => {});
  }

  destroy(): void {
    clearTimeout(this.timer);
    this.video.removeEventListener('ended', this.finished);
    this.video.removeEventListener('error', this.failed);
    this.video.removeAttribute('src');
    this.video.load();
  }

  position(): number {
    return this.video.currentTime;
  }

  delay(now: number): number | null {
    const start = (this.video as HTMLVideoElement & { getStartDate?: () => Date }).getStartDate?.().getTime();
    if (!start || !Number.isFinite(start)) return this.latency();
    return (now - start) / 1000 - this.video.currentTime;
  }

  latency(): number | null {
    const s = this.video.seekable;
    return s.length > 0 ? Math.max(0, s.end(s.length - 1) - this.video.currentTime) : null;
  }

  target(): number | null {
    return null;
  }

  mediaAge(now: number): number {
    const s = this.video.seekable;
    const end = s.length > 0 ? s.end(s.length - 1) : -1;
    if (end > this.end) {
      this.end = end;
      this.endAt = now;
    }
    return (now - this.endAt) / 1000;
  }

  ageLimit(): number {
    return LIVE_LIMIT;
  }

  toLive(): void {
    const s = this.video.seekable;
    if (s.length > 0) this.video.currentTime = s.end(s.length - 1);
  }

  range(): { start: number; end: number } | null {
    const s = this.video.seekable;
    return s.length > 0 ? { start: s.start(0), end: s.end(s.length - 1) } : null;
  }

  dateAt(time: number): number | null {
    const start = (this.video as HTMLVideoElement & { getStartDate?: () => Date }).getStartDate?.().getTime();
    return start && Number.isFinite(start) ? start + time * 1000 : null;
  }

  over(): boolean {
    return Number.isFinite(this.video.duration);
  }

  async probe(): Promise<string> {
    const master = await fetchText(this.url);
    const child = master.split('\n').find((line) => line !== '' && line[0] !== '#');
    return child ? fetchText(new URL(child, new URL(this.url, location.href)).href) : master;
  }

  qualities(): Quality[] {
    return [];
  }
  chosen(): number {
    return -1;
  }
  current(): number {
    return -1;
  }
  choose(): void {}

  stats(): Record<string, unknown> {
    return { behind_edge_s: this.latency() };
  }
}
