// WHEP without a server: a script for the page that answers its offers with a connection
// of its own, from a canvas with a tone. What it does next is in window.whep:
//   mode  "ok", "silent" (answers, and is never reachable), "refuse" (406)
//   drop()  ends what plays;  offers, wishes, deleted  count what the page did
export function loop() {
  const real = window.fetch.bind(window);
  const whep = { mode: 'ok', offers: 0, wishes: [], deleted: 0, pcs: [] };
  window.whep = whep;
  whep.drop = () => {
    for (const pc of whep.pcs.splice(0)) pc.close();
  };

  const canvas = document.createElement('canvas');
  canvas.width = 640;
  canvas.height = 360;
  const draw = canvas.getContext('2d');
  let n = 0;
  const paint = () => {
    draw.fillStyle = `hsl(${(n++ * 3) % 360} 60% 40%)`;
    draw.fillRect(0, 0, 640, 360);
    draw.fillStyle = '#fff';
    draw.font = '64px sans-serif';
    draw.fillText(`real time ${n}`, 90, 200);
  };

  const answer = async (offer) => {
    const pc = new RTCPeerConnection();
    whep.pcs.push(pc);
    paint();
    setInterval(paint, 40);
    for (const track of canvas.captureStream(25).getTracks()) pc.addTrack(track);
    const audio = new AudioContext();
    const out = audio.createMediaStreamDestination();
    const tone = audio.createOscillator();
    tone.connect(out);
    tone.start();
    for (const track of out.stream.getTracks()) pc.addTrack(track);
    await pc.setRemoteDescription({ type: 'offer', sdp: offer });
    await pc.setLocalDescription();
    await new Promise((done) => {
      if (pc.iceGatheringState === 'complete') done();
      pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && done();
    });
    return pc.localDescription.sdp;
  };

  window.fetch = async (url, init = {}) => {
    const path = new URL(url, location.href).pathname;
    if (!path.startsWith('/whep/')) return real(url, init);
    if (init.method === 'DELETE') {
      whep.deleted++;
      return new Response(null, { status: 200 });
    }
    if (path.endsWith('/layer')) {
      whep.wishes.push(JSON.parse(init.body).layer);
      return new Response(null, { status: 204 });
    }
    whep.offers++;
    whep.last = init.body;
    if (whep.mode === 'refuse') {
      return new Response(JSON.stringify({ detail: 'No codec of this stream is offered.' }), { status: 406 });
    }
    let sdp = await answer(init.body);
    if (whep.mode === 'silent') sdp = sdp.replace(/^a=candidate:.*\r\n/gm, '');
    return new Response(sdp, { status: 201, headers: { Location: `/whep/session/${whep.offers}` } });
  };
}
