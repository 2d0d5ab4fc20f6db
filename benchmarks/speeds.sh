#!/usr/bin/env bash
# All figures of docs/performance.md that want an idle machine, a quarter of an hour on two cores:
#   benchmarks/speeds.sh FOLDER      (figures as JSON and tables into FOLDER)
set -uo pipefail
cd "$(dirname "$0")"
folder=${1:?name a folder for the figures}
mkdir -p "$folder"

measure() {
    local name=$1
    shift
    echo "$(date +%T) $name"
    python "$@" --json "$folder/$name.json" >"$folder/$name.txt" 2>&1 || echo "$name failed: $folder/$name.txt"
    tail -n 20 "$folder/$name.txt"
}

measure exact speed.py --seconds 60 --repeats 3 --exact
measure choice speed.py --seconds 60 --repeats 3
measure embedded memory.py --short 1 --long 5
measure files-one-call speed.py --files 20 --seconds 5 --repeats 1
measure scaling scaling.py --minutes 10 30 60
measure files-call-each speed.py --files 20 --seconds 5 --repeats 1 --peer-call-per-file
