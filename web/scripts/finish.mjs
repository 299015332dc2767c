// After `vite build`: lists the hashes of the style sheets that media-chrome puts into its
// shadow roots, and compresses everything once so that the server never has to.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, '../internal/control/web/dist');
const MIN_SIZE = 512;

// The elements that the watch page uses, as its sources import them.
const source = readFileSync(join(root, 'src/watch/player.ts'), 'utf8');
const used = [...source.matchAll(/'(media-chrome\/dist\/[\w-]+\.js)'/g)].map((m) => m[1]);
if (used.length === 0) throw new Error('finish: no media-chrome element found in src/watch/player.ts');
// What these make themselves: a button makes a tooltip, the controller a gesture receiver.
const implied = ['media-tooltip', 'media-gesture-receiver'].map((n) => `media-chrome/dist/${n}.js`);
const hashes = new Set();
for (const name of [...used, ...implied]) {
  const { default: element } = await import(name);
  const html = element.getTemplateHTML({}, {});
  const styles = [...html.matchAll(/<style>([\s\S]*?)<\/style>/g)];
  // A slot's content is a second template that comes with its own style, or with none.
  const slot = element.getSlotTemplateHTML?.({}, {}) ?? '';
  if (!html.includes(slot)) styles.push(...slot.matchAll(/<style>([\s\S]*?)<\/style>/g));
  for (const [, css] of styles) hashes.add(`sha256-${createHash('sha256').update(css).digest('base64')}`);
}
writeFileSync(join(dist, 'csp.json'), `${JSON.stringify({ styles: [...hashes].sort() }, null, 1)}\n`);

let saved = 0;
for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
  const path = join(entry.parentPath, entry.name);
  if (!entry.isFile() || !/\.(html|js|css|svg)$/.test(path) || statSync(path).size < MIN_SIZE) continue;
  if (entry.name === 'placeholder.html') continue;
  const data = readFileSync(path);
  const br = brotliCompressSync(data, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: data.length },
  });
  writeFileSync(`${path}.br`, br);
  writeFileSync(`${path}.gz`, gzipSync(data, { level: 9 }));
  saved += data.length - br.length;
}
console.log(`finish: ${hashes.size} style hashes, ${Math.round(saved / 1024)} KB saved by brotli`);
