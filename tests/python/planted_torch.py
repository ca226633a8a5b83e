# SPDX-License-Identifier: Apache-2.0
"""Correct results by other people's code: PyTorch's kernels on the CPU and the eager attention of transformers."""
import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers.models.llama.modeling_llama import eager_attention_forward

import planted

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
KERNELS = ("math", "flash", "eager")


def case_for(seed, most):
    """A claim that these can compute: causal as theirs (top-left), a mask or a bias in place of it, grouped heads."""
    r = np.random.default_rng(seed)
    shape = planted.draw_shape(seed, most)
    c = planted.Case(seed=seed, B=shape.B, Hq=shape.Hq, Hkv=shape.Hkv, Sq=shape.Sq, Skv=shape.Skv, D=shape.D, Dv=shape.D,
                     dtype=shape.dtype, scale=shape.scale)
    kind = r.choice(["causal", "mask", "bias", "none"])
    c.causal, c.offset = bool(kind == "causal"), "top"
    c.mask = str(r.choice(["bhqk", "bqk", "qk"])) if kind == "mask" else ""
    c.bias = str(r.choice(["bhqk", "hqk", "qk"])) if kind == "bias" else ""
    planted.fill(c)
    if c.bias:    # they add it in the type of q
        c.arrays["bias"] = planted.ROUND[c.dtype](c.arrays["bias"])
    if c.mask:    # what they give for a row that sees nothing is another matter
        c.arrays["mask"][..., 0] = 1
    return c


def compute(case, kernel):
    t = TYPES[case.dtype]
    q, k, v = (torch.tensor(case.arrays[n]).to(t) for n in "qkv")
    mask = None
    if case.mask:
        mask = torch.tensor(case.arrays["mask"]).bool()
    if case.bias:
        mask = torch.tensor(case.arrays["bias"]).to(t)
    if kernel == "eager":
        if case.causal:
            mask = torch.ones(case.Sq, case.Skv).tril().bool()[None, None]
        if mask is not None and mask.dtype == torch.bool:
            mask = torch.zeros(mask.shape, dtype=t).masked_fill(~mask, torch.finfo(t).min)
        module = torch.nn.Module()
        module.num_key_value_groups = case.Hq // case.Hkv
        out = eager_attention_forward(module, q, k, v, mask, scaling=case.scale_used())[0].transpose(1, 2)
    else:
        with sdpa_kernel(SDPBackend.MATH if kernel == "math" else SDPBackend.FLASH_ATTENTION):
            if mask is not None:
                mask = mask.expand(case.B, case.Hq, case.Sq, case.Skv)
            group = case.Hq // case.Hkv
            out = torch.nn.functional.scaled_dot_product_attention(
                q, k.repeat_interleave(group, 1), v.repeat_interleave(group, 1), attn_mask=mask, is_causal=case.causal,
                scale=case.scale_used())
    return out.to(torch.float64).numpy()
