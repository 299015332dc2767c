/** What one look at a connection's statistics says; counters run from its beginning. */
export interface Reading {
  /** When it was read, in ms. */
  at: number;
  hasVideo: boolean;
  framesDecoded: number;
  framesDropped: number;
  /** Seconds that all decoded frames together took from their first packet to the decoder's output. */
  processing: number;
  /** Seconds that everything emitted by the jitter buffers waited in them, and how much was emitted. */
  buffered: number;
  emitted: number;
  audioPackets: number;
  bytes: number;
  packetsLost: number;
  packetsReceived: number;
  nacks: number;
  jitter: number | null;
  /** Round trip in seconds. */
  rtt: number | null;
  available: number | null;
  width: number;
  height: number;
  fps: number | null;
  videoCodec: string;
  audioCodec: string;
  /** "udp" or "tcp"; '' before a pair was chosen. */
  transport: string;
}

type Entry = Record<string, unknown> & { type: string };

/** Reads what the player needs out of a report of getStats. */
export function readStats(entries: Iterable<unknown>, at: number): Reading {
  const all = [...entries] as Entry[];
  const byId = new Map(all.map((e) => [String(e.id), e]));
  const inbound = all.filter((e) => e.type === 'inbound-rtp');
  const video = inbound.find((e) => e.kind === 'video' && num(e.packetsReceived) > 0);
  const audio = inbound.find((e) => e.kind === 'audio');
  const main = video ?? audio;
  const transport = all.find((e) => e.type === 'transport');
  const pair =
    byId.get(String(transport?.selectedCandidatePairId)) ??
    all.find((e) => e.type === 'candidate-pair' && e.nominated === true && e.state === 'succeeded');
  const local = byId.get(String(pair?.localCandidateId));
  const remote = byId.get(String(pair?.remoteCandidateId));
  const codec = (e: Entry | undefined) =>
    String(byId.get(String(e?.codecId))?.mimeType ?? '').replace(/^\w+\//, '');
  const sum = (key: string) => inbound.reduce((n, e) => n + num(e[key]), 0);
  return {
    at,
    hasVideo: video !== undefined,
    framesDecoded: num(video?.framesDecoded),
    framesDropped: num(video?.framesDropped),
    processing: num(video?.totalProcessingDelay),
    buffered: num(main?.jitterBufferDelay),
    emitted: num(main?.jitterBufferEmittedCount),
    audioPackets: num(audio?.packetsReceived),
    bytes: sum('bytesReceived'),
    packetsLost: sum('packetsLost'),
    packetsReceived: sum('packetsReceived'),
    nacks: sum('nackCount'),
    jitter: opt(main?.jitter),
    rtt: opt(pair?.currentRoundTripTime),
    available: opt(pair?.availableIncomingBitrate),
    width: num(video?.frameWidth),
    height: num(video?.frameHeight),
    fps: opt(video?.framesPerSecond),
    videoCodec: codec(video),
    audioCodec: codec(audio),
    transport: String((local?.candidateType === 'relay' && local?.relayProtocol) || remote?.protocol || ''),
  };
}

/** Where the delay of a real-time picture comes from, in seconds. */
export interface Parts {
  /** Half the round trip. */
  network: number;
  /** From a frame's first packet until it is decoded: waiting in the jitter buffer and decoding. */
  player: number;
}

/**
 * What of the delay can be measured here: half the round trip, and the time in the jitter
 * buffer and the decoder between two readings. Null while nothing was played between them.
 */
export function delayParts(from: Reading | undefined, to: Reading): Parts | null {
  if (!from) return null;
  const network = (to.rtt ?? from.rtt ?? 0) / 2;
  const frames = to.framesDecoded - from.framesDecoded;
  const spent = to.processing - from.processing;
  if (to.hasVideo && frames > 0 && spent > 0) return { network, player: spent / frames };
  const emitted = to.emitted - from.emitted;
  if (emitted > 0) return { network, player: Math.max(0, (to.buffered - from.buffered) / emitted) };
  return null;
}

/** Whether new media was shown or heard between two readings. */
export function moved(from: Reading | undefined, to: Reading): boolean {
  if (!from) return false;
  return to.hasVideo ? to.framesDecoded > from.framesDecoded : to.audioPackets > from.audioPackets;
}

/** Bits a second between two readings; null without a time between them. */
export function rate(from: Reading | undefined, to: Reading): number | null {
  return from && to.at > from.at ? ((to.bytes - from.bytes) * 8000) / (to.at - from.at) : null;
}

function num(v: unknown): number {
  return typeof v === 'number' && Number.isFinite(v) ? v : 0;
}

function opt(v: unknown): number | null {
  return typeof v === 'number' && Number.isFinite(v) ? v : null;
}
