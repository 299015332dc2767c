import { useState } from 'preact/hooks';
import { inWords } from '../lib/api';
import { ago, bitrate, clock, count, fps, since } from '../lib/format';
import type { LiveStream, StreamStatus } from '../lib/types';
import { CreateDialog, MODES } from './create';
import { useNow } from './hooks';
import { linkTo } from './route';
import { listError, liveCount, loadMore, nextCursor, say, streams } from './store';
import { Thumbnail } from './thumbnail';
import { ErrorLine, Icon, Status } from './ui';

const RANK: Record<StreamStatus, number> = { active: 0, reconnecting: 0, idle: 1, disabled: 2 };

export function List() {
  const [creating, setCreating] = useState(false);
  const [filter, setFilter] = useState('');
  const list = streams.value;
  const wanted = filter.trim().toLowerCase();
  // What is on comes first; within that the server's order, newest first.
  const shown = (list ?? [])
    .filter((s) => `${s.title} ${s.id}`.toLowerCase().includes(wanted))
    .sort((a, b) => RANK[a.status] - RANK[b.status]);
  return (
    <>
      <div class="page-head">
        <div>
          <h1>Streams</h1>
          <p class="muted">
            {list === null
              ? 'Loading…'
              : `${count(list.length, 'stream')}${nextCursor.value ? ' loaded' : ''}, ${liveCount.value} live`}
          </p>
        </div>
        {list !== null && list.length > 0 && (
          <button type="button" class="button primary" onClick={() => setCreating(true)}>
            <Icon name="plus" />
            New stream
          </button>
        )}
      </div>
      <ErrorLine text={listError.value && `The list may be out of date. ${listError.value}`} />
      {list !== null && list.length > 5 && (
        <input
          class="input filter"
          type="search"
          aria-label="Filter streams"
          placeholder="Filter by title or id"
          value={filter}
          onInput={(e) => setFilter(e.currentTarget.value)}
        />
      )}
      {list === null && !listError.value && <div class="skeleton" aria-hidden="true" />}
      {list !== null && list.length === 0 && <Empty onCreate={() => setCreating(true)} />}
      {shown.length > 0 && (
        <ul class="streams">
          {shown.map((s) => (
            <Row key={s.id} stream={s} />
          ))}
        </ul>
      )}
      {list !== null && list.length > 0 && shown.length === 0 && (
        <p class="muted nothing">No stream has “{filter}” in its title or id.</p>
      )}
      {nextCursor.value && (
        <button
          type="button"
          class="button more"
          onClick={() => loadMore().catch((err) => say(inWords(err), true))}
        >
          Load more
        </button>
      )}
      {creating && <CreateDialog onClose={() => setCreating(false)} />}
    </>
  );
}

function Row({ stream: s }: { stream: LiveStream }) {
  const now = useNow(1000);
  const video = s.active_ingest?.tracks?.find((t) => t.kind === 'video');
  const on = s.status === 'active' || s.status === 'reconnecting';
  const facts = video
    ? [
        video.width ? `${video.width}×${video.height}` : '',
        video.measured_frame_rate || video.frame_rate
          ? `${fps(video.measured_frame_rate || video.frame_rate)} fps`
          : '',
        video.codec,
        s.active_ingest?.bitrate ? bitrate(s.active_ingest.bitrate) : '',
      ].filter(Boolean)
    : [];
  return (
    <li>
      <a class="stream-row" href={linkTo(s.id)}>
        <Thumbnail stream={s} />
        <Status status={s.status} />
        <span class="stream-name">
          <b>{s.title || 'Untitled stream'}</b>
          <span class="muted">
            {on && facts.length > 0
              ? facts.join(' · ')
              : `${MODES.find((m) => m.value === s.latency_mode)?.name ?? s.latency_mode} delay · created ${ago(s.created_at, now)}`}
          </span>
        </span>
        <span class="stream-side muted">
          {on && s.active_ingest && (
            <>
              <span class="viewers">
                <Icon name="people" />
                <span class="offscreen">Viewers: </span>
                {s.viewers.toLocaleString('en')}
              </span>
              <span class="uptime">
                <span class="offscreen">On air for </span>
                {clock(since(s.active_ingest.since, now))}
              </span>
            </>
          )}
        </span>
      </a>
    </li>
  );
}

function Empty({ onCreate }: { onCreate: () => void }) {
  return (
    <section class="empty">
      <svg viewBox="0 0 120 80" width="132" height="88" aria-hidden="true">
        <rect x="18" y="10" width="84" height="56" rx="10" class="empty-screen" />
        <circle cx="60" cy="38" r="7" class="logo-dot" />
        <path d="M46 52a20 20 0 0 1 0-28M74 24a20 20 0 0 1 0 28" class="empty-wave" />
      </svg>
      <h2>Go live in three steps</h2>
      <ol>
        <li>
          <b>Create a stream.</b> It gets a key that only you know and a page for its viewers.
        </li>
        <li>
          <b>Give the server and the key to your encoder:</b> OBS, ffmpeg, a phone or a hardware box.
        </li>
        <li>
          <b>Start it, and share the watch link.</b> The page plays by itself when you are on.
        </li>
      </ol>
      <button type="button" class="button primary" onClick={onCreate}>
        <Icon name="plus" />
        Create your first stream
      </button>
      <p class="muted">
        Rather by program? See the <a href="/docs">API reference</a>.
      </p>
    </section>
  );
}
