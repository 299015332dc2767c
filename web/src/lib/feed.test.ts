import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { follow, SILENCE } from './feed';
import type { FeedEvent } from './types';

/** A response whose body the test writes. */
function stream() {
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  const body = new ReadableStream<Uint8Array>({
    start(c) {
      controller = c;
    },
  });
  return {
    response: new Response(body, { status: 200 }),
    write: (s: string) => controller.enqueue(new TextEncoder().encode(s)),
    end: () => controller.close(),
    fail: () => controller.error(new Error('cut')),
  };
}

const event = (seq: number) =>
  `id: ${seq}\nevent: live_stream.active\ndata: {"seq":${seq},"type":"live_stream.active","live_stream_id":"ls_1"}\n\n`;

describe('follow', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  function setup(answers: (() => Response | Promise<Response>)[]) {
    const events: FeedEvent[] = [];
    const opens: boolean[] = [];
    const headers: Record<string, string>[] = [];
    const unauthorized = vi.fn();
    const stop = new AbortController();
    const fetched = vi.fn(async (_url: unknown, init?: RequestInit) => {
      headers.push(init?.headers as Record<string, string>);
      const next = answers.shift();
      if (!next) return new Promise<Response>(() => {});
      return next();
    });
    const done = follow(
      {
        token: 't',
        onEvent: (e) => events.push(e),
        onOpen: (o) => opens.push(o),
        onUnauthorized: unauthorized,
        fetch: fetched as unknown as typeof fetch,
      },
      stop.signal,
    );
    return { events, opens, headers, unauthorized, stop, fetched, done };
  }

  it('sends the token, delivers events, and resumes after the last one', async () => {
    const a = stream();
    const b = stream();
    const t = setup([() => a.response, () => b.response]);
    await vi.advanceTimersByTimeAsync(0);
    a.write(event(1) + event(2));
    await vi.advanceTimersByTimeAsync(0);
    a.fail();
    await vi.advanceTimersByTimeAsync(1000);
    b.write(event(3));
    await vi.advanceTimersByTimeAsync(0);
    expect(t.events.map((e) => e.seq)).toEqual([1, 2, 3]);
    expect(t.opens).toEqual([true, false, true]);
    expect(t.headers[0]).toMatchObject({ Authorization: 'Bearer t' });
    expect(t.headers[0]).not.toHaveProperty('Last-Event-ID');
    expect(t.headers[1]).toMatchObject({ 'Last-Event-ID': '2' });
    t.stop.abort();
    b.end();
    await t.done;
  });

  it('waits longer after each failure', async () => {
    const refuse = () => new Response('', { status: 503 });
    const t = setup([refuse, refuse, refuse, refuse, refuse]);
    await vi.advanceTimersByTimeAsync(300);
    expect(t.fetched).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(400);
    expect(t.fetched).toHaveBeenCalledTimes(2);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(t.fetched).toHaveBeenCalledTimes(6);
    t.stop.abort();
  });

  it('gives a silent connection up', async () => {
    const a = stream();
    const t = setup([() => a.response]);
    await vi.advanceTimersByTimeAsync(0);
    const signal = t.fetched.mock.calls[0]?.[1]?.signal;
    await vi.advanceTimersByTimeAsync(SILENCE + 1);
    expect(signal?.aborted).toBe(true);
    t.stop.abort();
  });

  it('stops at 401 and says so', async () => {
    const t = setup([() => new Response('', { status: 401 })]);
    await t.done;
    expect(t.unauthorized).toHaveBeenCalledOnce();
    expect(t.fetched).toHaveBeenCalledOnce();
  });

  it('passes on that events were lost, and skips what it cannot read', async () => {
    const a = stream();
    const t = setup([() => a.response]);
    await vi.advanceTimersByTimeAsync(0);
    a.write('data: not json\n\nevent: lagged\ndata: {"missed":3}\n\n');
    await vi.advanceTimersByTimeAsync(0);
    expect(t.events.map((e) => e.type)).toEqual(['lagged']);
    t.stop.abort();
  });
});
