import type { Engine } from './engine';
import type { Held } from './stage';
import type { Way } from './ways';

/** Playback that went on this long (s) has shown a picture, even if the browser does not say so. */
const SURELY = 0.3;

/** A <video> and the engine that plays into it. */
export class Seat implements Held {
  engine: Engine;
  private stopWatching: () => void;

  constructor(
    readonly way: Way,
    readonly video: HTMLVideoElement,
    private readonly make: (seat: Seat) => Engine,
    onPicture: (seat: Seat) => void,
    private readonly onGone: (seat: Seat) => void,
  ) {
    // An element that played over WebRTC before would go on showing that.
    video.srcObject = null;
    this.engine = make(this);
    this.stopWatching = firstPicture(video, () => onPicture(this));
  }

  /** Throws the engine away and makes a new one of its kind. */
  restart(): Engine {
    this.engine.destroy();
    this.engine = this.make(this);
    return this.engine;
  }

  connected(): boolean {
    const e = this.engine as Engine & { connected?(): boolean };
    return e.connected?.() ?? true;
  }

  destroy(): void {
    this.stopWatching();
    this.engine.destroy();
    this.onGone(this);
  }
}

/** Calls then once, when the element shows its first picture or plays its first sound. */
function firstPicture(video: HTMLVideoElement, then: () => void): () => void {
  const timed = typeof video.requestVideoFrameCallback === 'function';
  const from = video.currentTime;
  let handle = 0;
  const stop = () => {
    video.removeEventListener('timeupdate', look);
    video.removeEventListener('loadeddata', ready);
    if (timed) video.cancelVideoFrameCallback(handle);
  };
  const done = () => {
    stop();
    then();
  };
  const look = () => {
    const went = Math.abs(video.currentTime - from);
    if (video.readyState < 2 || went === 0) return;
    if (went >= SURELY || !timed || !video.videoWidth) done();
  };
  // One that is not allowed to play by itself stands at its first picture.
  const ready = () => video.paused && done();
  video.addEventListener('timeupdate', look);
  video.addEventListener('loadeddata', ready);
  if (timed) handle = video.requestVideoFrameCallback(done);
  return stop;
}
