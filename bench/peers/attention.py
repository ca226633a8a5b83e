#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Attention of libheed beside PyTorch's, in one process: same data, results compared first, then timed in turns.

    tools/venv.sh && .venv/bin/python bench/peers/attention.py [--threads 1,2] [--flex] [--quick] ["PROBLEM TEXT" ...]

Ratios are PyTorch's time over heed's: above 1, heed is faster. docs/bench.md says how to read the table.
"""
import argparse
import os
import pathlib
import re
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/python"))

import heed_ctypes as h    # noqa: E402
import machine             # noqa: E402
import torch               # noqa: E402
import torch.nn.functional as F    # noqa: E402

PROBLEMS = [f"b1 h12 q{s} d{d} {dtype}{mask}{grad}" for grad in ("", " grad") for dtype in ("f32", "bf16")
            for s, d in ((1024, 64), (1024, 128)) for mask in ("", " causal")] + [
            "b1 h12 q4096 d64 f32 causal window:256", "b1 h32/8 q1 k8192 d128 f32 causal"]
QUICK = ["b1 h12 q1024 d64 f32", "b1 h12 q1024 d64 f32 causal", "b1 h12 q1024 d64 f32 causal grad"]
TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
KNOWN = {"causal", "grad", "causal:top", *TYPES}
NUMBERED = re.compile(r"(b|h|q|k|d)[0-9]+(/[0-9]+)?|window:[0-9]+|dropout:[0-9.]+|seed:[0-9]+")
SETTLE = 0.003     # seconds: PyTorch's workers spin for about 2 ms after a call


class Problem:
    """A problem text with its tensors, and each side's call as a function of nothing."""
    def __init__(self, library, text, threads):
        self.text, self.threads = text, threads
        self.problem = h.parse(library, text)
        p = self.problem
        self.b, self.hq, self.sq, self.d = p.batch, p.heads, p.queries, p.channels
        self.hkv, self.skv, self.dv = p.kv_heads or p.heads, p.keys or p.queries, p.value_channels or p.channels
        words = text.split()
        self.causal, self.grad = any(w.startswith("causal") for w in words), "grad" in words
        self.dropout = p.dropout
        self.window = next((int(w[7:]) for w in words if w.startswith("window:") and w[7:].isdigit()), None)
        strange = [w for w in words if w not in KNOWN and not NUMBERED.fullmatch(w)]
        if strange:
            sys.exit(f"attention.py: '{text}': PyTorch's side of '{strange[0]}' is not written; "
                     f"known: {' '.join(sorted(KNOWN))} window:N dropout:P seed:N")
        self.dtype = next((t for name, t in TYPES.items() if name in words), torch.float32)
        torch.manual_seed(1)
        shapes = [(self.hq, self.sq, self.d), (self.hkv, self.skv, self.d), (self.hkv, self.skv, self.dv)]
        shapes.append((self.hq, self.sq, self.dv))
        self.q, self.k, self.v, self.dout = (torch.randn(self.b, *shape).to(self.dtype) for shape in shapes)
        i, j = torch.arange(self.sq)[:, None] + (0 if "causal:top" in words else self.skv - self.sq), torch.arange(self.skv)[None]
        self.see = (j <= i if self.causal else torch.ones(self.sq, self.skv, dtype=torch.bool))
        if self.window is not None:
            self.see = self.see & (j >= i - self.window)
        # 4 flop a channel (2 each for q.k and w.v) and visible score; backward 10.
        self.gflop = (5 if self.grad else 2) * (self.d + self.dv) * self.b * self.hq * self.see.sum().item() / 1e9

    def heed(self, library, implementation):
        p = self.problem
        out, lse = torch.zeros(self.b, self.hq, self.sq, self.dv, dtype=self.dtype), torch.zeros(self.b, self.hq, self.sq)
        grads = [torch.zeros_like(x) for x in (self.q, self.k, self.v)]
        args = h.Args(**{n: x.data_ptr() for n, x in zip(("q", "k", "v", "dout", "out", "lse", "dq", "dk", "dv"),
                                                        (self.q, self.k, self.v, self.dout, out, lse, *grads))})
        p.pass_ = h.FORWARD
        plan = h.Plan(library, p, implementation, self.threads)
        plan.run(args)
        if self.grad:
            p.pass_ = h.BACKWARD
            plan = h.Plan(library, p, implementation, self.threads)
        plan.memory_of_args = (out, lse, grads)    # args holds addresses only
        return plan.implementation, lambda: plan.run(args), (lambda: grads) if self.grad else (lambda: [out])

    def torch(self, function):
        leaves = [x.detach().clone().requires_grad_(self.grad) for x in (self.q, self.k, self.v)]
        if not self.grad:
            keep = []
            return lambda: keep.__setitem__(slice(None), [function(*leaves)]), lambda: keep
        out, keep = function(*leaves), []
        grads = lambda: torch.autograd.grad(out, leaves, self.dout, retain_graph=True)    # noqa: E731
        return lambda: keep.__setitem__(slice(None), grads()), lambda: keep


