import { afterEach, describe, expect, it, vi } from 'vitest';
import { qualityLabel } from './labels';
import { delayParts, moved, rate, readStats } from './rtcstats';
import { layersIn, stereo, troubleOf, WhepError, WhepSession } from './whep';

const entries = (over: Record<string, number> = {}, at = 1000) =>
  readStats(
    [
      { type: 'transport', id: 'T', selectedCandidatePairId: 'P' },
      {
        type: 'candidate-pair',
        id: 'P',
        currentRoundTripTime: 0.04,
        remoteCandidateId: 'R',
        localCandidateId: 'L',
      },
      { type: 'remote-candidate', id: 'R', protocol: 'udp' },
      { type: 'codec', id: 'C', mimeType: 'video/H264' },
      {
        type: 'inbound-rtp',
        kind: 'video',
        codecId: 'C',
        packetsReceived: 100,
        framesDecoded: 30,
        totalProcessingDelay: 1.5,
        jitterBufferDelay: 1,
        jitterBufferEmittedCount: 30,
        bytesReceived: 100_000,
        ...over,
      },
      { type: 'inbound-rtp', kind: 'audio', packetsReceived: 50, bytesReceived: 8000 },
    ],
    at,
  );

describe('the figures of a connection', () => {
  it('are half the round trip and the time in the player, between two readings', () => {
    const a = entries();
    const b = entries({ framesDecoded: 60, totalProcessingDelay: 3.3, bytesReceived: 350_000 }, 2000);
    expect(delayParts(a, b)).toEqual({ network: 0.02, player: expect.closeTo(0.06, 5) });
    expect(moved(a, b)).toBe(true);
    expect(rate(a, b)).toBe(2_000_000);
    expect(b.transport).toBe('udp');
    expect(b.videoCodec).toBe('H264');
  });

  it('are unknown while nothing plays, never zero', () => {
    const a = entries();
    expect(delayParts(a, entries({}, 2000))).toBeNull();
    expect(delayParts(undefined, a)).toBeNull();
    expect(moved(a, entries({}, 2000))).toBe(false);
    const empty = readStats([], 0);
    expect(empty.rtt).toBeNull();
    expect(empty.hasVideo).toBe(false);
    expect(rate(undefined, empty)).toBeNull();
  });

  it('come from the jitter buffer where the browser has no processing time, and from sound without picture', () => {
    const a = entries({ totalProcessingDelay: 0 });
    const b = entries(
      { totalProcessingDelay: 0, framesDecoded: 60, jitterBufferDelay: 2.5, jitterBufferEmittedCount: 60 },
      2000,
    );
    expect(delayParts(a, b)?.player).toBeCloseTo(0.05, 5);
    const sound = (packetsReceived: number) =>
      readStats([{ type: 'inbound-rtp', kind: 'audio', packetsReceived }], 0);
    expect(moved(sound(1), sound(2))).toBe(true);
    expect(moved(sound(2), sound(2))).toBe(false);
  });
});

describe('stereo', () => {
  const sdp =
    'm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:9 G722/8000\r\n';
  it('is asked for once, for Opus alone', () => {
    const out = stereo(sdp);
    expect(out).toContain('a=fmtp:111 minptime=10;useinbandfec=1;stereo=1\r\na=rtpmap:9');
    expect(stereo(out)).toBe(out);
  });
  it('is asked for without a line to add it to, and leaves the rest alone', () => {
    expect(stereo('a=rtpmap:96 opus/48000/2\r\na=x\r\n')).toBe(
      'a=rtpmap:96 opus/48000/2\r\na=fmtp:96 stereo=1\r\na=x\r\n',
    );
    expect(stereo('m=video 9\r\n')).toBe('m=video 9\r\n');
  });
});

