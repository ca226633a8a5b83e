# SPDX-License-Identifier: Apache-2.0
"""The files of the project, for the checkers: what git tracks or would track; without git, everything but build folders."""
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILT = (".git", "build", "runs", ".venv", ".venv-old")    # at the root; also build-*


def is_built(name):
    return name in BUILT or name.startswith("build-")


def walk():
    """Every file below the root, as paths relative to it, build folders left out."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        here = os.path.relpath(folder, ROOT)
        folders[:] = [f for f in folders if f != "__pycache__" and not (here == "." and is_built(f))]
        found += [os.path.normpath(os.path.join(here, f)) for f in files]
    return sorted(f for f in found if f != ".git")


def files():
    try:
        listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "-z"],
                                check=True, capture_output=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        return walk()
    return sorted(f for f in listed.split("\0") if f and os.path.exists(os.path.join(ROOT, f)))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", newline="") as file:
        return file.read()
