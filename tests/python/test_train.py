# SPDX-License-Identifier: Apache-2.0
"""heed train and heed eval: losses against PyTorch, checkpoints in transformers, resume bit for bit, bad input, signals."""
import json
import os
import signal
import subprocess

import pytest

import train_rows
from train_help import TEXT, sentence, small, timeless, weights

STEPS = 10


@pytest.fixture(scope="module")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "cats.txt"
    path.write_text(TEXT)
    return path


def metrics(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [m for m in lines if "loss" in m], [m for m in lines if "eval_loss" in m]


# ---- the same losses as PyTorch ----

def torch_losses(model_folder, step_rows, length, packed, batch_size, rate, warmup, total, clip=1.0):
    """The HF Trainer's arithmetic on rows made by train_rows: loss over all scored tokens of a step, AdamW, linear schedule."""
    import torch
    from transformers import AutoModelForCausalLM, get_linear_schedule_with_warmup
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(model_folder, attn_implementation="eager")
    model.eval()    # the config has no dropout
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    schedule = get_linear_schedule_with_warmup(optimizer, warmup, total)
    losses = []
    for _ in range(STEPS):
        taken = next(step_rows)
        scored = sum(len(piece) - 1 for row in taken for piece in row)
        total_loss = 0.0
        optimizer.zero_grad()
        for row in taken:    # a row at a time without padding, a piece at a time: what isolation and padding must equal
            for piece in row:
                if len(piece) < 2:
                    continue
                ids = torch.tensor([piece])
                logits = model(ids).logits[0, :-1].float()
                loss = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum") / scored
                loss.backward()
                total_loss += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        schedule.step()
        losses.append(total_loss)
    return losses


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_ten_losses_equal_pytorch(run_heed, text_file, tmp_path, packed):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    start = tmp_path / "start"
    pack = ["--use_packing"] if packed else []
    # The weights both begin with: a checkpoint after one step at rate 0.
    done = run_heed(*small(text_file, start, "--max_steps", 1, "--learning_rate", 0, "--eval_strategy", "no"))
    assert done.returncode == 0, done.stderr
    folder = start / "checkpoints/final"
    eos = 256
    ids = [[*d.encode(), eos] for d in train_rows.documents(TEXT)]
    held_out = -(-len(ids) * 5 // 100)
    table = train_rows.rows(ids[:-held_out], 48, packed)
    wanted = torch_losses(folder, train_rows.steps(table, 8, 7), 48, packed, 4, 3e-3, 2, 20)
    for name in ("flash_attention_2", "eager", "flex_attention"):
        out = tmp_path / name
        done = run_heed(*small(text_file, out, "--model", folder, "--max_steps", 20, "--learning_rate", "3e-3", "--warmup_steps", 2,
                               "--gradient_accumulation_steps", 2, "--seed", 7, "--attn_implementation", name, *pack))
        assert done.returncode == 0, done.stderr
        got = [m["loss"] for m in metrics(out)[0]][:STEPS]
        assert max(abs(a - b) for a, b in zip(got, wanted, strict=True)) < 1e-3, (name, got, wanted)
        assert got[0] - got[-1] > 0.5, "the loss does not fall, so equality would prove little"
        records = json.loads((out / "attention.json").read_text())
        actual = {r["actual"] for r in records}
        assert actual == {"cpu.eager" if name == "eager" else "cpu.flash"}, records
        assert all(("_function?" in r["problem"]) == (name == "flex_attention") for r in records), records
        assert all(("tiles are listed" in r["reason"]) == (name == "flex_attention") for r in records), records
        assert all(r["requested"] == name for r in records)
        assert name in done.stdout.strip().splitlines()[-1]


def test_evaluation_equals_transformers(run_heed, text_file, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    out = tmp_path / "run"
    done = run_heed(*small(text_file, out, "--max_steps", 30, "--learning_rate", "3e-3", "--eval_strategy", "no"))
    assert done.returncode == 0, done.stderr
    folder = out / "checkpoints/final"
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokens = transformers.AutoTokenizer.from_pretrained(folder)
    loss, count, size = 0.0, 0, 0
    for document in train_rows.documents(TEXT):
        whole = tokens(document)["input_ids"] + [tokens.eos_token_id]
        for at in range(0, len(whole), 48):
            piece = whole[at:at + 48]
            if len(piece) < 2:
                continue
            with torch.no_grad():
                logits = model(torch.tensor([piece])).logits[0, :-1]
            loss += torch.nn.functional.cross_entropy(logits, torch.tensor(piece[1:]), reduction="sum").item()
            count += len(piece) - 1
            size += sum(1 for i in piece[1:] if i != tokens.eos_token_id)
    for side in ("left", "right"):
        for name in ("eager", "flash_attention_2", "sdpa", "auto"):
            done = run_heed("eval", "--model", folder, "--dataset", text_file, "--max_length", 48, "--json", "--padding_side", side,
                            "--attn_implementation", name)
            assert done.returncode == 0, done.stderr
            got = json.loads(done.stdout)
            assert got["scored_tokens"] == count
            assert abs(got["eval_loss"] - loss / count) < 1e-4, (side, name)
            assert abs(got["perplexity"] / 2.718281828459045 ** got["eval_loss"] - 1) < 1e-8
            assert abs(got["bits_per_byte"] - got["eval_loss"] * count / size / 0.6931471805599453) < 1e-8
            assert got["truncated"] is False
    done = run_heed("eval", "--model", folder, "--dataset", text_file, "--max_length", 48, "--eval_max_batches", 2)
    assert done.returncode == 0 and "truncated" in done.stdout


# ---- resume ----

def test_resume_is_exact(run_heed, text_file, tmp_path):
    """Stops at odd steps, with accumulation, inside a logging window; the whole equals a run that never stopped."""
    options = ["--max_steps", 23, "--gradient_accumulation_steps", 3, "--learning_rate", "2e-3", "--logging_steps", 4,
               "--save_steps", 5,
               "--eval_steps", 10, "--lr_scheduler_type", "cosine", "--warmup_ratio", "0.1"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    done = run_heed(*small(text_file, whole, *options))
    assert done.returncode == 0, done.stderr
    done = run_heed(*small(text_file, parts, *options))
    assert done.returncode == 0, done.stderr
    assert timeless(whole) == timeless(parts), "two equal runs differ"
    for folder in parts.glob("checkpoints/*"):
        if folder.name != "step-15":
            subprocess.run(["rm", "-r", folder], check=True)
    done = run_heed(*small(text_file, parts, *options, "--resume_from_checkpoint", "latest"))
    assert done.returncode == 0, done.stderr
    assert timeless(whole) == timeless(parts)
    assert weights(whole / "checkpoints/final") == weights(parts / "checkpoints/final")
    assert sorted(p.name for p in parts.glob("checkpoints/*")) == ["final", "step-15", "step-20"]
    other = tmp_path / "other"
    done = run_heed(*small(text_file, other, *options, "--resume_from_checkpoint", parts / "checkpoints/step-15"))
    assert done.returncode == 0, done.stderr
    assert weights(whole / "checkpoints/final") == weights(other / "checkpoints/final")
    done = run_heed(*small(text_file, parts, *options, "--resume_from_checkpoint", "latest", "--seed", 1))
    sentence(done, 64, "--seed")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves(heed, run_heed, text_file, tmp_path, number):
    out = tmp_path / "run"
    run = subprocess.Popen([str(heed), *map(str, small(text_file, out, "--max_steps", 5000, "--logging_steps", 1))],
                           stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True)
    for line in run.stdout:
        if line.startswith("step 3/"):
            run.send_signal(number)
            break
    rest, error = run.communicate(timeout=60)
    assert run.returncode == 128 + number, error
    assert "saved" in rest and error == ""
    saved = [p.name for p in (out / "checkpoints").iterdir()]
    assert len(saved) == 1 and saved[0].startswith("step-")
    step = int(saved[0][5:])
    assert metrics(out)[0][-1]["step"] == step
    assert json.loads((out / "final_metrics.json").read_text())["status"] == "stopped by a signal"
    done = run_heed(*small(text_file, out, "--max_steps", step + 2, "--resume_from_checkpoint", "latest"))
    assert done.returncode == 0, done.stderr
    assert [m["step"] for m in metrics(out)[0]] == list(range(1, step + 3))


# ---- the run folder ----

def test_run_folder(run_heed, text_file, tmp_path):
    out = tmp_path / "run"
    done = run_heed(*small(text_file, out, "--max_steps", 4, "--eval_steps", 2, "--eval_on_start", "--attn_implementation",
                           "flash_attention_3"))
    assert done.returncode == 0, done.stderr
    assert "--eval_steps 2 alone means --eval_strategy steps" in done.stdout
    last = done.stdout.strip().splitlines()[-1]
    assert "flash_attention_3" in last and "cpu.flash" in last
    train, evaluations = metrics(out)
    assert [m["step"] for m in train] == [1, 2, 3, 4] and [m["step"] for m in evaluations] == [0, 2, 4]
    record = json.loads((out / "run.json").read_text())
    assert record["options"]["given"]["max_steps"] == 4 and record["options"]["effective"]["eval_strategy"] == "steps"
    assert record["options"]["effective"]["learning_rate"] == 5e-5 and "eval_strategy" not in record["options"]["given"]
    assert record["machine"]["threads"] == 1 and record["machine"]["commit"]
    for entry in json.loads((out / "attention.json").read_text()):
        assert {"problem", "requested", "actual", "reason", "preset", "refused", "calls", "seconds"} <= set(entry)
    assert json.loads((out / "final_metrics.json").read_text())["eval_loss"] == evaluations[-1]["eval_loss"]
    done = run_heed(*small(text_file, out, "--max_steps", 4))
    sentence(done, 64, "already holds a run", "--overwrite")
    done = run_heed(*small(text_file, out, "--max_steps", 2, "--overwrite"))
    assert done.returncode == 0 and [m["step"] for m in metrics(out)[0]] == [1, 2]


def test_disk_full(run_heed, text_file, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("a small tmpfs needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], capture_output=True).returncode != 0:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        out = disk / "run"
        done = run_heed(*small(text_file, out, "--max_steps", 6, "--save_steps", 2))
        sentence(done, 5)
        whole = list((out / "checkpoints").iterdir())
        assert [p.name for p in whole] == ["step-2"], "the first checkpoint fits, the second does not"
        assert (whole[0] / "trainer_state.json").exists() and (whole[0] / "model.safetensors").exists()
    finally:
        subprocess.run(["umount", disk], check=True)


# ---- not finite ----

def poison(folder):
    """Writes a NaN into wte.weight[65] (the letter A of the byte tokenizer)."""
    import struct
    path = folder / "model.safetensors"
    raw = bytearray(path.read_bytes())
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    name = next(n for n in header if n.endswith("wte.weight"))
    at = 8 + size + header[name]["data_offsets"][0] + 65 * header[name]["shape"][1] * 4
    raw[at:at + 4] = struct.pack("<f", float("nan"))
    path.write_bytes(raw)


def test_nan_stops_with_its_origin(run_heed, text_file, tmp_path):
    out, again = tmp_path / "run", tmp_path / "again"
    assert run_heed(*small(text_file, out, "--max_steps", 1)).returncode == 0
    poison(out / "checkpoints/final")
    done = run_heed(*small(text_file, again, "--model", out / "checkpoints/final", "--max_steps", 3))
    sentence(done, 4, "step 1", "wte")
    line = json.loads((again / "metrics.jsonl").read_text().splitlines()[-1])
    assert line["step"] == 1 and line["non_finite"]["found"]
    assert list((again / "checkpoints").iterdir()) == []
    done = run_heed("eval", "--model", out / "checkpoints/final", "--dataset", text_file, "--max_length", 48)
    sentence(done, 4)
    done = run_heed(*small(text_file, tmp_path / "high", "--max_steps", 50, "--learning_rate", "1e12", "--max_grad_norm", 0,
                           "--eval_strategy", "no"))
    sentence(done, 4, "step")


# ---- bf16 ----

def test_bf16(run_heed, text_file, tmp_path):
    """Near f32's losses without being them; recorded; f32 checkpoints; resumed bit for bit; eval computes it too."""
    options = ["--max_steps", 12, "--learning_rate", "3e-4", "--save_steps", 5, "--eval_steps", 6]
    for name, flag in (("f32", []), ("whole", ["--bf16"]), ("parts", ["--bf16"])):
        done = run_heed(*small(text_file, tmp_path / name, *options, *flag))
        assert done.returncode == 0, done.stderr
    plain, whole = ([m["loss"] for m in metrics(tmp_path / name)[0]] for name in ("f32", "whole"))
    assert plain != whole and max(abs(a - b) / a for a, b in zip(plain, whole, strict=True)) < 1e-2, (plain, whole)
    effective = json.loads((tmp_path / "whole/run.json").read_text())["options"]["effective"]
    assert effective["bf16"] is True and effective["fp32"] is False
    problems = {r["problem"] for r in json.loads((tmp_path / "whole/attention.json").read_text())}
    assert problems and all("bf16" in p.split() for p in problems), problems
    for folder in (tmp_path / "parts").glob("checkpoints/*"):
        if folder.name != "step-5":
            subprocess.run(["rm", "-r", folder], check=True)
    done = run_heed(*small(text_file, tmp_path / "parts", *options, "--bf16", "--resume_from_checkpoint", "latest"))
    assert done.returncode == 0, done.stderr
    assert timeless(tmp_path / "whole") == timeless(tmp_path / "parts")
    assert weights(tmp_path / "whole/checkpoints/final") == weights(tmp_path / "parts/checkpoints/final")
    done = run_heed(*small(text_file, tmp_path / "other", *options, "--resume_from_checkpoint",
                           tmp_path / "parts/checkpoints/step-10"))
    assert done.returncode == 0 and "resumed in f32, it was bf16" in done.stdout + done.stderr, done.stderr
    losses = []
    for flag in ([], ["--bf16"]):
        done = run_heed("eval", "--model", tmp_path / "whole/checkpoints/final", "--dataset", text_file, "--max_length", 48,
                        "--json", *flag)
        assert done.returncode == 0, done.stderr
        losses.append(json.loads(done.stdout)["eval_loss"])
    assert losses[0] != losses[1] and abs(losses[0] - losses[1]) < 1e-2 * losses[0]


# ---- memory ----

@pytest.mark.parametrize("more", [[], ["--use_packing", "--attn_implementation", "eager"]], ids=["padded", "packed"])
def test_gradient_checkpointing_changes_no_bit(run_heed, text_file, tmp_path, more):
    """Losses, gradient norms and weights are those of a run without; attention's forward is counted as often as it ran."""
    calls = []
    for name, flag in (("plain", []), ("again", ["--gradient_checkpointing"])):
        done = run_heed(*small(text_file, tmp_path / name, "--max_steps", 6, "--gradient_accumulation_steps", 2, "--learning_rate",
                               "2e-3", "--eval_strategy", "no", *more, *flag))
        assert done.returncode == 0, done.stderr
        records = json.loads((tmp_path / name / "attention.json").read_text())
        calls.append([sum(r["calls"] for r in records if ("grad" in r["problem"].split()) == grad) for grad in (False, True)])
    assert timeless(tmp_path / "plain") == timeless(tmp_path / "again")
    assert weights(tmp_path / "plain/checkpoints/final") == weights(tmp_path / "again/checkpoints/final")
    assert calls[0][0] == calls[0][1] == calls[1][1] and calls[1][0] == calls[0][0] * (4 + 3) // 4, calls
    assert json.loads((tmp_path / "again/run.json").read_text())["options"]["effective"]["gradient_checkpointing"]


# ---- bad input ----

BAD = [
    (["--learning_rat", "1"], 64, ["--learning_rate"]),
    (["--batch_size", "0"], 64, ["--batch_size", "0"]),
    (["--batch_size", "1e99"], 64, ["--batch_size"]),
    (["--max_length", "257"], 64, ["--max_length", "257", "256"]),
    (["--max_length", "-5"], 64, ["--max_length"]),
    (["--mode", "sft"], 3, ["sft", "not built"]),
    (["--use_lora"], 3, ["--use_lora"]),
    (["--bf16", "--fp32"], 64, ["--bf16", "--fp32"]),
    (["--fp16"], 3, ["refused"]),
    (["--lr_scheduler_type", "lineer"], 64, ["linear"]),
    (["--on_nan", "go"], 64, ["--on_nan", "skip"]),
    (["--device", "cuda"], 3, ["cuda"]),
    (["--device", "toaster"], 64, ["toaster"]),
    (["--attn_implementation", "paged_attention"], 3, ["paged_attention"]),
    (["--attn_implementation", "flash_attention_4"], 64, ["flash_attention_4"]),
    (["--attn_preset", "nonsense"], 64, ["nonsense"]),
    (["--disable_mps_fix"], 64, ["--disable_mps_fix", "no effect"]),
    (["--use_flash_attention", "--attn_implementation", "eager"], 64, ["--use_flash_attention"]),
    (["--packing_leak"], 64, ["--packing_leak", "no effect"]),
    (["--eval_steps", "5", "--eval_strategy", "no"], 64, ["--eval_steps", "no effect"]),
    (["--warmup_steps", "5", "--max_steps", "5"], 64, ["never ends"]),
    (["--dataset", "/nonexistent.txt"], 5, ["nonexistent.txt"]),
    (["--eval_dataset", "/nonexistent.txt"], 5, ["nonexistent.txt"]),
    (["--tokenizer", "/nonexistent"], 5, ["nonexistent"]),
    (["--model", "no-such/model"], 5, ["hf download no-such/model"]),
    (["--model", "gpt2-nan"], 5, ["no built-in size", "the nearest is gpt2-nano", "hf download gpt2-nan"]),
    (["--resume_from_checkpoint", "/nonexistent"], 5, ["nonexistent"]),
    (["--num_train_epochs", "0"], 64, ["--num_train_epochs"]),
    (["--attn_implementation", "flash_attention_3", "--attn_fallback", "refuse"], 3, ["flash_attention_3"]),
]


@pytest.mark.parametrize("case", BAD, ids=[" ".join(c[0]) for c in BAD])
def test_bad_options(run_heed, text_file, tmp_path, case):
    given, status, parts = case
    out = tmp_path / "run"
    base = ["train", "--output_dir", out]
    if "--dataset" not in given:
        base += ["--dataset", text_file]
    if "--max_steps" not in given and "--num_train_epochs" not in given:
        base += ["--max_steps", 1]
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf")}
    sentence(run_heed(*base, *given, env=environment), status, *parts)
    assert not (out / "run.json").exists() and not (out / "checkpoints/final").exists()


def test_damaged_files(run_heed, text_file, tmp_path):
    out = tmp_path / "run"
    assert run_heed(*small(text_file, out, "--max_steps", 1)).returncode == 0
    folder = out / "checkpoints/final"
    good = (folder / "model.safetensors").read_bytes()
    for name, raw in {"truncated": good[:-4], "header": b"\xff" * 8 + good[8:], "empty": b"", "extra": good + b"0000"}.items():
        (folder / "model.safetensors").write_bytes(raw)
        sentence(run_heed("eval", "--model", folder, "--dataset", text_file), 5, "model.safetensors")
        sentence(run_heed(*small(text_file, tmp_path / name, "--model", folder, "--max_steps", 1)), 5, "model.safetensors")
        assert not (tmp_path / name).exists()
    (folder / "model.safetensors").write_bytes(good)
    state = (folder / "trainer_state.json").read_text()
    for raw in ("", "{", "[]", state.replace('"step"', '"stop"'), state.replace('"format": 1', '"format": 2')):
        (folder / "trainer_state.json").write_text(raw)
        sentence(run_heed(*small(text_file, out, "--max_steps", 2, "--resume_from_checkpoint", folder)), 5, "trainer_state.json")
    (folder / "trainer_state.json").write_text(state)
    (folder / "optimizer.safetensors").write_bytes((folder / "optimizer.safetensors").read_bytes()[:-8])
    sentence(run_heed(*small(text_file, out, "--max_steps", 2, "--resume_from_checkpoint", folder)), 5, "optimizer.safetensors")
    for name in ("vocab.json", "tokenizer.json"):
        (folder / name).write_text("{")
    sentence(run_heed("eval", "--model", folder, "--dataset", text_file), 5, ".json")
    empty = tmp_path / "empty.txt"
    for raw in (b"", b"\n\n \n"):
        empty.write_bytes(raw)
        sentence(run_heed("train", "--dataset", empty, "--output_dir", tmp_path / "none"), 5, "empty.txt")
    assert not (tmp_path / "none").exists()


def test_one_document(run_heed, tmp_path):
    """Nothing can be held out: said when evaluation is only the default, an error when it was asked for."""
    text = tmp_path / "one.txt"
    text.write_text("a single document\nwithout a blank line")
    done = run_heed("train", "--dataset", text, "--output_dir", tmp_path / "run", "--max_steps", 2, "--threads", 1)
    assert done.returncode == 0 and "nothing is evaluated" in done.stdout, done.stderr
    assert metrics(tmp_path / "run")[1] == []
    done = run_heed("train", "--dataset", text, "--output_dir", tmp_path / "none", "--max_steps", 2, "--eval_steps", 1)
    sentence(done, 5, "--eval_steps", "one.txt")
    assert not (tmp_path / "none").exists()


def test_dropout(run_heed, text_file, tmp_path):
    """A config's dropout is applied, said, recorded and kept; the same on resume, with blocks recomputed; evaluation
    has none; the built-in sizes ask for none."""
    done = run_heed(*small(text_file, tmp_path / "begin", "--max_steps", 1))
    assert done.returncode == 0 and "pdrop" not in done.stdout + done.stderr
    folder = tmp_path / "begin/checkpoints/final"
    asking = json.loads((folder / "config.json").read_text())
    options = ["--model", folder, "--max_steps", 5, "--gradient_accumulation_steps", 2, "--save_steps", 2, "--eval_on_start",
               "--learning_rate", "1e-3"]
    assert run_heed(*small(text_file, tmp_path / "without", *options)).returncode == 0
    (folder / "config.json").write_text(json.dumps({**asking, "embd_pdrop": 0.1, "attn_pdrop": 0.2, "resid_pdrop": 0.25}))
    for name, more in (("whole", []), ("parts", []), ("again", ["--gradient_checkpointing"])):
        done = run_heed(*small(text_file, tmp_path / name, *options, *more))
        assert done.returncode == 0 and "resid_pdrop 0.25" in done.stdout + done.stderr, done.stderr
    losses, evaluations = metrics(tmp_path / "whole")
    other_losses, other_evaluations = metrics(tmp_path / "without")
    assert evaluations[0]["eval_loss"] == other_evaluations[0]["eval_loss"], "evaluation drops"
    assert losses[0]["loss"] != other_losses[0]["loss"], "training does not drop"
    assert json.loads((tmp_path / "whole/run.json").read_text())["model"]["dropout"] == {
        "embedding": 0.1, "attention": 0.2, "residual": 0.25}
    assert json.loads((tmp_path / "whole/checkpoints/final/config.json").read_text())["resid_pdrop"] == 0.25
    problems = [r["problem"] for r in json.loads((tmp_path / "whole/attention.json").read_text())]
    assert any("dropout:0.2" in p for p in problems) and any("dropout" not in p for p in problems), problems
    subprocess.run(["rm", "-r", tmp_path / "parts/checkpoints/final", tmp_path / "parts/checkpoints/step-4"], check=True)
    done = run_heed(*small(text_file, tmp_path / "parts", *options, "--resume_from_checkpoint", "latest"))
    assert done.returncode == 0, done.stderr
    for name in ("parts", "again"):
        assert timeless(tmp_path / "whole") == timeless(tmp_path / name)
        assert weights(tmp_path / "whole/checkpoints/final") == weights(tmp_path / name / "checkpoints/final")


def test_quiet_and_json(run_heed, text_file, tmp_path):
    done = run_heed(*small(text_file, tmp_path / "quiet", "--max_steps", 12, "--quiet"))
    assert done.returncode == 0 and "step 10/12" not in done.stdout
    assert "attention" in done.stdout.strip().splitlines()[-1]
    done = run_heed(*small(text_file, tmp_path / "json", "--max_steps", 12, "--json"))
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum("loss" in o for o in objects) == 12 and objects[-1]["final"]["attention"]["actual"]
    done = run_heed(*small(text_file, tmp_path / "plain", "--max_steps", 12))
    assert "step 10/12" in done.stdout and "\r" not in done.stdout and "\033" not in done.stdout


@pytest.mark.parametrize("columns", [0, 20, 60, 200])
def test_live_line_fits(heed, text_file, tmp_path, columns):
    """On a terminal each drawing of the live line is shorter than the terminal is wide."""
    import fcntl
    import pty
    import struct
    import termios
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    run = subprocess.Popen([str(heed), *map(str, small(text_file, tmp_path / "run", "--max_steps", 60))], stdout=other,
                           env={**os.environ, "TERM": "xterm"})
    os.close(other)
    raw = b""
    while True:
        try:
            piece = os.read(main, 65536)
        except OSError:
            break
        if not piece:
            break
        raw += piece
    assert run.wait(60) == 0
    drawn = [part.split(b"\x1b[K")[0] for part in raw.split(b"\r") if b"\x1b[K" in part]
    assert any(part.startswith(b"step") for part in drawn), raw
    assert max(len(part) for part in drawn) < (columns or 80)
