// Opens a watch page and ends when its picture moves. node demo.mjs --page URL
import { flags, launch } from "./chromium.mjs";

const browser = await launch();
const page = await browser.newPage();
const begun = Date.now();
await page.goto(flags().page);
await page.waitForFunction(() => document.querySelector("video")?.currentTime > 0.2, undefined, { timeout: 20000 });
const first = await page.evaluate(() => document.querySelector("video").currentTime);
await page.waitForFunction((t) => document.querySelector("video").currentTime > t + 0.3, first, { timeout: 10000 });
console.log(`playing ${Date.now() - begun} ms after the page was opened`);
await browser.close();
