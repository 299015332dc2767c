/** One message of a text/event-stream. */
export interface SseMessage {
  id: string;
  event: string;
  data: string;
}

/** Longest line or message that is kept, in characters; what is longer ends the stream with an error. */
export const MAX_MESSAGE = 1 << 20;

/**
 * Reads text/event-stream as the WHATWG describes it, fed with pieces of any size.
 * EventSource cannot send an Authorization header, so the feed is read with fetch.
 */
export class SseParser {
  /** Id of the newest message, for Last-Event-ID. */
  lastId = '';
  private rest = '';
  private data: string[] = [];
  private size = 0;
  private event = '';
  private first = true;

  constructor(private readonly onMessage: (m: SseMessage) => void) {}

  push(chunk: string): void {
    let text = this.rest + chunk;
    if (this.first && text.length > 0) {
      this.first = false;
      if (text.charCodeAt(0) === 0xfeff) text = text.slice(1);
    }
    let from = 0;
    for (;;) {
      const end = this.lineEnd(text, from);
      if (end < 0) break;
      this.line(text.slice(from, end));
      from = text[end] === '\r' && text[end + 1] === '\n' ? end + 2 : end + 1;
    }
    this.rest = text.slice(from);
    if (this.rest.length > MAX_MESSAGE) throw new Error('event feed: line too long');
  }

  /** A \r at the very end may be half of \r\n: it ends no line until more comes. */
  private lineEnd(text: string, from: number): number {
    for (let i = from; i < text.length; i++) {
      const c = text[i];
      if (c === '\n' || (c === '\r' && i + 1 < text.length)) return i;
    }
    return -1;
  }

  private line(line: string): void {
    if (line === '') {
      this.dispatch();
      return;
    }
    if (line[0] === ':') return;
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value[0] === ' ') value = value.slice(1);
    if (field === 'data') {
      this.size += value.length;
      if (this.size > MAX_MESSAGE) throw new Error('event feed: message too long');
      this.data.push(value);
    } else if (field === 'event') this.event = value;
    else if (field === 'id' && !value.includes('\0')) this.lastId = value;
  }

  private dispatch(): void {
    if (this.data.length > 0) {
      this.onMessage({ id: this.lastId, event: this.event || 'message', data: this.data.join('\n') });
    }
    this.data = [];
    this.size = 0;
    this.event = '';
  }
}
