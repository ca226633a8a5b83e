#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""No source file may be swallowed by .gitignore: neither one that exists, nor one somebody may add tomorrow."""
import subprocess
import sys

import tree

SOURCE = (".c", ".h", ".inl", ".def", ".py", ".sh", ".cmake", ".md", ".txt", ".json", ".svg", ".in", ".csv", ".toml", ".yml")
NAMED = ("Makefile", "LICENSE", "run", ".gitignore")
# Folders people give these names, at places where they would hold sources.
TOMORROW = [f"{folder}/{name}/{file}"
            for folder in ("src", "src/cpu", "tests", "docs", "tools", "bench", "examples", "python/heed")
            for name in ("build", "runs", "lib", "bin", "env", "core", "out", "dist", "model", "models",
                         "data", "log", "logs", "cache")
            for file in ("x.c", "x.py", "x.md")] + ["core", "src/core", "src/build.c", "tests/runs.c"]
ANYWHERE = {"__pycache__/"}    # patterns that may match at any depth


def ignored(paths):
    if not paths:
        return []
    done = subprocess.run(["git", "-C", tree.ROOT, "check-ignore", "--no-index", "--verbose", "--stdin", "-z"],
                          input="\0".join(paths).encode(), capture_output=True)
    if done.returncode > 1:
        sys.exit("check_ignored: " + done.stderr.decode())
    fields = done.stdout.decode().split("\0")
    return [(fields[i + 3], f"{fields[i]}:{fields[i + 1]}: {fields[i + 2]}") for i in range(0, len(fields) - 3, 4)]


def main():
    if subprocess.run(["git", "-C", tree.ROOT, "rev-parse"], capture_output=True).returncode:
        print("skipped: check_ignored: this is no git checkout")
        return 0
    problems = []
    for number, line in enumerate(tree.read(".gitignore").splitlines(), 1):
        pattern = line.strip()
        if pattern and not pattern.startswith(("#", "/")) and pattern not in ANYWHERE:
            problems.append(f".gitignore:{number}: '{pattern}' matches at any depth: begin it with a slash")
    present = [p for p in tree.walk() if p.endswith(SOURCE) or p.split("/")[-1] in NAMED]
    problems += [f"{path} is ignored by {rule}" for path, rule in ignored(present)]
    problems += [f"{path} would be ignored by {rule}" for path, rule in ignored(TOMORROW)]
    print("\n".join(problems + [f"check_ignored: {len(present)} files, {len(problems)} violations"]))
    return bool(problems) or not present


if __name__ == "__main__":
    sys.exit(main())
