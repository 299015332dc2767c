import { el } from './dom';
import type { Engine, EngineEvents } from './engine';
import { HlsEngine, prepareHls } from './engine-hls';
import { NativeEngine } from './engine-native';
import { WhepEngine, type WhepEvents } from './engine-whep';
import { Seat } from './seat';
import { Stage } from './stage';
import { type Way, Ways } from './ways';

const QUALITY_KEY = 'onair.quality';

/** Where a stream can be played. */
export interface Places {
  hls: string;
  /** An absolute address; '' without WebRTC. */
  whep: string;
  /** A picture of the stream as it is now; '' without one. */
  thumbnail: string;
  /** It is a recording. */
  recording: boolean;
}

/** A <video> with what only some browsers have. */
export type AnyVideo = HTMLVideoElement & {
  webkitEnterFullscreen?: () => void;
  webkitDisplayingFullscreen?: boolean;
};

export interface PlaybackHost {
  /** A new <video>, to be listened to and put into the page under the shown one. */
  adopt(video: AnyVideo, under: AnyVideo): void;
  /** The shown <video> is another one. */
  changed(video: AnyVideo): void;
  /** This one is not needed any more. */
  dismiss(video: AnyVideo): void;
  /** Whether the viewer has paused. */
  paused(): boolean;
  play(): void;
  onFault(code: string): void;
  onFinished(): void;
  onQualities(): void;
  /** The shown <video> has its first picture. */
  onPicture(): void;
  /** WebRTC did not do: what the server thinks now is worth asking. */
  onTrouble(): void;
}

/**
 * What plays: the engine of the way that was chosen, and for a moment the one that comes
 * after it. Each has a <video> of its own, so a change shows no black.
 */
export class Playback {
  /** The <video> that is shown. */
  video: AnyVideo = newVideo();
  places: Places = { hls: '', whep: '', thumbnail: '', recording: false };
  readonly ways: Ways;
  /** How often the way was changed while it played. */
  moves = 0;
  restarts = 0;
  private readonly stage: Stage<Seat>;
  private preferred: number | null = null;

  constructor(
    private readonly host: PlaybackHost,
    /** A way that the page's address demands. */
    demanded?: Way,
  ) {
    this.ways = new Ways('RTCPeerConnection' in window, demanded);
    this.stage = new Stage<Seat>({
      open: (way, hidden) => this.open(way, hidden),
      prepare: () => hasMediaSource() && prepareHls(),
      show: (seat, before) => before && this.show(seat, before),
      trouble: (trouble, detail, wait) => {
        this.ways.failed(trouble, detail, Date.now(), wait);
        host.onTrouble();
      },
    });
  }

  /** What plays the picture that is shown; null while nothing does. */
  get engine(): Engine | null {
    return this.stage.shown?.engine ?? null;
  }

  /** The way that is shown; null while nothing plays. */
  get way(): Way | null {
    return this.stage.shown?.way ?? null;
  }

  /** Begins to play, or goes over to the way that is best now. */
  go(): void {
    if (this.stage.shown && !this.mayMove()) return;
    const now = Date.now();
    this.stage.want(this.places.whep ? this.ways.want(now) : 'hls', now);
  }

  /** Goes over to the way that has a past, or stays with it. */
  goBack(): void {
    this.stage.want('hls', Date.now());
  }

  drop(): void {
    this.stage.clear();
  }

  /** Called a few times a second. */
  tick(now: number): void {
    if (document.hidden) this.stage.rest(now);
    else this.stage.tick(now);
  }

  /** Throws the engine away and makes a new one. */
  restart(): void {
    const seat = this.stage.shown;
    if (!seat) return;
    this.restarts++;
    seat.restart();
    this.begin(seat);
  }

  /** Chooses a quality, -1 for automatic, and remembers it. */
  choose(index: number): void {
    const quality = this.engine?.qualities().find((q) => q.index === index);
    this.preferred = quality?.height ?? -1;
    try {
      if (quality) localStorage.setItem(QUALITY_KEY, String(quality.height));
      else localStorage.removeItem(QUALITY_KEY);
    } catch {
      // Storage is off: the choice lasts as long as the page.
    }
    this.engine?.choose(index);
  }

  /** Whether another element may take this one's place: not while somebody holds on to it. */
  private mayMove(): boolean {
    return !this.host.paused() && !document.pictureInPictureElement && !this.video.webkitDisplayingFullscreen;
  }

  private open(way: Way, hidden: boolean): Seat {
    let video = this.video;
    if (hidden) {
      video = newVideo();
      video.classList.add('coming');
      this.host.adopt(video, this.video);
    }
    const seat = new Seat(
      way,
      video,
      (s) => this.engineFor(s),
      (s) => {
        if (s.way === 'webrtc') this.ways.works(Date.now());
        this.stage.firstPicture(s);
        if (this.stage.shown === s) this.host.onPicture();
      },
      (s) => s.video !== this.video && this.host.dismiss(s.video),
    );
    this.begin(seat);
    return seat;
  }

  private engineFor(seat: Seat): Engine {
    const { host, places } = this;
    const events: EngineEvents = {
      onFault: (code) => {
        if (this.stage.shown === seat || this.stage.dead) host.onFault(code);
        else this.stage.unfit(seat);
      },
      onFinished: () => this.stage.shown === seat && host.onFinished(),
      onQualities: () => host.onQualities(),
    };
    if (seat.way === 'webrtc') {
      const onTrouble: WhepEvents['onTrouble'] = (trouble, detail, wait) =>
        this.stage.failed(seat, trouble, detail, Date.now(), wait);
      const all = { ...events, onTrouble };
      return new WhepEngine(seat.video, places.whep, places.hls, all, this.preferredHeight());
    }
    // ManagedMediaSource works only where the picture cannot go to another device.
    if ('ManagedMediaSource' in window) seat.video.disableRemotePlayback = true;
    return hasMediaSource()
      ? new HlsEngine(seat.video, places.hls, events, this.preferredHeight(), places.recording)
      : new NativeEngine(seat.video, places.hls, events);
  }

  /** Starts a seat's engine and its picture. */
  private begin(seat: Seat): void {
    seat.engine.start().then(
      () => {
        if (this.stage.coming === seat) void seat.video.play().catch(() => {});
        else if (this.stage.shown === seat && !this.host.paused()) this.host.play();
      },
      () => this.host.onFault('engine_not_loaded'),
    );
  }

  /** Gives the viewer this seat's picture and sound. */
  private show(seat: Seat, before: Seat): void {
    const { video } = seat;
    const old = before.video;
    this.moves++;
    this.video = video;
    video.volume = old.volume;
    video.muted = old.muted;
    old.muted = true;
    video.classList.remove('coming');
    old.classList.add('coming');
    this.host.changed(video);
    if (this.host.paused()) video.pause();
    else if (video.paused) this.host.play();
  }

  private preferredHeight(): number {
    if (this.preferred !== null) return this.preferred;
    try {
      const kept = localStorage.getItem(QUALITY_KEY);
      return kept === null ? -1 : Number(kept);
    } catch {
      return -1;
    }
  }
}

/** Whether this browser plays what a page hands it, piece by piece. */
function hasMediaSource(): boolean {
  return 'ManagedMediaSource' in window || 'MediaSource' in window;
}

function newVideo(): AnyVideo {
  const v = el('video', { slot: 'media', playsinline: '', muted: '', preload: 'auto' });
  v.muted = true;
  return v;
}
