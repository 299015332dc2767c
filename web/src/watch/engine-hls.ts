import type Hls from 'hls.js';
import type { ErrorData, HlsConfig, Level } from 'hls.js';
import { type Engine, type EngineEvents, fetchText, LIVE_LIMIT, type Quality, SOUND_ONLY } from './engine';
import { qualityLabel } from './labels';

/** Media errors within this time (ms) that are repaired in place before a new engine is better. */
const MEDIA_WINDOW = 10_000;
const MEDIA_REPAIRS = 2;
const NETWORK_PAUSE = 1000;

// A stream outlives its server's restarts, so playlists are asked for as long as the page
// is open. A part that answers 404 is gone and stays gone.
const retry = {
  maxNumRetry: 100_000,
  retryDelayMs: 400,
  maxRetryDelayMs: 2000,
  backoff: 'linear' as const,
  shouldRetry: () => true,
};
const playlists = {
  default: {
    maxTimeToFirstByteMs: 10_000,
    maxLoadTimeMs: 20_000,
    timeoutRetry: retry,
    errorRetry: retry,
  },
};

/** The settings of hls.js; the delay aimed at is the playlist's PART-HOLD-BACK. */
export const HLS_CONFIG: Partial<HlsConfig> = {
  lowLatencyMode: true,
  enableWorker: false, // fMP4 passes through; a worker would need blob: scripts
  maxLiveSyncPlaybackRate: 1.1,
  liveSyncOnStallIncrease: 0.25,
  backBufferLength: 30,
  capLevelToPlayerSize: true,
  startFragPrefetch: true,
  manifestLoadPolicy: playlists,
  playlistLoadPolicy: playlists,
  fragLoadPolicy: {
    default: {
      maxTimeToFirstByteMs: 10_000,
      maxLoadTimeMs: 30_000,
      timeoutRetry: retry,
      errorRetry: {
        ...retry,
        shouldRetry: (_config, _count, timeout, response) =>
          Boolean(timeout) || !response?.code || response.code >= 500,
      },
    },
  },
};

/** What is different for recordings: nobody is in a hurry to the end of one that still grows. */
const RECORDING_CONFIG: Partial<HlsConfig> = {
  lowLatencyMode: false,
  maxLiveSyncPlaybackRate: 1,
  startPosition: 0,
};

/** The line is taken for this (bits a second) until something was loaded over it, where the browser does not say. */
const USUAL_LINE = 2_000_000;

/**
 * What the line is taken for at the start. hls.js would take it for 500 kbit/s, and so begin
 * with a small rendition that nobody may be watching, for which an encoder has to start first.
 */
function lineAtFirst(): number {
  const { connection } = navigator as Navigator & { connection?: { downlink?: number } };
  return connection?.downlink ? connection.downlink * 1_000_000 : USUAL_LINE;
}

/** Loads hls.js, which is loaded once however often this is called. */
export function prepareHls(): void {
  import('hls.js').catch(() => {}); // whoever needs it tries again
}

/** Plays with hls.js, which is loaded when the first stream is on. */
export class HlsEngine implements Engine {
  readonly name = 'hls.js';
  hls: Hls | null = null;
  private gone = false;
  private edge = -1;
  private edgeAt = Number.NEGATIVE_INFINITY;
  private mediaErrors: number[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private lastError = '';
  /** The playlist with sound alone, which hls.js leaves out of its levels; '' without one. */
  private soundUrl = '';
  /** The qualities as they were before only the sound was loaded; null while all are. */
  private silenced: Quality[] | null = null;
  private readonly finished = () => this.events.onFinished();

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly url: string,
    private readonly events: EngineEvents,
    private preferredHeight: number,
    /** It is a recording, which begins at its beginning. */
    private readonly recording = false,
  ) {}

  async start(): Promise<void> {
    const { default: Impl } = await import('hls.js');
    if (this.gone) return;
    if (!Impl.isSupported()) {
      this.events.onFault('codec_unsupported');
      return;
    }
    const hls = new Impl({
      ...HLS_CONFIG,
      ...(this.recording ? RECORDING_CONFIG : {}),
      abrEwmaDefaultEstimate: lineAtFirst(),
    });
    this.hls = hls;
    const E = Impl.Events;
    hls.on(E.MANIFEST_LOADED, (_, { levels }) => {
      if (this.silenced) return;
      const pictures = levels.some((l) => l.videoCodec || l.height);
      this.soundUrl = (pictures && levels.find((l) => l.audioCodec && !l.videoCodec && !l.height)?.url) || '';
    });
    hls.on(E.MANIFEST_PARSED, () => {
      const wanted = this.preferredHeight;
      if (this.silenced) return;
      if (wanted === SOUND_ONLY && this.soundUrl) this.choose(this.soundIndex());
      else if (wanted > 0) {
        const level = hls.levels.findIndex((l) => shortSide(l) === wanted);
        if (level >= 0) hls.nextLevel = level;
      }
      this.events.onQualities();
    });
    hls.on(E.LEVEL_SWITCHED, () => this.events.onQualities());
    hls.on(E.LEVEL_UPDATED, (_, { details }) => {
      if (details.edge > this.edge) {
        this.edge = details.edge;
        this.edgeAt = Date.now();
      }
    });
    hls.on(E.ERROR, (_, data) => this.onError(data, Impl));
    this.video.addEventListener('ended', this.finished);
    hls.attachMedia(this.video);
    hls.loadSource(this.url);
  }

  destroy(): void {
    this.gone = true;
    clearTimeout(this.timer);
    this.video.removeEventListener('ended', this.finished);
    this.hls?.destroy();
    this.hls = null;
  }

  position(): number {
    return this.video.currentTime;
  }

