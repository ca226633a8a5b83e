# SPDX-License-Identifier: Apache-2.0
"""Evaluation, checkpoints, the best model and skipped steps, against the Hugging Face Trainer's own code where it has some."""
import json
import shutil
import struct
import types

import pytest

from train_help import TEXT, lines, saved, sentence, small, timeless, weights


@pytest.fixture(scope="module")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "cats.txt"
    path.write_text(TEXT)
    return path


def evaluations(folder):
    return [(m["step"], m["eval_loss"]) for m in lines(folder) if "eval_loss" in m]


# ---- when ----

def flow(steps, steps_per_epoch, **options):
    """The steps at which transformers' DefaultFlowCallback evaluates and saves."""
    transformers = pytest.importorskip("transformers")
    args = types.SimpleNamespace(logging_first_step=False, logging_strategy="no", eval_delay=0, **options)    # no accelerate needed
    state = transformers.TrainerState(max_steps=steps, eval_steps=args.eval_steps, save_steps=args.save_steps, logging_steps=10)
    callback = transformers.trainer_callback.DefaultFlowCallback()
    evaluated, kept = [], []
    for step in range(1, steps + 1):
        control = transformers.TrainerControl()
        state.global_step, state.epoch = step, step / steps_per_epoch
        callback.on_step_end(args, state, control)
        if step % steps_per_epoch == 0 or step == steps:
            callback.on_epoch_end(args, state, control)
        evaluated += [step] * control.should_evaluate
        kept += [step] * control.should_save
    return evaluated, kept


@pytest.mark.parametrize("evaluate, save", [("steps", "epoch"), ("epoch", "steps"), ("no", "no")])
def test_strategies(run_heed, text_file, tmp_path, evaluate, save):
    out, steps = tmp_path / "run", 37
    numbers = [*(["--eval_steps", 5] if evaluate == "steps" else []), *(["--save_steps", 7] if save == "steps" else [])]
    done = run_heed(*small(text_file, out, "--max_steps", steps, "--eval_strategy", evaluate, "--save_strategy", save, *numbers,
                           *([] if save == "no" else ["--save_total_limit", 99])))
    assert done.returncode == 0, done.stderr
    per_epoch = json.loads((out / "run.json").read_text())["steps_per_epoch"]
    assert 1 < per_epoch < steps
    evaluated, kept = flow(steps, per_epoch, eval_strategy=evaluate, save_strategy=save, eval_steps=5, save_steps=7)
    assert [step for step, _ in evaluations(out)] == evaluated
    if save == "no" or steps not in saved(out):
        kept = [step for step in kept if step != steps]    # heed's name for the last is checkpoints/final
    assert saved(out) == kept and (out / "checkpoints/final").is_dir()


# ---- the best ----

def rotate(tmp_path, saves, limit, best_at):
    """What transformers' rotate_checkpoints leaves, called after each save with the best step so far."""
    utils = pytest.importorskip("transformers.trainer_utils")
    folder = tmp_path / "rotated"
    for step in saves:
        (folder / f"checkpoint-{step}").mkdir(parents=True)
        utils.rotate_checkpoints(str(folder), limit, str(folder / f"checkpoint-{best_at[step]}"))
    return sorted(int(p.name.split("-")[1]) for p in folder.iterdir())


