import 'media-chrome/dist/media-controller.js';
import 'media-chrome/dist/media-control-bar.js';
import 'media-chrome/dist/media-play-button.js';
import 'media-chrome/dist/media-mute-button.js';
import 'media-chrome/dist/media-volume-range.js';
import 'media-chrome/dist/media-fullscreen-button.js';
import 'media-chrome/dist/media-pip-button.js';
import 'media-chrome/dist/media-loading-indicator.js';
import { ServerClock } from '../lib/clock';
import { el, icon } from './dom';
import { EdgeKeeper } from './edge';
import type { Engine } from './engine';
import { HlsEngine } from './engine-hls';
import { NativeEngine } from './engine-native';
import { after, type Facts, type Happening, START, type State, stateOf, wantsEngine } from './machine';
import { Watchdog } from './watchdog';

/** How often the player looks at itself (ms). */
const TICK = 250;
/** Pause (ms) before an engine that could not play the stream is tried again. */
const FAULT_RETRY = 15_000;
/** Media that came within this time (s) is arriving now. */
const FRESH = 1.5;
const QUALITY_KEY = 'onair.quality';

/** Fired on <onair-player> when something that is shown may have changed. */
export const CHANGE = 'onair-change';

/**
 * <onair-player>: a <video> with media-chrome's controls, and an engine that comes and goes
 * with the stream. It is told the stream's status and shows its own state in `data-state`.
 */
export class OnairPlayer extends HTMLElement {
  readonly video = el('video', { slot: 'media', playsinline: '', muted: '', preload: 'auto' });
  readonly clock = new ServerClock();
  readonly bar = el('media-control-bar', {});
  /** Where the page puts what covers the picture. */
  readonly cover = el('div', { class: 'cover', noautohide: '' });
  engine: Engine | null = null;
  facts: Facts = START;
  /** The viewer went back, or paused: nothing jumps to live until asked to. */
  behind = false;
  restarts = 0;
  stalls = 0;
  hlsUrl = '';
  private watchdog: Watchdog;
  private edge = new EdgeKeeper();
  private timer: ReturnType<typeof setInterval> | undefined;
  private faultTimer: ReturnType<typeof setTimeout> | undefined;
  private userPaused = false;
  private blocked = false;
  private lastPosition = -1;
  private readonly sound = el('button', { type: 'button', class: 'sound', noautohide: '' });

  constructor() {
    super();
    this.watchdog = new Watchdog(
      {
        probe: () => this.engine?.probe() ?? Promise.reject(new Error('no engine')),
        restart: () => this.restart(),
      },
      Date.now(),
    );
  }

  get state(): State {
    return stateOf(this.facts);
  }

  /** Seconds between the picture and now on the server's clock; null while nothing plays. */
  delay(): number | null {
    if (!this.engine || !this.facts.played || this.facts.picture === 'none') return null;
    const d = this.engine.delay(this.clock.now());
    return d === null ? null : Math.max(0, d);
  }

  connectedCallback(): void {
    if (this.childElementCount === 0) this.build();
    this.dataset.state = this.state;
    this.timer = setInterval(() => this.tick(), TICK);
    document.addEventListener('visibilitychange', this.onVisible);
  }

  disconnectedCallback(): void {
    clearInterval(this.timer);
    clearTimeout(this.faultTimer);
    document.removeEventListener('visibilitychange', this.onVisible);
    this.drop();
  }

  /** Tells the player what the page learnt about the stream. */
  tell(h: Happening): void {
    const before = this.facts;
    this.facts = after(before, h);
    if (JSON.stringify(before) === JSON.stringify(this.facts)) return;
    this.settle();
    this.dataset.state = this.state;
    this.dispatchEvent(new Event(CHANGE));
  }

  togglePlay(): void {
    if (this.video.paused) void this.play();
    else this.pause();
  }

  pause(): void {
    this.userPaused = true;
    this.behind = true;
    this.video.pause();
  }

