// Publishes Chromium's fake camera over WHIP and prints what happened as JSON.
// node whip.mjs --whip URL --key KEY --hls URL --seconds N [--codec H264] [--mute yes]
import { createServer } from "node:http";
import { flags, launch } from "./chromium.mjs";

const { whip, key, hls, seconds, codec, mute } = flags();

const server = createServer((_, res) => {
  res.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>publisher</title>");
}).listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));

/** Reads a text; empty while there is none. */
async function text(url) {
  const res = await fetch(url).catch(() => null);
  return res?.ok ? res.text() : "";
}

/** Waits for the first segment or part of a picture, and returns the multivariant playlist. */
async function firstMedia(limit) {
  const end = Date.now() + limit;
  while (Date.now() < end) {
    const master = await text(hls);
    const variant = master.split("\n").find((line) => line && !line.startsWith("#"));
    const media = variant ? await text(new URL(variant, hls).href) : "";
    if (/#EXTINF|#EXT-X-PART:/.test(media)) return master;
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  throw new Error("no segment came");
}

/** What the sender knows of its picture. */
const sent = () =>
  window.pc.getStats().then((stats) => {
    let out = { width: 0, height: 0, frames: 0, codec: "", plis: 0, nacks: 0, bitrate: 0 };
    for (const s of stats.values()) {
      if (s.type === "outbound-rtp" && s.kind === "video") {
        out = { ...out, width: s.frameWidth ?? 0, height: s.frameHeight ?? 0, frames: s.framesEncoded, plis: s.pliCount, nacks: s.nackCount, bitrate: s.targetBitrate ?? 0,
          codec: stats.get(s.codecId)?.mimeType ?? "", limited: s.qualityLimitationReason };
      }
    }
    return out;
  });

const browser = await launch();
try {
  const tab = await browser.newPage();
  await tab.goto(`http://127.0.0.1:${server.address().port}/`);
  const posted = await tab.evaluate(
    async ([whip, key, codec]) => {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 1280, height: 720, frameRate: 30 }, audio: true });
      const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
      window.pc = pc;
      for (const track of stream.getTracks()) {
        const t = pc.addTransceiver(track, { direction: "sendonly", streams: [stream] });
        if (track.kind === "video" && codec) {
          const all = RTCRtpSender.getCapabilities("video").codecs;
          t.setCodecPreferences(all.filter((c) => c.mimeType === `video/${codec}` || c.mimeType === "video/rtx"));
        }
      }
      window.states = [];
      pc.onconnectionstatechange = () => window.states.push(pc.connectionState);
      await pc.setLocalDescription();
      const at = Date.now();
      const res = await fetch(whip, {
        method: "POST",
        headers: { "Content-Type": "application/sdp", Authorization: `Bearer ${key}` },
        body: pc.localDescription.sdp,
      });
      const answer = await res.text();
      if (res.status !== 201) throw new Error(`${res.status} ${answer}`);
      window.session = new URL(res.headers.get("Location"), whip).href;
      window.etag = res.headers.get("ETag");
      await pc.setRemoteDescription({ type: "answer", sdp: answer });
      return { at, etag: window.etag, codecs: RTCRtpSender.getCapabilities("video").codecs.map((c) => c.mimeType) };
    },
    [whip, key, codec ?? ""],
  );
  await firstMedia(20000);
  const firstSegmentMs = Date.now() - posted.at;
  let best = { height: 0 };
  let toHD = null;
  for (let i = 0; i < Number(seconds) * 4; i++) {
    await tab.waitForTimeout(250);
    if (mute === "yes" && i === 4) await tab.evaluate(() => window.pc.getSenders().forEach((s) => s.track?.kind === "audio" && s.replaceTrack(null)));
    const now = await tab.evaluate(sent);
    if (now.height >= best.height) best = now;
    if (now.height >= 720) toHD ??= Date.now() - posted.at;
  }
  const master = await text(hls);
  const deleted = await tab.evaluate(
    async (key) => (await fetch(window.session, { method: "DELETE", headers: { Authorization: `Bearer ${key}` } })).status,
    key,
  );
  console.log(JSON.stringify({ firstSegmentMs, toHD, best, deleted, etag: posted.etag, states: await tab.evaluate(() => window.states),
    resolutions: [...master.matchAll(/RESOLUTION=(\d+x\d+)/g)].map((m) => m[1]), codecs: [...new Set(posted.codecs)] }));
} finally {
  await browser.close();
  server.close();
}
