# SPDX-License-Identifier: Apache-2.0
"""Mixtures end to end, and data sets as they lie in the Hugging Face cache."""
import csv
import io
import json
import os
import shutil
import statistics
import struct

import pytest

from train_help import lines, sentence, timeless, weights

TEXTS = {
    "cats": [f"{i} the cat sat on mat {i * i % 97}." for i in range(60)],
    "dogs": [f"a dog barks {i * 7 % 31} times, {'really ' * (i % 3)}loud" for i in range(40)],
    "sums": [f"{i} + {i} = {2 * i}" for i in range(100)],
}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Three files, and what training holds out of each as a file of its own."""
    folder = tmp_path_factory.mktemp("texts")
    for name, documents in TEXTS.items():
        (folder / f"{name}.txt").write_text("\n\n".join(documents))
        held = -(-len(documents) * 5 // 100)
        (folder / f"{name}-held.txt").write_text("\n\n".join(documents[-held:]))
    return folder


def job(out, *more):
    return ["train", "--output_dir", out, "--max_length", 48, "--batch_size", 5, "--threads", 1, *more]


def test_mixture(run_heed, texts, tmp_path):
    out, cut = tmp_path / "run", tmp_path / "cut"
    names = [str(texts / f"{name}.txt") for name in TEXTS]
    options = ["--datasets", ",".join(names), "--mixture_rates", "0.5,0.2,0.3", "--max_steps", 44, "--learning_rate", "2e-3",
               "--eval_steps", 22, "--save_steps", 11]
    done = run_heed(*job(out, *options))
    assert done.returncode == 0, done.stderr
    data = json.loads((out / "run.json").read_text())["data"]
    assert data["rows"] == 57 + 38 + 95 and [m["rows"] for m in data["members"]] == [57, 38, 95]
    assert [m["rows_an_epoch"] for m in data["members"]] == [95, 38, 57] and data["name"] == "mixture"
    assert json.loads((out / "run.json").read_text())["steps_per_epoch"] == 38
    last = [m for m in lines(out) if "eval_loss" in m][-1]
    losses, sizes = [], []
    for name in TEXTS:
        alone = run_heed("eval", "--model", out / "checkpoints/final", "--dataset", texts / f"{name}-held.txt", "--json",
                         "--max_length", 48, "--batch_size", 5, "--threads", 1)
        alone = json.loads(alone.stdout)
        for key in ("eval_loss", "perplexity", "bits_per_byte"):
            assert abs(last[f"{key}/{name}.txt"] - alone[key]) < 1e-7, key    # --json prints nine digits
        losses.append(last[f"eval_loss/{name}.txt"])
        sizes.append(alone["scored_tokens"])
    mean = sum(a * b for a, b in zip(losses, sizes, strict=True)) / sum(sizes)
    assert abs(last["eval_loss"] - mean) < 1e-12 and last["scored_tokens"] == sum(sizes)
    assert abs(last["eval_loss_spread"] - (max(losses) - min(losses))) < 1e-12
    assert abs(last["eval_loss_deviation"] - statistics.pstdev(losses)) < 1e-12
    final = json.loads((out / "final_metrics.json").read_text())
    assert final["eval_loss_spread"] == last["eval_loss_spread"] and final["eval_loss/dogs.txt"] == losses[1]
    assert "3 members" in done.stdout and "  sums.txt: loss" in done.stdout and "mixture: " in done.stdout
    # Resumed it is the same run; with other rates it is refused.
    shutil.copytree(out, cut)
    for name in ("step-33", "step-44", "final"):
        shutil.rmtree(cut / "checkpoints" / name)
    done = run_heed(*job(cut, *options, "--resume_from_checkpoint", "latest"))
    assert done.returncode == 0, done.stderr
    assert timeless(cut) == timeless(out) and weights(cut / "checkpoints/final") == weights(out / "checkpoints/final")
    options[3] = "0.5,0.25,0.25"
    sentence(run_heed(*job(cut, *options, "--resume_from_checkpoint", "latest")), 64, "rates")


def test_two_of_one_name(run_heed, texts, tmp_path):
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other/cats.txt"
    twin.write_text((texts / "dogs.txt").read_text())
    done = run_heed(*job(tmp_path / "run", "--datasets", f"{texts / 'cats.txt'},{twin}", "--max_steps", 1))
    assert done.returncode == 0, done.stderr
    last = lines(tmp_path / "run")[-1]
    assert last[f"eval_loss/{texts / 'cats.txt'}"] > 0 and last[f"eval_loss/{twin}"] > 0


def test_formats_are_one_data_set(run_heed, texts, tmp_path):
    """The same documents in every format: the same run, to the last digit."""
    documents, runs = TEXTS["cats"] + ['with "quotes", commas\tand a tab', "two\nlines"], {}
    table = io.StringIO(newline="")
    csv.writer(table).writerows([["text", "n"], *([d, i] for i, d in enumerate(documents))])
    tabs = io.StringIO(newline="")
    csv.writer(tabs, delimiter="\t").writerows([["n", "text"], *([i, d] for i, d in enumerate(documents))])
    ids = [i for d in documents for i in [*d.encode(), 256]]
    files = {"txt": "\n\n".join(documents).encode(), "jsonl": records(documents).encode(), "json": records(documents).encode(),
             "csv": table.getvalue().encode(), "tsv": tabs.getvalue().encode(), "bin": struct.pack(f"<{len(ids)}H", *ids)}
    for ending, raw in files.items():
        path = tmp_path / f"data.{ending}"
        path.write_bytes(raw)
        done = run_heed(*job(tmp_path / ending, "--dataset", path, "--max_steps", 3))
        assert done.returncode == 0, done.stderr
        runs[ending] = timeless(tmp_path / ending)
    assert all(run == runs["txt"] for run in runs.values()), runs


def test_mixture_of_one_is_the_data_set(run_heed, texts, tmp_path):
    """Rates by rows: every row once an epoch. The demo and a file mix too."""
    out = tmp_path / "run"
    done = run_heed(*job(out, "--datasets", f"{texts / 'cats.txt'},{texts / 'sums.txt'}", "--num_train_epochs", 1))
    assert done.returncode == 0, done.stderr
    data = json.loads((out / "run.json").read_text())["data"]
    assert [m["rows_an_epoch"] for m in data["members"]] == [m["rows"] for m in data["members"]] == [57, 95]


BAD = [
    (["--datasets", "a.txt"], 64, ["--datasets", "one data set"]),
    (["--datasets", "a.txt,,b.txt"], 64, ["empty"]),
    (["--datasets", "a.txt,a.txt"], 64, ["twice"]),
    (["--datasets", "a.txt,b.txt", "--mixture_rates", "0.5,0.4"], 64, ["0.9", "1"]),
    (["--datasets", "a.txt,b.txt", "--mixture_rates", "0.5"], 64, ["1 rate,", "2"]),
    (["--datasets", "a.txt,b.txt", "--mixture_rates", "1.5,-0.5"], 64, ["-0.5"]),
    (["--datasets", "a.txt,b.txt", "--mixture_rates", "0.5,half"], 64, ["half"]),
    (["--datasets", "a.txt,b.txt", "--dataset_configs", "x"], 64, ["--dataset_configs", "1 names"]),
    (["--datasets", "a.txt,b.txt", "--dataset", "c.txt"], 64, ["--dataset", "no effect"]),
    (["--mixture_rates", "1"], 64, ["--mixture_rates", "no effect"]),
    (["--dataset_configs", "x"], 64, ["--dataset_configs", "no effect"]),
    (["--dataset_config", "x"], 64, ["--dataset_config", "no effect", "demo"]),
    (["--eval_split", "dev"], 64, ["--eval_split", "no effect"]),
    (["--datasets", "demo,b.txt", "--dataset_configs", "x,"], 64, ["--dataset_configs", "no effect", "demo"]),
    (["--dataset", "none/such"], 5, ["hf download --repo-type dataset none/such"]),
    (["--dataset", "a.parquet"], 3, ["a.parquet", "to_json"]),
]


@pytest.mark.parametrize("given, status, parts", BAD, ids=[" ".join(b[0]) for b in BAD])
def test_bad_options(run_heed, tmp_path, given, status, parts):
    done = run_heed(*job(tmp_path / "run", "--max_steps", 1, *given), env={**os.environ, "HF_HOME": str(tmp_path / "hf")})
    sentence(done, status, *parts)
    assert not (tmp_path / "run").exists()


# ---- the Hugging Face cache ----

def put(home, name, files, revision="0123456789abcdef0123456789abcdef01234567"):
    """A data set as huggingface_hub leaves it: blobs, and a snapshot of links."""
    root = home / "hub" / f"datasets--{name.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs/main").write_text(revision)
    (root / "blobs").mkdir()
    for number, (path, text) in enumerate(files.items()):
        (root / f"blobs/{number}").write_text(text)
        link = root / "snapshots" / revision / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(root / f"blobs/{number}", link.parent))
    return root / "snapshots" / revision


def records(documents):
    return "".join(json.dumps({"text": text}) + "\n" for text in documents)


def counts(folder):
    data = json.loads((folder / "run.json").read_text())["data"]
    return data["documents"], data["eval_rows"]


def test_cache(run_heed, tmp_path):
    home = tmp_path / "hf"
    environment = {**os.environ, "HF_HOME": str(home)}
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        environment.pop(name, None)
    cats, dogs, sums = TEXTS.values()
    snapshot = put(home, "some/animals", {
        "README.md": "# animals", "data/train-00000-of-00002.jsonl": records(cats[:30]),
        "data/train-00001-of-00002.jsonl": records(cats[30:]), "data/validation-00000-of-00001.jsonl": records(dogs[:4]),
        "data/test.csv": "text,n\n" + "".join(f"{t},1\n" for t in sums[:7]), "dataset_infos.json": "{}"})
    hub = pytest.importorskip("huggingface_hub")
    found = hub.snapshot_download("some/animals", repo_type="dataset", cache_dir=home / "hub", local_files_only=True)
    assert os.path.samefile(found, snapshot), "the layout is not huggingface_hub's"

    def run(name, *more, status=0):
        done = run_heed(*job(tmp_path / name, "--max_steps", 2, *more), env=environment)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    run("own", "--dataset", "some/animals")
    assert counts(tmp_path / "own") == (60, 4)
    for split, rows in (("test", 7), ("dev", 4), ("train", 60)):
        run(f"split-{split}", "--dataset", "some/animals", "--eval_split", split)
        assert counts(tmp_path / f"split-{split}") == (60, rows)
    done = run("none", "--dataset", "some/animals", "--eval_split", "secret", status=5)
    sentence(done, 5, "secret", "train, validation, test")
    done = run_heed("eval", "--model", tmp_path / "own/checkpoints/final", "--dataset", "some/animals", "--json", "--max_length",
                    48, env=environment)
    assert json.loads(done.stdout)["scored_tokens"] == sum(min(len(t), 47) for t in dogs[:4]), done
    run("folder", "--dataset", snapshot)
    assert counts(tmp_path / "folder") == (60, 4)
    run("judge", "--dataset", "demo", "--eval_dataset", "some/animals", "--eval_split", "test")
    assert counts(tmp_path / "judge") == (40000, 7)


def test_configurations(run_heed, tmp_path):
    home, (cats, dogs, sums) = tmp_path / "hf", TEXTS.values()
    environment = {**os.environ, "HF_HUB_CACHE": str(home / "hub")}
    put(home, "two", {"small/train.txt": "\n\n".join(cats[:20]), "small/valid.tsv": "text\n" + "\n".join(dogs[:3]),
                      "large/train/a.txt": "\n\n".join(cats), "large/train/b.txt": "\n\n".join(dogs)})
    put(home, "plain", {"everything.jsonl": records(sums)})
    put(home, "columns", {"train-0.parquet": "PAR1", "test.csv": "text\na"})

    def run(name, *more):
        return run_heed(*job(tmp_path / name, "--max_steps", 2, *more), env=environment)

    assert run("small", "--dataset", "two", "--dataset_config", "small").returncode == 0
    assert counts(tmp_path / "small") == (20, 3)
    assert run("large", "--dataset", "two", "--dataset_config", "large").returncode == 0
    assert counts(tmp_path / "large") == (95, 5), "no split of its own: the last 5 %"
    assert run("plain", "--dataset", "plain").returncode == 0
    assert counts(tmp_path / "plain") == (95, 5)
    done = run("mixture", "--datasets", "two,plain,two", "--dataset_configs", "small,,large", "--mixture_rates", "0.2,0.3,0.5")
    assert done.returncode == 0, done.stderr
    members = json.loads((tmp_path / "mixture/run.json").read_text())["data"]["members"]
    assert [m["name"] for m in members] == ["two:small", "plain", "two:large"]
    sentence(run("a", "--dataset", "two"), 5, "--dataset_config", "small", "large")
    sentence(run("a", "--dataset", "two", "--dataset_config", "medium"), 5, "medium", "small")
    sentence(run("a", "--dataset", "two", "--dataset_config", "../two"), 5, "no such folder")
    sentence(run("a", "--dataset", "columns"), 3, "columns", ".parquet", "not built yet")
    assert not (tmp_path / "a").exists()
