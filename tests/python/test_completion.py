# SPDX-License-Identifier: Apache-2.0
"""heed completion in the shells it is for, and heed man through the manual's own tools."""
import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

GROUPS = ("runs",)    # verbs of verbs


@pytest.fixture(scope="module")
def verbs(run_heed):
    """Every verb that is built, as help lists them, those below a group too."""
    listed = [line for line in run_heed("--help").stdout.splitlines() if re.match(r"  [a-z]+  ", line)]
    names = [line.split()[0] for line in listed if "(not built yet)" not in line]
    below = [f"{group} {name}" for group in GROUPS
             for name in re.findall(rf"^  {group} (\w+)  ", run_heed(group, "--help").stdout, re.M)]
    assert len(names) > 9 and len(below) >= 2
    return [name for name in names if name not in GROUPS] + below


def help_of(run_heed, verb):
    done = run_heed(*verb.split(), "--help")
    assert done.returncode == 0
    return done.stdout


def options_of(text):
    """Options that a help text lists and that are built, and the one-letter names."""
    entries = re.split(r"\n(?=  (?:-\w, )?--)", text.split("\n\nexamples:")[0])
    kept = [e for e in entries[1:] if "(not built yet)" not in " ".join(e.split())]
    return {re.match(r"  (?:-\w, )?(--\w+)", e).group(1) for e in kept}


@pytest.fixture(scope="module")
def bash(run_heed, tmp_path_factory):
    if shutil.which("bash") is None:
        pytest.skip("no bash on this machine")
    script = tmp_path_factory.mktemp("bash") / "heed"
    script.write_text(run_heed("completion", "bash").stdout)

    def complete(*words, cwd=None):
        command = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _heed; printf "%s\\n" "${COMPREPLY[@]}"'
        done = subprocess.run(["bash", "--norc", "-c", command, "bash", script, "heed", *words], capture_output=True, text=True,
                              timeout=30, cwd=cwd)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return [line for line in done.stdout.splitlines() if line]
    return complete


def test_bash_verbs_and_options(bash, run_heed, verbs):
    assert set(bash("")) == {v.split()[0] for v in verbs} | {"help"}
    assert bash("tr") == ["train"] and bash("help", "tr") == ["train"] and bash("--v") == ["--version"]
    assert set(bash("runs", "")) == {"diff", "report"} and bash("runs", "d") == ["diff"]
    for verb in verbs:
        assert set(bash(*verb.split(), "--")) == options_of(help_of(run_heed, verb)), verb
    assert bash("train", "--batch-s") == bash("train", "--json", "--batch_s") == ["--batch_size"]
    assert bash("train", "--lora") == [], "what is refused is not offered"


def test_bash_values(bash, run_heed, tmp_path):
    assert bash("train", "--padding_side", "") == ["left", "right"] == bash("train", "--padding-side", "=", "")
    assert bash("train", "--padding_side", "=", "l") == ["left"] and bash("train", "--padding_side", "=") == ["left", "right"]
    assert set(bash("train", "--attn_implementation", "")) >= {"auto", "eager", "flash_attention_2", "cpu.flash", "ref"}
    assert "cpu.flash" in bash("explain", "--impl", "cpu.f") and bash("explain", "--cpu", "sc") == ["scalar"]
    assert "mps_pre28" in bash("eval", "--attn_preset", "m") and bash("doctor", "n") == ["nan"]
    assert bash("completion", "") == ["bash", "zsh", "fish"] and bash("train", "--batch_size", "") == []
    (tmp_path / "my text.txt").write_text("x")
    (tmp_path / "my folder").mkdir()
    assert set(bash("train", "--dataset", "my", cwd=tmp_path)) == {"my text.txt", "my folder"}
    assert bash("runs", "diff", "my", cwd=tmp_path) == ["my folder"] == bash("train", "--output_dir", "my", cwd=tmp_path)
    assert "my text.txt" in bash("runs", "report", "x", "-o", "my", cwd=tmp_path)
    assert bash("train", "--dataset", "d", cwd=tmp_path) == ["demo"]


def test_fish(run_heed, tmp_path):
    if shutil.which("fish") is None:
        pytest.skip("no fish on this machine")
    script = tmp_path / "heed.fish"
    script.write_text(run_heed("completion", "fish").stdout)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.txt").write_text("x")
    lines = ["heed tr", "heed help tr", "heed train --padding_s", "heed train --padding_side ", "heed runs ", "heed runs report -",
             "heed doctor ", "heed train --dataset fi", "heed runs diff fo", "heed eval --attn_preset mps"]
    asked = "; ".join(f"echo '> '; complete -C '{line}'" for line in lines)
    done = subprocess.run(["fish", "--no-config", "-c", f"source {script}; {asked}"], capture_output=True, text=True, timeout=60,
                          cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path)})
    assert done.returncode == 0 and done.stderr == "", done.stderr
    answers = [[entry.split("\t")[0] for entry in part.strip().splitlines()] for part in done.stdout.split("> \n")[1:]]
    assert len(answers) == len(lines)
    found = dict(zip(lines, answers))
    assert found["heed tr"] == ["train"] == found["heed help tr"] and found["heed train --padding_s"] == ["--padding_side"]
    assert found["heed train --padding_side "] == ["left", "right"] and set(found["heed runs "]) == {"diff", "report"}
    assert {"--output", "-o", "--json", "--help"} <= set(found["heed runs report -"])
    assert "--relative" not in found["heed runs report -"]
    assert {"machine", "nan"} <= set(found["heed doctor "]) and found["heed train --dataset fi"] == ["file.txt"]
    assert found["heed runs diff fo"] == ["folder/"] and found["heed eval --attn_preset mps"] == ["mps_pre28"]


