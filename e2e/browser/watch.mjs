// Watches a stream on the watch page in real time: its start, its qualities, moves to HLS
// and back when the server wants it, and a network that lets no WebRTC through. Prints JSON.
// node watch.mjs --base URL --token TOKEN --stream ID --playback ID, or --blocked URL
import { readFileSync } from "node:fs";
import { flags, launch } from "./chromium.mjs";

const { base, token, stream, playback, blocked } = flags();
const clock = readFileSync(new URL("./clock.js", import.meta.url), "utf8");
const failures = [];
const out = { failures };
const browser = await launch();

const expect = (ok, what) => ok || failures.push(what);

async function open(url) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
  const page = await context.newPage();
  page.on("pageerror", (e) => failures.push(`script error: ${e.message}`));
  page.on("console", (m) => {
    if (m.type() === "error" && !/Failed to load resource/.test(m.text())) failures.push(`console: ${m.text()}`);
  });
  const begun = Date.now();
  let tried = begun; // when WebRTC was
  page.once("request", function look(r) {
    if (r.url().includes("/whep/")) tried = Date.now();
    else page.once("request", look);
  });
  await page.goto(url);
  await page.locator('onair-player[data-state="playing"]').waitFor({ state: "attached", timeout: 30000 });
  return { page, took: Date.now() - begun, after: Date.now() - tried };
}

const way = (page, want, timeout = 40000) => page.waitForFunction((w) => window.onairPlayer.way === w, want, { timeout, polling: 100 });
const stats = (page) => page.evaluate(() => window.onairPlayer.stats());

/** Counts the pictures that are black once there was one. */
const watchBlack = (page) =>
  page.evaluate(() => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 8;
    const draw = canvas.getContext("2d", { willReadFrequently: true });
    window.black = 0;
    const look = () => {
      const shown = [...document.querySelectorAll("onair-player video")].find((v) => getComputedStyle(v).opacity === "1");
      draw.fillStyle = "#000";
      draw.fillRect(0, 0, 8, 8);
      if (shown) draw.drawImage(shown, 0, 0, 8, 8);
      const { data } = draw.getImageData(0, 0, 8, 8);
      if (data.every((b, i) => i % 4 === 3 || b < 16)) window.black++;
      requestAnimationFrame(look);
    };
    look();
  });

/** The median age of the picture over some seconds, and what the page says. */
async function ages(page, ms) {
  await page.evaluate(() => {
    window.seen = window.watchFrames([...document.querySelectorAll("video")].find((v) => !v.classList.contains("coming")));
  });
  await page.waitForTimeout(ms);
  const seen = await page.evaluate(() => window.seen);
  const known = seen.map((f) => f.age).filter((a) => a !== null).sort((a, b) => a - b);
  const shown = await page.evaluate(() => window.onairPlayer.latency());
  return { pictureMs: known[Math.floor(known.length / 2)] ?? null, shownMs: shown === null ? null : Math.round(shown * 1000), frames: known.length };
}

const limit = (realtime_viewers) =>
  fetch(`${base}/v1/live-streams/${stream}`, {
    method: "PATCH",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify({ realtime_viewers }),
  }).then((r) => r.ok || failures.push(`the limit cannot be set: ${r.status}`));

try {
  if (base) {
    const { page, took } = await open(`${base}/watch/${playback}`);
    out.firstPictureMs = took;
    // A machine that is too slow for the limits of WebRTC's start plays HLS first, and tries again after a minute.
    await way(page, "webrtc", 90000);
    await page.evaluate(clock);
    await watchBlack(page);
    await page.waitForTimeout(3000);
    out.realtime = await ages(page, 5000);
    out.first = await stats(page);

    const choose = async (name) => {
      await page.mouse.move(300 + Math.random() * 100, 300);
      await page.getByRole("button", { name: /^Quality/ }).click();
      await page.getByRole("menuitemradio", { name }).click();
    };
    await page.getByRole("button", { name: /^Quality/ }).waitFor({ timeout: 15000 });
    out.qualities = await page.evaluate(() => window.onairPlayer.qualities());
    await choose(/^360p/);
    await page.waitForFunction(() => document.querySelector("video").videoHeight === 360, undefined, { timeout: 30000 });
    expect((await stats(page)).way === "webrtc", "another quality is not played in real time");
    await choose(/^Auto/);

    // Nobody may watch in real time any more, and then everybody again.
    await limit(0);
    await way(page, "hls");
    out.moved = await stats(page);
    await page.waitForTimeout(2000);
    await page.locator('onair-player[data-state="playing"]').waitFor({ state: "attached", timeout: 15000 });
    await limit(null);
    await way(page, "webrtc", 90000);
    await page.waitForTimeout(1500);
    out.back = await stats(page);
    out.black = await page.evaluate(() => window.black);
    await page.context().close();
  }
  if (blocked) {
    const other = await open(blocked);
    out.blockedMs = other.took;
    out.blockedAfterMs = other.after;
    await way(other.page, "hls");
    await other.page.getByText("does not get through this network").first().waitFor({ timeout: 10000 });
    out.blocked = await stats(other.page);
  }
} catch (error) {
  failures.push(error.message.split("\n").slice(0, 3).join(" "));
}
await browser.close();
console.log(JSON.stringify(out));
