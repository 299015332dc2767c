// Recordings of the mock server: half a minute of a picture with a running number, made by
// ffmpeg when the first one is asked for, and a storyboard of it.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join, normalize } from 'node:path';

const SECONDS = 30;
const EACH = 2;
const TYPES = {
  m3u8: 'application/vnd.apple.mpegurl',
  vtt: 'text/vtt',
  jpg: 'image/jpeg',
  m4s: 'video/mp4',
  mp4: 'video/mp4',
};

export function recordings(folder) {
  const root = join(folder, 'recording');
  const all = new Map();
  let made = false;
  const ffmpeg = (line) => execFileSync('ffmpeg', `-loglevel error -y ${line}`.split(' '), { cwd: root });

  const produce = () => {
    if (made) return;
    made = true;
    mkdirSync(root, { recursive: true });
    ffmpeg(
      `-f lavfi -i testsrc2=size=640x360:rate=25:duration=${SECONDS} -f lavfi -i sine=frequency=440:sample_rate=48000:duration=${SECONDS} ` +
        `-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g ${25 * EACH} -sc_threshold 0 -c:a aac -b:a 64k ` +
        `-f hls -hls_time ${EACH} -hls_playlist_type vod -hls_segment_type fmp4 -hls_flags program_date_time+independent_segments -master_pl_name index.m3u8 p.m3u8`,
    );
    ffmpeg(
      `-f lavfi -i testsrc2=size=160x90:rate=1/${EACH}:duration=${SECONDS} -vf tile=10x2 -frames:v 1 -update 1 storyboard-1-1-15.jpg`,
    );
    ffmpeg('-f lavfi -i testsrc2=size=640x360:rate=25 -ss 3 -frames:v 1 -update 1 poster.jpg');
  };
  const stamp = (s) => `00:00:${String(s).padStart(2, '0')}.000`;
  const index = () =>
    `WEBVTT\n${Array.from({ length: SECONDS / EACH }, (_, i) => {
      const area = `${(i % 10) * 160},${Math.floor(i / 10) * 90},160,90`;
      return `\n${stamp(i * EACH)} --> ${stamp((i + 1) * EACH)}\nstoryboard-1-1-15.jpg#xywh=${area}\n`;
    }).join('')}`;

  return {
    make(fields = {}) {
      produce();
      const id = `pb_recorded${all.size + 1}`;
      const answer = {
        playback_id: id,
        type: 'asset',
        status: 'ready',
        title: '',
        latency_mode: null,
        duration: SECONDS,
        created_at: '2026-03-01T19:00:00Z',
        hls_url: `/hls/${id}/index.m3u8`,
        whep_url: null,
        dash_url: null,
        thumbnail_url: `/images/${id}/thumbnail.jpg`,
        poster_url: `/images/${id}/poster.jpg`,
        storyboard_url: `/images/${id}/storyboard.vtt`,
        download_url: null,
        dvr: null,
        replay: null,
        viewers: 0,
        realtime_viewers: 0,
        way: { protocol: 'hls', code: 'asset', reason: 'It is a recording.', check_after_seconds: null },
        ...fields,
      };
      all.set(id, answer);
      return answer;
    },
    remove: (id) => all.delete(id),
    /** Answers requests for recordings; false for others. */
    serve(path, res) {
      const [, kind, id, name = ''] =
        /^\/(hls|images|v1\/playback)\/(pb_recorded\d+)(?:\/(.*))?$/.exec(path) ?? [];
      const answer = all.get(id);
      if (!answer) return false;
      let body = JSON.stringify(answer);
      let type = 'application/json';
      if (kind !== 'v1/playback') {
        type = TYPES[name.split('.').pop()];
        try {
          body = name === 'storyboard.vtt' ? index() : readFileSync(join(root, normalize(`/${name}`)));
        } catch {
          res.writeHead(404).end();
          return true;
        }
      }
      res.writeHead(200, { 'Content-Type': type, 'Cache-Control': 'no-cache' });
      res.end(body);
      return true;
    },
  };
}
