# SPDX-License-Identifier: Apache-2.0
"""heed train while its calls on files fail or it is killed in them, one by one: the last whole checkpoint is there, and going
on from it gives the same bytes as a run that nothing happened to."""
import errno
import os
import pathlib
import shutil
import signal

import pytest

import run_faults

OPTIONS = ["--max_steps", 4, "--save_steps", 1, "--save_total_limit", 1, "--eval_steps", 2]


# Whatever else a run carries from step to step: dropout's stream, a plateau, the best so far, epochs, a mixture's turns.
DROPOUT = {"embd_pdrop": 0.1, "attn_pdrop": 0.1, "resid_pdrop": 0.1}
OTHERS = {
    "plateau": ["--max_steps", 8, "--save_steps", 2, "--eval_steps", 2, "--lr_scheduler_type", "reduce_lr_on_plateau",
                "--load_best_model_at_end", "--save_total_limit", 1],
    "best": ["--max_steps", 6, "--eval_steps", 1, "--save_strategy", "best", "--save_total_limit", 1, "--gradient_checkpointing"],
    "epochs": ["--num_train_epochs", 2, "--use_packing", "--eval_strategy", "epoch", "--save_strategy", "epoch", "--eval_on_start"],
    "mixture": ["--max_steps", 6, "--save_steps", 1, "--mixture_rates", "0.75,0.25", "--bf16", "--save_total_limit", 1],
}


@pytest.fixture(scope="module")
def runs(heed, build, tool, tmp_path_factory):
    if not (build / "libtest_faults.so").exists():
        pytest.skip("libtest_faults.so is built on Linux only")
    place = pathlib.Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None    # flushed thousands of times: not to a disk
    folder = tmp_path_factory.mktemp("faults") if place is None else place / f"heed-faults-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    yield run_faults.Runs(heed, build, tool, folder, *OPTIONS)
    shutil.rmtree(folder)


def test_killed_in_every_call(runs):
    total = runs.count()
    assert total > 100, "the run makes too few calls: is the library loaded?"
    for at in run_faults.drawn("killed", range(1, total + 1), 40):
        out = runs.place / "killed"
        done = runs.start(out, fault={"AT": at, "HOW": "kill"})
        assert done.returncode == -signal.SIGKILL, f"call {at}: {done.stderr}"
        runs.check_whole(out)
        runs.check_onward(out, f"killed in call {at}")
        shutil.rmtree(out)


@pytest.mark.parametrize("name", OTHERS)
def test_other_runs_killed(runs, heed, build, tool, name):
    place = runs.place / name
    place.mkdir()
    options = list(OTHERS[name])
    if name == "mixture":
        (place / "dogs.txt").write_text("\n\n".join(f"{i} dogs" for i in range(30)))
        options += ["--datasets", f"{runs.place / 'cats.txt'},{place / 'dogs.txt'}"]
    other = run_faults.Runs(heed, build, tool, place, *options, config=DROPOUT)
    for at in run_faults.drawn(name, range(1, other.count() + 1), 5):
        out = place / "killed"
        done = other.start(out, fault={"AT": at, "HOW": "kill"})
        assert done.returncode == -signal.SIGKILL, done.stderr
        other.check_whole(out)
        other.check_onward(out, f"{name}: killed in call {at}")
        shutil.rmtree(out)


@pytest.mark.parametrize("call", ["write", "fsync", "rename", "open", "mkdir", "close", "unlink", "rmdir"])
def test_every_call_fails(runs, call):
    """Once, with an I/O error. A write that failed may never be taken for one that did not."""
    total, sentences = runs.count(call), 0
    for at in run_faults.drawn(call, range(1, total + 1), 8):
        out, where = runs.place / call, f"{call} {at} fails"
        done = runs.start(out, fault={"AT": at, "HOW": errno.EIO, "CALLS": call})
        # Nothing is lost where what was only read is closed, what is worth nothing stays, or a folder is there already.
        if done.returncode == 0 and call in ("close", "unlink", "rmdir", "mkdir"):
            assert run_faults.difference(runs.state, run_faults.state_of(out)) is None, where
        else:
            run_faults.one_sentence(done, 5, where, os.strerror(errno.EIO))
            sentences += 1
        runs.check_whole(out)
        runs.check_onward(out, where)
        shutil.rmtree(out)
    assert sentences > 0 or call in ("unlink", "rmdir")


def test_full_disk_at_every_write(runs):
    calls = "write open mkdir"
    total = runs.count(calls)
    for at in run_faults.drawn("full", range(1, total + 1), 20):
        out, where = runs.place / "full", f"the disk is full from call {at} on"
        done = runs.start(out, fault={"AT": at, "HOW": errno.ENOSPC, "CALLS": calls, "STAYS": 1})
        run_faults.one_sentence(done, 5, where, os.strerror(errno.ENOSPC))
        runs.check_whole(out)
        runs.check_onward(out, where)
        shutil.rmtree(out, ignore_errors=True)


def test_killed_while_replacing(runs):
    """A finished run goes on for longer, so that checkpoints/final, the only checkpoint there is, is replaced."""
    begun, whole = runs.place / "begun", runs.place / "longer"
    short, more = ["--max_steps", 2, "--save_strategy", "no"], ["--save_strategy", "no", "--resume_from_checkpoint", "latest"]
    plain = run_faults.without(runs, "--max_steps", "--save_steps", "--save_total_limit")
    assert plain.start(begun, *short).returncode == 0
    shutil.copytree(begun, whole)
    done = plain.start(whole, "--max_steps", 4, *more)
    assert done.returncode == 0, done.stderr
    wanted = run_faults.state_of(whole)
    for call in ("rename", "unlink", "rmdir", "mkdir"):
        fault = {"CALLS": call, "HOW": "kill"}
        for at in range(1, 40):
            out, where = runs.place / "replaced", f"killed in {call} {at}"
            shutil.copytree(begun, out)
            killed = plain.start(out, "--max_steps", 4, *more, fault={**fault, "AT": at})
            done = plain.start(out, "--max_steps", 4, *more)
            assert done.returncode == 0, f"{where}: {done.stderr}"
            wrong = run_faults.difference(wanted, run_faults.state_of(out))
            assert wrong is None, f"{where}: {wrong}"
            shutil.rmtree(out)
            if killed.returncode == 0:
                break