class Zsh:
    """An interactive zsh on a terminal of its own."""

    def __init__(self, folder):
        main, other = pty.openpty()
        self.main = main
        env = {**os.environ, "HOME": str(folder), "TERM": "dumb", "PS1": "READY> ", "ZDOTDIR": str(folder)}
        self.process = subprocess.Popen(["zsh", "-f", "-i"], stdin=other, stdout=other, stderr=other, cwd=folder, env=env,
                                        start_new_session=True)
        os.close(other)

    def talk(self, text, until, seconds=30):
        os.write(self.main, text.encode())
        said, end = "", time.monotonic() + seconds
        while not re.search(until, said):
            left = end - time.monotonic()
            assert left > 0 and select.select([self.main], [], [], left)[0], f"no {until!r} in {said!r}"
            said += os.read(self.main, 65536).decode(errors="replace")
        return said

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.main)


def test_zsh(run_heed, tmp_path):
    if shutil.which("zsh") is None:
        pytest.skip("no zsh on this machine")
    (tmp_path / "_heed").write_text(run_heed("completion", "zsh").stdout)
    (tmp_path / "a folder").mkdir()
    shell = Zsh(tmp_path)
    try:
        shell.talk("PS1='READ''Y> '; fpath=($PWD $fpath); autoload -U compinit; compinit -u -D; unsetopt beep\n", "READY> ")
        for typed, made in (("heed explai\t", "explain "), ("heed train --padding_s\t", "--padding_side="),
                            ("heed train --padding_side l\t", "left"), ("heed runs d\t", "diff"), ("heed doctor na\t", "nan"),
                            ("heed runs report --out\t", "--output="), ("heed runs diff a\t", r"a\\ folder"),
                            ("heed eval --attn_preset mps\t", "mps_pre28")):
            shell.talk(typed, made)
            shell.talk("\x15", "")    # the line is given up
    finally:
        shell.close()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_have_no_fault_of_syntax(run_heed, tmp_path, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine")
    script = tmp_path / "script"
    script.write_text(run_heed("completion", shell).stdout)
    done = subprocess.run([shell, "-n", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == ""


# ---- the manual ----

@pytest.fixture(scope="module")
def pages(run_heed, verbs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("man") / "man1"
    done = run_heed("man", "--write", folder)
    assert done.returncode == 0 and done.stdout == "" and done.stderr == ""
    assert {p.name for p in folder.iterdir()} == {f"heed-{v.replace(' ', '-')}.1" for v in (*verbs, *GROUPS)} | {"heed.1"}
    return folder


@pytest.mark.parametrize("tool", ["groff", "mandoc"])
def test_pages_are_well_made(pages, tool):
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool} on this machine")
    command = {"groff": ["groff", "-man", "-Tutf8", "-ww", "-z"], "mandoc": ["mandoc", "-Tlint", "-Wwarning"]}[tool]
    for page in sorted(pages.iterdir()):
        done = subprocess.run([*command, page], capture_output=True, text=True, timeout=60)
        # There is no date, so that two builds of one source are the same.
        said = [line for line in (done.stdout + done.stderr).splitlines() if "missing date" not in line]
        assert said == [], said


def test_pages_say_what_help_says(pages, verbs, run_heed):
    if shutil.which("man") is None or shutil.which("groff") is None:
        pytest.skip("no man with groff on this machine")
    env = {**os.environ, "MANWIDTH": "200", "LC_ALL": "C.UTF-8", "MAN_KEEP_FORMATTING": "", "GROFF_NO_SGR": "1"}
    for verb in verbs:
        page = pages / f"heed-{verb.replace(' ', '-')}.1"
        done = subprocess.run(f"man -l '{page}' | col -bx", shell=True, capture_output=True, text=True, timeout=60, env=env)
        text = done.stdout
        for part in ("NAME", "SYNOPSIS", "OPTIONS", "EXAMPLES", "EXIT STATUS", "SEE ALSO"):
            assert f"\n{part}\n" in "\n" + text, f"{verb} lacks {part}"
        shown = help_of(run_heed, verb)
        assert all(name in text for name in options_of(shown)), verb
        for line in shown.split("examples:\n")[1].splitlines():
            assert line.strip() in text, f"{verb}: {line}"


def test_man_arguments(run_heed):
    assert run_heed("man").stdout.startswith('.\\" SPDX') and '.TH "HEED" 1' in run_heed("man").stdout
    assert '.TH "HEED-RUNS-DIFF" 1' in run_heed("man", "runs", "diff").stdout
    for given, part in ((["nonsense"], "unknown verb"), (["train", "x"], "no verb below train"),
                        (["train", "--write", "x"], "no effect")):
        done = run_heed("man", *given)
        assert done.returncode == 64 and part in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    done = run_heed("completion", "fiish")
    assert done.returncode == 64 and "the nearest is fish" in done.stderr
