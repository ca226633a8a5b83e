# SPDX-License-Identifier: Apache-2.0
"""heed runs diff: what it calls a difference, the step where losses part, and run folders that are not whole."""
import json
import math
import os
import random
import re
import subprocess

import pytest

import runs_made as made


def diff(run_heed, *runs, status=None, **options):
    done = run_heed("runs", "diff", *runs, "--json", **options)
    assert status is None or done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


def names(rows):
    return [row["name"] for row in rows]


def test_equal_runs_do_not_differ(run_heed, tmp_path):
    """Another folder, another speed and an option of what is printed: no difference."""
    a = made.write(tmp_path / "a")
    b = made.write(tmp_path / "b", options={"quiet": True}, final={"seconds": 99.0, "tokens_per_second": 3.0})
    done = run_heed("runs", "diff", a, b)
    assert done.returncode == 0 and done.stderr == "", done.stdout + done.stderr
    assert done.stdout.startswith("comparable by attention: training and evaluation ran cpu.flash (preset heed)\n")
    assert "the same to the last bit at 40 steps in common" in done.stdout and "The runs do not differ." in done.stdout
    found = diff(run_heed, a, b, status=0)
    assert not found["differ"] and found["comparable_by_attention"] and found["options"] == [] and found["final"] == []
    assert set(names(found["speed"])) == {"seconds", "tokens_per_second"}


def test_attention_comes_first(run_heed, tmp_path):
    a = made.write(tmp_path / "a")
    for name, ran, known in (("eager", made.attention("cpu.eager", requested="eager"), False),
                             ("preset", made.attention(preset="torch"), False),
                             ("asked", made.attention(requested="cpu.flash"), True)):
        done = run_heed("runs", "diff", a, made.write(tmp_path / name, ran=ran))
        first = done.stdout.splitlines()[0]
        assert done.returncode == (0 if known else 1)
        assert first.startswith("comparable by attention, asked for" if known else "not comparable by attention: "), first
        assert "cpu.flash (preset heed)" in first and (known or "in a" in first)
    nan = made.attention(preset="mps_pre28", problem="b8 h4 q96 d32 causal pad:left empty:nan offset:top")
    safe = made.write(tmp_path / "safe", ran=made.attention(preset="mps_pre28"))
    done = run_heed("runs", "diff", safe, made.write(tmp_path / "unsafe", ran=nan))
    assert done.returncode == 1 and done.stdout.startswith("not comparable by attention: "), done.stdout
    assert "(preset mps_pre28) in safe" in done.stdout and "(preset mps_pre28, empty rows nan) in unsafe" in done.stdout
    half = made.attention() + made.attention("cpu.eager")
    found = diff(run_heed, a, made.write(tmp_path / "half", ran=half), status=1)
    assert found["comparable_by_attention"] is False and found["attention"][1]["training"]["actual"] == ["cpu.eager", "cpu.flash"]
    found = diff(run_heed, a, made.write(tmp_path / "none", ran=[]), status=0)
    assert found["comparable_by_attention"] is None and "not known" in found["verdict"]
    mixed = diff(run_heed, a, made.write(tmp_path / "turned", ran=half[::-1]), tmp_path / "half", status=1)
    assert mixed["attention"][1] == mixed["attention"][2], "the order of problems is no difference"


def test_options_machine_and_data(run_heed, tmp_path):
    a = made.write(tmp_path / "a", options={"learning_rate": 2e-3, "seed": 42})
    b = made.write(tmp_path / "b", options={"attn_preset": "torch"}, machine={"commit": "def", "cpu_features": ["avx2"]},
                   data={"hash": "00ff", "mixture": [{"name": "w", "rate": 0.5}]})
    found = diff(run_heed, a, b, status=1)
    rows = {row["name"]: row for row in found["options"]}
    assert set(rows) == {"learning_rate", "attn_preset"}
    assert rows["learning_rate"]["values"] == [2e-3, 1e-3] and rows["learning_rate"]["given"] == [True, False]
    assert names(found["machine"]) == ["commit", "cpu_features"]
    assert names(found["data"]) == ["hash", "mixture/w/name", "mixture/w/rate"]
    old = made.write(tmp_path / "old")
    run = json.loads((old / "run.json").read_text())
    del run["options"]["effective"]["attn_preset"], run["machine"]["heed_cpu"]    # an older version knew neither
    run["options"]["effective"]["max_steps"] = 100.0
    (old / "run.json").write_text(json.dumps(run))
    assert diff(run_heed, old, made.write(tmp_path / "now"), status=0)["options"] == []


