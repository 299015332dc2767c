import { afterEach, describe, expect, it, vi } from 'vitest';
import { Api, type ApiError, CALL_TIMEOUT, inWords } from './api';

const answer = (status: number, body?: unknown, headers: Record<string, string> = {}) =>
  new Response(body === undefined ? null : JSON.stringify(body), { status, headers });

function withFetch(f: (url: string, init: RequestInit) => Promise<Response>) {
  const mock = vi.fn(f);
  vi.stubGlobal('fetch', mock);
  return mock;
}

async function failure(p: Promise<unknown>): Promise<ApiError> {
  return p.then(
    () => {
      throw new Error('it did not fail');
    },
    (e) => e as ApiError,
  );
}

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe('Api', () => {
  it('sends the token and JSON, and never cookies', async () => {
    const mock = withFetch(async () => answer(201, { id: 'ls_1' }));
    const stream = await new Api('secret').create({ title: 'x', latency_mode: 'low' });
    expect(stream.id).toBe('ls_1');
    const [url, init] = mock.mock.calls[0] ?? [];
    expect(url).toBe('/v1/live-streams');
    expect(init).toMatchObject({
      method: 'POST',
      credentials: 'omit',
      headers: { Authorization: 'Bearer secret', 'Content-Type': 'application/json' },
      body: '{"title":"x","latency_mode":"low"}',
    });
  });

  it('takes an answer without a body', async () => {
    withFetch(async () => answer(204));
    await expect(new Api('t').remove('ls_1')).resolves.toBeUndefined();
  });

  it('escapes ids', async () => {
    const mock = withFetch(async () => answer(200, {}));
    await new Api('t').stream('../session');
    expect(mock.mock.calls[0]?.[0]).toBe('/v1/live-streams/..%2Fsession');
  });

  it('turns a problem into an error with its words', async () => {
    withFetch(async () =>
      answer(422, {
        title: 'Unprocessable',
        detail: 'The title is too long.',
        code: 'invalid',
        errors: [{ detail: 'title: at most 200 characters', pointer: '/title' }],
      }),
    );
    const err = await failure(new Api('t').create({}));
    expect(err).toMatchObject({ status: 422, code: 'invalid' });
    expect(inWords(err)).toBe('The title is too long. · title: at most 200 characters');
  });

  it('says when the token is refused', async () => {
    withFetch(async () => answer(401, { detail: 'wrong' }));
    const out = vi.fn();
    await failure(new Api('t', out).streams());
    expect(out).toHaveBeenCalledOnce();
  });

  it('names the wait of a 429, the request id of a 500, and survives an HTML error page', async () => {
    withFetch(async () => answer(429, { detail: 'slow down' }, { 'Retry-After': '30' }));
    expect(inWords(await failure(new Api('t').session()))).toContain('Wait 30 s');
    withFetch(async () => answer(500, { detail: 'it broke', request_id: 'req_9' }));
    expect(inWords(await failure(new Api('t').session()))).toMatch(/it broke.*req_9/);
    withFetch(async () => new Response('<html>', { status: 502, statusText: 'Bad Gateway' }));
    expect(inWords(await failure(new Api('t').session()))).toContain('Bad Gateway');
  });

  it('tells a server that is away from one that is slow', async () => {
    withFetch(async () => {
      throw new TypeError('Failed to fetch');
    });
    expect(await failure(new Api('t').session())).toMatchObject({ status: 0, code: 'unreachable' });

    // AbortSignal.timeout is outside fake timers, so the time-out is put in its place.
    const timeout = new AbortController();
    const spy = vi.spyOn(AbortSignal, 'timeout').mockReturnValue(timeout.signal);
    withFetch(
      (_url, init) =>
        new Promise((_, reject) => {
          init.signal?.addEventListener('abort', () => reject(new DOMException('', 'AbortError')));
        }),
    );
    const slow = failure(new Api('t').session());
    timeout.abort();
    expect(await slow).toMatchObject({ status: 0, code: 'timeout' });
    expect(spy).toHaveBeenCalledWith(CALL_TIMEOUT);
    spy.mockRestore();
  });
});
