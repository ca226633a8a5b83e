# SPDX-License-Identifier: Apache-2.0
"""heed compare --html: the page in a real browser, and the weights it draws against PyTorch's softmax of the same inputs."""
import base64
import json
import math
import os
import re
import shlex
import subprocess

import numpy as np
import pytest
import torch

import browser

TRIES = 8    # a busy machine may make it slower, never faster: one below a second will do


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if browser.find() is None:
        pytest.skip("no Chromium on this machine (tools/deps.sh test installs it)")
    with browser.Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def compare(run_heed, path, a, b, problem, *more):
    """The page's path; what the command printed."""
    done = run_heed("compare", a, b, "--problem", problem, "--html", path, *more)
    assert done.returncode in (0, 1, 2), done.stderr
    return done


def data_of(path):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.S).group(1))


def rounded(path):
    """The same with the nine digits that --json prints."""
    return json.loads(json.dumps(data_of(path)), parse_float=lambda text: float(f"{float(text):.9g}"))


def cells(packed):
    raw = base64.b64decode(packed["data"]["u1"], validate=True)
    return np.frombuffer(raw, np.uint8).reshape(packed["cells"])


def open_page(chromium, path, **look):
    page = chromium.open(path, **look)
    page.settle()
    return page


def clean(page):
    assert page.complaints() == [] and page.requests() == []


# Distinct colours of a map: an empty drawing has one.
COLOURS = """((title) => {
    const canvas = document.querySelector(`figure[data-map="${title}"] canvas.base`);
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data, seen = new Set();
    for (let i = 0; i < pixels.length; i += 4) seen.add(pixels[i] << 16 | pixels[i + 1] << 8 | pixels[i + 2]);
    return seen.size;
})"""
PICTURE = """((title) => document.querySelector(`figure[data-map="${title}"] canvas.base`).toDataURL())"""
MAPS = ["error by head and row", "as stated", "as explained", "where they differ"]


def test_semantic(run_heed, chromium, tmp_path):
    path = tmp_path / "page.html"
    done = compare(run_heed, path, "ref", "torch", "b1 h8/2 q96 k128 d32 causal bf16 seed:3", "--json")
    data, told = data_of(path), json.loads(done.stdout)
    assert done.returncode == 1 and told["explanations"][0]["ids"] == ["causal.top_left"]
    assert {k: v for k, v in rounded(path).items() if k != "page"} == told
    assert path.stat().st_size < 3 << 20
    times = []
    while len(times) < TRIES and min(times, default=1) >= 1:
        page = open_page(chromium, path)
        times.append(page.run("performance.timing.loadEventEnd - performance.timing.navigationStart") / 1000)
        shown = page.run("document.body.innerText")
        for part in ("torch computes another formula", "causal.top_left", "stands at key 0", "100 % of the difference is explained",
                     "heed compare ref torch", "b1 h8/2 q96 k128 d32 bf16 causal seed:3", "What these inputs cannot show",
                     told["undecidable"][0]):
            assert part in shown, part
        assert page.run("[...document.querySelectorAll('[data-map]')].map(f => f.dataset.map)") == MAPS
        for title in MAPS:
            assert page.run(f"{COLOURS}({json.dumps(title)})") > 20, title
        assert page.run("document.title") == "SEMANTIC: ref and torch"
        assert page.run("document.querySelectorAll('svg.bars rect.b').length") > 10
        clean(page)
    assert min(times) < 1, times
    assert len(data["page"]["screened"]) > 20
    assert page.run("document.querySelectorAll('#hypotheses details tbody tr').length") > 10


