// Watches a stream over WHEP in Chromium with nothing but RTCPeerConnection, and prints
// what arrived as JSON.
// node whep.mjs --whep URL --seconds N [--joins N] [--only tcp]
// It joins as often as --joins says, and stays the last time.
// With "--only tcp" the page drops the UDP candidates of the answer, as a network does that
// lets no UDP through.
import { createServer } from "node:http";
import { flags, launch } from "./chromium.mjs";

const { whep, seconds, joins, only } = flags();

const server = createServer((_, res) => {
  res.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>viewer</title><button>Play</button><video playsinline></video>");
}).listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));

/** Runs in the page: plays once the button is clicked. */
function prepare([whep, only]) {
  const video = document.querySelector("video");
  const play = async () => {
    const at = performance.now();
    window.result = { states: [], answeredMs: null, connectedMs: null, firstFrameMs: null, error: "" };
    const since = () => Math.round(performance.now() - at);
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    window.pc = pc;
    pc.addTransceiver("video", { direction: "recvonly" });
    pc.addTransceiver("audio", { direction: "recvonly" });
    pc.onconnectionstatechange = () => {
      window.result.states.push(pc.connectionState);
      if (pc.connectionState === "connected") window.result.connectedMs = since();
    };
    const stream = new MediaStream();
    pc.ontrack = (e) => {
      stream.addTrack(e.track);
      video.srcObject = stream;
      video.play();
    };
    video.requestVideoFrameCallback(() => {
      window.result.firstFrameMs = since();
    });
    await pc.setLocalDescription();
    const res = await fetch(whep, { method: "POST", headers: { "Content-Type": "application/sdp" }, body: pc.localDescription.sdp });
    let answer = await res.text();
    window.result.answeredMs = since();
    if (res.status !== 201) throw new Error(`${res.status} ${answer}`);
    window.session = new URL(res.headers.get("Location"), whep).href;
    if (only === "tcp") answer = answer.split("\r\n").filter((l) => !/^a=candidate:.* udp /i.test(l)).join("\r\n");
    await pc.setRemoteDescription({ type: "answer", sdp: answer });
  };
  window.leave = async () => {
    const { status } = await fetch(window.session, { method: "DELETE" });
    window.pc.close();
    video.srcObject = null;
    return status;
  };
  document.querySelector("button").onclick = () => play().catch((e) => (window.result.error = e.message));
}

/** Runs in the page: what came so far. */
async function arrived() {
  const stats = await window.pc.getStats();
  const out = { ...window.result, video: {}, audio: {}, transport: "" };
  for (const s of stats.values()) {
    if (s.type === "inbound-rtp") {
      const codec = stats.get(s.codecId)?.mimeType ?? "";
      const common = { codec, packets: s.packetsReceived, lost: s.packetsLost, jitterBufferMs: Math.round((1000 * s.jitterBufferDelay) / (s.jitterBufferEmittedCount || 1)) };
      if (s.kind === "video") out.video = { ...common, frames: s.framesDecoded, width: s.frameWidth, height: s.frameHeight, keys: s.keyFramesDecoded, freezes: s.freezeCount };
      else out.audio = { ...common, samples: s.totalSamplesReceived, concealed: s.concealedSamples, energy: s.totalAudioEnergy };
    }
    if (s.type === "candidate-pair" && s.nominated) out.transport = stats.get(s.localCandidateId)?.protocol ?? "";
  }
  return out;
}

const browser = await launch();
try {
  const tab = await browser.newPage();
  await tab.goto(`http://127.0.0.1:${server.address().port}/`);
  await tab.evaluate(prepare, [whep, only ?? ""]);
  const times = [];
  for (let left = Number(joins ?? 1); left > 0; left--) {
    await tab.getByRole("button").click();
    await tab.waitForFunction(() => window.result.firstFrameMs !== null || window.result.error, null, { timeout: 20000, polling: 50 }).catch(() => {});
    const { error, answeredMs, connectedMs, firstFrameMs } = await tab.evaluate(() => window.result);
    if (error) throw new Error(error);
    times.push({ answeredMs, connectedMs, firstFrameMs });
    if (left > 1) await tab.evaluate(() => window.leave());
  }
  await tab.waitForTimeout(Number(seconds) * 1000);
  let out = await tab.evaluate(arrived);
  // A busy machine may take longer to bring as much.
  for (let i = 0; i < 20 && !(out.video.frames > 40 && out.audio.packets > 100); i++) {
    await tab.waitForTimeout(500);
    out = await tab.evaluate(arrived);
  }
  out.joins = times;
  out.deleted = await tab.evaluate(() => window.leave());
  console.log(JSON.stringify(out));
} finally {
  await browser.close();
  server.close();
}
