import type {
  Health,
  LadderMode,
  LatencyMode,
  LiveStream,
  LiveStreamList,
  Playback,
  Problem,
  Rendition,
  ServerInfo,
  Target,
} from './types';

/** How long a call may take before it is given up, in ms. */
export const CALL_TIMEOUT = 15_000;

/** What the API refused, or why it could not be reached (status 0). */
export class ApiError extends Error {
  override name = 'ApiError';
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    /** Seconds to wait before the next try; 0 if the server named none. */
    readonly retryAfter = 0,
    readonly requestId = '',
  ) {
    super(message);
  }
}

/** What to tell a person about an error: what happened and what to do. */
export function inWords(err: unknown): string {
  if (!(err instanceof ApiError)) return err instanceof Error ? err.message : String(err);
  if (err.status === 0) return err.message;
  if (err.status === 429) {
    return `Too many tries. Wait ${err.retryAfter > 0 ? `${err.retryAfter} s` : 'a minute'} and try again.`;
  }
  if (err.status >= 500) {
    const id = err.requestId ? ` The request id for the log is ${err.requestId}.` : '';
    return `The server failed (${err.status}): ${err.message}.${id}`.replace('..', '.');
  }
  return err.message;
}

async function toError(res: Response): Promise<ApiError> {
  let problem: Problem = {};
  try {
    problem = (await res.json()) as Problem;
  } catch {
    // Not every hop before the server speaks problem+json.
  }
  const fields = (problem.errors ?? []).map((e) => e.detail).filter(Boolean);
  const text = [problem.detail || problem.title || res.statusText || `HTTP ${res.status}`, ...fields];
  const after = Number.parseInt(res.headers.get('Retry-After') ?? '', 10);
  return new ApiError(
    res.status,
    problem.code ?? '',
    [...new Set(text)].join(' · '),
    Number.isFinite(after) && after > 0 ? after : 0,
    problem.request_id ?? '',
  );
}

/** Fetch that turns refusals and network trouble into ApiError. */
export async function call(path: string, init: RequestInit = {}): Promise<Response> {
  const timeout = AbortSignal.timeout(CALL_TIMEOUT);
  const signal = init.signal ? AbortSignal.any([init.signal, timeout]) : timeout;
  let res: Response;
  try {
    res = await fetch(path, { ...init, signal, credentials: 'omit', cache: 'no-store' });
  } catch (err) {
    if (init.signal?.aborted) throw err;
    const what = timeout.aborted ? 'The server did not answer in time.' : 'The server cannot be reached.';
    throw new ApiError(0, timeout.aborted ? 'timeout' : 'unreachable', `${what} Check the connection.`);
  }
  if (!res.ok) throw await toError(res);
  return res;
}

/** What a player says of itself when it asks which way to play. */
export interface Ask {
  /** Whether the viewer takes part, so that delay matters more. */
  interactive: boolean;
  /** The way that plays now; '' for none. */
  current: string;
  /** Whether WebRTC can be used. */
  webrtc: boolean;
  /** Any text that stays the same while the page is open. */
  viewer: string;
}

/** What anybody may know about a playback id. */
export async function getPlayback(id: string, ask: Ask) {
  const query = new URLSearchParams({ webrtc: String(ask.webrtc), viewer: ask.viewer });
  if (ask.interactive) query.set('interactive', 'true');
  if (ask.current) query.set('current', ask.current);
  const res = await call(`/v1/playback/${encodeURIComponent(id)}?${query}`);
  return { playback: (await res.json()) as Playback, date: res.headers.get('Date') };
}

export interface StreamChange {
  title?: string;
  latency_mode?: LatencyMode;
  reconnect_window?: number;
  srt_passphrase?: string | null;
  source?: { url?: string; on_demand?: boolean; enabled?: boolean } | null;
  /** Profile and rungs exclude each other; null, and no rungs, are the server's default. */
  ladder?: { profile?: string | null; rungs?: string[] | null; mode?: LadderMode | null };
  realtime_viewers?: number | null;
  multitrack?: { enabled?: boolean; max_video_tracks?: number | null; max_bitrate?: number | null };
}

export interface NewTarget {
  url: string;
  stream_key?: string;
  passthrough?: string;
}

/** The settings to paste into an OBS that does not ask for them itself. */
export async function overrideJson(golive: string, streamKey: string): Promise<string> {
  const res = await call(new URL(golive, location.href).pathname, {
    headers: { Authorization: `Bearer ${streamKey}` },
  });
  return JSON.stringify(await res.json(), null, 2);
}

/** The API with an administrator's token. */
export class Api {
  constructor(
    readonly token: string,
    private readonly onUnauthorized: () => void = () => {},
  ) {}

  async request<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
    const headers: Record<string, string> = { Authorization: `Bearer ${this.token}` };
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    try {
      const res = await call(path, {
        method,
        headers,
        ...(body !== undefined ? { body: JSON.stringify(body) } : {}),
        ...(signal ? { signal } : {}),
      });
      const text = await res.text();
      return (text ? JSON.parse(text) : undefined) as T;
    } catch (err) {
      if (err instanceof ApiError && err.status === 401) this.onUnauthorized();
      throw err;
    }
  }

  session = () => this.request<{ role: string }>('GET', '/v1/session');
  server = () => this.request<ServerInfo>('GET', '/v1/server');
  streams = (cursor?: string) =>
    this.request<LiveStreamList>(
      'GET',
      `/v1/live-streams?limit=100${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`,
    );
  stream = (id: string, signal?: AbortSignal) =>
    this.request<LiveStream>('GET', this.path(id), undefined, signal);
  create = (change: StreamChange) => this.request<LiveStream>('POST', '/v1/live-streams', change);
  update = (id: string, change: StreamChange) => this.request<LiveStream>('PATCH', this.path(id), change);
  remove = (id: string) => this.request<void>('DELETE', this.path(id));
  act = (id: string, verb: 'reset-stream-key' | 'enable' | 'disable' | 'complete') =>
    this.request<LiveStream | undefined>('POST', `${this.path(id)}/${verb}`);

  health = (id: string, signal?: AbortSignal) =>
    this.request<Health>('GET', `${this.path(id)}/health`, undefined, signal);
  renditions = (id: string, signal?: AbortSignal) =>
    this.request<{ data: Rendition[] }>('GET', `${this.path(id)}/renditions`, undefined, signal);
  addTarget = (id: string, target: NewTarget) => this.request<Target>('POST', this.targets(id), target);
  switchTarget = (id: string, target: string, enabled: boolean) =>
    this.request<Target>('PATCH', `${this.targets(id)}/${encodeURIComponent(target)}`, { enabled });
  removeTarget = (id: string, target: string) =>
    this.request<void>('DELETE', `${this.targets(id)}/${encodeURIComponent(target)}`);

  private targets(id: string) {
    return `${this.path(id)}/simulcast-targets`;
  }

  private path(id: string) {
    return `/v1/live-streams/${encodeURIComponent(id)}`;
  }
}
