import { ApiError, getPlayback } from '../lib/api';
import { jitter } from '../lib/backoff';
import { clock, count, delay, millis } from '../lib/format';
import type { Playback } from '../lib/types';
import { el, icon } from './dom';
import { actionFor, type KeyAction } from './keys';
import { pollDelay } from './machine';
import { QualityMenu } from './menu';
import { type Offer, offerOf, partOf } from './offer';
import { helpPanel, StatsPanel } from './panels';
import { CHANGE, OnairPlayer, TROUBLE } from './player';
import { Scrub } from './scrub';
import { Storyboard } from './storyboard';
import type { Way } from './ways';
import { badgeFor, EMPTY, wayWords, wordsFor } from './words';

/** Handle for tests and for the browser's console. See web/README.md. */
interface Handle {
  /** Seconds between the picture and the server's clock; null while nothing plays. */
  latency(): number | null;
  readonly state: string;
  /** "webrtc" or "hls"; null while nothing plays. */
  readonly way: Way | null;
  /** The hls.js instance, null without one. */
  readonly hls: unknown;
  /** The names in the quality menu. */
  qualities(): string[];
  stats(): Record<string, unknown>;
}

const id = decodeURIComponent(location.pathname.replace(/\/+$/, '').split('/').pop() ?? '');
const session = crypto.getRandomValues(new Uint32Array(2)).join('');

const address = new URLSearchParams(location.search);
/** ?way= asks for one way, whatever the server proposes. */
const demanded = (['webrtc', 'hls'] as const).find((w) => w === address.get('way'));
/** ?interactive=true says that this viewer takes part, as where a page has a chat beside the picture. */
const interactive = address.get('interactive') === 'true';

/** Whether the controls have little room. */
const narrow = matchMedia('(max-width: 560px)');

/** ?start= and &end= ask for a part of what was recorded. */
const part = partOf(address);

const player = new OnairPlayer(demanded);
const menu = new QualityMenu(player);
const help = helpPanel();
const stats = new StatsPanel(allStats);
const title = el('h1', {}, ' ');
const viewers = el('span', { class: 'viewers' });
const badge = el('button', { type: 'button', class: 'badge', disabled: '' });
const lag = el('span', { class: 'lag' });
const way = el('span', { class: 'way' });
const note = el('p', { class: 'note', hidden: '' });
const chip = el('span', { class: 'chip', 'aria-hidden': 'true' });
const coverTitle = el('p', { class: 'cover-title' });
const coverText = el('p', { class: 'cover-text' });
const coverAgain = el('button', { type: 'button', class: 'button', hidden: '' }, 'Watch again');
const coverReplay = el('a', { class: 'button', href: '/', hidden: '' }, 'Watch the recording');
const coverTimer = el('p', { class: 'cover-timer', 'aria-hidden': 'true' });
const say = el('p', { class: 'offscreen', role: 'status', 'aria-live': 'polite' });
const position = el('span', { class: 'position' });
const download = el('a', { class: 'text-button', href: '/', download: '', hidden: '' }, 'Download');
const helpButton = el('button', { type: 'button', class: 'text-button keys' }, icon('help'), 'Keyboard');
const statsButton = el('button', { type: 'button', class: 'text-button' }, 'Statistics');

let info: Playback | undefined;
let offer: Offer | undefined;
let board: Storyboard | undefined;
let failures = 0;
let nextTry = 0;
let timer: ReturnType<typeof setTimeout> | undefined;
let stateSince = Date.now();
let lastState = '';
let wakeLock: { release(): Promise<void> } | undefined;

player.cover.append(
  el('span', { class: 'spinner', 'aria-hidden': 'true' }),
  coverTitle,
  coverText,
  coverTimer,
  el('p', { class: 'cover-links' }, coverAgain, coverReplay),
);
player.cover.addEventListener('click', () => {
  if (player.state === 'paused') void player.play();
});
coverAgain.addEventListener('click', () => {
  const t = player.timeline();
  if (t) player.seekTo(t.start);
  void player.play();
});
player.addEventListener(CHANGE, render);
player.addEventListener(TROUBLE, () => void ask());
badge.addEventListener('click', () => player.toLive());
helpButton.addEventListener('click', () => help.showModal());
statsButton.addEventListener('click', () => stats.toggle());
document.addEventListener('keydown', onKey);
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) void ask();
});

