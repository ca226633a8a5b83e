# SPDX-License-Identifier: Apache-2.0
"""Presets hf_eager, hf_eager_gpt2 and gpt_oss against transformers' eager attention inside of its own models, masks included:
5.23 here, GPT-2 of 4.57 in .venv-old. Rows are left-padded, so that some see no key; a second call brings a cache."""
import heed_ctypes as h
import hf_record
import numpy
import preset_case as pc
import pytest
import torch
import transformers

SEEDS = range(4)
MODELS = {
    "gpt2": ("gpt2", "GPT2Config", "GPT2Model", {}),
    "llama": ("llama", "LlamaConfig", "LlamaModel", {}),
    "mistral": ("mistral", "MistralConfig", "MistralModel", {"sliding_window": 4}),
    "gemma2": ("gemma2", "Gemma2Config", "Gemma2Model", {"sliding_window": 5, "attn_logit_softcapping": 2.0}),
}

TOKENS = {12: 12, 4: 16}    # how many there are when a call has so many rows


def case_of(library, preset, pads, call, name):
    """The call in heed's words; the window is what the preset makes of the layer's number and the config's W."""
    q, k, v = (call[x] for x in "qkv")
    offset = k.shape[2] - q.shape[2]
    pads = (pads - (TOKENS[q.shape[2]] - k.shape[2])).clamp(min=0)    # a cache of a window forgets its first keys
    i, j = torch.arange(q.shape[2])[:, None], torch.arange(k.shape[2])
    see = (j <= i + offset)[None, None] & (j >= pads[:, None, None])[:, None]
    case = pc.Case(preset, q=q, k=k, v=v, see=see, offset=offset, scale=call["scale"], cap=call["cap"], name=name,
                   empty={"hf_eager": "mean", "hf_eager_gpt2": "mean_causal", "gpt_oss": "zero"}[preset],
                   arrays={"key_range": torch.stack([pads, torch.full_like(pads, k.shape[2])], 1).int()})
    tokens = f"causal pad:left offset:{offset}"
    tokens += f" softcap:{call['cap']}" if call["cap"] else ""
    if call["sinks"] is not None:
        case.sinks = call["sinks"].detach()
        tokens += " sink"
    case.tokens = tokens
    return case


@pytest.mark.parametrize("name", MODELS)
def test_hf_eager(library, name):
    for seed in SEEDS:
        assert transformers.__version__ in h.preset(library, "hf_eager").contents.proof.decode()
        family, config, model, more = MODELS[name]
        pads, made = hf_record.calls(family, hf_record.build(family, config, model, seed, **more), seed)
        windows = 0
        assert made[0]["q"].shape[2] == 12 and made[-1]["q"].shape[2] == 4
        for n, call in enumerate(made):
            case = case_of(library, "hf_eager", pads, call, f"{name}, seed {seed}, call {n}")
            if call["window"] is not None:
                windows += 1
                case.windows.append(h.preset_window(library, "hf_eager", more["sliding_window"], layer=call["layer"]))
                i, j = torch.arange(call["q"].shape[2])[:, None], torch.arange(call["k"].shape[2])
                case.see = case.see & (j > i + case.offset - call["window"])
            pc.judge(library, case, call["out"])
            # An empty row's weights do not depend on q and k, yet autograd goes on through x + minimum as if they did: heed's
            # gradient is that of the mean. Rows of the padding are not scored, and dout is 0 there.
            pc.judge_gradients(library, case, call["again"], seen_only=True)
            pc.judge_gradients(library, case, call["again"], arrays=("dv",))
        assert (windows > 0) == ("sliding_window" in more)


def test_gpt_oss(library):
    """A sink a head, windows of W keys in layers 0, 2, ...; lse by the weights, which the sink keeps from summing to 1."""
    for seed in SEEDS:
        assert transformers.__version__ in h.preset(library, "gpt_oss").contents.proof.decode()
        width = 4
        model = hf_record.build("gpt_oss", "GptOssConfig", "GptOssModel", seed, sliding_window=width, num_local_experts=2,
                                num_experts_per_tok=1)
        pads, made = hf_record.calls("gpt_oss", model, seed)
        assert [call["window"] for call in made] == [width, None, width] * 2
        for n, call in enumerate(made):
            case = case_of(library, "gpt_oss", pads, call, f"seed {seed}, call {n}, layer {call['layer']}")
            case.windows.append(h.preset_window(library, "gpt_oss", width, layer=call["layer"]))
            case.tokens = case.tokens.replace(f" offset:{case.offset}", "")    # the preset's own is this one
            if call["window"] is not None:
                i, j = torch.arange(call["q"].shape[2])[:, None], torch.arange(call["k"].shape[2])
                case.see = case.see & (j > i + case.offset - call["window"])
            seen = case.see.any(-1).expand(case.q.shape[:3])
            sinks, case.sinks = case.sinks, None
            without = pc.formula(case, torch.float64)[1]
            case.sinks = sinks
            lse = torch.where(seen, without - torch.log(call["weights"].double().sum(-1)), sinks.view(1, -1, 1).double())
            pc.judge(library, case, call["out"], lse)
            pc.judge_gradients(library, case, call["again"])
            assert not seen.all() or n >= 3    # the first call has rows that see nothing but the sink


@pytest.fixture(scope="module")
def gpt2_of_4(old_python, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2")
    old_python("hf_record.py", folder, len(SEEDS))
    return folder


def test_hf_eager_gpt2(library, gpt2_of_4):
    for seed in SEEDS:
        given = numpy.load(gpt2_of_4 / f"{seed}.npz")
        assert str(given["version"]) in h.preset(library, "hf_eager_gpt2").contents.proof.decode()
        pads = torch.from_numpy(given["pads"])
        for n in range(int(given["calls"])):
            call = {name: torch.from_numpy(given[f"{n}.{name}"]) for name in ("q", "k", "v", "out")}
            call |= {"scale": None, "cap": None, "sinks": None}
            pc.judge(library, case_of(library, "hf_eager_gpt2", pads, call, f"seed {seed}, call {n}"), call["out"])
