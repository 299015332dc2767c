import type { Trouble } from './ways';

/** How long (ms) the server may take to answer an offer: it does so at once, before there is media. */
const ANSWER_LIMIT = 4000;
/** Longest time (ms) that gathering may hold the offer; what is found later is not needed by this server. */
const GATHER_LIMIT = 400;

/** WebRTC playback that did not come about, as the page's choice of a way understands it. */
export class WhepError extends Error {
  override name = 'WhepError';
  constructor(
    readonly trouble: Trouble,
    message: string,
    /** Ms that the server asked to wait; 0 if it named none. */
    readonly wait = 0,
  ) {
    super(message);
  }
}

/** A layer that a viewer can ask for. */
export interface Layer {
  name: string;
  width: number;
  height: number;
  frameRate: number;
  bitrate: number;
}

/** The viewer's end of a WHEP session: POST, the layer's resource, DELETE. */
export class WhepSession {
  private constructor(
    /** Where the session is; '' if the server named no place. */
    private readonly url: string,
    readonly answer: string,
  ) {}

  /** Offers to receive and returns the session that the server made; rejects with a WhepError. */
  static async open(endpoint: string, offer: string, signal: AbortSignal): Promise<WhepSession> {
    let res: Response;
    try {
      res = await fetch(endpoint, {
        method: 'POST',
        headers: { 'Content-Type': 'application/sdp' },
        body: offer,
        credentials: 'omit',
        cache: 'no-store',
        signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_LIMIT)]),
      });
    } catch (err) {
      if (signal.aborted) throw err;
      throw new WhepError('unreachable', 'the server did not answer the offer');
    }
    if (!res.ok) throw await refusal(res);
    const place = res.headers.get('Location');
    // A server on another origin that hides the header still plays; it sees the viewer go by silence.
    return new WhepSession(place ? new URL(place, res.url || endpoint).href : '', await res.text());
  }

  /** The layers to choose from, and the one that was asked for ('' is automatic). */
  async layers(): Promise<{ layers: Layer[]; wish: string; current: string }> {
    const none = { layers: [], wish: '', current: '' };
    if (!this.url) return none;
    const res = await fetch(`${this.url}/layer`, {
      credentials: 'omit',
      cache: 'no-store',
      signal: AbortSignal.timeout(ANSWER_LIMIT),
    });
    if (!res.ok) return none;
    return readLayers(await res.json());
  }

  /** Asks for a layer; '' leaves the choice to the server. */
  async ask(layer: string): Promise<boolean> {
    if (!this.url) return false;
    const res = await fetch(`${this.url}/layer`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ encodingId: layer }),
      credentials: 'omit',
      signal: AbortSignal.timeout(ANSWER_LIMIT),
    });
    return res.ok;
  }

  /** Leaves; also while the page is being closed. */
  close(): void {
    if (!this.url) return;
    void fetch(this.url, { method: 'DELETE', keepalive: true, credentials: 'omit' }).catch(() => {});
  }
}

async function refusal(res: Response): Promise<WhepError> {
  let detail = '';
  try {
    const body = (await res.json()) as { detail?: string; title?: string };
    detail = body.detail || body.title || '';
  } catch {
    // Not every hop before the server explains itself.
  }
  const after = Number.parseInt(res.headers.get('Retry-After') ?? '', 10);
  const wait = Number.isFinite(after) && after > 0 ? after * 1000 : 0;
  return new WhepError(troubleOf(res.status), `${res.status} ${detail || res.statusText}`.trim(), wait);
}

/** What a status of the answer means for the choice of a way. */
export function troubleOf(status: number): Trouble {
  if (status === 429 || status === 503 || status === 409) return 'busy';
  if (status >= 500 || status === 408) return 'unreachable';
  return 'refused';
}

/** The layers in what the server says; anything unexpected is no layer. */
export function readLayers(body: unknown): { layers: Layer[]; wish: string; current: string } {
  const b = (body ?? {}) as Record<string, unknown>;
  const list = Array.isArray(b.layers) ? (b.layers as Record<string, unknown>[]) : [];
  const num = (v: unknown) => (typeof v === 'number' && Number.isFinite(v) ? v : 0);
  const text = (v: unknown) => (typeof v === 'string' ? v : '');
  return {
    layers: list
      .filter((l) => text(l?.encodingId) !== '')
      .map((l) => ({
        name: text(l.encodingId),
        width: num(l.width),
        height: num(l.height),
        frameRate: num(l.frameRate),
        bitrate: num(l.bitrate),
      })),
    wish: text(b.wish),
    current: text(b.current),
  };
}

/** Asks for stereo: without this in the receiver's own description Chromium plays Opus as mono. */
export function stereo(sdp: string): string {
  const payload = /^a=rtpmap:(\d+) opus\/48000\/2\r?$/im.exec(sdp)?.[1];
  if (!payload) return sdp;
  const format = new RegExp(`^(a=fmtp:${payload} )([^\\r\\n]*)`, 'm');
  if (!format.test(sdp)) {
    return sdp.replace(
      new RegExp(`^(a=rtpmap:${payload} [^\\r\\n]*)`, 'm'),
      `$1\r\na=fmtp:${payload} stereo=1`,
    );
  }
  return sdp.replace(format, (line, head: string, params: string) =>
    /(^|;)\s*stereo=/.test(params) ? line : `${head}${params};stereo=1`,
  );
}

/** Resolves when the connection knows its own addresses, or soon after: the server learns them by itself. */
export function gathered(pc: RTCPeerConnection, signal: AbortSignal): Promise<void> {
  if (pc.iceGatheringState === 'complete') return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      pc.removeEventListener('icegatheringstatechange', look);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const look = () => pc.iceGatheringState === 'complete' && done();
    const timer = setTimeout(done, GATHER_LIMIT);
    pc.addEventListener('icegatheringstatechange', look);
    signal.addEventListener('abort', done);
  });
}
