import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { inWords } from '../lib/api';
import { copyText } from '../lib/copy';
import type { StreamStatus } from '../lib/types';
import { toast } from './store';

const PATHS = {
  plus: 'M12 5v14M5 12h14',
  copy: 'M9 9h10v11H9zM15 9V4.5H5V16h4',
  check: 'm5 12.5 4.5 4.5L19 7.5',
  eye: 'M2.5 12S6 5.8 12 5.8 21.5 12 21.5 12 18 18.2 12 18.2 2.5 12 2.5 12Zm9.5 2.6a2.6 2.6 0 1 0 0-5.2 2.6 2.6 0 0 0 0 5.2Z',
  eyeOff:
    'M4 4l16 16M10 6.1A9.6 9.6 0 0 1 12 5.8c6 0 9.5 6.2 9.5 6.2a17 17 0 0 1-3 3.6M6.4 7.6A16.4 16.4 0 0 0 2.5 12S6 18.2 12 18.200a9 9 0 0 0 4.6-1.300M9.9 10.200a2.6 2.6 0 0 0 3.7 3.7',
  close: 'M6 6l12 12M18 6 6 18',
  back: 'M14.5 5.5 8 12l6.5 6.5',
  out: 'M14 5h5v5M19 5l-8 8M10 6H5v13h13v-5',
  refresh: 'M19.5 12a7.5 7.5 0 1 1-2.2-5.300L19.5 9M19.5 4.500V9H15',
  edit: 'M4.5 19.500h3.700L19 8.7 15.3 5 4.5 15.800v3.700Z',
  people:
    'M9 11.500a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.400Zm-6 7.400c.500-3 2.8-4.6 6-4.600s5.5 1.6 6 4.600M15.5 5.300a3.2 3.2 0 0 1 0 6M17.5 14.700c1.9.600 3.1 2 3.5 4.2',
  warn: 'M12 4 2.8 19.500h18.400L12 4Zm0 6v4.500M12 16.900v.100',
  info: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Zm0-10v5.500M12 7.700v.100',
} as const;

export function Icon({ name }: { name: keyof typeof PATHS }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

export function Logo() {
  return (
    <span class="logo">
      <svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true">
        <rect width="32" height="32" rx="9" class="logo-tile" />
        <circle cx="16" cy="16" r="4.2" class="logo-dot" />
        <path d="M9.6 22.4a9 9 0 0 1 0-12.8M22.4 9.6a9 9 0 0 1 0 12.8" class="logo-wave" />
      </svg>
      onair
    </span>
  );
}

const STATUS_WORDS: Record<StreamStatus, string> = {
  active: 'Live',
  reconnecting: 'Reconnecting',
  idle: 'Idle',
  disabled: 'Disabled',
};

export function Status({ status }: { status: StreamStatus }) {
  return <span class={`status status-${status}`}>{STATUS_WORDS[status] ?? status}</span>;
}

/** A button that copies and says so. */
export function CopyButton({ text, label, wide }: { text: string; label: string; wide?: boolean }) {
  const [done, setDone] = useState<'' | 'yes' | 'no'>('');
  useEffect(() => {
    if (!done) return;
    const t = setTimeout(() => setDone(''), 1600);
    return () => clearTimeout(t);
  }, [done]);
  const words = done === 'yes' ? 'Copied' : done === 'no' ? 'Select and copy' : wide ? label : 'Copy';
  return (
    <button
      type="button"
      class={wide ? 'button' : 'copy'}
      aria-label={done ? words : label}
      onClick={async () => setDone((await copyText(text)) ? 'yes' : 'no')}
    >
      <Icon name={done === 'yes' ? 'check' : 'copy'} />
      <span aria-live="polite">{words}</span>
    </button>
  );
}

/** The type of an input whose text may be hidden. (The types of JSX want to know which of the two.) */
export function masked(hidden: boolean) {
  return { type: (hidden ? 'password' : 'text') as 'password' };
}

/** A value to copy; a secret one is hidden until it is asked for. */
export function CopyField(p: {
  label: string;
  value: string;
  secret?: boolean;
  children?: ComponentChildren;
}) {
  const id = useId();
  const [shown, setShown] = useState(!p.secret);
  // A new key is as secret as the old one was.
  const last = useRef(p.value);
  if (last.current !== p.value) {
    last.current = p.value;
    if (p.secret && shown) setShown(false);
  }
  // Nobody should find a key still on screen after a break.
  useEffect(() => {
    if (!p.secret || !shown) return;
    const t = setTimeout(() => setShown(false), 30_000);
    return () => clearTimeout(t);
  }, [p.secret, shown]);
  return (
    <div class="field">
      <label for={id}>{p.label}</label>
      <div class="copyfield">
        <input
          id={id}
          class="mono"
          readOnly
          {...masked(!shown)}
          autocomplete="off"
          spellcheck={false}
          value={p.value}
          onFocus={(e) => e.currentTarget.select()}
        />
        {p.secret && (
          <button
            type="button"
            class="icon-button"
            aria-label={shown ? `Hide ${p.label.toLowerCase()}` : `Show ${p.label.toLowerCase()}`}
            onClick={() => setShown(!shown)}
          >
            <Icon name={shown ? 'eyeOff' : 'eye'} />
          </button>
        )}
        <CopyButton text={p.value} label={`Copy ${p.label.toLowerCase()}`} />
      </div>
      {p.children}
    </div>
  );
}

/** Text for a terminal or a config file, to copy; what it says may differ from what is copied. */
export function CodeBlock({ shown, text, label }: { shown: string; text: string; label: string }) {
  return (
    <div class="code">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
      <pre tabIndex={0}>{shown}</pre>
      <CopyButton text={text} label={label} />
    </div>
  );
}

export function Dialog(p: { title: string; onClose: () => void; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const d = ref.current;
    d?.showModal();
    return () => d?.close();
  }, []);
  return (
    <dialog ref={ref} aria-labelledby={id} onCancel={p.onClose} onClose={p.onClose}>
      <div class="panel-head">
        <h2 id={id}>{p.title}</h2>
        <button type="button" class="icon-button" aria-label="Close" onClick={p.onClose}>
          <Icon name="close" />
        </button>
      </div>
      {p.children}
    </dialog>
  );
}

