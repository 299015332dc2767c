import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { LiveStream } from '../lib/types';
import { ffmpegCommand, gstreamerCommand, type Way, whipSnippet } from './commands';
import { Backup, Multitrack, Passphrase } from './settings';
import { CodeBlock, CopyField, Icon, Tabs } from './ui';

const HIDDEN = '••••••••';

/** How to send to the stream, one tab for each kind of encoder. */
export function Connect({ stream, onReset }: { stream: LiveStream; onReset: () => void }) {
  const { rtmp_url, rtmps_url, srt_url, whip_url, golive_url } = stream.ingest;
  const rtmp = rtmp_url ?? rtmps_url;
  const key = stream.stream_key;
  const keyField = (label = 'Stream key') => (
    <CopyField label={label} value={key} secret>
      <p class="help key-help">
        Whoever has it can go live here.
        <button type="button" class="link" onClick={onReset}>
          <Icon name="refresh" />
          Reset key
        </button>
      </p>
    </CopyField>
  );
  const tabs: { name: string; body: () => JSX.Element }[] = [];
  if (rtmp) {
    tabs.push({ name: 'OBS', body: () => <Obs stream={stream} server={rtmp} keyField={keyField()} /> });
  }
  if (rtmp || srt_url) {
    tabs.push({ name: 'ffmpeg', body: () => <Ffmpeg stream={stream} keyField={keyField()} /> });
    tabs.push({ name: 'Phone', body: () => <Phone stream={stream} /> });
  }
  if (whip_url) {
    tabs.push({
      name: 'Browser',
      body: () => <Browser whip={whip_url} streamKey={key} keyField={keyField} />,
    });
  }
  if (srt_url) tabs.push({ name: 'SRT', body: () => <Srt stream={stream} url={srt_url} /> });
  if (rtmp || srt_url) tabs.push({ name: 'GStreamer', body: () => <Gstreamer stream={stream} /> });
  if (golive_url || (rtmp && stream.multitrack && !stream.multitrack.enabled)) {
    tabs.push({ name: 'OBS multitrack', body: () => <Multitrack stream={stream} /> });
  }
  if (tabs.length === 0) {
    return (
      <section class="card">
        <h2>Go live</h2>
        <p class="muted">
          Every way to publish is switched off on this server. Start it with <code>--rtmp :1935</code> or{' '}
          <code>--srt :8890</code>.
        </p>
      </section>
    );
  }
  return (
    <section class="card">
      <h2>Go live</h2>
      <Tabs label="Encoder" tabs={tabs} />
      <Backup stream={stream} />
    </section>
  );
}

function Obs({ stream, server, keyField }: { stream: LiveStream; server: string; keyField: JSX.Element }) {
  const tls = stream.ingest.rtmps_url;
  return (
    <>
      <CopyField label="Server" value={server} />
      {tls && tls !== server && <CopyField label="Encrypted server (RTMPS)" value={tls} />}
      {keyField}
      <ol class="steps">
        <li>
          In OBS open <b>Settings → Stream</b> and choose the service <b>Custom…</b>
        </li>
        <li>Paste the server and the stream key.</li>
        <li>
          In <b>Settings → Output</b> set the key-frame interval to <b>2 s</b>, and for the lowest delay the
          tune <b>zerolatency</b>.
        </li>
        <li>
          Press <b>Start Streaming</b>. This page shows what arrives.
        </li>
      </ol>
    </>
  );
}

/** The ways that a command line can take, and where each leads: for the eye and for the clipboard. */
function places(stream: LiveStream): { way: Way; name: string; real: string; shown: string }[] {
  const { rtmp_url, rtmps_url, srt_url } = stream.ingest;
  const of = (way: Way, name: string, real: string) => ({ way, name, real, shown: hide(stream, real) });
  return [
    ...(rtmp_url ? [of('rtmp', 'RTMP', `${rtmp_url}/${stream.stream_key}`)] : []),
    ...(rtmps_url ? [of('rtmp', 'RTMPS', `${rtmps_url}/${stream.stream_key}`)] : []),
    ...(srt_url ? [of('srt', 'SRT', srt_url)] : []),
  ];
}

function hide(stream: LiveStream, text: string): string {
  const masked = text.replaceAll(stream.stream_key, HIDDEN);
  return stream.srt_passphrase ? masked.replaceAll(stream.srt_passphrase, HIDDEN) : masked;
}

