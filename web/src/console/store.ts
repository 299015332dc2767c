import { computed, signal } from '@preact/signals';
import { Api, ApiError, inWords } from '../lib/api';
import { follow } from '../lib/feed';
import type { FeedEvent, LiveStream, ServerInfo } from '../lib/types';
import { forgetToken, savedToken, saveToken } from './session';

/** How many events the page remembers for its activity lists. */
const MAX_ACTIVITY = 200;
/** How often (ms) the list is read again: with the feed for viewers and bitrates, without it for everything. */
const POLL_WITH_FEED = 10_000;
const POLL_WITHOUT = 4000;
/** Events about one stream within this time (ms) make one request. */
const GATHER = 150;

export const api = signal<Api | null>(null);
/** Why the person was signed out, to be shown on the sign-in page. */
export const signedOutBecause = signal('');
export const server = signal<ServerInfo>({});
export const streams = signal<LiveStream[] | null>(null);
export const nextCursor = signal<string | null>(null);
export const listError = signal('');
export const feedOpen = signal<boolean | null>(null);
export const activity = signal<FeedEvent[]>([]);
export const liveCount = computed(() => streams.value?.filter((s) => s.status === 'active').length ?? 0);

/** A short message about what was just done. */
export const toast = signal<{ text: string; bad: boolean; at: number } | null>(null);

export function say(text: string, bad = false): void {
  toast.value = { text, bad, at: Date.now() };
}

let stop: AbortController | null = null;
let timer: ReturnType<typeof setTimeout> | undefined;
const pending = new Map<string, ReturnType<typeof setTimeout>>();

/** Tries the token; signs in and begins to follow, or throws why not. */
export async function signIn(token: string, stay: boolean): Promise<void> {
  const candidate = new Api(token, () => signOut('The admin token is no longer accepted. Sign in again.'));
  await new Api(token).session();
  saveToken(token, stay);
  begin(candidate);
}

/** Continues with a token from an earlier visit; false if there is none. */
export function resume(): boolean {
  const token = savedToken();
  if (!token) return false;
  begin(new Api(token, () => signOut('The admin token is no longer accepted. Sign in again.')));
  return true;
}

export function signOut(because = ''): void {
  stop?.abort();
  stop = null;
  clearTimeout(timer);
  for (const t of pending.values()) clearTimeout(t);
  pending.clear();
  forgetToken();
  api.value = null;
  streams.value = null;
  activity.value = [];
  feedOpen.value = null;
  signedOutBecause.value = because;
}

function begin(next: Api): void {
  stop?.abort();
  stop = new AbortController();
  api.value = next;
  signedOutBecause.value = '';
  void next.server().then(
    (s) => {
      server.value = s;
    },
    () => {},
  );
  void refresh();
  void follow(
    {
      token: next.token,
      onEvent,
      onOpen: (open) => {
        feedOpen.value = open;
        // Whatever happened in between is in the list.
        if (open) void refresh();
      },
      onUnauthorized: () => signOut('The admin token is no longer accepted. Sign in again.'),
    },
    stop.signal,
  );
}

/** Reads the first page of streams and plans the next reading. */
export async function refresh(): Promise<void> {
  clearTimeout(timer);
  const current = api.value;
  if (!current) return;
  try {
    const list = await current.streams();
    if (api.value !== current) return;
    const first = new Set(list.data.map((s) => s.id));
    // Pages that were asked for stay below the first.
    const more = nextCursor.value === null ? [] : (streams.value ?? []).slice(list.data.length);
    const extended =
      streams.value !== null && streams.value.length > list.data.length && list.next_cursor !== null;
    streams.value = extended ? [...list.data, ...more.filter((s) => !first.has(s.id))] : list.data;
    if (!extended) nextCursor.value = list.next_cursor;
    listError.value = '';
  } catch (err) {
    listError.value = inWords(err);
  }
  if (api.value !== current) return;
  clearTimeout(timer);
  timer = setTimeout(poll, feedOpen.value ? POLL_WITH_FEED : POLL_WITHOUT);
}

function poll(): void {
  if (document.hidden) timer = setTimeout(poll, POLL_WITHOUT);
  else void refresh();
}

export async function loadMore(): Promise<void> {
  const cursor = nextCursor.value;
  if (!api.value || !cursor) return;
  const list = await api.value.streams(cursor);
  const known = new Set((streams.value ?? []).map((s) => s.id));
  streams.value = [...(streams.value ?? []), ...list.data.filter((s) => !known.has(s.id))];
  nextCursor.value = list.next_cursor;
}

/** Puts a stream that was just read into the list. */
export function put(stream: LiveStream): void {
  const list = streams.value ?? [];
  const at = list.findIndex((s) => s.id === stream.id);
  streams.value = at < 0 ? [stream, ...list] : list.map((s) => (s.id === stream.id ? stream : s));
}

export function drop(id: string): void {
  streams.value = (streams.value ?? []).filter((s) => s.id !== id);
}

function onEvent(e: FeedEvent): void {
  if (e.type === 'lagged') {
    // Events were lost: what they told is in the list.
    void refresh();
    return;
  }
  activity.value = [e, ...activity.value].slice(0, MAX_ACTIVITY);
  const id = e.live_stream_id;
  if (!id) return;
  if (e.type === 'live_stream.deleted') {
    drop(id);
    return;
  }
  if (pending.has(id)) return;
  pending.set(
    id,
    setTimeout(async () => {
      pending.delete(id);
      try {
        const stream = await api.value?.stream(id);
        if (stream) put(stream);
      } catch (err) {
        if (err instanceof ApiError && err.status === 404) drop(id);
      }
    }, GATHER),
  );
}
