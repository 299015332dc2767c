#!/usr/bin/env bash
# Measures 200 RTMP viewers of one 720p stream of 2.5 Mbit/s, beside nginx's RTMP module in
# the same run. Needs the load generator of ../shared/livebench (or $ONAIR_SHARED/livebench),
# built by scripts/measure-serving.sh, and Debian's libnginx-mod-rtmp.
# Usage: scripts/measure-rtmp.sh [OUTPUT FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
livebench=.cache/bin/livebench clip=.cache/clip.flv module=/usr/lib/nginx/modules/ngx_rtmp_module.so
for need in "$livebench" "$clip" "$module" bin/onair; do
  [ -f "$need" ] || { echo "measure: $need is missing; nothing is measured" >&2; exit 0; }
done
out=${1:-.cache/measure}
mkdir -p "$out"
work=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

measure() { # measure NAME PUBLISH_URL PLAY_URL PID
  "$livebench" publish -quiet -url "$2" -clip "$clip" -duration 40s >"$out/rtmp-publish-$1.json" &
  local publisher=$!
  pids+=("$publisher")
  sleep 4
  "$livebench" rtmp-play -quiet -url "$3" -viewers 200 -probe 5 -duration 20s -pid "$4" >"$out/rtmp-$1.json"
  wait "$publisher" || true
}

cat >"$work/nginx.conf" <<NGINX
load_module $module;
worker_processes 1; daemon off; pid $work/nginx.pid; error_log $work/nginx.log;
events { worker_connections 4096; }
rtmp { server { listen 127.0.0.1:18935; application live { live on; } } }
NGINX
PATH=$PATH:/usr/sbin nginx -c "$work/nginx.conf" &
nginx=$!
pids+=("$nginx")
bin/onair serve --http 127.0.0.1:0 --rtmp 127.0.0.1:0 --srt off --webrtc off --rtmp-max-per-address 512 --data "$work/data" \
  --log-format json --admin-token measure-admin-token >"$work/log" 2>&1 &
server=$!
pids+=("$server")
for _ in $(seq 100); do grep -q '"msg":"ready"' "$work/log" && break; sleep 0.1; done
http=http://$(sed -n 's/.*"msg":"ready".*"http":"\([^"]*\)".*/\1/p' "$work/log")
rtmp=$(sed -n 's/.*"msg":"ready".*"rtmp":"\([^"]*\)".*/\1/p' "$work/log")
stream=$(curl -sf -X POST "$http/v1/live-streams" -H 'Authorization: Bearer measure-admin-token' \
  -H 'Content-Type: application/json' -d '{"title":"measure"}')
key=$(sed 's/.*"stream_key":"\([^"]*\)".*/\1/' <<<"$stream")
playback=$(sed 's/.*"playback_ids":\[{"id":"\([^"]*\)".*/\1/' <<<"$stream")

measure nginx rtmp://127.0.0.1:18935/live/s rtmp://127.0.0.1:18935/live/s "$nginx"
measure onair "rtmp://$rtmp/live/$key" "rtmp://$rtmp/play/$playback" "$server"

node - "$out" <<'JS'
const { readFileSync } = require("node:fs");
const read = (name) => JSON.parse(readFileSync(`${process.argv[2]}/rtmp-${name}.json`, "utf8"));
const peer = read("nginx").server.millicores_per_client;
for (const name of ["nginx", "onair"]) {
  const r = read(name);
  console.log(
    `${name}: ${r.server.millicores_per_client} millicores a viewer (${(r.server.millicores_per_client / peer).toFixed(2)} × nginx), ` +
      `latency p50 ${r.latency_ms.p50} p95 ${r.latency_ms.p95} p99 ${r.latency_ms.p99} ms, ` +
      `errors ${JSON.stringify(r.errors ?? {})}, ${r.server.rss_max_mib} MiB, saturated ${r.machine.saturated}`,
  );
}
JS
