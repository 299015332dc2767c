// Command lines that publish. Each takes the place it sends to, with the key or a mask in it.

export type Way = 'rtmp' | 'srt';

/** Publishes a file, or a moving test picture with a tone. */
export function ffmpegCommand(source: 'file' | 'test', way: Way, address: string): string {
  const input =
    source === 'file'
      ? '-re -i input.mp4'
      : '-re -f lavfi -i testsrc2=size=1280x720:rate=30 \\\n  -f lavfi -i sine=frequency=440:sample_rate=48000';
  return [
    `ffmpeg ${input} \\`,
    '  -c:v libx264 -preset veryfast -tune zerolatency -pix_fmt yuv420p \\',
    '  -b:v 2500k -maxrate 2500k -bufsize 2500k \\',
    "  -force_key_frames 'expr:gte(t,n_forced*2)' \\",
    '  -c:a aac -b:a 128k -ar 48000 \\',
    `  -f ${way === 'srt' ? 'mpegts' : 'flv'} '${address}'`,
  ].join('\n');
}

/** Publishes a moving test picture with a tone by GStreamer. */
export function gstreamerCommand(way: Way, address: string): string {
  const [mux, parse, sink] =
    way === 'srt'
      ? ['mpegtsmux name=mux alignment=7', 'h264parse config-interval=-1', `srtsink uri='${address}'`]
      : ['flvmux streamable=true name=mux', 'h264parse', `rtmp2sink location='${address}'`];
  return [
    'gst-launch-1.0 -e \\',
    '  videotestsrc is-live=true ! video/x-raw,width=1280,height=720,framerate=30/1 ! \\',
    '  x264enc bitrate=2500 speed-preset=veryfast tune=zerolatency key-int-max=60 ! \\',
    `  ${parse} ! mux. \\`,
    '  audiotestsrc is-live=true ! audioconvert ! avenc_aac bitrate=128000 ! aacparse ! mux. \\',
    `  ${mux} ! ${sink}`,
  ].join('\n');
}

/** Publishes camera and microphone from a page of one's own. */
export function whipSnippet(whip: string, key: string): string {
  return [
    'const pc = new RTCPeerConnection();',
    'const media = await navigator.mediaDevices.getUserMedia({',
    '  video: { width: 1280, height: 720 }, audio: true });',
    "for (const t of media.getTracks()) pc.addTransceiver(t, { direction: 'sendonly' });",
    'await pc.setLocalDescription();',
    'await new Promise((done) => {',
    "  pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && done();",
    '  setTimeout(done, 1000);',
    '});',
    `const answer = await fetch('${whip}', {`,
    "  method: 'POST', body: pc.localDescription.sdp,",
    `  headers: { 'Content-Type': 'application/sdp', Authorization: 'Bearer ${key}' } });`,
    "await pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });",
  ].join('\n');
}
