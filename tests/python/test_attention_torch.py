# SPDX-License-Identifier: Apache-2.0
"""libheed against PyTorch: forward and gradients of every implementation, judged by docs/contract.md's yardstick.

The judge is the formula in f64, written plainly below. PyTorch's own fused kernel must agree with it too: that shows that
heed and PyTorch compute the same thing, not that heed agrees with this file.
"""
import ctypes
import dataclasses
import math
import subprocess

import heed_ctypes as h
import pytest
import torch
import torch.nn.functional as F

EPS32 = 2.0 ** -23


@dataclasses.dataclass
class Case:
    text: str                        # the problem, as heed reads it
    b: int = 2
    hq: int = 4
    hkv: int = 4
    sq: int = 33
    skv: int = 33
    d: int = 32
    dv: int = 32
    dtype: torch.dtype = torch.float32
    causal: int | None = None        # the offset; None: not causal
    mask: str = ""                   # axes the bool mask has, of "bhqk"
    bias: str = ""
    scale: float | None = None
    pad: list | None = None          # valid keys of each sequence
    layout: str = "bhsd"             # how q, k, v lie in memory


CASES = {
    "plain": Case("b2 h4 q33 k33 d32"),
    "causal": Case("b2 h4 q33 k33 d32 causal", causal=0),
    "causal_top_left": Case("b2 h4 q40 k70 d32 causal:top", sq=40, skv=70, causal=0),
    "causal_bottom_right": Case("b2 h4 q40 k70 d32 causal", sq=40, skv=70, causal=30),
    "more_queries_than_keys": Case("b2 h4 q70 k40 d32 causal", sq=70, skv=40, causal=-30),
    "gqa": Case("b2 h8/2 q65 k65 d64 causal", hq=8, hkv=2, sq=65, skv=65, d=64, dv=64, causal=0),
    "mqa": Case("b1 h6/1 q19 k50 d16", b=1, hq=6, hkv=1, sq=19, skv=50, d=16, dv=16),
    "value_channels": Case("b2 h4/2 q37 k61 d24/40", hkv=2, sq=37, skv=61, d=24, dv=40),
    "odd_channels": Case("b1 h2 q17 k17 d7/5 causal", b=1, hq=2, hkv=2, sq=17, skv=17, d=7, dv=5, causal=0),
    "bool_mask": Case("b2 h4 q33 k47 d32 mask:b,q,k", skv=47, mask="bqk"),
    "bias": Case("b2 h4 q33 k47 d32 bias:h,q,k", skv=47, bias="hqk"),
    "mask_and_bias": Case("b2 h4/2 q33 k47 d32 bias mask:b,k", hkv=2, skv=47, mask="bk", bias="bhqk"),
    "scale": Case("b2 h4 q33 k33 d32 causal scale:0.5", causal=0, scale=0.5),
    "left_padding": Case("b3 h4 q40 k40 d32 causal pad:left", b=3, sq=40, skv=40, causal=0, pad=[(0, 40), (9, 40), (38, 40)]),
    "right_padding": Case("b3 h4 q40 k40 d32 pad:right", b=3, sq=40, skv=40, pad=[(0, 40), (0, 7), (0, 39)]),
    "one_query": Case("b2 h8/2 q1 k200 d64 causal", hq=8, hkv=2, sq=1, skv=200, d=64, dv=64, causal=199),
    "fused_qkv_layout": Case("b2 h4 q128 k128 d32 causal", sq=128, skv=128, causal=0, layout="fused"),
    "token_major_layout": Case("b2 h4/2 q50 k77 d32", hkv=2, sq=50, skv=77, layout="bshd"),
}
for _name in ("causal", "gqa", "value_channels", "bool_mask", "left_padding", "fused_qkv_layout"):
    _case = CASES[_name]
    CASES[_name + "_bf16"] = dataclasses.replace(_case, text=_case.text + " bf16", dtype=torch.bfloat16)
    CASES[_name + "_f16"] = dataclasses.replace(_case, text=_case.text + " f16", dtype=torch.float16)