const app = document.getElementById('app');
app?.replaceChildren(
  el(
    'main',
    { class: 'watch' },
    el('div', { class: 'stage' }, player),
    el(
      'div',
      { class: 'below' },
      el('div', { class: 'headline' }, title, el('p', { class: 'meta' }, chip, viewers, lag, way), note),
      el('div', { class: 'tools' }, download, helpButton, statsButton),
    ),
    say,
    help,
    stats.root,
  ),
);
const scrub = new Scrub({
  seek: (to) => player.seekTo(to),
  step: (by) => player.seek(by),
  picture: async (at) => {
    const date =
      player.way === 'webrtc' ? player.clock.now() + at * 1000 : (player.engine?.dateAt(at) ?? null);
    return board?.at(at - (player.timeline()?.start ?? 0), date);
  },
});
player.bar.prepend(scrub.root);
player.bar.querySelector('.spacer')?.before(position);
player.bar.append(badge, menu.root, el('media-pip-button', {}), el('media-fullscreen-button', {}));

(window as unknown as { onairPlayer: Handle }).onairPlayer = {
  latency: () => player.delay(),
  get state() {
    return player.state;
  },
  get way() {
    return player.way;
  },
  get hls() {
    return player.engine?.hls ?? null;
  },
  qualities: () => player.engine?.qualities().map((q) => q.label) ?? [],
  stats: allStats,
};

void ask();
setInterval(() => {
  if (stats.root.open) stats.update();
}, 1000);

/** Asks the server about the stream, tells the player, and plans the next question. */
async function ask(): Promise<void> {
  clearTimeout(timer);
  const sent = Date.now();
  try {
    const { playback, date } = await getPlayback(id, {
      interactive,
      current: player.way ?? '',
      webrtc: player.ways.able(sent),
      viewer: session,
    });
    player.clock.sample(date, sent, Date.now());
    info = playback;
    failures = 0;
    offer = offerOf(playback, part, location.href);
    player.find(offer.places);
    player.past = offer.past;
    // At its end it may still be called live when it has no past any more.
    if (offer.past > 0) player.hadPast = true;
    if (offer.storyboard !== (board?.url ?? '')) {
      board = offer.storyboard ? new Storyboard(offer.storyboard, offer.growing) : undefined;
    }
    player.ways.told(playback.way);
    player.tell({ type: 'status', status: offer.status, kept: player.keeps() });
    if (offer.empty) player.tell({ type: 'fault', code: EMPTY });
  } catch (err) {
    const e = err instanceof ApiError ? err : new ApiError(0, 'unreachable', String(err));
    failures++;
    if (e.status === 404) player.tell({ type: 'status', status: 'missing' });
    else player.tell({ type: 'unreachable', code: e.code || `http_${e.status}` });
  }
  clearTimeout(timer);
  const wait = jitter(Math.min(pollDelay(player.state, document.hidden, failures), player.ways.checkAfter()));
  nextTry = Date.now() + wait;
  timer = setTimeout(() => void ask(), wait);
  render();
}

function render(): void {
  const state = player.state;
  const code = player.facts.fault || player.facts.unreachable;
  if (state !== lastState) {
    const before = lastState;
    lastState = state;
    stateSince = Date.now();
    // What changed is asked for at once: a stall may be the end of the stream.
    if (before === 'playing' && (state === 'reconnecting' || state === 'ended')) void ask();
    const words = wordsFor(state, code, offer?.recording);
    say.textContent = state === 'playing' ? 'Playing' : `${words.title} ${words.text}`.trim();
    void keepAwake(state === 'playing');
  }
  const waited = (Date.now() - stateSince) / 1000;
  const words = wordsFor(state, code, offer?.recording);
  if (state === 'reconnecting' && info?.status === 'reconnecting') {
    words.text = 'The host lost the connection. The stream goes on here when it is back.';
  }
  // A picture that moves needs no cover, unless it is filler while the host is away.
  player.cover.hidden = state === 'playing';
  put(player.cover, 'data-state', state);
  text(coverTitle, words.title);
  text(coverText, state === 'error' && code ? `${words.text} (${code})` : words.text);
  text(
    coverTimer,
    state === 'reconnecting' && !offer?.recording
      ? clock(waited)
      : state === 'error'
        ? `Trying again in ${Math.max(0, Math.ceil((nextTry - Date.now()) / 1000))} s`
        : '',
  );
  const timeline = player.timeline();
  coverAgain.hidden = !(state === 'ended' && timeline !== null && player.facts.kept);
  const replay = coverAgain.hidden && (state === 'ended' || state === 'offline') ? (offer?.replay ?? '') : '';
  coverReplay.hidden = replay === '';
  if (replay) put(coverReplay, 'href', replay);
  download.hidden = !offer?.download;
  if (offer?.download) put(download, 'href', offer.download);
  const seekable = offer?.recording || player.facts.kept || player.past > 0;
  scrub.update(seekable ? timeline : null);
  text(
    position,
    seekable && timeline && !timeline.live
      ? `${clock(timeline.position - timeline.start)} / ${clock(timeline.end - timeline.start)}`
      : '',
  );
  renderBadge(state);
  text(
    title,
    info?.title || (state === 'missing' ? 'No such stream' : offer?.recording ? 'Recording' : 'Live stream'),
  );
  const page = `${title.textContent} · onair`;
  if (document.title !== page) document.title = page;
  text(viewers, info?.viewers && state === 'playing' ? count(info.viewers, 'viewer') : '');
  const d = player.delay();
  const late =
    player.way === 'webrtc' ? `${millis(d ?? 0)} from the server` : `${delay(d)} behind the camera`;
  text(
    lag,
    offer?.recording
      ? dateOf(info?.created_at)
      : d !== null && state === 'playing' && !player.engine?.over()
        ? late
        : '',
  );
  const { words: shown, how } = wayWords(state === 'playing' ? player.way : null);
  text(way, shown);
  put(lag, 'title', offer?.recording ? '' : how);
  const told = state === 'playing' || state === 'starting' ? player.ways.note() : '';
  note.hidden = told === '';
  if (note.textContent !== told) {
    note.textContent = told;
    if (told) say.textContent = told;
  }
  menu.update();
}

