import type { StreamStatus } from '../lib/types';

/**
 * What the page shows, as `data-state` on <onair-player>.
 *
 * loading       the server has not been asked yet
 * offline       nothing is on; starts by itself
 * starting      the stream is on, its first picture is not here yet
 * playing       the picture moves
 * paused        the viewer paused, or the browser did not allow it to start by itself
 * reconnecting  the host or the network is away; the last picture stays
 * ended         it was on while the page was open, and is over; starts by itself if it comes back.
 *               A recording that was played to its end
 * disabled      switched off by its owner
 * missing       no such playback id, or a recording that was deleted
 * error         cannot be played or asked for now; tried again by itself
 */
export type State =
  | 'loading'
  | 'offline'
  | 'starting'
  | 'playing'
  | 'paused'
  | 'reconnecting'
  | 'ended'
  | 'disabled'
  | 'missing'
  | 'error';

/** What the page knows; the state follows from it alone. */
export interface Facts {
  /** What the server said last about the stream; null before its first answer. */
  status: StreamStatus | 'recorded' | 'missing' | null;
  /** Why the last question to the server failed; '' if it was answered. */
  unreachable: string;
  /** What the picture does: none (no engine), waiting (for its first frame), moving, still, paused, finished. */
  picture: 'none' | 'waiting' | 'moving' | 'still' | 'paused' | 'finished';
  /** Why the engine cannot play this at all, such as "codec_unsupported"; '' if it can. */
  fault: string;
  /** Whether a picture of this broadcast has been seen. */
  played: boolean;
  /** What was played can be gone back to: a recording, or the past of a broadcast. */
  kept: boolean;
  /** How often in a row the server has called it on since all of it was played. */
  since: number;
}

export const START: Facts = {
  status: null,
  unreachable: '',
  picture: 'none',
  fault: '',
  played: false,
  kept: false,
  since: 0,
};

export type Happening =
  | { type: 'status'; status: StreamStatus | 'recorded' | 'missing'; kept?: boolean }
  | { type: 'kept'; kept: boolean }
  | { type: 'unreachable'; code: string }
  | { type: 'picture'; picture: Facts['picture'] }
  | { type: 'fault'; code: string };

/** So many answers that it is on, after all of it was played, mean another broadcast: one may be of the moment of the end. */
const SURELY = 2;

/** The facts after something happened. */
export function after(f: Facts, h: Happening): Facts {
  switch (h.type) {
    case 'status': {
      // Coming back from a status without a stream is a new broadcast.
      const on = isOn(h.status);
      const fresh = on && f.status !== null && !isOn(f.status) && f.picture !== 'moving';
      const next = {
        ...f,
        status: h.status,
        unreachable: '',
        fault: on ? f.fault : '',
        kept: h.kept ?? false,
        since: on && f.picture === 'finished' ? Math.min(f.since + 1, SURELY) : 0,
      };
      return fresh ? { ...next, played: false, fault: '' } : next;
    }
    case 'kept':
      return { ...f, kept: h.kept };
    case 'unreachable':
      return { ...f, unreachable: h.code };
    case 'picture': {
      const moving = h.picture === 'moving';
      return {
        ...f,
        picture: h.picture,
        fault: moving ? '' : f.fault,
        played: f.played || moving,
        since: h.picture === 'finished' ? f.since : 0,
      };
    }
    case 'fault':
      return { ...f, fault: h.code };
  }
}

function isOn(status: Facts['status']): boolean {
  return status === 'active' || status === 'reconnecting' || status === 'recorded';
}

/** Whether the broadcast is over, and the viewer is still in it. */
function lingers(f: Facts): boolean {
  return f.status === 'idle' && f.kept && f.played && f.picture !== 'none';
}

/** The state that follows from the facts. */
export function stateOf(f: Facts): State {
  if (f.status === 'missing' || f.status === 'disabled') return f.status;
  if (f.picture === 'moving') return f.status === 'reconnecting' ? 'reconnecting' : 'playing';
  if (f.status === null) return f.unreachable ? 'error' : 'loading';
  if (f.status === 'idle' && !lingers(f)) return f.played ? 'ended' : 'offline';
  if (f.picture === 'paused') return 'paused';
  if (f.picture === 'finished') return 'ended';
  if (f.fault) return 'error';
  if (f.played || f.status === 'reconnecting') return 'reconnecting';
  return f.unreachable ? 'reconnecting' : 'starting';
}

/**
 * Whether an engine should be running: while the stream is on, and after it until the rest has
 * played out, or as long as the page is open if it can be gone back to.
 */
export function wantsEngine(f: Facts): boolean {
  if (f.fault) return false;
  if (f.picture === 'finished') {
    return (
      f.status === 'recorded' || lingers(f) || (isOn(f.status) && f.kept && f.played && f.since < SURELY)
    );
  }
  return isOn(f.status) || lingers(f) || (f.status === 'idle' && f.picture === 'moving');
}

/** Longest pause (ms) before a server that does not answer is asked again by a page that can be seen. */
const MAX_RETRY = 6000;

/** Milliseconds until the server is asked again, before jitter. Hidden pages ask seldom. */
export function pollDelay(state: State, hidden: boolean, failures: number): number {
  const base: Record<State, number> = {
    loading: 1000,
    offline: 2500,
    starting: 2000,
    playing: 5000,
    paused: 5000,
    reconnecting: 2000,
    ended: 2500,
    disabled: 5000,
    missing: 15_000,
    error: 3000,
  };
  // A server that was restarted should be found again soon; jitter keeps pages apart.
  const delay = Math.max(base[state], Math.min(base[state] * 2 ** Math.max(0, failures - 1), MAX_RETRY));
  return hidden ? Math.max(delay * 4, 15_000) : delay;
}
