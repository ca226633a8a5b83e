# SPDX-License-Identifier: Apache-2.0
"""Presets torch, torch_pre25, mps_pre28 and heed against PyTorch's scaled_dot_product_attention: 2.13 here, 2.4 in .venv-old."""
import json

import heed_ctypes as h
import numpy
import preset_case as pc
import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

SEEDS = range(30)
KINDS = ("none", "causal", "bool", "bool", "float", "padding", "padding")


def drawn(seed, preset, empty):
    """A problem that scaled_dot_product_attention can say, in its words (is_causal, attn_mask) and in heed's."""
    d = pc.Draw(seed, value_channels=False)
    kind, see, mask, case = d.choice(KINDS), d.all, None, None
    offset = torch.zeros((), dtype=torch.int64)
    scale = d.choice([None, 0.25])
    case = pc.Case(preset, **d.tensors(), see=see, scale=scale, empty=empty, name=f"seed {seed}, {kind}")
    if kind == "causal":
        case.tokens, case.see = "causal", d.j <= d.i + offset
    elif kind == "bool":
        mask = d.bits(*(n if d.maybe(0.7) else 1 for n in (d.b, d.hq, d.sq)), d.skv, p=d.choice([0.2, 0.7]))
        if mask.shape[2] > 1:
            mask[:, :, d.randint(0, d.sq - 1)] = False
        case.tokens, case.see, case.arrays = "mask", mask, {"mask": mask.expand(d.b, d.hq, d.sq, d.skv).to(torch.uint8)}
    elif kind == "float":
        case.bias = d.normal(d.b, d.hq, d.sq, d.skv).masked_fill(~d.bits(d.b, d.hq, d.sq, d.skv), -torch.inf)
        case.bias[:, :, d.randint(0, d.sq - 1)] = -torch.inf
        mask, case.tokens, case.arrays = case.bias, "bias", {"bias": case.bias}
    elif kind == "padding":    # what transformers gives it for left padding: one mask, causal and padding
        pads = d.left_pads()
        mask = (d.j <= d.i)[None, None] & (d.j >= pads[:, None, None])[:, None]
        case.tokens, case.see = "causal pad:left", mask
        case.arrays = {"key_range": torch.stack([pads, torch.full_like(pads, d.skv)], 1).int()}
    return case, mask, kind == "causal"


def expand(case):
    group = case.q.shape[1] // case.k.shape[1]
    return case.q, case.k.repeat_interleave(group, 1), case.v.repeat_interleave(group, 1)


def additive(case, mask):
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape).masked_fill(~mask, -torch.inf).expand(case.q.shape[0], case.q.shape[1], -1, -1)


def test_torch(library):
    for seed in SEEDS:
        case, mask, causal = drawn(seed, "torch", "zero")
        assert torch.__version__.split("+")[0] in h.preset(library, "torch").contents.proof.decode()
        for backend in (SDPBackend.MATH, SDPBackend.FLASH_ATTENTION):
            def sdpa(c):
                return F.scaled_dot_product_attention(c.q, c.k, c.v, mask, is_causal=causal, scale=c.scale,
                                                      enable_gqa=c.hq != c.hkv)
            with sdpa_kernel(backend):
                pc.judge(library, case, sdpa(case))
                pc.judge_gradients(library, case, sdpa)
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*expand(case), 0.0, causal,
                                                                              attn_mask=additive(case, mask), scale=case.scale)
        pc.judge(library, case, out, lse)


def test_torch_refuses_what_torch_refuses(library):
    q, mask = torch.zeros(1, 1, 4, 8), torch.ones(4, 4, dtype=torch.bool)
    with sdpa_kernel(SDPBackend.MATH), pytest.raises(RuntimeError, match="is_causal"):
        F.scaled_dot_product_attention(q, q, q, mask, is_causal=True)
    for preset in ("torch", "torch_pre25"):
        with pytest.raises(h.HeedError, match="causal"):
            h.parse(library, f"b1 h1 q4 d8 preset:{preset} causal mask")