function Choice<T extends string>(p: {
  name: string;
  legend: string;
  options: [T, string][];
  value: T;
  onChange: (v: T) => void;
}) {
  return (
    <fieldset class="inline">
      <legend class="offscreen">{p.legend}</legend>
      {p.options.map(([v, words]) => (
        <label key={v} class="check">
          <input type="radio" name={p.name} checked={p.value === v} onChange={() => p.onChange(v)} />
          {words}
        </label>
      ))}
    </fieldset>
  );
}

function Ffmpeg({ stream, keyField }: { stream: LiveStream; keyField: JSX.Element }) {
  const [source, setSource] = useState<'file' | 'test'>('file');
  const all = places(stream);
  const [name, setName] = useState(all[0]?.name ?? '');
  const to = all.find((p) => p.name === name) ?? all[0];
  if (!to) return null;
  return (
    <>
      <Choice
        name="source"
        legend="What to send"
        options={[
          ['file', 'A file'],
          ['test', 'A test picture'],
        ]}
        value={source}
        onChange={setSource}
      />
      {all.length > 1 && (
        <Choice
          name="ffmpeg-way"
          legend="Protocol"
          options={all.map((p) => [p.name, p.name])}
          value={to.name}
          onChange={setName}
        />
      )}
      <CodeBlock
        shown={ffmpegCommand(source, to.way, to.shown)}
        text={ffmpegCommand(source, to.way, to.real)}
        label="Copy ffmpeg command"
      />
      <p class="help">
        The copy contains the key. H.264 with a key frame every 2 s and AAC plays everywhere.
      </p>
      {keyField}
    </>
  );
}

function Gstreamer({ stream }: { stream: LiveStream }) {
  const all = places(stream);
  const [name, setName] = useState(all[0]?.name ?? '');
  const to = all.find((p) => p.name === name) ?? all[0];
  if (!to) return null;
  return (
    <>
      {all.length > 1 && (
        <Choice
          name="gst-way"
          legend="Protocol"
          options={all.map((p) => [p.name, p.name])}
          value={to.name}
          onChange={setName}
        />
      )}
      <CodeBlock
        shown={gstreamerCommand(to.way, to.shown)}
        text={gstreamerCommand(to.way, to.real)}
        label="Copy GStreamer command"
      />
      <p class="help">
        The copy contains the key. Put your own source in place of the test picture and tone.
      </p>
    </>
  );
}

function Phone({ stream }: { stream: LiveStream }) {
  const [rtmp, srt] = [places(stream).find((p) => p.way === 'rtmp'), stream.ingest.srt_url];
  return (
    <>
      {rtmp && <CopyField label="Address with key" value={rtmp.real} secret />}
      {srt && <CopyField label="SRT address with key" value={srt} secret />}
      <p class="help">
        Larix, Moblin and most hardware encoders take one address that ends with the key. On a mobile network
        SRT stands more loss than RTMP. Where an encoder asks for server and key apart, use those of the OBS
        tab. The server’s name must be reachable from the phone: <code>localhost</code> is not.
      </p>
    </>
  );
}

function Browser(p: { whip: string; streamKey: string; keyField: (label: string) => JSX.Element }) {
  return (
    <>
      <CopyField label="WHIP address" value={p.whip} />
      {p.keyField('Bearer token')}
      <ol class="steps">
        <li>
          OBS 30 and later: <b>Settings → Stream</b>, service <b>WHIP</b>, then paste both. The delay to the
          server is the lowest this way.
        </li>
        <li>From a page of your own (it must come over HTTPS or from localhost to reach the camera):</li>
      </ol>
      <CodeBlock
        shown={whipSnippet(p.whip, HIDDEN)}
        text={whipSnippet(p.whip, p.streamKey)}
        label="Copy script"
      />
      <p class="help">
        The copy contains the key. Anybody who can read the page’s script can then publish: hand the key out
        with care.
      </p>
    </>
  );
}

function Srt({ stream, url }: { stream: LiveStream; url: string }) {
  const [, host = '', port = ''] = /^srt:\/\/(.*):(\d+)\?/.exec(url) ?? [];
  return (
    <>
      <CopyField label="SRT address with key" value={url} secret />
      <dl class="facts small">
        <div>
          <dt>Host</dt>
          <dd>{host}</dd>
        </div>
        <div>
          <dt>Port</dt>
          <dd>{port} (UDP)</dd>
        </div>
        <div>
          <dt>Mode</dt>
          <dd>caller</dd>
        </div>
      </dl>
      <CopyField label="Stream id" value={`publish:${stream.stream_key}`} secret />
      <Passphrase stream={stream} />
      <p class="help">
        Set the latency of the encoder to about four times the round trip, at least 120 ms: what is lost
        within it is sent again.
      </p>
    </>
  );
}
