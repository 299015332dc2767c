#!/usr/bin/env bash
# Measures one chat room: how late messages reach everybody and what that costs, and what a
# connection takes that nobody writes to. Needs the load generator of ../shared/livebench (or
# $ONAIR_SHARED/livebench), built by scripts/measure-serving.sh.
# Usage: scripts/measure-chat.sh [OUTPUT FOLDER] [CONNECTIONS] [IDLE CONNECTIONS]
set -euo pipefail
cd "$(dirname "$0")/.."
livebench=.cache/bin/livebench
for need in "$livebench" bin/onair; do
  [ -f "$need" ] || { echo "measure: $need is missing; nothing is measured" >&2; exit 0; }
done
out=${1:-.cache/measure} connections=${2:-5000} idle=${3:-10000}
mkdir -p "$out"
work=$(mktemp -d)
server=
cleanup() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
ulimit -n "$(ulimit -Hn)"

token=measure-admin-token-0123456789 port=18480
bin/onair serve --http "127.0.0.1:$port" --rtmp off --srt off --webrtc off --transcode off --data "$work/data" \
  --http-max-connections 65536 --chat-max-per-address 60000 --admin-token "$token" --log-format json >"$work/log" 2>&1 &
server=$!
api() { curl -sSf --retry 20 --retry-connrefused --retry-delay 1 -H "Authorization: Bearer $token" -H 'Content-Type: application/json' "$@"; }
field() { python3 -c 'import json, sys; print(eval("json.load(sys.stdin)" + sys.argv[1]))' "$1"; }
stream=$(api -d '{}' "http://127.0.0.1:$port/v1/live-streams")
id=$(field '["id"]' <<<"$stream") playback=$(field '["playback_ids"][0]["id"]' <<<"$stream")
# The host is not held to the limits of viewers.
host=$(api -d '{"user_id":"h","name":"Host","role":"host"}' "http://127.0.0.1:$port/v1/live-streams/$id/chat/tokens" | field '["token"]')
resident() { awk '/VmRSS/ {print $2}' "/proc/$server/status"; }

chat() { # chat NAME CONNECTIONS SENDERS RATE
  "$livebench" chat -quiet -url "ws://127.0.0.1:$port/chat/$playback" -connections "$2" -senders "$3" -rate "$4" -duration 20s -ramp 10s \
    -hello "{\"id\":1,\"connect\":{\"data\":{\"token\":\"$host\"}}}" \
    -message '{"id":3,"rpc":{"method":"send","data":{"text":"ts:{ts} {id}"}}}' -ping '{}' -pong '{}' -pid "$server" >"$out/chat-$1.json"
}

before=$(resident)
chat idle "$idle" 0 1
python3 - "$out/chat-idle.json" "$before" "$idle" <<'PY'
import json, sys
r = json.load(open(sys.argv[1]))
print("idle: %d connections, %.1f KB each" % (r["connected_at_end"], (r["server"]["rss_max_mib"] * 1024 - int(sys.argv[2])) / int(sys.argv[3])))
PY
chat room "$connections" 20 1
python3 - "$out/chat-room.json" <<'PY'
import json, sys
r = json.load(open(sys.argv[1]))
print("room: %d connections, %d messages, %s %% delivered, p50 %s ms, p99 %s ms, %.2f cores" % (
    r["connected_at_end"], r["messages_sent"], r["delivered_percent"], r["latency_ms"]["p50"], r["latency_ms"]["p99"], r["server"]["cores_used"]))
PY
