import type Hls from 'hls.js';

/** One quality that can be chosen. */
export interface Quality {
  index: number;
  /** The short side of the picture; 0 without one. */
  height: number;
  label: string;
  /** Bits a second; 0 if unknown. */
  bitrate: number;
}

/** How a remembered choice of sound alone is written where heights are. */
export const SOUND_ONLY = 0;

export interface EngineEvents {
  /** It cannot play this at all: a stable code such as "codec_unsupported". */
  onFault(code: string): void;
  /** The playlist is complete and everything has been played. */
  onFinished(): void;
  /** The qualities or the one being played changed. */
  onQualities(): void;
}

/** What plays the stream into a <video>; made anew for each try. */
export interface Engine {
  readonly name: 'hls.js' | 'native' | 'webrtc';
  start(): Promise<void>;
  destroy(): void;
  /** A number that grows while picture or sound go on. */
  position(): number;
  /** Seconds between the picture's moment and the server's clock (ms); null if unknown. */
  delay(now: number): number | null;
  /** Seconds behind the newest media, and how many are aimed at; null if unknown. */
  latency(): number | null;
  target(): number | null;
  /** Seconds since new media became known; Infinity before the first. */
  mediaAge(now: number): number;
  /** Seconds without new media after which nobody should call it live. */
  ageLimit(): number;
  toLive(): void;
  /** What can be gone to, in seconds of the <video>; null where there is nothing behind. */
  range(): { start: number; end: number } | null;
  /** The wall clock (ms) of a moment of the <video>; null if unknown. */
  dateAt(time: number): number | null;
  /** Whether what it plays has an end, so that nothing more comes of it. */
  over(): boolean;
  /** The text of the media playlist as the server has it now. */
  probe(): Promise<string>;
  qualities(): Quality[];
  /** Index of the chosen quality, -1 for automatic; and of the one being played. */
  chosen(): number;
  current(): number;
  choose(index: number): void;
  stats(): Record<string, unknown>;
  readonly hls: Hls | null;
}

/** Age (s) after which media is no longer called live. */
export const LIVE_LIMIT = 5;

export async function fetchText(url: string): Promise<string> {
  const res = await fetch(url, {
    cache: 'no-store',
    credentials: 'omit',
    signal: AbortSignal.timeout(4000),
  });
  if (!res.ok) throw new Error(`HTTP ${res.status}`);
  return res.text();
}
