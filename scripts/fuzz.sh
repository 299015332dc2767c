#!/usr/bin/env bash
# Runs every fuzz target of the program for the time given, two at a time.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:?usage: scripts/fuzz.sh TIME}

fuzz() { # fuzz FOLDER TARGET
  local log
  log=$(mktemp)
  # Minimising is bounded: it would else use up a short run.
  if go test -run '^$' -fuzz "^$2\$" -fuzztime "$time" -fuzzminimizetime 2s -parallel 1 "./$1" >"$log" 2>&1; then
    echo "ok   $2 in $1: $(grep -oE 'execs: [0-9]+' "$log" | tail -n 1)"
  else
    echo "FAIL $2 in $1"
    cat "$log"
    return 1
  fi
}
export -f fuzz
export time

targets=$(grep -roHE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' internal | sed 's/:func /:/' | sort)
echo "fuzz: $(wc -l <<<"$targets") targets, $time each"
while IFS=: read -r file target; do
  printf '%s %s\n' "$(dirname "$file")" "$target"
done <<<"$targets" | xargs -P 2 -L 1 bash -c 'fuzz "$@"' _
echo "fuzz: all passed"
