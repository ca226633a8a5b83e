# SPDX-License-Identifier: Apache-2.0
"""What file systems do to a program: each trouble is one sentence that names the file, exit status 5, and nothing lost."""
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

import run_faults
from run_faults import one_sentence

OPTIONS = ["--max_steps", 4, "--save_steps", 2, "--eval_steps", 2]
NOBODY = 65534


@pytest.fixture(scope="module")
def runs(heed, build, tool, tmp_path_factory):
    return run_faults.Runs(heed, build, tool, tmp_path_factory.mktemp("trouble"), *OPTIONS)


# ---- the run folder ----

def test_something_else_has_the_name(runs, tmp_path):
    """A file where a folder should be, a folder where a file should be, links to nothing."""
    out = tmp_path / "run"
    cases = {"run": "file", "run/checkpoints": "file", "run/metrics.jsonl": "folder", "run/run.json": "folder",
             "run/.lock": "folder", "run/.lock ": "link", "run/attention.json": "folder", "run/final_metrics.json": "folder",
             "run/checkpoints ": "link"}
    for name, kind in cases.items():
        path = tmp_path / name.strip()
        path.parent.mkdir(exist_ok=True)
        if kind == "file":
            path.write_text("mine")
        elif kind == "folder":
            (path / "mine").mkdir(parents=True)
        else:
            path.symlink_to(tmp_path / "nothing/at/all")
        done = runs.start(out, *(["--overwrite"] if name == "run/run.json" else []))
        one_sentence(done, 5, f"{name} is a {kind}", path.name)
        assert os.path.lexists(path), f"{name}: what stood there is gone"
        if out.is_dir():
            shutil.rmtree(out)
        else:
            out.unlink()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nothing")
    one_sentence(runs.start(link), 5, "a dangling link", "link")
    link.unlink()
    (tmp_path / "there").mkdir()
    link.symlink_to(tmp_path / "there")
    assert runs.start(link).returncode == 0, "a link to a folder is a folder"
    assert (tmp_path / "there/checkpoints/final/model.safetensors").exists()


def test_read_only_folder(runs, heed):
    """As somebody who may not write there; root may write everywhere, so it becomes nobody first."""
    place = pathlib.Path(tempfile.mkdtemp())
    more = {"user": NOBODY, "group": NOBODY} if os.geteuid() == 0 else {}
    try:
        place.chmod(0o755)
        for name in ("tiny", "cats.txt"):
            source = runs.place / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, place / name)
        program = place / "heed"
        shutil.copy(heed, program)
        command = [str(c).replace(str(runs.place), str(place)) for c in runs.command(place / "closed/run")]
        command[0] = str(program)
        (place / "closed").mkdir(mode=0o555)
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", **more)
        one_sentence(done, 5, "a folder without write permission", "closed/run", "ermission denied")
        (place / "cats.txt").chmod(0)
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", **more)
        one_sentence(done, 5, "a data set without read permission", "cats.txt", "ermission denied")
    finally:
        shutil.rmtree(place)


