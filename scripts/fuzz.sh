#!/usr/bin/env bash
# Runs every fuzz target of the program for the number of executions given ("20000x"), two
# at a time. A count and not a time: a target whose time ends in the middle of an execution
# is reported as failed by go test ("context deadline exceeded").
set -euo pipefail
cd "$(dirname "$0")/.."
count=${1:?usage: scripts/fuzz.sh COUNTx}

fuzz() { # fuzz FOLDER TARGET
  local log
  log=$(mktemp)
  # Minimising is bounded: each new input would else take seconds of a short run.
  if go test -run '^$' -fuzz "^$2\$" -fuzztime "$count" -fuzzminimizetime 100x -parallel 1 "./$1" >"$log" 2>&1; then
    echo "ok   $2 in $1: $(grep -oE 'execs: [0-9]+' "$log" | tail -n 1)"
  else
    echo "FAIL $2 in $1"
    cat "$log"
    return 1
  fi
}
export -f fuzz
export count

targets=$(grep -roHE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' internal | sed 's/:func /:/' | sort)
echo "fuzz: $(wc -l <<<"$targets") targets, $count each"
while IFS=: read -r file target; do
  printf '%s %s\n' "$(dirname "$file")" "$target"
done <<<"$targets" | xargs -P 2 -L 1 bash -c 'fuzz "$@"' _
echo "fuzz: all passed"
