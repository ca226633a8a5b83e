# SPDX-License-Identifier: Apache-2.0
"""The old fused operator of Apple GPUs in a job (docs/train.md tells the story): an evaluation with left padding gave NaN. By
default heed is protected and says so; --disable_mps_fix lets the NaN through, and the run ends with its origin."""
import json

import pytest

from train_help import TEXT, lines, sentence, small

OLD = ["--attn_preset", "mps_pre28"]


@pytest.fixture(scope="module")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "cats.txt"
    path.write_text(TEXT)
    return path


def losses(folder):
    return [m["eval_loss"] for m in lines(folder) if "eval_loss" in m]


@pytest.mark.parametrize("name", ["auto", "sdpa", "eager", "flash_attention_2"])
def test_protected(run_heed, text_file, tmp_path, name):
    """The numbers are those of the eager convention, and the protection is told: in a line, in the records, at the end."""
    options = ["--max_steps", 4, "--eval_steps", 2, "--attn_implementation", name]
    done = run_heed(*small(text_file, tmp_path / "old", *options, *OLD))
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if "--disable_mps_fix lets the NaN through" in line]
    assert len(told) == 2 and told[0].startswith("attention: ") and told[1] == done.stdout.splitlines()[-1]
    plain = run_heed(*small(text_file, tmp_path / "new", *options))
    assert plain.returncode == 0 and "mps" not in plain.stdout
    assert max(abs(a - b) for a, b in zip(losses(tmp_path / "old"), losses(tmp_path / "new"), strict=True)) < 1e-5
    records = [r for r in json.loads((tmp_path / "old/attention.json").read_text()) if r["pass"] == "evaluation"]
    assert {r["preset"] for r in records} == {"mps_pre28"}
    assert any(r["substituted"] and "rows that see no key" in r["reason"] and "give zero" in r["reason"] for r in records)
    assert json.loads((tmp_path / "old/final_metrics.json").read_text())["attention"]["substituted"]


@pytest.mark.parametrize("more", [[], ["--on_nan", "skip"], ["--attn_implementation", "eager"]], ids=" ".join)
def test_unprotected(run_heed, text_file, tmp_path, more):
    """Training goes well until the first evaluation; --on_nan skip is about steps and changes nothing."""
    out = tmp_path / "run"
    done = run_heed(*small(text_file, out, "--max_steps", 4, "--eval_steps", 2, *OLD, "--disable_mps_fix", *more))
    sentence(done, 4, "evaluation at step 2", "NaN", "layer 0", "operation attention", "batch row", "position", "sees no key")
    assert "--disable_mps_fix: in evaluation, a row that sees no key is NaN" in done.stdout
    assert [m["step"] for m in lines(out)] == [1, 2, 2] and not losses(out)
    origin = lines(out)[-1]["non_finite"]
    assert origin["found"] and origin["no_visible_key"] and not origin["backward"] and origin["operation"] == "attention"
    assert origin["layer"] == 0 and origin["position"] == 0 and origin["parameter"] is None
    records = [r for r in json.loads((out / "attention.json").read_text()) if r["pass"] == "evaluation"]
    assert records and not any(r["substituted"] for r in records) and all("--disable_mps_fix" in r["reason"] for r in records)
    assert json.loads((out / "final_metrics.json").read_text())["status"] == "stopped: not finite"


def test_no_empty_row_no_nan(run_heed, text_file, tmp_path):
    """Padded on the right, or not at all, every row sees a key: the same options end well."""
    for more in (["--padding_side", "right"], ["--use_packing", "--max_length", 8]):
        out = tmp_path / more[0].strip("-")
        done = run_heed("train", "--dataset", text_file, "--output_dir", out, "--batch_size", 1, "--threads", 1, "--max_steps", 2,
                        "--eval_max_batches", 3, *OLD, "--disable_mps_fix", *more)
        assert done.returncode == 0 and losses(out), done.stderr


def test_eval(run_heed, text_file, tmp_path):
    """The same of heed eval."""
    out = tmp_path / "run"
    done = run_heed(*small(text_file, out, "--max_steps", 3, "--attn_preset", "mps_pre28"))
    assert done.returncode == 0, done.stderr
    folder = out / "checkpoints/final"
    plain = run_heed("eval", "--model", folder, "--dataset", text_file, "--json", "--max_length", 48)
    fixed = run_heed("eval", "--model", folder, "--dataset", text_file, "--json", "--max_length", 48, "--attn_preset", "mps_pre28")
    assert plain.returncode == 0 and fixed.returncode == 0, fixed.stderr
    assert abs(json.loads(plain.stdout)["eval_loss"] - json.loads(fixed.stdout)["eval_loss"]) < 1e-5
    assert any("zero" in r["reason"] for r in json.loads(fixed.stdout)["attention"])
    broken = run_heed("eval", "--model", folder, "--dataset", text_file, "--max_length", 48, "--attn_preset", "mps_pre28",
                      "--disable_mps_fix")
    assert broken.returncode == 4, broken.stdout + broken.stderr
    assert "no visible key" in broken.stderr or "saw no key" in broken.stderr or "sees no key" in broken.stderr
    done = run_heed("eval", "--model", folder, "--dataset", text_file, "--max_length", 48, "--disable_mps_fix")
    sentence(done, 64, "--disable_mps_fix", "no effect")
