# SPDX-License-Identifier: Apache-2.0
"""Every call of a model's eager attention, as transformers makes it: left padding, then a second call with a cache.

Imported by test_presets_hf.py, and run by the second environment's Python for transformers 4: hf_record.py FOLDER N writes
what GPT-2 does for seeds 0 to N - 1.
"""
import importlib
import pathlib
import sys

import numpy
import torch


def small(config, **more):
    """Arguments of a tiny random config of these families."""
    rows = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "head_dim": 8,
            "num_key_value_heads": 2, "vocab_size": 50, "max_position_embeddings": 128, "pad_token_id": 0}
    if config.model_type == "gpt2":
        rows = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "vocab_size": 50}
    return config(**rows, initializer_range=0.3, attn_implementation="eager", **more)


def calls(family, model, seed):
    """Runs the model on left-padded rows, then on a few tokens more with its cache; one dict a call of attention."""
    module = importlib.import_module(f"transformers.models.{family}.modeling_{family}")
    plain, made = module.eager_attention_forward, []

    def recorded(layer, q, k, v, mask, **options):
        out, weights = plain(layer, q, k, v, mask, **options)
        scale = options.get("scaling")
        made.append({"again": lambda c: plain(layer, c.q, c.k, c.v, mask, **options)[0].transpose(1, 2), "q": q, "k": k, "v": v,
                     "out": out.transpose(1, 2), "weights": weights, "layer": layer.layer_idx,
                     "scale": q.shape[-1] ** -0.5 if scale is None else scale, "cap": options.get("softcap"),
                     "window": options.get("sliding_window"), "sinks": getattr(layer, "sinks", None)})
        return out, weights

    generator = torch.Generator().manual_seed(seed)
    b, s, more = 3, 12, 4
    pads = torch.tensor([0, 5, 11])
    ids = torch.randint(1, 50, (b, s + more), generator=generator)
    seen = (torch.arange(s + more) >= pads[:, None]).long()
    module.eager_attention_forward = recorded
    try:
        with torch.no_grad():
            first = model(input_ids=ids[:, :s], attention_mask=seen[:, :s], use_cache=True)
            model(input_ids=ids[:, s:], attention_mask=seen, past_key_values=first.past_key_values, use_cache=True)
    finally:
        module.eager_attention_forward = plain
    return pads, made


def build(family, config, model, seed, **more):
    torch.manual_seed(seed)
    module = importlib.import_module("transformers")
    made = getattr(module, model)(small(getattr(module, config), **more)).eval()
    for name, parameter in made.named_parameters():
        if name.endswith("sinks"):
            parameter.data.normal_()
    return made


if __name__ == "__main__":
    import transformers
    folder, n = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    for seed in range(n):
        pads, made = calls("gpt2", build("gpt2", "GPT2Config", "GPT2Model", seed), seed)
        arrays = {f"{i}.{name}": call[name].numpy() for i, call in enumerate(made) for name in ("q", "k", "v", "out")}
        numpy.savez(folder / f"{seed}.npz", pads=pads.numpy(), calls=len(made), version=transformers.__version__, **arrays)
