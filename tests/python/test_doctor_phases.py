# SPDX-License-Identifier: Apache-2.0
"""heed doctor phases: implementations pass everything; conventions fail where they are known to differ, by the names of why."""
import json

import pytest


@pytest.fixture
def phases(run_heed):
    def run(*arguments):
        done = run_heed("doctor", "phases", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    return run


def failed(told):
    return {row["what"]: row for row in told["rows"] if row["result"] == "FAIL"}


def explanations(row):
    return [e["ids"] for e in row["verdict"]["explanations"]]


@pytest.mark.parametrize("implementation, only", [
    ("cpu.flash", None), ("cpu.eager", "1"), ("cpu.eager", "gradient of every parameter"), ("cpu.eager", "logits"), ("ref", "3"),
])
def test_implementations_pass(phases, implementation, only):
    told = phases("--impl", implementation, *(["--only", only] if only else []))
    assert failed(told) == {} and told["refused"] == 0 and told["passed"] == len(told["rows"]) > 0
    if only is None:
        assert {row["phase"] for row in told["rows"]} == {1, 2, 3, 4} and len(told["rows"]) > 170
        assert len({(row["what"], row["problem"]) for row in told["rows"]}) == len(told["rows"])


def test_instruction_sets(phases):
    told = phases("--cpu", "scalar", "--only", "1", "--seed", "9")
    assert told["failed"] == 0 and told["cpu"] == "scalar" and told["seed"] == 9 and told["implementation"].startswith("cpu.")


def test_a_finite_minimum(phases):
    """Empty rows become the mean, and that is all it does otherwise."""
    told = phases("--impl", "hf_eager", "--only", "3")
    assert "empty rows are zero" in failed(told)
    assert set(failed(told)) <= {"empty rows are zero", "empty rows are NaN, where asked", "empty rows are the mean of the past",
                                 "rows before the first key"}
    assert explanations(failed(told)["empty rows are zero"]) == [["empty.mean"]]
    told = phases("--impl", "hf_eager", "--only", "1")
    assert set(failed(told)) == {"scores: bias alone"} and explanations(failed(told)["scores: bias alone"]) == [["empty.mean"]]
    assert failed(told)["scores: bias alone"]["command"] == \
        'heed doctor phases --impl hf_eager --only "scores: bias alone" --seed 42'


def test_rows_aligned_at_the_first_key(phases):
    told = phases("--impl", "torch_pre25", "--only", "1")
    wrong = failed(told)
    assert {"masks: causal", "masks: prefix", "masks: window to the left", "scores: bias alone"} <= set(wrong)
    assert ["causal.top_left"] in explanations(wrong["masks: causal"])
    assert wrong["scores: bias alone"]["verdict"]["verdict"] == "NAN"
    right = {row["what"] for row in told["rows"] if row["result"] == "pass"}
    assert {"softmax: of the scores", "value product: the mean", "masks: causal, the first rows aligned", "masks: none"} <= right


def test_the_old_operator(phases, run_heed):
    told = phases("--impl", "mps_pre28", "--only", "logits, left padding")
    assert set(failed(told)) == {"logits, left padding"} and "not finite" in failed(told)["logits, left padding"]["reason"]
    row = failed(phases("--impl", "mps_pre28", "--only", "empty rows are zero"))["empty rows are zero"]
    assert ["nan.empty_row"] in explanations(row)
    command = 'heed compare ref mps_pre28 --problem "b2 h2 q30 d16 causal pad:left offset:top seed:42"'
    assert row["command"] == command
    again = run_heed("compare", "ref", "mps_pre28", "--problem", command.split('"')[1], "--json")
    assert again.returncode == 1 and json.loads(again.stdout)["verdict"] == "NAN"


def test_for_people(run_heed):
    done = run_heed("doctor", "phases", "--impl", "hf_eager", "--only", "empty rows are zero")
    assert done.returncode == 0 and "SEMANTIC: empty.mean" in done.stdout
    assert "explained by empty.mean: " in done.stdout and done.stdout.endswith("0 passed, 1 failed, 0 refused\n")


@pytest.mark.parametrize("arguments, words", [
    (["--only", "nothing"], '--only "nothing" is neither a phase'), (["--impl", "cpu.flahs"], "the nearest is cpu.flash"),
    (["--cpu", "avx1024"], "no known instruction set"), (["--impl", "theirs.npz"], "is a file"), (["more"], "takes nothing else"),
    (["--prompt", "x"], "--prompt has no effect here"),
])
def test_usage(run_heed, arguments, words):
    done = run_heed("doctor", "phases", *arguments)
    assert done.returncode == 64 and words in done.stderr and len(done.stderr.splitlines()) == 1
