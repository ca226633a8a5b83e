# SPDX-License-Identifier: Apache-2.0
"""What a terminal gets: colours only where they are wanted, a live line that fits whatever the width, plain lines in a log."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

import runs_made as made

PROBLEM = "b1 h2 q16 d8 causal"
TEXT = "\n\n".join(f"{i} the cat sat on mat {i * i % 97}" for i in range(60))


def resize(terminal, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def drawings(raw):
    """Each text that was drawn over the live line."""
    return [part.split(b"\x1b[K")[0] for part in raw.split(b"\r") if b"\x1b[K" in part]


def on_terminal(command, columns=80, widths=(), **environment):
    """(exit status, bytes) of a command on a terminal of its own. widths: it is resized to each of them meanwhile, to the next when
    the live line has followed, and interrupted at the end."""
    main, other = pty.openpty()
    resize(other, columns)
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")}
    env.update({"TERM": "xterm", **environment})
    env = {k: v for k, v in env.items() if v is not None}
    run = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=other, stderr=other, env=env)
    os.close(other)
    raw, left, end = b"", [columns, *widths], time.monotonic() + 60
    while True:
        assert time.monotonic() < end, f"the live line did not follow to {left[:1]} columns: {raw[-500:]!r}"
        last = len((drawings(raw) or [b""])[-1])
        if widths and left and left[0] > last > (left[0] // 3 if left[0] > 20 else 0):
            del left[0]
            if left:
                resize(main, left[0])
            else:
                run.send_signal(signal.SIGINT)
        if not select.select([main], [], [], 0.1)[0]:
            continue
        try:
            piece = os.read(main, 65536)
        except OSError:    # the other end is closed
            break
        if not piece:
            break
        raw += piece
    os.close(main)
    return run.wait(60), raw


@pytest.fixture(scope="module")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "cats.txt"
    path.write_text(TEXT)
    return path


def train(heed, text_file, out, *more):
    return [heed, "train", "--dataset", text_file, "--output_dir", out, "--max_length", 32, "--batch_size", 4, "--threads", 1,
            "--save_strategy", "no", "--learning_rate", "1e-3", *more]


# ---- colours ----

def test_colours_are_for_terminals(heed, tmp_path):
    a, b = made.write(tmp_path / "a"), made.write(tmp_path / "b", options={"seed": 1})
    for words in (["list"], ["check", PROBLEM], ["runs", "diff", a, b], ["bench", PROBLEM, "--quick", "--repeats", 1]):
        command = [heed, *words]
        assert b"\x1b[" in on_terminal(command)[1], words
        assert b"\x1b[" in on_terminal(command, NO_COLOR="")[1], "an empty NO_COLOR is none"
        for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": None}):
            assert b"\x1b" not in on_terminal(command, **environment)[1], (words, environment)
        piped = subprocess.run([str(c) for c in command], capture_output=True, env={**os.environ, "TERM": "xterm"}, timeout=60)
        assert b"\x1b" not in piped.stdout + piped.stderr, words


def test_a_models_text_does_not_command_the_terminal(heed, tmp_path):
    """Random weights draw every byte: on a terminal control bytes and broken UTF-8 are shown, in a pipe they are what they are."""
    command = [heed, "generate", "--model", "gpt2-nano", "--prompt", "a\x1b[31m", "--temperature", "1",
               "--max_new_tokens", 150, "--quiet"]
    raw = on_terminal(command, NO_COLOR="1")[1].replace(b"\r\n", b"\n")
    assert not any(c < 32 and c not in b"\n\t" for c in raw) and b"a\\x1b[31m" in raw
    raw.decode()
    piped = subprocess.run([str(c) for c in command], capture_output=True, timeout=60).stdout
    assert b"a\x1b[31m" in piped and any(c < 32 and c not in b"\n\t" for c in piped[8:])


# ---- JSON ----

def test_json_is_all_there_is(heed, text_file, tmp_path):
    """Every verb with --json: one object on stdout and nothing else, on a terminal too; train: an object a line."""
    a = made.write(tmp_path / "a")
    out = tmp_path / "run"
    status, raw = on_terminal(train(heed, text_file, out, "--max_steps", 3, "--json"))
    assert status == 0 and all(isinstance(json.loads(line), dict) for line in raw.decode().splitlines())
    model = ["--model", out / "checkpoints/final"]
    for words in (["explain", PROBLEM], ["check", PROBLEM], ["bench", PROBLEM, "--quick", "--repeats", 1], ["bench", "--list"],
                  ["list"], ["doctor", "nan"], ["doctor", "machine"], ["eval", *model, "--dataset", text_file, "--max_length", 32],
                  ["generate", *model, "--prompt", "the", "--max_new_tokens", 3], ["runs", "diff", a, a],
                  ["runs", "report", a, "-o", tmp_path / "page.html"]):
        status, raw = on_terminal([heed, *words, "--json"])
        assert status == 0 and isinstance(json.loads(raw), dict), (words, raw)
        assert b"\x1b" not in raw


def test_explain_json_has_the_fixed_fields(run_heed):
    found = json.loads(run_heed("explain", PROBLEM, "--json").stdout)
    assert list(found) == ["problem", "chosen", "implementations"]
    for row in found["implementations"]:
        assert list(row) == ["name", "accepts", "reason", "ms", "workspace_bytes"]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_help_fits(heed, columns):
    """Paragraphs are wrapped at the terminal's width, at 100 columns where that is more; usage and examples are lines to copy."""
    for words in ([], ["train"], ["doctor"], ["runs", "report"]):
        lines = on_terminal([heed, *(words + ["--help"] if words else ["--help"])], columns)[1].decode().splitlines()
        kept = [line for line in lines[1:] if not re.match(r"usage: |  heed |  \S+ +\S", line)]
        kept = [line for line in kept if " " in line.strip()]    # a word is never broken
        assert len(kept) > 1 and all(len(line) <= min(columns, 100) for line in kept), max(kept, key=len)


