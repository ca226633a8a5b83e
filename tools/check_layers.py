#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Includes point down only, and what has one home stays there. docs/architecture.md has the picture of this table."""
import re
import sys

import tree

# folder -> folders of src/ it may include besides itself; include/heed is open to all.
MAY = {
    "base": [],
    "core": ["base"],
    "mask": [],
    "score": [],
    "ref": ["core", "base"],
    "cpu": ["core", "base"],
    "compare": ["core", "ref", "base"],
    "nn": ["cpu", "core", "base"],
    "io": ["base"],
    "model": ["nn", "io", "base"],
    "train": ["model", "nn", "io", "base"],
    "cli": ["train", "model", "io", "nn", "compare", "cpu", "ref", "core", "base"],
    "registry.c": ["cpu", "ref", "core", "base", "mask", "score"],
}
LEVEL = {"base": 0, "core": 1, "mask": 1, "score": 1, "ref": 2, "cpu": 2, "compare": 3, "nn": 3, "io": 3, "model": 4,
         "train": 5, "cli": 6, "registry.c": 6}
# A library's header -> the files that may include it.
HOME = {
    r"(oneapi/dnnl/)?dnnl.*\.h": r"src/nn/matmul\.c",
    r"pcre2\.h": r"src/io/(tokenizer|pre_split)\w*\.[ch]",
    r"zlib\.h": r"src/io/(file|zip|npz_write)\.c",
    r"jansson\.h": r"src/(io/json\w*|cli/output)\.[ch]",
    r"omp\.h": r"src/base/threads\.c",
    r"\w*intrin\.h|arm_neon\.h": r"src/cpu/simd/\w+\.h",
}
# Conditionals on the platform live in base/, registry.c and simd/ headers.
PLATFORM = re.compile(r"^\s*#\s*(?:if|ifdef|ifndef|elif)\b.*\b(__linux__|__APPLE__|_WIN32|__x86_64__|__i386__|__aarch64__|__arm__|"
                      r"__AVX\w*__|__ARM_\w+|_OPENMP)\b")
PLATFORM_HOME = re.compile(r"src/(base/|registry\.c|cpu/simd/)|include/")
# Nothing outside of the command line prints or exits.
CALLS = re.compile(r"(?<![\w.>])(printf|puts|putchar|perror|exit|_exit|abort|vprintf)\s*\(|"
                   r"\bf(?:printf|puts|write|putc)\s*\([^;]*\b(stdout|stderr)\b")


def folder_of(path):
    parts = path.split("/")
    return parts[1] if parts[0] == "src" and len(parts) > 1 else None


def check(path, text):
    here = folder_of(path)
    problems = []
    if here not in MAY:
        return [f"{path}:1: src/{here} has no row in tools/check_layers.py"]
    for number, line in enumerate(text.split("\n"), 1):
        at = f"{path}:{number}"
        include = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if include:
            name = include.group(2)
            target = name.split("/")[0]
            if target in LEVEL and "/" in name and target != here and target not in MAY[here]:
                way = "points up" if LEVEL[target] > LEVEL.get(here, 6) else "is not one of its neighbours below"
                problems.append(f"{at}: {here} may not include {name}: {target} {way} (allowed: {', '.join(MAY[here]) or 'none'})")
            if include.group(1) == '"' and "/" not in name:
                problems.append(f"{at}: include by the path from src/, not '{name}'")
            for header, home in HOME.items():
                if re.fullmatch(header, name) and not re.fullmatch(home, path):
                    problems.append(f"{at}: {name} may be included only by {home}")
        if PLATFORM.match(line) and not PLATFORM_HOME.match(path):
            problems.append(f"{at}: conditionals on the platform belong to src/base, src/registry.c or src/cpu/simd")
        code = re.sub(r'"(\\.|[^"\\])*"', '""', line).split("//")[0]
        if here != "cli" and CALLS.search(code):
            problems.append(f"{at}: only src/cli prints or exits")
    return problems


def main():
    problems, n = [], 0
    for path in tree.files():
        if path.startswith("src/") and path.endswith((".c", ".h", ".inl", ".def")):
            problems += check(path, tree.read(path))
            n += 1
    print("\n".join(problems + [f"check_layers: {n} files, {len(problems)} violations"]))
    return bool(problems) or n == 0


if __name__ == "__main__":
    sys.exit(main())
