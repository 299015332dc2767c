import { renditionName } from '../lib/format';
import type { FeedEvent, StreamStatus } from '../lib/types';
import { activity } from './store';

const SHOWN = 8;

/** What happened to the stream since this page was opened. */
export function Activity({ id, status }: { id: string; status: StreamStatus }) {
  const mine = activity.value
    .filter(
      (e) =>
        e.live_stream_id === id || (e.type === 'ingest.refused' && !e.live_stream_id && status === 'idle'),
    )
    .slice(0, SHOWN);
  if (mine.length === 0) return null;
  return (
    <section class="card late">
      <h2>Activity</h2>
      <ol class="activity">
        {mine.map((e) => (
          <li key={e.seq} class={isBad(e) ? 'bad' : ''}>
            <time dateTime={e.at} class="muted">
              {new Date(e.at).toLocaleTimeString()}
            </time>
            <span>{eventWords(e)}</span>
          </li>
        ))}
      </ol>
    </section>
  );
}

/** An event as a sentence. Types of later versions are shown as they are. */
export function eventWords(e: FeedEvent): string {
  const d = (e.data ?? {}) as Record<string, string | number | boolean | undefined>;
  switch (e.type) {
    case 'live_stream.connected':
      return `${d.encoder || 'An encoder'} connected over ${String(d.protocol ?? '').toUpperCase()}`;
    case 'live_stream.active':
      if (d.took_over) return 'On air: a new connection took over';
      return d.resumed ? 'The encoder is back, the stream continues' : 'On air';
    case 'live_stream.reconnecting':
      return `The encoder was lost${d.reason ? ` (${d.reason})` : ''}; waiting for it`;
    case 'live_stream.idle':
      return `The broadcast ended${d.reason ? `: ${d.reason}` : ''}`;
    case 'live_stream.tracks_changed':
      return 'The encoder changed its tracks';
    case 'live_stream.created':
      return 'Created';
    case 'live_stream.updated':
      return 'Settings changed';
    case 'live_stream.enabled':
      return 'Enabled';
    case 'live_stream.disabled':
      return 'Disabled';
    case 'live_stream.completed':
      return 'Ended by an administrator';
    case 'live_stream.key_reset':
      return 'The stream key was reset';
    case 'live_stream.simulcast_target.created':
      return 'A service to restream to was added';
    case 'live_stream.simulcast_target.updated':
      return 'A service to restream to was switched';
    case 'live_stream.simulcast_target.deleted':
      return 'A service to restream to was removed';
    case 'live_stream.health':
      return d.status === 'no_data' ? 'Nothing is known of its health' : `The stream’s health is ${d.status}`;
    case 'live_stream.rendition':
      return renditionWords(d);
    case 'ingest.refused':
      return `An encoder was refused: ${d.reason ?? d.code ?? 'no reason given'}${d.peer ? ` (from ${d.peer})` : ''}`;
    default:
      return e.type;
  }
}

function isBad(e: FeedEvent): boolean {
  if (e.type === 'live_stream.rendition')
    return ['failed', 'refused', 'shed'].includes(String(e.data?.state));
  return e.type === 'ingest.refused' || e.type.endsWith('reconnecting');
}

function renditionWords(d: Record<string, string | number | boolean | undefined>): string {
  const what = `The quality “${renditionName(String(d.rendition))}”`;
  const because = d.reason ? `: ${d.reason}` : '';
  switch (d.state) {
    case 'starting':
      return `${what} is asked for`;
    case 'running':
      return `${what} is being encoded${d.encoder ? ` by ${d.encoder}` : ''}`;
    case 'idle':
      return `${what} has ended${because}`;
    case 'failed':
      return `${what} could not be encoded${because}`;
    case 'refused':
      return `${what} was refused${because}`;
    case 'shed':
      return `${what} was given up${because}`;
    default:
      return `${what}: ${d.state}${because}`;
  }
}
