// Clicks through the pages of a real server: signs in, creates a stream, lets an encoder
// publish to it, and watches it, on a desktop and on a phone. Prints JSON.
// node pages.mjs --base URL --token TOKEN --publish PROGRAM --rtmp HOST:PORT --shots FOLDER
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { flags, launch } from "./chromium.mjs";

const { base, token, publish, rtmp, shots } = flags();
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const clock = readFileSync(new URL("./clock.js", import.meta.url), "utf8");
const failures = [];
const delays = {};

const looks = [
  { name: "desktop", viewport: { width: 1280, height: 860 }, colorScheme: "light" },
  { name: "dark", viewport: { width: 1280, height: 860 }, colorScheme: "dark" },
  { name: "phone", viewport: { width: 390, height: 844 }, colorScheme: "light", isMobile: true, hasTouch: true },
];

const browser = await launch();

/** Opens a page that notes whatever must not happen. */
async function open({ name, ...options }) {
  const context = await browser.newContext({ ...options, bypassCSP: false });
  const page = await context.newPage();
  page.on("pageerror", (e) => failures.push(`${name}: script error: ${e.message}`));
  page.on("console", (m) => {
    if (m.type() === "error" && !/Failed to load resource/.test(m.text())) failures.push(`${name}: console: ${m.text()}`);
  });
  page.on("request", (r) => {
    if (/^https?:/.test(r.url()) && !r.url().startsWith(base)) failures.push(`${name}: request to another host: ${r.url()}`);
  });
  const look = async (state) => {
    await page.screenshot({ path: join(shots, `${state}-${name}.png`) });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wide > 0) failures.push(`${state} on ${name} is ${wide} px too wide`);
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }));
    for (const v of found.violations) failures.push(`${state} on ${name}: axe ${v.id}: ${v.nodes.map((n) => n.target).slice(0, 3)}`);
  };
  return { page, context, look };
}