def test_file_size_limit(runs, tmp_path):
    for limit in (100, 5000, 20000):
        out = tmp_path / str(limit)
        done = runs.start(out, preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        one_sentence(done, 5, f"files of at most {limit} bytes", os.strerror(27))
        runs.check_whole(out)
        runs.check_onward(out, f"limit {limit}")


def begin_slow(runs, out):
    process = subprocess.Popen(runs.command(out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 60
    while not (out / "run.json").exists():
        assert process.poll() is None and time.time() < deadline, process.communicate()
        time.sleep(0.005)
    return process


def long_run(runs):
    other = run_faults.without(runs, "--max_steps", "--save_steps")
    other.options += ["--max_steps", 100000, "--save_steps", 100000]
    return other


def test_second_run_and_a_dead_ones_lock(runs, tmp_path):
    out, long = tmp_path / "run", long_run(runs)
    process = begin_slow(long, out)
    before = (out / "run.json").read_bytes()
    for more in (["--overwrite"], ["--resume_from_checkpoint", "latest"]):
        done = runs.start(out, *more)
        one_sentence(done, 5, f"a second run {more}", "in use by another run")
        assert (out / "run.json").read_bytes() == before
    process.kill()
    process.communicate()
    assert (out / ".lock").exists()
    done = runs.start(out, "--overwrite")
    assert done.returncode == 0, f"the lock of a dead process holds nobody up: {done.stderr}"


def test_damaged_log_is_told(runs, tmp_path):
    """A line of metrics.jsonl that is no record any more is left out aloud; the half line of a killed run is nobody's loss."""
    out = tmp_path / "run"
    shutil.copytree(runs.whole, out)
    log = out / "metrics.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([lines[0], b"\xff" + lines[1], *lines[2:], b'{"step": 4, "lo']))
    done = runs.start(out, "--resume_from_checkpoint", "latest")
    assert done.returncode == 0 and "metrics.jsonl: 1 damaged line left out" in done.stdout, done.stdout
    assert log.read_bytes().splitlines(keepends=True) == [lines[0], *lines[2:]]
    done = runs.start(out, "--resume_from_checkpoint", "latest")
    assert done.returncode == 0 and "damaged line" not in done.stdout


def test_folder_vanishes(runs, tmp_path):
    """The folder is removed under a run: what it would save is named, nothing is made anew in silence."""
    out = tmp_path / "run"
    other = run_faults.without(runs, "--max_steps", "--save_steps")
    other.options += ["--max_steps", 100000, "--save_steps", 200]
    process = begin_slow(other, out)
    shutil.rmtree(out, ignore_errors=True)
    if out.exists():
        shutil.rmtree(out)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 5 and str(out.name) in error and len(error.strip().splitlines()) == 1, error
    assert not (out / "checkpoints/final").exists()


# ---- the output ----

def test_output_is_full_or_gone(runs, heed, tmp_path):
    """A full disk behind stdout is an error; a reader that has gone is none, and a run goes on to its end without it."""
    final = runs.whole / "checkpoints/final"
    evaluation = [str(heed), "eval", "--model", str(final), "--dataset", str(runs.place / "cats.txt"), "--max_length", "32"]
    for command in (evaluation, [*evaluation, "--json"], [str(heed), "list"], [str(heed), "explain", "b1 h1 q8 d8"],
                    [str(heed), "train", "--help"], runs.command(tmp_path / "full")):
        with open("/dev/full", "w") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
        one_sentence(done, 5, f"/dev/full: {command[1]}", "output cannot be written")
        reader, writer = os.pipe()
        os.close(reader)
        if command[1] == "train" and "--output_dir" in command:
            command = runs.command(tmp_path / "gone")
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
        os.close(writer)
        assert done.returncode == 0 and done.stderr == "", f"closed pipe: {command[1]}: {done.returncode}, {done.stderr}"
    for name in ("full", "gone"):
        assert run_faults.difference(runs.state, run_faults.state_of(tmp_path / name)) is None, name
    done = subprocess.run(evaluation, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: os.close(0))
    assert done.returncode == 0, "without stdin"


# ---- what is read ----

def test_files_that_are_none(runs, run_heed, tmp_path):
    """Pipes, devices, folders, links to nothing, as data set, model and tokenizer: a sentence at once, no waiting."""
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "nothing.txt").symlink_to(tmp_path / "none")
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    for name in ("pipe", "folder", "nothing", "loop", "zero"):
        done = run_heed("train", "--dataset", tmp_path / f"{name}.txt", "--output_dir", tmp_path / "run", timeout=20)
        one_sentence(done, 5, name, f"{name}.txt")
        assert not (tmp_path / "run").exists()
    final = runs.whole / "checkpoints/final"
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        broken = tmp_path / "model"
        shutil.copytree(final, broken)
        (broken / name).unlink()
        os.mkfifo(broken / name)
        done = run_heed("eval", "--model", broken, "--dataset", runs.place / "cats.txt", timeout=20)
        one_sentence(done, 5, f"{name} is a pipe", name)
        shutil.rmtree(broken)


def test_data_set_shrinks(tool, build, tmp_path):
    """While it is read: what is left is the file."""
    path = tmp_path / "shrinks.txt"
    for half in (b"a" * 5000, b"one\n\ntwo\n\n" * 20000):
        path.write_bytes(half * 2)
        done = subprocess.run([str(tool("io")), "documents", "bytes", str(path)], capture_output=True, timeout=60,
                              env={**os.environ, "LD_PRELOAD": str(build / "libtest_faults.so"), "FAULT_SHRINK": str(path)})
        assert path.stat().st_size == len(half), "the library is not loaded"
        path.write_bytes(half)
        short = subprocess.run([str(tool("io")), "documents", "bytes", str(path)], capture_output=True, timeout=60)
        assert done.returncode == 0 and done.stdout == short.stdout and done.stderr == b""


def test_signal_before_the_first_step(runs, tmp_path):
    """Between the folder and the first step: step 0 is saved, and the run goes on from it."""
    out = tmp_path / "run"
    other = long_run(runs)
    process = begin_slow(other, out)
    process.send_signal(signal.SIGTERM)
    told, error = process.communicate(timeout=60)
    assert process.returncode == 143 and error == "" and "saved checkpoints/step-" in told, (process.returncode, error, told)
