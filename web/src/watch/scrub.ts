import { clock } from '../lib/format';
import { el } from './dom';
import type { Cell } from './storyboard';

/** What the bar stands for, in seconds of the player's time. */
export interface Timeline {
  start: number;
  end: number;
  position: number;
  /** The end is now, and moves. */
  live: boolean;
  /** How far (s) from the live edge a picture may be and still be called live. */
  slack: number;
}

export interface ScrubHost {
  /** Goes to a moment; the end of a live stream is its edge. */
  seek(to: number): void;
  /** Goes on or back by seconds. */
  step(by: number): void;
  /** The small picture of a moment. */
  picture(at: number): Promise<Cell | undefined>;
}

/** Where a moment is, in words for whoever cannot see the bar. */
export function place(t: Timeline, at = t.position): string {
  if (!t.live) return `${clock(at - t.start)} of ${clock(t.end - t.start)}`;
  return t.end - at <= t.slack ? 'Live' : `${clock(t.end - at)} behind live`;
}

/** What stands beside the pointer: a time, or how far back. */
export function label(t: Timeline, at: number): string {
  if (!t.live) return clock(at - t.start);
  return t.end - at <= t.slack ? 'Live' : `−${clock(t.end - at)}`;
}

/** Seconds that arrow keys move by, and the part of the whole that page keys do. */
const STEP = 10;
const PAGE = 0.1;
/** The greatest height (px) of a preview; what of the player's height the rest takes, and the least that is left. */
const PEEK_HEIGHT = 110;
const PEEK_BELOW = 130;
const PEEK_LEAST = 44;

/** The bar that shows where the picture is and goes elsewhere, with a small picture of where. */
export class Scrub {
  readonly root = el('div', { class: 'scrub', hidden: '' });
  private readonly input = el('input', {
    type: 'range',
    'aria-label': 'Seek',
    min: '0',
    max: '1',
    step: 'any',
    value: '0',
  });
  private readonly peek = el('div', { class: 'peek', 'aria-hidden': 'true', hidden: '' });
  private readonly frame = el('div', { class: 'peek-frame', hidden: '' });
  private readonly sheet = el('img', { alt: '' });
  private readonly time = el('span', { class: 'peek-time' });
  private timeline: Timeline | null = null;
  /** Whether the viewer drags it, so that it does not move by itself. */
  private held = false;
  /** Whether the place was told since it has the focus; what moves by itself is not told again and again. */
  private told = false;
  private wanted = 0;

  constructor(private readonly host: ScrubHost) {
    this.frame.append(this.sheet);
    this.peek.append(this.frame, this.time);
    this.root.append(this.peek, this.input);
    const { input } = this;
    input.addEventListener('input', () => {
      this.held = true;
      this.told = false;
      this.paint();
      this.look(Number(input.value));
    });
    input.addEventListener('change', () => this.commit());
    input.addEventListener('pointerup', () => this.held && this.commit());
    input.addEventListener('pointercancel', () => {
      this.held = false;
    });
    input.addEventListener('keydown', (e) => this.onKey(e));
    input.addEventListener('blur', () => {
      this.told = false;
    });
    input.addEventListener('pointermove', (e) => this.look(this.under(e.clientX)));
    input.addEventListener('pointerleave', () => this.held || this.hide());
  }

  /** Shows where the picture is; null where there is nowhere to go. */
  update(t: Timeline | null): void {
    const usable = t !== null && t.end - t.start > 1;
    if (this.root.hidden === usable) this.root.hidden = !usable;
    this.timeline = usable ? t : null;
    if (!usable || !t) {
      this.hide();
      return;
    }
    const { input } = this;
    input.min = String(t.start);
    input.max = String(t.end);
    if (!this.held) input.value = String(Math.min(t.end, Math.max(t.start, t.position)));
    this.paint();
  }

  private paint(): void {
    const t = this.timeline;
    if (!t) return;
    const at = Number(this.input.value);
    this.input.style.setProperty('--part', String((at - t.start) / (t.end - t.start)));
    if (document.activeElement !== this.input || !this.told) {
      const words = place(t, at);
      if (this.input.getAttribute('aria-valuetext') !== words)
        this.input.setAttribute('aria-valuetext', words);
      this.told = document.activeElement === this.input;
    }
  }

  private commit(): void {
    if (!this.held) return;
    this.held = false;
    this.told = false;
    this.hide();
    this.host.seek(Number(this.input.value));
  }

  private onKey(e: KeyboardEvent): void {
    const t = this.timeline;
    if (!t || e.ctrlKey || e.metaKey || e.altKey) return;
    const page = Math.max(STEP, (t.end - t.start) * PAGE);
    const by = {
      ArrowLeft: -STEP,
      ArrowDown: -STEP,
      ArrowRight: STEP,
      ArrowUp: STEP,
      PageDown: -page,
      PageUp: page,
    }[e.key];
    if (by !== undefined) this.host.step(by);
    else if (e.key === 'Home') this.host.seek(t.start);
    else if (e.key === 'End') this.host.seek(t.end);
    else return;
    this.told = false;
    e.preventDefault();
  }

  /** The moment under the pointer. */
  private under(x: number): number {
    const box = this.input.getBoundingClientRect();
    const part = box.width > 0 ? (x - box.left) / box.width : 0;
    const t = this.timeline;
    return t ? t.start + Math.min(1, Math.max(0, part)) * (t.end - t.start) : 0;
  }

  private look(at: number): void {
    const t = this.timeline;
    if (!t) return;
    this.peek.hidden = false;
    this.time.textContent = label(t, at);
    const mine = ++this.wanted;
    this.settle(at, t);
    void this.host.picture(at).then((cell) => {
      if (mine !== this.wanted || this.peek.hidden) return;
      this.frame.hidden = !cell;
      if (cell) this.show(cell);
      this.settle(at, t);
    });
  }

  private show(c: Cell): void {
    if (this.sheet.src !== c.url) this.sheet.src = c.url;
    const room = (this.root.closest('onair-player')?.clientHeight ?? 0) - PEEK_BELOW;
    const scale = Math.min(1, Math.max(PEEK_LEAST, Math.min(PEEK_HEIGHT, room)) / c.height);
    this.frame.style.width = `${c.width * scale}px`;
    this.frame.style.height = `${c.height * scale}px`;
    this.sheet.style.transform = `scale(${scale}) translate(${-c.x}px, ${-c.y}px)`;
  }

  /** Puts the preview over its moment, and inside the player. */
  private settle(at: number, t: Timeline): void {
    const whole = this.root.clientWidth;
    const half = this.peek.offsetWidth / 2;
    const x = ((at - t.start) / (t.end - t.start)) * whole;
    this.peek.style.left = `${Math.max(half, Math.min(whole - half, x))}px`;
  }

  private hide(): void {
    this.wanted++;
    this.peek.hidden = true;
    this.frame.hidden = true;
  }
}