/** Walks the ways in, and sets a passphrase, a service to restream to and a source. */
async function ways(page, look) {
  for (const tab of ["ffmpeg", "Phone", "Browser", "GStreamer", "OBS multitrack", "SRT"]) {
    const button = page.getByRole("tab", { name: tab, exact: true });
    await button.click();
    await button.scrollIntoViewIfNeeded();
    await look(`tab-${tab.replace(" ", "-")}`);
  }
  await page.getByRole("button", { name: "Set a passphrase" }).click();
  await page.getByRole("button", { name: "Set passphrase" }).click();
  await page.getByText("Encrypts SRT, publishing and playing.").waitFor();
  await page.getByRole("tab", { name: "OBS multitrack" }).click();
  await page.getByRole("button", { name: "Make OBS settings" }).click();
  await page.getByText("encoder_configurations").waitFor();
  await page.getByRole("tab", { name: "OBS", exact: true }).click();

  await page.getByRole("button", { name: "Add a service" }).click();
  await page.locator("#t-url").fill("gopher://live.example.net/app");
  await page.getByRole("button", { name: "Add service" }).click();
  await page.getByText("must begin with one of").waitFor();
  await page.locator("#t-url").fill("rtmp://live.example.net/app");
  await page.getByLabel("Their stream key").fill("abcdefgh12345678");
  await page.getByRole("button", { name: "Add service" }).click();
  await page.getByText("key ****5678").waitFor();
  await page.getByText("key ****5678").scrollIntoViewIfNeeded();
  await look("targets");
  await page.getByRole("button", { name: "Remove live.example.net" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await page.getByRole("button", { name: "Add a service" }).waitFor();

  await page.getByRole("button", { name: "Set an address" }).click();
  await page.getByLabel("Address", { exact: true }).fill("rtmp://user:pass@192.0.2.1/live");
  await page.getByLabel("Only while somebody watches").check();
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("rtmp://user:****@192.0.2.1/live").waitFor();
  await page.getByRole("button", { name: "Remove address" }).scrollIntoViewIfNeeded();
  await look("source");
  await page.getByRole("button", { name: "Remove address" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await page.getByRole("button", { name: "Set an address" }).waitFor();
}

/** Sets how many may watch in real time, after a list of qualities that the server refuses. */
async function qualities(page, look) {
  await page.getByRole("region", { name: "Qualities" }).getByRole("button", { name: "Settings" }).click();
  await page.getByLabel("Which").selectOption("My own list");
  await page.getByLabel("Qualities, the best first").fill("720p, potato");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("dialog").getByRole("alert").getByText(/\w/).first().waitFor();
  await look("ladder");
  await page.getByLabel("Which").selectOption("The server’s default");
  await page.getByLabel("Viewers in real time").fill("25");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  await page.getByText("Other addresses").click();
  await page.getByRole("textbox", { name: "WHEP", exact: true }).waitFor();
}

for (const [index, options] of looks.entries()) {
  const { page, context, look } = await open(options);
  const title = `Show on ${options.name}`;
  try {
    await page.goto(`${base}/`);
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    await look("signin");
    await page.getByLabel("Admin token").fill(`${token}-wrong`);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("That is not the admin token").waitFor();
    await page.getByLabel("Admin token").fill(token);
    await page.getByRole("button", { name: "Sign in" }).click();

    await page.getByRole("button", { name: index === 0 ? "Create your first stream" : /Create stream|New stream/ }).first().click();
    await page.getByLabel("Title").fill(title);
    await page.getByRole("dialog").getByRole("button", { name: "Create stream" }).click();
    await page.getByText("Waiting for your encoder").waitFor();
    await page.getByRole("button", { name: "Show stream key" }).click();
    const key = await page.getByRole("textbox", { name: "Stream key", exact: true }).inputValue();
    await page.getByRole("button", { name: "Copy stream key" }).click();
    await page.getByText("Copied").first().waitFor();
    await look("idle");
    await ways(page, look);
    await qualities(page, look);

    // The viewer comes before the show and does not touch the page again.
    const list = await page.evaluate(
      async (auth) => (await (await fetch("/v1/live-streams", { headers: { Authorization: `Bearer ${auth}` } })).json()).data,
      token,
    );
    const stream = list.find((s) => s.title === title);
    const viewer = await context.newPage();
    await viewer.goto(`${base}/watch/${stream.playback_ids[0].id}`);
    await viewer.locator('onair-player[data-state="offline"]').waitFor({ state: "attached", timeout: 10000 });

    const encoder = spawn(publish, ["publish", `rtmp://${rtmp}/live/${key}`, "--size", "640x360", "--bitrate", "800"]);
    try {
      await page.getByText("What viewers see").waitFor({ timeout: 25000 });
      await page.getByText("640 × 360").waitFor({ timeout: 10000 });
      await viewer.bringToFront();
      await viewer.locator('onair-player[data-state="playing"]').waitFor({ state: "attached", timeout: 25000 });
      await viewer.evaluate(clock);
      await viewer.evaluate(() => {
        window.seen = window.watchFrames(document.querySelector("video"));
      });
      await viewer.waitForTimeout(10000);
      const seen = await viewer.evaluate(() => window.seen);
      const ages = seen.slice(Math.floor(seen.length / 2)).map((f) => f.age).filter((a) => a !== null).sort((a, b) => a - b);
      const shown = await viewer.evaluate(() => window.onairPlayer.latency());
      delays[options.name] = { pictureMs: ages[Math.floor(ages.length / 2)] ?? null, shownMs: shown === null ? null : Math.round(shown * 1000), frames: seen.length };
      await viewer.screenshot({ path: join(shots, `watch-${options.name}.png`) });
      await page.bringToFront();
      await page.waitForTimeout(2500);
      await look("live");
      const health = page.getByRole("region", { name: "Stream health" });
      await health.getByText(/^(Good|Degraded|Bad)$/).waitFor({ timeout: 20000 });
      await health.scrollIntoViewIfNeeded();
      const zeros = await health.locator("dd", { hasText: /^(0 ms|0 %)$/ }).count();
      if (zeros > 3) failures.push(`${options.name}: ${zeros} readings are zero, which are rather unknown`);
      await look("health");
    } finally {
      encoder.kill("SIGINT");
    }
    await viewer.bringToFront();
    await viewer.locator('onair-player[data-state="ended"]').waitFor({ state: "attached", timeout: 25000 });
    await page.bringToFront();
    await page.getByText("Waiting for your encoder").waitFor({ timeout: 10000 });
  } catch (error) {
    failures.push(`${options.name}: ${error.message.split("\n").slice(0, 3).join(" ")}`);
    await page.screenshot({ path: join(shots, `failed-${options.name}.png`) }).catch(() => {});
  }
  await context.close();
}

const { page, context } = await open(looks[0]);
await page.goto(`${base}/docs`);
await page.getByText("Live streams").first().waitFor({ timeout: 20000 }).catch((e) => failures.push(`docs: ${e.message}`));
await page.screenshot({ path: join(shots, "docs.png") });
await context.close();
await browser.close();
console.log(JSON.stringify({ failures, delays }));
