import { useEffect, useState } from 'preact/hooks';
import { bitrate, clock, decibels, fps, known, millis, percent, seconds, since } from '../lib/format';
import type { Finding, Health, HealthPoint, HealthSource, LiveStream } from '../lib/types';
import { useNow } from './hooks';
import { activity, api } from './store';
import { Icon } from './ui';

/** How often (ms) the report is read while somebody publishes. Events make it be read at once. */
const POLL = 2000;
/** Findings that are shown before somebody asks for the rest. */
const SHOWN = 3;

const LIGHT: Record<Health['status'], string> = {
  good: 'Good',
  degraded: 'Degraded',
  bad: 'Bad',
  no_data: 'No data',
};

const TOOLS = [
  ['obs', 'OBS'],
  ['ffmpeg', 'ffmpeg'],
  ['browser', 'Browser'],
] as const;

/** The report of a stream, read anew with each event about it and every moment while it is on. */
export function useHealth(stream: LiveStream): Health | null {
  const [health, setHealth] = useState<Health | null>(null);
  const newest = activity.value.find((e) => e.live_stream_id === stream.id)?.seq ?? 0;
  const on = stream.status === 'active' || stream.status === 'reconnecting';
  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const read = async () => {
      if (!document.hidden) {
        try {
          const h = await api.value?.health(stream.id, stop.signal);
          if (h && !stop.signal.aborted) setHealth(h);
        } catch {
          // The stream itself is read as often, and says so when the server is away.
        }
      }
      if (on && !stop.signal.aborted) timer = setTimeout(read, POLL);
    };
    void read();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [stream.id, newest, on]);
  return health;
}

/** Traffic light, one sentence, what is wrong and how to mend it, and the numbers. */
export function HealthCard({ health }: { health: Health | null }) {
  const [all, setAll] = useState(false);
  const now = useNow(1000);
  if (!health?.measured_at) return null;
  const found = health.findings ?? [];
  const shown = all ? found : found.slice(0, SHOWN);
  const sources = health.sources ?? [];
  return (
    <section class={health.stale ? 'card health stale' : 'card health'} aria-label="Stream health">
      <div class="card-head">
        <h2>Health</h2>
        {health.stale ? (
          <p class="muted">last readings, {clock(since(health.measured_at, now))} ago</p>
        ) : (
          health.score !== null && <p class="muted">{health.score} of 100</p>
        )}
      </div>
      <p class={`light light-${health.status}`} role="status">
        <b>{LIGHT[health.status] ?? health.status}</b>
        <span>{health.summary}</span>
      </p>
      {shown.map((f) => (
        <FindingLine key={`${f.source}/${f.code}`} finding={f} both={sources.length > 1} now={now} />
      ))}
      {found.length > SHOWN && (
        <button type="button" class="link" aria-expanded={all} onClick={() => setAll(!all)}>
          {all ? 'Show fewer' : `Show ${found.length - SHOWN} more`}
        </button>
      )}
      {sources.map((s) => (
        <Readings key={s.session_id || String(s.backup)} source={s} both={sources.length > 1} />
      ))}
    </section>
  );
}

function FindingLine({ finding: f, both, now }: { finding: Finding; both: boolean; now: number }) {
  const severity = { critical: 'bad', warning: 'warn', info: 'note' }[f.severity] ?? 'note';
  const numbers = Object.entries(f.evidence ?? {});
  const fixes = TOOLS.filter(([k]) => f.fix?.[k]);
  return (
    <div class={`finding ${severity}`}>
      <Icon name={severity === 'note' ? 'info' : 'warn'} />
      <div>
        <p>
          <span class="offscreen">
            {{ critical: 'Critical: ', warning: 'Warning: ', info: 'Note: ' }[f.severity]}
          </span>
          <b>{f.title}</b>
          {both && <span class="muted"> ({f.source})</span>}
        </p>
        <p class="muted numbers">
          {[
            ...numbers.map(([k, v]) => `${k.replaceAll('_', ' ')} ${number(v)}`),
            `for ${clock(since(f.since, now))}`,
            f.count > 1 ? `${f.count} times` : '',
          ]
            .filter(Boolean)
            .join(' · ')}
        </p>
        {fixes.length > 0 && (
          <details>
            <summary>What to do</summary>
            <dl class="fixes">
              {fixes.map(([k, name]) => (
                <div key={k}>
                  <dt>{name}</dt>
                  <dd>{f.fix[k]}</dd>
                </div>
              ))}
            </dl>
          </details>
        )}
      </div>
    </div>
  );
}

