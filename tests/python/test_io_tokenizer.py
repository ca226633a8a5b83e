# SPDX-License-Identifier: Apache-2.0
"""Ids equal to `tokenizers`' on real text and on random Unicode, and saved files that transformers opens."""
import random
import subprocess

import pytest

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="session")
def gpt2_files(data):
    folder = data / "gpt2-tokenizer"
    if not folder.is_dir():
        pytest.skip(f"GPT-2's tokenizer: there is no {folder}")
    return folder


@pytest.fixture(scope="session")
def reference(gpt2_files):
    return transformers.GPT2TokenizerFast(vocab=str(gpt2_files / "vocab.json"), merges=str(gpt2_files / "merges.txt"))


def run(tool, *words):
    return subprocess.run([str(tool("io")), *map(str, words)], capture_output=True, check=True).stdout


def encode(tool, what, path):
    return [int(line) for line in run(tool, "encode", what, path).split()]


def encode_each(tool, what, texts, folder):
    path = folder / "texts"
    path.write_bytes(b"".join(text.encode() + b"\0" for text in texts))
    return [[int(x) for x in line.split()] for line in run(tool, "encode-each", what, path).split(b"\n")[:-1]]


def random_text(source, alphabets):
    return "".join(source.choice(source.choice(alphabets)) for _ in range(source.randrange(1, 60)))


def alphabets():
    assigned = [chr(c) for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    return [assigned, "abcdefghij", "     \t\n\r\x0b\x0c\x85\xa0", "0123456789", "'sdtmvrel", ".,!?-_()\"",
            ["<|endoftext|>", " <|endoftext|>"],
            " hello worlding", "\u00e9\u00fc\u00df\u00f8\u00f1", "\u4f60\u597d\u4e16\u754c\u65e5\u672c\u8a9e", "\u0663\u0966\u0664",
            "\u2003\u2028\u2029\u3000\u180e\u200b\u1680", "\U0001F600\u200d\u2764\ufe0f",
            "e\u0301a\u0308\u0323", "\u01c5\u01c8\u02b0\u2163\u00b2\u00bd\u3248", "\u05d0\u0641\u094d\u0e33"]


@pytest.mark.parametrize("name", ["wikitext-2/test.txt", "wikitext-2/valid.txt", "tinyshakespeare.txt"])
def test_real_text(tool, data, gpt2_files, reference, name):
    path = data / name
    if not path.exists():
        pytest.skip(f"real text: there is no {path}")
    text = path.read_bytes().decode()
    assert encode(tool, gpt2_files, path) == reference(text).input_ids
    assert run(tool, "encode", "bytes", path).split() == [b"%d" % b for b in path.read_bytes()]


def test_round_trip(tool, data, gpt2_files, tmp_path):
    path = data / "tinyshakespeare.txt"
    if not path.exists():
        pytest.skip(f"real text: there is no {path}")
    (tmp_path / "ids").write_bytes(run(tool, "encode", gpt2_files, path))
    assert run(tool, "decode", gpt2_files, tmp_path / "ids") == path.read_bytes()


def test_random_unicode(tool, gpt2_files, reference, tmp_path):
    source = random.Random(1)
    letters = alphabets()
    texts = [random_text(source, letters) for _ in range(6000)]
    for text, ids in zip(texts, encode_each(tool, gpt2_files, texts, tmp_path), strict=True):
        assert ids == reference(text).input_ids, ascii(text)


def test_every_character(tool, gpt2_files, reference, tmp_path):
    """Each assigned code point among letters, digits and marks: its class decides where the text is cut."""
    points = [*range(1, 0xD800), *range(0xE000, 0x34000), *range(0x34000, 0x110000, 997), *range(0xE0000, 0xE0200)]
    texts = [f"a{chr(c)}a1{chr(c)}1!{chr(c)}! {chr(c)}" for c in points]
    texts = ["".join(texts[i:i + 64]) for i in range(0, len(texts), 64)]
    expected = reference(texts).input_ids
    for text, ids, reference_ids in zip(texts, encode_each(tool, gpt2_files, texts, tmp_path), expected, strict=True):
        assert ids == reference_ids, f"U+{ord(text[1]):04X} and the 63 after it"


def test_invalid_utf8_comes_back(tool, gpt2_files, tmp_path):
    source = random.Random(2)
    path, ids = tmp_path / "bytes", tmp_path / "ids"
    for _ in range(20):
        path.write_bytes(bytes(source.randrange(256) for _ in range(500)) + b" hello \xff\xc3 world")
        for what in (gpt2_files, "bytes"):
            ids.write_bytes(run(tool, "encode", what, path))
            assert run(tool, "decode", what, ids) == path.read_bytes()


TEXTS = ["Hello world", "  two  blanks \n\n", "don't we'll", "<|endoftext|>a<|endoftext|>",
         "w\u00f6rld \u4f60\u597d \U0001F600", "a\u180eb", "\x7f\x80\xad"]


def test_saved_bytes_open(tool, tmp_path):
    run(tool, "save", "bytes", tmp_path)
    opened = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert len(opened) == 257 and opened.eos_token_id == 256 and opened.eos_token == "<|endoftext|>"
    for text, ids in zip(TEXTS, encode_each(tool, "bytes", TEXTS, tmp_path), strict=True):
        assert opened(text).input_ids == ids
        assert ids == list(text.encode()) or "<|" in text
        assert opened.decode(ids, clean_up_tokenization_spaces=False) == text
    assert encode_each(tool, tmp_path, TEXTS, tmp_path) == encode_each(tool, "bytes", TEXTS, tmp_path)


def test_saved_gpt2_opens(tool, gpt2_files, reference, tmp_path):
    run(tool, "save", gpt2_files, tmp_path)
    opened = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert len(opened) == 50257 and opened.eos_token_id == 50256
    source = random.Random(3)
    letters = alphabets()
    texts = TEXTS + [random_text(source, letters) for _ in range(300)]
    assert opened(texts).input_ids == reference(texts).input_ids
    assert opened.get_vocab() == reference.get_vocab()
    assert encode_each(tool, tmp_path, texts, tmp_path) == reference(texts).input_ids


def test_reads_what_transformers_saves(tool, reference, tmp_path):
    """transformers 5 leaves tokenizer.json without vocab.json and merges.txt."""
    reference.save_pretrained(tmp_path)
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).unlink(missing_ok=True)
    assert encode_each(tool, tmp_path, TEXTS, tmp_path) == reference(TEXTS).input_ids


def test_trained_here(tool, tmp_path):
    """A byte-level BPE with its own merges, its special token outside of the model's vocabulary."""
    tokenizers = pytest.importorskip("tokenizers")
    own = tokenizers.Tokenizer(tokenizers.models.BPE())
    own.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = tokenizers.decoders.ByteLevel()
    letters = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=400, initial_alphabet=letters, show_progress=False)
    source = random.Random(4)
    own.train_from_iterator(["".join(source.choice("ab cd") for _ in range(200)) for _ in range(50)], trainer)
    own.add_special_tokens(["<|endoftext|>"])
    own.save(str(tmp_path / "tokenizer.json"))
    texts = ["".join(source.choice("abcd ") for _ in range(source.randrange(1, 300))) for _ in range(200)] + TEXTS
    for text, ids in zip(texts, encode_each(tool, tmp_path, texts, tmp_path), strict=True):
        assert ids == own.encode(text).ids, ascii(text)