@pytest.mark.parametrize("limit, greater", [(1, True), (2, True), (3, False)])
def test_load_best(run_heed, text_file, tmp_path, limit, greater):
    out, cut = tmp_path / "run", tmp_path / "cut"
    everything = ["--max_steps", 24, "--eval_steps", 2, "--save_steps", 4, "--load_best_model_at_end", "--learning_rate", "3e-3",
                  "--save_strategy", "steps", "--metric_for_best_model", "perplexity", "--greater_is_better", str(greater).lower()]
    options = [*everything, "--save_total_limit", limit]
    done = run_heed(*small(text_file, out, *options))
    assert done.returncode == 0, done.stderr
    best, best_at = None, {}
    for step, loss in evaluations(out):
        if step % 4 == 0 and (best is None or (loss > best[1] if greater else loss < best[1])):
            best = step, loss
        best_at[step] = best and best[0]
    assert saved(out) == rotate(tmp_path, range(4, 25, 4), limit, best_at)
    assert weights(out / "checkpoints/final") == weights(out / f"checkpoints/step-{best[0]}")
    if greater:
        assert best[0] == 4, "the first is the worst, and here the best"
        assert weights(out / "checkpoints/final") != weights(out / "checkpoints/step-24")
    final = json.loads((out / "final_metrics.json").read_text())
    state = json.loads((out / "checkpoints/step-24/trainer_state.json").read_text())
    assert final["best_step"] == state["best_global_step"] == best[0] and final["best_metric"] == state["best_metric"]
    assert f"step {best[0]}: perplexity" in done.stdout and "checkpoints/final holds it" in done.stdout
    if limit != 2:
        return
    # Cut off after step 20 and resumed, in the same folder and in another: nothing changes.
    done = run_heed(*small(text_file, cut, *everything, "--save_total_limit", 99))
    assert done.returncode == 0, done.stderr
    for path in (cut / "checkpoints").iterdir():
        if path.name not in (f"step-{best[0]}", "step-20"):
            shutil.rmtree(path)
    other = tmp_path / "other"
    again = run_heed(*small(text_file, other, *options, "--resume_from_checkpoint", cut / "checkpoints/step-20"))
    assert again.returncode == 0, again.stderr
    again = run_heed(*small(text_file, cut, *options, "--resume_from_checkpoint", "latest"))
    assert again.returncode == 0, again.stderr
    for folder in (cut, other):
        assert weights(folder / "checkpoints/final") == weights(out / "checkpoints/final")
        assert json.loads((folder / "final_metrics.json").read_text())["best_step"] == best[0]
    assert saved(cut) == saved(out) and timeless(cut) == timeless(out)


def test_best_is_gone(run_heed, text_file, tmp_path):
    """The best is sought anew, and said, rather than found missing after hours."""
    out = tmp_path / "run"
    options = ["--eval_steps", 2, "--save_steps", 2, "--load_best_model_at_end", "--save_strategy", "steps", "--learning_rate",
               "3e-3", "--greater_is_better", "true", "--save_total_limit", 9]
    assert run_heed(*small(text_file, out, "--max_steps", 6, *options)).returncode == 0
    best = json.loads((out / "final_metrics.json").read_text())["best_step"]
    assert best < 6
    shutil.rmtree(out / f"checkpoints/step-{best}")
    done = run_heed(*small(text_file, out, "--max_steps", 10, *options, "--resume_from_checkpoint", "latest"))
    assert done.returncode == 0 and f"step {best}, the best so far, is gone" in done.stdout, done.stderr
    later = {step: loss for step, loss in evaluations(out) if step > 6}
    assert json.loads((out / "final_metrics.json").read_text())["best_step"] == max(later, key=later.get)


def test_save_best(run_heed, text_file, tmp_path):
    out = tmp_path / "run"
    done = run_heed(*small(text_file, out, "--max_steps", 12, "--eval_steps", 3, "--save_strategy", "best", "--save_total_limit",
                           99, "--learning_rate", "3e-3"))
    assert done.returncode == 0, done.stderr
    best, wanted = None, []
    for step, loss in evaluations(out):
        if best is None or loss < best:
            best = loss
            wanted.append(step)
    assert saved(out) == wanted and wanted


def test_a_kill_before_final_is_mended(run_heed, text_file, tmp_path):
    out = tmp_path / "run"
    options = ["--max_steps", 4, "--save_steps", 2]
    assert run_heed(*small(text_file, out, *options)).returncode == 0
    whole = weights(out / "checkpoints/final")
    shutil.rmtree(out / "checkpoints/final")
    assert run_heed(*small(text_file, out, *options, "--resume_from_checkpoint", "latest")).returncode == 0
    assert weights(out / "checkpoints/final") == whole