def tensors(case):
    """q, k, v as (b, head, token, channel) views of whatever layout, and dout."""
    def rand(heads, tokens, channels):
        if case.layout == "bshd":
            return torch.randn(case.b, tokens, heads, channels).to(case.dtype).transpose(1, 2)
        return torch.randn(case.b, heads, tokens, channels).to(case.dtype)
    if case.layout == "fused":       # one activation (b, token, 3 * heads * channels), as GPT-2 has it
        fused = torch.randn(case.b, case.sq, 3, case.hq, case.d).to(case.dtype)
        q, k, v = (fused[:, :, i].transpose(1, 2) for i in range(3))
    else:
        q, k, v = rand(case.hq, case.sq, case.d), rand(case.hkv, case.skv, case.d), rand(case.hkv, case.skv, case.dv)
    dout = torch.randn(case.b, case.hq, case.sq, case.dv).to(case.dtype)
    return q, k, v, dout


def grid(case, axes):
    """The shape of an array that has only these axes, broadcastable to (b, h, q, k)."""
    return [n if axis in axes else 1 for axis, n in zip("bhqk", (case.b, case.hq, case.sq, case.skv))]


def visible(case, mask):
    """(b, h, q, k) bool, by definition."""
    see = torch.ones(case.b, case.hq, case.sq, case.skv, dtype=torch.bool)
    i, j = torch.arange(case.sq)[:, None], torch.arange(case.skv)[None, :]
    if case.causal is not None:
        see &= j <= i + case.causal
    if case.pad:
        first, end = torch.tensor(case.pad).T
        see &= ((j >= first[:, None, None]) & (j < end[:, None, None]))[:, None]
    return see & mask if mask is not None else see


def eager(case, q, k, v, see, bias, to):
    """The formula, plainly; `to` rounds P where a storage type would."""
    group = case.hq // case.hkv
    k, v = (x.repeat_interleave(group, 1) for x in (k, v))
    x = (q @ k.transpose(-1, -2)) * (case.scale or 1 / math.sqrt(case.d))
    x = x + bias if bias is not None else x
    x = torch.where(see, x, -torch.inf)
    some = see.any(-1, keepdim=True)
    p = torch.where(some, torch.softmax(torch.where(some, x, 0.0), -1), 0.0)
    return to(p) @ v, torch.where(some, torch.logsumexp(torch.where(some, x, 0.0), -1, keepdim=True), -torch.inf)[..., 0], p


def with_gradients(function, leaves, dout):
    leaves = [x.detach().clone().requires_grad_() for x in leaves]
    out = function(*leaves)
    grads = torch.autograd.grad(out, leaves, dout.to(out.dtype))
    return [x.detach().double() for x in (out, *grads)]


def floors(case, q, k, v, dout, see, bias, p):
    """First-order f32 floors of out, dq, dk, dv, dbias: 2^-23 times the sums of magnitudes that each result is made of."""
    group = case.hq // case.hkv
    scale = case.scale or 1 / math.sqrt(case.d)
    q, k, v, dout = (x.double().abs() for x in (q, k, v, dout))
    kg, vg = (x.repeat_interleave(group, 1) for x in (k, v))
    grown = 1 + 2 * (scale * (q @ kg.transpose(-1, -2)) + (bias.double().abs() if bias is not None else 0))
    w = p * grown
    dp = dout @ vg.transpose(-1, -2)
    ds = w * (dp + (dp * p).sum(-1, keepdim=True))
    fold = lambda x: x.unflatten(1, (case.hkv, group)).sum(2)    # noqa: E731
    bounds = [w @ vg, scale * ds @ kg, fold(scale * ds.transpose(-1, -2) @ q), fold(w.transpose(-1, -2) @ dout)]
    if bias is not None:
        bounds.append(ds.sum([a for a in range(4) if bias.shape[a] == 1 and ds.shape[a] != 1], keepdim=True))
    return [EPS32 * x.max() for x in bounds]


def run_heed(library, case, q, k, v, dout, mask, bias, implementation):
    """[out, lse, dq, dk, dv, dbias] by heed."""
    problem = h.parse(library, case.text)
    for name, x in (("q", q), ("k", k), ("v", v)):
        setattr(problem, name, h.Stride(*x.stride()[:3]))
        assert x.stride(3) == 1
    dq, dk, dv = (torch.full_like(x, torch.nan) for x in (q, k, v))
    for name, x in (("dq", dq), ("dk", dk), ("dv", dv)):
        setattr(problem, name, h.Stride(*x.stride()[:3]))
    out = torch.full((case.b, case.hq, case.sq, case.dv), torch.nan, dtype=case.dtype)
    lse = torch.full((case.b, case.hq, case.sq), torch.nan)
    dbias = torch.full_like(bias, torch.nan) if bias is not None else None
    ranges = torch.tensor(case.pad, dtype=torch.int32) if case.pad else None
    bits = mask.to(torch.uint8).contiguous() if mask is not None else None
    at = lambda x: x.data_ptr() if x is not None else None    # noqa: E731
    args = h.Args(q=at(q), k=at(k), v=at(v), out=at(out), lse=at(lse), bias=at(bias), mask=at(bits), key_range=at(ranges),
                  dout=at(dout), dq=at(dq), dk=at(dk), dv=at(dv), dbias=at(dbias))
    for which in (h.FORWARD, h.BACKWARD):
        problem.pass_ = which
        plan = h.Plan(library, problem, implementation, threads=2)
        assert implementation is None or plan.implementation == implementation
        plan.run(args)
    return out, lse, dq, dk, dv, dbias


