// Plays a file in Chromium to its end, goes to places in it, and prints what happened as JSON.
// node file.mjs --url URL
import { flags, launch, serve } from "./chromium.mjs";

const { url } = flags();
const page = `<!doctype html><meta charset="utf-8"><title>file</title><video id="v" playsinline></video>`;
const server = await serve({ "/": ["text/html", page] });
const browser = await launch();
try {
  const tab = await browser.newPage();
  await tab.goto(`http://127.0.0.1:${server.address().port}/`);
  const result = await tab.evaluate(async (address) => {
    const video = document.getElementById("v");
    const wait = (ms) => new Promise((done) => setTimeout(done, ms));
    const errors = [];
    const changes = []; // of the size, and when
    const onFrame = (_, frame) => {
      const size = `${frame.width}x${frame.height}`;
      if (changes.at(-1)?.size !== size) changes.push({ size, at: frame.mediaTime });
      video.requestVideoFrameCallback(onFrame);
    };
    video.requestVideoFrameCallback(onFrame);
    video.addEventListener("error", () => errors.push(video.error.message));
    video.src = address;
    await video.play().catch((e) => errors.push(e.message));
    for (let i = 0; i < 600 && !video.ended && errors.length === 0; i++) await wait(100);
    const quality = video.getVideoPlaybackQuality();
    const result = { ended: video.ended, total: quality.totalVideoFrames, sound: video.webkitAudioDecodedByteCount, sizes: changes.map((c) => c.size), duration: video.duration, changes: changes.slice() };
    const wrong = [];
    for (const part of [0.6, 0.2, 0.9, 0.4]) {
      const at = video.duration * part;
      const want = result.changes.filter((c) => c.at <= at).at(-1)?.size;
      video.currentTime = at;
      for (let i = 0; i < 50 && video.seeking; i++) await wait(100);
      await wait(100);
      const got = `${video.videoWidth}x${video.videoHeight}`;
      if (video.seeking || got !== want) wrong.push(`${at}: ${got}, not ${want}`);
    }
    return { errors, wrong, ...result };
  }, url);
  console.log(JSON.stringify(result));
} finally {
  await browser.close();
  server.close();
}
