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
import numpy as np
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
    prefix: int | None = None        # keys visible to all; the others causally, bottom-right
    window: tuple | None = None      # keys to the left and right of the row's position, bottom-right
    docs: bool = False
    sink: bool = False
    dropout: float = 0.0
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
    "prefix": Case("b2 h4/2 q40 k70 d32 prefix:45", hkv=2, sq=40, skv=70, prefix=45),
    "prefix_window_docs": Case("b2 h4 q90 k90 d16 prefix:50 window:20,10 docs", sq=90, skv=90, d=16, dv=16, prefix=50,
                               window=(20, 10), docs=True),
    "prefix_pad": Case("b2 h4 q33 k47 d32 prefix:20 pad:left", skv=47, prefix=20, pad=[(5, 47), (30, 47)]),
    "sink": Case("b2 h4/2 q40 k70 d32 causal sink", hkv=2, sq=40, skv=70, causal=30, sink=True),
    "dropout": Case("b2 h4/2 q65 k300 d32 causal dropout:0.3", hkv=2, sq=65, skv=300, causal=235, dropout=0.3),
    "dropout_sink_bias": Case("b2 h4 q40 k47 d32 prefix:20 sink bias:h,q,k mask:b,k dropout:0.5", sq=40, skv=47, prefix=20,
                              sink=True, bias="hqk", mask="bk", dropout=0.5),
    "dropout_docs": Case("b3 h2 q40 k40 d16 causal docs pad:left dropout:0.9", b=3, hq=2, hkv=2, sq=40, skv=40, d=16, dv=16,
                         causal=0, docs=True, pad=[(0, 40), (9, 40), (38, 40)], dropout=0.9),
    "dropout_one_query": Case("b2 h8/2 q1 k200 d64 dropout:0.25", hq=8, hkv=2, sq=1, skv=200, d=64, dv=64, dropout=0.25),
    "one_query": Case("b2 h8/2 q1 k200 d64 causal", hq=8, hkv=2, sq=1, skv=200, d=64, dv=64, causal=199),
    "fused_qkv_layout": Case("b2 h4 q128 k128 d32 causal", sq=128, skv=128, causal=0, layout="fused"),
    "token_major_layout": Case("b2 h4/2 q50 k77 d32", hkv=2, sq=50, skv=77, layout="bshd"),
}
SEED = 0x0123456789ABCDEF            # of dropout
for _name in ("causal", "gqa", "value_channels", "bool_mask", "left_padding", "fused_qkv_layout", "prefix", "sink", "dropout",
              "dropout_sink_bias"):
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


def documents(case):
    """(b, k) ids of documents of 1 to 25 keys."""
    return (torch.rand(case.b, case.skv) < 0.08).cumsum(1).to(torch.int32)


def philox(seed, *counter):
    """Philox4x32-10 (Salmon et al. 2011), figure 3, over arrays: four arrays of 32-bit words."""
    x = [np.asarray(c, np.uint64) for c in counter]
    low, high = np.uint64(0xFFFFFFFF), np.uint64(32)
    for step in range(10):
        key = [np.uint64((half + step * weyl) & 0xFFFFFFFF)
               for half, weyl in ((seed & 0xFFFFFFFF, 0x9E3779B9), (seed >> 32, 0xBB67AE85))]
        left, right = x[0] * np.uint64(0xD2511F53), x[2] * np.uint64(0xCD9E8D57)
        x = [(right >> high) ^ x[1] ^ key[0], right & low, (left >> high) ^ x[3] ^ key[1], left & low]
    return x


