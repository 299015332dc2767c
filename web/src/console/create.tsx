import { useState } from 'preact/hooks';
import type { StreamChange } from '../lib/api';
import type { LatencyMode, LiveStream } from '../lib/types';
import { linkTo } from './route';
import { api, put, say } from './store';
import { Dialog, Form } from './ui';

export const MODES: { value: LatencyMode; name: string; words: string }[] = [
  {
    value: 'ultra',
    name: 'Ultra low',
    words: 'Under 2 s. For talking with viewers; asks more of their networks.',
  },
  { value: 'low', name: 'Low', words: 'About 2 to 3 s. Right for most streams.' },
  {
    value: 'standard',
    name: 'Standard',
    words: 'About 6 to 10 s. The calmest on weak networks and old devices.',
  },
];

const WINDOWS: [number, string][] = [
  [0, 'End at once'],
  [15, 'Wait 15 s'],
  [60, 'Wait 1 min'],
  [300, 'Wait 5 min'],
  [1800, 'Wait 30 min'],
];

/** Title, latency and reconnect window, for a new stream or one that exists. */
export function StreamForm(p: {
  stream?: LiveStream;
  action: string;
  run: (change: StreamChange) => Promise<void>;
  onCancel: () => void;
}) {
  const [title, setTitle] = useState(p.stream?.title ?? '');
  const [mode, setMode] = useState<LatencyMode>(p.stream?.latency_mode ?? 'low');
  const [wait, setWait] = useState(p.stream?.reconnect_window ?? 60);
  const windows = WINDOWS.some(([v]) => v === wait)
    ? WINDOWS
    : [...WINDOWS, [wait, `Wait ${wait} s`] as [number, string]].sort((a, b) => a[0] - b[0]);
  return (
    <Form
      action={p.action}
      onCancel={p.onCancel}
      run={async () => {
        await p.run({ title: title.trim(), latency_mode: mode, reconnect_window: wait });
      }}
    >
      <div class="field">
        <label for="f-title">Title</label>
        <input
          id="f-title"
          class="input"
          maxLength={200}
          autocomplete="off"
          placeholder="Friday town hall"
          value={title}
          onInput={(e) => setTitle(e.currentTarget.value)}
        />
        <p class="help">Viewers see it on the watch page.</p>
      </div>
      <fieldset class="field">
        <legend>Delay to viewers</legend>
        <div class="choices">
          {MODES.map((m) => (
            <label key={m.value} class="choice">
              <input
                type="radio"
                name="mode"
                value={m.value}
                checked={mode === m.value}
                onChange={() => setMode(m.value)}
              />
              <span>
                <b>{m.name}</b>
                <span class="muted">{m.words}</span>
              </span>
            </label>
          ))}
        </div>
      </fieldset>
      <div class="field">
        <label for="f-window">When the encoder loses its connection</label>
        <select
          id="f-window"
          class="input"
          value={wait}
          onChange={(e) => setWait(Number(e.currentTarget.value))}
        >
          {windows.map(([v, words]) => (
            <option key={v} value={v}>
              {words}
            </option>
          ))}
        </select>
        <p class="help">Viewers stay on the page and continue when it is back in time.</p>
      </div>
    </Form>
  );
}

export function CreateDialog({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="New stream" onClose={onClose}>
      <StreamForm
        action="Create stream"
        onCancel={onClose}
        run={async (change) => {
          const stream = await api.value?.create(change);
          if (!stream) return;
          put(stream);
          say('Stream created.');
          onClose();
          location.hash = linkTo(stream.id);
        }}
      />
    </Dialog>
  );
}
