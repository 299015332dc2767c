import { useEffect, useState } from 'preact/hooks';
import { ApiError, inWords } from '../lib/api';
import { ago, clock, count, since } from '../lib/format';
import type { LiveStream } from '../lib/types';
import { Activity } from './activity';
import { Connect } from './connect';
import { MODES, StreamForm } from './create';
import { HealthCard, useHealth } from './health';
import { useNow } from './hooks';
import { Ingest } from './ingest';
import { LadderCard } from './ladder';
import { Preview } from './preview';
import { SourceCard } from './source';
import { api, drop, put, say, streams } from './store';
import { Targets } from './targets';
import { Confirm, CopyField, Dialog, Icon, Status } from './ui';

/** How often (ms) the open stream is read. */
const POLL = 2000;

type Asked = '' | 'edit' | 'reset' | 'disable' | 'complete' | 'delete';

export function StreamPage({ id }: { id: string }) {
  const [gone, setGone] = useState('');
  const [asked, setAsked] = useState<Asked>('');
  const stream = streams.value?.find((s) => s.id === id);
  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const read = async () => {
      if (!document.hidden) {
        try {
          const s = await api.value?.stream(id, stop.signal);
          if (s && !stop.signal.aborted) put(s);
          setGone('');
        } catch (err) {
          if (stop.signal.aborted) return;
          if (err instanceof ApiError && err.status === 404) {
            setGone('This stream does not exist any more.');
            return;
          }
          setGone(inWords(err));
        }
      }
      timer = setTimeout(read, POLL);
    };
    void read();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [id]);

  const back = (
    <a class="back" href="#/">
      <Icon name="back" />
      All streams
    </a>
  );
  if (!stream) {
    return (
      <>
        {back}
        {gone ? <p class="nothing">{gone}</p> : <div class="skeleton" aria-hidden="true" />}
      </>
    );
  }
  const on = stream.status === 'active' || stream.status === 'reconnecting';
  const close = () => setAsked('');
  return (
    <>
      {back}
      <Head stream={stream} onEdit={() => setAsked('edit')} />
      {gone && <p class="error">{gone} The numbers below may be old.</p>}
      <div class="columns">
        <div class="column">
          {stream.status !== 'disabled' && <Preview stream={stream} />}
          <Monitor stream={stream} />
          <LadderCard stream={stream} />
          <Activity id={id} status={stream.status} />
        </div>
        <div class="column">
          <Connect stream={stream} onReset={() => setAsked('reset')} />
          <Share stream={stream} />
          <Targets stream={stream} />
          <SourceCard stream={stream} />
          <section class="card late">
            <h2>Control</h2>
            <div class="actions">
              {on && (
                <Action
                  words="End the broadcast now. The encoder is disconnected; the stream can be used again."
                  label="End broadcast"
                  onClick={() => setAsked('complete')}
                />
              )}
              {stream.status === 'disabled' ? (
                <Action
                  words="Nobody can publish to this stream or watch it."
                  label="Enable"
                  onClick={() => act(stream, 'enable', 'Stream enabled.').catch((e) => say(inWords(e), true))}
                />
              ) : (
                <Action
                  words="Switch off: nobody can publish or watch until it is enabled."
                  label="Disable"
                  onClick={() => setAsked('disable')}
                />
              )}
              <Action
                words="Delete the stream, its key and its watch link for good."
                label="Delete"
                danger
                onClick={() => setAsked('delete')}
              />
            </div>
          </section>
        </div>
      </div>
      {asked === 'edit' && (
        <Dialog title="Edit stream" onClose={close}>
          <StreamForm
            stream={stream}
            action="Save"
            onCancel={close}
            run={async (change) => {
              const s = await api.value?.update(id, change);
              if (s) put(s);
              say('Saved.');
              close();
            }}
          />
        </Dialog>
      )}
      {asked === 'reset' && (
        <Confirm
          title="Make a new stream key?"
          action="Reset key"
          onClose={close}
          run={() => act(stream, 'reset-stream-key', 'There is a new stream key. Give it to your encoder.')}
        >
          The present key stops working at once, also for an encoder that is connected now.
        </Confirm>
      )}
      {asked === 'disable' && (
        <Confirm
          title="Disable this stream?"
          action="Disable"
          onClose={close}
          run={() => act(stream, 'disable', 'Stream disabled.')}
        >
          {on
            ? 'It is on air: the encoder is disconnected and viewers see that it is switched off.'
            : 'Nobody can publish or watch until you enable it again.'}
        </Confirm>
      )}
      {asked === 'complete' && (
        <Confirm
          title="End the broadcast?"
          action="End broadcast"
          onClose={close}
          run={() => act(stream, 'complete', 'The broadcast has ended.')}
        >
          Viewers see that the stream has ended. An encoder that reconnects by itself starts a new broadcast.
        </Confirm>
      )}
      {asked === 'delete' && (
        <Confirm
          title={`Delete “${stream.title || 'Untitled stream'}”?`}
          action="Delete for good"
          onClose={close}
          run={async () => {
            await api.value?.remove(id);
            drop(id);
            say('Stream deleted.');
            location.hash = '#/';
          }}
        >
          Its key and its watch link stop working. This cannot be taken back.
        </Confirm>
      )}
    </>
  );
}