def test_weights_are_those_of_a_softmax(run_heed, tmp_path):
    """Every cell against PyTorch, by the claim (bottom-right) and by what explains (top-left)."""
    q_rows, keys, heads, kv_heads, d = 40, 56, 4, 2, 16
    path, capture = tmp_path / "page.html", tmp_path / "call.npz"
    compare(run_heed, path, "ref", "torch", f"b1 h{heads}/{kv_heads} q{q_rows} k{keys} d{d} causal", "--capture", capture)
    with np.load(capture) as arrays:
        q, k = (torch.from_numpy(np.asarray(arrays[name])).double() for name in ("q", "k"))
    page = data_of(path)["page"]
    scales = page["picture"]["scales"]
    assert page["picture"]["weights"] and len(page["picture"]["weights"]) == heads
    for one in page["picture"]["weights"]:
        x = q[0, one["head"]] @ k[0, one["head"] // (heads // kv_heads)].T / math.sqrt(d)
        exact = {}
        for key, offset in (("claim", keys - q_rows), ("explained", 0)):
            hidden = torch.arange(keys)[None, :] > torch.arange(q_rows)[:, None] + offset
            w = torch.softmax(x.masked_fill(hidden, -math.inf), -1).numpy()
            exact[key] = w
            byte = cells(one[key])
            assert byte.shape == w.shape and ((byte == 0) == (w == 0)).all()
            drawn = scales["weights"]["least"] * 2.0 ** ((byte.astype(float) - 1) / scales["weights"]["steps"])
            seen = w > 2 * scales["weights"]["least"]
            assert np.abs(np.log2(drawn[seen] / w[seen])).max() <= 0.51 / scales["weights"]["steps"]
        change, byte = exact["explained"] - exact["claim"], cells(one["change"])
        large = np.abs(change) > 2 * scales["changes"]["least"]
        assert ((byte > 127) == (change > 0))[large].all()
        drawn = scales["changes"]["least"] * 2.0 ** (((byte & 127).astype(float) - 1) / scales["changes"]["steps"])
        assert np.abs(np.log2(drawn[large] / np.abs(change[large]))).max() <= 0.51 / scales["changes"]["steps"]


def test_errors_are_where_they_are(run_heed, tmp_path):
    """Rows that see no key depart, and no others; histograms count every element; the expected shares are whole."""
    path = tmp_path / "page.html"
    compare(run_heed, path, "ref", "hf_eager", "b2 h3 q32 d8 causal pad:left seed:1")
    data = data_of(path)
    picture = data["page"]["picture"]
    stated, explained = cells(picture["views"][1]["map"]), cells(picture["views"][2]["map"])
    hot = 1 + 8 * (8 + 6)    # 64 times the expected size
    assert stated.shape == (6, 32) and (stated > hot).sum() == data["page"]["bad_rows"][0] > 0
    for head in stated:
        assert (np.diff((head > hot).astype(int)) <= 0).all(), "padding is on the left"
    assert not (explained > hot).any() and not (cells(picture["views"][0]["map"]) > hot).any()
    for view in picture["views"]:
        assert sum(view["z"]) == 6 * 32 * 9 and sum(view["ulps"]) == 6 * 32 * 8
    for expected in (picture["z_expected"], picture["ulps_expected"]):
        assert math.isclose(sum(expected), 1, abs_tol=1e-9)


def test_large_problems_stay_small(run_heed, tmp_path):
    path = tmp_path / "page.html"
    compare(run_heed, path, "cpu.flash", "cpu.eager", "b1 h2 q1100 d8 causal window:64")
    picture = data_of(path)["page"]["picture"]
    assert cells(picture["views"][0]["map"]).shape == (2, 367) and picture["views"][0]["map"]["stride"] == [1, 3]
    assert cells(picture["weights"][0]["claim"]).shape == (220, 220) and picture["weights"][0]["claim"]["of"] == [1100, 1100]
    assert path.stat().st_size < 1 << 20


@pytest.mark.parametrize("a, b, problem, more, parts", [
    ("cpu.flash", "ref", "b1 h2 q64 d32 causal window:20 sink", [], ["Only rounding", "ROUNDING"]),
    ("ref", "ref", "b1 h1 q1 d8", [], ["Equal to the last bit", "ref, twice"]),
    ("ref", "torch_pre25", "b1 h2 q8 d8 causal pad:left seed:2", [], ["NAN", "sees no key at all", "nan.empty_row", "Magenta"]),
    ("ref", "cpu.flash", "b1 h2 q8 d8 causal window:20", ["--ask", "window.none"], ["UNDECIDABLE", "window.none"]),
    ("ref", "torch", "b3 h2 q1 k9 d8 causal", [], ["causal.top_left", "6 of 6"]),
    ("ref", "hf_eager", "b1 h2 q32 d16 causal pad:left grad seed:4", [], ["empty.mean", "Gradients of hf_eager", "dv"]),
], ids=["rounding", "same", "nan", "undecidable", "one_row", "gradients"])
def test_every_verdict(run_heed, chromium, tmp_path, a, b, problem, more, parts):
    path = tmp_path / "page.html"
    compare(run_heed, path, a, b, problem, *more)
    page = open_page(chromium, path)
    shown = page.run("document.body.innerText")
    for part in parts:
        assert part in shown, part
    clean(page)


def test_its_commands_repeat_it(run_heed, chromium, tmp_path):
    """What the page says shows it again does, also of a file whose name a shell would read otherwise."""
    run_heed("compare", "ref", "torch", "--problem", "b1 h2 q8 k16 d8 causal", "--capture", tmp_path / "it's a $(call) \\x.npz")
    for a, b, *options in (("ref", "hf_eager", "--problem", "b2 h2 q8 d8 causal pad:left", "--seed", "9"),
                           ("ref", "it's a $(call) \\x.npz"),
                           ("ref", "torch", "--problem", "b1 h2 q8 k16 d8 causal", "--probe", "p.npz", "--seed", "3"),
                           ("ref", "torch", "--problem", "b1 h2 q8 k16 d8 causal", "--ask", "window.none")):
        first = run_heed("compare", a, b, *options, "--html", "page.html", "--json", cwd=tmp_path)
        before = (tmp_path / "page.html").read_bytes()
        page = open_page(chromium, tmp_path / "page.html")
        commands = page.run("[...document.querySelectorAll('#again pre')].map(p => p.innerText)")
        words = [shlex.split(command) for command in commands]
        assert [w[:2] for w in words] == [["heed", "compare"], ["heed", "compare"], ["heed", "explain"]]
        assert run_heed(*words[0][1:], cwd=tmp_path).returncode == 1 and (tmp_path / "page.html").read_bytes() == before
        again = run_heed(*words[1][1:], cwd=tmp_path)
        assert again.returncode == first.returncode == 1 and again.stdout == first.stdout
        assert run_heed(*words[2][1:], cwd=tmp_path).returncode == 0


def test_keys_read_values(run_heed, chromium, tmp_path):
    path = tmp_path / "page.html"
    compare(run_heed, path, "ref", "torch", "b1 h2 q8 k16 d8 causal")
    page = open_page(chromium, path, height=3000)
    page.run("document.querySelector('figure[data-map=\"as stated\"] canvas.over').focus()")
    for key in ("ArrowRight", "ArrowDown", "ArrowRight", "ArrowRight"):
        page.key(key)
    readout = "(r => r.hidden ? null : r.innerText)(document.querySelector('figure[data-map=\"as stated\"] .readout'))"
    said = page.run(readout).replace("\n", " ")
    assert "row 1" in said and "key 2" in said and "about" in said and "hidden" in said and "difference -" in said, said
    page.key("Escape")
    assert page.run(readout) is None
    before = {title: page.run(f"{PICTURE}({json.dumps(title)})") for title in MAPS}
    page.run("(s => { s.value = '1'; s.dispatchEvent(new Event('change')); })(document.querySelector('#weights select'))")
    page.run("document.querySelector('.pick button').click()")
    page.settle()
    for title in MAPS:
        assert page.run(f"{PICTURE}({json.dumps(title)})") != before[title], f"{title} is of another head or side now"
    clean(page)


@pytest.mark.parametrize("look", [{"dark": True}, {"width": 390, "height": 844, "scale": 2, "mobile": True}], ids=["dark", "phone"])
def test_other_screens(run_heed, chromium, tmp_path, look):
    path = tmp_path / "page.html"
    compare(run_heed, path, "ref", "hf_eager", "b2 h4 q64 d8 causal pad:left seed:1")
    page = open_page(chromium, path, **look)
    theme = "dark" if "dark" in look else "light"
    assert page.run("document.documentElement.dataset.theme") == theme
    assert page.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), "nothing to scroll sideways"
    drawn = page.run(f"{PICTURE}({json.dumps(MAPS[1])})")
    page.run("[...document.querySelectorAll('button')].find(b => b.textContent === 'light / dark').click()")
    page.settle()
    assert page.run(f"{PICTURE}({json.dumps(MAPS[1])})") != drawn
    page.run("[...document.querySelectorAll('button')].find(b => b.textContent === 'light / dark').click()")
    page.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    page.settle()
    assert page.run("document.documentElement.dataset.theme") == theme
    clean(page)


