# SPDX-License-Identifier: Apache-2.0
"""Other systems' packages that are only read, never installed: fetched by pip once, unpacked under .venv/heed-fetched."""
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest


def fetch(requirement, *options, environment=()):
    """The folder of an unpacked wheel or source archive, such as fetch("flash-attn-4==4.0.0b36"); else the test is skipped."""
    place = pathlib.Path(sys.prefix) / "heed-fetched" / requirement
    if (place / "done").exists():
        return place
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               *shlex.split(os.environ.get("HEED_PIP_ARGS", "")), *options, "-d", place, requirement]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=250,
                          env=os.environ | dict(environment))
    archives = [x for x in place.iterdir() if x.suffix in (".whl", ".gz")]
    if done.returncode != 0 or not archives:
        shutil.rmtree(place)
        pytest.skip(f"{requirement} cannot be had: {(done.stderr.strip().splitlines() or ['pip says nothing'])[-1]}")
    archive = archives[0]
    if archive.suffix == ".whl":
        zipfile.ZipFile(archive).extractall(place)
    else:
        tarfile.open(archive).extractall(place, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    archive.unlink()
    (place / "done").touch()
    return place
