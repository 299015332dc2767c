import { useEffect, useRef, useState } from 'preact/hooks';
import type { StreamChange } from '../lib/api';
import { bitrate, channels, fps, NONE, renditionName } from '../lib/format';
import type { LadderMode, LiveStream, Rendition, Transcoding } from '../lib/types';
import { activity, api, put, say, server } from './store';
import { Dialog, Form, Icon } from './ui';

/** How often (ms) the renditions of an open stream are read. */
const POLL = 2500;

const STATES: Record<string, string> = {
  idle: 'Nobody watches it',
  starting: 'Starting',
  running: 'Running',
  failed: 'Failed',
  refused: 'No room',
  shed: 'Given up',
};

const MODES: { value: LadderMode; name: string; words: string }[] = [
  {
    value: 'just-in-time',
    name: 'While somebody watches it',
    words: 'A quality is encoded from its first viewer until 30 s after its last.',
  },
  {
    value: 'always',
    name: 'Always',
    words: 'All of them while the stream is live: no wait for the first viewer.',
  },
  { value: 'off', name: 'Never', words: 'Viewers get what the encoder sends, and nothing else.' },
];

/** A rendition with the share of a processor core that it takes now. */
interface Row extends Rendition {
  cores: number | null;
}

function useRenditions(stream: LiveStream): Row[] | null {
  const [rows, setRows] = useState<Row[] | null>(null);
  const before = useRef(new Map<string, { cpu: number; at: number }>());
  const newest =
    activity.value.find((e) => e.live_stream_id === stream.id && e.type === 'live_stream.rendition')?.seq ??
    0;
  const on = stream.status === 'active' || stream.status === 'reconnecting';
  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const read = async () => {
      if (!document.hidden) {
        try {
          const list = await api.value?.renditions(stream.id, stop.signal);
          if (list && !stop.signal.aborted) setRows(withCores(list.data, before.current, Date.now()));
        } catch {
          // The stream itself is read as often, and says so when the server is away.
        }
      }
      if (!stop.signal.aborted) timer = setTimeout(read, POLL);
    };
    if (on) void read();
    else setRows(null);
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [stream.id, newest, on]);
  return rows;
}

/** Adds to each rendition what its processor time grew by since the reading before. */
export function withCores(
  list: Rendition[],
  before: Map<string, { cpu: number; at: number }>,
  now: number,
): Row[] {
  return list.map((r) => {
    const key = `${r.name}/${r.kind}/${r.since ?? ''}`;
    const last = before.get(key);
    if (r.cpu_seconds === null) return { ...r, cores: null };
    if (!last || now > last.at) before.set(key, { cpu: r.cpu_seconds, at: now });
    const grown = last && now > last.at ? ((r.cpu_seconds - last.cpu) * 1000) / (now - last.at) : null;
    return { ...r, cores: grown === null || grown < 0 ? null : grown };
  });
}

/** The qualities that viewers can have, with what each costs; and their settings. */
export function LadderCard({ stream }: { stream: LiveStream }) {
  const [editing, setEditing] = useState(false);
  const rows = useRenditions(stream);
  // A server from before this has no ladder to show or set.
  if (!stream.ladder) return null;
  return (
    <section class="card" aria-labelledby="ladder-title">
      <div class="card-head">
        <h2 id="ladder-title">Qualities</h2>
        <button type="button" class="text-button" onClick={() => setEditing(true)}>
          Settings
        </button>
      </div>
      <Summary stream={stream} />
      {rows !== null && rows.length > 0 && (
        <ul class="renditions">
          {[...rows.filter((r) => r.kind === 'video'), ...rows.filter((r) => r.kind !== 'video')].map((r) => (
            <Line key={`${r.name}/${r.kind}`} r={r} />
          ))}
        </ul>
      )}
      {editing && <Settings stream={stream} onClose={() => setEditing(false)} />}
    </section>
  );
}

function Summary({ stream }: { stream: LiveStream }) {
  const t = server.value.transcoding;
  const mode = stream.ladder?.mode ?? t?.mode ?? 'off';
  if (!t || (!t.available && mode !== 'off')) {
    return (
      <p class="finding warn">
        <Icon name="warn" />
        <span>
          <b>Viewers get only what the encoder sends.</b>{' '}
          {t?.reason || 'This server does not make other qualities.'}
        </span>
      </p>
    );
  }
  const words: Record<LadderMode, string> = {
    'just-in-time': 'Each quality is encoded while somebody watches it.',
    always: 'All qualities are encoded while the stream is live.',
    off: 'Viewers get what the encoder sends; nothing is encoded.',
  };
  return <p class="muted">{words[mode]}</p>;
}

function Line({ r }: { r: Row }) {
  const sent = r.made_by === 'publisher';
  const facts = [
    r.codec,
    r.width && r.height ? `${r.width}×${r.height}` : '',
    r.frame_rate ? `${fps(r.frame_rate)} fps` : '',
    r.kind === 'audio' && r.channels ? channels(r.channels) : '',
    bitrate(r.bitrate),
  ].filter((f) => f !== '' && f !== NONE);
  const work = [
    r.encoder ?? '',
    r.cores !== null && r.state === 'running' ? `${r.cores.toFixed(2)} cores` : '',
    r.lag_seconds !== null && r.lag_seconds > 1 ? `${r.lag_seconds.toFixed(1)} s behind` : '',
    r.restarts ? `restarted ${r.restarts === 1 ? 'once' : `${r.restarts} times`}` : '',
  ].filter(Boolean);
  return (
    <li>
      <div class="rendition">
        <b>{nameOf(r)}</b>
        <span class={`chip chip-${sent ? 'sent' : r.state}`}>
          {sent ? 'From the encoder' : (STATES[r.state] ?? r.state)}
        </span>
      </div>
      <p class="muted">{facts.join(' · ')}</p>
      {work.length > 0 && <p class="muted">{work.join(' · ')}</p>}
      {r.reason && r.state !== 'idle' && r.state !== 'running' && <p class="row-error">{r.reason}</p>}
    </li>
  );
}