# ---- the live line ----

@pytest.mark.parametrize("columns", [1, 4, 7, 10, 14, 27, 40])
def test_live_line_fits_narrow_terminals(heed, text_file, tmp_path, columns):
    status, raw = on_terminal(train(heed, text_file, tmp_path / "run", "--max_steps", 40, "--eval_strategy", "no"), columns)
    drawn = [d for d in drawings(raw) if d]
    assert status == 0 and all(len(d) < columns for d in drawn), drawn
    form = rb"step \d+/40.*" if columns > 10 else rb"(step )?\d+/40" if columns > 5 else rb"\d/40|\d+%"
    assert all(re.fullmatch(form, d) for d in drawn), drawn
    assert drawn or columns < 4
    assert b"attention " in raw.splitlines()[-1], "the closing lines are whole, whatever the width"


def test_live_line_follows_the_width(heed, text_file, tmp_path):
    """A drawing after the terminal became narrower or wider, the line is as wide as it has room."""
    command = train(heed, text_file, tmp_path / "run", "--max_steps", 10 ** 6, "--eval_strategy", "no", "--logging_steps", 10 ** 6)
    status, raw = on_terminal(command, 100, widths=[30, 12, 60])
    assert status == 130, raw[-300:]


def test_a_dumb_terminal_gets_lines(heed, text_file, tmp_path):
    for name, environment in (("dumb", {"TERM": "dumb"}), ("none", {"TERM": None})):
        status, raw = on_terminal(train(heed, text_file, tmp_path / name, "--max_steps", 20), 20, **environment)
        assert status == 0 and b"\x1b" not in raw and b"\r" not in raw.replace(b"\r\n", b"\n")
        assert b"step 20/20  loss" in raw, "a log's lines are whole"


def test_errors_go_to_stderr(heed, tmp_path):
    """On a terminal as in a pipe: a sentence, the exit status, nothing on stdout."""
    for words, status in ((["train", "--bogus"], 64), (["explain", "b1 h1 q8 d8 paged:16"], 3), (["eval", "--model", "nowhere"], 5),
                          (["runs", "diff", tmp_path, tmp_path], 5), ([], 64), (["runs"], 64)):
        done = subprocess.run([str(w) for w in [heed, *words]], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "HF_HOME": str(tmp_path)})
        assert done.returncode == status and len(done.stderr.splitlines()) == 1, (words, done)
        assert words[:1] == ["explain"] or done.stdout == "", words