  async play(): Promise<void> {
    this.userPaused = false;
    this.blocked = false;
    this.watchdog.rest(Date.now());
    try {
      await this.video.play();
    } catch (err) {
      // Only a browser that wants a click first is worth showing; a new source also rejects.
      if ((err as DOMException).name === 'NotAllowedError') {
        this.blocked = true;
        this.tell({ type: 'picture', picture: 'paused' });
      }
    }
  }

  toggleMute(): void {
    this.video.muted = !this.video.muted;
    if (!this.video.muted && this.video.volume === 0) this.video.volume = 1;
  }

  toLive(): void {
    this.behind = false;
    this.engine?.toLive();
    if (this.video.paused) void this.play();
  }

  /** Moves by seconds within what is loaded; to the edge and beyond means live. */
  seek(by: number): void {
    const seekable = this.video.seekable;
    if (!this.engine || seekable.length === 0) return;
    const to = this.video.currentTime + by;
    const latency = this.engine.latency() ?? 0;
    if (by > 0 && latency - by <= (this.engine.target() ?? 2) + 0.5) {
      this.toLive();
      return;
    }
    this.behind = true;
    this.video.currentTime = Math.max(seekable.start(0) + 0.5, to);
  }

  choose(index: number): void {
    const quality = this.engine?.qualities().find((q) => q.index === index);
    try {
      if (quality) localStorage.setItem(QUALITY_KEY, String(quality.height));
      else localStorage.removeItem(QUALITY_KEY);
    } catch {
      // Storage is off: the choice lasts as long as the page.
    }
    this.engine?.choose(index);
  }

  /** Whether media keeps arriving fast enough to call this live. */
  mediaAge(): { age: number; limit: number } {
    return {
      age: this.engine?.mediaAge(Date.now()) ?? Number.POSITIVE_INFINITY,
      limit: this.engine?.ageLimit() ?? 0,
    };
  }

  stats(): Record<string, unknown> {
    const v = this.video;
    const ranges = v.buffered;
    const delay = this.delay();
    return {
      state: this.state,
      status: this.facts.status,
      engine: this.engine?.name ?? null,
      delay_s: delay === null ? null : Math.round(delay * 1000) / 1000,
      resolution: v.videoWidth ? `${v.videoWidth}x${v.videoHeight}` : null,
      buffer_s:
        ranges.length > 0 ? Math.round((ranges.end(ranges.length - 1) - v.currentTime) * 100) / 100 : null,
      ...this.engine?.stats(),
      stalls: this.stalls,
      engine_restarts: this.restarts,
      clock_offset_ms: Math.round(this.clock.offset),
    };
  }

  private build(): void {
    this.video.muted = true;
    this.sound.append(icon('muted'), document.createTextNode('Tap for sound'));
    this.sound.addEventListener('click', () => {
      this.video.muted = false;
      if (this.video.volume === 0) this.video.volume = 1;
      void this.play();
    });
    const controller = el('media-controller', { nohotkeys: '', gesturesdisabled: '', novolumepref: '' });
    this.bar.append(
      el('media-play-button', {}),
      el('media-mute-button', {}),
      el('media-volume-range', {}),
      el('span', { class: 'spacer' }),
    );
    this.video.addEventListener('click', () => this.togglePlay());
    this.video.addEventListener('dblclick', () => this.toggleFullscreen());
    // media-chrome asks for play and pause by events; they pass here first.
    controller.addEventListener('mediapauserequest', () => {
      this.userPaused = true;
      this.behind = true;
    });
    controller.addEventListener('mediaplayrequest', () => {
      this.userPaused = false;
      this.blocked = false;
      this.watchdog.rest(Date.now());
    });
    for (const name of ['playing', 'pause', 'volumechange', 'ended', 'resize']) {
      this.video.addEventListener(name, () => this.tick());
    }
    this.video.addEventListener('waiting', () => {
      if (this.facts.played) this.stalls++;
    });
    controller.append(this.video, this.cover, this.sound, this.bar);
    this.append(controller);
  }

