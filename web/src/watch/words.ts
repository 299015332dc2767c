import type { State } from './machine';
import type { Way } from './ways';

/** What is said of a recording instead. */
const recordingWords: Partial<Record<State, { title: string; text: string }>> = {
  starting: { title: 'Loading…', text: '' },
  reconnecting: { title: 'Loading…', text: 'The picture is on the way.' },
  ended: { title: 'The end', text: '' },
  missing: {
    title: 'This recording does not exist any more',
    text: 'It was deleted. Ask whoever sent the link.',
  },
};

/** Title and explanation of a state; empty where the picture speaks for itself. */
export function wordsFor(state: State, code: string, recording = false): { title: string; text: string } {
  const told = recording && recordingWords[state];
  if (told) return told;
  switch (state) {
    case 'loading':
      return { title: 'Loading…', text: '' };
    case 'offline':
      return {
        title: 'Not live yet',
        text: 'Leave this page open: the stream starts here by itself.',
      };
    case 'starting':
      return { title: 'Starting…', text: 'The stream is on. Its picture is on the way.' };
    case 'reconnecting':
      return { title: 'Reconnecting…', text: 'The connection was lost. Playback continues by itself.' };
    case 'ended':
      return {
        title: 'The stream has ended',
        text: 'Thank you for watching. If it comes back, it starts here by itself.',
      };
    case 'disabled':
      return { title: 'This stream is switched off', text: 'Its owner has disabled it for now.' };
    case 'missing':
      return {
        title: 'This stream does not exist',
        text: 'The link may be cut off, or the stream was deleted. Ask whoever sent it for a new one.',
      };
    case 'error':
      return { title: faultTitle(code), text: faultText(code) };
    case 'playing':
    case 'paused':
      return { title: '', text: '' };
  }
}

/** The fault of a recording without a single segment. */
export const EMPTY = 'empty_recording';

function faultTitle(code: string): string {
  if (code === 'codec_unsupported') return 'This browser cannot play the stream';
  if (code === EMPTY) return 'There is nothing in this recording';
  if (code === 'unreachable' || code === 'timeout') return 'The server cannot be reached';
  if (code === 'forbidden' || code === 'unauthorized') return 'This stream is not open to everybody';
  return 'Playback failed';
}

function faultText(code: string): string {
  if (code === EMPTY) return 'Its broadcast ended before anything was recorded.';
  if (code === 'codec_unsupported') {
    return 'It is sent in a format that this browser or device does not decode. Another browser may play it.';
  }
  if (code === 'unreachable' || code === 'timeout') return 'Check your connection.';
  if (code === 'forbidden' || code === 'unauthorized')
    return 'Ask whoever sent the link for one that lets you in.';
  return 'It is tried again by itself.';
}

/** What a way is called, and how the delay beside it is measured. */
export function wayWords(way: Way | null): { words: string; how: string } {
  switch (way) {
    case 'webrtc':
      return {
        words: 'Real time',
        how: 'Measured: half the round trip to the server, and the time in the jitter buffer and decoder',
      };
    case 'hls':
      return {
        words: '',
        how: 'Measured: the server’s clock less the time at which the picture reached the server',
      };
    case null:
      return { words: '', how: '' };
  }
}

/** Words on the badge. LIVE is only said while media keeps arriving. */
export function badgeFor(o: {
  state: State;
  /** Seconds since new media arrived last. */
  mediaAge: number;
  /** Seconds without new media after which it is not called live. */
  limit: number;
  /** Whether the viewer chose to stay behind the live edge. */
  behind: boolean;
}): 'LIVE' | 'BEHIND' | 'PAUSED' | 'WAITING' | 'OFFLINE' {
  switch (o.state) {
    case 'playing':
      if (o.mediaAge > o.limit) return 'WAITING';
      return o.behind ? 'BEHIND' : 'LIVE';
    case 'paused':
      return 'PAUSED';
    case 'reconnecting':
    case 'starting':
    case 'error':
    case 'loading':
      return 'WAITING';
    default:
      return 'OFFLINE';
  }
}
