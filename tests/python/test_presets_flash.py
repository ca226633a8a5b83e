# SPDX-License-Identifier: Apache-2.0
"""Presets flash_attention_2 and flash_attention_3 against the PyTorch references that flash-attn judges its own kernels by.

The kernels want a GPU. What only they know (the lse of an empty row, alibi without the row's position) is read in their source.
"""
import ast
import functools
import math
import re

import einops
import heed_ctypes as h
import preset_case as pc
import pytest
import torch
from fetch import fetch

SEEDS = range(30)


@functools.cache
def functions(path, *names):
    """These functions of a file that cannot be imported as a whole, since the rest of it asks for a GPU."""
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in names]
    assert {node.name for node in tree.body} == set(names), f"{path} lacks one of {names}"
    space = {"torch": torch, "math": math, "rearrange": einops.rearrange, "repeat": einops.repeat}
    space |= {"DEBUG": False, "DEBUG_CORE": False}
    for node in tree.body:    # annotations name what was not imported
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None
    exec(compile(tree, str(path), "exec"), space)
    return space


@pytest.fixture(scope="module")
def flash2():
    """The unpacked source of flash-attn 2.8.3, which also holds hopper/, version 3's tests."""
    folder = fetch("flash-attn==2.8.3.post2", "--no-binary", ":all:", "--no-build-isolation",
                   environment={"FLASH_ATTENTION_SKIP_CUDA_BUILD": "TRUE"})
    return next(folder.glob("flash_attn-*"))


@pytest.fixture(scope="module")
def flash4():
    return fetch("flash-attn-4==4.0.0b36", "--only-binary", ":all:")


def drawn(seed, preset, library, sinks=False):
    """A problem and the keywords of attention_ref; -1 is an open side, as in version 2."""
    d = pc.Draw(seed)
    kind = d.choice(["plain", "causal", "causal", "window", "window causal", "counts causal"])
    cap = d.choice([0.0, 0.0, 3.0])
    case = pc.Case(preset, **d.tensors(), see=d.all, cap=cap, name=f"seed {seed}, {kind}")
    options, tokens, offset = {"softcap": cap}, ([f"softcap:{cap}"] if cap else []), torch.tensor([d.skv - d.sq])
    if "counts" in kind:    # the cache is longer than a sequence; its own count says where its rows stand
        counts = torch.tensor([d.randint(1, d.skv) for _ in range(d.b)])
        options["key_padding_mask"] = d.j < counts[:, None]
        case.see, case.arrays["key_count"] = case.see & options["key_padding_mask"][:, None, None], counts.int()
        offset = counts - d.sq
        tokens.append("count:rand")
    at = d.i + offset[:, None, None]
    if "causal" in kind:
        options["causal"] = True
        case.see = case.see & (d.j <= at)[:, None]
        tokens.append("causal")
    if "window" in kind:    # version 2's reference reads an open right side beside a closed left one as closed
        left, right = d.randint(-1, 9), d.randint(0, 9)
        options["window_size"] = (left, right)
        case.windows.append(h.preset_window(library, preset, left, right))
        case.see = case.see & (((left < 0) | (d.j >= at - left)) & (d.j <= at + right))[:, None]
    if sinks and d.maybe():
        case.sinks = d.normal(d.hq)
        tokens.append("sink")
    case.tokens = " ".join(tokens)
    return case, options


def bshd(case):
    return (x.transpose(1, 2) for x in (case.q, case.k, case.v))


def their_lse(case, empty):
    lse = pc.formula(case, torch.float64)[1].float()
    return torch.where(lse == -torch.inf, empty, lse)


def test_flash_attention_2(library, flash2):
    for seed in SEEDS:
        assert "2.8.3" in flash2.name and "2.8.3" in h.preset(library, "flash_attention_2").contents.proof.decode()
        reference = functions(flash2 / "tests/test_flash_attn.py", "construct_local_mask", "attention_ref")["attention_ref"]
        case, options = drawn(seed, "flash_attention_2", library)

        def theirs(c):
            return reference(*bshd(c), **options)[0].transpose(1, 2)
        pc.judge(library, case, theirs(case), their_lse(case, torch.inf))
        pc.judge_gradients(library, case, theirs)