/** How the stream is, and what is being received. */
function Monitor({ stream }: { stream: LiveStream }) {
  const health = useHealth(stream);
  return (
    <>
      <HealthCard health={health} />
      <Ingest stream={stream} health={health} />
    </>
  );
}

async function act(
  stream: LiveStream,
  verb: 'reset-stream-key' | 'enable' | 'disable' | 'complete',
  words: string,
): Promise<void> {
  const answer = await api.value?.act(stream.id, verb);
  const fresh = answer?.id ? answer : await api.value?.stream(stream.id);
  if (fresh) put(fresh);
  say(words);
}

function Action(p: { words: string; label: string; danger?: boolean; onClick: () => void }) {
  return (
    <div class="action">
      <p class="muted">{p.words}</p>
      <button type="button" class={p.danger ? 'button danger' : 'button'} onClick={p.onClick}>
        {p.label}
      </button>
    </div>
  );
}

function Head({ stream: s, onEdit }: { stream: LiveStream; onEdit: () => void }) {
  const now = useNow(1000);
  const on = s.status === 'active' || s.status === 'reconnecting';
  return (
    <div class="page-head">
      <div>
        <h1>{s.title || 'Untitled stream'}</h1>
        <p class="muted head-line">
          <Status status={s.status} />
          {on && s.active_ingest && <span>on air for {clock(since(s.active_ingest.since, now))}</span>}
          {on && <span>{count(s.viewers, 'viewer')}</span>}
          <span>{MODES.find((m) => m.value === s.latency_mode)?.name ?? s.latency_mode} delay</span>
          {!on && <span>created {ago(s.created_at, now)}</span>}
        </p>
      </div>
      <button type="button" class="button" onClick={onEdit}>
        <Icon name="edit" />
        Edit
      </button>
    </div>
  );
}

function Share({ stream }: { stream: LiveStream }) {
  const id = stream.playback_ids[0]?.id;
  const url = stream.playback?.watch_url || (id ? `${location.origin}/watch/${id}` : '');
  if (!url) return null;
  const p = stream.playback;
  const more = [
    { name: 'WHEP', url: p?.whep_url, help: 'For players of WebRTC: under half a second.' },
    { name: 'DASH', url: p?.dash_url, help: 'For dash.js, Shaka, and televisions.' },
    { name: 'RTMP', url: p?.rtmp_url },
    { name: 'SRT', url: p?.srt_url, secret: !!stream.srt_passphrase },
    { name: 'Thumbnail', url: p?.thumbnail_url, help: 'The picture as it is now, at most 10 s old.' },
  ].flatMap(({ url, help = '', secret = false, name }) => (url ? [{ name, url, help, secret }] : []));
  const hls = stream.playback?.hls_url ? new URL(stream.playback.hls_url, location.href).href : '';
  return (
    <section class="card">
      <div class="card-head">
        <h2>Watch</h2>
        <a class="text-button" href={id ? `/watch/${id}` : url} target="_blank" rel="noopener">
          Open
          <Icon name="out" />
        </a>
      </div>
      <CopyField label="Watch link" value={url} />
      {hls && <CopyField label="For other players (HLS)" value={hls} />}
      {more.length > 0 && (
        <details class="fold">
          <summary>Other addresses</summary>
          <div class="fold-body">
            {more.map((m) => (
              <CopyField key={m.name} label={m.name} value={m.url} secret={m.secret}>
                {m.help && <p class="help">{m.help}</p>}
              </CopyField>
            ))}
          </div>
        </details>
      )}
    </section>
  );
}
