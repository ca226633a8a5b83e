# SPDX-License-Identifier: Apache-2.0
"""Every --lr_scheduler_type, all steps, against transformers' get_scheduler and torch's ReduceLROnPlateau."""
import json
import random
import subprocess

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

KINDS = {    # a few settings of --lr_scheduler_kwargs for each
    "linear": [{}],
    "cosine": [{}, {"num_cycles": 2.25}],
    "cosine_with_restarts": [{}, {"num_cycles": 3}],
    "polynomial": [{}, {"lr_end": 1e-4, "power": 2.5}],
    "constant": [{}],
    "constant_with_warmup": [{}],
    "inverse_sqrt": [{}, {"timescale": 50}],
    "cosine_with_min_lr": [{"min_lr_rate": 0.1}, {"min_lr": 1e-5, "num_cycles": 1.5}],
}


def rates(tool, *words):
    done = subprocess.run([str(tool("schedule")), *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [float(line) for line in done.stdout.split()]


def near(got, wanted, what):
    assert len(got) == len(wanted)
    for step, (a, b) in enumerate(zip(got, wanted, strict=True)):
        assert abs(a - b) <= 1e-14 * abs(b) + 1e-18, f"{what}, step {step}: {a!r}, transformers {b!r}"


@pytest.mark.parametrize("kind", KINDS)
def test_all_steps(tool, kind):
    for steps, warmup in ((1, 0), (7, 0), (100, 0), (100, 17), (1000, 999)):
        for extra in KINDS[kind]:
            if kind == "constant" and warmup > 0:
                continue
            optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=3e-3)
            schedule = transformers.get_scheduler(kind, optimizer, warmup, steps, scheduler_specific_kwargs=extra)
            wanted = []
            for _ in range(steps):
                wanted.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                schedule.step()
            near(rates(tool, kind, steps, warmup, 3e-3, json.dumps(extra)), wanted, f"{kind} {steps} {warmup} {extra}")


@pytest.mark.parametrize("extra", [{}, {"patience": 2, "factor": 0.5}, {"patience": 1, "cooldown": 3, "min_lr": 1e-3},
                                   {"patience": 0, "threshold": 0.05, "threshold_mode": "abs", "mode": "max"},
                                   {"patience": 0, "mode": "max"}, {"patience": 0, "eps": 1e-3, "factor": 0.3}], ids=str)
def test_plateau(tool, extra):
    draw, reduced = random.Random(3), 0
    for _ in range(10):
        values = [2 + draw.gauss(0, 0.2) / (1 + i / 20) for i in range(120)]
        optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=3e-2)
        schedule = transformers.get_scheduler("reduce_lr_on_plateau", optimizer, scheduler_specific_kwargs=extra)
        wanted = []
        for value in values:
            wanted.append(optimizer.param_groups[0]["lr"])
            schedule.step(value)
        near(rates(tool, "reduce_lr_on_plateau", len(values), 0, 3e-2, json.dumps(extra), *map(repr, values)), wanted, str(extra))
        reduced += len(set(wanted))
    assert reduced > 10, "the rate never fell"


@pytest.mark.parametrize("kind, extra, part", [
    ("linear", '{"num_cycles": 1}', "takes: nothing"), ("cosine", '{"power": 1}', "num_cycles"), ("cosine", "{", "kwargs"),
    ("cosine", "[]", "object"), ("cosine_with_min_lr", '{"min_lr": 1e-5, "min_lr_rate": 0.1}', "only one"),
    ("polynomial", '{"lr_end": 1}', "lr_end"), ("reduce_lr_on_plateau", '{"mode": "best"}', "min or max"),
    ("reduce_lr_on_plateau", '{"factor": 1}', "factor")])
def test_bad_kwargs(run_heed, tmp_path, kind, extra, part):
    done = run_heed("train", "--max_steps", 2, "--lr_scheduler_type", kind, "--lr_scheduler_kwargs", extra, "--output_dir",
                    tmp_path / "run")
    assert done.returncode == 64 and part in done.stderr and len(done.stderr.splitlines()) == 1, done
    assert not (tmp_path / "run").exists()
