#!/usr/bin/env bash
# Measures LL-HLS serving beside nginx in one run: one 720p stream of 2.5 Mbit/s, some
# viewers, and static files of 1.2 KB and 74 KB. Needs the load generator of
# ../shared/livebench (or $ONAIR_SHARED/livebench); prints one JSON object per figure.
# Usage: scripts/measure-serving.sh [VIEWERS] [OUTPUT FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
shared=${ONAIR_SHARED:-../shared}
[ -d "$shared/livebench" ] || { echo "measure: $shared/livebench is absent; nothing is measured" >&2; exit 0; }
scripts/setup.sh ffmpeg nginx
viewers=${1:-300}
out=${2:-.cache/measure}
mkdir -p "$out" .cache/bin
work=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

livebench=$PWD/.cache/bin/livebench
[ -x "$livebench" ] || {
  cp -r "$shared/livebench" "$work/livebench"
  chmod -R u+w "$work/livebench"
  (cd "$work/livebench" && go build -o "$livebench" .)
}
clip=.cache/clip.flv
[ -f "$clip" ] || "$livebench" source -quiet -o "$clip" >/dev/null

# wait_for FILE TEXT: until a log has the text.
wait_for() {
  for _ in $(seq 100); do grep -q "$2" "$1" 2>/dev/null && return; sleep 0.1; done
  echo "measure: no $2 in $1" >&2
  exit 1
}

static() { # static NAME
  mkdir -p "$work/www"
  head -c 1200 /dev/urandom >"$work/www/small"
  head -c 74000 /dev/urandom >"$work/www/large"
  cat >"$work/nginx.conf" <<NGINX
worker_processes 2; daemon off; pid $work/nginx.pid; error_log $work/nginx.log;
events { worker_connections 4096; }
http { access_log off; sendfile on; open_file_cache max=100; keepalive_requests 1000000; client_body_temp_path $work/t1;
 proxy_temp_path $work/t2; fastcgi_temp_path $work/t3; uwsgi_temp_path $work/t4; scgi_temp_path $work/t5;
 server { listen 127.0.0.1:18099; root $work/www; } }
NGINX
  chmod 755 "$work" "$work/www"
  PATH=$PATH:/usr/sbin nginx -c "$work/nginx.conf" &
  local pid=$!
  pids+=("$pid")
  sleep 1
  for size in small large; do
    "$livebench" static -quiet -url "http://127.0.0.1:18099/$size" -connections 50 -duration 8s -pid "$pid" >"$out/$1-$size.json"
  done
  kill "$pid"
  wait "$pid" 2>/dev/null || true
}

static nginx-before

bin/onair serve --http 127.0.0.1:0 --rtmp 127.0.0.1:0 --data "$work/data" --log-format json --admin-token measure-admin-token >"$work/log" 2>&1 &
server=$!
pids+=("$server")
wait_for "$work/log" '"msg":"ready"'
http=http://$(sed -n 's/.*"msg":"ready".*"http":"\([^"]*\)".*/\1/p' "$work/log")
rtmp=$(sed -n 's/.*"msg":"ready".*"rtmp":"\([^"]*\)".*/\1/p' "$work/log")
for mode in ultra low; do
  stream=$(curl -sf -X POST "$http/v1/live-streams" -H 'Authorization: Bearer measure-admin-token' \
    -H 'Content-Type: application/json' -d "{\"title\":\"measure\",\"latency_mode\":\"$mode\"}")
  key=$(sed 's/.*"stream_key":"\([^"]*\)".*/\1/' <<<"$stream")
  playback=$(sed 's/.*"playback_ids":\[{"id":"\([^"]*\)".*/\1/' <<<"$stream")
  "$livebench" publish -quiet -url "rtmp://$rtmp/live/$key" -clip "$clip" -duration 45s >"$out/publish-$mode.json" &
  publish=$!
  pids+=("$publish")
  sleep 6
  "$livebench" hls -quiet -url "$http/hls/$playback/index.m3u8" -viewers "$viewers" -probe 5 -duration 20s -pid "$server" >"$out/hls-$mode.json"
  wait "$publish" || true
done
kill "$server"
wait "$server" 2>/dev/null || true

static nginx-after

node - "$out" <<'JS'
const { readFileSync } = require("node:fs");
const read = (name) => JSON.parse(readFileSync(`${process.argv[2]}/${name}.json`, "utf8"));
const cost = (r) => (r.server.cores_used / r.requests_per_second) * 1e6;
const nginx = ["small", "large"].map((s) => ["before", "after"].map((w) => cost(read(`nginx-${w}-${s}`))));
const mean = (l) => l.reduce((a, b) => a + b, 0) / l.length;
const [small, large] = nginx.map(mean);
console.log(`nginx: ${small.toFixed(1)} µs (1.2 KB), ${large.toFixed(1)} µs (74 KB)`);
for (const mode of ["ultra", "low"]) {
  const r = read(`hls-${mode}`);
  const c = cost(r);
  console.log(
    `${mode}: ${c.toFixed(1)} µs a request (${(c / mean([small, large])).toFixed(2)} × nginx), ` +
      `latency p50 ${r.latency_ms.p50} p95 ${r.latency_ms.p95} p99 ${r.latency_ms.p99} ms, ` +
      `stalls ${r.stalls}, errors ${JSON.stringify(r.errors ?? {})}, ${r.requests_per_second.toFixed(0)} requests/s, ` +
      `${r.server.rss_max_mib} MiB, saturated ${r.machine.saturated}`,
  );
}
JS
