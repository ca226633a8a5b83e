# SPDX-License-Identifier: Apache-2.0
"""A small training run that is killed, failed and signalled by the tests, and what must be the same when it has gone on."""
import copy
import json
import os
import pathlib
import random
import shutil
import subprocess
import time

FULL = os.environ.get("HEED_FULL", "") not in ("", "0")    # every moment rather than a drawn few: make test-full
CONFIG = {"model_type": "gpt2", "vocab_size": 257, "n_positions": 64, "n_layer": 1, "n_head": 1, "n_embd": 8, "embd_pdrop": 0,
          "attn_pdrop": 0, "resid_pdrop": 0}
TEXT = "\n\n".join(f"{i} the cat sat on mat number {i * i % 97}" for i in range(40)) + "\n"
CLOCK = ("tokens_per_second", "elapsed_seconds", "eval_seconds", "seconds")    # what no two runs share


def drawn(name, items, count):
    """A few of the items, the same each time; all of them with HEED_FULL=1. $HEED_SEED draws others."""
    items = list(items)
    if FULL or count >= len(items):
        return items
    seed = os.environ.get("HEED_SEED", "1")
    print(f"{name}: {count} of {len(items)} drawn, HEED_SEED={seed}; HEED_FULL=1 takes all")
    return sorted(random.Random(f"{name} {seed}").sample(items, count))


def timeless(folder):
    """metrics.jsonl without what depends on the clock."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in lines]


def state_of(run):
    """Everything that an interruption must not change: losses, and each byte of each checkpoint but for seconds of attention."""
    files = {}
    for path in sorted((run / "checkpoints").rglob("*")):
        if path.is_file():
            raw = path.read_bytes()
            if path.name == "attention.json":    # its calls count from the run's beginning, whoever made them
                raw = json.dumps([{k: v for k, v in entry.items() if k not in CLOCK} for entry in json.loads(raw)])
            files[str(path.relative_to(run))] = raw
    return timeless(run), files


def difference(was, now, signalled=False):
    """Words for an assertion; None: the same. A signal adds a checkpoint, and so may end another; those of both must be equal."""
    if was[0] != now[0]:
        return f"metrics.jsonl differs:\n{was[0]}\n{now[0]}"
    names = sorted({*was[1], *now[1]})
    if signalled:
        names = [n for n in names if "/final/" in n or (n in was[1] and n in now[1])]
    names = [n for n in names if was[1].get(n) != now[1].get(n)]
    return f"files differ: {names}; there are {sorted(now[1])}" if names else None


class Runs:
    """One run, many times."""

    def __init__(self, heed, build, tool, place, *options, config=None):
        self.heed, self.place, self.faults = str(heed), pathlib.Path(place), str(build / "libtest_faults.so")
        model, text = self.place / "tiny", self.place / "cats.txt"
        model.mkdir()
        (model / "config.json").write_text(json.dumps({**CONFIG, **(config or {})}))
        subprocess.run([str(tool("io")), "save", "bytes", str(model)], check=True)
        text.write_text(TEXT)
        own = [] if "--model" in options else ["--model", model, "--from_scratch"]
        data = [] if "--datasets" in options else ["--dataset", text]
        self.options = [*own, *data, "--max_length", 32, "--batch_size", 4, "--threads", 1,
                        "--learning_rate", "1e-2", "--logging_steps", 3, *options]
        self.whole = self.place / "whole"
        begin = time.monotonic()
        assert self.start(self.whole).returncode == 0
        self.seconds = time.monotonic() - begin    # of a whole run, on this machine as it is now
        self.state = state_of(self.whole)

    def command(self, out, *more):
        return [self.heed, "train", *map(str, self.options), "--output_dir", str(out), *map(str, more)]

    def onward(self, out):
        """What a user would type after an interruption."""
        there = list(out.glob("checkpoints/step-*")) + list(out.glob("checkpoints/final"))
        return ["--resume_from_checkpoint", "latest"] if there else ["--overwrite"]

    def start(self, out, *more, fault=None, **popen):
        """fault: {"AT": 3, "HOW": "kill", ...} for tests/preload/faults.c."""
        environment = dict(os.environ)
        if fault is not None:
            environment.update({f"FAULT_{k}": str(v) for k, v in fault.items()}, FAULT_UNDER=str(out), LD_PRELOAD=self.faults)
        return subprocess.run(self.command(out, *more), env=environment, capture_output=True, text=True, timeout=120, **popen)

    def count(self, calls=None):
        """How many calls on files a whole run makes."""
        out, told = self.place / "counted", self.place / "count"
        fault = {"COUNT": told, **({} if calls is None else {"CALLS": calls})}
        assert self.start(out, fault=fault).returncode == 0
        shutil.rmtree(out)
        return int(told.read_text())

    def check_whole(self, out):
        """Every checkpoint that has its name is whole, whatever happened."""
        for folder in out.glob("checkpoints/[sf]*"):
            there, all_of_it = {p.name for p in folder.iterdir()}, {p.name for p in (self.whole / "checkpoints/final").iterdir()}
            assert there == all_of_it, f"{folder} lacks {all_of_it - there}"

    def check_onward(self, out, where, signalled=False):
        """Goes on without faults to the end; the whole equals the run that never stopped."""
        done = self.start(out, *self.onward(out))
        assert done.returncode == 0, f"{where}: {done.stderr}"
        wrong = difference(self.state, state_of(out), signalled)
        assert wrong is None, f"{where}: {wrong}"
        left = [p for p in out.rglob("*") if ".heed-" in p.name]
        assert not left, f"{where}: {left} are left"


def without(runs, *names):
    """The same runs without some of their options."""
    other = copy.copy(runs)
    other.options = list(runs.options)
    for name in names:
        at = other.options.index(name)
        del other.options[at:at + 2]
    return other


def one_sentence(done, status, where, *parts):
    assert done.returncode == status, f"{where}: status {done.returncode}, {done.stderr!r}"
    assert done.stderr.startswith(("heed ", "heed: ")) and len(done.stderr.strip().splitlines()) == 1, f"{where}: {done.stderr!r}"
    for part in parts:
        assert part in done.stderr, f"{where}: {part!r} is not in {done.stderr!r}"
