# SPDX-License-Identifier: Apache-2.0
"""Calls of PyTorch's own attention, captured by NumPy and safetensors: rounding where PyTorch computes what the text says, and the
name of the mistake where it does not."""
import json
import math
import random
import subprocess

import pytest

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402

SDPA = torch.nn.functional.scaled_dot_product_attention
TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def doctor(heed, path, *words):
    done = subprocess.run([str(heed), "doctor", str(path), "--json", "--threads", "1", *words], capture_output=True, text=True)
    assert done.returncode in (0, 1, 2), done.stderr
    return json.loads(done.stdout)


def names(report):
    return [x for e in report["explanations"] for x in e["ids"] + [a for al in e["aliases"] for a in al.split()]]


def to_numpy(x):
    """bf16 as its bits."""
    if not torch.is_tensor(x):
        return x
    return x.view(torch.uint16).numpy() if x.dtype == torch.bfloat16 else x.numpy()


def save(path, arrays, problem):
    """The same capture in one of the two formats."""
    if path.suffix == ".npz":
        np.savez(path, problem=problem, **{name: to_numpy(x) for name, x in arrays.items()})
    else:
        save_file({name: x.contiguous() for name, x in arrays.items()}, path, metadata={"problem": problem})
    return path


def rotate(x, cos, sin, layout, f32):
    """x (.., tokens, channels) turned by tables (tokens, channels / 2), in f32 or in its own type."""
    x, own = (x.float(), x.dtype) if f32 else (x, x.dtype)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    a, b = (x[..., ::2], x[..., 1::2]) if layout == "pairs" else x.chunk(2, -1)
    y = a * cos - b * sin, b * cos + a * sin
    y = torch.stack(y, -1).flatten(-2) if layout == "pairs" else torch.cat(y, -1)
    return y.to(own)


