# SPDX-License-Identifier: Apache-2.0
"""Tables (.csv, .tsv) against Python's csv module, and files of ids, on random content."""
import csv
import io
import random
import struct
import subprocess

import pytest

CASES = 250


def documents(tool, path):
    """The texts heed reads; None: it refuses the file with one sentence."""
    done = subprocess.run([tool("io"), "documents", "bytes", path], capture_output=True)
    if done.returncode != 0:
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and str(path).encode() in done.stderr, done.stderr
        return None
    out, at, raw = [], 0, done.stdout
    while at < len(raw):
        blank = raw.index(b" ", at)
        n = int(raw[at:blank])
        out.append(raw[blank + 1:blank + 1 + n].decode("utf-8"))
        assert raw[blank + 1 + n:blank + 2 + n] == b"\n"
        at = blank + 2 + n
    return out


def expected(text, separator):
    """By csv.reader, strict; None: not a table of equal records with one column "text"."""
    try:
        records = [r for r in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True) if r]
    except csv.Error:
        return None
    if not records or records[0].count("text") != 1 or any(len(r) != len(records[0]) for r in records):
        return None
    return [r[records[0].index("text")] for r in records[1:]] or None


def random_text(draw, letters):
    return "".join(draw.choice(letters) for _ in range(draw.randrange(12)))


def well_formed(draw, separator):
    """What csv.writer writes: every kind of line end and quoting."""
    out = io.StringIO(newline="")
    write = csv.writer(out, delimiter=separator, lineterminator=draw.choice(["\n", "\r\n", "\r"]),
                       quoting=draw.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
    names = ["text", *[f"c{i}" for i in range(draw.randrange(4))]]
    draw.shuffle(names)
    write.writerow(names)
    for _ in range(draw.randrange(6)):
        write.writerow([random_text(draw, 'ab \t,"\n\r\u00e9\u4e2d') for _ in names])
    return out.getvalue()


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_tables(tool, tmp_path, ending):
    separator = {"csv": ",", "tsv": "\t"}[ending]
    path, read, refused = tmp_path / f"t.{ending}", 0, 0
    for seed in range(CASES):
        draw = random.Random(seed)
        if seed % 2 == 0:
            text = well_formed(draw, separator)
        else:
            text = f"text{separator}b\n" + "".join(draw.choice(['"', separator, "\n", "\r", "a", " "]) for _ in
                                                  range(draw.randrange(14)))
        path.write_bytes((b"\xef\xbb\xbf" if seed % 3 == 0 else b"") + text.encode())
        wanted, got = expected(text, separator), documents(tool, path)
        assert got == wanted, f"seed {seed} of {ending}: {text!r}"
        read += wanted is not None
        refused += wanted is None
    assert read > CASES // 4 and refused > CASES // 8, (read, refused)


def test_ids(tool, tmp_path):
    path = tmp_path / "t.bin"
    for seed in range(20):
        draw = random.Random(seed)
        texts = [bytes(draw.randrange(97, 123) for _ in range(draw.randrange(9))) for _ in range(1 + draw.randrange(5))]
        ids = [i for text in texts for i in [*text, 256]]
        path.write_bytes(struct.pack(f"<{len(ids)}H", *ids))
        assert documents(tool, path) == [t.decode() for t in texts], seed


def test_ids_of_a_large_vocabulary(tool, tmp_path):
    """Above 65,536 ids take four bytes: the same tokenizer with as many merges."""
    import json
    folder, letters = tmp_path / "large", None
    folder.mkdir()
    subprocess.run([tool("io"), "save", "bytes", folder], check=True)
    vocabulary = json.loads((folder / "vocab.json").read_text())
    letters = [t for t in vocabulary if len(t) == 1]
    merges, eos = [], next(t for t in vocabulary if len(t) > 1)
    del vocabulary[eos]
    pairs = [a + b for a in letters for b in letters]
    for pair in pairs[:65400]:
        merges.append(f"{pair[0]} {pair[1]}")
        vocabulary[pair] = len(vocabulary)
    vocabulary[eos] = len(vocabulary)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    assert len(vocabulary) > 65536
    path = tmp_path / "t.bin"
    path.write_bytes(struct.pack("<3I", vocabulary["aa"], vocabulary[eos], vocabulary["b"]))
    done = subprocess.run([tool("io"), "documents", folder, path], capture_output=True)
    assert done.stdout == b"2 aa\n1 b\n", done
    path.write_bytes(struct.pack("<3H", 1, 2, 3))
    done = subprocess.run([tool("io"), "documents", folder, path], capture_output=True)
    assert done.returncode == 1 and b"4 bytes each" in done.stderr, done