/** The form of a dialog: its fields, why the last try failed, and two buttons. */
export function Form(p: {
  action: string;
  run: () => Promise<void>;
  onCancel: () => void;
  children: ComponentChildren;
}) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  return (
    <form
      onSubmit={async (e) => {
        e.preventDefault();
        setBusy(true);
        setError('');
        try {
          await p.run();
        } catch (err) {
          setError(inWords(err));
          setBusy(false);
        }
      }}
    >
      <div class="dialog-body">
        {p.children}
        <ErrorLine text={error} />
      </div>
      <div class="panel-foot">
        <button type="button" class="button" onClick={p.onCancel}>
          Cancel
        </button>
        <button type="submit" class="button primary" disabled={busy}>
          {p.action}
        </button>
      </div>
    </form>
  );
}

/** Asks before something that cannot be taken back. */
export function Confirm(p: {
  title: string;
  children: ComponentChildren;
  action: string;
  run: () => Promise<void>;
  onClose: () => void;
}) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  return (
    <Dialog title={p.title} onClose={p.onClose}>
      <div class="dialog-body">
        <p class="muted">{p.children}</p>
        <ErrorLine text={error} />
      </div>
      <div class="panel-foot">
        <button type="button" class="button" onClick={p.onClose}>
          Cancel
        </button>
        <button
          type="button"
          class="button danger primary"
          disabled={busy}
          onClick={async () => {
            setBusy(true);
            try {
              await p.run();
              p.onClose();
            } catch (err) {
              setError(inWords(err));
              setBusy(false);
            }
          }}
        >
          {p.action}
        </button>
      </div>
    </Dialog>
  );
}

export function ErrorLine({ text }: { text: string }) {
  return (
    <div role="alert" class="error-slot">
      {text && (
        <p class="error">
          <Icon name="warn" />
          <span>{text}</span>
        </p>
      )}
    </div>
  );
}

export function Toast() {
  const t = toast.value;
  useEffect(() => {
    if (!t) return;
    const timer = setTimeout(() => {
      if (toast.value === t) toast.value = null;
    }, 4000);
    return () => clearTimeout(timer);
  }, [t]);
  return (
    <div class="toasts" role="status" aria-live="polite">
      {t && <p class={t.bad ? 'toast bad' : 'toast'}>{t.text}</p>}
    </div>
  );
}

/** Tabs with arrow keys, as the WAI-ARIA practices describe them. */
export function Tabs({ label, tabs }: { label: string; tabs: { name: string; body: () => JSX.Element }[] }) {
  const [at, setAt] = useState(0);
  const base = useId();
  const row = useRef<HTMLDivElement>(null);
  const go = (i: number) => {
    const n = (i + tabs.length) % tabs.length;
    setAt(n);
    (row.current?.children[n] as HTMLElement | undefined)?.focus();
  };
  return (
    <div>
      <div
        class="tabs"
        role="tablist"
        aria-label={label}
        ref={row}
        onKeyDown={(e) => {
          if (e.key === 'ArrowRight') go(at + 1);
          else if (e.key === 'ArrowLeft') go(at - 1);
        }}
      >
        {tabs.map((t, i) => (
          <button
            key={t.name}
            type="button"
            role="tab"
            id={`${base}-t${i}`}
            aria-selected={i === at}
            aria-controls={`${base}-p`}
            tabIndex={i === at ? 0 : -1}
            onClick={() => setAt(i)}
          >
            {t.name}
          </button>
        ))}
      </div>
      <div role="tabpanel" id={`${base}-p`} aria-labelledby={`${base}-t${at}`}>
        {tabs[at]?.body()}
      </div>
    </div>
  );
}
