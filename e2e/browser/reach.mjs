// Opens the watch page where the network may let no WebRTC through, and prints as JSON how
// long its picture took and over which way it came.
// node reach.mjs --url URL [--until way]
// With --until it is waited until that way plays.
import { flags, launch } from "./chromium.mjs";

const { url, until } = flags();
const browser = await launch();
try {
  const page = await browser.newPage();
  const begun = Date.now();
  let offered = begun;
  page.on("request", (r) => {
    if (r.url().includes("/whep/") && r.method() === "POST" && offered === begun) offered = Date.now();
  });
  await page.goto(url);
  await page.locator('onair-player[data-state="playing"]').waitFor({ state: "attached", timeout: 30000 });
  const out = { openedMs: Date.now() - begun, offeredMs: Date.now() - offered };
  out.first = await page.evaluate(() => window.onairPlayer.stats());
  if (until) await page.waitForFunction((w) => window.onairPlayer.way === w, until, { timeout: 20000, polling: 100 });
  await page.waitForTimeout(5000);
  out.then = await page.evaluate(() => window.onairPlayer.stats());
  console.log(JSON.stringify(out));
} finally {
  await browser.close();
}