def kept(case):
    """(b, h, q, k): what dropout multiplies each weight by, as docs/contract.md has it."""
    b, head, i, j = np.ogrid[:case.b, :case.hq, :case.sq, :case.skv]
    words = np.stack(np.broadcast_arrays(*philox(SEED, j // 4, i, head, b)))
    word = np.take_along_axis(words, np.broadcast_to(j % 4, words.shape[1:])[None], 0)[0]
    return torch.from_numpy(np.where(word >= case.dropout * 2.0 ** 32, 1 / (1 - case.dropout), 0.0))


def visible(case, mask, docs=None):
    """(b, h, q, k) bool, by definition."""
    see = torch.ones(case.b, case.hq, case.sq, case.skv, dtype=torch.bool)
    i, j = torch.arange(case.sq)[:, None], torch.arange(case.skv)[None, :]
    if case.causal is not None:
        see &= j <= i + case.causal
    at = i + case.skv - case.sq
    if case.prefix is not None:
        see &= (j < case.prefix) | (j <= at)
    if case.window:
        see &= (j >= at - case.window[0]) & (j <= at + case.window[1])
    if docs is not None:
        see &= (docs[:, at] == docs[:, None, :])[:, None]
    if case.pad:
        first, end = torch.tensor(case.pad).T
        see &= ((j >= first[:, None, None]) & (j < end[:, None, None]))[:, None]
    return see & mask if mask is not None else see


def eager(case, q, k, v, see, factor, to, bias=None, sink=None):
    """The formula, plainly; `to` rounds P where a storage type would; factor is what dropout multiplies by."""
    group = case.hq // case.hkv
    k, v = (x.repeat_interleave(group, 1) for x in (k, v))
    x = (q @ k.transpose(-1, -2)) * (case.scale or 1 / math.sqrt(case.d))
    x = x + bias if bias is not None else x
    x = torch.where(see, x, -torch.inf)
    if sink is not None:
        x, see = torch.cat([x, sink.view(1, -1, 1, 1).expand(*x.shape[:3], 1)], -1), F.pad(see, (0, 1), value=True)
    some = see.any(-1, keepdim=True)
    p = torch.where(some, torch.softmax(torch.where(some, x, 0.0), -1), 0.0)[..., :case.skv]
    lse = torch.where(some, torch.logsumexp(torch.where(some, x, 0.0), -1, keepdim=True), -torch.inf)[..., 0]
    return to(p * factor.to(p.dtype)) @ v, lse, p


def with_gradients(function, leaves, dout):
    leaves = [x.detach().clone().requires_grad_() for x in leaves]
    out = function(*leaves)
    grads = torch.autograd.grad(out, leaves, dout.to(out.dtype))
    return [x.detach().double() for x in (out, *grads)]


def floors(case, q, k, v, dout, p, lse, factor, bias=None, sink=None):
    """First-order f32 floors of out, dq, dk, dv, dbias, dsinks: 2^-23 times the sums of magnitudes each result is made of."""
    group = case.hq // case.hkv
    scale = case.scale or 1 / math.sqrt(case.d)
    q, k, v, dout = (x.double().abs() for x in (q, k, v, dout))
    kg, vg = (x.repeat_interleave(group, 1) for x in (k, v))
    grown = 1 + 2 * (scale * (q @ kg.transpose(-1, -2)) + (bias.double().abs() if bias is not None else 0)) + (case.dropout > 0)
    w = p * factor * grown
    dp = factor * (dout @ vg.transpose(-1, -2))
    delta = (dp * p).sum(-1, keepdim=True)
    ds = p * grown * (dp + delta)
    fold = lambda x: x.unflatten(1, (case.hkv, group)).sum(2)    # noqa: E731
    bounds = [w @ vg, scale * ds @ kg, fold(scale * ds.transpose(-1, -2) @ q), fold(w.transpose(-1, -2) @ dout)]
    if bias is not None:
        bounds.append(ds.sum([a for a in range(4) if bias.shape[a] == 1 and ds.shape[a] != 1], keepdim=True))
    if sink is not None:
        sink = sink.double()[:, None]
        bounds.append((torch.exp(sink - lse) * delta[..., 0] * (2 + 2 * sink.abs() + (p * grown).sum(-1))).sum((0, 2)))
    return [EPS32 * x.max() for x in bounds]


def run_heed(library, case, q, k, v, dout, mask, docs, implementation, bias=None, sink=None):
    """out, lse and [dq, dk, dv, dbias, dsinks] as far as there are such, by heed."""
    problem = h.parse(library, case.text)
    for name, x in (("q", q), ("k", k), ("v", v)):
        setattr(problem, name, h.Stride(*x.stride()[:3]))
        assert x.stride(3) == 1
    dq, dk, dv = (torch.full_like(x, torch.nan) for x in (q, k, v))
    for name, x in (("dq", dq), ("dk", dk), ("dv", dv)):
        setattr(problem, name, h.Stride(*x.stride()[:3]))
    out = torch.full((case.b, case.hq, case.sq, case.dv), torch.nan, dtype=case.dtype)
    lse = torch.full((case.b, case.hq, case.sq), torch.nan)
    dbias, dsinks = (torch.full_like(x, torch.nan) if x is not None else None for x in (bias, sink))
    ranges = torch.tensor(case.pad, dtype=torch.int32) if case.pad else None
    bits = mask.to(torch.uint8).contiguous() if mask is not None else None
    at = lambda x: x.data_ptr() if x is not None else None    # noqa: E731
    args = h.Args(q=at(q), k=at(k), v=at(v), out=at(out), lse=at(lse), bias=at(bias), mask=at(bits), key_range=at(ranges),
                  dout=at(dout), dq=at(dq), dk=at(dk), dv=at(dv), dbias=at(dbias), sinks=at(sink), dsinks=at(dsinks),
                  documents=at(docs), seed=SEED)
    for which in (h.FORWARD, h.BACKWARD):
        problem.pass_ = which
        plan = h.Plan(library, problem, implementation, threads=2)
        assert implementation is None or plan.implementation == implementation
        plan.run(args)
    return out, lse, [x for x in (dq, dk, dv, dbias, dsinks) if x is not None]


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
    docs = documents(case) if case.docs else None
    see, factor = visible(case, mask, docs), kept(case)
    extra = {}                       # what has gradients besides q, k, v
    if case.bias:
        extra["bias"] = torch.randn(grid(case, case.bias))
    if case.sink:
        extra["sink"] = torch.randn(case.hq)
    leaves = [q, k, v, *extra.values()]
    keep, rounded = (lambda p: p), (lambda p: p.to(case.dtype).float())
    doubled = [x.double() for x in leaves]

    def formula(*x, to=keep):
        return eager(case, *x[:3], see, factor, to, **dict(zip(extra, x[3:])))

    def sdpa(*x):
        add = torch.where(see, x[3] if case.bias else 0.0, -torch.inf) if case.bias else see
        others = case.mask or case.bias or case.pad or case.docs or case.window or case.prefix is not None
        plain = case.causal in (None, 0) and not others
        return F.scaled_dot_product_attention(*x[:3], attn_mask=None if plain else add, is_causal=plain and case.causal == 0,
                                              scale=case.scale, enable_gqa=case.hq != case.hkv)

    exact = with_gradients(lambda *x: formula(*x)[0], doubled, dout)
    plain = with_gradients(lambda *x: formula(*(y.float() for y in x), to=rounded)[0].to(case.dtype), leaves, dout)
    fused = exact if case.dropout or case.sink else with_gradients(sdpa, leaves, dout)    # PyTorch draws its own, knows no sink
    _, lse, p = formula(*doubled)
    out, got_lse, grads = run_heed(library, case, q, k, v, dout, mask, docs, implementation, **extra)
    floor = floors(case, q, k, v, dout, p, lse, factor, **extra)
    for what, x, want, by_eager, by_torch, r in zip(("out", "dq", "dk", "dv", *("d" + n for n in extra)), [out, *grads], exact,
                                                    plain, fused, floor, strict=True):
        e = (by_eager - want).abs().max().item()
        bound = (2 if what == "out" else 3) * e + r.item() + ulp(x.dtype, want.abs().max().item())
        error = (x.double() - want).abs().max().item()    # a NaN fails the comparison
        assert error <= bound, f"{what}: {error:.3g} from f64, allowed {bound:.3g} ({case.text})"
        theirs = (by_torch - want).abs().max().item()
        assert theirs <= 8 * bound, f"{what}: PyTorch's own result is {theirs:.3g} from the formula: not the same problem"
    finite = torch.isfinite(lse)
    assert torch.equal(torch.isfinite(got_lse), finite) and not torch.isnan(got_lse).any()
    assert (got_lse.double() - lse)[finite].abs().max() <= 1e-5 * max(1.0, lse[finite].abs().max().item())


def test_philox_known_answer():
    """The words this file computes are those that Random123 publishes (digits of pi)."""
    words = philox(0x299F31D0_A4093822, 0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    assert [int(w) for w in words] == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def test_dropout_rate():
    """The share kept over every axis: within five standard deviations of 1 - p, and without a pattern from row to row."""
    case = Case("", b=4, hq=8, sq=64, skv=512, dropout=0.1)
    keep = (kept(case) > 0).double()
    for axis in range(4):
        share = keep.mean([a for a in range(4) if a != axis])
        n = keep.numel() / keep.shape[axis]
        assert (share - 0.9).abs().max() < 5 * math.sqrt(0.9 * 0.1 / n)
        beside = ((keep - 0.9) * (keep.roll(1, axis) - 0.9)).mean() / (0.9 * 0.1)
        assert beside.abs() < 5 / math.sqrt(keep.numel())


def test_refusal_names_the_implementation(library):
    with pytest.raises(h.HeedError) as refused:
        h.Plan(library, h.parse(library, "b1 h1 q8 k8 d16"), "cpu.nothing")
    assert "cpu.nothing" in str(refused.value)
