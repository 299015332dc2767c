#!/usr/bin/env bash
# Measures what recording costs: two servers in one run get the same streams of 2.5 Mbit/s, one
# of them records. Their places change half-way. Needs the load generator of ../shared/livebench
# (or $ONAIR_SHARED/livebench), built by scripts/measure-serving.sh.
# Usage: scripts/measure-recording.sh [STREAMS [VIEWERS [SECONDS]]]
set -euo pipefail
cd "$(dirname "$0")/.."
streams=${1:-10} viewers=${2:-0} seconds=${3:-60}
livebench=.cache/bin/livebench clip=.cache/clip.flv
for need in "$livebench" "$clip" bin/onair; do
  [ -f "$need" ] || { echo "measure: $need is missing; nothing is measured" >&2; exit 0; }
done
work=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }
rss() { awk '/VmRSS/ {print int($2 / 1024)}' "/proc/$1/status"; }

begin() { # begin NAME RECORD: sets pid_NAME, and publishes
  local name=$1 http rtmp key play answer
  bin/onair serve --http 127.0.0.1:0 --rtmp 127.0.0.1:0 --srt off --webrtc off --transcode off --data "$work/$name" \
    --doctor-sample-interval 0 --log-format json --admin-token measure-admin-token >"$work/$name.log" 2>&1 &
  local pid=$!
  pids+=("$pid")
  declare -g "pid_$name=$pid"
  for _ in $(seq 100); do grep -q '"msg":"ready"' "$work/$name.log" && break; sleep 0.1; done
  http=http://$(sed -n 's/.*"msg":"ready".*"http":"\([^"]*\)".*/\1/p' "$work/$name.log")
  rtmp=$(sed -n 's/.*"msg":"ready".*"rtmp":"\([^"]*\)".*/\1/p' "$work/$name.log")
  for _ in $(seq "$streams"); do
    answer=$(curl -sf -X POST "$http/v1/live-streams" -H 'Authorization: Bearer measure-admin-token' \
      -H 'Content-Type: application/json' -d "{\"title\":\"measure\",\"record\":$2}")
    key=$(sed 's/.*"stream_key":"\([^"]*\)".*/\1/' <<<"$answer")
    play=$(sed 's/.*"playback_ids":\[{"id":"\([^"]*\)".*/\1/' <<<"$answer")
    "$livebench" publish -quiet -url "rtmp://$rtmp/live/$key" -clip "$clip" -duration "$((seconds + 40))s" >/dev/null &
    pids+=("$!")
  done
  if [ "$viewers" -gt 0 ]; then
    sleep 6
    "$livebench" hls -quiet -url "$http/hls/$play/index.m3u8" -viewers "$viewers" -duration "$((seconds + 20))s" >/dev/null &
    pids+=("$!")
  fi
}

run() { # run FIRST SECOND: prints millicores and MiB of both
  begin "$1" "$([ "$1" = recording ] && echo true || echo false)"
  begin "$2" "$([ "$2" = recording ] && echo true || echo false)"
  sleep 15
  local p0 r0
  p0=$(ticks "$pid_plain") r0=$(ticks "$pid_recording")
  sleep "$seconds"
  awk -v p="$(($(ticks "$pid_plain") - p0))" -v r="$(($(ticks "$pid_recording") - r0))" -v s="$seconds" -v hz="$(getconf CLK_TCK)" \
    -v mp="$(rss "$pid_plain")" -v mr="$(rss "$pid_recording")" \
    'BEGIN { printf "plain %.1f, recording %.1f millicores: %.3f times; %d and %d MiB\n", p*1000/hz/s, r*1000/hz/s, r/p, mp, mr }'
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  pids=()
  rm -rf "$work/plain" "$work/recording"
}

echo "$streams streams, $viewers viewers of one of them on each server, $seconds s:"
run plain recording
run recording plain
