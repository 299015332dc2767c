import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync } from 'node:zlib';
import { build } from 'vite';
import { beforeAll, describe, expect, it } from 'vitest';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const KB = 1024;
/** Compressing takes seconds on a machine that is busy (ms). */
const SLOW = 60_000;

interface Chunk {
  type: string;
  fileName: string;
  code?: string;
  source?: string | Uint8Array;
  imports?: string[];
  dynamicImports?: string[];
  name?: string;
}

describe('sizes in brotli', () => {
  let output: Chunk[] = [];
  beforeAll(async () => {
    const result = await build({ root, logLevel: 'silent', build: { write: false } });
    output = (Array.isArray(result) ? result : [result]).flatMap((r) =>
      'output' in r ? r.output : [],
    ) as Chunk[];
  }, SLOW);

  const file = (name: string) => {
    const found = output.find((c) => c.fileName === name);
    if (!found) throw new Error(`${name} was not built`);
    return found;
  };
  const size = (c: Chunk) => brotliCompressSync(Buffer.from(c.code ?? c.source ?? '')).length;
  /** What a page loads before anything else: its document, and what that names and imports. */
  const entry = (page: string) => {
    const html = file(page);
    const todo = [...String(html.source).matchAll(/(?:src|href)="\/(assets\/[^"]+)"/g)].map(
      (m) => m[1] as string,
    );
    const seen = new Set<string>();
    for (let name = todo.pop(); name !== undefined; name = todo.pop()) {
      if (seen.has(name)) continue;
      seen.add(name);
      todo.push(...(file(name).imports ?? []));
    }
    return [html, ...[...seen].map(file)].reduce((sum, c) => sum + size(c), 0);
  };

  it('the watch page before hls.js: at most 60 KB', { timeout: SLOW }, () => {
    expect(entry('watch.html')).toBeLessThan(60 * KB);
  });
  it('the console: at most 40 KB', { timeout: SLOW }, () => {
    expect(entry('index.html')).toBeLessThan(40 * KB);
  });
  it('hls.js is a chunk of its own, at most 150 KB', { timeout: SLOW }, () => {
    const hls = output.filter(
      (c) => c.type === 'chunk' && c.code?.includes('lowLatencyMode') && size(c) > 80 * KB,
    );
    expect(hls).toHaveLength(1);
    expect(size(hls[0] as Chunk)).toBeLessThan(150 * KB);
  });
});

describe('sources', () => {
  it('name no other host to load anything from', () => {
    const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter(
      (f) => /\.(ts|tsx|css)$/.test(f) && !f.includes('.test.'),
    );
    expect(files.length).toBeGreaterThan(20);
    for (const f of files) {
      const text = readFileSync(join(root, 'src', f), 'utf8');
      expect(text.match(/https?:\/\/(?!www\.w3\.org\/2000\/svg)[\w.-]+/g), f).toBeNull();
    }
  });
});