BAD = [
    (["--load_best_model_at_end", "--eval_strategy", "no"], ["no effect"]),
    (["--load_best_model_at_end"], ["--save_strategy", "epoch"]),
    (["--load_best_model_at_end", "--eval_steps", "3", "--save_steps", "4"], ["multiple", "3"]),
    (["--metric_for_best_model", "accuracy"], ["accuracy", "eval_loss"]),
    (["--greater_is_better", "yes"], ["true"]),
    (["--save_strategy", "best", "--eval_strategy", "no"], ["best"]),
    (["--lr_scheduler_type", "reduce_lr_on_plateau", "--eval_strategy", "no"], ["--eval_strategy"]),
    (["--lr_scheduler_type", "reduce_lr_on_plateau", "--warmup_steps", "3"], ["no effect"]),
]


@pytest.mark.parametrize("given, parts", BAD, ids=[" ".join(b[0]) for b in BAD])
def test_bad_combinations(run_heed, text_file, tmp_path, given, parts):
    sentence(run_heed(*small(text_file, tmp_path / "run", "--max_steps", 5, *given)), 64, *parts)
    assert not (tmp_path / "run").exists()


# ---- the plateau ----

def test_plateau_follows_the_evaluations(run_heed, text_file, tmp_path):
    torch = pytest.importorskip("torch")
    out, cut = tmp_path / "run", tmp_path / "cut"
    extra = {"patience": 1, "factor": 0.5, "threshold": 0.2}
    options = ["--max_steps", 30, "--eval_steps", 2, "--learning_rate", "1e-3", "--lr_scheduler_type", "reduce_lr_on_plateau",
               "--lr_scheduler_kwargs", json.dumps(extra), "--save_steps", 5, "--save_total_limit", 99]
    done = run_heed(*small(text_file, out, *options))
    assert done.returncode == 0, done.stderr
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **extra)
    wanted, evaluated = [], dict(evaluations(out))
    for step in range(1, 31):
        wanted.append(optimizer.param_groups[0]["lr"])
        if step in evaluated:
            schedule.step(evaluated[step])
    got = [m["learning_rate"] for m in lines(out) if "learning_rate" in m]
    assert got == wanted and len(set(got)) > 2
    shutil.copytree(out, cut)
    for step in saved(cut):
        if step > 15:
            shutil.rmtree(cut / f"checkpoints/step-{step}")
    shutil.rmtree(cut / "checkpoints/final")
    done = run_heed(*small(text_file, cut, *options, "--resume_from_checkpoint", "latest"))
    assert done.returncode == 0, done.stderr
    assert timeless(cut) == timeless(out) and weights(cut / "checkpoints/final") == weights(out / "checkpoints/final")


# ---- steps that are not finite ----

SHORT = "\n\n".join(f"{i} a cat sat on {i * i % 97}." for i in range(60))
LONG = [f"{i:02d} a document which reaches position forty." for i in range(60)]    # and no row is longer


def poisoned(run_heed, text_file, tmp_path, row, value, name):
    """A fresh model whose wpe or wte holds `value` in one row: finite 3e38 overflows in the forward pass of what reads it."""
    out = tmp_path / "start"
    if not out.exists():
        assert run_heed(*small(text_file, out, "--max_steps", 1, "--learning_rate", 0)).returncode == 0
    folder = tmp_path / f"poisoned-{name}-{row}"
    shutil.copytree(out / "checkpoints/final", folder)
    raw = bytearray((folder / "model.safetensors").read_bytes())
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    tensor = header[next(n for n in header if n.endswith(f"{name}.weight"))]
    width = tensor["shape"][1]
    at = 8 + size + tensor["data_offsets"][0] + row * width * 4
    raw[at:at + 4 * width] = struct.pack("<f", value) * width
    (folder / "model.safetensors").write_bytes(raw)
    return folder


