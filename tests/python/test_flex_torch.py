# SPDX-License-Identifier: Apache-2.0
"""Masks and score functions of a caller against PyTorch's FlexAttention: the same functions, written once for each side.

heed is given `visible`, `value` and `slope` and nothing else. FlexAttention runs its reference path (a CPU needs no compiler for
it), in f64 here; gradients are those of the same formula.
"""
import ctypes
import math

import heed_ctypes as h
import pytest
import torch
from torch.nn.attention import flex_attention as flex

B, HQ, HKV, S, D = 2, 4, 2, 150, 16
DOCUMENTS = torch.tensor([[i // 37 for i in range(S)], [i // 64 for i in range(S)]])


# name -> (mask by heed's position, mask_mod of FlexAttention, axes it depends on)
MASKS = {
    "window": (lambda at: at.position - 20 <= at.key <= at.position, lambda b, h_, q, k: (k <= q) & (k >= q - 20),
               h.AXIS_QUERY | h.AXIS_KEY),
    "documents": (lambda at: at.key <= at.position and bool(DOCUMENTS[at.batch, at.position] == DOCUMENTS[at.batch, at.key]),
                  lambda b, h_, q, k: (k <= q) & (DOCUMENTS[b, q] == DOCUMENTS[b, k]), h.AXIS_BATCH | h.AXIS_QUERY | h.AXIS_KEY),
    "stride_of_head": (lambda at: at.key <= at.position and (at.position - at.key) % (at.head + 1) == 0,
                       lambda b, h_, q, k: (k <= q) & ((q - k) % (h_ + 1) == 0), 0),
}
# name -> (value, slope, score_mod)
SCORES = {
    "none": None,
    "softsign": (lambda at, x: x / (1 + abs(x) / 2), lambda at, x: (1 + abs(x) / 2) ** -2,
                 lambda x, b, h_, q, k: x / (1 + x.abs() / 2)),
    "relative": (lambda at, x: 1.5 * x - 0.05 * (at.head + 1) * abs(at.position - at.key), lambda at, x: 1.5,
                 lambda x, b, h_, q, k: 1.5 * x - 0.05 * (h_ + 1) * (q - k).abs()),
}


def run_heed(library, mask, score, axes, q, k, v, dout):
    """[out, dq, dk, dv] of cpu.flash, one thread: the functions are Python's."""
    problem = h.parse(library, f"b{B} h{HQ}/{HKV} q{S} d{D}")
    kinds = [h.MaskKind(b"mine", h.VISIBLE(lambda _, at: mask(at)), axes=axes)]
    problem.mask[0].kind = ctypes.addressof(kinds[0])
    if score is not None:
        value, slope = (h.SCORE_OF(lambda _, at, x, f=f: f(at, x)) for f in score[:2])
        kinds.append(h.ScoreKind(b"mine", value, slope))
        problem.score[0].kind = ctypes.addressof(kinds[1])
    out, lse = torch.full_like(q, torch.nan), torch.full((B, HQ, S), torch.nan)
    grads = [torch.full_like(x, torch.nan) for x in (q, k, v)]
    at = lambda x: x.data_ptr()    # noqa: E731
    args = h.Args(q=at(q), k=at(k), v=at(v), out=at(out), lse=at(lse), dout=at(dout), dq=at(grads[0]), dk=at(grads[1]),
                  dv=at(grads[2]))
    for which in (h.FORWARD, h.BACKWARD):
        problem.pass_ = which
        h.Plan(library, problem, "cpu.flash", threads=1).run(args)
    return [out, *grads]


def formula(see, score_mod, q, k, v):
    k, v = (x.repeat_interleave(HQ // HKV, 1) for x in (k, v))
    x = q @ k.transpose(-1, -2) / math.sqrt(D)
    if score_mod is not None:
        b, head, i, j = torch.meshgrid(*(torch.arange(n) for n in x.shape), indexing="ij")
        x = score_mod(x, b, head, i, j)
    return torch.softmax(torch.where(see, x, -torch.inf), -1) @ v


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("mask", MASKS)
def test_against_flex_attention(library, mask, score):
    torch.manual_seed(7)
    visible, mask_mod, axes = MASKS[mask]
    score_mod = SCORES[score][2] if SCORES[score] else None
    q, k, v = torch.randn(B, HQ, S, D), torch.randn(B, HKV, S, D), torch.randn(B, HKV, S, D)
    dout = torch.randn(B, HQ, S, D)
    blocks = flex.create_block_mask(mask_mod, B, HQ, S, S, device="cpu", BLOCK_SIZE=32)
    theirs = flex.flex_attention(q.double(), k.double(), v.double(), score_mod=score_mod, block_mask=blocks, enable_gqa=True)
    b, head, i, j = torch.meshgrid(*(torch.arange(n) for n in (B, HQ, S, S)), indexing="ij")
    see = mask_mod(b, head, i, j)
    leaves = [x.double().requires_grad_() for x in (q, k, v)]
    out = formula(see, score_mod, *leaves)
    assert (out - theirs).abs().max() < 1e-12, "the formula is not what FlexAttention computes"
    exact = [out.detach(), *torch.autograd.grad(out, leaves, dout.double())]
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    out = formula(see, score_mod, *leaves)
    plain = [out.detach(), *torch.autograd.grad(out, leaves, dout)]
    got = run_heed(library, visible, SCORES[score], axes, q, k, v, dout)
    for what, x, want, by_plain in zip(("out", "dq", "dk", "dv"), got, exact, plain):
        bound = 3 * (by_plain.double() - want).abs().max().item() + 2.0 ** -21 * want.abs().max().item()
        error = (x.double() - want).abs().max().item()
        assert error <= bound, f"{what}: {error:.3g} from f64, allowed {bound:.3g}"
