import { describe, expect, it } from 'vitest';
import type { Playback } from '../lib/types';
import { actionFor } from './keys';
import { offerOf, partOf } from './offer';
import { label, place } from './scrub';
import { cellAt, parseBoard } from './storyboard';
import { EMPTY, wordsFor } from './words';

const PAGE = 'https://live.example.com/watch/pb_1';

const live: Playback = {
  playback_id: 'pb_1',
  status: 'active',
  title: 'Friday',
  latency_mode: 'low',
  hls_url: '/hls/pb_1/index.m3u8',
  whep_url: '/whep/pb_1',
  thumbnail_url: '/images/pb_1/thumbnail.jpg',
  storyboard_url: '/images/pb_1/storyboard.vtt',
};
const asset: Playback = {
  ...live,
  type: 'asset',
  status: 'ready',
  duration: 62.5,
  whep_url: null,
  thumbnail_url: null,
  poster_url: '/images/pb_1/poster.jpg',
  download_url: '/v1/assets/as_1/download.mp4',
};

describe('what the page plays', () => {
  it('is a live stream as before', () => {
    const o = offerOf(live, '', PAGE);
    expect(o).toMatchObject({ status: 'active', recording: false, past: 0, replay: '', download: '' });
    expect(o.places).toEqual({
      hls: '/hls/pb_1/index.m3u8',
      whep: 'https://live.example.com/whep/pb_1',
      thumbnail: '/images/pb_1/thumbnail.jpg?width=640',
      recording: false,
    });
    expect(offerOf({ ...live, dvr: 90.5 }, '', PAGE).past).toBe(90.5);
    expect(offerOf({ ...live, status: 'idle', dvr: 90 }, '', PAGE).past).toBe(0);
  });

  it('is a recording, while it grows and after', () => {
    const o = offerOf(asset, '', PAGE);
    expect(o).toMatchObject({ status: 'recorded', recording: true, growing: false, empty: false });
    expect(o.places).toMatchObject({
      whep: '',
      recording: true,
      thumbnail: '/images/pb_1/poster.jpg?width=640',
    });
    expect(o.download).toBe('/v1/assets/as_1/download.mp4');
    expect(offerOf({ ...asset, status: 'recording' }, '', PAGE).growing).toBe(true);
    expect(offerOf({ ...asset, status: 'errored', duration: 0 }, '', PAGE).empty).toBe(true);
    expect(wordsFor('error', EMPTY, true).title).toContain('nothing in this recording');
  });

  it('leads from a stream that is over to its recording', () => {
    const over: Playback = { ...live, status: 'idle', replay: { playback_id: 'pb_2' } };
    expect(offerOf(over, '', PAGE)).toMatchObject({
      status: 'idle',
      recording: false,
      replay: '/watch/pb_2',
    });
  });

  it('is a part where the address asks for one, of a recording or of a stream', () => {
    const part = partOf(new URLSearchParams('start=-30&end=2026-03-01T12:00:00Z&way=hls'));
    expect(part).toBe('start=-30&end=2026-03-01T12%3A00%3A00Z');
    for (const p of [asset, live]) {
      const o = offerOf(p, part, PAGE);
      expect(o).toMatchObject({
        status: 'recorded',
        recording: true,
        storyboard: '',
        download: '',
        replay: '',
      });
      expect(o.places).toMatchObject({ hls: `/hls/pb_1/index.m3u8?${part}`, whep: '', recording: true });
    }
    expect(offerOf({ ...live, status: 'idle' }, part, PAGE).status).toBe('idle');
    expect(partOf(new URLSearchParams('start='))).toBe('');
  });
});

describe('a storyboard', () => {
  const text = [
    'WEBVTT',
    'X-MEDIA-ORIGIN=2026-03-01T12:00:00.000Z',
    '',
    '00:00:02.000 --> 00:00:04.500',
    'storyboard-1-5-3.jpg#xywh=0,0,160,90',
    '',
    '00:00:04.500 --> 01:00:06.000',
    'storyboard-1-5-3.jpg#xywh=160,0,160,90',
    '',
    'what nobody understands',
  ].join('\n');
  it('names a picture for each moment', () => {
    const b = parseBoard(text, 'https://live.example.com/images/pb_1/storyboard.vtt');
    expect(b.origin).toBe(Date.parse('2026-03-01T12:00:00Z'));
    expect(b.cells).toHaveLength(2);
    expect(b.cells[1]).toEqual({
      from: 4.5,
      to: 3606,
      url: 'https://live.example.com/images/pb_1/storyboard-1-5-3.jpg',
      x: 160,
      y: 0,
      width: 160,
      height: 90,
    });
    expect([0, 2, 4.4, 4.5, 9999].map((t) => cellAt(b.cells, t)?.x)).toEqual([0, 0, 0, 160, 160]);
    expect(cellAt([], 3)).toBeUndefined();
    expect(parseBoard('WEBVTT\n', 'https://x/y').origin).toBeNull();
  });
});

describe('the seek bar', () => {
  it('says where the picture is', () => {
    const recorded = { start: 0, end: 725, position: 42, live: false, slack: 2 };
    expect(place(recorded)).toBe('0:42 of 12:05');
    expect(label(recorded, 61)).toBe('1:01');
    const dvr = { start: 1000, end: 1725, position: 1724, live: true, slack: 2 };
    expect(place(dvr)).toBe('Live');
    expect(place(dvr, 1683)).toBe('0:42 behind live');
    expect(label(dvr, 1683)).toBe('−0:42');
  });
  it('keeps arrows to itself and leaves the rest to the page', () => {
    const press = (key: string) =>
      actionFor({ key, ctrlKey: false, metaKey: false, altKey: false, path: ['[seek]', 'div', 'body'] });
    expect(press('ArrowLeft')).toBeUndefined();
    expect(press('ArrowUp')).toBeUndefined();
    expect(press('k')).toBe('play');
    expect(press(' ')).toBe('play');
    expect(press('m')).toBe('mute');
  });
});