  delay(now: number): number | null {
    const date = this.hls?.playingDate;
    const behind = this.latency();
    if (!date) return behind;
    // The newest media is not from the future, so being behind it is the least the delay can
    // be, whatever a clock that was set wrong, or a date that was, makes of it.
    return Math.max((now - date.getTime()) / 1000, behind ?? 0);
  }

  latency(): number | null {
    const l = this.hls?.latency;
    return l ? l : null;
  }

  target(): number | null {
    return this.hls?.targetLatency ?? null;
  }

  mediaAge(now: number): number {
    return (now - this.edgeAt) / 1000;
  }

  ageLimit(): number {
    // Without parts, media comes a whole segment at a time.
    const d = this.hls?.latestLevelDetails;
    return d && !d.partTarget ? Math.max(LIVE_LIMIT, d.targetduration * 1.5) : LIVE_LIMIT;
  }

  toLive(): void {
    const at = this.hls?.liveSyncPosition;
    if (at !== null && at !== undefined) this.video.currentTime = at;
  }

  range(): { start: number; end: number } | null {
    const d = this.hls?.latestLevelDetails;
    return d ? { start: d.fragmentStart, end: d.edge } : null;
  }

  dateAt(time: number): number | null {
    const list = this.hls?.latestLevelDetails?.fragments ?? [];
    let low = 0;
    let high = list.length;
    while (low + 1 < high) {
      const mid = (low + high) >> 1;
      if ((list[mid]?.start ?? 0) > time) high = mid;
      else low = mid;
    }
    const f = list[low];
    return f?.programDateTime ? f.programDateTime + (time - f.start) * 1000 : null;
  }

  over(): boolean {
    return this.hls?.latestLevelDetails?.live === false;
  }

  probe(): Promise<string> {
    const url = this.hls?.latestLevelDetails?.url;
    return fetchText(url ? plain(url) : this.url);
  }

  qualities(): Quality[] {
    if (this.silenced) return this.silenced;
    const levels = this.hls?.levels ?? [];
    const all = levels.map((l, index) => ({
      index,
      height: shortSide(l),
      bitrate: l.bitrate,
      label: qualityLabel(l) || (levels.length > 1 ? `Quality ${index + 1}` : 'Source'),
    }));
    const sound = { index: all.length, height: SOUND_ONLY, bitrate: 0, label: 'Audio only' };
    return this.soundUrl ? [...all, sound] : all;
  }

  chosen(): number {
    if (this.silenced) return this.soundIndex();
    return this.hls?.autoLevelEnabled === false ? this.current() : -1;
  }

  current(): number {
    if (this.silenced) return this.soundIndex();
    return this.hls ? Math.max(this.hls.currentLevel, this.hls.nextLevel) : -1;
  }

  choose(index: number): void {
    const hls = this.hls;
    if (!hls) return;
    if (this.soundUrl && index === this.soundIndex()) {
      if (!this.silenced) {
        this.silenced = this.qualities();
        hls.loadSource(this.soundUrl);
      }
    } else if (this.silenced) {
      // Back to everything; the wish is for when its levels are known.
      this.preferredHeight = this.silenced[index]?.height || -1;
      this.silenced = null;
      hls.loadSource(this.url);
    } else hls.nextLevel = index;
    this.events.onQualities();
  }

  private soundIndex(): number {
    return (this.silenced?.length ?? this.qualities().length) - 1;
  }

  stats(): Record<string, unknown> {
    const hls = this.hls;
    if (!hls) return {};
    const level = hls.levels[hls.currentLevel];
    const quality = this.video.getVideoPlaybackQuality?.();
    return {
      codec: [level?.videoCodec, level?.audioCodec].filter(Boolean).join(', ') || null,
      level_bitrate: level?.bitrate ?? null,
      bandwidth_estimate: Math.round(hls.bandwidthEstimate) || null,
      frames: quality?.totalVideoFrames ?? null,
      frames_dropped: quality?.droppedVideoFrames ?? null,
      target_s: round(this.target()),
      behind_edge_s: round(this.latency()),
      part_s: hls.latestLevelDetails?.partTarget || null,
      playback_rate: this.video.playbackRate,
      last_error: this.lastError || null,
    };
  }

  private onError(data: ErrorData, Impl: typeof Hls): void {
    this.lastError = data.details;
    if (!data.fatal || !this.hls) return;
    const hls = this.hls;
    const D = Impl.ErrorDetails;
    if (
      data.details === D.MANIFEST_INCOMPATIBLE_CODECS_ERROR ||
      data.details === D.BUFFER_INCOMPATIBLE_CODECS_ERROR ||
      data.details === D.BUFFER_ADD_CODEC_ERROR
    ) {
      this.events.onFault('codec_unsupported');
      return;
    }
    if (data.type === Impl.ErrorTypes.MEDIA_ERROR) {
      const now = Date.now();
      this.mediaErrors = this.mediaErrors.filter((t) => now - t < MEDIA_WINDOW);
      this.mediaErrors.push(now);
      if (this.mediaErrors.length <= MEDIA_REPAIRS) {
        hls.recoverMediaError();
        return;
      }
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      hls.loadSource(this.silenced ? this.soundUrl : this.url);
      hls.startLoad();
      void this.video.play().catch(() => {});
    }, NETWORK_PAUSE);
  }
}

/** The playlist's address without what asks the server to hold the answer back. */
function plain(url: string): string {
  const u = new URL(url, location.href);
  for (const name of [...u.searchParams.keys()]) if (name.startsWith('_HLS_')) u.searchParams.delete(name);
  return u.href;
}

function shortSide(l: Level): number {
  return (l.width ? Math.min(l.width, l.height) : l.height) || 0;
}

function round(n: number | null): number | null {
  return n === null ? null : Math.round(n * 1000) / 1000;
}
