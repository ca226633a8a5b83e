#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the program as its user does: tests/cli/*.txt name commands and what they must print and return.

    $ heed explain "b1 h1 q8 d8"      a shell command, run in an empty folder; `heed` is the program under test
    status: 0                         exit status (0 when not said)
    out: REGEX    err: REGEX          must be found in stdout, stderr (^ and $ match at lines)
    not out: REGEX                    must not be found
    json: EXPRESSION                  stdout parsed as JSON is d; the expression must be true

Besides: a command that fails with 3, 5 or 64 prints one line to stderr, "heed[ VERB]: sentence", and no command dies by a signal.

usage: run.py PROGRAM [FILE...]
"""
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
KEYS = ("status", "out", "err", "not out", "not err", "json")
SECONDS = 250


def cases(path):
    """(line number, command, [(key, value)]) of one file."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("$ "):
            found.append((number, line[2:], []))
        elif line.strip() and not line.startswith("#"):
            key, colon, value = line.partition(": ")
            if not colon or key not in KEYS or not found:
                sys.exit(f"{path}:{number}: neither '$ command' nor 'key: value'")
            found[-1][2].append((key, value))
    return found


def check_sentence(result):
    lines = result.stderr.splitlines()
    if len(lines) != 1 or not re.match(r"heed( [a-z]+)*: \S", lines[0]):
        yield f"stderr is not one sentence behind its verb: {result.stderr!r}"


def check_json(result, expression):
    try:
        value = json.loads(result.stdout)
    except ValueError as fault:
        return f"stdout is no JSON: {fault}"
    names = {"d": value, "math": math, "re": re}
    return None if eval(expression, names) else f"not true: {expression}\n{result.stdout}"    # the files are ours


def check(result, wanted):
    """The faults of one result."""
    status = next((int(value) for key, value in wanted if key == "status"), 0)
    if result.returncode != status:
        yield f"exit status {result.returncode}, expected {status}; stderr: {result.stderr[-500:]}"
    if status in (3, 5, 64):
        yield from check_sentence(result)
    for key, value in wanted:
        text = result.stdout if key.endswith("out") else result.stderr
        if key in ("out", "err") and not re.search(value, text, re.M):
            yield f"{key} lacks {value!r}:\n{text}"
        if key in ("not out", "not err") and re.search(value, text, re.M):
            yield f"{key[4:]} has {value!r}:\n{text}"
        if key == "json":
            fault = check_json(result, value)
            if fault:
                yield fault


def run(command, program):
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "bin"))
        os.mkdir(os.path.join(folder, "here"))
        os.symlink(os.path.abspath(program), os.path.join(folder, "bin", "heed"))
        environment = {k: v for k, v in os.environ.items() if k not in ("HEED_CPU", "NO_COLOR")}
        environment["PATH"] = os.path.join(folder, "bin") + os.pathsep + environment.get("PATH", "")
        environment.setdefault("OMP_WAIT_POLICY", "passive")    # beside busy neighbours a waiting thread that spins steals time
        return subprocess.run(["sh", "-c", command], cwd=os.path.join(folder, "here"), env=environment, timeout=SECONDS,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    files = [pathlib.Path(name) for name in sys.argv[2:]] or sorted(HERE.glob("*.txt"))
    passed = failed = 0
    for path in files:
        for number, command, wanted in cases(path):
            faults = list(check(run(command, sys.argv[1]), wanted))
            passed += not faults
            failed += bool(faults)
            for fault in faults:
                print(f"{path}:{number}: {command}\n    {fault}")
    print(f"{passed} passed, {failed} failed")
    return failed != 0 or passed == 0


if __name__ == "__main__":
    sys.exit(main())