def test_where_losses_part(run_heed, tmp_path):
    def bent(s):
        x = 5 * math.exp(-s / 30) + 0.01 * math.sin(7 * s)
        return x if s < 12 else math.nextafter(x, 9) if s < 25 else x * 1.5
    a, b = made.write(tmp_path / "a"), made.write(tmp_path / "b", metrics=made.lines(steps=30, loss=bent))
    found = diff(run_heed, a, b, status=1)
    loss = found["metrics"][0]
    assert loss["name"] == "loss" and loss["steps_in_common"] == 30
    assert loss["parts"]["step"] == 12 and loss["parts"]["values"][0] != loss["parts"]["values"][1]
    assert 0 < loss["parts"]["relative"] < 1e-15
    assert loss["beyond"]["step"] == 25 and loss["widest"]["step"] >= 25
    assert math.isclose(loss["beyond"]["relative"], 1 / 3)
    done = run_heed("runs", "diff", a, b, "--relative", "0.9")
    assert "; never beyond 0.9" in done.stdout and "parts at step 12: " in done.stdout
    shown = done.stdout.split("parts at step 12: ")[1].split(" (")[0].split(" and ")
    assert float(shown[0]) != float(shown[1]), "digits enough to show the difference"
    assert diff(run_heed, a, b, "--relative", "0")["metrics"][0]["beyond"]["step"] == 12
    found = diff(run_heed, a, made.write(tmp_path / "later", metrics=[{**m, "step": m["step"] + 1000} for m in made.lines()]))
    assert found["metrics"][0]["steps_in_common"] == 0


def test_truncated_is_named(run_heed, tmp_path):
    cut = [{**m, "truncated": True, "eval_loss": 9.0} if "eval_loss" in m else m for m in made.lines()]
    a, b = made.write(tmp_path / "a"), made.write(tmp_path / "b", metrics=cut, final={"truncated": True, "eval_loss": 9.0})
    out = run_heed("runs", "diff", a, b).stdout
    assert " and 9 (truncated)" in out and re.search(r"eval_loss +1\.25 +9 \(truncated\)\n", out)
    assert "1.25 (truncated)" not in out


def test_three_runs(run_heed, tmp_path):
    runs = [made.write(tmp_path / n, options={"seed": i}) for i, n in enumerate("abc")]
    found = diff(run_heed, *runs, status=1)
    assert [r["name"] for r in found["runs"]] == ["a", "b", "c"] and found["options"][0]["values"] == [0, 1, 2]
    out = run_heed("runs", "diff", *runs).stdout
    assert "loss                  b: the same" in out and "loss                  c: the same" in out
    twins = [made.write(tmp_path / d / "same") for d in ("x", "y")]
    assert [r["name"] for r in diff(run_heed, *twins, status=0)["runs"]] == list(map(str, twins))


def test_real_runs(run_heed, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(f"{i} a cat sat on mat {i * i % 97}" for i in range(40)))
    runs = {}
    for name, more in (("a", []), ("b", []), ("other", ["--attn_implementation", "eager", "--learning_rate", "1e-3"])):
        runs[name] = tmp_path / name
        done = run_heed("train", "--dataset", text, "--output_dir", runs[name], "--max_length", 32, "--batch_size", 4,
                        "--threads", 1, "--max_steps", 4, "--eval_steps", 2, "--save_strategy", "no", *more)
        assert done.returncode == 0, done.stderr
    assert not diff(run_heed, runs["a"], runs["b"], status=0)["differ"]
    found = diff(run_heed, runs["a"], runs["other"], status=1)
    assert found["comparable_by_attention"] is False
    assert set(names(found["options"])) == {"attn_implementation", "learning_rate"}
    assert "hash" in json.loads((runs["a"] / "run.json").read_text())["data"]


