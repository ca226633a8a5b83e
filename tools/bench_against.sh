#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# bench_against.sh COMMIT ["PROBLEM TEXT"...]: builds COMMIT beside this tree and times both with `heed bench`, in turns.
# Prints the table that a commit which claims speed carries. ROUNDS (default 4) turns each; the best time of each counts.
# One thread by default, timed by its own CPU time; THREADS=2 for more.
set -eu
cd "$(dirname "$0")/.."
if [ $# -lt 1 ]; then
    sed -n '3,5s/^# //p' "$0" >&2
    exit 64
fi
commit=$(git rev-parse --short=12 --verify "$1^{commit}")
shift
other=build-against/$commit
generator=(-G "Unix Makefiles")
command -v ninja > /dev/null && generator=(-G Ninja)
build() { # SOURCE BUILD
    mkdir -p "$2"
    [ -e "$2/CMakeCache.txt" ] || cmake -S "$1" -B "$2" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release > "$2/log" 2>&1
    cmake --build "$2" -j "$(nproc)" --target heed_program > "$2/log" 2>&1 || { tail -30 "$2/log" >&2; exit 1; }
}
mkdir -p "$other"
[ -e "$other/source/CMakeLists.txt" ] || git archive --prefix=source/ "$commit" | tar -x -C "$other"
build "$other/source" "$other/build"
build . build
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
for round in $(seq "${ROUNDS:-4}"); do
    for side in before after; do
        heed=build/heed
        [ $side = after ] || heed=$other/build/heed
        "$heed" bench --json --threads "${THREADS:-1}" "$@" > "$results/$side.$round.json"
    done
done
python3 - "$results" "$commit" << 'END'
import glob, json, sys
folder, commit = sys.argv[1:]
best, about = {}, None
for side in ("before", "after"):
    for path in glob.glob(f"{folder}/{side}.*.json"):
        about = json.load(open(path)) if side == "after" or about is None else about
        for problem in json.load(open(path))["problems"]:
            for run in problem["implementations"]:
                if run.get("seconds"):
                    key = (problem["problem"], run["name"])
                    sides = best.setdefault(key, {})
                    sides[side] = min(sides.get(side, 1e9), run["seconds"])
print(f"{about['machine']}, {about['compiler']}, before: {commit}")
print(f"{'problem':48} {'implementation':14} {'before':>10} {'after':>10}   ratio")
for (problem, name), sides in best.items():
    if len(sides) == 2:
        ratio = sides["before"] / sides["after"]
        noise = "  (noise)" if 0.97 < ratio < 1.03 else ""
        print(f"{problem:48} {name:14} {1e3 * sides['before']:7.3f} ms {1e3 * sides['after']:7.3f} ms  {ratio:5.2f}x{noise}")
END
