// Clicks through the built pages in Chromium against the mock server, checks each state
// with axe-core, and leaves screenshots. npm run build first.
//   node test/browser.mjs [folder for screenshots]
import { mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { console_ } from './browser-console.mjs';
import { realtime } from './browser-realtime.mjs';
import { recording } from './browser-recording.mjs';
import { watch } from './browser-watch.mjs';
import { start } from './mock-server.mjs';

const shots = process.argv[2] ?? mkdtempSync(join(tmpdir(), 'onair-shots-'));
mkdirSync(shots, { recursive: true });
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const LOOKS = [
  { name: 'light', viewport: { width: 1280, height: 860 }, colorScheme: 'light' },
  { name: 'dark', viewport: { width: 1280, height: 860 }, colorScheme: 'dark' },
  {
    name: 'phone',
    viewport: { width: 390, height: 844 },
    colorScheme: 'light',
    hasTouch: true,
    isMobile: true,
  },
  {
    name: 'small',
    viewport: { width: 320, height: 640 },
    colorScheme: 'dark',
    hasTouch: true,
    isMobile: true,
  },
];
const failures = [];
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking',
    '--disable-component-update --disable-sync',
    // The page that plays WebRTC to itself needs its own addresses.
    '--allow-loopback-in-peer-connection --disable-features=WebRtcHideLocalIpsWithMdns',
  ]
    .join(' ')
    .split(' '),
});

/** Opens a page that notes whatever must not happen: errors, blocked content, other hosts. */
async function open(look, base) {
  const { name, ...options } = look;
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const quiet = { on: false };
  page.on('pageerror', (e) => failures.push(`${name}: script error: ${e.message}`));
  page.on('console', (m) => {
    const text = m.text();
    if (m.type() === 'error' && !(quiet.on || /Failed to load resource/.test(text))) {
      failures.push(`${name}: console: ${text}`);
    }
  });
  page.on('request', (r) => {
    const url = r.url();
    if (/^https?:/.test(url) && !url.startsWith(base))
      failures.push(`${name}: request to another host: ${url}`);
  });
  const check = async (state) => {
    await page.waitForTimeout(350);
    await page.screenshot({ path: join(shots, `${state}-${name}.png`) });
    // Not innerWidth: on a phone it grows with what is too wide.
    const wide = (await page.evaluate(() => document.documentElement.scrollWidth)) - look.viewport.width;
    if (wide > 0) failures.push(`${state}-${name}: ${wide} px too wide`);
    await page.evaluate(axe);
    const found = await page.evaluate(() =>
      window.axe.run(document, {
        runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
      }),
    );
    for (const v of found.violations) {
      failures.push(
        `${state}-${name}: axe ${v.id}: ${v.nodes
          .map((n) => `${n.target} ${n.failureSummary}`)
          .slice(0, 3)
          .join(' | ')}`,
      );
    }
  };
  const expect = (ok, what) => {
    if (!ok) failures.push(`${name}: ${what}`);
  };
  return { page, context, check, expect, name, quiet };
}

const only = process.env.ONLY;
for (const look of LOOKS) {
  for (const script of [console_, watch, recording, realtime]) {
    if (only && !`${look.name}.${script.name}`.includes(only)) continue;
    const mock = await start();
    const session = await open(look, mock.base);
    try {
      await script(session, mock);
    } catch (err) {
      failures.push(`${look.name}: ${script.name}: ${err.message.split('\n').slice(0, 4).join(' ')}`);
      await session.page
        .screenshot({ path: join(shots, `failed-${script.name}-${look.name}.png`) })
        .catch(() => {});
    }
    await session.context.close();
    await mock.close();
  }
}
await browser.close();
console.log(`screenshots in ${shots}`);
for (const f of failures) console.log(`FAIL ${f}`);
console.log(failures.length === 0 ? 'all states pass' : `${failures.length} failures`);
process.exit(failures.length === 0 ? 0 : 1);
