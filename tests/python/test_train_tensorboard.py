# SPDX-License-Identifier: Apache-2.0
"""RUN/tensorboard, read back by TensorBoard's own EventAccumulator: every value of metrics.jsonl, over resumes and torn files."""
import json
import shutil
import struct

import pytest

from train_help import TEXT, lines, small

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def load(folder):
    events = accumulator.EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    return events


def expected(folder):
    """tag -> [(step, value as f32)] from metrics.jsonl."""
    out = {}
    for line in lines(folder):
        evaluates = "eval_loss" in line
        for key, value in line.items():
            if key != "step" and isinstance(value, (int, float)) and not isinstance(value, bool):
                tag = f"eval/{key.removeprefix('eval_')}" if evaluates else f"train/{key}"
                out.setdefault(tag, []).append((line["step"], struct.unpack("f", struct.pack("f", value))[0]))
    return out


def compare(folder):
    events, wanted = load(folder), expected(folder)
    assert sorted(events.Tags()["scalars"]) == sorted(wanted)
    for tag, values in wanted.items():
        assert [(e.step, e.value) for e in events.Scalars(tag)] == values, tag
    return events


def texts(events, tag):
    assert events.SummaryMetadata(tag).plugin_data.plugin_name == "text"
    return [e.tensor_proto.string_val[0].decode() for e in events.Tensors(tag)]


@pytest.fixture(scope="module")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "cats.txt"
    path.write_text(TEXT)
    return path


def test_every_value(run_heed, text_file, tmp_path):
    out, other = tmp_path / "run", tmp_path / "dogs.txt"
    other.write_text(TEXT.replace("cat", "dog"))
    done = run_heed("train", "--datasets", f"{text_file},{other}", "--output_dir", out, "--max_length", 48, "--batch_size", 4,
                    "--threads", 1, "--max_steps", 17, "--eval_steps", 5, "--logging_steps", 4, "--eval_on_start",
                    "--attn_implementation", "flash_attention_3")
    assert done.returncode == 0, done.stderr
    events = compare(out)
    assert {"train/loss", "train/learning_rate", "train/grad_norm", "train/tokens_per_second", "eval/loss", "eval/loss_spread",
            "eval/loss/cats.txt", "eval/loss/dogs.txt"} <= set(events.Tags()["scalars"])
    options, attention = texts(events, "options")[0], texts(events, "attention")[-1]
    assert "| max_steps | 17 |" in options and "| lr_scheduler_type | \"linear\" |" in options
    record = json.loads((out / "attention.json").read_text())[0]
    for part in (record["requested"], record["actual"], record["reason"], record["preset"]):
        assert part in attention


@pytest.mark.parametrize("damage", ["none", "cut", "torn"])
def test_resume(run_heed, text_file, tmp_path, damage):
    """Steps taken twice count once, whatever a kill left at the end of the first file."""
    out = tmp_path / "run"
    options = ["--max_steps", 20, "--eval_steps", 4, "--logging_steps", 3, "--save_steps", 5, "--save_total_limit", 9]
    assert run_heed(*small(text_file, out, *options)).returncode == 0
    whole = {(r["problem"], r["pass"]): r["calls"] for r in json.loads((out / "attention.json").read_text())}
    file, = (out / "tensorboard").iterdir()
    raw = file.read_bytes()
    if damage == "cut":
        file.write_bytes(raw[:-7])
    if damage == "torn":
        file.write_bytes(raw + raw[-40:-20])
    for name in ("step-15", "step-20", "final"):
        shutil.rmtree(out / "checkpoints" / name)
    done = run_heed(*small(text_file, out, *options, "--resume_from_checkpoint", "latest"))
    assert done.returncode == 0, done.stderr
    assert len(list((out / "tensorboard").iterdir())) == 2
    events = compare(out)
    assert [e.step for e in events.Scalars("train/loss")] == list(range(1, 21))
    again = {(r["problem"], r["pass"]): r["calls"] for r in json.loads((out / "attention.json").read_text())}
    assert again == whole, "attention.json must count the steps before the resume too"
    assert run_heed(*small(text_file, out, "--max_steps", 2, "--overwrite")).returncode == 0
    assert len(list((out / "tensorboard").iterdir())) == 1
    compare(out)


def test_not_finite(run_heed, text_file, tmp_path):
    done = run_heed(*small(text_file, tmp_path / "high", "--max_steps", 50, "--learning_rate", "1e12", "--max_grad_norm", 0,
                           "--eval_strategy", "no"))
    assert done.returncode == 4
    events = load(tmp_path / "high")
    assert "first in the" in texts(events, "non_finite")[0]
    assert len(events.Scalars("train/loss")) == sum("loss" in m for m in lines(tmp_path / "high"))
