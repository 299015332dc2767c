import { bitrate } from '../lib/format';
import { el, icon } from './dom';
import type { OnairPlayer } from './player';

/** The button and menu that choose the quality; hidden while there is nothing to choose. */
export class QualityMenu {
  readonly root = el('div', { class: 'quality', hidden: '' });
  private readonly button = el('button', {
    type: 'button',
    class: 'bar-button',
    'aria-haspopup': 'menu',
    'aria-expanded': 'false',
    'aria-controls': 'quality-menu',
  });
  private readonly label = el('span', {});
  private readonly menu = el('div', {
    id: 'quality-menu',
    class: 'menu',
    role: 'menu',
    'aria-label': 'Quality',
    hidden: '',
  });
  private shown = '';

  constructor(private readonly player: OnairPlayer) {
    this.button.append(icon('gear'), this.label);
    this.root.append(this.menu, this.button);
    this.button.addEventListener('click', () => this.toggle(!this.open));
    this.root.addEventListener('keydown', (e) => this.onKey(e));
    document.addEventListener('click', (e) => {
      if (!e.composedPath().includes(this.root)) this.toggle(false);
    });
  }

  update(): void {
    const engine = this.player.engine;
    const all = engine?.qualities() ?? [];
    this.root.hidden = all.length < 2;
    const chosen = engine?.chosen() ?? -1;
    const current = all.find((q) => q.index === engine?.current());
    const key = JSON.stringify([all, chosen, current?.label]);
    if (key === this.shown) return;
    this.shown = key;
    const auto = current ? `Auto (${current.label})` : 'Auto';
    this.label.textContent = chosen < 0 ? 'Auto' : (current?.label ?? '');
    this.button.setAttribute('aria-label', `Quality: ${chosen < 0 ? auto : (current?.label ?? '')}`);
    const focused = this.menu.contains(document.activeElement);
    this.menu.replaceChildren(
      this.item(-1, auto, chosen < 0),
      ...[...all]
        .sort((a, b) => b.height - a.height || b.bitrate - a.bitrate)
        .map((q) => this.item(q.index, q.label, q.index === chosen, q.bitrate ? bitrate(q.bitrate) : '')),
    );
    if (focused) this.focus(0);
  }

  private item(index: number, label: string, checked: boolean, note = ''): HTMLElement {
    const b = el(
      'button',
      { type: 'button', role: 'menuitemradio', 'aria-checked': String(checked), tabindex: '-1' },
      icon('check'),
      label,
      ...(note ? [el('span', { class: 'menu-note' }, note)] : []),
    );
    b.addEventListener('click', () => {
      this.player.choose(index);
      this.toggle(false);
      this.button.focus();
    });
    return b;
  }

  private toggle(open: boolean): void {
    if (this.open === open) return;
    this.menu.hidden = !open;
    this.button.setAttribute('aria-expanded', String(open));
    if (open)
      this.focus(
        Math.max(
          0,
          this.items().findIndex((i) => i.getAttribute('aria-checked') === 'true'),
        ),
      );
  }

  private get open(): boolean {
    return !this.menu.hasAttribute('hidden');
  }

  private items(): HTMLElement[] {
    return [...this.menu.children] as HTMLElement[];
  }

  private focus(i: number): void {
    const items = this.items();
    items[(i + items.length) % items.length]?.focus();
  }

  private onKey(e: KeyboardEvent): void {
    if (!this.open) return;
    const at = this.items().indexOf(document.activeElement as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[e.key];
    if (to !== undefined) this.focus(to);
    else if (e.key === 'Escape') {
      this.toggle(false);
      this.button.focus();
    } else {
      if (e.key === 'Tab') this.toggle(false);
      return;
    }
    e.preventDefault();
    e.stopPropagation();
  }
}
