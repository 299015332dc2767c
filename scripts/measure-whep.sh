#!/usr/bin/env bash
# Measures 100 WebRTC viewers of one 720p stream of 2.5 Mbit/s, beside MediaMTX in the same
# run if $MEDIAMTX names its program. Needs the load generator of ../shared/livebench (or
# $ONAIR_SHARED/livebench), built by scripts/measure-serving.sh.
# Usage: scripts/measure-whep.sh [OUTPUT FOLDER] [VIEWERS]
set -euo pipefail
cd "$(dirname "$0")/.."
livebench=.cache/bin/livebench clip=.cache/clip.flv video=.cache/video.flv
for need in "$livebench" "$clip" bin/onair; do
  [ -f "$need" ] || { echo "measure: $need is missing; nothing is measured" >&2; exit 0; }
done
# Without its sound, which is AAC: one server would leave it out, the other convert it.
[ -f "$video" ] || ffmpeg -v error -nostdin -i "$clip" -an -c copy "$video"
out=${1:-.cache/measure} viewers=${2:-100}
mkdir -p "$out"
work=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

measure() { # measure NAME PUBLISH_URL WHEP_URL PID
  "$livebench" publish -quiet -url "$2" -clip "$video" -duration 60s >"$out/whep-publish-$1.json" &
  local publisher=$!
  pids+=("$publisher")
  sleep 5
  "$livebench" whep -quiet -url "$3" -viewers "$viewers" -probe 5 -duration 20s -pid "$4" >"$out/whep-$1.json"
  kill "$publisher" 2>/dev/null || true
  wait "$publisher" 2>/dev/null || true
}

names=()
if [ -x "${MEDIAMTX:-}" ]; then
  cat >"$work/mediamtx.yml" <<YML
logLevel: warn
rtsp: no
hls: no
srt: no
moq: no
api: no
rtmpAddress: 127.0.0.1:18936
webrtcAddress: 127.0.0.1:18890
webrtcLocalUDPAddress: 127.0.0.1:18190
webrtcIPsFromInterfaces: no
webrtcAdditionalHosts: [127.0.0.1]
paths: { all_others: {} }
YML
  "$MEDIAMTX" "$work/mediamtx.yml" >"$work/mediamtx.log" 2>&1 &
  peer=$!
  pids+=("$peer")
  sleep 2
  measure mediamtx rtmp://127.0.0.1:18936/live/s http://127.0.0.1:18890/live/s/whep "$peer"
  kill "$peer"
  names+=(mediamtx)
fi

bin/onair serve --http 127.0.0.1:0 --rtmp 127.0.0.1:0 --srt off --webrtc 127.0.0.1:0 --transcode off --data "$work/data" \
  --webrtc-max-viewers-per-address 1024 --log-format json --admin-token measure-admin-token >"$work/log" 2>&1 &
server=$!
pids+=("$server")
for _ in $(seq 100); do grep -q '"msg":"ready"' "$work/log" && break; sleep 0.1; done
http=http://$(sed -n 's/.*"msg":"ready".*"http":"\([^"]*\)".*/\1/p' "$work/log")
rtmp=$(sed -n 's/.*"msg":"ready".*"rtmp":"\([^"]*\)".*/\1/p' "$work/log")
stream=$(curl -sf -X POST "$http/v1/live-streams" -H 'Authorization: Bearer measure-admin-token' \
  -H 'Content-Type: application/json' -d '{"title":"measure","realtime_viewers":10000}')
key=$(sed 's/.*"stream_key":"\([^"]*\)".*/\1/' <<<"$stream")
playback=$(sed 's/.*"playback_ids":\[{"id":"\([^"]*\)".*/\1/' <<<"$stream")
measure onair "rtmp://$rtmp/live/$key" "$http/whep/$playback" "$server"
names+=(onair)

node - "$out" "${names[@]}" <<'JS'
const { readFileSync } = require("node:fs");
const [out, ...names] = process.argv.slice(2);
for (const name of names) {
  const r = JSON.parse(readFileSync(`${out}/whep-${name}.json`, "utf8"));
  console.log(
    `${name}: ${r.server.millicores_per_client} millicores a viewer, joined ${r.joined} of ${r.clients}, ` +
      `connect p50 ${r.connect_ms?.p50} first frame p50 ${r.join_first_frame_ms?.p50} ms, ` +
      `latency p50 ${r.latency_ms?.p50} p95 ${r.latency_ms?.p95} p99 ${r.latency_ms?.p99} ms, lost ${r.packets_lost}, ` +
      `errors ${JSON.stringify(r.errors ?? {})}, ${r.server.rss_max_mib} MiB, saturated ${r.machine.saturated}`,
  );
}
JS
