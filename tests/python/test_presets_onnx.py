# SPDX-License-Identifier: Apache-2.0
"""Preset onnx against the Attention operator: onnx's reference evaluator (opsets 23 to 25) and onnxruntime where it has it."""
import heed_ctypes as h
import numpy
import preset_case as pc
import pytest
import torch

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx.reference")
onnxruntime = pytest.importorskip("onnxruntime")

SEEDS = range(30)
INPUTS = ("Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen")


def model(opset, given, attributes):
    """One Attention node over the given arrays (None: left out)."""
    types = {name: onnx.helper.np_dtype_to_tensor_dtype(x.dtype) for name, x in given.items()}
    names = [name if name in given else "" for name in INPUTS]
    while not names[-1]:
        names.pop()
    outputs = ["Y"] + (["present_key", "present_value"] if "past_key" in given else [])
    node = onnx.helper.make_node("Attention", names, outputs, **attributes)
    graph = onnx.helper.make_graph(
        [node], "attention", [onnx.helper.make_tensor_value_info(name, types[name], x.shape) for name, x in given.items()],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=11)


def reference(opset, given, attributes):
    return torch.from_numpy(onnx.reference.ReferenceEvaluator(model(opset, given, attributes)).run(None, given)[0])


def runtime(opset, given, attributes):
    """onnxruntime's result; None where its CPU provider has no such operator."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model(opset, given, attributes).SerializeToString(), options,
                                               providers=["CPUExecutionProvider"])
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
        return None
    return torch.from_numpy(session.run(None, given)[0])


def drawn(seed, library):
    """Opset, inputs and attributes of the operator, and the same for heed."""
    d = pc.Draw(seed)
    kind = d.choice(["plain", "causal", "mask", "bias", "causal mask", "past", "counts", "window", "window causal"])
    cap, scale = d.choice([None, None, 3.0]), d.choice([None, 0.25])
    given = {"Q": d.q, "K": d.k, "V": d.v}
    attributes = {"softcap": cap} if cap else {}
    attributes |= {"scale": scale} if scale else {}
    tokens, see, opset = ([f"softcap:{cap}"] if cap else []), d.all, d.choice([23, 24])
    case = pc.Case("onnx", **d.tensors(), see=see, cap=cap, scale=scale, name=f"seed {seed}, {kind}")
    offset, counts = torch.zeros(1, dtype=torch.int64), None
    if kind == "past":        # a cache: its length is the offset, which is the caller's to say
        past = d.randint(0, d.skv - 1)
        given |= {"past_key": d.k[:, :, :past], "past_value": d.v[:, :, :past], "K": d.k[:, :, past:], "V": d.v[:, :, past:]}
        offset = torch.tensor([past])
        tokens.append(f"offset:{past}")
    if kind == "counts":      # a cache of the caller's own: bottom-right, sequence by sequence
        opset, counts = 24, torch.tensor([d.randint(0, d.skv) for _ in range(d.b)])
        given["nonpad_kv_seqlen"], offset = counts, counts - d.sq
        case.see = case.see & (d.j < counts[:, None, None])[:, None]
        case.arrays["key_count"] = counts.int()
        tokens.append("count:rand offset:bottom")
    if "causal" in kind or kind in ("past", "counts"):
        attributes["is_causal"] = 1
        case.see = case.see & (d.j <= d.i + offset[:, None, None])[:, None]
        tokens.append("causal")
    if "mask" in kind:
        mask = d.bits(d.b, 1, d.sq, d.skv, p=0.5)
        mask[:, :, d.randint(0, d.sq - 1)] = False
        given["attn_mask"], case.see, case.arrays["mask"] = mask, case.see & mask, mask[:, 0].to(torch.uint8)
        tokens.append("mask:b,q,k")
    if kind == "bias":
        case.bias = d.normal(1, d.hq, d.sq, d.skv).masked_fill(d.bits(1, d.hq, d.sq, d.skv, p=0.3), -torch.inf)
        case.bias[:, :, d.randint(0, d.sq - 1)] = -torch.inf
        given["attn_mask"], case.arrays["bias"] = case.bias, case.bias[0]
        tokens.append("bias:h,q,k")
    if "window" in kind:
        opset, left, right = 25, d.randint(-1, 8), d.randint(-1, 8)
        attributes |= {"left_window_size": left, "right_window_size": right}
        case.windows.append(h.preset_window(library, "onnx", left, right))
        case.see = case.see & ((left < 0) | (d.j >= d.i - left)) & ((right < 0) | (d.j <= d.i + right))
    case.tokens = " ".join(tokens)
    return opset, {name: x.contiguous().numpy() for name, x in given.items()}, attributes, case


def test_onnx(library):
    for seed in SEEDS:
        proof = h.preset(library, "onnx").contents.proof.decode()
        assert onnx.__version__ in proof and onnxruntime.__version__ in proof
        opset, given, attributes, case = drawn(seed, library)
        pc.judge(library, case, reference(opset, given, attributes))


def test_onnxruntime(library):
    missing = set()
    for seed in SEEDS:
        opset, given, attributes, case = drawn(seed, library)
        theirs = runtime(opset, given, attributes)
        if theirs is None:
            missing.add(opset)
            continue
        pc.judge(library, case, theirs)
    if missing:
        pytest.skip(f"onnxruntime {onnxruntime.__version__} has no Attention of opset {sorted(missing)} on CPU; the others passed")


def test_onnx_adds_the_mask_after_the_cap(library):
    """Were it added before, a cap of 2 would make a hidden key's -inf a -2, and the key would be back."""
    q = numpy.ones((1, 1, 1, 8), numpy.float32)
    k = numpy.ones((1, 1, 2, 8), numpy.float32)
    v = numpy.array([1.0, 100.0], numpy.float32).reshape(1, 1, 2, 1)
    given = {"Q": q, "K": k, "V": v, "attn_mask": numpy.array([[True, False]])}
    assert reference(24, given, {"softcap": 2.0}).item() == 1.0
