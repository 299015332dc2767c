import { fetchText } from './engine';

/** A small picture of a stretch of time: a part of a sheet. Times in seconds. */
export interface Cell {
  from: number;
  to: number;
  url: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Board {
  /** The wall clock (ms) of time 0; null where the times are those of the player. */
  origin: number | null;
  cells: Cell[];
}

/** Reads a WebVTT storyboard; what is not understood is left out. url is its own address. */
export function parseBoard(text: string, url: string): Board {
  const origin = Date.parse(/^X-MEDIA-ORIGIN=(\S+)/m.exec(text)?.[1] ?? '');
  const cells: Cell[] = [];
  const cue = /^([\d:.]+) --> ([\d:.]+).*\n(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)$/gm;
  for (const [, from, to, sheet, ...area] of text.matchAll(cue)) {
    const [x = 0, y = 0, width = 0, height = 0] = area.map(Number);
    cells.push({
      from: seconds(from as string),
      to: seconds(to as string),
      url: new URL(sheet as string, url).href,
      x,
      y,
      width,
      height,
    });
  }
  return { origin: Number.isFinite(origin) ? origin : null, cells };
}

function seconds(stamp: string): number {
  return stamp.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
}

/** The picture of a moment: what is near its beginning or end has the first or last one. */
export function cellAt(cells: Cell[], at: number): Cell | undefined {
  let low = 0;
  let high = cells.length;
  while (low + 1 < high) {
    const mid = (low + high) >> 1;
    if ((cells[mid] as Cell).from > at) high = mid;
    else low = mid;
  }
  return cells[low];
}

/** An index that may have grown is asked for anew after this time (ms), and one that failed. */
const REFRESH = 10_000;

/** The storyboard of what is played, which is loaded when somebody looks for a picture. */
export class Storyboard {
  private board: Board | undefined;
  private askedAt = Number.NEGATIVE_INFINITY;
  private asking: Promise<void> | undefined;

  constructor(
    readonly url: string,
    private readonly grows: boolean,
  ) {}

  /** The picture of a moment of the player (s), whose wall clock (ms) is date. */
  async at(time: number, date: number | null): Promise<Cell | undefined> {
    const old = performance.now() - this.askedAt > REFRESH;
    if (!this.asking && old && (this.grows || !this.board)) {
      this.askedAt = performance.now();
      const url = new URL(this.url, location.href).href;
      this.asking = fetchText(url)
        .then(
          (text) => {
            this.board = parseBoard(text, url);
          },
          () => {}, // there are no pictures, or not now
        )
        .finally(() => {
          this.asking = undefined;
        });
    }
    if (!this.board) await this.asking;
    if (!this.board) return undefined;
    const { origin, cells } = this.board;
    if (origin === null) return cellAt(cells, time);
    return date === null ? undefined : cellAt(cells, (date - origin) / 1000);
  }
}
