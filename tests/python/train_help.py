# SPDX-License-Identifier: Apache-2.0
"""What the tests of `heed train` share: small runs, and the records of a run folder."""
import json

CLOCK = ("tokens_per_second", "elapsed_seconds", "eval_seconds")
TEXT = "\n\n".join(f"{i} the cat sat on mat number {i * i % 97} and {'then ' * (i % 7)}it slept." for i in range(60)) + "\n"


def small(text_file, out, *more):
    return ["train", "--dataset", text_file, "--output_dir", out, "--max_length", 48, "--batch_size", 4, "--threads", 1, *more]


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def timeless(folder):
    """metrics.jsonl without what depends on the clock."""
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in lines(folder)]


def weights(folder):
    return (folder / "model.safetensors").read_bytes(), (folder / "optimizer.safetensors").read_bytes()


def saved(folder):
    """The steps of checkpoints/step-N, in order."""
    return sorted(int(p.name[5:]) for p in (folder / "checkpoints").glob("step-*"))


def sentence(done, status, *parts):
    """One sentence on stderr, the exit status, nothing of a crash."""
    assert done.returncode == status, done.stderr + done.stdout
    assert done.stderr.startswith("heed ") and len(done.stderr.strip().splitlines()) == 1, done.stderr
    for part in parts:
        assert part in done.stderr, done.stderr
