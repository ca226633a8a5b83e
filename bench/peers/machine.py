# SPDX-License-Identifier: Apache-2.0
"""What a measurement must say about itself: machine, compiler, commit, versions, threads; and the file it goes to."""
import datetime
import json
import os
import pathlib
import platform
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
FEATURES = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile", "asimd", "sve")


def cpu():
    """(model name, the instruction sets that matter here)"""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine(), []
    name = re.search(r"^model name\s*: (.*)$", text, re.M)
    flags = re.search(r"^(?:flags|Features)\s*: (.*)$", text, re.M)
    have = set(flags.group(1).split()) if flags else set()
    return name.group(1).strip() if name else platform.machine(), [f for f in FEATURES if f in have]


def compiler(build):
    found = list(build.glob("CMakeFiles/*/CMakeCCompiler.cmake"))
    text = found[0].read_text() if found else ""
    parts = [re.search(rf'CMAKE_C_COMPILER_{key} "(.*?)"', text) for key in ("ID", "VERSION")]
    return " ".join(p.group(1) for p in parts if p) or "unknown"


def commit():
    def git(*arguments):
        return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True).stdout.strip()
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("+changes" if git("status", "--porcelain", "-uno") else "")


def describe(build):
    name, features = cpu()
    return {"machine": name, "features": features, "cores": os.cpu_count(), "compiler": compiler(build), "commit": commit(),
            "time": datetime.datetime.now().astimezone().isoformat(timespec="seconds")}


def write(kind, build, **content):
    """bench/results/KIND_MACHINE_COMMIT.json"""
    about = describe(build)
    slug = re.sub(r"[^a-z0-9]+", "-", about["machine"].lower()).strip("-")
    path = ROOT / "bench/results" / f"{kind}_{slug}_{about['commit']}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**about, **content}, indent=1) + "\n")
    return path.relative_to(ROOT)
