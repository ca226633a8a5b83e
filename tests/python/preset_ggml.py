# SPDX-License-Identifier: Apache-2.0
"""ggml's CPU library through ctypes: flash_attn_ext and soft_max_ext on PyTorch's tensors."""
import ctypes
from ctypes import POINTER, Structure, c_bool, c_char_p, c_float, c_int, c_int64, c_size_t, c_void_p

import torch

VERSION = "0.13.1"
TYPES = {torch.float32: 0, torch.float16: 1}


class InitParams(Structure):
    _fields_ = [("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool)]


def load(folder):
    """The libraries of an unpacked pywhispercpp wheel, which carries ggml."""
    libraries = {path.name.split("-")[0] if "ggml-" not in path.name else "-".join(path.name.split("-")[:2]): path
                 for path in (folder / "pywhispercpp.libs").iterdir()}
    ctypes.CDLL(str(libraries["libgomp"]), mode=ctypes.RTLD_GLOBAL)
    base = ctypes.CDLL(str(libraries["libggml-base"]), mode=ctypes.RTLD_GLOBAL)
    cpu = ctypes.CDLL(str(libraries["libggml-cpu"]), mode=ctypes.RTLD_GLOBAL)
    base.ggml_version.restype = c_char_p
    assert base.ggml_version().decode() == VERSION
    return Ggml(base, cpu)


def signature(function, result, *arguments):
    function.restype, function.argtypes = result, arguments


class Ggml:
    def __init__(self, base, cpu):
        self.base, self.cpu = base, cpu
        signature(base.ggml_init, c_void_p, InitParams)
        signature(base.ggml_free, None, c_void_p)
        signature(base.ggml_new_tensor_4d, c_void_p, c_void_p, c_int, c_int64, c_int64, c_int64, c_int64)
        signature(base.ggml_get_data, c_void_p, c_void_p)
        signature(base.ggml_flash_attn_ext, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_float, c_float, c_float)
        signature(base.ggml_flash_attn_ext_add_sinks, None, c_void_p, c_void_p)
        signature(base.ggml_soft_max_ext, c_void_p, c_void_p, c_void_p, c_void_p, c_float, c_float)
        signature(base.ggml_soft_max_add_sinks, None, c_void_p, c_void_p)
        signature(base.ggml_new_graph, c_void_p, c_void_p)
        signature(base.ggml_build_forward_expand, None, c_void_p, c_void_p)
        signature(cpu.ggml_graph_compute_with_ctx, c_int, c_void_p, c_void_p, c_int)
        cpu.ggml_cpu_init()

    def compute(self, shape, build):
        """build(tensor) makes the node from ggml tensors; tensor(x) is x as one. The node's floats, of this shape."""
        context, made = self.base.ggml_init(InitParams(32 << 20, None, False)), []

        def tensor(x):
            if x is None:
                return None
            x = x.contiguous()
            sizes = [*reversed(x.shape)] + [1] * (4 - x.dim())
            t = self.base.ggml_new_tensor_4d(context, TYPES[x.dtype], *sizes)
            ctypes.memmove(self.base.ggml_get_data(t), x.data_ptr(), x.numel() * x.element_size())
            made.append(t)
            return t

        node = build(context, tensor)
        graph = self.base.ggml_new_graph(context)
        self.base.ggml_build_forward_expand(graph, node)
        assert self.cpu.ggml_graph_compute_with_ctx(context, graph, 1) == 0
        result = torch.empty(shape)
        ctypes.memmove(result.data_ptr(), self.base.ggml_get_data(node), result.numel() * 4)
        self.base.ggml_free(context)
        return result

    def flash_attn(self, q, k, v, mask, scale, max_bias=0.0, softcap=0.0, sinks=None):
        """(b, h, q, d) in and out; mask is f16 (b, 1, q, k), added."""
        b, h, s, _ = q.shape

        def build(context, tensor):
            node = self.base.ggml_flash_attn_ext(context, tensor(q), tensor(k), tensor(v), tensor(mask), scale, max_bias, softcap)
            if sinks is not None:
                self.base.ggml_flash_attn_ext_add_sinks(node, tensor(sinks))
            return node
        return self.compute((b, s, h, v.shape[-1]), build).transpose(1, 2)

    def soft_max(self, scores, mask, scale, max_bias=0.0, sinks=None):
        def build(context, tensor):
            node = self.base.ggml_soft_max_ext(context, tensor(scores), tensor(mask), scale, max_bias)
            if sinks is not None:
                self.base.ggml_soft_max_add_sinks(node, tensor(sinks))
            return node
        return self.compute(scores.shape, build)