describe('WHEP', () => {
  afterEach(() => vi.unstubAllGlobals());
  const answerWith = (res: Response) => {
    const fetch = vi.fn(async (_url: string, _init: RequestInit) => res);
    vi.stubGlobal('fetch', fetch);
    return fetch;
  };

  it('offers, asks for a layer and leaves', async () => {
    const fetch = answerWith(
      new Response('v=0 answer', { status: 201, headers: { Location: 'http://here.test/whep/session/abc' } }),
    );
    const s = await WhepSession.open('http://here.test/whep/pb', 'v=0 offer', new AbortController().signal);
    expect(s.answer).toBe('v=0 answer');
    expect(fetch.mock.calls[0]?.[1]).toMatchObject({ method: 'POST', body: 'v=0 offer' });
    fetch.mockResolvedValue(new Response(null, { status: 204 }));
    expect(await s.ask('720p')).toBe(true);
    expect(fetch.mock.calls[1]).toMatchObject([
      'http://here.test/whep/session/abc/layer',
      { method: 'POST', body: '{"layer":"720p"}' },
    ]);
    s.close();
    expect(fetch.mock.calls[2]).toMatchObject(['http://here.test/whep/session/abc', { method: 'DELETE' }]);
  });

  it('says what a refusal means', async () => {
    answerWith(
      new Response(JSON.stringify({ detail: 'Everybody is here.' }), {
        status: 503,
        headers: { 'Retry-After': '7' },
      }),
    );
    const err = await WhepSession.open('http://here.test/whep/pb', '', new AbortController().signal).catch(
      (e) => e,
    );
    expect(err).toBeInstanceOf(WhepError);
    expect(err).toMatchObject({ trouble: 'busy', wait: 7000, message: '503 Everybody is here.' });
    vi.stubGlobal('fetch', async () => {
      throw new TypeError('network');
    });
    const away = await WhepSession.open('http://here.test/whep/pb', '', new AbortController().signal).catch(
      (e) => e,
    );
    expect(away.trouble).toBe('unreachable');
    expect([400, 404, 406, 415].map(troubleOf)).toEqual(Array(4).fill('refused'));
    expect([500, 502].map(troubleOf)).toEqual(Array(2).fill('unreachable'));
  });

  it('finds the layers in the multivariant playlist', () => {
    const playlist = [
      '#EXTM3U',
      '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio0",NAME="Audio 1",URI="s1/a0/index.m3u8"',
      '#EXT-X-STREAM-INF:BANDWIDTH=4000000,AVERAGE-BANDWIDTH=3000000,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=30.000,AUDIO="audio0"',
      's1/v0/index.m3u8',
      '#EXT-X-STREAM-INF:BANDWIDTH=1200000,CODECS="avc1.64001e,mp4a.40.2",RESOLUTION=854x480,FRAME-RATE=30.000,AUDIO="audio0"',
      's1/480p/index.m3u8',
      '#EXT-X-STREAM-INF:BANDWIDTH=130000,CODECS="mp4a.40.2",AUDIO="audio0"',
      's1/a0/index.m3u8',
      '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,RESOLUTION=1280x720,URI="s1/v0/iframes.m3u8"',
    ].join('\n');
    expect(layersIn(playlist)).toEqual([
      { name: 'source', width: 1280, height: 720, frameRate: 30, bitrate: 3_000_000 },
      { name: '480p', width: 854, height: 480, frameRate: 30, bitrate: 1_200_000 },
      { name: 'audio', width: 0, height: 0, frameRate: 0, bitrate: 130_000 },
    ]);
    for (const odd of ['', 'x', '#EXT-X-STREAM-INF:', '#EXT-X-STREAM-INF:CODECS="mp4a.40.2"\na/b.m3u8']) {
      expect(layersIn(odd)).toEqual([]);
    }
  });
});

describe('a quality', () => {
  it('is called by its short side and a high frame rate', () => {
    expect(qualityLabel({ width: 1920, height: 1080, frameRate: 60 })).toBe('1080p60');
    expect(qualityLabel({ width: 720, height: 1280, frameRate: 30 })).toBe('720p');
    expect(qualityLabel({ width: 0, height: 480, frameRate: 25 })).toBe('480p');
    expect(qualityLabel({ width: 0, height: 0, frameRate: 0 })).toBe('');
  });
});
