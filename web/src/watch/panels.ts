import { copyText } from '../lib/copy';
import { el, icon } from './dom';
import { SHORTCUTS } from './keys';

function panel(id: string, title: string, ...body: (Node | string)[]): HTMLDialogElement {
  const close = el('button', { type: 'button', class: 'icon-button', 'aria-label': 'Close' }, icon('close'));
  const d = el(
    'dialog',
    { id, class: 'panel', 'aria-labelledby': `${id}-title` },
    el('div', { class: 'panel-head' }, el('h2', { id: `${id}-title` }, title), close),
    ...body,
  );
  close.addEventListener('click', () => d.close());
  d.addEventListener('click', (e) => {
    if (e.target === d) d.close();
  });
  return d;
}

/** The list of keyboard shortcuts. */
export function helpPanel(): HTMLDialogElement {
  const rows = SHORTCUTS.map(({ keys, words }) =>
    el('div', {}, el('dt', {}, ...keys.map((k) => el('kbd', {}, k))), el('dd', {}, words)),
  );
  return panel('help', 'Keyboard', el('dl', { class: 'rows' }, ...rows));
}

/** Statistics that can be copied into a bug report. */
export class StatsPanel {
  readonly root: HTMLDialogElement;
  private readonly list = el('dl', { class: 'rows mono' });

  constructor(private readonly read: () => Record<string, unknown>) {
    const copy = el('button', { type: 'button', class: 'button' }, 'Copy as JSON');
    copy.addEventListener('click', async () => {
      const ok = await copyText(JSON.stringify(this.read(), null, 2));
      copy.textContent = ok ? 'Copied' : 'Could not copy';
      setTimeout(() => {
        copy.textContent = 'Copy as JSON';
      }, 1600);
    });
    this.root = panel('stats', 'Statistics', this.list, el('div', { class: 'panel-foot' }, copy));
  }

  toggle(): void {
    if (this.root.open) this.root.close();
    else {
      this.update();
      this.root.showModal();
    }
  }

  update(): void {
    const rows = Object.entries(this.read()).filter(([k]) => k !== 'user_agent' && k !== 'page');
    this.list.replaceChildren(
      ...rows.map(([k, v]) =>
        el('div', {}, el('dt', {}, k.replaceAll('_', ' ')), el('dd', {}, v === null ? '—' : String(v))),
      ),
    );
  }
}
