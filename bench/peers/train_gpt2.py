#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Training steps of GPT-2 124M: `heed train` beside transformers with PyTorch's SDPA, in turns, each in its own process.

    tools/venv.sh && .venv/bin/python bench/peers/train_gpt2.py [--threads 2] [--steps 6] [--rounds 2] [BxS ...]

Same shapes, f32, no dropout, AdamW (PyTorch's: fused), gradient norm clipped at 1 on both sides; weights are drawn from
GPT-2's initialisation. Speed is tokens a second of the median step after the first two; memory is the peak of the process.
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
VOCABULARY = 50257
WARM = 2    # steps that allocate and find their speed


def torch_side(rows, length, steps, threads):
    """Run in a process of its own: prints one number a step, seconds."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model = GPT2LMHeadModel(GPT2Config(resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, attn_implementation="sdpa", use_cache=False))
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    for _ in range(steps):
        begin = time.perf_counter()
        ids = torch.randint(0, VOCABULARY, (rows, length))
        model(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        print(time.perf_counter() - begin, flush=True)


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


def write_inputs(folder, tokens):
    """A vocabulary of GPT-2's size without merges, and text of random letters: one byte is one token."""
    byte = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letter = {b: chr(b) for b in byte}
    letter.update({b: chr(256 + n) for n, b in enumerate(b for b in range(256) if b not in letter)})
    words = [*letter.values(), *(f"unused{n}" for n in range(VOCABULARY - 257)), "<|endoftext|>"]
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(words)}))
    (tokenizer / "merges.txt").write_text("#version: 0.2\n")
    (folder / "text.txt").write_text("etaoin shrdlu " * (tokens // 14 + 1) + "\n")
    return tokenizer, folder / "text.txt"


def heed_side(heed, folder, rows, length, steps, threads, turn):
    tokenizer, text = folder / "tokenizer", folder / "text.txt"
    output = folder / f"run{turn}"
    _, peak = run([heed, "train", "--model", "gpt2-124m", "--from_scratch", "--tokenizer", tokenizer, "--dataset", text,
                   "--mode", "pretrain", "--use_packing", "--max_length", length, "--batch_size", rows, "--max_steps", steps,
                   "--learning_rate", "1e-4", "--logging_steps", 1, "--eval_strategy", "no", "--save_strategy", "no",
                   "--attn_implementation", "flash_attention_2", "--threads", threads, "--output_dir", output, "--quiet"],
                  dict(os.environ))
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [rows * length / line["tokens_per_second"] for line in lines if "tokens_per_second" in line], peak


def measure(heed, shape, options):
    rows, length = map(int, shape.split("x"))
    seconds, peak = {"heed": [], "PyTorch": []}, {"heed": 0, "PyTorch": 0}
    environment = dict(os.environ, OMP_NUM_THREADS=str(options.threads), TRANSFORMERS_VERBOSITY="error")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_inputs(folder, rows * length * (options.steps + 4))
        for turn in range(options.rounds):
            text, used = run([sys.executable, __file__, "--torch-side", shape, "--steps", str(options.steps),
                              "--threads", str(options.threads)], environment)
            times = [float(line) for line in text.split("\n") if line.replace(".", "", 1).isdigit()]
            seconds["PyTorch"] += times[WARM:]
            peak["PyTorch"] = max(peak["PyTorch"], used)
            times, used = heed_side(heed, folder, rows, length, options.steps, options.threads, turn)
            seconds["heed"] += times[WARM:]
            peak["heed"] = max(peak["heed"], used)
    tokens = {side: rows * length / statistics.median(times) for side, times in seconds.items()}
    best = {side: rows * length / min(times) for side, times in seconds.items()}
    row = {"shape": shape, "threads": options.threads, "tokens_per_second": tokens, "best_tokens_per_second": best,
           "ratio": tokens["heed"] / tokens["PyTorch"], "peak_bytes": peak, "steps": len(seconds["heed"])}
    print(f"B{rows} S{length:<5} {options.threads}T  heed {tokens['heed']:6.0f} tokens/s {peak['heed'] / 1e9:5.2f} GB   "
          f"PyTorch {tokens['PyTorch']:6.0f} tokens/s {peak['PyTorch'] / 1e9:5.2f} GB   ratio {row['ratio']:.2f} "
          f"(best step {best['heed'] / best['PyTorch']:.2f})", flush=True)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shapes", nargs="*", default=["1x1024", "8x128"], help="rows x tokens (default 1x1024 8x128)")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--steps", type=int, default=6, help=f"in each process; the first {WARM} are not counted")
    parser.add_argument("--rounds", type=int, default=2, help="processes of each side, in turns")
    parser.add_argument("--torch-side", metavar="BxS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.torch_side:
        rows, length = map(int, options.torch_side.split("x"))
        return torch_side(rows, length, options.steps, options.threads)
    if options.steps <= WARM:
        parser.error(f"--steps must be above {WARM}")
    build = ROOT / os.environ.get("HEED_BUILD", "build")
    rows = [measure(build / "heed", shape, options) for shape in options.shapes]
    print("written:", machine.write("train_gpt2", build, rows=rows))


if __name__ == "__main__":
    main()
