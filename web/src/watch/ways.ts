import type { WayAnswer } from '../lib/types';

/** The two ways to play: in real time, or a little later over HTTP, which gets through everywhere. */
export type Way = 'webrtc' | 'hls';

/**
 * Why WebRTC does not do here and now.
 *
 * blocked      no connection came about: UDP and TCP to the media port are blocked
 * no_picture   connected, and no picture came
 * refused      the server declined, such as for a codec that this browser lacks
 * busy         the server has no room for now
 * unreachable  the server cannot be asked
 * lost         the connection broke while it played
 * stalled      the connection stands and the picture stood still
 */
export type Trouble = 'blocked' | 'no_picture' | 'refused' | 'busy' | 'unreachable' | 'lost' | 'stalled';

/** Pause (ms) before WebRTC is tried again: the first time, and at most, doubling in between. */
const PAUSES: Record<Trouble, [number, number]> = {
  blocked: [60_000, 900_000],
  no_picture: [20_000, 300_000],
  refused: [300_000, 900_000],
  busy: [20_000, 120_000],
  unreachable: [5000, 30_000],
  lost: [8000, 120_000],
  stalled: [10_000, 120_000],
};
/** WebRTC that has played this long (ms) is trusted again. */
const STEADY = 60_000;

const WORDS: Record<Trouble, string> = {
  blocked: 'Real-time playback does not get through this network. It plays with a little more delay instead.',
  no_picture: 'Real-time playback brought no picture. It plays with a little more delay instead.',
  refused: 'Real-time playback is not possible here. It plays with a little more delay instead.',
  busy: 'There is no room for another viewer in real time now. It plays with a little more delay instead.',
  unreachable: 'The server could not be reached for real-time playback.',
  lost: 'The real-time connection broke. It plays with a little more delay until that is tried again.',
  stalled: 'The real-time picture stood still. It plays with a little more delay until that is tried again.',
};

/**
 * Chooses between the two ways: the server proposes one, and what this browser and its
 * network have shown decides. Times are in ms.
 */
export class Ways {
  private answer: WayAnswer | undefined;
  private trouble: Trouble | undefined;
  private detail = '';
  private failures = 0;
  private notBefore = Number.NEGATIVE_INFINITY;
  private playsSince: number | null = null;

  constructor(
    /** Whether the browser has WebRTC at all. */
    private readonly capable: boolean,
    /** A way that the address of the page demands; it is kept unless it does not work. */
    private readonly demanded?: Way,
  ) {}

  /** What the server answered; undefined from one that knows of one way only. */
  told(answer: WayAnswer | undefined): void {
    this.answer = answer;
  }

  /** Whether WebRTC may be tried now. */
  able(now: number): boolean {
    return this.capable && now >= this.notBefore;
  }

  want(now: number): Way {
    const proposed = this.demanded ?? this.answer?.protocol ?? 'hls';
    return proposed === 'webrtc' && this.able(now) ? 'webrtc' : 'hls';
  }

  /** Ms until the server wants to be asked again; Infinity if it named no time. */
  checkAfter(): number {
    const s = this.answer?.check_after_seconds ?? 0;
    return s > 0 ? s * 1000 : Number.POSITIVE_INFINITY;
  }

  /** WebRTC failed. detail is for the statistics, wait (ms) what the server asked for, if it did. */
  failed(trouble: Trouble, detail: string, now: number, wait = 0): void {
    if (this.playsSince !== null && now - this.playsSince >= STEADY) this.failures = 0;
    this.playsSince = null;
    const [first, most] = PAUSES[trouble];
    this.notBefore = now + Math.max(wait, Math.min(first * 2 ** this.failures, most));
    this.failures++;
    this.trouble = trouble;
    this.detail = detail;
  }

  /** WebRTC shows a picture. */
  works(now: number): void {
    this.playsSince = now;
    this.trouble = undefined;
    this.detail = '';
  }

  /** The network is another one: what was learnt about the old one does not hold. */
  networkChanged(): void {
    this.failures = 0;
    this.notBefore = Number.NEGATIVE_INFINITY;
  }

  /** Why this way: a stable code, and words for people. */
  why(): { code: string; words: string; detail: string } {
    if (this.trouble) return { code: this.trouble, words: WORDS[this.trouble], detail: this.detail };
    if (!this.capable && this.answer?.protocol === 'webrtc') {
      return { code: 'no_webrtc', words: 'This browser has no WebRTC.', detail: '' };
    }
    if (this.demanded)
      return { code: 'demanded', words: 'The address of this page asks for it.', detail: '' };
    return { code: this.answer?.code ?? '', words: this.answer?.reason ?? '', detail: '' };
  }

  /** What a viewer should be told: what their own network or connection does. '' where it is the server's doing. */
  note(): string {
    const own = ['blocked', 'no_picture', 'lost', 'stalled'];
    return this.trouble && own.includes(this.trouble) ? WORDS[this.trouble] : '';
  }
}