def torch_with_skips(folder, ids, seed, rate, steps):
    """The run in PyTorch: a step whose loss is not finite is left out, and the optimizer does not count it."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    import train_rows
    torch.set_num_threads(1)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    model.eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, 0, steps)
    taken, out = train_rows.steps(train_rows.rows(ids, 48, False), 4, seed), []
    for _ in range(steps):
        rows = next(taken)
        scored, total = sum(len(piece) - 1 for row in rows for piece in row), 0.0
        optimizer.zero_grad()
        for row in rows:
            batch = torch.tensor([row[0]])
            loss = torch.nn.functional.cross_entropy(model(batch).logits[0, :-1], batch[0, 1:], reduction="sum") / scored
            loss.backward()
            total += loss.item()
        if total == total:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        schedule.step()
        out.append(total if total == total else None)
    return out


def test_skip(run_heed, tmp_path):
    text = tmp_path / "some.txt"
    documents = SHORT.split("\n\n")
    documents[7], documents[20], documents[33] = LONG[:3]
    text.write_text("\n\n".join(documents))
    model = poisoned(run_heed, text, tmp_path, 40, 3e38, "wpe")
    out, cut = tmp_path / "run", tmp_path / "cut"
    options = ["--model", model, "--max_steps", 28, "--learning_rate", "2e-3", "--on_nan", "skip", "--save_steps", 3,
               "--save_total_limit", 99, "--seed", 7, "--logging_steps", 4]
    done = run_heed(*small(text, out, *options))
    assert done.returncode == 0, done.stderr
    ids = [[*d.encode(), 256] for d in documents]
    wanted = torch_with_skips(model, ids[:-3], 7, 2e-3, 28)
    got = [m for m in lines(out) if "loss" in m or "skipped_steps" in m]
    assert [m["step"] for m in got] == list(range(1, 29))
    skipped = [m for m in got if "skipped_steps" in m]
    assert 3 <= len(skipped) <= 10 and [m["skipped_steps"] for m in skipped] == list(range(1, len(skipped) + 1))
    for m, loss in zip(got, wanted, strict=True):
        assert ("loss" in m) == (loss is not None), m
        assert loss is None or abs(m["loss"] - loss) < 1e-3, (m, loss)
    first = skipped[0]["non_finite"]
    assert first["found"] and not first["backward"] and first["layer"] == 0 and "norm" in first["operation"], first
    assert f"step {skipped[0]['step']} skipped, 1 so far" in done.stdout
    final = json.loads((out / "final_metrics.json").read_text())
    assert final["skipped_steps"] == len(skipped) and final["status"] == "done"
    assert json.loads((out / "checkpoints/final/trainer_state.json").read_text())["skipped_steps"] == len(skipped)
    shutil.copytree(out, cut)
    middle = max(s for s in saved(cut) if s < skipped[-1]["step"])
    for path in (cut / "checkpoints").iterdir():
        if path.name == "final" or int(path.name[5:]) > middle:
            shutil.rmtree(path)
    done = run_heed(*small(text, cut, *options, "--resume_from_checkpoint", "latest"))
    assert done.returncode == 0, done.stderr
    assert timeless(cut) == timeless(out) and weights(cut / "checkpoints/final") == weights(out / "checkpoints/final")


def test_skip_ends(run_heed, tmp_path):
    """Ten in a row are skipped; and none where a parameter is lost, because nothing would ever change."""
    text = tmp_path / "long.txt"
    text.write_text("\n\n".join(LONG))
    options = ["--max_steps", 30, "--on_nan", "skip", "--eval_strategy", "no"]
    model = poisoned(run_heed, text, tmp_path, 40, 3e38, "wpe")
    done = run_heed(*small(text, tmp_path / "row", "--model", model, *options))
    sentence(done, 4, "step 11", "in a row")
    assert sum("skipped_steps" in m for m in lines(tmp_path / "row")) == 10
    model = poisoned(run_heed, text, tmp_path, 101, float("nan"), "wte")
    done = run_heed(*small(text, tmp_path / "lost", "--model", model, *options))
    sentence(done, 4, "step 1:", "wte", "would not help")
    assert (tmp_path / "lost/final_metrics.json").exists()
