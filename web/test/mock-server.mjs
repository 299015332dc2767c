// A server for looking at the pages without onair: the built pages under the same policy,
// the JSON contract in memory, and a live-ish HLS made by ffmpeg. Import it (start), or run
// it: node test/mock-server.mjs [port]. Token: "admin". Things a test wants to happen are
// done by the methods of what start() returns.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { report } from './health.mjs';
import { recordings } from './mock-recording.mjs';
import { renditions, TRANSCODING } from './renditions.mjs';

const NO_DATA = {
  status: 'no_data',
  score: null,
  summary: 'Nothing is being received.',
  since: null,
  stale: false,
  measured_at: null,
  findings: [],
  sources: [],
  history: [],
};
const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, '../../internal/control/web/dist');
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.m3u8': 'application/vnd.apple.mpegurl',
  '.m4s': 'video/mp4',
  '.mp4': 'video/mp4',
};

/** What Go's policy.go says; a test there compares the real header with what the pages need. */
function policy(page) {
  const { styles } = JSON.parse(readFileSync(join(dist, 'csp.json'), 'utf8'));
  const style = {
    watch: `'self' ${styles.map((s) => `'${s}'`).join(' ')}`,
    docs: "'self' 'unsafe-inline'",
  }[page];
  return `default-src 'none'; script-src 'self'; style-src ${style ?? "'self'"}; img-src 'self' data:; font-src ${
    page === 'docs' ? 'data:' : "'none'"
  }; media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
}

export async function start(port = 0) {
  const media = mkdtempSync(join(tmpdir(), 'onair-mock-'));
  const recorded = recordings(media);
  const streams = new Map();
  const healths = new Map();
  const feeds = new Set();
  const log = [];
  let encoder;
  let serial = 0;
  let refuse = 0;
  let down = false;
  let way = { protocol: 'hls', code: 'webrtc_off', reason: 'The server does not play over WebRTC.' };
  const asked = [];
  let base = '';

  const emit = (type, live_stream_id, data = {}) => {
    const e = { seq: log.length + 1, at: new Date().toISOString(), type, live_stream_id, data };
    log.push(e);
    for (const res of feeds) res.write(frame(e));
  };
  const frame = (e) => `id: ${e.seq}\nevent: ${e.type}\ndata: ${JSON.stringify(e)}\n\n`;

  const make = (fields = {}) => {
    const n = ++serial;
    const id = `ls_mock${String(n).padStart(4, '0')}`;
    const pid = `pb_mock${String(n).padStart(4, '0')}`;
    const s = {
      id,
      created_at: new Date().toISOString(),
      updated_at: new Date().toISOString(),
      status: 'idle',
      title: '',
      stream_key: `sk_${'k7f39q2mxt4r'.repeat(2)}${n}`,
      latency_mode: 'low',
      reconnect_window: 60,
      record: false,
      ladder: { profile: null, rungs: [], mode: null },
      realtime_viewers: null,
      playback_ids: [{ id: pid, policy: 'public' }],
      ingest: {
        rtmp_url: 'rtmp://live.example.com:1935/live',
        rtmps_url: null,
        srt_url: 'srt://live.example.com:8890?streamid=publish:sk_mock',
        whip_url: `${base}/whip`,
        golive_url: `${base}/golive`,
        backup: {
          rtmp_url: 'rtmp://live.example.com:1935/live',
          rtmps_url: null,
          stream_key: 'sk_mock?backup=1',
          srt_url: 'srt://live.example.com:8890?streamid=backup:sk_mock',
          whip_url: `${base}/whip/backup`,
        },
      },
      srt_passphrase: null,
      source: null,
      multitrack: { enabled: true, max_video_tracks: null, max_bitrate: null },
      simulcast_targets: [],
      playback: {
        hls_url: `${base}/hls/${pid}/index.m3u8`,
        dash_url: `${base}/dash/${pid}/manifest.mpd`,
        whep_url: `${base}/whep/${pid}`,
        thumbnail_url: `${base}/images/${pid}/thumbnail.jpg`,
        watch_url: `${base}/watch/${pid}`,
        rtmp_url: `rtmp://live.example.com:1935/play/${pid}`,
        srt_url: `srt://live.example.com:8890?streamid=play:${pid}`,
      },
      active_ingest: null,
      viewers: 0,
      metadata: {},
      ...fields,
    };
    streams.set(id, s);
    emit('live_stream.created', id);
    return s;
  };

  const golive = (s, over = {}) => {
    s.status = 'active';
    s.viewers = 1284;
    s.active_ingest = {
      protocol: 'rtmp',
      encoder: 'OBS 32.0.2',
      peer: '192.168.1.34:52114',
      since: new Date(Date.now() - 754_000).toISOString(),
      session_id: `se_${log.length}`,
      bitrate: 2_628_000,
      bytes: 248_000_000,
      on_air: 'main',
      backup: { connected: true, ready: true, protocol: 'srt' },
      tracks: [
        {
          id: 1,
          kind: 'video',
          codec: 'H.264',
          codec_string: 'avc1.64001f',
          width: 1280,
          height: 720,
          frame_rate: 30,
          measured_frame_rate: 29.97,
          bitrate: 2_500_000,
          keyframe_interval: 2,
          ...over,
        },
        {
          id: 2,
          kind: 'audio',
          codec: 'AAC',
          codec_string: 'mp4a.40.2',
          sample_rate: 48000,
          channels: 2,
          bitrate: 128_000,
        },
      ],
    };
    emit('live_stream.connected', s.id, { protocol: 'rtmp', encoder: 'OBS 32.0.2' });
    emit('live_stream.active', s.id, { protocol: 'rtmp' });
  };

  const idle = (s, reason = 'the encoder stopped') => {
    s.status = 'idle';
    s.active_ingest = null;
    s.viewers = 0;
    emit('live_stream.idle', s.id, { reason });
  };

  /** Starts the picture: two qualities, one-second segments, all kept if there is a past. Resolves when it can be played. */
  const picture = async ({ past = false } = {}) => {
    encoder = spawn(
      'ffmpeg',
      [
        '-loglevel error -re -f lavfi -i testsrc2=size=640x360:rate=25 -f lavfi -i sine=frequency=440:sample_rate=48000',
        '-filter_complex [0:v]split=2[a][b];[b]scale=320:180[c] -map [a] -map [c] -map 1:a -map 1:a',
        '-c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 25 -sc_threshold 0 -b:v:0 600k -b:v:1 150k -c:a aac -b:a 64k',
        `-f hls -hls_time 1 -hls_list_size ${past ? 0 : 6} -hls_segment_type fmp4 -hls_flags program_date_time+independent_segments${past ? '' : '+delete_segments'}`,
        '-master_pl_name index.m3u8 -hls_fmp4_init_filename init.mp4 -hls_segment_filename',
      ]
        .join(' ')
        .split(' ')
        .concat(
          join(media, '%v/s%d.m4s'),
          '-var_stream_map',
          'v:0,a:0,name:v0 v:1,a:1,name:180p',
          join(media, '%v/p.m3u8'),
        ),
      { stdio: ['ignore', 'inherit', 'inherit'] },
    );
    const lists = ['v0', '180p'].map((v) => join(media, `${v}/p.m3u8`));
    const ready = () =>
      existsSync(join(media, 'index.m3u8')) &&
      lists.every((l) => existsSync(l) && readFileSync(l, 'utf8').split('#EXTINF').length > 3);
    while (!ready()) await new Promise((r) => setTimeout(r, 50));
  };
  const stopPicture = (signal = 'SIGKILL') =>
    new Promise((resolve) => {
      if (!encoder || encoder.exitCode !== null || encoder.signalCode !== null) return resolve();
      encoder.once('exit', resolve);
      encoder.kill(signal);
    });

  const send = (res, status, body, headers = {}) => {
    const text = body === undefined ? '' : JSON.stringify(body);
    res.writeHead(status, {
      'Content-Type': status >= 400 ? 'application/problem+json' : 'application/json',
      ...headers,
    });
    res.end(text);
  };
  const problem = (res, status, code, detail, headers) =>
    send(
      res,
      status,
      { type: 'about:blank', title: code, status, detail, code, request_id: 'req_1' },
      headers,
    );

  const server = createServer(async (req, res) => {
    const url = new URL(req.url, 'http://mock');
    const path = url.pathname;
    if (down) return req.socket.destroy();
    if (recorded.serve(path, res)) return;
    if (path.startsWith('/hls/')) return file(res, media, path.split('/').slice(3).join('/'), 'no-cache');
    if (path.startsWith('/v1/playback/')) {
      const id = path.slice(13);
      const s = [...streams.values()].find((s) => s.playback_ids.some((p) => p.id === id));
      if (!s) return problem(res, 404, 'not_found', 'no such playback id');
      const { status, title, latency_mode, viewers, dvr = null, replay = null } = s;
      asked.push(Object.fromEntries(url.searchParams));
      return send(res, 200, {
        playback_id: id,
        status,
        title,
        latency_mode,
        hls_url: `/hls/${id}/index.m3u8`,
        whep_url: `/whep/${id}`,
        dash_url: `/dash/${id}/manifest.mpd`,
        thumbnail_url: `/images/${id}/thumbnail.jpg`,
        storyboard_url: `/images/${id}/storyboard.vtt`,
        viewers,
        dvr,
        replay,
        realtime_viewers: 100,
        way: { check_after_seconds: 5, ...way },
      });
    }
    if (path.startsWith('/images/')) return thumbnail(res);
    if (path === '/golive')
      return send(res, 200, {
        meta: { service: 'onair', schema_version: '2024-06-04', config_id: '1' },
        encoder_configurations: [{ type: 'obs_x264', width: 1920, height: 1080 }],
      });
    if (path === '/v1/openapi.json') return file(res, here, 'openapi.json', 'no-cache');
    if (path.startsWith('/v1/')) return api(req, res, path);
    if (path === '/') return page(res, 'index.html', 'page');
    if (path === '/docs') return page(res, 'docs.html', 'docs');
    if (/^\/watch\/[\w-]+$/.test(path)) return page(res, 'watch.html', 'watch');
    if (path.startsWith('/assets/') || path === '/favicon.svg')
      return file(res, dist, path, 'public, max-age=31536000');
    return page(res, '404.html', 'page', 404);
  });

  async function api(req, res, path) {
    if (refuse > 0) {
      refuse--;
      return problem(res, 429, 'too_many', 'too many wrong tokens', { 'Retry-After': '30' });
    }
    if (req.headers.authorization !== 'Bearer admin') {
      return problem(res, 401, 'unauthorized', 'the token is missing or wrong');
    }
    let text = '';
    for await (const chunk of req) text += chunk;
    const body = text ? JSON.parse(text) : {};
    if (path === '/v1/session') return send(res, 200, { role: 'owner' });
    if (path === '/v1/server')
      return send(res, 200, {
        version: '0.1.0-mock',
        rtmp_url: 'rtmp://live.example.com:1935/live',
        realtime_viewers: 100,
        transcoding: TRANSCODING,
      });
    if (path === '/v1/events') {
      res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      res.write(': hello\n\n');
      const last = Number(req.headers['last-event-id'] ?? log.length);
      for (const e of log.slice(last)) res.write(frame(e));
      feeds.add(res);
      res.on('close', () => feeds.delete(res));
      return;
    }
    const [, id, verb, sub] = /^\/v1\/live-streams(?:\/([\w-]+))?(?:\/([\w-]+))?(?:\/([\w-]+))?$/.exec(
      path,
    ) ?? [null];
    if (id === null) return problem(res, 404, 'not_found', 'no such address');
    if (!id) {
      if (req.method === 'POST') {
        if (body.title === 'bad') {
          return problem(res, 422, 'invalid', 'The title is not acceptable.');
        }
        return send(res, 201, make(body));
      }
      return send(res, 200, { data: [...streams.values()].reverse(), next_cursor: null });
    }
    const s = streams.get(id);
    if (!s) return problem(res, 404, 'not_found', 'no such live stream');
    if (verb === 'health') return send(res, 200, healths.get(id) ?? NO_DATA);
    if (verb === 'renditions')
      return send(res, 200, { data: s.active_ingest ? renditions() : [], next_cursor: null });
    if (verb === 'simulcast-targets') return target(req, res, s, sub, body);
    if (!verb) {
      if (req.method === 'DELETE') {
        streams.delete(id);
        emit('live_stream.deleted', id);
        return send(res, 204);
      }
      if (req.method === 'PATCH') {
        const { source, multitrack, ladder, ...rest } = body;
        if (ladder?.rungs?.includes('potato')) {
          return problem(
            res,
            422,
            'invalid',
            'potato is no rung. Write rungs such as 720p, 1080p60, 480p@900k or 720p/hevc.',
          );
        }
        if (ladder) s.ladder = { ...s.ladder, ...ladder, rungs: ladder.rungs ?? [] };
        if (source?.url === 'ftp://x') {
          return problem(res, 422, 'invalid', 'The address must begin with one of rtmp, rtmps, srt and ://.');
        }
        Object.assign(s, rest);
        if (multitrack) Object.assign(s.multitrack, multitrack);
        if (source === null) s.source = null;
        else if (source) {
          s.source = {
            enabled: true,
            on_demand: false,
            since: new Date().toISOString(),
            ...s.source,
            ...source,
            attempts: 3,
            last_error: 'dial: connection refused. Check that the other server runs.',
          };
          s.source.status = s.source.enabled ? 'failing' : 'off';
          s.source.url = s.source.url.replace(/:\/\/(\w+):[^@]*@/, '://$1:****@');
        }
        emit('live_stream.updated', id);
      }
      if (s.active_ingest) s.active_ingest.bitrate = 2_400_000 + Math.round(Math.random() * 400_000);
      return send(res, 200, s);
    }
    if (verb === 'disable') s.status = 'disabled';
    if (verb === 'enable') s.status = 'idle';
    if (verb === 'disable' || verb === 'complete') {
      if (verb === 'complete') idle(s, 'completed');
      s.active_ingest = null;
    }
    if (verb === 'reset-stream-key') s.stream_key = `sk_fresh${Date.now()}`;
    emit(`live_stream.${{ 'reset-stream-key': 'key_reset' }[verb] ?? `${verb}d`}`, id);
    return send(res, 200, s);
  }

  function target(req, res, s, sub, body) {
    const all = s.simulcast_targets;
    if (req.method === 'POST') {
      const t = {
        id: `st_mock${all.length}`,
        passthrough: '',
        ...body,
        stream_key: '****9xk2',
        enabled: true,
        status: all.length === 0 ? 'broadcasting' : 'errored',
        since: new Date(Date.now() - 61_000).toISOString(),
        last_error: all.length === 0 ? '' : 'publish: the other service refused the stream key',
        attempts: all.length === 0 ? 0 : 4,
        bytes: 12_000_000,
        dropped: 0,
      };
      all.push(t);
      emit('live_stream.simulcast_target.created', s.id);
      return send(res, 201, t);
    }
    const at = all.findIndex((t) => t.id === sub);
    if (req.method === 'DELETE') {
      all.splice(at, 1);
      return send(res, 204);
    }
    if (req.method === 'PATCH') all[at].enabled = body.enabled;
    return send(res, 200, all[at]);
  }

  /** The picture as it is now: a frame of a pattern that moves. */
  function thumbnail(res) {
    const chunks = [];
    const child = spawn(
      'ffmpeg',
      `-loglevel error -ss ${(Date.now() / 1000) % 60} -f lavfi -i testsrc2=size=640x360:rate=25 -frames:v 1 -f image2 -c:v mjpeg -`.split(
        ' ',
      ),
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    child.stdout.on('data', (c) => chunks.push(c));
    child.on('close', () => {
      res.writeHead(200, { 'Content-Type': 'image/jpeg', 'Cache-Control': 'max-age=5' });
      res.end(Buffer.concat(chunks));
    });
  }

  function page(res, name, kind, status = 200) {
    res.writeHead(status, {
      'Content-Type': TYPES['.html'],
      'Content-Security-Policy': policy(kind),
      'Cache-Control': 'no-cache',
    });
    res.end(readFileSync(join(dist, name)));
  }

  function file(res, root, path, cache) {
    const full = join(root, normalize(`/${path}`));
    try {
      const data = readFileSync(full);
      res.writeHead(200, {
        'Content-Type': TYPES[extname(full)] ?? 'application/json',
        'Cache-Control': cache,
      });
      res.end(data);
    } catch {
      problem(res, 404, 'not_found', 'no such file');
    }
  }

  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${server.address().port}`;
  return {
    base,
    streams,
    make,
    golive,
    idle,
    emit,
    picture,
    stopPicture,
    recorded,
    /** Says how a stream is; see health.mjs. */
    health: (s, report) => {
      healths.set(s.id, report);
      emit('live_stream.health', s.id, { status: report.status });
    },
    /** The way that players are told to go from now on. */
    steer: (to) => {
      way = to;
    },
    /** What players said when they asked. */
    asked,
    /** The next n calls of the API are answered with 429. */
    refuse: (n) => {
      refuse = n;
    },
    /** While true, connections are cut. */
    down: (yes) => {
      down = yes;
      if (yes) for (const res of feeds) res.destroy();
    },
    close: async () => {
      await stopPicture();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(media, { recursive: true, force: true });
    },
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const mock = await start(Number(process.argv[2] ?? 8081));
  await mock.picture();
  const s = mock.make({ title: 'Friday town hall' });
  mock.golive(s);
  mock.health(s, report('degraded'));
  mock.make({ title: 'Keynote rehearsal', latency_mode: 'ultra' });
  console.log(`console: ${mock.base}/ (token: admin)   watch: ${mock.base}/watch/pb_mock0001`);
  process.on('SIGINT', () => void mock.close().then(() => process.exit(0)));
}
