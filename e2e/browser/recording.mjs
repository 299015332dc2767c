// Watches a stream with a past, and its recording, on the watch page. Says "went back" when the
// broadcast may end, and prints JSON at the end.
// node recording.mjs --live URL --recording URL
import { readFileSync } from "node:fs";
import { flags, launch } from "./chromium.mjs";

const { live, recording } = flags();
const clock = readFileSync(new URL("./clock.js", import.meta.url), "utf8");
const failures = [];
const out = { failures };
const expect = (ok, what) => ok || failures.push(what);
const browser = await launch();
const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });

async function open(url) {
  const page = await context.newPage();
  page.on("pageerror", (e) => failures.push(`script error: ${e.message}`));
  page.on("console", (m) => {
    if (m.type() === "error" && !/Failed to load resource/.test(m.text())) failures.push(`console: ${m.text()}`);
  });
  await page.goto(url);
  await page.evaluate(clock);
  await page.evaluate(() => {
    const canvas = document.createElement("canvas");
    canvas.width = 48 * 4;
    canvas.height = 2;
    const draw = canvas.getContext("2d", { willReadFrequently: true });
    /** Unix milliseconds in the picture; null where there are none. */
    window.shown = () => {
      const v = document.querySelector("onair-player video:not(.coming)");
      return v?.videoWidth ? window.readClock(v, v.videoWidth, v.videoHeight, draw) : null;
    };
  });
  await state(page, "playing", 30000);
  return page;
}

const state = (page, want, timeout = 20000) => page.locator(`onair-player[data-state="${want}"]`).waitFor({ state: "attached", timeout });
const bar = (page) => page.getByRole("slider", { name: "Seek" });

/** Waits until the picture is of a time, and returns which; null when it never was. */
async function shows(page, from, to, what) {
  const seen = ([a, b]) => {
    const at = window.shown() ?? 0;
    return at >= a && at <= b && at;
  };
  try {
    const found = await page.waitForFunction(seen, [from, to], { timeout: 20000, polling: 100 });
    return await found.jsonValue();
  } catch {
    failures.push(`${what}: the picture is not of the time it should be of`);
    return null;
  }
}

/** Moves the pointer over the bar and returns the size of the small picture there. */
async function peek(page, part) {
  await page.mouse.move(300, 200);
  const box = await bar(page).boundingBox();
  await page.mouse.move(box.x + box.width * part, box.y + box.height / 2);
  const frame = page.locator(".peek-frame:not([hidden])");
  await frame.waitFor({ timeout: 15000 }).catch(() => {});
  return page
    .waitForFunction(() => document.querySelector(".peek-frame:not([hidden]) img")?.naturalWidth > 0, undefined, { timeout: 15000 })
    .then(() => true, () => false);
}

try {
  const page = await open(live);
  out.way = await page.evaluate(() => window.onairPlayer.way);
  await bar(page).waitFor();
  await bar(page).focus();
  await page.keyboard.press("Home");
  const now = () => Date.now();
  out.first = await shows(page, 0, now() - 30000, "back in the live stream");
  expect(await peek(page, 0.5), "there is no small picture of the live stream");
  await page.mouse.move(300, 220);
  await page.getByRole("button", { name: /^Go to live/ }).click();
  const begun = now();
  await shows(page, begun - 6000, begun + 20000, "at the edge again");
  out.edgeMs = now() - begun;
  expect(out.edgeMs < 6000, `going to live took ${out.edgeMs} ms`);
  await page.locator('.badge[data-kind="LIVE"]').waitFor({ timeout: 10000 }).catch(() => failures.push("the badge is not LIVE at the edge"));
  await bar(page).focus();
  await page.keyboard.press("Home");
  await shows(page, out.first - 3000, out.first + 6000, "back once more");
  console.log("went back");
  await page.waitForFunction(() => document.querySelector(".chip").textContent === "Ended", undefined, { timeout: 30000 }).catch(() => failures.push("the page does not say that it ended"));
  expect((await page.evaluate(() => window.onairPlayer.state)) === "playing", "it does not go on when the broadcast is over");
  // pack may have forgotten the stream by now; everything can still be gone to.
  for (const [key, from, to] of [["Home", -3000, 8000], ["ArrowRight", 6000, 20000], ["Home", -3000, 8000]]) {
    await bar(page).focus();
    await page.keyboard.press(key);
    await shows(page, out.first + from, out.first + to, `${key} when it is over`);
  }
  await page.keyboard.press("End");
  await state(page, "ended");
  await page.getByRole("button", { name: "Watch again" }).click();
  await shows(page, out.first - 3000, out.first + 8000, "watched again");
  await page.close();

  const again = await open(recording);
  out.again = await shows(again, out.first - 3000, out.first + 6000, "the recording from its beginning");
  expect(await peek(again, 0.6), "there is no small picture of the recording");
  const length = await again.evaluate(() => document.querySelector("video").duration);
  out.length = length;
  const box = await bar(again).boundingBox();
  await again.mouse.click(box.x + box.width * 0.6, box.y + box.height / 2);
  const middle = out.first + length * 600;
  await shows(again, middle - 3000, middle + 5000, "the middle of the recording");
  await again.close();

  const part = await open(`${recording}?start=10&end=20`);
  await shows(part, out.first + 6000, out.first + 14000, "a part of the recording");
  const partLength = await part.evaluate(() => document.querySelector("video").duration);
  expect(partLength >= 9.5 && partLength <= 15, `a part of 10 s lasts ${partLength} s`);
} catch (err) {
  failures.push(String(err.message).split("\n").slice(0, 3).join(" "));
}
console.log(JSON.stringify(out));
await browser.close();
