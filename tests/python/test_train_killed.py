# SPDX-License-Identifier: Apache-2.0
"""Kills and signals at random moments of a run whose course depends on its evaluations: the best model, a plateau, and what
TensorBoard shows end as in the run that never stopped."""
import os
import pathlib
import random
import shutil
import signal
import subprocess

import pytest

import run_faults

OPTIONS = ["--max_steps", 40, "--eval_steps", 2, "--eval_on_start", "--save_steps", 4, "--save_strategy", "steps",
           "--load_best_model_at_end", "--greater_is_better", "true", "--save_total_limit", 2, "--on_nan", "skip",
           "--lr_scheduler_type", "reduce_lr_on_plateau", "--lr_scheduler_kwargs", '{"patience": 1, "threshold": 0.3}']
KILLS = 200 if run_faults.FULL else 25


@pytest.fixture
def place(tmp_path):
    """In memory where there is such a folder: hundreds of flushes would make a disk the slowest part."""
    folder = pathlib.Path("/dev/shm") / f"heed-killed-{os.getpid()}" if os.access("/dev/shm", os.W_OK) else tmp_path / "killed"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_killed_and_signalled(heed, build, tool, place):
    runs = run_faults.Runs(heed, build, tool, place, *OPTIONS)
    seed = os.environ.get("HEED_SEED", "1")
    print(f"HEED_SEED={seed}")
    draw, kills, out, last = random.Random(f"best {seed}"), 0, place / "chain", place / "last"
    while kills < KILLS:
        for _ in range(200):
            process = subprocess.Popen(runs.command(out, *runs.onward(out)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            try:
                process.wait(timeout=draw.uniform(0.1, 1.6) * runs.seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
                kills += 1
            error = process.communicate()[1]
            assert process.returncode in (0, -signal.SIGKILL, 128 + signal.SIGTERM), error
            runs.check_whole(out)
            if process.returncode == 0 or kills == KILLS:
                break
        runs.check_onward(out, f"{kills} kills", signalled=True)
        shutil.rmtree(last, ignore_errors=True)
        out.rename(last)
    pytest.importorskip("tensorboard")
    import test_train_tensorboard
    test_train_tensorboard.compare(last)
