#!/usr/bin/env bash
# Measures what the whole path of transcoding costs: one 720p stream is published over RTMP
# to onair, whose rungs are always on (one ffmpeg), and at the same time to a bare ffmpeg
# that reads RTMP itself and makes the same rungs with the same arguments. Compared is the
# processor time of both over the same seconds: of onair all its threads (ingest, pipes,
# packaging, doctor) and every child, of those that have ended, too.
# Usage: scripts/measure-transcode.sh [SECONDS] [RUNGS]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh ffmpeg
seconds=${1:-40}
rungs=${2:-480p,360p}
work=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

# wait_until COMMAND…: until it succeeds.
wait_until() {
  for _ in $(seq 300); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
  echo "measure: $* never came true" >&2
  exit 1
}

# spent PID: processor time of a process and of its children, in hundredths of a second.
spent() {
  awk -v pid="$1" '{ sub(/^.*\) /, "") } FILENAME == "/proc/" pid "/stat" { sum += $12 + $13 + $14 + $15; next } $2 == pid { sum += $12 + $13 } END { print sum }' \
    /proc/[0-9]*/stat 2>/dev/null || true
}

clip=$work/clip.flv
ffmpeg -v error -nostdin -f lavfi -i testsrc2=s=1280x720:r=30,noise=alls=12:allf=t -f lavfi -i sine=r=48000 -t $((seconds + 30)) -pix_fmt yuv420p \
  -c:v libx264 -preset veryfast -b:v 3M -maxrate 3M -bufsize 3M -bf 2 -g 60 -c:a aac -b:a 128k "$clip"

bin/onair serve --http 127.0.0.1:0 --rtmp 127.0.0.1:0 --srt 127.0.0.1:0 --webrtc 127.0.0.1:0 --data "$work/data" --log-format json \
  --admin-token measure-admin-token --transcode always --transcode-hardware=false --transcode-cores 2 \
  --transcode-ladder "default=source,$rungs,audio" >"$work/log" 2>&1 &
server=$!
pids+=("$server")
wait_until grep -q '"msg":"ready"' "$work/log"
wait_until grep -q 'ffmpeg is ready' "$work/log"
http=http://$(sed -n 's/.*"msg":"ready".*"http":"\([^"]*\)".*/\1/p' "$work/log")
rtmp=$(sed -n 's/.*"msg":"ready".*"rtmp":"\([^"]*\)".*/\1/p' "$work/log")
stream=$(curl -sf -X POST "$http/v1/live-streams" -H 'Authorization: Bearer measure-admin-token' -H 'Content-Type: application/json' -d '{"title":"measure"}')
key=$(sed 's/.*"stream_key":"\([^"]*\)".*/\1/' <<<"$stream")

publish() { # publish URL
  ffmpeg -v error -nostdin -re -i "$clip" -c copy -f flv "$1" >/dev/null 2>&1 &
  pids+=("$!")
}

# encoder: the child that encodes; the doctor has others that decode samples for a moment.
encoder() { child=$(pgrep -P "$server" -f frag_discont | head -1); [ -n "$child" ]; }

publish "rtmp://$rtmp/live/$key"
for _ in $(seq 300); do encoder && break; sleep 0.1; done
# The same arguments behind the input, with files instead of pipes.
mapfile -d '' -t all <"/proc/$child/cmdline"
same=()
for ((i = 0, out = 0; i < ${#all[@]}; i++)); do
  case ${all[i]} in
  -copyts) out=1 ;;
  -protocol_whitelist) i=$((i + 1)); continue ;;
  pipe:*) all[i]=$work/rung${all[i]#pipe:}.mp4 ;;
  esac
  [ "$out" = 0 ] || same+=("${all[i]}")
done
port=$(node -e 'const s = require("node:net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })')
ffmpeg -v error -nostdin -y -filter_threads 1 -filter_complex_threads 1 -threads 1 -listen 1 -f flv -i "rtmp://127.0.0.1:$port/live/x" "${same[@]}" >"$work/bare.log" 2>&1 &
bare=$!
pids+=("$bare")
sleep 1
publish "rtmp://127.0.0.1:$port/live/x"
sleep 9 # until both have what they start with behind them
[ "$(pgrep -c -P "$server" -f frag_discont)" = 1 ] || { echo "measure: the rungs are not in one process" >&2; exit 1; }
a0=$(spent "$server") b0=$(spent "$bare")
own0=$(awk '{ sub(/^.*\) /, ""); print $12 + $13 }' "/proc/$server/stat") child0=$(spent "$child")
sleep "$seconds"
[ -d "/proc/$child" ] || { echo "measure: the encoder was started anew" >&2; exit 1; }
a1=$(spent "$server") b1=$(spent "$bare")
own1=$(awk '{ sub(/^.*\) /, ""); print $12 + $13 }' "/proc/$server/stat") child1=$(spent "$child")
[ -n "$b1" ] && [ -d "/proc/$bare" ] || { cat "$work/bare.log" >&2; exit 1; }
for f in "$work"/rung*.mp4; do [ -s "$f" ] || { echo "measure: the bare ffmpeg made no $f" >&2; exit 1; }; done
awk -v a=$((a1 - a0)) -v b=$((b1 - b0)) -v own=$((own1 - own0)) -v child=$((child1 - child0)) -v s="$seconds" -v rungs="$rungs" 'BEGIN {
  printf "%s over %d s: onair %.2f CPU seconds (server %.2f, encoder %.2f, samples of the doctor %.2f), bare ffmpeg %.2f: %.2f ×\n",
    rungs, s, a / 100, own / 100, child / 100, (a - own - child) / 100, b / 100, a / b }'
