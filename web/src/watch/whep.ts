import type { Trouble } from './ways';

/** How long (ms) the server may take to answer an offer: it does so at once, before there is media. */
const ANSWER_LIMIT = 4000;

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

  /** Asks for a layer; '' leaves the choice to the server. */
  async ask(layer: string): Promise<boolean> {
    if (!this.url) return false;
    const res = await fetch(`${this.url}/layer`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ layer }),
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

/** What the picture as its publisher sends it, and sound alone, are called as layers. */
const SOURCE = 'source';
export const SOUND = 'audio';

/**
 * The layers in a multivariant playlist: WebRTC and HLS offer the same renditions under the
 * same names, which are the last folders of their addresses. Of several that the publisher
 * sends itself only the first has a name that WebRTC knows.
 */
export function layersIn(playlist: string): Layer[] {
  const found = new Map<string, Layer>();
  const lines = playlist.split(/\r?\n/);
  for (const [i, line] of lines.entries()) {
    if (!line.startsWith('#EXT-X-STREAM-INF:')) continue;
    const attribute = (name: string) => new RegExp(`[:,]${name}=([^,]+)`).exec(line)?.[1] ?? '';
    const [width = 0, height = 0] = attribute('RESOLUTION').split('x').map(Number);
    const folder =
      lines
        .slice(i + 1)
        .find((l) => l !== '' && l[0] !== '#')
        ?.split('/')
        .at(-2) ?? '';
    const name = height === 0 ? SOUND : /^v\d+$/.test(folder) ? SOURCE : folder;
    if (name === '' || found.has(name)) continue;
    const bitrate = Number(attribute('AVERAGE-BANDWIDTH') || attribute('BANDWIDTH')) || 0;
    found.set(name, { name, width, height, bitrate, frameRate: Number(attribute('FRAME-RATE')) || 0 });
  }
  const all = [...found.values()];
  // Without a picture to choose there is nothing to choose.
  return all.some((l) => l.height > 0) ? all : [];
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
