# SPDX-License-Identifier: Apache-2.0
"""Data sets as they are found: blank and huge lines, zero bytes, invalid UTF-8, every kind of line end, marks of byte order. What
the documents and their ids are is computed here again, by Python and `tokenizers`."""
import json
import random
import re
import resource
import subprocess
import time

import pytest

EOS_BYTES = 256
BLANKS = b" \t\r\n\x0b\x0c"
PIECES = [b"word", b"two words", b" ", b"\n", b"\n", b"\n\n", b"\r\n", b"\r\n\r\n", b"\r", b"\0", b"\xef\xbb\xbf", b"\xff\xfe",
          b"\xc3", b"\xe4\xb8", b"\xed\xa0\x80", b"\t", b"\x0b", b"\x0c", b"12", b"'ll",
          "caf\u00e9 \u4e16\u754c \U0001f600".encode(),
          "\u2028\u0085\u00a0".encode(), b"<|endoftext|>", b"a" * 300]


def text_documents(raw):
    """docs: .txt is a document per run of lines that are not blank; CR LF is a newline; a mark at the start is dropped."""
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    lines = raw.split(b"\n")
    found, lines_of_one = [], []
    for number, line in enumerate(lines):
        if not line.strip(BLANKS):
            if lines_of_one:
                found.append(b"\n".join(lines_of_one))
            lines_of_one = []
        else:
            lines_of_one.append(line.removesuffix(b"\r") if number + 1 < len(lines) else line)
    return found + ([b"\n".join(lines_of_one)] if lines_of_one else [])


def byte_ids(raw):
    """Ids of the byte tokenizer: the name of EOS inside of a text is EOS."""
    parts = raw.split(b"<|endoftext|>")
    return [i for n, part in enumerate(parts) for i in ([EOS_BYTES] if n else []) + list(part)] + [EOS_BYTES]


def read(tool, what, path, **more):
    """Ids of each document; None and the sentence where heed refuses the file."""
    done = subprocess.run([str(tool("io")), "documents-ids", str(what), str(path)], capture_output=True, timeout=120, **more)
    assert done.returncode in (0, 1), done
    if done.returncode == 1:
        lines = done.stderr.decode("utf-8").splitlines()
        assert len(lines) == 1 and path.name in lines[0], done.stderr
        return None, lines[0]
    return [[int(i) for i in line.split()] for line in done.stdout.splitlines()], None


def test_random_text_files(tool, tmp_path):
    draw = random.Random(3)
    path = tmp_path / "odd.txt"
    for case in range(250):
        raw = b"".join(draw.choice(PIECES) for _ in range(draw.randrange(40)))
        path.write_bytes(raw)
        wanted = [byte_ids(d) for d in text_documents(raw)]
        got, sentence = read(tool, "bytes", path)
        assert got == (wanted or None), (case, raw)
        assert wanted or "no document" in sentence


def test_text_files_against_tokenizers(tool, data, tmp_path):
    """Valid UTF-8: the ids are those of `tokenizers`."""
    transformers = pytest.importorskip("transformers")
    folder = data / "gpt2-tokenizer"
    if not folder.is_dir():
        pytest.skip(f"GPT-2's tokenizer: there is no {folder}")
    reference = transformers.GPT2TokenizerFast(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))
    draw = random.Random(4)
    valid = [p for p in PIECES if p.decode("utf-8", "replace").encode() == p]
    raw = b"".join(draw.choice(valid) for _ in range(6000))
    wanted = [d.decode() for d in text_documents(raw)]
    records = b"\r\n".join(json.dumps({"text": t, "n": [1]}).encode() for t in wanted)
    for name, content in (("odd.txt", raw), ("odd.jsonl", records)):
        path = tmp_path / name
        path.write_bytes(content)
        got, sentence = read(tool, folder, path)
        assert sentence is None and len(got) == len(wanted) > 500, sentence
        ids = reference(wanted, verbose=False)["input_ids"]
        assert got == [[*i, reference.eos_token_id] for i in ids]