  toggleFullscreen(): void {
    const target = this.querySelector('media-controller');
    const video = this.video as HTMLVideoElement & { webkitEnterFullscreen?: () => void };
    if (document.fullscreenElement) void document.exitFullscreen();
    else if (target?.requestFullscreen) void target.requestFullscreen().catch(() => {});
    else video.webkitEnterFullscreen?.();
  }

  private readonly onVisible = () => {
    // A hidden page's player may have been held still by the browser.
    this.watchdog.rest(Date.now());
  };

  /** Makes or drops the engine as the facts want it. */
  private settle(): void {
    const wants = wantsEngine(this.facts) && this.hlsUrl !== '';
    if (wants && !this.engine) this.make();
    else if (!wants && this.engine) this.drop();
    if (this.facts.fault && !this.faultTimer) {
      this.faultTimer = setTimeout(() => {
        this.faultTimer = undefined;
        this.tell({ type: 'fault', code: '' });
      }, FAULT_RETRY);
    }
  }

  private make(): void {
    const events = {
      onFault: (code: string) => this.tell({ type: 'fault', code }),
      onFinished: () => this.tell({ type: 'picture', picture: 'finished' }),
      onQualities: () => this.dispatchEvent(new Event(CHANGE)),
    };
    const w = window as unknown as Record<string, unknown>;
    this.engine =
      w.ManagedMediaSource || w.MediaSource
        ? new HlsEngine(this.video, this.hlsUrl, events, this.preferredHeight())
        : new NativeEngine(this.video, this.hlsUrl, events);
    // ManagedMediaSource works only where the picture cannot go to another device.
    if (w.ManagedMediaSource) this.video.disableRemotePlayback = true;
    this.lastPosition = this.video.currentTime;
    this.watchdog.rest(Date.now());
    this.engine.start().then(
      () => {
        if (!this.userPaused) void this.play();
      },
      () => this.tell({ type: 'fault', code: 'engine_not_loaded' }),
    );
    if (this.facts.picture !== 'paused') this.tell({ type: 'picture', picture: 'waiting' });
  }

  private drop(): void {
    this.engine?.destroy();
    this.engine = null;
    this.behind = false;
    if (this.facts.picture !== 'none') this.facts = { ...this.facts, picture: 'none' };
  }

  private restart(): void {
    this.restarts++;
    this.engine?.destroy();
    this.engine = null;
    this.make();
  }

  private preferredHeight(): number {
    try {
      return Number(localStorage.getItem(QUALITY_KEY)) || -1;
    } catch {
      return -1;
    }
  }

  private tick(): void {
    const now = Date.now();
    const v = this.video;
    this.sound.hidden = !(v.muted && this.state === 'playing');
    if (this.engine && this.facts.picture !== 'finished') {
      const moved = v.currentTime !== this.lastPosition && v.readyState >= 2 && !v.seeking;
      this.lastPosition = v.currentTime;
      if (v.paused && (this.userPaused || this.blocked)) {
        this.tell({ type: 'picture', picture: 'paused' });
        this.watchdog.rest(now);
      } else if (document.hidden) {
        this.watchdog.rest(now);
        if (moved) this.tell({ type: 'picture', picture: 'moving' });
      } else {
        const still = this.watchdog.tick(now, v.currentTime);
        // A pause nobody asked for: the browser's, or a new source. Try to go on.
        if (v.paused && !v.ended) void this.play();
        if (moved) this.tell({ type: 'picture', picture: 'moving' });
        else if (still && this.facts.picture === 'moving') this.tell({ type: 'picture', picture: 'still' });
        const engine = this.engine;
        const fresh = engine !== null && engine.mediaAge(now) < FRESH;
        const lag = engine?.latency() ?? null;
        if (!this.behind && this.edge.tick(now, lag, engine?.target() ?? null, fresh, still)) {
          this.engine?.toLive();
        }
      }
    }
    this.dispatchEvent(new Event(CHANGE));
  }
}

customElements.define('onair-player', OnairPlayer);
