# SPDX-License-Identifier: Apache-2.0
"""heed generate: tokens and sampling against transformers, independence of threads and neighbours, signals, NaN, real text."""
import json
import os
import pty
import re
import signal
import subprocess
import time

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors_torch = pytest.importorskip("safetensors.torch")

VOCABULARY, POSITIONS = 257, 90
PROMPTS = ["a", "the quick brown fox", "zzzz", "0123456789 0123456789 0123456789", "\u00e9t\u00e9", "x y z and so on"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random GPT-2 over bytes, and its tokenizer: what heed writes for a built-in size."""
    path = tmp_path_factory.mktemp("model") / "small"
    torch.manual_seed(11)
    config = transformers.GPT2Config(vocab_size=VOCABULARY, n_positions=POSITIONS, n_embd=48, n_layer=3, n_head=4, bos_token_id=256,
                                     eos_token_id=256, initializer_range=0.3)
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():    # so that texts are varied and some end
        model.transformer.wpe.weight.mul_(2)
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.add_(0.1 * torch.randn_like(p))
    model.save_pretrained(path)
    byte = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letter = {b: chr(b) for b in byte}
    letter.update({b: chr(256 + n) for n, b in enumerate(b for b in range(256) if b not in letter)})
    words = {letter[b]: b for b in range(256)}
    words["<|endoftext|>"] = 256
    (path / "vocab.json").write_text(json.dumps(words))
    (path / "merges.txt").write_text("#version: 0.2\n")
    return path


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    path = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    path.write_text("\n".join(PROMPTS) + "\n", encoding="utf-8")
    return path


def generate(run_heed, *arguments, status=0):
    done = run_heed("generate", "--json", *arguments)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def ids_of(result):
    return [s["ids"] for s in result["sequences"]]


# ---- tokens against transformers ----

def reference(folder, new, **options):
    """The same prompts in one left-padded batch; what follows each, ended by its first end of text."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).double().eval()
    ids = [list(p.encode()) for p in PROMPTS]
    width = max(map(len, ids))
    padded = torch.tensor([[256] * (width - len(i)) + i for i in ids])
    mask = torch.tensor([[0] * (width - len(i)) + [1] * len(i) for i in ids])
    out = model.generate(padded, attention_mask=mask, do_sample=False, max_new_tokens=new, pad_token_id=256, **options)
    rows = out[:, width:].tolist()
    return [row[:row.index(256) + 1] if 256 in row else row for row in rows]


@pytest.mark.parametrize("name", ["auto", "eager", "sdpa", "flash_attention_2", "flex_attention", "cpu.flash"])
def test_greedy_is_transformers(run_heed, folder, prompts, name):
    want = reference(folder, 50)
    got = generate(run_heed, "--model", folder, "--prompt_file", prompts, "--max_new_tokens", 50, "--attn_implementation", name)
    assert ids_of(got) == want
    assert {r["requested"] for r in got["attention"]} == {name}
    assert len({tuple(ids) for ids in want}) == len(want), "all texts are the same, so equality would prove little"
    for sequence, ids in zip(got["sequences"], want, strict=True):
        assert sequence["finish_reason"] == ("eos" if ids[-1] == 256 else "length")
        assert sequence["text"] == "".join(
            chr(b) if b < 0x80 else f"\\x{b:02x}" for b in ids if b != 256) or any(b >= 0xc2 for b in ids)


def test_repetition_penalty_is_transformers(run_heed, folder, prompts):
    want = reference(folder, 30, repetition_penalty=1.7)
    assert want != reference(folder, 30)
    assert ids_of(generate(run_heed, "--model", folder, "--prompt_file", prompts, "--max_new_tokens", 30,
                           "--repetition_penalty", "1.7")) == want


def test_an_end_of_text_ends_or_is_ignored(run_heed, folder, tmp_path):
    """A bias towards <|endoftext|> is not to be had in GPT-2's head: its row of the embedding is made large instead."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.transformer.ln_f.bias.copy_(model.transformer.wte.weight[256])    # the final norm leans towards it
    model.save_pretrained(tmp_path)
    for file in ("vocab.json", "merges.txt"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    got = generate(run_heed, "--model", tmp_path, "--prompt", "abc", "--max_new_tokens", 30)["sequences"][0]
    assert got["ids"][-1] == 256 and got["ids"].count(256) == 1 and got["finish_reason"] == "eos" and len(got["ids"]) < 30
    assert "endoftext" not in got["text"]
    longer = generate(run_heed, "--model", tmp_path, "--prompt", "abc", "--max_new_tokens", 30, "--ignore_eos")["sequences"][0]
    assert len(longer["ids"]) == 30 and longer["ids"][:len(got["ids"])] == got["ids"] and longer["finish_reason"] == "length"


# ---- sampling against transformers ----

def process(tool, tmp_path, logits, seen, penalty=1.0, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    safetensors_torch.save_file({"logits": logits, "seen": seen.to(torch.int32)}, str(tmp_path / "in.safetensors"))
    done = subprocess.run([str(tool("sample")), "process", tmp_path / "in.safetensors", tmp_path / "out.safetensors",
                           *map(str, (penalty, temperature, top_k, top_p, min_p))], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return safetensors_torch.load_file(str(tmp_path / "out.safetensors"))["logits"]


def processors(penalty=1.0, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    """In the order in which generate() of transformers applies them."""
    found = transformers.LogitsProcessorList()
    if penalty != 1:
        found.append(transformers.RepetitionPenaltyLogitsProcessor(penalty))
    if temperature != 1:
        found.append(transformers.TemperatureLogitsWarper(temperature))
    if top_k:
        found.append(transformers.TopKLogitsWarper(top_k))
    if top_p < 1:
        found.append(transformers.TopPLogitsWarper(top_p))
    if min_p:
        found.append(transformers.MinPLogitsWarper(min_p))
    return found


@pytest.mark.parametrize("options", [
    {}, {"temperature": 0.7}, {"top_k": 5}, {"top_k": 10000}, {"top_p": 0.9}, {"top_p": 0.3}, {"top_p": 1e-4}, {"min_p": 0.1},
    {"penalty": 1.3}, {"penalty": 0.8}, {"temperature": 1.7, "top_k": 40, "top_p": 0.95},
    {"penalty": 1.2, "temperature": 0.5, "top_k": 50, "top_p": 0.8, "min_p": 0.05}], ids=str)
def test_processors_are_transformers(tool, tmp_path, options):
    generator = torch.Generator().manual_seed(2)
    logits = 4 * torch.randn(60, 1000, generator=generator)
    logits[30:] = 3 * torch.randn(30, 1000, generator=generator).round()    # many equal ones
    seen = torch.randint(0, 1000, (60, 30), generator=generator)
    want = processors(**options)(seen, logits.clone())
    got = process(tool, tmp_path, logits, seen, **options)
    for row in range(60):
        keep, kept = want[row].isfinite(), got[row].isfinite()
        if row < 30 or "top_p" not in options:
            assert (keep ^ kept).sum() == 0, f"row {row}: {keep.sum()} are kept there, {kept.sum()} here"
            both = keep
        else:    # of equal logits at the edge, which ones go is the sort's accident there: as many, with the same values
            assert keep.sum() == kept.sum() and torch.equal(want[row][keep].sort()[0], got[row][kept].sort()[0]), f"row {row}"
            both = keep & kept
        assert torch.equal(got[row][both], want[row][both]), f"row {row}"
        p, q = (x[row].double().softmax(-1)[both] for x in (got, want))
        assert (p - q).abs().sum() < 1e-12


def test_samples_follow_the_distribution(run_heed, folder):
    """First tokens of many samples, against the probabilities transformers gives to that prompt."""
    count = 3000
    got = generate(run_heed, "--model", folder, "--prompt", "the quick", "--max_new_tokens", 1, "--temperature", "2.5",
                   "--top_k", 12, "--top_p", "0.9", "--num_return_sequences", count)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = torch.tensor([list(b"the quick")])
    with torch.no_grad():
        scores = processors(temperature=2.5, top_k=12, top_p=0.9)(ids, model(ids).logits[:, -1])
    probability = scores.softmax(-1)[0]
    assert (probability > 0.02).sum() > 2, "one token has it all, so a comparison would prove little"
    drawn = torch.bincount(torch.tensor([i[0] for i in ids_of(got)]), minlength=VOCABULARY) / count
    deviation = (probability * (1 - probability) / count).sqrt()
    assert ((drawn - probability).abs() <= 5 * deviation + 1e-9).all(), (drawn.topk(12), probability.topk(12))


@pytest.mark.parametrize("precision", [[], ["--bf16"]], ids=["f32", "bf16"])
def test_samples_do_not_depend_on_threads_or_neighbours(run_heed, folder, prompts, tmp_path, precision):
    options = ["--model", folder, "--temperature", "1.5", "--top_p", "0.95", "--max_new_tokens", 25, "--ignore_eos", *precision]
    whole = ids_of(generate(run_heed, *options, "--prompt_file", prompts, "--threads", 1))
    assert len({tuple(ids) for ids in whole}) == len(PROMPTS)
    for more in (["--threads", 2], ["--batch_size", 1], ["--batch_size", 2, "--threads", 2]):
        assert ids_of(generate(run_heed, *options, "--prompt_file", prompts, *more)) == whole, more
    first = tmp_path / "first.txt"
    first.write_text("\n".join(PROMPTS[:2]) + "\n", encoding="utf-8")
    assert ids_of(generate(run_heed, *options, "--prompt_file", first)) == whole[:2]
    several = ids_of(generate(run_heed, *options, "--prompt_file", first, "--num_return_sequences", 3))
    assert [several[0], several[3]] == whole[:2] and len({tuple(ids) for ids in several}) == 6
    assert ids_of(generate(run_heed, *options, "--prompt_file", prompts, "--seed", 43)) != whole


# ---- text ----

def test_stop_text(run_heed, folder):
    options = ["--model", folder, "--prompt", "abc", "--max_new_tokens", 80, "--ignore_eos", "--temperature", 4]
    whole = generate(run_heed, *options)["sequences"][0]["ids"]
    pairs = [bytes(whole[at:at + 2]) for at in range(10, 70) if max(whole[at:at + 2]) < 0x7f and min(whole[at:at + 2]) > 0x2e]
    for stop in pairs[:3]:
        got = generate(run_heed, *options, "--stop", stop.decode())["sequences"][0]
        assert got["finish_reason"] == "stop" and stop.decode() not in got["text"]
        assert whole[:len(got["ids"])] == got["ids"] and bytes(got["ids"][-2:]) == stop
    assert pairs, "no two letters in a row to stop at"


def test_text_comes_as_bytes(heed, folder):
    """stdout holds exactly the prompt, the bytes of the ids, and a newline: invalid UTF-8 too."""
    arguments = [str(heed), "generate", "--model", str(folder), "--prompt", "abc", "--max_new_tokens", "60", "--ignore_eos"]
    ids = json.loads(subprocess.run([*arguments, "--json"], capture_output=True, check=True).stdout)["sequences"][0]["ids"]
    assert any(b >= 0x80 for b in ids)
    out = subprocess.run(arguments, capture_output=True, check=True).stdout
    assert out == b"abc" + bytes(b for b in ids if b != 256) + b"\n"


@pytest.fixture(scope="module")
def much(tmp_path_factory):
    """A job of a minute: many prompts for a small model."""
    path = tmp_path_factory.mktemp("much") / "prompts.txt"
    path.write_text("hello\n" * 4000)
    return ["generate", "--model", "gpt2-nano", "--prompt_file", str(path), "--max_new_tokens", "240", "--ignore_eos",
            "--threads", "1"]


def wait_until_watching(child):
    """Until the process has blocked SIGINT, which it then waits for."""
    begun = time.monotonic()
    while time.monotonic() - begun < 60:
        with open(f"/proc/{child.pid}/status", encoding="ascii") as file:
            if int(re.search(r"^SigBlk:\s*(\w+)", file.read(), re.M).group(1), 16) & 1 << signal.SIGINT - 1:
                return
        time.sleep(0.05)
    pytest.fail("SIGINT is not watched for")


def test_text_streams_and_ctrl_c_ends_it(heed, much):
    """On a terminal text arrives long before the end; SIGINT ends with 130 after what there is."""
    master, slave = pty.openpty()
    child = subprocess.Popen([str(heed), *much], stdout=slave, stderr=subprocess.PIPE)
    os.close(slave)
    text, begun = b"", time.monotonic()
    while len(text) < 3000 and time.monotonic() - begun < 60:
        text += os.read(master, 1000)
    child.send_signal(signal.SIGINT)
    drained = []
    try:
        while more := os.read(master, 1000):    # a terminal that nobody reads holds up who writes to it
            drained.append(more)
    except OSError:    # the other side is closed
        pass
    _, error = child.communicate(timeout=60)
    os.close(master)
    assert b"--- prompt 1\r\n" in text and b"hello" in text
    assert child.returncode == 130, error
    lines = error.decode().splitlines()
    assert lines[-1] == "heed generate: ended by signal 2"
    assert int(re.search(r"decode +(\d+) tokens", error.decode()).group(1)) < 4000 * 239


def test_ctrl_c_with_json_is_still_json(heed, much):
    child = subprocess.Popen([str(heed), *much, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until_watching(child)
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    out, error = child.communicate(timeout=60)
    assert child.returncode == 130 and error.decode() == "heed generate: ended by signal 2\n"
    reasons = [s["finish_reason"] for s in json.loads(out)["sequences"]]
    assert len(reasons) == 4000 and reasons[-1] == "interrupted" and set(reasons) <= {"length", "interrupted"}


def test_a_reader_that_leaves_ends_it(heed, much):
    child = subprocess.Popen([str(heed), *much, "--quiet"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.read(10)
    child.stdout.close()
    assert child.wait(timeout=60) == 0, child.stderr.read()
    child.stderr.close()


def test_nan_names_its_origin(run_heed, folder, tmp_path):
    for name, value, where in (("transformer.h.1.mlp.c_fc.weight", float("nan"), "layer 1, operation mlp in"),
                               ("transformer.wte.weight", float("inf"), "a logit at position 2")):
        model = transformers.AutoModelForCausalLM.from_pretrained(folder)
        with torch.no_grad():
            dict(model.named_parameters())[name][7, 3] = value
        model.save_pretrained(tmp_path)
        for file in ("vocab.json", "merges.txt"):
            (tmp_path / file).write_bytes((folder / file).read_bytes())
        done = run_heed("generate", "--model", tmp_path, "--prompt", "abc", "--quiet")
        assert done.returncode == 4, done.stderr
        assert done.stderr.startswith("heed generate: prompt 1: ") and where in done.stderr, done.stderr
        found = generate(run_heed, "--model", tmp_path, "--prompt", "abc", status=4)["non_finite"]
        assert found["layer"] == (1 if "layer" in where else -1) and found["parameter"] == name


def test_what_training_learns_is_generated(run_heed, tmp_path):
    """Some seconds of a tiny language: after a name comes what always follows it."""
    corpus = tmp_path / "text.txt"
    corpus.write_text("\n\n".join(f"the {a} says {b}." for _ in range(60) for a, b in
                                  (("cat", "meow"), ("dog", "woof"), ("cow", "moo"), ("duck", "quack"))) + "\n")
    done = run_heed("train", "--dataset", corpus, "--output_dir", tmp_path / "run", "--max_length", 24, "--batch_size", 16,
                    "--max_steps", 90, "--learning_rate", "3e-3", "--eval_strategy", "no", "--quiet")
    assert done.returncode == 0, done.stderr
    questions = tmp_path / "questions.txt"
    questions.write_text("the cat says\nthe dog says\nthe cow says\nthe duck says\n")
    got = generate(run_heed, "--model", tmp_path / "run/checkpoints/final", "--prompt_file", questions)
    assert [s["text"] for s in got["sequences"]] == [" meow.", " woof.", " moo.", " quack."]
    assert all(s["finish_reason"] == "eos" for s in got["sequences"])