class Case:
    """A random problem, its data, and what PyTorch computes for it; `text` and `arrays` are the capture."""

    def __init__(self, seed, **fixed):
        r = random.Random(seed)
        torch.manual_seed(seed)
        pick = lambda name, *of: fixed.get(name, r.choice(of))  # noqa: E731
        self.seed, self.type = seed, pick("type", "f32", "bf16", "f16")
        b, kv, group = r.choice([1, 2]), r.choice([1, 2]), r.choice([1, 2, 3])
        self.heads = kv * group
        self.keys = r.choice([17, 33, 64, 100])
        self.queries = self.keys if pick("square", True, True, False) else r.choice([1, 5, self.keys // 2])
        d = r.choice([8, 32, 64])
        self.causal, self.window = pick("causal", True, False), pick("window", None, None, 7)
        self.rope = pick("rope", None, None, "half", "pairs")
        self.pad, self.bias = pick("pad", False, False, True), pick("bias", False, False, True)
        made = lambda h, s: (torch.randn(b, h, s, d) * fixed.get("size", 1.5)).to(TYPES[self.type])  # noqa: E731
        self.q, self.k, self.v = made(self.heads, self.queries), made(kv, self.keys), made(kv, self.keys)
        self.arrays = {"q": self.q, "k": self.k, "v": self.v}
        self.scale = 1 / math.sqrt(d)
        self.text = f"b{b} h{self.heads}/{kv} q{self.queries} k{self.keys} d{d} {self.type}"
        i, j = torch.arange(self.queries)[:, None] + self.keys - self.queries, torch.arange(self.keys)[None]
        self.i, self.j = i, j
        if self.causal:
            self.text += " causal"
        if self.window:
            self.text += f" window:{self.window}" + ("" if self.causal else f",{self.window}")
        if self.pad:
            self.first = torch.tensor([r.randrange(0, 5) for _ in range(b)])
            self.text += " pad:left empty:zero"
            self.arrays["key_range"] = torch.stack([self.first, torch.full((b,), self.keys)], 1).int()
        if self.bias:
            self.text += " bias:h,q,k"
            self.arrays["bias"] = torch.randn(1, self.heads, self.queries, self.keys).to(TYPES[self.type]).float()
        self.f32_rope = True
        if self.rope:
            theta = r.choice([10000, 500000])
            self.text += f" rope:{self.rope},theta={theta}"
            angle = torch.arange(self.keys).double()[:, None] * theta ** (-torch.arange(0, d, 2).double() / d)
            self.cos, self.sin = angle.cos().float(), angle.sin().float()
            if pick("table", True, False):    # in the call's type, or in f32 for code that turns q and k in f32
                self.f32_rope = pick("f32_rope", True, False)
                if not self.f32_rope:
                    self.cos, self.sin = (x.to(TYPES[self.type]).float() for x in (self.cos, self.sin))
                twice = torch.cat if self.rope == "half" else lambda x, _: torch.stack(x, -1).flatten(-2)
                self.arrays |= {n: twice([x, x], -1) for n, x in (("cos", self.cos), ("sin", self.sin))}

    def visible(self, causal=None, window=None, pad=True):
        see = torch.ones(1, 1, self.queries, self.keys, dtype=torch.bool)
        causal = self.causal if causal is None else causal
        window = self.window if window is None else window
        if causal:
            see = see & (self.j <= self.i)
        if window:
            see = see & (self.j >= self.i - window)
            if not causal:
                see = see & (self.j <= self.i + window)
        if self.pad and pad:
            see = see & (self.j >= self.first[:, None, None, None])
        return see

    def compute(self, see=None, scale=None):
        """SDPA, with rows that see nothing as 0."""
        see = self.visible() if see is None else see
        q, k = self.q, self.k
        if self.rope:
            q = rotate(q, self.cos[self.i[:, 0]], self.sin[self.i[:, 0]], self.rope, self.f32_rope)
            k = rotate(k, self.cos, self.sin, self.rope, self.f32_rope)
        mask = torch.zeros(see.shape).masked_fill(~see, -math.inf)
        if self.bias:
            mask = mask + self.arrays["bias"]
        group = self.heads // k.shape[1]
        k, v = k.repeat_interleave(group, 1), self.v.repeat_interleave(group, 1)
        out = SDPA(q, k, v, attn_mask=mask.to(q.dtype), scale=scale or self.scale)
        return torch.where(see.any(-1, keepdim=True), out, torch.zeros((), dtype=out.dtype))


# Ten seeds a test, so that a failure names few.
@pytest.mark.parametrize("first", range(0, 100, 10))
def test_pytorch_is_rounding(heed, tmp_path, first):
    for seed in range(first, first + 10):
        case = Case(seed)
        case.arrays["out"] = case.compute()
        path = save(tmp_path / ("a.npz" if seed % 2 else "a.safetensors"), case.arrays, case.text)
        report = doctor(heed, path)
        assert report["verdict"] == "ROUNDING", (seed, case.text, case.f32_rope, names(report), report["residual"], report["floor"])


def planted(case, what):
    if what == "no mask":
        case.arrays["out"] = case.compute(see=case.visible(causal=False, window=0))
        return "causal.none"    # without a window it is causal.dropped_with_mask as well
    if what == "window":
        case.arrays["out"] = case.compute(see=case.visible(window=case.window + 1))
        return "window.plus_one"
    if what == "padding":
        case.arrays["out"] = case.compute(see=case.visible(pad=False))
        return "pad.none"
    if what == "pairing":
        case.rope = {"half": "pairs", "pairs": "half"}[case.rope]
        case.arrays["out"] = case.compute()
        return "rope.pairing"
    case.arrays["out"] = case.compute(scale=case.scale**2)
    return "scale.twice"


@pytest.mark.parametrize("what, fixed", [
    ("no mask", {"causal": True, "window": None, "pad": False, "square": True}), ("window", {"causal": True, "window": 7}),
    ("padding", {"pad": True, "window": None}), ("pairing", {"rope": "half", "table": True}),
    ("pairing", {"rope": "pairs", "table": False}),
    ("scale", {}),
])
def test_mistakes_are_named(heed, tmp_path, what, fixed):
    """The one that was made is among the explanations, or these inputs cannot show it."""
    seen = 0
    for seed in range(1000, 1003):
        case = Case(seed, **fixed)
        wanted = planted(case, what)
        report = doctor(heed, save(tmp_path / "a.npz", case.arrays, case.text))
        named = wanted in names(report)
        seen += named
        blind = wanted in report["undecidable"] and report["verdict"] == "ROUNDING"
        assert named or blind, (seed, case.text, names(report), wanted)
    assert seen >= 2, "hardly any of these inputs shows it"


def test_formats_and_types_agree(heed, tmp_path):
    """bf16 as BF16, as uint16, as ml_dtypes' own, as float32 of rounded values; deflated; Fortran's order: one report."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    case = Case(7, type="bf16", bias=False, pad=True, rope=None)
    case.arrays["out"] = case.compute(scale=case.scale**2)
    reports = [doctor(heed, save(tmp_path / name, case.arrays, case.text)) for name in ("a.npz", "a.safetensors")]
    tensors = [n for n, x in case.arrays.items() if x.dtype == torch.bfloat16]
    forms = [lambda x: x.float().numpy(), lambda x: x.float().numpy().astype(ml_dtypes.bfloat16),
             lambda x: np.asfortranarray(x.float().double().numpy()).astype(">f8")]
    for form in forms:
        arrays = {n: form(x) if n in tensors else x.numpy() for n, x in case.arrays.items()}
        np.savez_compressed(tmp_path / "b.npz", problem=np.frombuffer(case.text.encode(), np.uint8), **arrays)
        reports.append(doctor(heed, tmp_path / "b.npz"))
    for report in reports:
        report["b"] = ""
        assert report == reports[0]
    assert reports[0]["verdict"] == "SEMANTIC" and "scale.twice" in names(reports[0])


def test_two_files_and_an_implementation(heed, tmp_path):
    case = Case(3, causal=True, pad=False, rope=None)
    case.arrays["out"] = case.compute()
    ours = save(tmp_path / "ours.npz", case.arrays, case.text)
    wrong = case.compute(see=case.visible(causal=False, window=0))
    theirs = save(tmp_path / "theirs.safetensors", {"out": wrong, "extra": torch.ones(2)}, "b1")
    done = subprocess.run([str(heed), "compare", str(ours), str(theirs), "--json"], capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert done.returncode == 1 and report["verdict"] == "SEMANTIC" and report["departs"] == "b"
    assert report["remarks"] == [f"{str(theirs)[-100:]}: extra is no array that a capture has; it is not looked at"]
    done = subprocess.run([str(heed), "compare", str(ours), "cpu.flash", "--json"], capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)["verdict"] == "ROUNDING"
    done = subprocess.run([str(heed), "compare", "ref", str(theirs)], capture_output=True, text=True)
    assert done.returncode == 5 and "has no q, k, v" in done.stderr


def test_objects_and_pickles(heed, tmp_path):
    np.savez(tmp_path / "a.npz", q=np.array([{}], dtype=object))
    torch.save({"q": torch.zeros(1)}, tmp_path / "a.pt")
    import pickle
    (tmp_path / "b.npz").write_bytes(pickle.dumps({"q": 1}))
    for name in ("a.npz", "a.pt", "b.npz"):
        done = subprocess.run([str(heed), "doctor", str(tmp_path / name)], capture_output=True, text=True)
        assert done.returncode == 3 and "pickle" in done.stderr and done.stderr.count("\n") == 1, (name, done.stderr)


def captured(case, **more):
    """out and lse, exactly enough: in double."""
    q, k, v = case.q.double(), *(x.double().repeat_interleave(case.heads // x.shape[1], 1) for x in (case.k, case.v))
    scores = (q @ k.transpose(-1, -2) * case.scale).masked_fill(~case.visible(), -math.inf)
    case.arrays |= {"out": (scores.softmax(-1) @ v).to(TYPES[case.type]), "lse": scores.logsumexp(-1).float(), **more}
    return case


def test_lse_conventions_and_layouts(heed, tmp_path):
    """What is right but lies otherwise than it is read, or is counted otherwise."""
    plain = {"causal": True, "window": None, "pad": False, "bias": False, "rope": None, "square": True}
    case = captured(Case(2, **plain))
    assert doctor(heed, save(tmp_path / "a.npz", case.arrays, case.text))["verdict"] in ("SAME", "ROUNDING")
    case.arrays["lse"] = case.arrays["lse"] / math.log(2)
    report = doctor(heed, save(tmp_path / "a.npz", case.arrays, case.text))
    assert report["verdict"] == "SEMANTIC" and "lse.base2" in names(report)
    for seed in range(20, 24):
        case = captured(Case(seed, **plain))
        if case.heads == 1:
            continue
        out = case.arrays["out"]
        case.arrays["out"] = out.transpose(1, 2).contiguous().view(out.shape)
        report = doctor(heed, save(tmp_path / "a.safetensors", case.arrays, case.text))
        assert report["verdict"] == "SEMANTIC" and "layout.seq_head" in names(report), (seed, case.text, names(report))


def test_gradients_of_autograd(heed, tmp_path):
    """dq, dk, dv as PyTorch gives them are rounding."""
    for seed in range(3):
        case = Case(seed, type="f32", rope=None, pad=False, bias=False, causal=True)
        for x in (case.q, case.k, case.v):
            x.requires_grad_()
        out = case.compute()
        case.arrays |= {"out": out.detach(), "dout": torch.randn(out.shape)}
        out.backward(case.arrays["dout"])
        case.arrays |= {n: x.detach() for n, x in case.arrays.items()} | {f"d{n}": getattr(case, n).grad for n in "qkv"}
        report = doctor(heed, save(tmp_path / "a.npz", case.arrays, case.text + " grad"))
        assert report["verdict"] == "ROUNDING", (seed, case.text, names(report))