def ulp(dtype, x):
    """One unit in the last place of dtype at |x|."""
    digits, least = {torch.float32: (23, -149), torch.bfloat16: (7, -133), torch.float16: (10, -24)}[dtype]
    return 2.0 ** max(math.floor(math.log2(x)) - digits, least) if x > 0 else 2.0 ** least


def test_struct_mirrors(tool):
    """Python's idea of the structs is the compiler's."""
    lines = subprocess.run([tool("struct_sizes")], capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) > 20
    for line in lines:
        name, value = line.split()
        struct, _, field = name.partition(".")
        mirror = h.MIRRORS[struct]
        field = {"pass": "pass_", "with": "with_"}.get(field, field)
        assert (getattr(mirror, field).offset if field else ctypes.sizeof(mirror)) == int(value), name


@pytest.mark.parametrize("implementation", [None, "ref", "cpu.eager", "cpu.flash"])
@pytest.mark.parametrize("name", CASES)
def test_against_torch(library, name, implementation):
    case = CASES[name]
    torch.manual_seed(sum(map(ord, name)))
    q, k, v, dout = tensors(case)
    mask = torch.rand(grid(case, case.mask)) < 0.7 if case.mask else None
    bias = torch.randn(grid(case, case.bias)) if case.bias else None
    see = visible(case, mask)
    leaves = [q, k, v] + ([bias] if bias is not None else [])
    keep, rounded = (lambda p: p), (lambda p: p.to(case.dtype).float())
    _, lse, p = eager(case, q.double(), k.double(), v.double(), see, bias.double() if bias is not None else None, keep)

    def formula(*x, to=keep):
        return eager(case, *x[:3], see, x[3] if len(x) > 3 else None, to)[0]

    def sdpa(*x):
        add = torch.where(see, x[3] if len(x) > 3 else 0.0, -torch.inf) if bias is not None else see
        plain = case.causal in (None, 0) and mask is None and bias is None and not case.pad
        return F.scaled_dot_product_attention(*x[:3], attn_mask=None if plain else add, is_causal=plain and case.causal == 0,
                                              scale=case.scale, enable_gqa=case.hq != case.hkv)

    exact = with_gradients(formula, [x.double() for x in leaves], dout)
    plain = with_gradients(lambda *x: formula(*(y.float() for y in x), to=rounded).to(case.dtype), leaves, dout)
    fused = with_gradients(sdpa, leaves, dout)
    got = run_heed(library, case, q, k, v, dout, mask, bias, implementation)
    floor = floors(case, q, k, v, dout, see, bias, p)
    results = [got[0], *got[2:5]] + ([got[5]] if bias is not None else [])
    for what, x, want, by_eager, by_torch, r in zip(("out", "dq", "dk", "dv", "dbias"), results, exact, plain, fused, floor):
        e = (by_eager - want).abs().max().item()
        bound = (2 if what == "out" else 3) * e + r.item() + ulp(x.dtype, want.abs().max().item())
        error = (x.double() - want).abs().max().item()    # a NaN fails the comparison
        assert error <= bound, f"{what}: {error:.3g} from f64, allowed {bound:.3g} ({case.text})"
        theirs = (by_torch - want).abs().max().item()
        assert theirs <= 8 * bound, f"{what}: PyTorch's own result is {theirs:.3g} from the formula: not the same problem"
    finite = torch.isfinite(lse)
    assert torch.equal(torch.isfinite(got[1]), finite) and not torch.isnan(got[1]).any()
    assert (got[1].double() - lse)[finite].abs().max() <= 1e-5 * max(1.0, lse[finite].abs().max().item())


def test_refusal_names_the_implementation(library):
    with pytest.raises(h.HeedError) as refused:
        h.Plan(library, h.parse(library, "b1 h1 q8 k8 d16"), "cpu.nothing")
    assert "cpu.nothing" in str(refused.value)