# ---- folders that are not whole ----

def sentence(done, *parts):
    assert done.returncode == 5 and len(done.stderr.strip().splitlines()) == 1, done.stdout + done.stderr
    assert done.stderr.startswith("heed runs diff: ") and all(p in done.stderr for p in parts), done.stderr


def test_no_run(run_heed, tmp_path):
    a = made.write(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    sentence(run_heed("runs", "diff", a, tmp_path / "nowhere"), "nowhere", "does not exist")
    sentence(run_heed("runs", "diff", a, tmp_path / "empty"), "empty", "holds no run")
    sentence(run_heed("runs", "diff", tmp_path / "file", a), "file", "is no folder")
    assert run_heed("runs", "diff", a).returncode == 64


def test_unfinished_and_resumed(run_heed, tmp_path):
    a, b = made.write(tmp_path / "a"), made.write(tmp_path / "b", final=False)
    with open(b / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 41, "lo')
    found = diff(run_heed, a, b, status=1)
    notes = found["runs"][1]["notes"]
    assert any("final_metrics.json does not exist" in n for n in notes) and any("line 45 has no end" in n for n in notes)
    assert found["final"][0] == {"name": "status", "values": ["done", "not finished"], "truncated": [False, False]}
    assert not found["runs"][1]["damaged"] and found["metrics"][0]["parts"] is None
    c = made.write(tmp_path / "c")
    run = json.loads((c / "run.json").read_text())
    run["resumed"] = [{"resumed_from": "c/checkpoints/step-5", "options": {"given": {}, "effective": {**made.OPTIONS, "seed": 9}}}]
    (c / "run.json").write_text(json.dumps(run))
    found = diff(run_heed, a, c, status=1)
    assert any("resumed 1 time, last from c/checkpoints/step-5" in n for n in found["runs"][1]["notes"])
    assert any("began with seed 42 and went on with 9" in n for n in found["runs"][1]["notes"])
    assert found["options"] == [{"name": "seed", "values": [42, 9], "given": [False, False]}]


BAD = {"empty": b"", "open": b"{", "list": b"[]", "object": b"{}", "number": b"7", "deep": b"[" * 100, "bytes": bytes(range(256)),
       "null": b"null", "wrong": b'{"options": 3, "machine": [], "resumed": {"0": 1}, "data": "x"}',
       "entries": b'[1, {"actual": 3}, []]'}


@pytest.mark.parametrize("file", ["run.json", "attention.json", "final_metrics.json"])
def test_damaged_json(run_heed, tmp_path, file):
    a, b = made.write(tmp_path / "a"), made.write(tmp_path / "b")
    for name, raw in BAD.items():
        (b / file).write_bytes(raw)
        done = run_heed("runs", "diff", a, b)
        assert done.returncode in (0, 1, 5), (name, done)
        is_list = name in ("list", "entries")
        broken = name in ("empty", "open", "number", "deep", "bytes", "null") or (file == "attention.json") != is_list
        if broken:
            assert f"b/{file}" in done.stdout and "line 1" in done.stdout and done.returncode in (1, 5), (name, done)
    (b / file).unlink()
    assert f"{file} does not exist" in run_heed("runs", "diff", a, b).stdout


def test_damaged_lines(run_heed, tmp_path):
    a, b = made.write(tmp_path / "a"), made.write(tmp_path / "b")
    lines = (b / "metrics.jsonl").read_text().splitlines(keepends=True)
    for bad, told in (("{\n", "line 4, column"), ("[1]\n", "line 4: an object"), ('{"loss": 3}\n', "line 4: no step"),
                      ('{"step": -1, "loss": 3}\n', "line 4: no step"), ("\x00\x01\n", "line 4, column"),
                      ('{"step": 1e9}\n', "line 4: no step")):
        (b / "metrics.jsonl").write_text("".join(lines[:3] + [bad] + lines[4:]))
        found = diff(run_heed, a, b, status=5)
        assert any(told in n and "left out" in n for n in found["runs"][1]["notes"]), found["runs"][1]["notes"]
        assert found["metrics"][0]["steps_in_common"] == 39 and found["runs"][1]["damaged"]
    (b / "metrics.jsonl").write_text("".join(lines[::-1]))
    found = diff(run_heed, a, b, status=0)
    assert any("out of order" in n for n in found["runs"][1]["notes"]) and found["metrics"][0]["parts"] is None
    (b / "metrics.jsonl").write_text("")
    assert any("is empty" in n for n in diff(run_heed, a, b, status=0)["runs"][1]["notes"])
    (b / "metrics.jsonl").write_text('{"step": 1, "loss": null, "x": 1e308, "y": {"z": 2, "s": "t"}, "loss2": true}\n')
    diff(run_heed, a, b, status=0)


def test_hostile_names(heed, tmp_path):
    """Control bytes of a folder or an option never reach the terminal; JSON stays UTF-8."""
    a = made.write(tmp_path / "a\x1b[31m</script>\n\"'")
    b = made.write(tmp_path / "b", options={"model": "\x1b]0;x\x07 & <b>" + "y" * 5000, "\x1b[2J\n": 3},
                   metrics=made.lines(**{"\x1b[32m": 4.0, "\u00e4" * 70: 1}))
    a_lines = (a / "metrics.jsonl").read_text().replace('"loss"', '"\\u001b[32m": 5, "loss"')
    (a / "metrics.jsonl").write_text(a_lines)
    os.rename(b, os.fsencode(tmp_path) + b"/b\xff\xfe")
    for more in ([], ["--json"]):
        done = subprocess.run([heed, "runs", "diff", os.fsencode(a), os.fsencode(tmp_path) + b"/b\xff\xfe",
                               *more], capture_output=True, timeout=60)
        assert done.returncode == 1 and done.stderr == b"", done.stderr
        assert not any(c < 32 and c != 10 for c in done.stdout) and b"b\\xff\\xfe" in done.stdout.replace(b"\\\\", b"\\")
        done.stdout.decode()
        if not more:
            assert max(map(len, done.stdout.splitlines())) < 400


def test_any_damage(run_heed, tmp_path):
    """Bytes changed, cut and doubled at random: an answer or a sentence, never a crash."""
    a, b = made.write(tmp_path / "a"), made.write(tmp_path / "b", metrics=made.lines(steps=6, every=3))
    files = [b / n for n in ("run.json", "attention.json", "metrics.jsonl", "final_metrics.json")]
    whole = {f: f.read_bytes() for f in files}
    for seed in range(120):
        draw = random.Random(seed)
        for f in files:
            raw = bytearray(whole[f])
            for _ in range(draw.randrange(0, 4)):
                at = draw.randrange(len(raw))
                kind = draw.randrange(4)
                if kind == 0:
                    raw[at] = draw.randrange(256)
                elif kind == 1:
                    del raw[at:at + draw.randrange(1, 40)]
                elif kind == 2:
                    raw[at:at] = raw[at:at + draw.randrange(1, 60)]
                else:
                    raw[at:at] = draw.choice([b"null", b"1e999", b"-1", b"[]", b"{}", b'"\\u0000"', b"9" * 30, b"true", b"\n"])
                if not raw:
                    raw = bytearray(b" ")
            f.write_bytes(raw)
        done = run_heed("runs", "diff", a, b, *draw.choice([[], ["--json"]]), errors="replace")
        assert done.returncode in (0, 1, 5), f"seed {seed}: {done.returncode} {done.stderr}"
        assert len(done.stderr.splitlines()) == (1 if done.returncode == 5 else 0), f"seed {seed}: {done.stderr}"
