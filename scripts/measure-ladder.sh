#!/usr/bin/env bash
# Measures what the ladder of renditions costs and saves: the table of capped constant
# quality beside fixed bit rates (generated clips), and the processor time of two
# rungs through pipes beside an ffmpeg that reads and writes files. Takes some minutes.
# Usage: scripts/measure-ladder.sh [REPETITIONS OF THE COST]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh ffmpeg
echo "| clip, rung | fixed, KB | SSIM | capped, KB | SSIM | difference | saved |"
echo "| --- | --- | --- | --- | --- | --- | --- |"
go test -run '^$' -bench '^BenchmarkLadder$' -benchtime 1x -timeout 60m ./internal/ffmpeg | grep '^|'
echo
go test -run '^$' -bench '^BenchmarkPipes$' -benchtime "${1:-3}x" -timeout 60m ./internal/ffmpeg | grep '^Benchmark'