def test_flash_attention_2_alibi(library, flash2):
    """Causal, without a window: slope * key for all rows alike. The reference's bias is that less a constant of the head."""
    for seed in SEEDS:
        names = ("construct_local_mask", "attention_ref", "attn_bias_from_alibi_slopes")
        reference = functions(flash2 / "tests/test_flash_attn.py", *names)
        d = pc.Draw(seed)
        slopes = torch.rand(d.hq, generator=d.torch)
        left = d.choice([-1, 4, 12])
        window = 0 <= left < d.skv    # a wider one is none, and its kernels then drop the position too
        case = pc.Case("flash_attention_2", **d.tensors(), see=(d.j <= d.i + d.skv - d.sq)[None, None], tokens="causal alibi",
                       arrays={"slopes": slopes}, name=f"seed {seed}")
        if left >= 0:
            case.windows.append(h.preset_window(library, case.preset, left, 0))
            case.see = case.see & (d.j >= d.i + d.skv - d.sq - left)
        bias = reference["attn_bias_from_alibi_slopes"](slopes.expand(d.b, -1), d.sq, d.skv, causal=not window)
        theirs = reference["attention_ref"](*bshd(case), attn_bias=bias, causal=True, window_size=(left, 0))[0]
        case.bias = (slopes.view(1, -1, 1, 1) * (d.j - (d.i + d.skv - d.sq))).float()
        by_key = 0 if window else slopes.view(1, -1, 1) * (torch.arange(d.sq) + d.skv - d.sq)
        pc.judge(library, case, theirs.transpose(1, 2), their_lse(case, torch.inf) + by_key)


def test_flash_attention_2_lse(library, flash2):
    """lse of the package's other reference, natural, where a row sees a key; it has no caps, counts and windows."""
    for seed in SEEDS:
        names = ("attention_forward_core_ref_impl", "attention_vanilla_forward_pytorch_ref_impl")
        reference = functions(flash2 / "flash_attn/flash_attn_triton_amd/fwd_ref.py", *names)[names[1]]
        d = pc.Draw(seed, value_channels=False)
        causal = d.maybe(0.7)
        see = d.j <= d.i + d.skv - d.sq if causal else d.all
        case = pc.Case("flash_attention_2", **d.tensors(), see=see, tokens="causal" if causal else "", name=f"seed {seed}")
        out, lse, _ = reference(d.q, d.k, d.v, 1 / math.sqrt(d.d), causal, "bhsd", 0.0, None, None, None, False)
        assert out.dtype == torch.float16    # rounded, so that lse alone is for a comparison
        case_out = pc.formula(case, torch.float32)[0]
        pc.judge(library, case, case_out, torch.where(case.see.any(-1).expand(d.b, d.hq, d.sq), lse, torch.inf))


def test_flash_attention_2_kernels_say_so(flash2):
    """What no reference shows: an empty row's lse is +inf, lse is natural, causal alibi is slope * key, without a window only."""
    source = {name: re.sub(r"\s+", " ", (flash2 / "csrc/flash_attn" / name).read_text())
              for name in ("flash_api.cpp", "src/softmax.h", "src/alibi.h")}
    assert re.search(r"lse\(mi\) = \(sum == 0\.f \|\| sum != sum\) \? \(Split \? -INFINITY : INFINITY\) "
                     r": row_max\(mi\) \* softmax_scale \+ __logf\(sum\)", source["src/softmax.h"])
    causal, general = source["src/alibi.h"].split("} else {")[:2]
    assert "if constexpr (Is_causal)" in causal and "+= alibi_slope * col_idx;" in causal
    assert "-= alibi_slope * abs(row_idx + max_seqlen_k - max_seqlen_q - col_idx);" in general
    assert "params.is_causal = window_size_left < 0 && window_size_right == 0;" in source["flash_api.cpp"]
    assert "if (window_size_left >= seqlen_k) { window_size_left = -1; }" in source["flash_api.cpp"]


def test_flash_attention_3(library, flash2):
    for seed in SEEDS:
        names = ("construct_local_mask", "construct_chunk_mask", "attention_ref")
        reference = functions(flash2 / "hopper/test_util.py", *names)["attention_ref"]
        case, options = drawn(seed, "flash_attention_3", library)
        pc.judge(library, case, reference(*bshd(case), **options)[0].transpose(1, 2))


def test_flash_attention_3_lse(library, flash4):
    """The same reference in its later form, which takes sinks and returns lse."""
    for seed in SEEDS:
        assert "4.0.0b36" in h.preset(library, "flash_attention_3").contents.proof.decode()
        names = ("construct_local_mask", "construct_chunk_mask", "attention_ref")
        reference = functions(flash4 / "flash_attn/cute/testing.py", *names)["attention_ref"]
        case, options = drawn(seed, "flash_attention_3", library, sinks=True)
        if "window_size" in options:
            options["window_size"] = tuple(None if side < 0 else side for side in options["window_size"])
        out, _, lse = reference(*bshd(case), learnable_sink=case.sinks, return_lse=True, **options)
        pc.judge(library, case, out.transpose(1, 2), lse)
