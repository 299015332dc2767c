// Goes back and forth in a live stream with hls.js in Chromium, as somebody does who drags the
// seek bar, and prints what was shown as JSON, a line for each phase.
// node dvr.mjs --url URL [--frames N] [--over yes]
// With --over it waits for a line on its standard input when it is through with the live
// stream, for another when the server has forgotten it, and goes on in the same player.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { flags, launch, serve } from "./chromium.mjs";

const { url, frames = "20", over = "no" } = flags();
const require = createRequire(import.meta.url);
const told = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const page = `<!doctype html><meta charset="utf-8"><title>player</title>
<video id="v" muted autoplay playsinline width="640" height="360"></video>
<script src="/player.js"></script><script src="/clock.js"></script><script src="/start.js"></script>`;

const start = `
  const video = document.getElementById("v");
  window.log = { fatal: [], errors: [] };
  const hls = new Hls({ lowLatencyMode: true, maxLiveSyncPlaybackRate: 1.1, backBufferLength: 10 });
  window.hls = hls;
  hls.on(Hls.Events.ERROR, (_, e) => {
    const text = e.type + " " + e.details + " " + (e.url ?? e.frag?.url ?? "") + (e.error ? " " + e.error.message : "");
    window.log.errors.push(text);
    if (e.fatal) window.log.fatal.push(text);
  });
  hls.on(Hls.Events.MANIFEST_PARSED, () => video.play());
  window.seen = window.watchFrames(video);
  window.details = () => hls.levels[hls.currentLevel]?.details;
  hls.loadSource(${JSON.stringify(url)});
  hls.attachMedia(video);`;

const server = await serve({
  "/": ["text/html", page],
  "/player.js": ["text/javascript", readFileSync(require.resolve("hls.js/dist/hls.min.js"))],
  "/clock.js": ["text/javascript", readFileSync(new URL("./clock.js", import.meta.url))],
  "/start.js": ["text/javascript", start],
});
const browser = await launch();
const tab = await browser.newPage();

/** Waits for that many more pictures, and tells of them; clock is Unix time in ms. */
async function watch(count) {
  const from = await tab.evaluate(() => window.seen.length);
  await tab
    .waitForFunction(([n, more]) => window.seen.length >= n + more || window.log.fatal.length > 0, [from, count], { timeout: 25000 })
    .catch(() => {});
  return tab.evaluate((n) => {
    const list = window.seen.slice(n);
    const ages = list.map((f) => f.age).filter((a) => a !== null);
    const last = list.filter((f) => f.age !== null).at(-1);
    const late = ages.slice(Math.floor(ages.length / 2)).sort((a, b) => a - b);
    return {
      frames: list.length,
      clocks: ages.length,
      clock: last ? last.at - last.age : 0,
      time: last ? last.time : 0,
      delayMs: late.length ? late[Math.floor(late.length / 2)] : null,
    };
  }, from);
}

/** Seeks to a share of what there is and tells what is shown there. */
async function seek(name, share) {
  const before = Date.now();
  const want = await tab.evaluate(async (share) => {
    const d = window.details();
    const first = d.fragments[0].start;
    const to = share === "edge" ? window.hls.liveSyncPosition : first + 0.5 + share * (d.edge - first - 3);
    const video = document.getElementById("v");
    const done = new Promise((resolve) => {
      video.addEventListener("seeked", resolve, { once: true });
      setTimeout(resolve, 25000);
    });
    video.currentTime = to;
    await done;
    return { to, first, last: d.edge, segments: d.fragments.length };
  }, share);
  const took = Date.now() - before;
  const seen = await watch(Number(frames));
  return { name, tookMs: took, ...want, ...seen };
}

const print = async (phase, shown) => console.log(JSON.stringify({ phase, shown, ...(await tab.evaluate(() => window.log)) }));

try {
  const begun = Date.now();
  await tab.goto(`http://127.0.0.1:${server.address().port}/`);
  await tab.waitForFunction(() => window.seen.length > 2 || window.log.fatal.length > 0, { timeout: 30000 }).catch(() => {});
  const startup = Date.now() - begun;
  const first = { name: "join", tookMs: startup, ...(await watch(Number(frames) * 3)) };
  await print("live", [first, await seek("start", 0), await seek("middle", 0.5), await seek("start again", 0.02), await seek("edge", "edge"), { name: "on", ...(await watch(Number(frames) * 3)) }]);
  if (over === "yes") {
    await told.next();
    await tab.waitForFunction(() => window.details()?.live === false, { timeout: 30000 });
    console.log(JSON.stringify({ phase: "ended" }));
    await told.next();
    const shown = [await seek("a quarter", 0.25), await seek("three quarters", 0.75), await seek("start", 0)];
    // hls.js says "ended" only where the last part of the picture lies within the sound.
    await tab.evaluate(() => {
      const video = document.getElementById("v");
      video.currentTime = video.duration - 4;
    });
    const ends = await tab
      .waitForFunction(() => document.getElementById("v").currentTime > document.getElementById("v").duration - 0.8, { timeout: 25000 })
      .then(() => true, () => false);
    shown.push({ name: ends ? "plays to its end" : "does not end" });
    await print("after", shown);
  }
} finally {
  await browser.close();
  server.close();
  process.exit(process.exitCode ?? 0);
}
