# SPDX-License-Identifier: Apache-2.0
"""heed_inspect against PyTorch's materialised softmax: the formulas of heed/inspect.h over whole tensors in f64."""
import math

import heed_ctypes as h
import pytest
import torch

B, HQ, HKV, SQ, SKV, D = 2, 4, 2, 70, 300, 32
OFFSET = SKV - SQ
TEXT = f"b{B} h{HQ}/{HKV} q{SQ} k{SKV} d{D}"
HEADS, ROWS, KEYS = [0, 3], [0, 1, 2, 31, 69], [0, 7, 150, 151, 152, 299]
CASES = {"plain": "", "causal": " causal", "window": " causal window:40", "softcap": " causal softcap:2", "alibi": " alibi",
         "bias": " bias:h,q,k", "bias_first": " softcap:2 bias:h,q,k bias-first", "mask": " mask:b,q,k", "sink": " causal sink",
         "padding": " causal pad:left", "mean": " offset:top causal pad:left empty:mean",
         "nan": " offset:top causal pad:left empty:nan", "bf16": " causal bf16", "f16": " causal f16"}


def grids(name, text, q, k, sinks, slopes, bias, mask, ranges):
    """raw, edited, masked, weights (b, h, q, k) and entropy (b, h, q), in f64."""
    offset = 0 if "offset:top" in text else OFFSET
    i, j = torch.arange(SQ)[:, None], torch.arange(SKV)[None, :]
    raw = q.double() @ k.double().repeat_interleave(HQ // HKV, 1).transpose(-1, -2) / math.sqrt(D)
    first = "bias-first" in text
    x = raw + bias.double() if bias is not None and first else raw
    x = 2 * torch.tanh(x / 2) if "softcap" in text else x
    x = x + bias.double() if bias is not None and not first else x
    x = x + slopes.double()[:, None, None] * (j - i - offset) if slopes is not None else x
    see = torch.ones(B, HQ, SQ, SKV, dtype=torch.bool)
    see = see & (j <= i + offset) if "causal" in text else see
    see = see & (j >= i + offset - 40) if "window" in text else see
    see = see & mask if mask is not None else see
    if ranges is not None:
        see = see & ((j >= ranges[:, 0, None, None]) & (j < ranges[:, 1, None, None]))[:, None]
    masked = torch.where(see, x, -torch.inf)
    logits = torch.cat([masked, sinks.double()[None, :, None, None].expand(B, HQ, SQ, 1)], -1) if sinks is not None else masked
    weights = torch.softmax(logits, -1)[..., :SKV]     # an empty row: NaN
    u = weights / weights.sum(-1, keepdim=True)
    entropy = -torch.special.xlogy(u, u).sum(-1)
    empty = ~see.any(-1) & (sinks is None)
    if name != "nan":
        rule = 1 / SKV if name == "mean" else 0.0
        weights = torch.where(empty[..., None], rule, weights)
        entropy = torch.where(empty, math.log(SKV) if name == "mean" else 0.0, entropy)
    assert name not in ("mean", "nan") or empty.any()
    return {"raw": raw, "edited": x, "masked": masked, "weights": weights}, entropy


def close(what, got, want, scale=1.0):
    """Equal where it is not finite; elsewhere within f32 rounding of scores of some tens and of their exponentials."""
    got = got.double()
    finite = torch.isfinite(want)
    assert torch.equal(torch.isnan(got), torch.isnan(want)), what
    assert torch.equal(got[~finite & ~torch.isnan(want)], want[~finite & ~torch.isnan(want)]), what
    error = (got - want)[finite].abs().max().item() if finite.any() else 0.0
    bound = 2.0 ** -23 * (8 + 4 * scale)
    assert error <= bound, f"{what}: {error:.3g} from f64, allowed {bound:.3g}"


@pytest.mark.parametrize("implementation", ["cpu.flash", "cpu.eager"])
@pytest.mark.parametrize("name", CASES)
def test_against_softmax(library, name, implementation):
    torch.manual_seed(sum(map(ord, name)))
    text = TEXT + CASES[name]
    dtype = {"bf16": torch.bfloat16, "f16": torch.float16}.get(name, torch.float32)
    q, k, v = (torch.randn(B, heads, tokens, D).to(dtype) for heads, tokens in ((HQ, SQ), (HKV, SKV), (HKV, SKV)))
    sinks = torch.randn(HQ) if "sink" in text else None
    slopes = torch.rand(HQ) / 10 if "alibi" in text else None
    bias = torch.randn(1, HQ, SQ, SKV) if "bias" in text else None
    mask = torch.rand(B, 1, SQ, SKV) < 0.7 if "mask" in text else None
    ranges = torch.tensor([[0, SKV], [23, SKV]], dtype=torch.int32) if "pad" in text else None
    bits = mask.to(torch.uint8) if mask is not None else None
    out, lse = torch.empty(B, HQ, SQ, D, dtype=dtype), torch.empty(B, HQ, SQ)
    at = lambda x: x.data_ptr() if x is not None else None    # noqa: E731
    args = h.Args(q=at(q), k=at(k), v=at(v), out=at(out), lse=at(lse), sinks=at(sinks), slopes=at(slopes), bias=at(bias),
                  mask=at(bits), key_range=at(ranges))
    plan = h.Plan(library, h.parse(library, text), implementation, threads=2)
    plan.run(args)
    of_rows = {kind: torch.full((B, len(HEADS), len(ROWS), SKV), 7.0) for kind in ("raw", "edited", "masked", "weights")}
    of_keys = {kind: torch.full((B, len(HEADS), len(KEYS), SQ), 7.0) for kind in of_rows}
    entropy, largest = torch.full((B, HQ, SQ), 7.0), torch.full((B, HQ), 7.0)
    where = torch.full((B, HQ, 2), 7, dtype=torch.int64)
    plan.inspect(args, HEADS, ROWS, KEYS, **{"row_" + kind: at(x) for kind, x in of_rows.items()},
                 **{"key_" + kind: at(x) for kind, x in of_keys.items()})
    plan.inspect(args, entropy=at(entropy), largest=at(largest), largest_at=at(where))

    right, right_entropy = grids(name, text, q, k, sinks, slopes, bias, mask, ranges)
    most = right["edited"].abs().max().item()
    for kind, want in right.items():
        scale = 1.0 if kind == "weights" else most
        close(f"rows' {kind}", of_rows[kind], want[:, HEADS][:, :, ROWS], scale)
        close(f"keys' {kind}", of_keys[kind], want[:, HEADS][..., KEYS].transpose(-1, -2), scale)
    close("entropy", entropy, right_entropy, most)
    close("largest", largest, right["masked"].amax((-1, -2)), most)
    flat = right["masked"].flatten(2).argmax(-1)
    assert torch.equal(where, torch.stack([flat // SKV, flat % SKV], -1))
    whole = torch.full((B, HQ, SQ, SKV), 7.0)     # all rows, where the caller has the memory
    plan.inspect(args, row_weights=at(whole))
    close("all weights", whole, right["weights"])


def test_errors_are_sentences(library):
    plan = h.Plan(library, h.parse(library, "b1 h1 q8 d16"))
    x = torch.zeros(8 * 16)
    args = h.Args(q=x.data_ptr(), k=x.data_ptr(), lse=x.data_ptr())
    with pytest.raises(h.HeedError, match=r"rows\[0\] is 8; it must be 0 to 7"):
        plan.inspect(args, rows=[8], entropy=x.data_ptr())