EVIL = b"</script><img src=x onerror=window.pwned=1>\"'&{{data}}$(touch pwned)\x01\xff.npz"


def test_hostile_names_are_texts(heed, run_heed, chromium, tmp_path):
    problem = "b1 h2 q8 k16 d8 causal"
    done = run_heed("compare", "ref", "torch", "--problem", problem, "--capture", tmp_path / "call.npz")
    assert done.returncode == 1, done.stderr
    folder = os.fsencode(tmp_path) + b"/<script>window.pwned=1<"
    os.makedirs(folder + b"/script>")
    name = folder + b"/script>" + EVIL.replace(b"/", b"")
    os.rename(tmp_path / "call.npz", name)
    path = tmp_path / "page.html"
    for command in (["compare", "ref", name], ["doctor", name]):
        done = subprocess.run([heed, *command, "--html", path], capture_output=True, timeout=60, cwd=tmp_path)
        assert done.returncode == 1, done.stderr
        raw = path.read_text()
        assert raw.count("</script>") == 2 and "<img" not in raw
        page = open_page(chromium, path)
        assert page.run("window.pwned === undefined && document.querySelectorAll('img, script, iframe').length === 2")
        shown = page.run("document.body.textContent")
        assert "<img src=x onerror=window.pwned=1>" in shown and "\\xff" in shown and "causal.top_left" in shown
        clean(page)


def test_arguments(run_heed, tmp_path):
    problem = "b1 h2 q16 d8 causal"
    a, b = tmp_path / "a.html", tmp_path / "b.html"
    done = compare(run_heed, a, "ref", "cpu.flash", problem)
    assert re.search(r"^page +.*a\.html: [0-9.]+ KB$", done.stdout, re.M)
    compare(run_heed, b, "ref", "cpu.flash", problem)
    assert a.read_bytes() == b.read_bytes(), "the same command gives the same bytes"
    done = run_heed("compare", "ref", "cpu.flash", "--problem", problem, "--html", tmp_path / "no/where.html")
    assert done.returncode == 5 and "where.html: No such file" in done.stderr
    done = run_heed("doctor", "nan", "--html", a)
    assert done.returncode == 64 and "--html" in done.stderr