def test_random_records(tool, tmp_path):
    """Lines that json.loads takes for an object with a text are documents; any other line is an error that names its number."""
    draw = random.Random(5)
    path = tmp_path / "odd.jsonl"
    good = [{"text": "a"}, {"text": ""}, {"text": "\0 zero"},
            {"x": [1, {"y": None}], "text": "\u4e16\n\r\n two"}, {"text": "\ufeff"}]
    bad = [b"{", b"[]", b"3", b'{"text": 1}', b'{"test": "a"}', b'{"text": "\xff"}', b'{"text": "a"} x', b"\0",
           b'{"text": "\\ud800"}', b'\xef\xbb\xbf{"text": "mark inside"}', b'{"text": "a", "text": "b"}',
           b'"text"', b'{"text": "a\tb"}', b"{'text': 'a'}"]
    for case in range(200):
        lines, wanted, first = [], [], None
        for _ in range(draw.randrange(1, 12)):
            kind = draw.random()
            if kind < 0.04:
                lines.append(draw.choice(bad))
                first = first or len(lines)
            elif kind < 0.3:
                lines.append(draw.choice([b"", b" ", b"\t\r"]))
            else:
                record = draw.choice(good)
                lines.append(json.dumps(record, ensure_ascii=draw.random() < 0.5).encode())
                wanted.append(byte_ids(record["text"].encode()))
        raw = draw.choice([b"\n", b"\r\n"]).join(lines)
        path.write_bytes(draw.choice([b"", b"\xef\xbb\xbf"]) + raw + draw.choice([b"", b"\n"]))
        got, sentence = read(tool, "bytes", path)
        if first is not None:
            assert got is None and re.search(rf"line {first}\b", sentence), (case, raw, sentence)
        else:
            assert got == (wanted or None), (case, raw)


ONES = {"empty": b"", "one letter": b"x", "one newline": b"\n", "only blanks": b" \r\n\t\n \x0c\n", "a mark": b"\xef\xbb\xbf",
        "two marks": b"\xef\xbb\xbf\xef\xbb\xbf", "zero": b"\0", "cr": b"\r", "lone cr": b"a\rb\r\rc", "no end": b"a\nb",
        "cr at the end": b"a\r", "utf-16": "a\n\nb".encode("utf-16"), "eos only": b"<|endoftext|>", "half a character": b"\xe4"}


@pytest.mark.parametrize("name", ONES)
def test_small_files(tool, tmp_path, name):
    path = tmp_path / "small.txt"
    path.write_bytes(ONES[name])
    got, sentence = read(tool, "bytes", path)
    assert got == ([byte_ids(d) for d in text_documents(ONES[name])] or None), sentence
    for ending in ("jsonl", "csv", "tsv", "bin"):
        other = tmp_path / f"small.{ending}"
        other.write_bytes(ONES[name])
        read(tool, "bytes", other)    # documents or a sentence


def limited(tool, path, seconds, memory):
    """Documents, or the sentence, within so much time and memory."""
    begin = time.monotonic()
    done = subprocess.run([str(tool("io")), "documents", "bytes", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          timeout=120, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory)))
    assert time.monotonic() - begin < seconds, path
    assert done.returncode in (0, 1), done
    return done.stderr.decode()


def test_huge(tool, tmp_path):
    """Tens of megabytes in one line, or in one letter a line; a file of two gigabytes of nothing. Time and memory are bounded."""
    mega = 1 << 20
    path = tmp_path / "huge.txt"
    for raw in (b"x" * (24 * mega), b"\n" * (64 * mega), b"x\n\n" * (4 * mega), b" " * (64 * mega), b"\0" * (16 * mega),
                b"\r" * mega):
        path.write_bytes(raw)
        told = limited(tool, path, 60, 1200 * mega)
        assert ("no document" in told) == (not raw.strip(BLANKS)), told
    records = tmp_path / "huge.jsonl"
    records.write_bytes(b'{"text": "' + b"x" * (24 * mega) + b'"}\n{"text": "y"}')
    assert limited(tool, records, 60, 1200 * mega) == ""
    records.write_bytes(b"[" * (8 * mega))
    assert "nested deeper" in limited(tool, records, 20, 1200 * mega)
    for name in ("sparse.txt", "sparse.jsonl", "sparse.csv", "sparse.bin"):
        sparse = tmp_path / name
        with open(sparse, "wb") as file:
            file.truncate(2 << 30)
        told = limited(tool, sparse, 20, 1200 * mega)
        assert "no memory" in told and name in told, told
        sparse.unlink()
