// Numbers and times as people read them. A missing number is a dash, never a zero.

export const NONE = '—';

/** bits per second as "2.5 Mb/s". */
export function bitrate(bps: number | undefined | null): string {
  if (!bps || !Number.isFinite(bps) || bps < 0) return NONE;
  if (bps >= 1e6) return `${trim(bps / 1e6, bps >= 1e7 ? 1 : 2)} Mb/s`;
  return `${Math.round(bps / 1e3)} kb/s`;
}

/** bytes as "12.3 MB" (powers of ten). */
export function bytes(n: number | undefined | null): string {
  if (n === undefined || n === null || !Number.isFinite(n) || n < 0) return NONE;
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let v = n;
  let i = 0;
  while (v >= 1000 && i < units.length - 1) {
    v /= 1000;
    i++;
  }
  return `${i === 0 ? v : trim(v, 1)} ${units[i]}`;
}

/** frames per second: 29.97, 30, 59.94. */
export function fps(n: number | undefined | null): string {
  return n && Number.isFinite(n) && n > 0 ? trim(n, 2) : NONE;
}

/** seconds as "2 s" or "2.1 s". */
export function seconds(s: number | undefined | null): string {
  return s && Number.isFinite(s) && s > 0 ? `${trim(s, 1)} s` : NONE;
}

/** seconds as "0:42", "12:05" or "1:02:03". */
export function clock(s: number): string {
  const t = Math.max(0, Math.floor(s));
  const two = (n: number) => String(n).padStart(2, '0');
  const h = Math.floor(t / 3600);
  const m = Math.floor((t % 3600) / 60);
  return h > 0 ? `${h}:${two(m)}:${two(t % 60)}` : `${m}:${two(t % 60)}`;
}

/** A moment as "just now", "5 min ago", "3 h ago", or its date. */
export function ago(iso: string, now = Date.now()): string {
  const then = Date.parse(iso);
  if (!Number.isFinite(then)) return NONE;
  const s = (now - then) / 1000;
  if (s < 45) return 'just now';
  if (s < 3570) return `${Math.max(1, Math.round(s / 60))} min ago`;
  if (s < 86_400) return `${Math.round(s / 3600)} h ago`;
  return new Date(then).toLocaleDateString(undefined, { year: 'numeric', month: 'short', day: 'numeric' });
}

/** Seconds since a moment; 0 for one that cannot be read. */
export function since(iso: string, now = Date.now()): number {
  const then = Date.parse(iso);
  return Number.isFinite(then) ? Math.max(0, (now - then) / 1000) : 0;
}

/** "mono", "stereo", "6 channels". */
export function channels(n: number | undefined | null): string {
  if (!n) return NONE;
  return n === 1 ? 'mono' : n === 2 ? 'stereo' : `${n} channels`;
}

/** "1 viewer", "2,345 viewers". */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString('en')} ${n === 1 ? one : many}`;
}

/** What people call a rendition that the server makes. */
export function renditionName(name: string): string {
  const known: Record<string, string> = {
    realtime: 'For real time',
    opus: 'Audio for real time',
    aac: 'Audio for HLS and DASH',
  };
  return known[name] ?? name;
}

/** A delay in words: "2.1 s behind live". */
export function delay(s: number | null | undefined): string {
  if (s === null || s === undefined || !Number.isFinite(s)) return NONE;
  return s < 10 ? `${Math.max(0, s).toFixed(1)} s` : s < 100 ? `${Math.round(s)} s` : clock(s);
}

/** A reading, or "unknown": a missing one must not look like a zero. */
export function known<T>(v: T | null | undefined, words: (v: T) => string): string {
  return v === null || v === undefined ? 'unknown' : words(v);
}

/** Seconds as milliseconds: "42 ms". */
export function millis(s: number): string {
  return `${Math.round(s * 1000)} ms`;
}

/** A share from 0 to 1 as "1.2 %". */
export function percent(share: number): string {
  return `${trim(share * 100, share < 0.1 ? 1 : 0)} %`;
}

/** Decibels below full scale: "−18 dB". */
export function decibels(db: number): string {
  return `${Math.round(db) <= -90 ? 'below −90' : String(Math.round(db)).replace('-', '−')} dB`;
}

function trim(n: number, digits: number): string {
  return String(Number(n.toFixed(digits)));
}
