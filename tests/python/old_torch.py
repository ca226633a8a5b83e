# SPDX-License-Identifier: Apache-2.0
"""Run by the second environment's Python: scaled_dot_product_attention of an old PyTorch. old_torch.py IN.npz OUT.npz

IN holds N.q, N.k, N.v, N.dout, N.options ({"causal", "scale"}) and, with a mask, N.mask and N.additive; OUT gets N.math with its
gradients N.dq, N.dk, N.dv, then N.flash and N.lse.
"""
import json
import sys

import numpy
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

given, results = dict(numpy.load(sys.argv[1])), {"version": numpy.array(torch.__version__)}
for n in sorted({name.split(".")[0] for name in given}):
    q, k, v = (torch.from_numpy(given[f"{n}.{x}"]).requires_grad_() for x in "qkv")
    options = json.loads(str(given[f"{n}.options"]))
    mask, add = (torch.from_numpy(given[f"{n}.{x}"]) if f"{n}.{x}" in given else None for x in ("mask", "additive"))
    for name, backend in (("math", SDPBackend.MATH), ("flash", SDPBackend.FLASH_ATTENTION)):
        with sdpa_kernel(backend):
            out = F.scaled_dot_product_attention(q, k, v, mask, is_causal=options["causal"], scale=options["scale"])
        results[f"{n}.{name}"] = out.detach().numpy()
        if name == "math":
            made = torch.autograd.grad(out, (q, k, v), torch.from_numpy(given[f"{n}.dout"]))
            results |= {f"{n}.{x}": y.numpy() for x, y in zip(("dq", "dk", "dv"), made)}
    results[f"{n}.lse"] = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q, k, v, 0.0, options["causal"], attn_mask=add, scale=options["scale"])[1].detach().numpy()
numpy.savez(sys.argv[2], **results)
