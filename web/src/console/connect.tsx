import { useState } from 'preact/hooks';
import type { LiveStream } from '../lib/types';
import { ffmpegCommand } from './commands';
import { CodeBlock, CopyField, Icon, Tabs } from './ui';

const HIDDEN = '••••••••';

/** How to send to the stream, one tab for each kind of encoder. */
export function Connect({ stream, onReset }: { stream: LiveStream; onReset: () => void }) {
  const server = stream.ingest.rtmp_url;
  const key = stream.stream_key;
  if (!server) {
    return (
      <section class="card">
        <h2>Go live</h2>
        <p class="muted">
          RTMP is switched off on this server. Start it with <code>--rtmp :1935</code> to publish from OBS or
          ffmpeg.
        </p>
      </section>
    );
  }
  const keyField = (
    <CopyField label="Stream key" value={key} secret>
      <p class="help key-help">
        Whoever has it can go live here.
        <button type="button" class="link" onClick={onReset}>
          <Icon name="refresh" />
          Reset key
        </button>
      </p>
    </CopyField>
  );
  return (
    <section class="card">
      <h2>Go live</h2>
      <Tabs
        label="Encoder"
        tabs={[
          {
            name: 'OBS',
            body: () => (
              <>
                <CopyField label="Server" value={server} />
                {keyField}
                <ol class="steps">
                  <li>
                    In OBS open <b>Settings → Stream</b> and choose the service <b>Custom…</b>
                  </li>
                  <li>Paste the server and the stream key.</li>
                  <li>
                    In <b>Settings → Output</b> set the key-frame interval to <b>2 s</b>, and for the lowest
                    delay the tune <b>zerolatency</b>.
                  </li>
                  <li>
                    Press <b>Start Streaming</b>. This page shows what arrives.
                  </li>
                </ol>
              </>
            ),
          },
          { name: 'ffmpeg', body: () => <Ffmpeg server={server} streamKey={key} keyField={keyField} /> },
          {
            name: 'Phone or hardware',
            body: () => (
              <>
                <CopyField label="Address with key" value={`${server}/${key}`} secret />
                <p class="help">
                  Larix, Moblin and most hardware encoders take one RTMP address that ends with the key. Where
                  an encoder asks for both, use the server and the key from the OBS tab. The server’s name
                  must be reachable from the phone: <code>localhost</code> is not.
                </p>
              </>
            ),
          },
        ]}
      />
    </section>
  );
}

function Ffmpeg(p: { server: string; streamKey: string; keyField: preact.JSX.Element }) {
  const [source, setSource] = useState<'file' | 'test'>('file');
  const real = ffmpegCommand(source, p.server, p.streamKey);
  return (
    <>
      <fieldset class="inline">
        <legend class="offscreen">What to send</legend>
        <label class="check">
          <input type="radio" name="source" checked={source === 'file'} onChange={() => setSource('file')} />A
          file
        </label>
        <label class="check">
          <input type="radio" name="source" checked={source === 'test'} onChange={() => setSource('test')} />A
          test picture
        </label>
      </fieldset>
      <CodeBlock shown={ffmpegCommand(source, p.server, HIDDEN)} text={real} label="Copy ffmpeg command" />
      <p class="help">
        The copy contains the key. H.264 with a key frame every 2 s and AAC plays everywhere.
      </p>
      {p.keyField}
    </>
  );
}
