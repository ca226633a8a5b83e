#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Generation by GPT-2 124M: `heed generate` beside transformers' generate (SDPA, dynamic cache), in turns, in own processes.

    tools/venv.sh && .venv/bin/python bench/peers/generate_gpt2.py [--threads 1,2] [--rounds 3] [PROMPTxSEQUENCES ...]

The same random weights, the same prompts, greedy, f32. The tokens are compared before anything counts. Decode is tokens a
second after the first, prefill up to it. Prefill is by the wall; so is decode with several threads, with one it is by the
processor's time (of heed's whole process, with one new token and with all). A step reads every weight but the position table
once, whatever the number of sequences, and each sequence's keys and values: those bytes a second are held against a plain read
of memory by one thread (`heed doctor machine`).
"""
import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import machine
import train_gpt2

ROOT = pathlib.Path(__file__).resolve().parents[2]
NEW = 64    # tokens after the prompt
LAYERS, WIDTH = 12, 768    # of GPT2Config()
LETTERS = "abcdefghijklmnopqrstuvwxyz ,."


def save_model(folder):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel
    torch.manual_seed(1)
    model = GPT2LMHeadModel(GPT2Config())
    model.save_pretrained(folder / "model")
    return 4 * sum(p.numel() for n, p in model.named_parameters() if "wpe" not in n)


def torch_side(model, threads):
    """Prompts' ids as JSON on stdin; prints the new ids, seconds to the first, seconds after it."""
    import torch
    from transformers import AutoModelForCausalLM
    torch.set_num_threads(threads)
    now = time.process_time if threads == 1 else time.perf_counter
    ids = torch.tensor(json.load(sys.stdin))
    net = AutoModelForCausalLM.from_pretrained(model, attn_implementation="sdpa", dtype=torch.float32).eval()

    class Clock:
        """What generate() calls with the prompt, then after every step."""
        def __init__(self):
            self.times = []

        def __call__(self, input_ids, scores):
            self.times.append((time.perf_counter(), now()))
            return scores

    def run(new):
        clock, begun = Clock(), time.perf_counter()
        with torch.inference_mode():
            out = net.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new, min_new_tokens=new,
                               pad_token_id=50256, logits_processor=[clock])
        return out[:, ids.shape[1]:].tolist(), clock.times[0][0] - begun, now() - clock.times[0][1]

    run(4)
    new, prefill, decode = run(NEW)
    json.dump({"ids": new, "prefill": prefill, "decode": decode}, sys.stdout)


def ask_torch(folder, prompt_ids, threads):
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), TRANSFORMERS_VERBOSITY="error", HF_HUB_OFFLINE="1")
    done = subprocess.run([sys.executable, __file__, "--torch-side", str(folder / "model"), "--threads", str(threads)],
                          input=json.dumps(prompt_ids), capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"generate_gpt2.py: transformers' side ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout[done.stdout.index("{"):])


def run_heed(heed, folder, prompts, new, threads):
    """(what it prints, the process's own seconds)"""
    command = [heed, "generate", "--model", folder / "model", "--tokenizer", folder / "tokenizer", "--prompt_file", prompts,
               "--max_new_tokens", new, "--ignore_eos", "--threads", threads, "--json"]
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen([*map(str, command)], stdout=out)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    if child.returncode:
        sys.exit(f"generate_gpt2.py: heed ended with {child.returncode}: {text[-2000:]}")
    return json.loads(text), usage.ru_utime + usage.ru_stime


def ask_heed(heed, folder, prompts, threads):
    got, whole = run_heed(heed, folder, prompts, NEW, threads)
    answer = {"prompts": [s["prompt_ids"] for s in got["sequences"]], "ids": [s["ids"] for s in got["sequences"]],
              "actual": sorted({a["actual"] for a in got["attention"]}),
              "prefill": got["prefill_tokens"] / got["prefill_tokens_per_second"]}
    if threads == 1:
        answer["decode"] = whole - run_heed(heed, folder, prompts, 1, threads)[1]
    else:
        answer["decode"] = got["decode_tokens"] / got["decode_tokens_per_second"]
    return answer


def measure(heed, folder, shape, threads, rounds, weight_bytes):
    context, sequences = map(int, shape.split("x"))
    draw = random.Random(5)
    prompts = folder / f"prompts-{shape}.txt"
    prompts.write_text("".join("".join(draw.choice(LETTERS) for _ in range(context)) + "\n" for _ in range(sequences)))
    seconds = {side: {"decode": [], "prefill": []} for side in ("heed", "transformers")}
    for _ in range(rounds):
        ours = ask_heed(heed, folder, prompts, threads)
        peer = ask_torch(folder, ours["prompts"], threads)
        assert all(len(i) == context for i in ours["prompts"])
        if peer["ids"] != ours["ids"]:
            sys.exit(f"generate_gpt2.py: {shape}: the two sides chose different tokens")
        for side, answer in (("heed", ours), ("transformers", peer)):
            for what in ("decode", "prefill"):
                seconds[side][what].append(answer[what])
    tokens = {"decode": sequences * (NEW - 1), "prefill": sequences * context}
    best = {side: {what: tokens[what] / min(times) for what, times in both.items()} for side, both in seconds.items()}
    cache_bytes = sequences * (context + NEW / 2) * 2 * LAYERS * WIDTH * 4
    rate = {side: (weight_bytes + cache_bytes) * b["decode"] / sequences for side, b in best.items()}
    row = {"prompt": context, "sequences": sequences, "threads": threads, "tokens_per_second": best,
           "decode_bytes_per_second": rate, "actual": ours["actual"],
           "ratio": {what: best["heed"][what] / best["transformers"][what] for what in tokens}}
    print(f"prompt {context:<4} x {sequences} {threads}T  decode: heed {best['heed']['decode']:6.1f} tokens/s "
          f"({rate['heed'] / 1e9:4.1f} GB/s)  transformers {best['transformers']['decode']:6.1f} "
          f"({rate['transformers'] / 1e9:4.1f} GB/s)  ratio {row['ratio']['decode']:.2f}   "
          f"prefill {best['heed']['prefill']:6.0f} / {best['transformers']['prefill']:6.0f}", flush=True)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shapes", nargs="*", default=["16x1", "960x1", "16x8"], help="prompt x sequences (16x1 960x1 16x8)")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side, in turns; the best counts")
    parser.add_argument("--torch-side", metavar="MODEL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.torch_side:
        return torch_side(options.torch_side, int(options.threads))
    build = ROOT / os.environ.get("HEED_BUILD", "build")
    about = json.loads(subprocess.run([build / "heed", "doctor", "machine", "--json"], capture_output=True, check=True).stdout)
    read = about["read_bytes_per_s"]
    print(f"plain read of memory by one thread: {read / 1e9:.1f} GB/s", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        train_gpt2.write_tokenizer(folder)
        weight_bytes = save_model(folder)
        rows = [measure(build / "heed", folder, shape, threads, options.rounds, weight_bytes)
                for threads in map(int, options.threads.split(",")) for shape in options.shapes]
    print("written:", machine.write("generate_gpt2", build, read_bytes_per_second=read, weight_bytes=weight_bytes, rows=rows))


if __name__ == "__main__":
    main()
