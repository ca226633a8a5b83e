#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Training steps of GPT-2 124M: `heed train` beside transformers with PyTorch's SDPA, in turns, each in its own process.

    tools/venv.sh && .venv/bin/python bench/peers/train_gpt2.py [--bf16] [--threads 2] [--steps 6] [--rounds 2] [BxS ...]

f32, or with --bf16 heed's and torch.autocast's, weights f32 on both sides. The same weights, rows in the same order, no
dropout, AdamW (PyTorch's: fused), gradient norm clipped at 1: the losses of every step are compared, and a run whose losses
differ by more than its precision explains is an error. Speed is tokens a second of the median step after the first two;
memory is the peak of the process.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import machine

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "python"))
import train_rows    # noqa: E402  heed's rows and their order, written again

VOCABULARY = 50257
WARM = 2    # steps that allocate and find their speed


SEED, RATE = 42, 1e-4
AGREE = {"f32": 1e-3, "bf16": 1e-2}    # largest relative difference of two losses of one step


def prepare(folder):
    """Run in a process of its own: the weights both sides begin with."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel
    torch.manual_seed(1)
    GPT2LMHeadModel(GPT2Config(resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)).save_pretrained(pathlib.Path(folder) / "model")


def torch_side(folder, threads, bf16):
    """Run in a process of its own: prints seconds and loss of each step."""
    import torch
    from transformers import GPT2LMHeadModel
    torch.set_num_threads(threads)
    model = GPT2LMHeadModel.from_pretrained(folder / "model", attn_implementation="sdpa", use_cache=False)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)
    for rows in json.loads((folder / "rows.json").read_text()):
        ids = torch.tensor(rows)
        begin = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        print("step", time.perf_counter() - begin, loss.item(), flush=True)


def run(command, environment):
    """(output, peak bytes of that process alone)"""
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen([str(word) for word in command], stdout=out, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    if child.returncode:
        sys.exit(f"train_gpt2.py: {' '.join(map(str, command))} ended with {child.returncode}:\n{text[-2000:]}")
    return text, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def write_tokenizer(folder):
    """A vocabulary of GPT-2's size without merges: one byte is one token. Returns each byte's id."""
    byte = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letter = {b: chr(b) for b in byte}
    letter.update({b: chr(256 + n) for n, b in enumerate(b for b in range(256) if b not in letter)})
    words = [*letter.values(), *(f"unused{n}" for n in range(VOCABULARY - 257)), "<|endoftext|>"]
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(words)}))
    (tokenizer / "merges.txt").write_text("#version: 0.2\n")
    return [words.index(letter[b]) for b in range(256)]


def write_inputs(folder, rows, length, steps):
    """A tokenizer, text, and the rows heed makes of it."""
    token = write_tokenizer(folder)
    tokens = rows * length * (steps + 4)    # with the end of text whole rows: a short one would be a short step
    text = ("etaoin shrdlu " * (tokens // 14 + 1))[: tokens - 1]
    (folder / "text.txt").write_text(text + "\n")
    ids = [token[b] for b in text.encode()] + [VOCABULARY - 1]
    batches = train_rows.steps(train_rows.rows([ids], length, True), rows, SEED)
    (folder / "rows.json").write_text(json.dumps([[row[0] for row in next(batches)] for _ in range(steps)]))


def heed_side(heed, folder, rows, length, options, turn):
    output = folder / f"run{turn}"
    precision = "--bf16" if options.bf16 else "--fp32"
    _, peak = run([heed, "train", "--model", folder / "model", "--tokenizer", folder / "tokenizer", "--dataset",
                   folder / "text.txt", "--mode", "pretrain", "--use_packing", "--max_length", length, "--batch_size", rows,
                   "--max_steps", options.steps, "--learning_rate", RATE, "--lr_scheduler_type", "constant", "--seed", SEED,
                   "--logging_steps", 1, "--eval_strategy", "no", "--save_strategy", "no", "--attn_implementation",
                   "flash_attention_2", "--threads", options.threads, "--output_dir", output, "--quiet", precision],
                  dict(os.environ))
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [(rows * length / line["tokens_per_second"], line["loss"]) for line in lines if "tokens_per_second" in line], peak


def compare(ours, theirs, precision):
    worst = max(abs(x - y) / y for (_, x), (_, y) in zip(ours, theirs, strict=True))
    if not worst <= AGREE[precision]:
        sys.exit(f"train_gpt2.py: losses differ by {worst:.2g} of their value, allowed are {AGREE[precision]:g}:\n"
                 f"heed    {[loss for _, loss in ours]}\nPyTorch {[loss for _, loss in theirs]}")
    return worst


def measure(heed, shape, options):
    rows, length = map(int, shape.split("x"))
    precision = "bf16" if options.bf16 else "f32"
    seconds, peak, worst = {"heed": [], "PyTorch": []}, {"heed": 0, "PyTorch": 0}, 0.0
    environment = dict(os.environ, OMP_NUM_THREADS=str(options.threads), TRANSFORMERS_VERBOSITY="error")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_inputs(folder, rows, length, options.steps)
        run([sys.executable, __file__, "--prepare", name], environment)
        for turn in range(options.rounds):
            text, used = run([sys.executable, __file__, "--torch-side", name, "--threads", options.threads,
                              *(["--bf16"] if options.bf16 else [])], environment)
            theirs = [tuple(map(float, line.split()[1:])) for line in text.split("\n") if line.startswith("step ")]
            seconds["PyTorch"] += [t for t, _ in theirs[WARM:]]
            peak["PyTorch"] = max(peak["PyTorch"], used)
            ours, used = heed_side(heed, folder, rows, length, options, turn)
            seconds["heed"] += [t for t, _ in ours[WARM:]]
            peak["heed"] = max(peak["heed"], used)
            worst = max(worst, compare(ours, theirs, precision))
    tokens = {side: rows * length / statistics.median(times) for side, times in seconds.items()}
    best = {side: rows * length / min(times) for side, times in seconds.items()}
    row = {"shape": shape, "precision": precision, "threads": options.threads, "tokens_per_second": tokens,
           "best_tokens_per_second": best, "ratio": tokens["heed"] / tokens["PyTorch"], "peak_bytes": peak,
           "steps": len(seconds["heed"]), "largest_loss_difference": worst}
    print(f"B{rows} S{length:<5} {precision} {options.threads}T  "
          f"heed {tokens['heed']:6.0f} tokens/s {peak['heed'] / 1e9:5.2f} GB   "
          f"PyTorch {tokens['PyTorch']:6.0f} tokens/s {peak['PyTorch'] / 1e9:5.2f} GB   ratio {row['ratio']:.2f} "
          f"(best step {best['heed'] / best['PyTorch']:.2f}), losses agree to {worst:.1g}", flush=True)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shapes", nargs="*", default=["1x1024", "8x128"], help="rows x tokens (default 1x1024 8x128)")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--steps", type=int, default=6, help=f"in each process; the first {WARM} are not counted")
    parser.add_argument("--rounds", type=int, default=2, help="processes of each side, in turns")
    parser.add_argument("--bf16", action="store_true", help="bf16 products: heed --bf16, torch.autocast (default: f32)")
    parser.add_argument("--prepare", metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--torch-side", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prepare:
        return prepare(options.prepare)
    if options.torch_side:
        return torch_side(pathlib.Path(options.torch_side), options.threads, options.bf16)
    if options.steps <= WARM:
        parser.error(f"--steps must be above {WARM}")
    build = ROOT / os.environ.get("HEED_BUILD", "build")
    rows = [measure(build / "heed", shape, options) for shape in options.shapes]
    print("written:", machine.write("train_gpt2_bf16" if options.bf16 else "train_gpt2", build, rows=rows))


if __name__ == "__main__":
    main()
