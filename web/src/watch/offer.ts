import type { Playback, StreamStatus } from '../lib/types';
import type { Places } from './playback';

/** What the page plays, as it follows from the server's answer and the page's address. */
export interface Offer {
  /** For the player. */
  status: StreamStatus | 'recorded';
  places: Places;
  /** A recording, or a part of one: it begins at its beginning, and nothing of it is live. */
  recording: boolean;
  /** A recording that still grows. */
  growing: boolean;
  /** There is nothing in it, and there will not be. */
  empty: boolean;
  /** Seconds that viewers of a live stream can go back. */
  past: number;
  /** The page of the last broadcast's recording; '' without one. */
  replay: string;
  storyboard: string;
  download: string;
}

/** The part of a recording that the page's address asks for, as its playlist is asked for it. */
export function partOf(address: URLSearchParams): string {
  const part = new URLSearchParams();
  for (const name of ['start', 'end']) {
    const value = address.get(name);
    if (value) part.set(name, value);
  }
  return part.toString();
}

/** Reads the server's answer. part is what partOf found. */
export function offerOf(p: Playback, part: string, page: string): Offer {
  const asset = p.type === 'asset';
  const live = p.status === 'active' || p.status === 'reconnecting';
  const recording = asset || part !== '';
  const whep = recording || !p.whep_url ? '' : new URL(p.whep_url, page).href;
  const picture = (asset ? p.poster_url : p.thumbnail_url) ?? '';
  const replay = p.replay?.playback_id ?? '';
  // A part of a live stream is there as soon as it is, and stays if it was recorded.
  const there = asset || live || replay !== '';
  return {
    status: recording && there ? 'recorded' : (p.status as StreamStatus),
    places: {
      hls: part ? `${p.hls_url}?${part}` : p.hls_url,
      whep,
      thumbnail: picture && !part ? `${picture}?width=640` : '',
      recording,
    },
    recording,
    growing: asset ? p.status === 'recording' : live,
    empty: asset && p.status !== 'recording' && p.duration === 0,
    past: recording || !live ? 0 : (p.dvr ?? 0),
    replay: replay && !recording ? `/watch/${encodeURIComponent(replay)}` : '',
    // A part has times of its own.
    storyboard: part ? '' : (p.storyboard_url ?? ''),
    download: part ? '' : (p.download_url ?? ''),
  };
}