def sdpa(problem):
    square = problem.sq == problem.skv
    plain = problem.window is None and (square or not problem.causal)
    mask = None if plain or problem.sq == 1 and problem.window is None else problem.see
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=problem.dropout,
                                                          is_causal=plain and problem.causal,
                                                          enable_gqa=problem.hq != problem.hkv)


def eager(problem):
    hidden = ~problem.see
    group = problem.hq // problem.hkv

    def attend(q, k, v):
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        x = q @ k.transpose(-1, -2) / problem.d ** 0.5
        weights = torch.softmax(x.masked_fill(hidden, -torch.inf), -1, dtype=torch.float32).to(v.dtype)
        return F.dropout(weights, problem.dropout) @ v
    return attend


def flex(problem):
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    see = problem.see
    block = create_block_mask(lambda b, h, i, j: see[i, j], None, None, problem.sq, problem.skv, device="cpu")
    compiled = torch.compile(flex_attention)
    return lambda q, k, v: compiled(q, k, v, block_mask=block, enable_gqa=problem.hq != problem.hkv)


def clock(threads):
    """One thread: its own CPU time, which neighbours on the machine disturb least. Several: the wall."""
    return time.thread_time if threads == 1 else time.perf_counter


def in_turns(calls, threads, seconds):
    """Best time of each call, taken in turns."""
    now, best, rounds = clock(threads), {name: float("inf") for name in calls}, 0
    until = time.monotonic() + seconds * len(calls)
    while rounds < 3 or (time.monotonic() < until and rounds < 200):
        for name, call in calls.items():
            time.sleep(SETTLE)
            begin = now()
            call()
            best[name] = min(best[name], now() - begin)
        rounds += 1
    return best, rounds


def measure(library, text, threads, seconds, with_flex):
    problem = Problem(library, text, threads)
    implementation, run, result = problem.heed(library, None)
    run()
    calls, want = {"heed": run}, [x.float() for x in result()]
    for name, peer in (("sdpa", sdpa), ("eager", eager), ("flex", flex)):
        if name == "flex" and (not with_flex or problem.grad or problem.dropout):    # has neither on a CPU
            continue
        try:
            call, theirs = problem.torch(peer(problem))
            call()
        except Exception as error:
            print(f"  {name}: cannot run {text}: {str(error).splitlines()[0][:100]}")
            continue
        for a, b in zip(want, theirs() if problem.dropout == 0 else ()):    # each side drops other weights
            share = {torch.bfloat16: 3e-2, torch.float16: 4e-3, torch.float32: 2e-4}[problem.dtype]
            allowed = share * max(1.0, a.abs().max().item())
            far = (a - b.float()).abs().max().item()
            if not far <= allowed:
                sys.exit(f"attention.py: {text}: heed and {name} differ by {far:.3g}, allowed {allowed:.3g}: not timed")
        calls[name] = call
    best, rounds = in_turns(calls, threads, seconds)
    row = {"problem": text, "threads": threads, "implementation": implementation, "rounds": rounds, "gflop": problem.gflop,
           "ms": {name: 1e3 * t for name, t in best.items()},
           "ratio": {name: t / best["heed"] for name, t in best.items() if name != "heed"}}
    ratios = "  ".join(f"{n} {1e3 * best[n]:8.2f} ms = {r:5.2f}x" for n, r in row["ratio"].items())
    speed = problem.gflop / best["heed"]
    print(f"{text:44} {threads}T  {implementation:10} {1e3 * best['heed']:8.2f} ms {speed:6.0f} GF/s  {ratios}", flush=True)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problems", nargs="*", help="problem texts (default: a list of f32 and bf16, forward and backward)")
    parser.add_argument("--threads", default="1,2" if (os.cpu_count() or 1) > 1 else "1", help="such as 1,2")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each side of each problem")
    parser.add_argument("--flex", action="store_true", help="FlexAttention too, compiled (a minute each)")
    parser.add_argument("--quick", action="store_true", help="three problems")
    options = parser.parse_args()
    build = ROOT / os.environ.get("HEED_BUILD", "build")
    library = h.load(build / "libheed.so")
    print(f"heed {library.heed_version().decode()} beside PyTorch {torch.__version__}; ratio: PyTorch's time / heed's", flush=True)
    rows = []
    for threads in map(int, options.threads.split(",")):
        torch.set_num_threads(threads)
        for text in options.problems or (QUICK if options.quick else PROBLEMS):
            rows.append(measure(library, text, threads, options.seconds, options.flex))
    if not options.problems and not options.quick:
        print("written:", machine.write("attention", build, torch=torch.__version__, rows=rows))


if __name__ == "__main__":
    main()
