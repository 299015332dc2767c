import { useState } from 'preact/hooks';
import { inWords } from '../lib/api';
import { clock, since } from '../lib/format';
import type { LiveStream, Source } from '../lib/types';
import { useNow } from './hooks';
import { api, put, say } from './store';
import { Confirm, Dialog, Form } from './ui';

const WORDS: Record<Source['status'], string> = {
  off: 'Off',
  idle: 'Waiting for a viewer',
  connecting: 'Connecting',
  receiving: 'Receiving',
  failing: 'Failing',
  unknown: 'Unknown',
};

async function update(stream: LiveStream, source: Partial<Source> | null): Promise<void> {
  const fresh = await api.value?.update(stream.id, { source });
  if (fresh) put(fresh);
}

/** Where the server fetches the stream from, if it does. */
export function SourceCard({ stream }: { stream: LiveStream }) {
  const [asked, setAsked] = useState<'' | 'edit' | 'remove'>('');
  const now = useNow(1000);
  const s = stream.source;
  const close = () => setAsked('');
  return (
    <section class="card late">
      <div class="card-head">
        <h2>Fetch from an address</h2>
        {s && <span class={`chip chip-${s.status}`}>{WORDS[s.status] ?? s.status}</span>}
      </div>
      {!s ? (
        <div class="teach">
          <p class="muted">
            Instead of an encoder that sends, the server can fetch: a camera over RTSP, an HLS playlist, or
            another server over RTMP or SRT.
          </p>
          <button type="button" class="button" onClick={() => setAsked('edit')}>
            Set an address
          </button>
        </div>
      ) : (
        <>
          <p class="mono wrap">{s.url}</p>
          <p class="muted">
            {s.on_demand ? 'Fetched while somebody watches.' : 'Fetched all the time.'}
            {s.since && s.status === 'receiving' && ` Receiving for ${clock(since(s.since, now))}.`}
            {s.attempts !== null && s.attempts > 1 && s.status !== 'receiving' && ` Try ${s.attempts}.`}
          </p>
          {s.last_error && s.status !== 'receiving' && s.status !== 'off' && (
            <p class="row-error">{s.last_error}</p>
          )}
          <div class="row-side">
            <button
              type="button"
              class="button"
              onClick={() => update(stream, { enabled: !s.enabled }).catch((err) => say(inWords(err), true))}
            >
              {s.enabled ? 'Stop fetching' : 'Fetch'}
            </button>
            <button type="button" class="button" onClick={() => setAsked('edit')}>
              Change
            </button>
            <button type="button" class="button danger" onClick={() => setAsked('remove')}>
              Remove address
            </button>
          </div>
        </>
      )}
      {asked === 'edit' && <Edit stream={stream} onClose={close} />}
      {asked === 'remove' && (
        <Confirm
          title="Remove the address?"
          action="Remove"
          onClose={close}
          run={async () => {
            await update(stream, null);
            say('Address removed.');
          }}
        >
          The server stops fetching. The stream stays and can be published to.
        </Confirm>
      )}
    </section>
  );
}

function Edit({ stream, onClose }: { stream: LiveStream; onClose: () => void }) {
  const [url, setUrl] = useState(stream.source?.url ?? '');
  const [onDemand, setOnDemand] = useState(stream.source?.on_demand ?? false);
  return (
    <Dialog title="Fetch from an address" onClose={onClose}>
      <Form
        action="Save"
        onCancel={onClose}
        run={async () => {
          await update(stream, { url: url.trim(), on_demand: onDemand });
          say('Saved.');
          onClose();
        }}
      >
        <div class="field">
          <label for="s-url">Address</label>
          <input
            id="s-url"
            class="input mono"
            required
            autocomplete="off"
            spellcheck={false}
            inputMode="url"
            placeholder="rtsp://…"
            value={url}
            onInput={(e) => setUrl(e.currentTarget.value)}
          />
          <p class="help">
            RTSP, HLS (http or https), RTMP, RTMPS or SRT. User and password may stand in it; they are shown
            as **** from then on, and kept if you leave them so.
          </p>
        </div>
        <label class="check">
          <input type="checkbox" checked={onDemand} onChange={() => setOnDemand(!onDemand)} />
          Only while somebody watches
        </label>
      </Form>
    </Dialog>
  );
}
