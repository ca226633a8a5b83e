# SPDX-License-Identifier: Apache-2.0
"""Fixtures every Python test shares: the build folder, the program, the library, real data; and skips told by name."""
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def build():
    """$HEED_BUILD, default build/ in the project's root."""
    folder = ROOT / os.environ.get("HEED_BUILD", "build")
    if not folder.is_dir():
        pytest.fail(f"{folder} does not exist: build heed first (make), or set HEED_BUILD")
    return folder


@pytest.fixture(scope="session")
def heed(build):
    """Path of the heed program."""
    program = build / "heed"
    if not program.exists():
        pytest.fail(f"{program} does not exist: build with HEED_PROGRAM=ON")
    return program


@pytest.fixture(scope="session")
def run_heed(heed):
    """run_heed("train", "--model", ...) -> CompletedProcess with text output; never raises on an exit status."""
    def run(*arguments, timeout=300, **options):
        return subprocess.run([str(heed), *map(str, arguments)], capture_output=True, text=True, timeout=timeout, **options)
    return run


@pytest.fixture(scope="session")
def tool(build):
    """tool("gpt2_dump") -> path of the test program built from tests/app/tool_gpt2_dump.c."""
    def path(name):
        program = build / f"test_tool_{name}"
        if not program.exists():
            pytest.fail(f"{program} does not exist: is there a tests/app/tool_{name}.c?")
        return program
    return path


@pytest.fixture(scope="session")
def library(build):
    """libheed.so through ctypes, its functions declared (heed_ctypes.py)."""
    import heed_ctypes
    return heed_ctypes.load(build / "libheed.so")


@pytest.fixture(scope="session")
def old_python():
    """old_python("script.py", arguments..., torch="2.4.1"): runs it in .venv-old (tools/venv.sh old), with that torch."""
    def run(script, *arguments, torch=None):
        python = ROOT / ".venv-old/bin/python"
        folder = ROOT / f".venv-old/torch-{torch}"
        wanted = [python.parents[1]] + ([folder] if torch is not None else [])
        if not all((place / "heed-has").exists() for place in wanted):    # written last, when all of it is there
            pytest.skip(f"no {'torch ' + torch if torch else 'second environment'}: tools/venv.sh old makes it")
        environment = os.environ | {"PYTHONPATH": str(folder)} if torch is not None else None
        done = subprocess.run([python, ROOT / "tests/python" / script, *map(str, arguments)], capture_output=True, text=True,
                              timeout=300, env=environment)
        assert done.returncode == 0, f"{script}: {done.stderr[-2000:]}"
        return done.stdout
    return run


@pytest.fixture(scope="session")
def data():
    """The folder of real data, $HEED_DATA (default ../shared/data); tests that need it are skipped where it is absent."""
    folder = pathlib.Path(os.environ.get("HEED_DATA") or ROOT / "../shared/data").resolve()
    if not folder.is_dir():
        pytest.skip("no real data: set HEED_DATA")
    return folder


@pytest.fixture(autouse=True, scope="module")
def one_thread_for_small_problems(request):
    """PyTorch's threads cost more than they save on the drawn problems of the presets."""
    if not request.module.__name__.startswith("test_presets"):
        yield
        return
    import torch
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pytest_terminal_summary(terminalreporter):
    """Each skip on a line of its own, by name; tools/test.sh counts these lines."""
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        terminalreporter.write_line(f"skipped: {report.nodeid} ({reason.removeprefix('Skipped: ')})")
