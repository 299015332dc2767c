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
import { Finish } from './finish';
import { after, type Facts, type Happening, START, type State, stateOf, wantsEngine } from './machine';
import { type AnyVideo, type Places, Playback } from './playback';
import type { Timeline } from './scrub';
import { Watchdog } from './watchdog';
import type { Way, Ways } from './ways';
import { Wish } from './wish';

/** How often the player looks at itself (ms). */
const TICK = 250;
/** Pause (ms) before an engine that could not play the stream is tried again. */
const FAULT_RETRY = 15_000;
/** Media that came within this time (s) is arriving now. */
const FRESH = 1.5;

/** Fired on <onair-player> when something that is shown may have changed. */
export const CHANGE = 'onair-change';
/** Fired when WebRTC did not do: what the server thinks now is worth asking. */
export const TROUBLE = 'onair-trouble';

type Controller = HTMLElement & { mediaSetCallback(v: HTMLVideoElement): void };

/**
 * <onair-player>: a <video> with media-chrome's controls, and an engine that comes and goes
 * with the stream. It is told the stream's status and shows its own state in `data-state`.
 * For a change of way there are two <video>s for a moment; the shown one is `video`.
 */
export class OnairPlayer extends HTMLElement {
  readonly clock = new ServerClock();
  readonly bar = el('media-control-bar', {});
  /** Where the page puts what covers the picture. */
  readonly cover = el('div', { class: 'cover', noautohide: '' });
  facts: Facts = START;
  stalls = 0;
  /** Seconds that can be gone back to on a way that has no past itself. */
  past = 0;
  /** Whether viewers of what plays could go back in it while it was on. */
  hadPast = false;
  private readonly playback: Playback;
  private readonly wish = new Wish({ way: () => this.way, goBack: () => this.playback.goBack() });
  private readonly controller = el('media-controller', {
    nohotkeys: '',
    gesturesdisabled: '',
    novolumepref: '',
  }) as Controller;
  private readonly poster = el('img', { slot: 'poster', class: 'poster', alt: '', hidden: '' });
  private watchdog: Watchdog;
  private edge = new EdgeKeeper();
  private readonly finish = new Finish();
  private timer: ReturnType<typeof setInterval> | undefined;
  private faultTimer: ReturnType<typeof setTimeout> | undefined;
  private userPaused = false;
  private blocked = false;
  private lastPosition = -1;
  private readonly sound = el('button', { type: 'button', class: 'sound', noautohide: '' });

  constructor(demanded?: Way) {
    super();
    const change = () => this.dispatchEvent(new Event(CHANGE));
    this.playback = new Playback(
      {
        adopt: (video, under) => {
          this.bind(video);
          under.after(video);
        },
        changed: (video) => this.changed(video),
        dismiss: (video) => {
          video.remove();
          this.control();
        },
        paused: () => this.userPaused,
        play: () => void this.play(),
        onFault: (code) => this.tell({ type: 'fault', code }),
        onFinished: () => this.tell({ type: 'picture', picture: 'finished' }),
        onQualities: change,
        onPicture: () => this.video.paused || this.tell({ type: 'picture', picture: 'moving' }),
        onTrouble: () => this.dispatchEvent(new Event(TROUBLE)),
      },
      demanded,
    );
    this.watchdog = new Watchdog(
      {
        // A recording that stands still waits for the network; a new engine would not be quicker.
        probe: () =>
          this.engine && !this.playback.places.recording
            ? this.engine.probe()
            : Promise.reject(new Error('nothing to look into')),
        restart: () => this.restart(),
      },
      Date.now(),
    );
  }

  get state(): State {
    return stateOf(this.facts);
  }

  /** The <video> that is shown. */
  get video(): AnyVideo {
    return this.playback.video;
  }

  /** What plays the picture that is shown; null while nothing does. */
  get engine(): Engine | null {
    return this.playback.engine;
  }

  /** The way that is shown; null while nothing plays. */
  get way(): Way | null {
    return this.playback.way;
  }

  /** What chooses the way. */
  get ways(): Ways {
    return this.playback.ways;
  }

  /** Learns where the stream can be played. */
  find(places: Places): void {
    this.playback.places = places;
    if (places.recording) this.wish.behind = true;
  }

  /** The viewer went back, or paused: nothing jumps to live until asked to. */
  get behind(): boolean {
    return this.wish.behind;
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
    addEventListener('online', this.onNetwork);
  }

  disconnectedCallback(): void {
    clearInterval(this.timer);
    clearTimeout(this.faultTimer);
    document.removeEventListener('visibilitychange', this.onVisible);
    removeEventListener('online', this.onNetwork);
    this.drop();
  }

  /** Whether what plays can be gone back to when all of it was played. */
  keeps(): boolean {
    return this.playback.places.recording || (this.hadPast && this.way === 'hls');
  }

