import { describe, expect, it } from 'vitest';
import { MAX_MESSAGE, type SseMessage, SseParser } from './sse';

function parse(chunks: string[]): { messages: SseMessage[]; parser: SseParser } {
  const messages: SseMessage[] = [];
  const parser = new SseParser((m) => messages.push(m));
  for (const c of chunks) parser.push(c);
  return { messages, parser };
}

describe('SseParser', () => {
  const text =
    '\uFEFF: ping\n\nid: 7\nevent: live_stream.active\ndata: {"a":\ndata: 1}\n\ndata:x\r\n\r\nid\ndata: y\r\rdata: lost';
  const want = [
    { id: '7', event: 'live_stream.active', data: '{"a":\n1}' },
    { id: '7', event: 'message', data: 'x' },
    { id: '', event: 'message', data: 'y' },
  ];

  it('reads fields, comments, every line ending, and leaves an unfinished message', () => {
    expect(parse([text]).messages).toEqual(want);
  });

  it('reads the same however the text is cut', () => {
    for (let i = 1; i < text.length; i++) {
      expect(parse([text.slice(0, i), text.slice(i)]).messages).toEqual(want);
    }
    expect(parse([...text]).messages).toEqual(want);
  });

  it('keeps the id across messages without one, and ignores ids with NUL', () => {
    const { parser } = parse(['id: 5\ndata: a\n\nid: b\0c\ndata: b\n\n']);
    expect(parser.lastId).toBe('5');
  });

  it('dispatches nothing for an event without data', () => {
    expect(parse(['event: x\nid: 3\n\n']).messages).toEqual([]);
  });

  it('refuses a line and a message without end', () => {
    expect(() => parse(['data: ', 'a'.repeat(MAX_MESSAGE + 1)])).toThrow(/too long/);
    expect(() => parse(Array(12).fill(`data: ${'a'.repeat(MAX_MESSAGE / 10)}\n`))).toThrow(/too long/);
  });
});