@pytest.fixture(scope="module")
def old(old_python, root, tmp_path_factory):
    """The drawn problems, computed by the old torch: name -> array."""
    folder, given = tmp_path_factory.mktemp("old"), {}
    for seed in SEEDS:
        case, mask, causal = drawn(seed, "torch_pre25", "nan")
        q, k, v = expand(case)
        given |= {f"{seed}.{name}": x.numpy() for name, x in (("q", q), ("k", k), ("v", v), ("dout", pc.upstream(case)))}
        given[f"{seed}.options"] = numpy.array(json.dumps({"causal": causal, "scale": case.scale}))
        if mask is not None:
            given[f"{seed}.mask"] = mask.numpy()
            given[f"{seed}.additive"] = additive(case, mask).contiguous().numpy()
    numpy.savez(folder / "in.npz", **given)
    old_python("old_torch.py", folder / "in.npz", folder / "out.npz", torch="2.4.1")
    return dict(numpy.load(folder / "out.npz"))


def test_torch_pre25(library, old):
    for seed in SEEDS:
        case, _, _ = drawn(seed, "torch_pre25", "nan")
        assert str(old["version"]).split("+")[0] in h.preset(library, "torch_pre25").contents.proof.decode()
        pc.judge(library, case, torch.from_numpy(old[f"{seed}.math"]))
        group = case.hq // case.hkv
        dq, dk, dv = (torch.from_numpy(old[f"{seed}.{name}"]) for name in ("dq", "dk", "dv"))
        pc.judge_gradients(library, case, [dq, *(x.unflatten(1, (case.hkv, group)).sum(2) for x in (dk, dv))])
        pc.judge(library, case, torch.from_numpy(old[f"{seed}.flash"]), torch.from_numpy(old[f"{seed}.lse"]))


def test_heed(library):
    """The defaults are a preset too: top left and bottom right differ, an empty row is zero, its lse -inf."""
    for seed in SEEDS:
        d = pc.Draw(seed)
        offset, pads, cap = d.skv - d.sq, d.left_pads(), d.choice([None, 3.0])
        see = (d.j <= d.i + offset)[None, None] & (d.j >= pads[:, None, None])[:, None]
        tokens = "causal pad:left" + (f" softcap:{cap}" if cap else "")
        arrays = {"key_range": torch.stack([pads, torch.full_like(pads, d.skv)], 1).int()}
        sinks = d.normal(d.hq) if d.maybe() else None
        tokens += " sink" if sinks is not None else ""
        case = pc.Case("heed", **d.tensors(), see=see, tokens=tokens, arrays=arrays, cap=cap, sinks=sinks, name=f"seed {seed}")
        exact, lse, _, _ = pc.formula(case, torch.float32)
        pc.judge(library, case, exact, lse)
        assert case.text.replace(" preset:heed", "") != case.text
        assert bytes(h.parse(library, case.text)) == bytes(h.parse(library, case.text.replace(" preset:heed", "")))


def test_mps_pre28_makes_the_published_nan(library):
    """Two texts, left padding, two layers: NaN first at [0, 0, 0]; after one layer the rows of the padding, after two every row
    of the padded text, and no row of the other. Published of a model on a machine that is not here."""
    torch.manual_seed(0)
    pads, s = torch.tensor([3, 0]), 9
    x = torch.randn(2, 1, s, 8)
    i, j = torch.arange(s)[:, None], torch.arange(s)
    see = (j <= i)[None, None] & (j >= pads[:, None, None])[:, None]
    for layer, wrong in enumerate([[[0, 0, row] for row in range(3)], [[0, 0, row] for row in range(s)]]):
        case = pc.Case("mps_pre28", q=x, k=x, v=x, see=see, tokens="causal pad:left", empty="nan",
                       arrays={"key_range": torch.tensor([[3, s], [0, s]], dtype=torch.int32)})
        results = [pc.run(library, case, implementation)[0] for implementation in pc.IMPLEMENTATIONS]
        for out in results:
            bad = out.isnan().any(-1).nonzero().tolist()
            assert bad == wrong, f"layer {layer}: {bad}"
            assert out[0].isnan().nonzero()[0].tolist() == [0, 0, 0] and out[1].isfinite().all()
        x = results[0]
    with pytest.raises(h.HeedError, match="no lse"):
        h.preset_lse(library, "mps_pre28", h.parse(library, case.text), h.Args())
