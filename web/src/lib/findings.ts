import { fps, seconds } from './format';
import type { ActiveIngest } from './types';

/** Something about an incoming stream that its viewers will feel. */
export interface Finding {
  code: string;
  severity: 'bad' | 'warn' | 'note';
  title: string;
  fix: string;
}

/** Seconds that a new publisher gets before missing tracks are spoken of. */
const SETTLE = 4;

/** What is worth saying about what is being received, worst first. */
export function findings(ingest: ActiveIngest, now = Date.now()): Finding[] {
  const out: Finding[] = [];
  const tracks = ingest.tracks ?? [];
  const video = tracks.find((t) => t.kind === 'video');
  const audio = tracks.find((t) => t.kind === 'audio');
  const settled = now - Date.parse(ingest.since) > SETTLE * 1000;
  if (settled && tracks.length === 0) {
    return [
      {
        code: 'no_media',
        severity: 'bad',
        title: 'Connected, but no picture or sound has arrived yet',
        fix: 'Check that the encoder has started and has a source.',
      },
    ];
  }
  if (settled && !video) {
    out.push({
      code: 'video_missing',
      severity: 'warn',
      title: 'No video: viewers hear sound only',
      fix: 'If that is not intended, add a video source in the encoder and start again.',
    });
  }
  if (settled && !audio) {
    out.push({
      code: 'audio_missing',
      severity: 'warn',
      title: 'No audio: viewers hear nothing',
      fix: 'In OBS check Settings → Audio, and the mixer for a muted or missing source.',
    });
  }
  if (video) {
    const gop = video.keyframe_interval ?? 0;
    const declared = video.frame_rate ?? 0;
    const measured = video.measured_frame_rate ?? 0;
    if (gop > 4) {
      out.push({
        code: 'keyframe_interval_long',
        severity: 'warn',
        title: `A key frame only every ${seconds(gop)}: viewers wait longer to start, and delay grows`,
        fix: 'Set the key-frame interval to 2 s (OBS: Settings → Output → Keyframe Interval; ffmpeg: -g with twice the frame rate).',
      });
    }
    if (settled && declared > 0 && measured > 0 && measured < declared * 0.9) {
      out.push({
        code: 'fps_low',
        severity: 'warn',
        title: `Only ${fps(measured)} of ${fps(declared)} frames a second arrive`,
        fix: 'The encoder or the connection cannot keep up: lower the resolution, the frame rate or the bitrate.',
      });
    } else if (settled && measured > 0 && (declared === 0 || measured > declared * 1.1)) {
      out.push({
        code: 'fps_variable',
        severity: 'note',
        title: `Variable frame rate, about ${fps(measured)} a second now`,
        fix: 'It plays. For the smoothest picture set a fixed frame rate in the encoder.',
      });
    }
    if (settled && video.bitrate === 0) {
      out.push({
        code: 'ingest_starved',
        severity: 'bad',
        title: 'No video data is arriving',
        fix: 'The encoder is connected but sends nothing: check its network and its dropped frames.',
      });
    }
    if (/hevc|h\.?265|hvc/i.test(video.codec)) {
      out.push({
        code: 'hevc_no_browser',
        severity: 'note',
        title: 'HEVC does not play in every browser',
        fix: 'Safari and most computers with hardware decoding play it. H.264 plays everywhere.',
      });
    }
  }
  const order = { bad: 0, warn: 1, note: 2 };
  return out.sort((a, b) => order[a.severity] - order[b.severity]);
}
