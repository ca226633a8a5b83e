# SPDX-License-Identifier: Apache-2.0
"""Files of heed's writer read by `safetensors`, and the reverse."""
import json
import struct
import subprocess

import pytest

safetensors = pytest.importorskip("safetensors")
torch = pytest.importorskip("torch")
from safetensors.torch import load_file, save_file  # noqa: E402


def tensors():
    generator = torch.Generator().manual_seed(1)
    real = torch.randn(5, 7, generator=generator)
    return {
        "wte.weight": real, "half": real.half(), "brain": real.bfloat16(), "double": real.double(),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4), "step": torch.tensor([2**40 + 1]), "i32": torch.arange(6, dtype=torch.int32).reshape(1, 2, 3),
        "u8": torch.arange(256, dtype=torch.uint8),
        "i8": torch.arange(-8, 8, dtype=torch.int8),
        "mask": torch.tensor([True, False, True]),
        "i16": torch.arange(3, dtype=torch.int16), "f8": real.to(torch.float8_e4m3fn), 'quote"\\\u00fc': torch.ones(3),
    }


def run(tool, *words):
    return subprocess.run([str(tool("io")), *map(str, words)], capture_output=True, text=True)


def equal(a, b):
    same = torch.equal(a.flatten().view(torch.uint8), b.flatten().view(torch.uint8))
    return a.dtype == b.dtype and a.shape == b.shape and bool(same)


def test_round_trip(tool, tmp_path):
    source, copy = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_file(tensors(), source, metadata={"format": "pt", "note": "x"})
    result = run(tool, "copy", source, copy)
    assert result.returncode == 0, result.stderr
    read = load_file(copy)
    assert read.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert equal(read[name], tensor), name
    with safetensors.safe_open(copy, "pt") as opened:
        assert opened.metadata() == {"format": "pt"}
    header = struct.unpack("<Q", copy.read_bytes()[:8])[0]
    assert (8 + header) % 8 == 0


def test_names(tool, tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"b": torch.zeros(2, 3), "a": torch.zeros(4, dtype=torch.int64)}, path)
    assert sorted(run(tool, "names", path).stdout.splitlines()) == ["a I64 4", "b F32 2 3"]


def test_both_refuse(tool, tmp_path):
    """What the reference implementation calls damaged, heed refuses too, with one sentence that names the file."""
    good = tmp_path / "good.safetensors"
    save_file({"a": torch.arange(4.0), "b": torch.arange(2.0)}, good)
    whole = good.read_bytes()
    size = struct.unpack("<Q", whole[:8])[0]
    header, data = json.loads(whole[8:8 + size]), whole[8 + size:]

    def build(change, more=b""):
        changed = json.loads(json.dumps(header))
        change(changed)
        text = json.dumps(changed).encode()
        return struct.pack("<Q", len(text)) + text + data + more

    damaged = [whole[:-1], whole + b"\0", whole[:7], whole[:40], b"", struct.pack("<Q", 1 << 60) + whole[8:],
               build(lambda h: h["a"].update(data_offsets=[0, 8])), build(lambda h: h["b"].update(data_offsets=[8, 16])),
               build(lambda h: h["a"].update(shape=[5])), build(lambda h: h["a"].update(dtype="F99")), build(lambda h: h.pop("a")),
               build(lambda h: h.update(c={"dtype": "F32", "shape": [1], "data_offsets": [28, 32]}), b"\0" * 8)]
    for number, bytes_ in enumerate(damaged):
        path = tmp_path / f"damaged-{number}.safetensors"
        path.write_bytes(bytes_)
        with pytest.raises(Exception):
            load_file(path)
        result = run(tool, "names", path)
        assert result.returncode == 1 and path.name in result.stderr and result.stderr.count("\n") == 1, (number, result.stderr)


def test_every_truncation_refused_by_both(tool, tmp_path):
    path = tmp_path / "cut.safetensors"
    save_file({"a": torch.arange(4.0)}, path)
    whole = path.read_bytes()
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        assert run(tool, "names", path).returncode == 1
