import { Backoff, pause } from './backoff';
import { SseParser } from './sse';
import type { FeedEvent } from './types';

/** The server sends a comment every 15 s; silence for this long (ms) means that the connection is dead. */
export const SILENCE = 40_000;

export interface FeedOptions {
  token: string;
  onEvent: (e: FeedEvent) => void;
  /** Told when the feed opens (true) and when it is lost (false). */
  onOpen: (open: boolean) => void;
  onUnauthorized?: () => void;
  fetch?: typeof fetch;
}

/**
 * Follows /v1/events until the signal aborts: reconnects with growing pauses and
 * resumes after the last event it saw.
 */
export async function follow(o: FeedOptions, signal: AbortSignal): Promise<void> {
  const get = o.fetch ?? fetch;
  const backoff = new Backoff(500, 15_000);
  let lastId = '';
  while (!signal.aborted) {
    const attempt = new AbortController();
    const stop = () => attempt.abort();
    signal.addEventListener('abort', stop);
    let watchdog = setTimeout(stop, SILENCE);
    try {
      const headers: Record<string, string> = {
        Authorization: `Bearer ${o.token}`,
        Accept: 'text/event-stream',
      };
      if (lastId) headers['Last-Event-ID'] = lastId;
      const res = await get('/v1/events', {
        headers,
        signal: attempt.signal,
        credentials: 'omit',
        cache: 'no-store',
      });
      if (res.status === 401) {
        o.onUnauthorized?.();
        return;
      }
      if (!res.ok || !res.body) throw new Error(`event feed: HTTP ${res.status}`);
      o.onOpen(true);
      backoff.reset();
      const parser = new SseParser((m) => {
        const event = parseEvent(m.event, m.data);
        if (event) o.onEvent(event);
      });
      parser.lastId = lastId;
      const reader = res.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        clearTimeout(watchdog);
        watchdog = setTimeout(stop, SILENCE);
        parser.push(value);
        lastId = parser.lastId;
      }
    } catch {
      // Whatever it was, the answer is the same: wait and connect again.
    } finally {
      clearTimeout(watchdog);
      signal.removeEventListener('abort', stop);
      attempt.abort();
    }
    if (signal.aborted) return;
    o.onOpen(false);
    await pause(backoff.delay(), signal);
  }
}

/** The event in a message. "lagged" says that the feed lost some, and has no body that matters. */
function parseEvent(type: string, data: string): FeedEvent | undefined {
  if (type === 'lagged') return { seq: 0, at: new Date().toISOString(), type };
  try {
    const e = JSON.parse(data) as FeedEvent;
    return typeof e.type === 'string' ? e : undefined;
  } catch {
    return undefined;
  }
}
