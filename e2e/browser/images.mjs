// Plays one stream in Chromium with Shaka or dash.js, asks the player for small pictures of
// several moments as a scrub bar does, fetches them, and prints what came as JSON.
// node images.mjs --player shaka|dash --url URL --seconds N
// A picture: when the player says that it begins (Unix ms), how long it lasts (ms, 0: the
// player does not say), its part of the image, and the image in base64.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { flags, launch, serve } from "./chromium.mjs";

const { player, url, seconds } = flags();
const require = createRequire(import.meta.url);

const page = `<!doctype html><meta charset="utf-8"><title>pictures</title>
<video id="v" muted autoplay playsinline width="640" height="360"></video>
<script src="/player.js"></script><script src="/clock.js"></script><script src="/start.js"></script>`;

// Each gives the page open() and, for a place 0..1 between the oldest moment that can be
// gone to and the newest, picture(place).
const start = {
  shaka: `
    let p;
    window.open_ = async () => {
      shaka.polyfill.installAll();
      p = new shaka.Player();
      p.addEventListener("error", (e) => window.log.errors.push("shaka " + e.detail.code));
      await p.attach(video);
      p.configure({ streaming: { lowLatencyMode: true } });
      await p.load(URL_);
      video.play();
    };
    window.tracks_ = () => p.getImageTracks().map((t) => ({ width: t.width, height: t.height, mime: t.mimeType }));
    window.picture_ = async (place) => {
      const range = p.seekRange();
      const time = range.start + (range.end - range.start) * place;
      const t = await p.getThumbnails(p.getImageTracks()[0].id, time);
      if (!t) return null;
      // What is shown now is the anchor between the player's time and the clock.
      const zero = p.getPlayheadTimeAsDate().getTime() - video.currentTime * 1000;
      return { url: t.uris[0], x: t.positionX, y: t.positionY, width: t.width, height: t.height,
        asked: zero + time * 1000, begins: zero + t.startTime * 1000, lasts: t.duration * 1000 };
    };`,
  dash: `
    const p = dashjs.MediaPlayer().create();
    window.open_ = async () => {
      p.updateSettings({ debug: { logLevel: 1 } });
      p.on(dashjs.MediaPlayer.events.ERROR, (e) => window.log.errors.push("dash " + (e.error?.code ?? "") + " " + (e.error?.message ?? "")));
      p.initialize(video, URL_, true);
    };
    window.tracks_ = () => p.getRepresentationsByType("image").map((r) => ({ width: r.width, height: r.height, mime: r.mimeType ?? "" }));
    window.picture_ = async (place) => {
      const time = p.duration() * place; // from the beginning of what can be gone to
      const t = await new Promise((resolve) => p.provideThumbnail(time, resolve));
      if (!t) return null;
      return { url: t.url, x: t.x, y: t.y, width: t.width, height: t.height,
        asked: (p.timeAsUTC() - p.timeInDvrWindow() + time) * 1000, begins: 0, lasts: 0 };
    };`,
};

const sources = { shaka: require.resolve("shaka-player/dist/shaka-player.compiled.js"), dash: require.resolve("dashjs") };

const server = await serve({
  "/": ["text/html", page],
  "/player.js": ["text/javascript", readFileSync(sources[player])],
  "/clock.js": ["text/javascript", readFileSync(new URL("./clock.js", import.meta.url))],
  "/start.js": ["text/javascript", `
    const URL_ = ${JSON.stringify(url)}, video = document.getElementById("v");
    window.log = { errors: [] };
    window.frames_ = window.watchFrames(video);
    ${start[player]}
    window.open_().catch((e) => window.log.errors.push("load: " + (e.code ?? "") + " " + e.message));`],
});

const browser = await launch();
try {
  const tab = await browser.newPage();
  await tab.goto(`http://127.0.0.1:${server.address().port}/`);
  await tab.waitForFunction(() => window.frames_.length > 10 || window.log.errors.length > 0, undefined, { timeout: 30000 }).catch(() => {});
  await tab.waitForTimeout((Number(seconds) * 1000) / 2);
  const result = await tab.evaluate(async () => {
    const out = { tracks: window.tracks_(), pictures: [] };
    for (const place of [0.2, 0.4, 0.6, 0.8]) {
      const picture = await window.picture_(place);
      if (picture) {
        const res = await fetch(picture.url);
        picture.status = res.status;
        picture.data = btoa(Array.from(new Uint8Array(await res.arrayBuffer()), (b) => String.fromCharCode(b)).join(""));
      }
      out.pictures.push(picture);
    }
    return out;
  });
  await tab.waitForTimeout((Number(seconds) * 1000) / 2);
  const rest = await tab.evaluate(() => {
    const frames = window.frames_;
    return { errors: window.log.errors, frames: frames.length, mediaSpan: frames.at(-1).time - frames[0].time };
  });
  console.log(JSON.stringify({ ...result, ...rest }));
} finally {
  await browser.close();
  server.close();
}
