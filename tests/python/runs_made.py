# SPDX-License-Identifier: Apache-2.0
"""Run folders as heed train leaves them, made up: what the tests of heed runs read."""
import json
import math

OPTIONS = {"model": "gpt2-nano", "dataset": "demo", "learning_rate": 1e-3, "attn_implementation": "auto", "attn_preset": None,
           "threads": 1, "seed": 42, "max_steps": 100, "output_dir": "x", "quiet": False}
MACHINE = {"heed": "0.1.0", "commit": "abc", "cpu_features": ["avx2", "fma"], "heed_cpu": None, "threads": 1}


def attention(actual="cpu.flash", preset="heed", requested="auto", **more):
    return [{"problem": f"b8 h4 q96 d32 causal {p}", "pass": p, "requested": requested, "actual": actual,
             "reason": f"{requested} said", "preset": preset, "substituted": False,
             "refused": [], "calls": 4, "seconds": 0.1, **more}
            for p in ("training", "evaluation")]


def lines(steps=40, every=10, loss=lambda s: 5 * math.exp(-s / 30) + 0.01 * math.sin(7 * s), **more):
    made = []
    for s in range(1, steps + 1):
        made.append({"step": s, "epoch": s / 100, "loss": loss(s), "learning_rate": 1e-3 * (1 - s / steps), "grad_norm": 1 + 1 / s,
                     "tokens_per_second": 9000.5 + s, "tokens": 1000 * s, **more})
        if s % every == 0:
            made.append({"step": s, "epoch": s / 100, "eval_loss": loss(s) + 0.1, "perplexity": math.exp(loss(s) + 0.1),
                         "truncated": False, "scored_tokens": 999, "eval_seconds": 0.5})
    return made


def write(folder, *, options=None, given=(), machine=None, data=None, ran=None, metrics=None, final=None):
    """A run folder; final=False: it has not ended."""
    folder.mkdir(parents=True)
    effective = {**OPTIONS, "output_dir": str(folder.name), **(options or {})}
    run = {"started": "2026-01-01T00:00:00Z", "options": {"given": {k: effective[k] for k in (*(options or ()), *given)},
                                                          "effective": effective},
           "notes": [], "machine": {**MACHINE, **(machine or {})}, "model": {"name": "gpt2-nano", "layers": 4},
           "data": {"name": "demo", "rows": 10, "tokens": 1000, **(data or {})}, "steps": 40, "resumed_from": None}
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "attention.json").write_text(json.dumps(ran if ran is not None else attention()))
    made = metrics if metrics is not None else lines()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(m) + "\n" for m in made))
    if final is not False:
        last = {"status": "done", "step": 40, "tokens": 40000, "train_loss": 2.5, "eval_loss": 1.25, "truncated": False,
                "seconds": 3.5, "tokens_per_second": 9000.0, "peak_memory_bytes": 10 ** 8, **(final or {})}
        (folder / "final_metrics.json").write_text(json.dumps(last))
    return folder
