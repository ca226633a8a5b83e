# SPDX-License-Identifier: Apache-2.0
"""Preset ggml against ggml's CPU library: an additive f16 mask, rows without a key, alibi by max_bias, softcap, sinks."""
import math

import heed_ctypes as h
import preset_case as pc
import preset_ggml
import pytest
import torch
from fetch import fetch

SEEDS = range(30)


@pytest.fixture(scope="module")
def ggml():
    return preset_ggml.load(fetch("pywhispercpp==1.5.1", "--only-binary", ":all:"))


def slopes_of(max_bias, heads):
    """What ggml multiplies the mask of each head with."""
    whole = 2 ** math.floor(math.log2(heads))
    m0, m1 = 2 ** (-max_bias / whole), 2 ** (-max_bias / 2 / whole)
    return torch.tensor([m0 ** (n + 1) if n < whole else m1 ** (2 * (n - whole) + 1) for n in range(heads)])


def drawn(seed):
    """A problem with the mask ggml is given (f16, added) and what flash_attn_ext takes besides."""
    d = pc.Draw(seed)
    kind = d.choice(["bias", "bias", "causal", "alibi"])
    options = {"softcap": d.choice([0.0, 0.0, 2.0]), "sinks": d.normal(d.hq) if d.maybe(0.3) else None}
    case = pc.Case("ggml", **d.tensors(), see=d.all, scale=d.choice([0.2, 0.5]), cap=options["softcap"], sinks=options["sinks"],
                   name=f"seed {seed}, {kind}")
    tokens = ["sink"] * (case.sinks is not None) + [f"softcap:{case.cap}"] * (case.cap > 0)
    if kind == "bias":    # any finite numbers, -inf where hidden; heed reads the same f16 array
        mask = d.normal(d.b, 1, d.sq, d.skv).masked_fill(d.bits(d.b, 1, d.sq, d.skv, p=d.choice([0.3, 0.9])), -torch.inf).half()
        mask[:, :, d.randint(0, d.sq - 1)] = -torch.inf
        case.bias, case.arrays = mask.float(), {"bias": mask[:, 0]}
        tokens.append("bias:b,q,k bias-type:f16")
    else:                 # ggml's caller turns positions and padding into the mask; heed has fields for them
        offset, pads = d.randint(-3, d.skv), d.left_pads()
        case.see = (d.j <= d.i + offset)[None, None] & (d.j >= pads[:, None, None])[:, None]
        case.arrays = {"key_range": torch.stack([pads, torch.full_like(pads, d.skv)], 1).int()}
        tokens.append(f"causal pad:left offset:{offset}")
        distance = (d.j - (d.i + offset)).expand(d.b, 1, -1, -1).float() if kind == "alibi" else torch.zeros(d.b, 1, d.sq, d.skv)
        if kind == "alibi":
            options["max_bias"] = 8.0
            case.arrays["slopes"] = slopes_of(8.0, d.hq)
            case.bias = case.arrays["slopes"].view(1, -1, 1, 1) * distance
            tokens.append("alibi")
        mask = distance.masked_fill(~case.see, -torch.inf).half()
    case.tokens = " ".join(tokens)
    return case, mask, options


def test_ggml(library, ggml):
    for seed in SEEDS:
        case, mask, options = drawn(seed)
        assert preset_ggml.VERSION in h.preset(library, "ggml").contents.proof.decode()
        pc.judge(library, case, ggml.flash_attn(case.q, case.k, case.v, mask, case.scale, **options))


def test_ggml_soft_max_is_nan_where_flash_is_zero(ggml):
    """The older way in ggml, soft_max_ext between two products, has no rule for an empty row: empty:nan says it."""
    scores, mask = torch.randn(1, 1, 2, 3), torch.zeros(1, 1, 2, 3).half()
    mask[0, 0, 1] = -torch.inf
    weights = ggml.soft_max(scores, mask, 1.0)
    assert torch.allclose(weights[0, 0, 0], torch.softmax(scores[0, 0, 0], -1)) and weights[0, 0, 1].isnan().all()
    sinks = torch.zeros(1)
    assert (ggml.soft_max(scores, mask, 1.0, sinks=sinks)[0, 0, 1] == 0).all()


def test_ggml_returns_no_lse(library):
    with pytest.raises(h.HeedError, match="no lse"):
        h.preset_lse(library, "ggml", h.parse(library, "b1 h1 q4 d8 preset:ggml"), h.Args())
    with pytest.raises(h.HeedError, match="no window"):
        h.preset_window(library, "ggml", 4)
