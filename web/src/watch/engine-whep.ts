import { type Engine, type EngineEvents, fetchText, LIVE_LIMIT, type Quality, SOUND_ONLY } from './engine';
import { qualityLabel } from './labels';
import { delayParts, moved, type Parts, type Reading, rate, readStats } from './rtcstats';
import type { Trouble } from './ways';
import { type Layer, layersIn, SOUND, stereo, WhepError, WhepSession } from './whep';

/** How often (ms) the connection's statistics are read, and over how many readings figures are taken. */
const READ_EVERY = 500;
const WINDOW = 6;
/** A picture that stands still this long (ms) on a standing connection is a failure. */
export const STALL_LIMIT = 4000;
/** How often (ms) is looked which layers there are. */
const LAYERS_EVERY = 30_000;

export interface WhepEvents extends EngineEvents {
  /** It does not work (any more); wait (ms) is what the server asked for. */
  onTrouble(trouble: Trouble, detail: string, wait: number): void;
}

/** Plays over WebRTC, as WHEP describes it. */
export class WhepEngine implements Engine {
  readonly name = 'webrtc';
  readonly hls = null;
  private readonly stop = new AbortController();
  private readonly pc: RTCPeerConnection;
  private session: WhepSession | null = null;
  private readings: Reading[] = [];
  private parts: Parts | null = null;
  /** Frames that the element had shown at the last reading. */
  private shown = 0;
  private aliveAt = Number.NEGATIVE_INFINITY;
  private layersAt = 0;
  private layers: Layer[] = [];
  private wish = '';
  private timer: ReturnType<typeof setInterval> | undefined;
  private failed = false;
  private readonly leave = () => this.session?.close();

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly endpoint: string,
    /** The multivariant playlist, which names what there is to choose from. */
    private readonly playlist: string,
    private readonly events: WhepEvents,
    private readonly preferredHeight: number,
  ) {
    this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  }

  async start(): Promise<void> {
    const { pc, video } = this;
    const stream = new MediaStream();
    pc.addTransceiver('video', { direction: 'recvonly' });
    pc.addTransceiver('audio', { direction: 'recvonly' });
    pc.addEventListener('track', (e) => {
      stream.addTrack(e.track);
      if (video.srcObject !== stream) video.srcObject = stream;
    });
    pc.addEventListener('connectionstatechange', () => {
      if (pc.connectionState === 'failed') this.fail(this.aliveAt > 0 ? 'lost' : 'blocked', 'ICE failed');
      else if (pc.connectionState === 'closed') this.fail('lost', 'closed');
    });
    addEventListener('pagehide', this.leave);
    this.timer = setInterval(() => void this.read(), READ_EVERY);
    try {
      const offer = await pc.createOffer();
      const sdp = stereo(offer.sdp ?? '');
      await pc.setLocalDescription({ type: 'offer', sdp });
      // Sent without this side's addresses: the server learns them from the first packet,
      // and nobody waits until the browser has found them all.
      const session = await WhepSession.open(this.endpoint, sdp, this.stop.signal);
      this.session = session;
      if (this.stop.signal.aborted) {
        session.close();
        return;
      }
      await pc.setRemoteDescription({ type: 'answer', sdp: session.answer });
    } catch (err) {
      if (this.stop.signal.aborted) return;
      if (err instanceof WhepError) this.fail(err.trouble, err.message, err.wait);
      else this.fail('refused', err instanceof Error ? err.message : String(err));
    }
  }

  destroy(): void {
    if (this.stop.signal.aborted) return;
    this.stop.abort();
    clearInterval(this.timer);
    removeEventListener('pagehide', this.leave);
    this.session?.close();
    this.pc.close();
    // The stage may still show the last picture; what plays next takes the element over.
  }

  /** Whether packets can come. */
  connected(): boolean {
    return this.pc.connectionState === 'connected';
  }

  delay(): number | null {
    return this.parts ? this.parts.network + this.parts.player : null;
  }

  latency(): null {
    return null;
  }

  target(): null {
    return null;
  }

  mediaAge(now: number): number {
    return (now - this.aliveAt) / 1000;
  }

  ageLimit(): number {
    return LIVE_LIMIT;
  }

  position(): number {
    const last = this.readings.at(-1);
    // The statistics come seldom, and late on a busy computer; the element's own count is there at once.
    return this.frames() + (last ? (last.hasVideo ? last.framesDecoded : last.audioPackets) : 0);
  }

  private frames(): number {
    return this.video.getVideoPlaybackQuality?.().totalVideoFrames ?? 0;
  }

  /** There is nothing behind the live edge. */
  toLive(): void {}

  range(): null {
    return null;
  }
  dateAt(): null {
    return null;
  }
  over(): boolean {
    return false;
  }

  probe(): Promise<string> {
    // It watches itself; nothing here asks for a new engine of the same kind.
    return Promise.reject(new Error('no playlist'));
  }

  qualities(): Quality[] {
    return this.layers.map((l, index) => ({
      index,
      height: shortSide(l),
      bitrate: l.bitrate,
      label: qualityLabel(l) || 'Audio only',
    }));
  }

  chosen(): number {
    return this.wish === '' ? -1 : this.layers.findIndex((l) => l.name === this.wish);
  }

  current(): number {
    const last = this.readings.at(-1);
    if (!last?.hasVideo) return this.chosen();
    const height = Math.min(last.width || last.height, last.height);
    return this.layers.findIndex((l) => shortSide(l) === height);
  }

  choose(index: number): void {
    const name = this.layers[index]?.name ?? '';
    const before = this.wish;
    this.wish = name;
    this.events.onQualities();
    const back = () => {
      this.wish = before;
      this.events.onQualities();
    };
    this.session?.ask(name).then((ok) => ok || back(), back);
  }

  stats(): Record<string, unknown> {
    const last = this.readings.at(-1);
    if (!last) return { connection: this.pc.connectionState };
    const first = this.readings[0];
    const bits = rate(first, last);
    const lost = last.packetsLost;
    const ms = (s: number | null | undefined) =>
      s === null || s === undefined ? null : Math.round(s * 1000);
    return {
      codec: [last.videoCodec, last.audioCodec].filter(Boolean).join(', ') || null,
      connection: `${this.pc.connectionState}${last.transport ? ` over ${last.transport.toUpperCase()}` : ''}`,
      delay_is: 'half the round trip + jitter buffer and decoder',
      network_ms: ms(this.parts?.network),
      jitter_buffer_and_decoder_ms: ms(this.parts?.player),
      round_trip_ms: ms(last.rtt),
      jitter_ms: ms(last.jitter),
      bitrate: bits === null ? null : Math.round(bits),
      frame_rate: last.fps,
      frames: last.framesDecoded,
      frames_dropped: last.framesDropped,
      packets_lost: `${lost} of ${last.packetsReceived + Math.max(0, lost)}`,
      repairs_asked: last.nacks,
      layer_asked_for: this.wish || 'automatic',
    };
  }

  private async read(): Promise<void> {
    if (this.failed || this.stop.signal.aborted) return;
    const report = await this.pc.getStats().catch(() => null);
    if (!report || this.stop.signal.aborted) return;
    const now = Date.now();
    const reading = readStats((report as unknown as Map<string, unknown>).values(), now);
    // Without a picture the sound tells whether it goes on.
    if (this.wish === SOUND) reading.hasVideo = false;
    const before = this.readings.at(-1);
    const frames = this.frames();
    if (moved(before, reading) || frames > this.shown) this.aliveAt = now;
    this.shown = frames;
    this.readings = [...this.readings.slice(-WINDOW + 1), reading];
    this.parts = delayParts(this.readings[0], reading) ?? this.parts;
    if (this.aliveAt < 0) return;
    // A hidden page's decoder may be held still by the browser.
    if (document.hidden) this.aliveAt = now;
    // The server may have ended the session without a word, as by a restart.
    if (now - this.aliveAt > STALL_LIMIT) this.fail('stalled', 'no new picture');
    else if (now - this.layersAt > LAYERS_EVERY) {
      this.layersAt = now;
      void this.readLayers();
    }
  }

  private async readLayers(): Promise<void> {
    try {
      const layers = layersIn(await fetchText(this.playlist));
      if (this.stop.signal.aborted) return;
      const first = this.layers.length === 0;
      this.layers = layers;
      const wanted = layers.findIndex((l) => shortSide(l) === this.preferredHeight);
      if (first && wanted >= 0 && this.preferredHeight >= SOUND_ONLY) this.choose(wanted);
      else this.events.onQualities();
    } catch {
      // The list as it was stays.
    }
  }

  private fail(trouble: Trouble, detail: string, wait = 0): void {
    if (this.failed || this.stop.signal.aborted) return;
    this.failed = true;
    this.events.onTrouble(trouble, detail, wait);
  }
}

function shortSide(l: Layer): number {
  return Math.min(l.width || l.height, l.height);
}
