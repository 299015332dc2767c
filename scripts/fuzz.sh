#!/usr/bin/env bash
# Runs every fuzz target of the program for the time given, one after the other.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:?usage: scripts/fuzz.sh TIME}
count=0
while IFS=: read -r file target; do
  echo "fuzz $target in $(dirname "$file") for $time"
  go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "./$(dirname "$file")"
  count=$((count + 1))
done < <(grep -rhoHE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' internal | sed 's/:func /:/')
echo "fuzz: $count targets passed"
