#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what each fuzz target begins with, made here of valid inputs and of some that are wrong in an interesting way.

usage: seeds.py FOLDER    (FOLDER/<target>/<number>, and FOLDER/<target>.dict)
"""
import io
import json
import pathlib
import struct
import sys
import zipfile


def safetensors(tensors, metadata=None):
    """{name: (dtype, shape, bytes)} as a file."""
    header, data = ({"__metadata__": metadata} if metadata else {}), b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def byte_chars():
    """GPT-2's table of a character for each byte."""
    plain = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    others = [b for b in range(256) if b not in plain]
    return [chr(b) if b in plain else chr(256 + others.index(b)) for b in range(256)]


def tokenizers():
    vocab = {c: i for i, c in enumerate(byte_chars())}
    merges = ["t h", "th e", "\u0120 t", "a a"]
    for pair in merges:
        vocab[pair.replace(" ", "")] = len(vocab)
    plain = dict(vocab)
    vocab["<|endoftext|>"] = len(vocab)
    added = {"id": vocab["<|endoftext|>"], "content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": True, "special": True}
    whole = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [added], "normalizer": None,
             "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
             "post_processor": {"type": "ByteLevel"}, "decoder": {"type": "ByteLevel"},
             "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                       "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "vocab": plain,
                       "merges": [pair.split(" ") for pair in merges]}}
    config = {"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1e30, "add_prefix_space": False}

    def text(x):
        return json.dumps(x, ensure_ascii=False, separators=(",", ":")).encode()
    lines = "#version: 0.2\n" + "\n".join(merges) + "\n"
    old = dict(whole, model=dict(whole["model"], vocab=vocab, merges=merges))
    yield b"\x01" + text(vocab) + b"\0" + lines.encode()
    yield b"\x00" + text(whole) + b"\0" + text(config)
    yield b"\x00" + text(old)
    yield b"\x00" + b"{}" + b"\0" + text(dict(config, tokenizer_class="LlamaTokenizer"))


def models():
    config = {"model_type": "gpt2", "activation_function": "gelu_new", "vocab_size": 5, "n_positions": 3, "n_layer": 1, "n_head": 2,
              "n_embd": 4, "n_inner": None, "layer_norm_epsilon": 1e-5, "initializer_range": 0.02, "bos_token_id": 4,
              "eos_token_id": 4, "tie_word_embeddings": True}
    w, block = 4, "transformer.h.0."
    shapes = {"transformer.wte.weight": [5, w], "transformer.wpe.weight": [3, w]}
    for name, shape in (("ln_1.weight", [w]), ("ln_1.bias", [w]), ("attn.c_attn.weight", [w, 3 * w]), ("attn.c_attn.bias", [3 * w]),
                        ("attn.c_proj.weight", [w, w]), ("attn.c_proj.bias", [w]), ("ln_2.weight", [w]), ("ln_2.bias", [w]),
                        ("mlp.c_fc.weight", [w, 4 * w]), ("mlp.c_fc.bias", [4 * w]), ("mlp.c_proj.weight", [4 * w, w]),
                        ("mlp.c_proj.bias", [w])):
        shapes[block + name] = shape
    shapes.update({"transformer.ln_f.weight": [w], "transformer.ln_f.bias": [w]})

    def tensors(dtype, size):
        out = {}
        for name, shape in shapes.items():
            count = shape[0] * (shape[1] if len(shape) == 2 else 1)
            out[name] = (dtype, shape, bytes(i * 37 % 64 for i in range(count * size)))
        return out
    for dtype, size in (("F32", 4), ("BF16", 2)):
        yield json.dumps(config).encode() + b"\0" + safetensors(tensors(dtype, size), {"format": "pt"})
    yield json.dumps(dict(config, scale_attn_by_inverse_layer_idx=True, attn_window=3)).encode()


PROBLEMS = """b1 h1 q4 d8
b1 h12 q1024 d64 causal bf16
b2 h4/2 q5 k9 d8/4 window:3,2 sink grad
b1 h2 q4 d8 f16 kv:int8 paged:16 count:rand
b2 h2 q4 d8 ragged dropout:0.125
b1 h1 q4 d8 preset:mps_pre28 causal pad:left
b1 h1 q4 d8 bias:h,k bf16 scale:-0.333333333333333 softcap:30 alibi mask:q,k bias-first bias-type:f16
b2 h2 q7 k11 d8 docs offset:3 layout:bshd seed:9 empty:mean pad:right
b1 h2 q4 d8 preset:torch offset:bottom empty:nan
b1 h1 q5 k0 d8
b0 h1 q0 d1""".split("\n")


def arguments():
    lines = ["--max_steps\n300\n--learning_rate\n2e-3", "--eval_steps=5\n--eval-strategy=no", "b1 h1 q4 d8\n--json",
             "--model\nx\n--attn_preset\nmps_pre28\n--disable_mps_fix", "--\n--x\n-", "--warmup_ratio\n1e999\n--seed\n-1",
             "--use_packing\n--packing_leak\n--padding_side\nrihgt", "--impl\nall\n--random\n5\n--size=16\n--poison", ""]
    for i, line in enumerate(lines):
        for verb in range(0, 12, 3):
            yield bytes([(verb + i) % 12]) + line.encode()


def npy(descr, shape, raw, fortran=False, version=1):
    text = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + raw


def npz():
    f32 = struct.pack("<6f", *range(6))
    arrays = [npy("<f4", (2, 3), f32), npy(">f4", (3, 2), f32, True), npy("|S5", (), b"b1 h1"), npy("<U2", (1,), f32[:8]),
              npy("<f8", (0, 4), b"", version=2), npy("<V2", (12,), f32, version=3), npy("|O", (1,), b"x")]
    yield from (b"\1" + a for a in arrays)
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        for wide in (False, True):
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", kind) as archive:
                for i, array in enumerate(arrays[:4]):
                    with archive.open(zipfile.ZipInfo(f"a{i}.npy"), "w", force_zip64=wide) as member:
                        member.write(array)
            yield b"\0" + file.getvalue()


def captures():
    q, k = bytes([4, 33, 2, 3]), bytes([4, 33, 2, 4])
    tensors = b"".join(bytes([i, 11]) + shape for i, shape in ((0, q), (1, k), (2, k), (3, q)))
    more = bytes([5, 11, 1, 2, 0, 0]) + bytes([9, 9, 2, 1, 2, 0]) + bytes([8, 0, 2, 3, 4, 0]) + bytes([11, 9, 1, 4, 0, 0])
    for text in (b"causal", b"", b"b1 h2 q3 k4 d2 sink", b"sink pad:left mask:q,k docs", b"bf16 rope:half",
                 b"grad bias dropout:0.5"):
        yield text + b"\0" + tensors + more + bytes(range(24))


def run_files():
    state = {"format": 2, "step": 5, "steps": 10, "steps_per_epoch": 4, "epoch": 1.25, "loss_sum": 3.5, "window_loss": 0.5,
             "window_steps": 1, "tokens": 99, "evaluation_due": False, "seed": 42, "batch_size": 8,
             "gradient_accumulation_steps": 1, "rows": 30,
             "threads": 1, "data": "0123456789abcdef", "learning_rate": 0.001, "lr_scheduler_type": "linear"}
    yield b"\x01" + json.dumps(state).encode()
    yield b"\x00" + b"".join(json.dumps({"step": i, "loss": 5 - i}).encode() + b"\n" for i in range(1, 12)) + b'{"step": 3'
    yield b'\x00{"step": -3}\n\n[]\n{"step": 1e3}\nx\n{"step": 7, "eval_loss": null}\n'


def runs():
    options = {"given": {"seed": 1}, "effective": {"seed": 1, "learning_rate": 1e-3, "attn_preset": None}}
    part = {"options": options, "resumed_from": "x/checkpoints/step-5"}
    run = {"options": options, "machine": {"heed": "0.1.0", "cpu_features": ["avx2"]}, "model": {"layers": 4},
           "data": {"rows": 3, "members": [{"name": "a", "rate": 0.5}]}, "resumed": [part]}
    attention = [{"pass": p, "requested": "auto", "actual": "cpu.flash", "preset": "heed", "reason": "r", "substituted": False}
                 for p in ("training", "evaluation")]
    lines = [{"step": s, "loss": 5 - s, "eval_loss/a": 2.5, "truncated": s == 2, "deep": {"er": s}} for s in range(1, 6)]
    lines.append({"step": 6, "non_finite": {"sentence": "layer 3"}})
    final = {"status": "done", "eval_loss": 2, "truncated": True, "attention": {}}
    text = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    yield b"\0".join([json.dumps(run).encode(), json.dumps(attention).encode(), json.dumps(final).encode(), text])
    yield b"{}\0[]\0{}\0" + text[::-1]
    yield b"\0\0\0" + text + b'{"step": 3'


TEXTS = [b"one two\n\nthree\r\n \t\r\nfour", b"\xef\xbb\xbfmark\n\xef\xbb\xbfinside", b"a\0b\n\n\xff\xfe\n", b"\n\n", b"x",
         "The caf\u00e9's 12 \u4e16\u754c <|endoftext|> aaaa \u2028 \U0001f600".encode()]
RECORDS = [b'{"text": "a"}\n\n{"text": "b\\u0000c", "x": [1]}\r\n', b'{"text": ""}', b'{"prompt": "p", "answer": "a"}\n', b"[1]\n"]
TABLES = [b'text,other\n"a ""quoted"" one",2\nplain,3\n', b'prompt,answer\r\np,a\r\n', b'text\n"over\ntwo lines"\n', b'text\n"open']


def seeds():
    f32 = struct.pack("<6f", *range(6))
    files = [{}, {"a": ("F32", [2, 3], f32)}, {"a": ("BF16", [2], b"\x80\x3f\0\0"), "e": ("I64", [0], b""), "s": ("U8", [], b"7")}]
    return {
        "json": [b'{"a":1,"b":[0.5,true,null,"x\\u0041"],"c":{"d":-0.0}}', b'{"a":"\\ud83d\\ude00"}',
             b'{"t":"gelu_new","n":1e-5}'],
        "npz": list(npz()),
        "capture": list(captures()),
        "safetensors": [safetensors(f) for f in files] + [safetensors(files[1], {"format": "pt"}),
                    b"\xff" * 8 + b"{}"],
        "tokenizer_files": list(tokenizers()),
        "tokenizer_text": TEXTS + RECORDS,
        "problem_text": [p.encode() for p in PROBLEMS],
        "dataset": [b"\0" + t for t in TEXTS] + [b"\1" + t for t in RECORDS] + [b"\2" + t for t in TABLES] +
                   [b"\3" + t.replace(b",", b"\t") for t in TABLES] + [b"\4" + struct.pack("<5H", 65, 66, 256, 67, 300)] +
                   [b'\5[{"text": "a"}, {"text": ""}]'] + [b"\5" + t for t in RECORDS],
        "model": list(models()),
        "run_files": list(run_files()),
        "runs": list(runs()),
        "arguments": list(arguments()),
        "text_stream": [b"\0one\n\ntwo", b"\2 sto stop",
                        "\3caf\u00e9 \u4e16\u754c <|endoftext|>".encode(), b"\1\xf0\x9f\x98"],
    }


# Words that mutation alone would rarely find.
WORDS = {
    "json": ['"', "{", "}", "[", "]", ":", ",", "null", "true", "1e308", "-0.0",
             "\\\\u0000", "\\\\ud800"],
    "safetensors": ['"dtype"', '"shape"', '"data_offsets"', '"__metadata__"', "F32",
                    "F16", "BF16", "I64", "F8_E4M3", "[]"],
    "capture": "causal sink bias mask:q,k pad:left docs count:rand alibi grad dropout:0.5 rope:half rope:pairs bf16 f16 kv:int8 "
               "ragged paged:4 h2/1 q3 k4 b1 d2/1 layout:bshd".split(),
    "npz": ["'descr'", "'fortran_order'", "'shape'", "True", "False", "'<f4'", "'>u2'", "'|b1'", "'<U9'", "'|O'", "(3,)", "()",
            "PK\\x05\\x06", "PK\\x06\\x06"],
    "model": ["n_inner", "n_head", "vocab_size", "lm_head.weight", ".attn.bias",
              "transformer.", "torch_dtype", "F16", "attn"],
    "tokenizer_files": ["added_tokens", "<|endoftext|>", "ByteLevel", "TemplateProcessing",
                        "special_tokens", "#version"],
    "tokenizer_text": ["<|endoftext|>", "'ll", " the", "\\xe2\\x80\\xa8", "\\xf0\\x9f\\x98\\x80", "\\xed\\xa0\\x80"],
    "problem_text": "b1 h4/2 q8 k9 d8/4 bf16 f16 kv:int8 causal causal:top window:3,2 prefix:3 softcap:5 sink alibi docs bias "
                    "bias:h,k bias-first bias-type:f16 mask mask:q,k pad:left pad:right empty:nan empty:mean scale:2 "
                    "empty:mean_causal dropout:0.5 paged:4 count:rand layout:bshd seed:3 preset:torch preset:mps_pre28 "
                    "preset:flash_attention_2 grad ragged offset:3 offset:top offset:bottom".split(),
    "dataset": ['{"text":"', '"}\\x0a', "\\x0d\\x0a", "\\xef\\xbb\\xbf", "<|endoftext|>", '""', "text", "prompt", "answer"],
    "arguments": ["--max_steps", "--eval_steps", "--eval_strategy", "--use_packing", "--packing_leak", "--warmup_ratio", "--json",
                  "--attn_implementation", "--attn_preset", "--help", "--", "=", "1e99", "-1", "\\x0a"],
    "runs": ['"step"', '"loss"', '"name"', '"effective"', '"actual"', '"resumed"', "}\\x0a{", "null", "-1", "1e308", "[", "{"],
    "run_files": ['"step"', "-1", "9223372036854775807", "}\\x0a{", "null", '"files"', '"checksum"'],
}


def main():
    out = pathlib.Path(sys.argv[1])
    for name, inputs in seeds().items():
        (out / name).mkdir(parents=True, exist_ok=True)
        for i, raw in enumerate(inputs):
            (out / name / str(i)).write_bytes(raw)
    for name, words in WORDS.items():
        quoted = [w.replace('"', '\\"') for w in words]
        (out / f"{name}.dict").write_text("".join(f'"{w} "\n' if name == "problem_text" else f'"{w}"\n' for w in quoted))


if __name__ == "__main__":
    main()
