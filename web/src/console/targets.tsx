import { useState } from 'preact/hooks';
import { inWords } from '../lib/api';
import { bytes, clock, since } from '../lib/format';
import type { LiveStream, Target } from '../lib/types';
import { useNow } from './hooks';
import { api, put, say } from './store';
import { Confirm, Dialog, Form, Icon, masked } from './ui';

const WORDS: Record<Target['status'], string> = {
  idle: 'Waiting',
  starting: 'Connecting',
  broadcasting: 'On air',
  errored: 'Failing',
};

/** The other services that the stream is passed on to. */
export function Targets({ stream }: { stream: LiveStream }) {
  const [adding, setAdding] = useState(false);
  const [removing, setRemoving] = useState<Target | null>(null);
  const targets = stream.simulcast_targets ?? [];
  return (
    <section class="card late">
      <div class="card-head">
        <h2>Restream</h2>
        {targets.length > 0 && (
          <button type="button" class="text-button" onClick={() => setAdding(true)}>
            <Icon name="plus" />
            Add
          </button>
        )}
      </div>
      {targets.length === 0 ? (
        <div class="teach">
          <p class="muted">
            Be on other services at the same time: give their server and stream key, as you would give them to
            OBS. They can be added and removed while you are live, and one that fails does not disturb the
            others.
          </p>
          <button type="button" class="button" onClick={() => setAdding(true)}>
            <Icon name="plus" />
            Add a service
          </button>
        </div>
      ) : (
        <ul class="targets">
          {targets.map((t) => (
            <Row key={t.id} stream={stream} target={t} onRemove={() => setRemoving(t)} />
          ))}
        </ul>
      )}
      {adding && <Add stream={stream} onClose={() => setAdding(false)} />}
      {removing && (
        <Confirm
          title={`Stop sending to ${nameOf(removing)}?`}
          action="Remove"
          onClose={() => setRemoving(null)}
          run={async () => {
            await api.value?.removeTarget(stream.id, removing.id);
            await again(stream);
            say('Service removed.');
          }}
        >
          It is disconnected at once. Its address and key are forgotten here.
        </Confirm>
      )}
    </section>
  );
}

async function again(stream: LiveStream): Promise<void> {
  const fresh = await api.value?.stream(stream.id);
  if (fresh) put(fresh);
}

/** What somebody called it, or its host. */
function nameOf(t: Target): string {
  return t.passthrough || /^\w+:\/\/(?:[^/@]*@)?([^/?]+)/.exec(t.url)?.[1] || t.url;
}

function Row({ stream, target: t, onRemove }: { stream: LiveStream; target: Target; onRemove: () => void }) {
  const now = useNow(1000);
  const [busy, setBusy] = useState(false);
  const status = t.enabled ? t.status : 'off';
  const facts = [
    t.since && t.status === 'broadcasting' ? `for ${clock(since(t.since, now))}` : '',
    t.status === 'broadcasting' && t.bytes !== null ? `${bytes(t.bytes)} sent` : '',
    t.dropped ? `${t.dropped} packets dropped` : '',
    t.attempts && t.status !== 'broadcasting' ? `try ${t.attempts}` : '',
  ].filter(Boolean);
  return (
    <li class="target">
      <div class="row-text">
        <p>
          <b>{nameOf(t)}</b> <span class={`chip chip-${status}`}>{t.enabled ? WORDS[t.status] : 'Off'}</span>
        </p>
        <p class="muted">
          {t.url}
          {t.stream_key && ` · key ${t.stream_key}`}
        </p>
        {facts.length > 0 && <p class="muted">{facts.join(' · ')}</p>}
        {t.enabled && t.status !== 'broadcasting' && t.last_error && <p class="row-error">{t.last_error}</p>}
      </div>
      <div class="row-side">
        <button
          type="button"
          class="button"
          disabled={busy}
          aria-label={`${t.enabled ? 'Switch off' : 'Switch on'} ${nameOf(t)}`}
          onClick={async () => {
            setBusy(true);
            try {
              await api.value?.switchTarget(stream.id, t.id, !t.enabled);
              await again(stream);
            } catch (err) {
              say(inWords(err), true);
            }
            setBusy(false);
          }}
        >
          {t.enabled ? 'Switch off' : 'Switch on'}
        </button>
        <button type="button" class="icon-button" aria-label={`Remove ${nameOf(t)}`} onClick={onRemove}>
          <Icon name="close" />
        </button>
      </div>
    </li>
  );
}

function Add({ stream, onClose }: { stream: LiveStream; onClose: () => void }) {
  const [url, setUrl] = useState('');
  const [key, setKey] = useState('');
  const [name, setName] = useState('');
  return (
    <Dialog title="Restream to a service" onClose={onClose}>
      <Form
        action="Add service"
        onCancel={onClose}
        run={async () => {
          await api.value?.addTarget(stream.id, {
            url: url.trim(),
            ...(key.trim() ? { stream_key: key.trim() } : {}),
            ...(name.trim() ? { passthrough: name.trim() } : {}),
          });
          await again(stream);
          say('Service added.');
          onClose();
        }}
      >
        <div class="field">
          <label for="t-url">Server</label>
          <input
            id="t-url"
            class="input mono"
            required
            autocomplete="off"
            spellcheck={false}
            inputMode="url"
            placeholder="rtmp://…"
            value={url}
            onInput={(e) => setUrl(e.currentTarget.value)}
          />
          <p class="help">
            From the other service’s page for encoders: an address that begins with <code>rtmp://</code>,{' '}
            <code>rtmps://</code> or <code>srt://</code>.
          </p>
        </div>
        <div class="field">
          <label for="t-key">Their stream key</label>
          <input
            id="t-key"
            class="input mono"
            {...masked(true)}
            autocomplete="off"
            spellcheck={false}
            value={key}
            onInput={(e) => setKey(e.currentTarget.value)}
          />
          <p class="help">For SRT it is the stream id; leave it empty if the address holds everything.</p>
        </div>
        <div class="field">
          <label for="t-name">Name</label>
          <input
            id="t-name"
            class="input"
            maxLength={100}
            autocomplete="off"
            placeholder="Optional"
            value={name}
            onInput={(e) => setName(e.currentTarget.value)}
          />
        </div>
      </Form>
    </Dialog>
  );
}
