# SPDX-License-Identifier: Apache-2.0
"""heed train killed and signalled at random moments: what goes on from there ends in the same bytes as a run that never stopped."""
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import time

import pytest

import run_faults

OPTIONS = ["--model", "gpt2-nano", "--max_steps", 30, "--save_steps", 2, "--save_total_limit", 2, "--eval_steps", 7,
           "--gradient_accumulation_steps", 2, "--lr_scheduler_type", "cosine"]
KILLS = 200 if run_faults.FULL else 20    # HEED_FULL=1: about a minute and a half
SIGNALS = 60 if run_faults.FULL else 10


@pytest.fixture(scope="module")
def runs(heed, build, tool, tmp_path_factory):
    return run_faults.Runs(heed, build, tool, tmp_path_factory.mktemp("interrupted"), *OPTIONS)


def draw_moments(name):
    seed = os.environ.get("HEED_SEED", "1")
    print(f"{name}: HEED_SEED={seed}")
    return random.Random(f"{name} {seed}")


def test_killed_at_random_moments(runs):
    """Chains of kills: each process goes on from what the one before left, and is killed too, until the run is whole. Every
    kill counts, and each chain's end must equal the run that never stopped."""
    draw, kills, chains = draw_moments("kills"), 0, 0
    out = runs.place / "chain"
    while kills < KILLS:
        chains += 1
        for _ in range(200):
            process = subprocess.Popen(runs.command(out, *runs.onward(out)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            try:
                process.wait(timeout=draw.uniform(0.05, 1) * runs.seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
            error = process.communicate()[1]
            assert process.returncode in (0, -signal.SIGKILL), error
            runs.check_whole(out)
            if process.returncode == 0 or kills == KILLS:
                break
        runs.check_onward(out, f"{kills} kills, chain {chains}")
        shutil.rmtree(out)
    print(f"{kills} kills in {chains} runs")


def test_signalled_at_random_moments(runs):
    """SIGINT or SIGTERM: saves, says so, and exits with 128 + its number; the rest of the run is exact."""
    draw, saved = draw_moments("signals"), 0
    out = runs.place / "signalled"
    for turn in range(SIGNALS):
        number = draw.choice([signal.SIGINT, signal.SIGTERM])
        process = subprocess.Popen(runs.command(out, *runs.onward(out)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(draw.uniform(0.05, 1) * runs.seconds)
        process.send_signal(number)
        told, error = process.communicate(timeout=60)
        assert error == "", error
        # 0: it had ended; -n: it had not begun to watch, and nothing is lost that was ever there.
        assert process.returncode in (0, 128 + number, -number), (turn, process.returncode)
        if process.returncode == 128 + number:
            saved += 1
            step = json.loads((out / "final_metrics.json").read_text())["step"]
            assert f"saved checkpoints/step-{step}" in told and (out / f"checkpoints/step-{step}/trainer_state.json").exists()
        runs.check_whole(out)
        if process.returncode == 0:
            assert run_faults.difference(runs.state, run_faults.state_of(out), signalled=True) is None
            shutil.rmtree(out)
    if out.exists():
        runs.check_onward(out, f"{saved} signals that saved", signalled=True)
    assert saved > 0, "no signal came in time"


def is_watching(pid):
    """Both signals are blocked in the main thread, which another one waits for."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    blocked = int(re.search(r"^SigBlk:\s*(\w+)", status, re.M).group(1), 16)
    return all(blocked >> (number - 1) & 1 for number in (signal.SIGINT, signal.SIGTERM))


def test_signal_ends_an_evaluation(runs):
    text = runs.place / "long.txt"
    text.write_text("\n\n".join("a long line of words " * 12 for _ in range(20000)))
    command = [runs.heed, "eval", "--model", str(runs.whole / "checkpoints/final"), "--dataset", str(text), "--threads", "1",
               "--max_length", "64"]
    for number in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while not is_watching(process.pid):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.005)
        process.send_signal(number)
        told, error = process.communicate(timeout=60)
        assert process.returncode == 128 + number and f"ended by signal {int(number)}" in error and told == "", (told, error)


def test_second_signal_ends_at_once(runs):
    """A step of many seconds: the first signal waits for its end, the second does not; the last checkpoint is whole."""
    out = runs.place / "twice"
    slow = ["--batch_size", 2000, "--max_steps", 3, "--dataset", "demo", "--max_length", 256, "--logging_steps", 1,
            "--eval_strategy", "no", "--save_steps", 1]
    command = runs.command(out)
    for name, value in zip(slow[::2], slow[1::2], strict=True):
        if name in command:
            command[command.index(name) + 1] = str(value)
        else:
            command += [name, str(value)]
    command[command.index("--eval_steps"):command.index("--eval_steps") + 2] = []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 60
    while not (out / "run.json").exists():
        assert time.time() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    time.sleep(0.8)    # an echo within half a second counts as the same request
    assert process.poll() is None, "the step was too short to be interrupted twice"
    begin = time.time()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT and time.time() - begin < 1
    assert list((out / "checkpoints").iterdir()) == []