/** What people call a rendition. */
export function nameOf(r: Rendition): string {
  if (r.made_by === 'publisher' && r.name === 'source') return r.kind === 'audio' ? 'Source audio' : 'Source';
  return renditionName(r.name);
}

/** Rungs in a text, one or several in a line. */
export function rungsIn(text: string): string[] {
  return text.split(/[\s,;]+/).filter(Boolean);
}

const OWN = '\n';

function Settings({ stream, onClose }: { stream: LiveStream; onClose: () => void }) {
  const own = stream.ladder?.rungs ?? [];
  const [transcoding, setTranscoding] = useState<Transcoding | null>(server.value.transcoding ?? null);
  const [mode, setMode] = useState<LadderMode | ''>(stream.ladder?.mode ?? '');
  const [profile, setProfile] = useState(own.length > 0 ? OWN : (stream.ladder?.profile ?? ''));
  const [rungs, setRungs] = useState(own.join('\n'));
  const [limit, setLimit] = useState(stream.realtime_viewers?.toString() ?? '');
  useEffect(() => {
    void api.value?.server().then(
      (s) => {
        server.value = s;
        setTranscoding(s.transcoding ?? null);
      },
      () => {},
    );
  }, []);
  const ladders = transcoding?.ladders ?? [];
  const known = profile === '' || profile === OWN || ladders.some((l) => l.name === profile);
  const shown = ladders.find((l) => l.name === (profile || ladders[0]?.name));
  const byDefault = MODES.find((m) => m.value === transcoding?.mode);
  const rtc = server.value.realtime_viewers ?? 0;
  return (
    <Dialog title="Qualities" onClose={onClose}>
      <Form
        action="Save"
        onCancel={onClose}
        run={async () => {
          const change: StreamChange = {
            ladder:
              profile === OWN
                ? { rungs: rungsIn(rungs), mode: mode || null }
                : { profile: profile || null, rungs: null, mode: mode || null },
            realtime_viewers: limit.trim() === '' ? null : Number(limit),
          };
          const fresh = await api.value?.update(stream.id, change);
          if (fresh) put(fresh);
          say('Saved.');
          onClose();
        }}
      >
        <div class="field">
          <label for="l-mode">Other qualities are encoded</label>
          <select
            id="l-mode"
            class="input"
            value={mode}
            onChange={(e) => setMode(e.currentTarget.value as LadderMode | '')}
          >
            <option value="">
              As the server is set{byDefault ? `: ${byDefault.name.toLowerCase()}` : ''}
            </option>
            {MODES.map((m) => (
              <option key={m.value} value={m.value}>
                {m.name}
              </option>
            ))}
          </select>
          <p class="help">{(MODES.find((m) => m.value === mode) ?? byDefault)?.words}</p>
        </div>
        <div class="field">
          <label for="l-profile">Which</label>
          <select
            id="l-profile"
            class="input"
            value={profile}
            onChange={(e) => setProfile(e.currentTarget.value)}
          >
            <option value="">The server’s default</option>
            {!known && <option value={profile}>{profile}</option>}
            {ladders.map((l) => (
              <option key={l.name} value={l.name}>
                {l.name}
              </option>
            ))}
            <option value={OWN}>My own list</option>
          </select>
          {profile !== OWN && shown && (
            <p class="help">{shown.rungs.join(' · ')}. Never larger than what the encoder sends.</p>
          )}
        </div>
        {profile === OWN && (
          <div class="field">
            <label for="l-rungs">Qualities, the best first</label>
            <textarea
              id="l-rungs"
              class="input mono"
              rows={4}
              required
              autocomplete="off"
              spellcheck={false}
              placeholder={'720p\n480p@900k'}
              value={rungs}
              onInput={(e) => setRungs(e.currentTarget.value)}
            />
            <p class="help">
              Such as <code>720p</code>, <code>1080p60</code>, <code>480p@900k</code> with a bit rate,{' '}
              <code>720p/hevc</code> with a codec, or <code>audio</code>.
            </p>
          </div>
        )}
        <div class="field">
          <label for="l-limit">Viewers in real time (WebRTC)</label>
          <input
            id="l-limit"
            class="input"
            type="number"
            min="0"
            max="100000"
            step="1"
            placeholder={rtc > 0 ? `The server’s limit: ${rtc}` : 'The server’s limit'}
            value={limit}
            onInput={(e) => setLimit(e.currentTarget.value)}
          />
          <p class="help">Everybody beyond them plays over HLS, 2 to 3 s later. 0: all do.</p>
        </div>
        {transcoding && <Machine t={transcoding} />}
      </Form>
    </Dialog>
  );
}

/** What the server has to encode with. */
function Machine({ t }: { t: Transcoding }) {
  if (!t.available) return <p class="help">{t.reason}</p>;
  const list = t.encoders.map((e) => `${e.name}${e.hardware ? ' (hardware)' : ''}`).join(', ');
  return (
    <p class="help">
      This server has {list || 'no encoders'}; encoders take {t.cores_used.toFixed(1)} of{' '}
      {t.cores_budget.toFixed(1)} cores.
    </p>
  );
}
