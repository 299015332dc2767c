import { useEffect, useRef, useState } from 'preact/hooks';
import { bitrate, bytes, channels, clock, fps, NONE, seconds, since } from '../lib/format';
import type { ActiveIngest, Health, LiveStream, Track } from '../lib/types';
import { History } from './health';
import { useNow } from './hooks';
import { activity } from './store';
import { Icon } from './ui';

/** Points of the bitrate line; one is taken with each reading. */
const POINTS = 60;

/** What is being received. */
export function Ingest({ stream, health }: { stream: LiveStream; health: Health | null }) {
  const ingest = stream.active_ingest;
  if (!ingest) return <Waiting stream={stream} />;
  return <Receiving stream={stream} ingest={ingest} health={health} />;
}

function Waiting({ stream }: { stream: LiveStream }) {
  const refused = activity.value.find(
    (e) =>
      e.type === 'ingest.refused' &&
      (!e.live_stream_id || e.live_stream_id === stream.id) &&
      Date.now() - Date.parse(e.at) < 120_000,
  );
  return (
    <section class="card">
      <h2>{stream.status === 'disabled' ? 'Switched off' : 'Waiting for your encoder'}</h2>
      {stream.status === 'disabled' ? (
        <p class="muted">Encoders are refused. Enable the stream to use it again.</p>
      ) : (
        <p class="muted waiting">
          <span class="pulse" aria-hidden="true" />
          Start it with the server and the key of this stream. What arrives is shown here at once.
        </p>
      )}
      {refused && (
        <p class="finding warn">
          <Icon name="warn" />
          <span>
            <b>An encoder was refused a moment ago.</b> {String(refused.data?.reason ?? '')}
            {refused.data?.peer ? ` (from ${String(refused.data.peer)})` : ''}
          </span>
        </p>
      )}
    </section>
  );
}

function Receiving(p: { stream: LiveStream; ingest: ActiveIngest; health: Health | null }) {
  const { stream, ingest } = p;
  const history = p.health?.history ?? [];
  const now = useNow(1000);
  const tracks = [...(ingest.tracks ?? [])].sort(
    (a, b) => Number(b.kind === 'video') - Number(a.kind === 'video'),
  );
  const total = ingest.bitrate ?? tracks.reduce((sum, t) => sum + (t.bitrate ?? 0), 0);
  const line = useHistory(total, ingest.session_id ?? ingest.since, stream.active_ingest);
  return (
    <section class="card">
      <div class="card-head">
        <h2>Receiving</h2>
        <p class="muted">
          {[ingest.protocol?.toUpperCase(), ingest.encoder, ingest.on_air === 'backup' ? 'backup' : '']
            .filter(Boolean)
            .join(' · ')}
        </p>
      </div>
      {stream.status === 'reconnecting' && (
        <p class="finding warn">
          <Icon name="warn" />
          <span>
            <b>The encoder is away.</b> The stream waits for it; these are its last numbers.
          </span>
        </p>
      )}
      {ingest.on_air === 'backup' && (
        <p class="finding warn">
          <Icon name="warn" />
          <span>
            <b>The backup encoder is on air.</b> The main one is away or sends too little.
          </span>
        </p>
      )}
      {ingest.on_air === 'main' && ingest.backup?.connected && (
        <p class="finding note">
          <Icon name="info" />
          <span>
            <b>{ingest.backup.ready ? 'A backup stands by.' : 'A backup is connected.'}</b>{' '}
            {ingest.backup.ready
              ? 'It takes over at its next key frame if this encoder stops.'
              : 'It cannot take over yet.'}
          </span>
        </p>
      )}
      <div class="rate">
        <div>
          <p class="rate-value">{bitrate(total)}</p>
          <p class="muted">bitrate now</p>
        </div>
        {history.length > 1 ? <History points={history} /> : <Sparkline points={line} />}
      </div>
      {tracks.map((t) =>
        t.kind === 'video' ? <Video key={t.id} track={t} /> : <Audio key={t.id} track={t} />,
      )}
      <dl class="facts last">
        <Fact name="Connected for" value={clock(since(ingest.since, now))} />
        <Fact name="Received" value={bytes(ingest.bytes)} />
        <Fact name="From" value={ingest.peer || NONE} />
      </dl>
    </section>
  );
}

function Video({ track: t }: { track: Track }) {
  const declared = t.frame_rate ?? 0;
  const measured = t.measured_frame_rate ?? 0;
  return (
    <div class="track">
      <h3>{t.rendition ? `Video ${t.rendition}` : 'Video'}</h3>
      <dl class="facts">
        <Fact name="Codec" value={t.codec} note={t.codec_string} />
        <Fact name="Size" value={t.width && t.height ? `${t.width} × ${t.height}` : NONE} />
        <Fact
          name="Frame rate"
          value={measured ? `${fps(measured)} fps` : declared ? `${fps(declared)} fps` : NONE}
          note={rateNote(declared, measured)}
        />
        <Fact name="Bitrate" value={bitrate(t.bitrate)} />
        <Fact name="Key frame every" value={seconds(t.keyframe_interval)} />
      </dl>
    </div>
  );
}

/** What to say beside the measured rate: the declared one where it differs. */
function rateNote(declared: number, measured: number): string | undefined {
  if (!measured) return undefined;
  if (!declared) return 'none declared';
  return Math.abs(declared - measured) > declared * 0.005 ? `declared ${fps(declared)}` : undefined;
}

function Audio({ track: t }: { track: Track }) {
  return (
    <div class="track">
      <h3>{t.kind === 'audio' ? 'Audio' : t.kind}</h3>
      <dl class="facts">
        <Fact name="Codec" value={t.codec} note={t.codec_string} />
        <Fact name="Sample rate" value={t.sample_rate ? `${t.sample_rate / 1000} kHz` : NONE} />
        <Fact name="Channels" value={channels(t.channels)} />
        <Fact name="Bitrate" value={bitrate(t.bitrate)} />
      </dl>
    </div>
  );
}

function Fact({ name, value, note }: { name: string; value: string; note?: string | undefined }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        {value}
        {note && <span class="muted"> {note}</span>}
      </dd>
    </div>
  );
}

/** The last values of a number; begins anew with a new session. `tick` is what changes with each reading. */
function useHistory(value: number, session: string, tick: unknown): number[] {
  const [points, setPoints] = useState<number[]>([]);
  const last = useRef(session);
  useEffect(() => {
    setPoints((p) => {
      const base = last.current === session ? p : [];
      last.current = session;
      return [...base, value].slice(-POINTS);
    });
  }, [tick, session]);
  return points;
}

function Sparkline({ points }: { points: number[] }) {
  const max = Math.max(...points, 1) * 1.15;
  const x = (i: number) => ((i + POINTS - points.length) / (POINTS - 1)) * 240;
  const y = (v: number) => 55 - (v / max) * 52;
  const path = points.map((v, i) => `${i === 0 ? 'M' : 'L'}${x(i).toFixed(1)} ${y(v).toFixed(1)}`).join('');
  const words =
    points.length > 1
      ? `Bitrate between ${bitrate(Math.min(...points))} and ${bitrate(Math.max(...points))} in the last ${points.length * 2} seconds`
      : 'Bitrate over time';
  return (
    <svg class="spark" viewBox="0 0 240 56" preserveAspectRatio="none" role="img" aria-label={words}>
      {points.length > 1 && (
        <>
          <path
            d={`${path}L${x(points.length - 1).toFixed(1)} 56L${x(0).toFixed(1)} 56Z`}
            class="spark-fill"
          />
          <path d={path} class="spark-line" />
        </>
      )}
    </svg>
  );
}
