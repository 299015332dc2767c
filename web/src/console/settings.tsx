import { useState } from 'preact/hooks';
import { inWords, overrideJson, type StreamChange } from '../lib/api';
import { bitrate } from '../lib/format';
import type { LiveStream } from '../lib/types';
import { api, put, say } from './store';
import { CodeBlock, Confirm, CopyField, Dialog, ErrorLine, Form } from './ui';

async function change(stream: LiveStream, c: StreamChange, words: string): Promise<void> {
  const fresh = await api.value?.update(stream.id, c);
  if (fresh) put(fresh);
  say(words);
}

/** 32 characters that every encoder reads the same way. */
function passphrase(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join(
    '',
  );
}

/** What encrypts SRT, or that nothing does. */
export function Passphrase({ stream }: { stream: LiveStream }) {
  const [asked, setAsked] = useState<'' | 'set' | 'clear'>('');
  const close = () => setAsked('');
  return (
    <>
      {stream.srt_passphrase ? (
        <CopyField label="Passphrase" value={stream.srt_passphrase} secret>
          <p class="help key-help">
            Encrypts SRT, publishing and playing.
            <button type="button" class="link" onClick={() => setAsked('set')}>
              Change passphrase
            </button>
            <button type="button" class="link" onClick={() => setAsked('clear')}>
              Remove passphrase
            </button>
          </p>
        </CopyField>
      ) : (
        <p class="help key-help">
          SRT is not encrypted for this stream.
          <button type="button" class="link" onClick={() => setAsked('set')}>
            Set a passphrase
          </button>
        </p>
      )}
      {asked === 'set' && <SetPassphrase stream={stream} onClose={close} />}
      {asked === 'clear' && (
        <Confirm
          title="Remove the passphrase?"
          action="Remove"
          onClose={close}
          run={() => change(stream, { srt_passphrase: null }, 'SRT is not encrypted now.')}
        >
          Encoders and players that still use it are refused when they connect again.
        </Confirm>
      )}
    </>
  );
}

function SetPassphrase({ stream, onClose }: { stream: LiveStream; onClose: () => void }) {
  const [value, setValue] = useState(passphrase);
  return (
    <Dialog title="Encrypt SRT" onClose={onClose}>
      <Form
        action="Set passphrase"
        onCancel={onClose}
        run={async () => {
          await change(stream, { srt_passphrase: value.trim() }, 'Passphrase set.');
          onClose();
        }}
      >
        <div class="field">
          <label for="p-phrase">Passphrase</label>
          <input
            id="p-phrase"
            class="input mono"
            required
            minLength={10}
            maxLength={79}
            autocomplete="off"
            spellcheck={false}
            value={value}
            onInput={(e) => setValue(e.currentTarget.value)}
          />
          <p class="help">
            10 to 79 letters, digits and - . _ ~. Every encoder and player must name it from its next
            connection on; those that are connected stay.
          </p>
        </div>
      </Form>
    </Dialog>
  );
}

/** Where a second encoder sends to, and whether one does. */
export function Backup({ stream }: { stream: LiveStream }) {
  const b = stream.ingest.backup;
  if (!b) return null;
  const ingest = stream.active_ingest;
  const state = ingest?.backup;
  const words =
    ingest?.on_air === 'backup' ? 'on air' : state?.ready ? 'ready' : state?.connected ? 'connected' : '';
  return (
    <details class="fold">
      <summary>
        Backup encoder{' '}
        {words && (
          <span class={`chip chip-${words === 'connected' ? 'starting' : 'broadcasting'}`}>{words}</span>
        )}
      </summary>
      <div class="fold-body">
        <p class="muted">
          A second encoder with the same settings can stand by: it takes over at its next key frame when the
          first one stops, and gives way when the first one is back.
        </p>
        {(b.rtmp_url ?? b.rtmps_url) && (
          <CopyField label="Backup server" value={b.rtmp_url ?? b.rtmps_url ?? ''} />
        )}
        {b.stream_key && <CopyField label="Backup stream key" value={b.stream_key} secret />}
        {b.srt_url && <CopyField label="Backup SRT address" value={b.srt_url} secret />}
        {b.whip_url && <CopyField label="Backup WHIP address" value={b.whip_url} />}
      </div>
    </details>
  );
}