function number(v: unknown): string {
  if (v === null || v === undefined) return 'unknown';
  if (typeof v === 'number') return String(Number(v.toPrecision(4)));
  return Array.isArray(v) ? v.map(number).join(', ') : String(v);
}

/** What was measured of one publisher: its tracks as a table, and the way from it. */
function Readings({ source: s, both }: { source: HealthSource; both: boolean }) {
  const tracks = s.tracks ?? [];
  const repaired = Object.values(s.repaired ?? {}).reduce((a, b) => a + b, 0);
  const name = s.backup ? 'Backup' : 'Main';
  return (
    <details class="readings" open={!both || !s.backup}>
      <summary>{both ? `Numbers: ${name.toLowerCase()}` : 'Numbers'}</summary>
      {tracks.length > 0 && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
        <section class="scroll" tabIndex={0} aria-label={`Tracks, ${name.toLowerCase()}`}>
          <table>
            <thead>
              <tr>
                <th scope="col">Track</th>
                <th scope="col">Bitrate</th>
                <th scope="col">Rate</th>
                <th scope="col">Key frames</th>
                <th scope="col">Level</th>
              </tr>
            </thead>
            <tbody>
              {tracks.map((t) => (
                <tr key={t.id}>
                  <th scope="row">
                    {t.codec}
                    <span class="muted">
                      {' '}
                      {t.kind === 'video'
                        ? known(t.height, (h) => `${h}p`)
                        : known(t.sample_rate, (r) => `${r / 1000} kHz`)}
                      {t.rendition ? ` ${t.rendition}` : ''}
                    </span>
                  </th>
                  <td>{known(t.bitrate, (b) => (b > 0 ? bitrate(b) : '0 kb/s'))}</td>
                  <td>{t.kind === 'video' ? known(t.frame_rate, (r) => `${fps(r)} fps`) : ''}</td>
                  <td>
                    {t.kind === 'video' ? known(t.keyframe_interval, (k) => `every ${seconds(k)}`) : ''}
                  </td>
                  <td>{t.kind === 'audio' ? known(t.audio_level_dbfs, decibels) : ''}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
      <dl class="facts small">
        <Fact name="Round trip" value={known(s.link?.rtt_seconds, millis)} />
        <Fact name="Loss" value={known(s.link?.loss, percent)} />
        <Fact name="Sent again" value={known(s.link?.retransmission, percent)} />
        <Fact name="Jitter" value={known(s.link?.jitter_seconds, millis)} />
        <Fact name="Sound ahead by" value={known(s.av_offset_seconds, millis)} />
        <Fact name="Against the clock" value={known(s.clock_drift_seconds, (d) => `${d.toFixed(2)} s`)} />
        <Fact name="Time stamps repaired" value={known(s.repaired, () => String(repaired))} />
      </dl>
    </details>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd class={value === 'unknown' ? 'unknown' : ''}>{value}</dd>
    </div>
  );
}

/** The bitrate of the last minutes; the times without a publisher are shaded. */
export function History({ points }: { points: HealthPoint[] }) {
  const known = points.map((p) => p.bitrate).filter((b) => b !== null);
  const max = Math.max(...known, 1) * 1.15;
  const step = 240 / Math.max(points.length - 1, 1);
  const y = (v: number) => (55 - (v / max) * 52).toFixed(1);
  let path = '';
  let down = false;
  points.forEach((p, i) => {
    if (p.bitrate !== null) path += `${down ? 'L' : 'M'}${(i * step).toFixed(1)} ${y(p.bitrate)}`;
    down = p.bitrate !== null;
  });
  const away = points.filter((p) => p.offline).length;
  const words =
    known.length > 1
      ? `Bitrate between ${bitrate(Math.min(...known))} and ${bitrate(Math.max(...known))}${away > 0 ? ', with interruptions' : ''}`
      : 'Bitrate over time, no readings yet';
  return (
    <svg class="spark" viewBox="0 0 240 56" preserveAspectRatio="none" role="img" aria-label={words}>
      {points.map((p, i) =>
        p.offline ? (
          <rect key={p.at} x={i * step - step / 2} width={step} y="0" height="56" class="spark-gap" />
        ) : null,
      )}
      <path d={path} class="spark-line" />
    </svg>
  );
}