  /** Tells the player what the page learnt about the stream. */
  tell(h: Happening): void {
    const before = this.facts;
    this.facts = after(before, h);
    if (JSON.stringify(before) === JSON.stringify(this.facts)) return;
    this.settle();
    this.dataset.state = this.state;
    this.toggleAttribute('data-kept', this.facts.kept && this.engine !== null);
    this.dispatchEvent(new Event(CHANGE));
  }

  togglePlay(): void {
    if (this.video.paused) void this.play();
    else this.pause();
  }

  pause(): void {
    this.userPaused = true;
    this.wish.stay();
    this.video.pause();
  }

  async play(): Promise<void> {
    this.resume();
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

  private resume(): void {
    this.userPaused = false;
    this.blocked = false;
    if (this.facts.picture === 'finished') this.seekTo(this.engine?.range()?.start ?? 0);
    this.wish.resume();
    this.watchdog.rest(Date.now());
  }

  toggleMute(): void {
    this.video.muted = !this.video.muted;
    if (!this.video.muted && this.video.volume === 0) this.video.volume = 1;
  }

  toLive(): void {
    this.wish.live();
    // What it plays is over, and another broadcast may be on.
    if (this.engine?.over()) this.restart();
    else this.engine?.toLive();
    if (this.video.paused) void this.play();
  }

  /** Moves by seconds within what is loaded; to the edge and beyond means live. */
  seek(by: number): void {
    this.seekTo((this.way === 'webrtc' ? 0 : this.video.currentTime) + by);
  }

  /** What can be gone to; null where there is only now. */
  timeline(): Timeline | null {
    const engine = this.engine;
    if (!engine) return null;
    if (this.way === 'webrtc') {
      return this.past > 0 ? { start: -this.past, end: 0, position: 0, live: true, slack: 2 } : null;
    }
    const range = engine.range();
    if (!range) return null;
    const live = !engine.over() && !this.playback.places.recording;
    const slack = (engine.target() ?? 2) + 0.5;
    // What is at the edge is shown there, however far behind it players have to stay.
    const position = live && !this.behind ? range.end : this.video.currentTime;
    return { ...range, position, live, slack };
  }

  /** Goes to a moment of the timeline; what is near the edge of a live stream is its edge. */
  seekTo(to: number): void {
    const t = this.timeline();
    if (!t) return;
    if (t.live && t.end - to <= t.slack) {
      this.toLive();
      return;
    }
    if (this.way === 'webrtc' || this.wish.waits) {
      if (this.way === 'webrtc') this.userPaused = false;
      // How long the past is was learnt a while ago: the beginning is where it is by then.
      this.wish.back(to <= t.start ? Number.POSITIVE_INFINITY : t.end - to);
      return;
    }
    this.wish.stay();
    // At the very end there is no picture to show.
    const last = t.live ? t.end : Math.max(t.start, t.end - 0.2);
    this.video.currentTime = Math.min(last, Math.max(t.start + (t.live ? 0.5 : 0), to));
    if (this.facts.picture !== 'finished') return;
    this.tell({ type: 'picture', picture: 'waiting' });
    if (!this.userPaused) void this.play();
  }

  choose(index: number): void {
    this.playback.choose(index);
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
    const why = this.ways.why();
    return {
      state: this.state,
      status: this.facts.status,
      engine: this.engine?.name ?? null,
      way: this.way,
      way_reason: why.words || null,
      way_code: [why.code, why.detail].filter(Boolean).join(': ') || null,
      delay_s: delay === null ? null : Math.round(delay * 1000) / 1000,
      resolution: v.videoWidth ? `${v.videoWidth}x${v.videoHeight}` : null,
      buffer_s:
        ranges.length > 0 ? Math.round((ranges.end(ranges.length - 1) - v.currentTime) * 100) / 100 : null,
      ...this.engine?.stats(),
      stalls: this.stalls,
      engine_restarts: this.playback.restarts,
      ways_changed: this.playback.moves,
      clock_offset_ms: Math.round(this.clock.offset),
    };
  }

  private build(): void {
    this.sound.append(icon('muted'), document.createTextNode('Tap for sound'));
    this.sound.addEventListener('click', () => {
      this.video.muted = false;
      if (this.video.volume === 0) this.video.volume = 1;
      void this.play();
    });
    const controller = this.controller;
    this.bar.append(
      el('media-play-button', {}),
      el('media-mute-button', {}),
      el('media-volume-range', {}),
      el('span', { class: 'spacer' }),
    );
    this.bind(this.video);
    // media-chrome asks for play and pause by events; they pass here first.
    controller.addEventListener('mediapauserequest', () => {
      this.userPaused = true;
      this.wish.stay();
    });
    controller.addEventListener('mediaplayrequest', () => this.resume());
    this.poster.addEventListener('load', () => {
      this.poster.hidden = false;
    });
    controller.append(this.poster, this.video, this.cover, this.sound, this.bar);
    this.append(controller);
  }

  private bind(video: AnyVideo): void {
    video.addEventListener('click', () => this.togglePlay());
    video.addEventListener('dblclick', () => this.toggleFullscreen());
    const shown = () => this.video === video;
    for (const name of ['playing', 'pause', 'volumechange', 'ended', 'resize']) {
      video.addEventListener(name, () => shown() && this.tick());
    }
    video.addEventListener('waiting', () => {
      if (shown() && this.facts.played) this.stalls++;
    });
  }

  toggleFullscreen(): void {
    const target = this.controller;
    if (document.fullscreenElement) void document.exitFullscreen();
    else if (target.requestFullscreen) void target.requestFullscreen().catch(() => {});
    else this.video.webkitEnterFullscreen?.();
  }

  private readonly onVisible = () => {
    // A hidden page's player may have been held still by the browser.
    this.watchdog.rest(Date.now());
  };

  private readonly onNetwork = () => this.ways.networkChanged();

  /** Makes, changes or drops the engine as the facts and the ways want it. */
  private settle(): void {
    const { places } = this.playback;
    const wants = wantsEngine(this.facts) && places.hls !== '';
    if (wants && !this.engine) {
      if (places.thumbnail && !this.facts.played) this.poster.src = places.thumbnail;
      this.fresh();
      this.playback.go();
      if (this.facts.picture !== 'paused') this.tell({ type: 'picture', picture: 'waiting' });
    } else if (wants && !this.behind && !this.engine?.over()) this.playback.go();
    else if (!wants && this.engine) this.drop();
    if (this.facts.fault && !this.faultTimer) {
      this.faultTimer = setTimeout(() => {
        this.faultTimer = undefined;
        this.tell({ type: 'fault', code: '' });
      }, FAULT_RETRY);
    }
  }

  private drop(): void {
    this.playback.drop();
    this.wish.forget(this.playback.places.recording);
    this.hadPast = false;
    if (this.facts.picture !== 'none') this.facts = { ...this.facts, picture: 'none' };
  }

  private restart(): void {
    const range = this.behind ? this.engine?.range() : null;
    // A new engine begins at the edge.
    if (range) this.wish.back(range.end - this.video.currentTime);
    this.playback.restart();
    this.fresh();
    if (this.facts.picture !== 'paused') this.tell({ type: 'picture', picture: 'waiting' });
  }

  /** Another <video> is shown now. */
  private changed(video: AnyVideo): void {
    const old = this.controller.querySelector('video');
    // What is shown comes first.
    if (old && old !== video) video.after(old);
    this.control();
    this.fresh();
    this.fulfil();
    this.dispatchEvent(new Event(CHANGE));
  }

  /** Goes back as far as was asked for, now that what plays has a past. */
  private fulfil(): void {
    const range = this.way === 'hls' ? this.engine?.range() : null;
    const back = range ? this.wish.take() : null;
    if (range && back !== null) this.seekTo(range.end - back);
  }

  /** Tells media-chrome which <video> is meant; elements that come and go in this turn confuse it. */
  private control(): void {
    setTimeout(() => this.isConnected && this.controller.mediaSetCallback(this.video));
  }

  /** Positions from before say nothing about what plays now. */
  private fresh(): void {
    this.lastPosition = this.engine?.position() ?? -1;
    this.watchdog.rest(Date.now());
  }

  /** Where what plays ends, in seconds of the <video>; null while more may come. */
  private lastMoment(): number | null {
    return this.engine?.over() && this.facts.played ? (this.engine.range()?.end ?? null) : null;
  }

  private tick(): void {
    const now = Date.now();
    const v = this.video;
    this.sound.hidden = !(v.muted && this.state === 'playing');
    this.playback.tick(now);
    this.tell({ type: 'kept', kept: this.keeps() });
    const engine = this.engine;
    if (engine && this.facts.picture !== 'finished') {
      const position = engine.position();
      const moved = position !== this.lastPosition && v.readyState >= 2 && !v.seeking;
      this.lastPosition = position;
      if (v.paused && (this.userPaused || this.blocked)) {
        this.tell({ type: 'picture', picture: 'paused' });
        this.watchdog.rest(now);
        this.finish.rest();
      } else if (document.hidden) {
        this.watchdog.rest(now);
        this.finish.rest();
        if (moved) this.tell({ type: 'picture', picture: 'moving' });
      } else if (this.finish.tick(now, position, this.lastMoment())) {
        // As it would be if the browser said so itself.
        v.pause();
        this.tell({ type: 'picture', picture: 'finished' });
      } else {
        const still = this.watchdog.tick(now, position);
        // A pause nobody asked for: the browser's, or a new source. Try to go on.
        if (v.paused && !v.ended) void this.play();
        if (moved) {
          this.tell({ type: 'picture', picture: 'moving' });
          this.fulfil();
        } else if (still && this.facts.picture === 'moving') this.tell({ type: 'picture', picture: 'still' });
        const fresh = engine.mediaAge(now) < FRESH;
        if (!this.behind && this.edge.tick(now, engine.latency(), engine.target(), fresh, still)) {
          engine.toLive();
        }
        this.settle();
      }
    }
    this.dispatchEvent(new Event(CHANGE));
  }
}

customElements.define('onair-player', OnairPlayer);