function renderBadge(state: ReturnType<() => typeof player.state>): void {
  const over = player.timeline()?.live === false;
  badge.hidden = over || (offer?.recording ?? false);
  if (badge.hidden) {
    put(chip, 'data-kind', 'RECORDED');
    text(
      chip,
      part ? 'Clip' : !offer?.recording ? 'Ended' : offer.growing ? 'Recording, still live' : 'Recording',
    );
    return;
  }
  const { age, limit } = player.mediaAge();
  const latency = player.engine?.latency() ?? 0;
  const away = player.behind && latency > (player.engine?.target() ?? 3) + 3;
  const kind = badgeFor({ state, mediaAge: age, limit, behind: away });
  put(badge, 'data-kind', kind);
  const labels = {
    LIVE: 'Live',
    BEHIND: `Go to live · −${clock(latency)}`,
    PAUSED: 'Go to live',
    WAITING: 'Waiting',
    OFFLINE: 'Offline',
  };
  // Where there is little room, only how far.
  text(badge, kind === 'BEHIND' && narrow.matches ? `−${clock(latency)}` : labels[kind]);
  put(badge, 'aria-label', labels[kind]);
  // The controls hide while the picture plays; this one stays.
  put(chip, 'data-kind', kind);
  text(chip, kind === 'BEHIND' || kind === 'PAUSED' ? 'Not at the live edge' : labels[kind]);
  badge.disabled = kind !== 'BEHIND' && kind !== 'PAUSED';
}

function onKey(e: KeyboardEvent): void {
  const path = e.composedPath().map((t) => {
    const node = t as Partial<HTMLDialogElement>;
    // One that was just closed may still have the focus for a moment.
    if (node.localName === 'dialog' && !node.open) return '';
    if (node.parentElement?.classList.contains('scrub')) return '[seek]';
    return node.getAttribute?.('role') === 'menu' ? '[menu]' : (node.localName ?? '');
  });
  const action = actionFor({ ...pick(e), path });
  if (!action) return;
  e.preventDefault();
  const volume = (by: number) => {
    player.video.muted = false;
    player.video.volume = Math.min(1, Math.max(0, player.video.volume + by));
  };
  const run: Record<KeyAction, () => void> = {
    play: () => player.togglePlay(),
    mute: () => player.toggleMute(),
    full: () => player.toggleFullscreen(),
    back: () => player.seek(-10),
    forward: () => player.seek(10),
    louder: () => volume(0.1),
    quieter: () => volume(-0.1),
    live: () => player.toLive(),
    stats: () => stats.toggle(),
    help: () => help.showModal(),
  };
  run[action]();
}

function pick(e: KeyboardEvent) {
  return { key: e.key, ctrlKey: e.ctrlKey, metaKey: e.metaKey, altKey: e.altKey };
}

function allStats(): Record<string, unknown> {
  return {
    playback_id: id,
    session,
    latency_mode: info?.latency_mode ?? null,
    ...player.stats(),
    time: new Date().toISOString(),
    page: location.origin + location.pathname,
    user_agent: navigator.userAgent,
  };
}

async function keepAwake(on: boolean): Promise<void> {
  try {
    if (on && !wakeLock) wakeLock = await navigator.wakeLock?.request('screen');
    else if (!on) {
      await wakeLock?.release();
      wakeLock = undefined;
    }
  } catch {
    // A courtesy where the browser has it.
  }
}

/** When a recording was made, as people write it. */
function dateOf(iso: string | null | undefined): string {
  const at = new Date(iso ?? '');
  if (Number.isNaN(at.getTime())) return '';
  return at.toLocaleString(undefined, { dateStyle: 'long', timeStyle: 'short' });
}

function text(e: HTMLElement, s: string): void {
  if (e.textContent !== s) e.textContent = s;
}

function put(e: HTMLElement, name: string, value: string): void {
  if (e.getAttribute(name) !== value) e.setAttribute(name, value);
}
