// Watches a stream over WHEP in Chromium with nothing but RTCPeerConnection, and prints
// what arrived as JSON.
// node whep.mjs --whep URL --seconds N [--only tcp]
// With "--only tcp" the page drops the UDP candidates of the answer, as a network does that
// lets no UDP through.
import { createServer } from "node:http";
import { flags, launch } from "./chromium.mjs";

const { whep, seconds, only } = flags();

const server = createServer((_, res) => {
  res.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>viewer</title><button>Play</button><video playsinline></video>");
}).listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));

/** Runs in the page: plays once the button is clicked. */
function prepare([whep, only]) {
  const video = document.querySelector("video");
  window.result = { states: [], firstFrameMs: null, error: "" };
  const play = async () => {
    const at = performance.now();
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    window.pc = pc;
    pc.addTransceiver("video", { direction: "recvonly" });
    pc.addTransceiver("audio", { direction: "recvonly" });
    pc.onconnectionstatechange = () => window.result.states.push(pc.connectionState);
    const stream = new MediaStream();
    pc.ontrack = (e) => {
      stream.addTrack(e.track);
      video.srcObject = stream;
      video.play();
    };
    video.requestVideoFrameCallback(() => {
      window.result.firstFrameMs = Math.round(performance.now() - at);
    });
    await pc.setLocalDescription();
    const res = await fetch(whep, { method: "POST", headers: { "Content-Type": "application/sdp" }, body: pc.localDescription.sdp });
    let answer = await res.text();
    if (res.status !== 201) throw new Error(`${res.status} ${answer}`);
    window.session = new URL(res.headers.get("Location"), whep).href;
    if (only === "tcp") answer = answer.split("\r\n").filter((l) => !/^a=candidate:.* udp /i.test(l)).join("\r\n");
    await pc.setRemoteDescription({ type: "answer", sdp: answer });
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
  await tab.getByRole("button").click();
  await tab.waitForFunction(() => window.result.firstFrameMs !== null || window.result.error, null, { timeout: 20000, polling: 50 }).catch(() => {});
  const error = await tab.evaluate(() => window.result.error);
  if (error) throw new Error(error);
  await tab.waitForTimeout(Number(seconds) * 1000);
  let out = await tab.evaluate(arrived);
  // A busy machine may take longer to bring as much.
  for (let i = 0; i < 20 && !(out.video.frames > 40 && out.audio.packets > 100); i++) {
    await tab.waitForTimeout(500);
    out = await tab.evaluate(arrived);
  }
  out.deleted = await tab.evaluate(async () => (await fetch(window.session, { method: "DELETE" })).status);
  console.log(JSON.stringify(out));
} finally {
  await browser.close();
  server.close();
}
