// Watches a recording on the watch page, and prints JSON at the end.
// node recording.mjs --recording URL --first UNIX-MILLISECONDS
import { readFileSync } from "node:fs";
import { flags, launch } from "./chromium.mjs";

const { recording, first } = flags();
const clock = readFileSync(new URL("./clock.js", import.meta.url), "utf8");
const failures = [];
const out = { failures, first: Number(first) };
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

/** Waits until the picture is of a time, and returns by how many seconds it is after the first. */
async function shows(page, from, to, what) {
  await page
    .waitForFunction(([a, b]) => (window.shown() ?? 0) >= a && window.shown() <= b, [from, to], { timeout: 20000, polling: 100 })
    .catch(() => failures.push(`${what}: the picture is not of the time it should be of`));
  return page.evaluate(() => window.shown());
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
