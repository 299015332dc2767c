// Plays one stream in Chromium with hls.js, Shaka, the browser's own HLS, and on the server's
// own page, side by side, until its input ends, and prints what happened as JSON.
// node reconnect.mjs --url PLAYLIST [--page WATCH_PAGE] --settings default|documented
//
// Each player's frames are [wall clock, media time, clock in the picture or null, width].
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { flags, launch, serve } from "./chromium.mjs";

const { url, page: watch, settings } = flags();
const require = createRequire(import.meta.url);
const read = (name) => readFileSync(new URL(name, import.meta.url));
const clock = read("./clock.js");

const page = `<!doctype html><meta charset="utf-8"><title>players</title>
<video id="hls" muted autoplay playsinline width="320" height="180"></video>
<video id="shaka" muted autoplay playsinline width="320" height="180"></video>
<video id="native" crossorigin="anonymous" muted autoplay playsinline width="320" height="180"></video>
<script src="/hls.js"></script><script src="/shaka.js"></script><script src="/clock.js"></script>
<script src="/start.js"></script>`;

const start = `
const url = ${JSON.stringify(url)};
const documented = ${JSON.stringify(settings === "documented")};
window.players = {};
function follow(name) {
  const video = document.getElementById(name);
  const p = { video, errors: [], fatal: [], frames: window.watchFrames(video), loads: 1, waits: 0 };
  video.addEventListener("waiting", () => p.waits++);
  window.players[name] = p;
  return p;
}
const retry = { maxNumRetry: 1e5, retryDelayMs: 400, maxRetryDelayMs: 2000, backoff: "linear", shouldRetry: () => true };
const policy = { default: { maxTimeToFirstByteMs: 10000, maxLoadTimeMs: 20000, timeoutRetry: retry, errorRetry: retry } };
const h = follow("hls");
const hls = new Hls(documented ? {
  lowLatencyMode: true, manifestLoadPolicy: policy, playlistLoadPolicy: policy,
  fragLoadPolicy: { default: { maxTimeToFirstByteMs: 10000, maxLoadTimeMs: 30000, timeoutRetry: retry,
    errorRetry: { ...retry, shouldRetry: (c, n, timeout, r) => timeout || !r || !r.code || r.code >= 500 } } },
  liveSyncDuration: 2, liveMaxLatencyDuration: 6, maxLiveSyncPlaybackRate: 1.1, liveSyncOnStallIncrease: 0,
} : { lowLatencyMode: true });
hls.on(Hls.Events.ERROR, (_, e) => {
  const text = e.type + " " + e.details + (e.reason ? " " + e.reason : "");
  h.errors.push(text);
  if (e.fatal) h.fatal.push(text);
});
hls.on(Hls.Events.MANIFEST_PARSED, () => h.video.play());
hls.loadSource(url);
hls.attachMedia(h.video);

const s = follow("shaka");
(async () => {
  shaka.polyfill.installAll();
  const p = new shaka.Player();
  p.addEventListener("error", (e) => {
    const text = "shaka " + e.detail.category + " " + e.detail.code + " " + JSON.stringify(e.detail.data?.slice?.(0, 3) ?? "");
    s.errors.push(text);
    // Trouble with the network is told as critical and outlived: only the other kinds end playback.
    if (e.detail.severity === 2 && e.detail.category !== 1) s.fatal.push(text);
  });
  await p.attach(s.video);
  const again = { maxAttempts: 1000, baseDelay: 400, backoffFactor: 1.3, timeout: 10000 };
  p.configure(documented ? {
    manifest: { retryParameters: again },
    streaming: { lowLatencyMode: true, retryParameters: { ...again, maxAttempts: 3 },
      failureCallback: () => setTimeout(() => p.retryStreaming(0.1), 500),
      liveSync: { enabled: true, targetLatency: 2, targetLatencyTolerance: 0.5 } },
  } : { streaming: { lowLatencyMode: true } });
  await p.load(url);
  s.video.play();
})().catch((e) => s.fatal.push("load: " + (e.code ?? "") + " " + e.message));

const n = follow("native");
n.video.addEventListener("error", () => {
  const text = n.video.error?.message ?? "error";
  n.errors.push(text);
  n.fatal.push(text);
});
(async () => {
  // It begins three segments before the end, and refuses a stream that has fewer.
  const media = new URL((await (await fetch(url)).text()).split("\\n").find((line) => line && !line.startsWith("#")), url);
  while ((await (await fetch(media)).text()).split("#EXTINF").length <= 3) await new Promise((r) => setTimeout(r, 250));
  n.video.src = url;
  await n.video.play();
})().catch((e) => n.errors.push("open: " + e.message));
`;

const files = {
  "/": ["text/html", page],
  "/hls.js": ["text/javascript", readFileSync(require.resolve("hls.js/dist/hls.min.js"))],
  "/shaka.js": ["text/javascript", readFileSync(require.resolve("shaka-player/dist/shaka-player.compiled.js"))],
  "/clock.js": ["text/javascript", clock],
  "/start.js": ["text/javascript", start],
};
const server = await serve(files);

const collect = () =>
  Object.fromEntries(
    Object.entries(window.players).map(([name, p]) => [
      name,
      {
        errors: p.errors,
        fatal: p.fatal,
        waits: p.waits,
        state: document.querySelector("onair-player")?.dataset.state ?? "",
        restarts: document.querySelector("onair-player")?.restarts ?? 0,
        frames: p.frames.map((f) => [f.at, f.time, f.age === null ? null : f.at - f.age, f.width]),
      },
    ]),
  );

// Two browsers: pictures in a tab that is not in front are not painted.
const browser = await launch();
const other = watch ? await launch() : null;
try {
  const tabs = [];
  const tab = await browser.newPage();
  await tab.goto(`http://127.0.0.1:${server.address().port}/`);
  tabs.push(tab);
  let loads = 0;
  if (watch) {
    const own = await other.newPage();
    await own.goto(watch);
    own.on("framenavigated", () => loads++);
    await own.evaluate(`${clock};
      window.players = {};
      const video = document.querySelector("onair-player video");
      window.players.own = { video, errors: [], fatal: [], waits: 0, frames: window.watchFrames(video) };
      video.addEventListener("waiting", () => window.players.own.waits++);`);
    tabs.push(own);
  }
  for (const t of tabs) {
    await t
      .waitForFunction(() => Object.values(window.players).every((p) => p.frames.length > 10 || p.fatal.length > 0), null, { timeout: 30000 })
      .catch(() => {});
  }
  console.log("playing");
  for await (const _ of process.stdin); // until the test has seen enough
  const players = {};
  for (const t of tabs) Object.assign(players, await t.evaluate(collect));
  console.log(JSON.stringify({ players, loads }));
} finally {
  await browser.close();
  await other?.close();
  server.close();
}
