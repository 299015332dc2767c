// Plays one stream in Chromium with hls.js, Shaka or dash.js and prints what happened as JSON.
// node play.mjs --player hls|shaka|dash --url URL --seconds N [--audio-only yes] [--start KBIT]
// With --start dash.js takes the rendition of that bit rate, and no other by itself.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { flags, launch, serve } from "./chromium.mjs";

const { player, url, seconds, "audio-only": audioOnly, start: rate = "" } = flags();
const require = createRequire(import.meta.url);

const page = `<!doctype html><meta charset="utf-8"><title>player</title>
<video id="v" muted autoplay playsinline width="640" height="360"></video>
<script src="/player.js"></script><script src="/clock.js"></script><script src="/start.js"></script>`;

const start = {
  hls: `
    const video = document.getElementById("v");
    window.log = { fatal: [], errors: [], levels: 0 };
    const hls = new Hls({ lowLatencyMode: true, maxLiveSyncPlaybackRate: 1.1 });
    window.hls = hls;
    hls.on(Hls.Events.ERROR, (_, e) => {
      const text = e.type + " " + e.details + (e.reason ? " " + e.reason : "") + (e.error ? " " + e.error.message : "");
      window.log.errors.push(text);
      if (e.fatal) window.log.fatal.push(text);
    });
    hls.on(Hls.Events.MANIFEST_PARSED, (_, d) => { window.log.levels = d.levels.length; video.play(); });
    window.frames_ = window.watchFrames(video);
    hls.loadSource(URL_);
    hls.attachMedia(video);`,
  shaka: `
    const video = document.getElementById("v");
    window.log = { fatal: [], errors: [], levels: 0 };
    window.frames_ = window.watchFrames(video);
    (async () => {
      shaka.polyfill.installAll();
      const p = new shaka.Player();
      window.player = p;
      p.addEventListener("error", (e) => {
        const text = "shaka " + e.detail.code + " " + JSON.stringify(e.detail.data?.slice?.(0, 3) ?? "");
        window.log.errors.push(text);
        if (e.detail.severity === 2) window.log.fatal.push(text);
      });
      await p.attach(video);
      p.configure({ streaming: { lowLatencyMode: true } });
      await p.load(URL_);
      window.log.levels = p.getVariantTracks().length;
      video.play();
    })().catch((e) => window.log.fatal.push("load: " + (e.code ?? "") + " " + e.message));`,
  dash: `
    const video = document.getElementById("v");
    window.log = { fatal: [], errors: [], levels: 0 };
    window.frames_ = window.watchFrames(video);
    const p = dashjs.MediaPlayer().create();
    window.dash = p;
    p.updateSettings({ debug: { logLevel: 1 } });
    if (RATE_) p.updateSettings({ streaming: { abr: { initialBitrate: { video: RATE_ }, autoSwitchBitrate: { video: false } } } });
    p.on(dashjs.MediaPlayer.events.ERROR, (e) => {
      const text = "dash " + (e.error?.code ?? "") + " " + (e.error?.message ?? e.error ?? "");
      window.log.errors.push(text);
      window.log.fatal.push(text); // it does not try another rendition
    });
    p.on(dashjs.MediaPlayer.events.FRAGMENT_LOADING_COMPLETED, (e) => {
      if (e.error) window.log.errors.push("fragment " + e.request?.url + " " + (e.response === undefined ? "failed" : ""));
    });
    p.on(dashjs.MediaPlayer.events.STREAM_INITIALIZED, () => {
      window.log.levels = p.getRepresentationsByType("video").length;
    });
    p.initialize(video, URL_, true);`,
};

const sources = {
  hls: require.resolve("hls.js/dist/hls.min.js"),
  shaka: require.resolve("shaka-player/dist/shaka-player.compiled.js"),
  dash: require.resolve("dashjs"),
};

const files = {
  "/": ["text/html", page],
  "/player.js": ["text/javascript", readFileSync(sources[player])],
  "/clock.js": ["text/javascript", readFileSync(new URL("./clock.js", import.meta.url))],
  "/start.js": ["text/javascript", `const URL_ = ${JSON.stringify(url)}, RATE_ = ${Number(rate)};${start[player]}`],
};
const server = await serve(files);

const browser = await launch();
try {
  const tab = await browser.newPage();
  await tab.goto(`http://127.0.0.1:${server.address().port}/`);
  const begun = Date.now();
  await tab
    .waitForFunction(
      (audio) => (audio ? document.getElementById("v").currentTime > 0.3 : window.frames_.length > 2) || window.log.fatal.length > 0,
      audioOnly === "yes",
      { timeout: 30000 },
    )
    .catch(() => {});
  const startup = Date.now() - begun;
  await tab.waitForTimeout(Number(seconds) * 1000);
  const result = await tab.evaluate(() => {
    const video = document.getElementById("v");
    const frames = window.frames_;
    const ages = frames.map((f) => f.age).filter((a) => a !== null);
    let freeze = 0;
    for (let i = 1; i < frames.length; i++) freeze = Math.max(freeze, frames[i].at - frames[i - 1].at);
    const late = ages.slice(Math.floor(ages.length / 2)).sort((a, b) => a - b);
    return {
      ...window.log,
      frames: frames.length,
      clocks: ages.length,
      currentTime: video.currentTime,
      mediaSpan: frames.length ? frames.at(-1).time - frames[0].time : 0,
      delayMs: late.length ? late[Math.floor(late.length / 2)] : null,
      delayMaxMs: late.length ? late.at(-1) : null,
      freezeMs: freeze,
      width: video.videoWidth,
      height: video.videoHeight,
      hlsLatency: window.hls?.latency ?? null,
      hlsTarget: window.hls?.targetLatency ?? null,
      dashLatency: window.dash?.getCurrentLiveLatency() ?? null,
    };
  });
  console.log(JSON.stringify({ startupMs: startup, ...result }));
} finally {
  await browser.close();
  server.close();
}