/** Several video tracks from OBS, with settings from this server. */
export function Multitrack({ stream }: { stream: LiveStream }) {
  const [editing, setEditing] = useState(false);
  const [json, setJson] = useState('');
  const [error, setError] = useState('');
  const m = stream.multitrack;
  const golive = stream.ingest.golive_url;
  return (
    <>
      <p class="muted">
        OBS can send several qualities of its picture at once; then nothing is encoded again on the server,
        and viewers get the one that their network carries.
      </p>
      <p class="help key-help">
        {m.enabled
          ? `Allowed, with ${m.max_video_tracks ? `up to ${m.max_video_tracks} qualities` : 'as many qualities as the server takes'}${m.max_bitrate ? ` and ${bitrate(m.max_bitrate)} in all` : ''}.`
          : 'Switched off for this stream.'}
        <button type="button" class="link" onClick={() => setEditing(true)}>
          Change limits
        </button>
      </p>
      {m.enabled && golive && (
        <>
          <ol class="steps">
            <li>
              In OBS open <b>Settings → Stream</b>, service <b>Custom…</b>, server and stream key as in the
              OBS tab.
            </li>
            <li>
              Tick <b>Enable Multitrack Video</b> and <b>Enable Config Override (JSON)</b> (OBS 31 and later).
            </li>
            <li>Make the settings here, copy them, and paste them there.</li>
          </ol>
          {json ? (
            <CodeBlock
              shown={json.replaceAll(stream.stream_key, '••••••••')}
              text={json}
              label="Copy OBS settings"
            />
          ) : (
            <div>
              <button
                type="button"
                class="button"
                onClick={() =>
                  overrideJson(golive, stream.stream_key).then(
                    (text) => {
                      setJson(text);
                      setError('');
                    },
                    (err) => setError(inWords(err)),
                  )
                }
              >
                Make OBS settings
              </button>
            </div>
          )}
          <ErrorLine text={error} />
          <CopyField label="Address that OBS can ask by itself" value={golive} />
          <p class="help">
            Started with <code>--config-url</code> and this address, OBS asks for the settings that fit its
            computer each time it goes live.
          </p>
        </>
      )}
      {editing && <Limits stream={stream} onClose={() => setEditing(false)} />}
    </>
  );
}

function Limits({ stream, onClose }: { stream: LiveStream; onClose: () => void }) {
  const m = stream.multitrack;
  const [on, setOn] = useState(m.enabled);
  const [tracks, setTracks] = useState(m.max_video_tracks ?? 0);
  const [rate, setRate] = useState(m.max_bitrate ? String(m.max_bitrate / 1e6) : '');
  return (
    <Dialog title="OBS multitrack" onClose={onClose}>
      <Form
        action="Save limits"
        onCancel={onClose}
        run={async () => {
          const max = Math.round(Number(rate) * 1e6);
          const multitrack = { enabled: on, max_video_tracks: tracks || null, max_bitrate: max || null };
          await change(stream, { multitrack }, 'Saved.');
          onClose();
        }}
      >
        <label class="check">
          <input type="checkbox" checked={on} onChange={() => setOn(!on)} />
          Answer OBS when it asks for settings
        </label>
        <div class="field">
          <label for="m-tracks">Most qualities</label>
          <select
            id="m-tracks"
            class="input"
            value={tracks}
            onChange={(e) => setTracks(Number(e.currentTarget.value))}
          >
            <option value={0}>As many as the server takes</option>
            {[1, 2, 3, 4, 5, 6].map((n) => (
              <option key={n} value={n}>
                {n}
              </option>
            ))}
          </select>
        </div>
        <div class="field">
          <label for="m-rate">Most bitrate of all together, in Mb/s</label>
          <input
            id="m-rate"
            class="input"
            type="number"
            min="0.1"
            max="200"
            step="0.1"
            placeholder="The server’s limit"
            value={rate}
            onInput={(e) => setRate(e.currentTarget.value)}
          />
        </div>
      </Form>
    </Dialog>
  );
}
