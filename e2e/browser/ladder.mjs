// Plays one stream in Chromium on a line that becomes narrow and wide again, and prints
// which renditions were shown in each of the three phases, and for how long at most the
// player waited for data in each. Pictures that a busy machine shows late are no such wait.
// node ladder.mjs --player hls|shaka|dash --url URL --narrow KBIT [--line KBIT --settings JSON --wide S --narrowFor S --again S]
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { flags, launch, serve } from "./chromium.mjs";

// "again" is the most: it ends when the first phase's rendition has been shown for three seconds.
// The wide line has a rate, too: what loopback brings at once, no player can measure.
const { player, url, narrow, line: full = 20000, settings = "{}", wide = 8, narrowFor = 15, again = 60 } = flags();
const require = createRequire(import.meta.url);

const page = `<!doctype html><meta charset="utf-8"><title>player</title>
<video id="v" muted autoplay playsinline width="640" height="360"></video>
<script src="/player.js"></script><script src="/clock.js"></script><script src="/start.js"></script>`;

const start = {
  hls: `
    const hls = new Hls({ lowLatencyMode: true, ...settings });
    window.hls = hls;
    hls.on(Hls.Events.ERROR, (_, e) => {
      const text = e.type + " " + e.details + (e.error ? " " + e.error.message : "");
      window.log.errors.push(text);
      if (e.fatal) window.log.fatal.push(text);
    });
    hls.on(Hls.Events.MANIFEST_PARSED, (_, d) => { window.log.levels = d.levels.map((l) => l.height + "@" + l.bitrate); video.play(); });
    hls.loadSource(URL_);
    hls.attachMedia(video);`,
  shaka: `
    (async () => {
      shaka.polyfill.installAll();
      const p = new shaka.Player();
      window.player = p;
      p.addEventListener("error", (e) => {
        const text = "shaka " + e.detail.code + " " + JSON.stringify(e.detail.data?.slice?.(0, 3) ?? "");
        window.log.errors.push(text);
        if (e.detail.severity === 2) window.log.fatal.push(text);
      });
      p.configure(settings);
      await p.attach(video);
      await p.load(URL_);
      window.log.levels = p.getVariantTracks().map((t) => t.height + "@" + t.bandwidth);
      video.play();
    })().catch((e) => window.log.fatal.push("load: " + (e.code ?? "") + " " + e.message));`,
  dash: `
    const p = dashjs.MediaPlayer().create();
    window.player = p;
    p.updateSettings({ debug: { logLevel: 1 }, ...settings });
    p.on(dashjs.MediaPlayer.events.ERROR, (e) => {
      const text = "dash " + (e.error?.code ?? "") + " " + (e.error?.message ?? e.error ?? "");
      window.log.errors.push(text);
      // 10, 11 and 27 … 29 are failures to load, which the player tries again by itself.
      if (e.error?.code >= 30 || e.error?.code < 10) window.log.fatal.push(text);
    });
    p.on(dashjs.MediaPlayer.events.STREAM_INITIALIZED, () => {
      window.log.levels = p.getRepresentationsByType("video").map((r) => r.height + "@" + r.bandwidth);
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
  "/start.js": [
    "text/javascript",
    `const URL_ = ${JSON.stringify(url)};
    const settings = ${settings};
    const video = document.getElementById("v");
    window.log = { fatal: [], errors: [], levels: [] };
    window.frames_ = window.watchFrames(video);
    // From each "waiting" until the media time moves on, and what was buffered then.
    window.stalls = [];
    let stall = null;
    const ahead = () => {
      for (let i = 0; i < video.buffered.length; i++)
        if (video.buffered.start(i) <= video.currentTime + 0.1 && video.currentTime < video.buffered.end(i))
          return video.buffered.end(i) - video.currentTime;
      return 0;
    };
    video.addEventListener("waiting", () => {
      if (stall || !window.frames_.length) return;
      stall = { at: Date.now(), time: video.currentTime, ahead: ahead(), ms: 0, seeking: video.seeking };
      window.stalls.push(stall);
    });
    video.addEventListener("seeking", () => { window.seeks = (window.seeks ?? 0) + 1; });
    setInterval(() => {
      if (!stall) return;
      if (video.currentTime > stall.time && !video.seeking && video.readyState > 2) stall = null;
      else stall.ms = Date.now() - stall.at;
    }, 20);
    ${start[player]}`,
  ],
};
const server = await serve(files);

const browser = await launch();
try {
  const tab = await browser.newPage();
  const network = await tab.context().newCDPSession(tab);
  await network.send("Network.enable");
  const line = (kbit) =>
    network.send("Network.emulateNetworkConditions", {
      offline: false,
      latency: 20,
      downloadThroughput: (kbit * 1000) / 8,
      uploadThroughput: -1,
    });
  await line(Number(full));
  await tab.goto(`http://127.0.0.1:${server.address().port}/`);
  await tab
    .waitForFunction(() => window.frames_.length > 2 || window.log.fatal.length > 0, null, { timeout: 40000 })
    .catch(() => {});
  const phases = [];
  const phase = async (name, kbit, seconds, until) => {
    await line(kbit);
    const [from, since] = await tab.evaluate(() => [window.frames_.length, Date.now()]);
    if (until)
      await tab
        .waitForFunction(
          (width) => {
            const wide = window.frames_.findLastIndex((f) => f.width !== width) + 1;
            return wide < window.frames_.length && Date.now() - window.frames_[wide].at > 3000;
          },
          until,
          { timeout: Number(seconds) * 1000, polling: 200 },
        )
        .catch(() => {});
    else await tab.waitForTimeout(Number(seconds) * 1000);
    phases.push(
      await tab.evaluate(
        ([name, from, since]) => {
          const frames = window.frames_.slice(Math.max(0, from - 1));
          let freeze = 0;
          for (let i = 1; i < frames.length; i++) freeze = Math.max(freeze, frames[i].at - frames[i - 1].at);
          if (frames.length) freeze = Math.max(freeze, Date.now() - frames.at(-1).at);
          const widths = [];
          for (const f of frames) if (widths.at(-1) !== f.width) widths.push(f.width);
          const stalls = window.stalls.filter((s) => s.at >= since).map(({ ms, ahead, seeking }) => ({ ms, ahead, seeking }));
          const ages = frames.map((f) => f.age).filter((a) => a !== null);
          return { name, seconds: Math.round((Date.now() - since) / 100) / 10, widths, last: frames.at(-1)?.width ?? 0, frames: frames.length, freezeMs: freeze, stalls, ageMs: ages.at(-1) ?? null };
        },
        [name, from, since],
      ),
    );
  };
  await phase("wide", Number(full), wide);
  await phase("narrow", Number(narrow), narrowFor);
  await phase("wide again", Number(full), again, phases[0].last);
  const log = await tab.evaluate(() => ({ ...window.log, seeks: window.seeks ?? 0 }));
  console.log(JSON.stringify({ ...log, phases }));
} finally {
  await browser.close();
  server.close();
}
