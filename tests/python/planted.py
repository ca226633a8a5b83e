# SPDX-License-Identifier: Apache-2.0
"""Problems of the planted-defect suite, drawn over the spread that docs/diagnosis.md names; each is one line that draws it again.

Nothing here reads heed's own code: text and meaning are those of docs/contract.md.
"""
import dataclasses

import numpy as np


def round_bf16(x):
    bits = np.asarray(x, np.float32).view(np.uint32)
    with np.errstate(over="ignore"):
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return np.where(np.isfinite(x), bits.view(np.float32), x).astype(np.float64)


def round_f16(x):
    with np.errstate(over="ignore"):
        return np.asarray(x).astype(np.float16).astype(np.float64)


def round_f32(x):
    with np.errstate(over="ignore"):
        return np.asarray(x).astype(np.float32).astype(np.float64)


ROUND = {"f32": round_f32, "bf16": round_bf16, "f16": round_f16}
MANTISSA = {"f32": 23, "bf16": 7, "f16": 10}


def ulp(dtype, x):
    """One unit in the last place of the type at x."""
    least = {"f32": -126, "bf16": -126, "f16": -14}[dtype]
    exponent = np.where(x == 0, least, np.frexp(np.abs(np.where(np.isfinite(x), x, 0)))[1] - 1)
    return np.exp2(np.maximum(exponent, least).astype(np.float64) - MANTISSA[dtype])


@dataclasses.dataclass
class Case:
    """A call: what it claims, and its inputs as exact doubles."""
    seed: int
    B: int = 1
    Hq: int = 1
    Hkv: int = 1
    Sq: int = 1
    Skv: int = 1
    D: int = 8
    Dv: int = 8
    dtype: str = "f32"
    causal: bool = False
    prefix: int = -1
    window: tuple = None        # (left, right), -1 open
    offset: object = "bottom"   # or "top", or a number
    softcap: float = 0
    alibi: bool = False
    bias: str = ""              # the axes it has
    mask: str = ""
    pad: str = ""
    docs: bool = False
    count: bool = False
    paged: int = 0
    sink: bool = False
    scale: float = 0
    empty: str = "zero"
    rope: str = ""
    theta: float = 10000
    yarn: float = 1
    dropout: float = 0
    arrays: dict = dataclasses.field(default_factory=dict)

    def text(self):
        heads = f"h{self.Hq}" if self.Hq == self.Hkv else f"h{self.Hq}/{self.Hkv}"
        d = f"d{self.D}" if self.D == self.Dv else f"d{self.D}/{self.Dv}"
        words = [f"b{self.B}", heads, f"q{self.Sq}", f"k{self.Skv}", d, self.dtype]
        words += ["causal"] * self.causal + [f"prefix:{self.prefix}"] * (self.prefix >= 0)
        if self.window is not None:
            words.append(f"window:{self.window[0]},{self.window[1]}")
        if self.offset != "bottom":
            words.append(f"offset:{self.offset}")
        words += [f"softcap:{self.softcap:g}"] * (self.softcap > 0) + ["alibi"] * self.alibi
        words += [f"bias:{','.join(self.bias)}"] * bool(self.bias) + [f"mask:{','.join(self.mask)}"] * bool(self.mask)
        words += [f"pad:{self.pad}"] * bool(self.pad) + ["docs"] * self.docs + ["count:rand"] * self.count
        words += [f"paged:{self.paged}"] * bool(self.paged) + ["sink"] * self.sink
        words += [f"scale:{self.scale:g}"] * bool(self.scale) + [f"empty:{self.empty}"] * (self.empty != "zero")
        if self.rope:
            words.append(f"rope:{self.rope},theta={self.theta:g}" + (f",yarn={self.yarn:g}" if self.yarn != 1 else ""))
        words += [f"dropout:{self.dropout:g}"] * bool(self.dropout)
        return " ".join(words) + f" seed:{self.seed}"

    # ---- what docs/contract.md derives from the claim
    def scale_used(self):
        return self.scale or 1 / np.sqrt(self.D)

    def counts(self):
        return self.arrays["key_count"] if self.count else np.full(self.B, self.Skv)

    def offsets(self):
        if self.offset == "bottom":
            return self.counts() - self.Sq
        return np.full(self.B, 0 if self.offset == "top" else self.offset)


def _grid(axes, case):
    return tuple(n if a in axes else 1 for a, n in zip("bhqk", (case.B, case.Hq, case.Sq, case.Skv)))


def draw_shape(seed, most=64):
    """What a case claims, without its arrays: cheap, so that a defect can be given a case it means something for."""
    r = np.random.default_rng(seed)
    chance = lambda p: r.random() < p
    c = Case(seed=seed)
    c.B = int(r.choice([1, 1, 2, 3]))
    c.Hkv = int(r.choice([1, 1, 2, 3]))
    c.Hq = c.Hkv * int(r.choice([1, 1, 2, 4] if c.Hkv < 3 else [1, 2]))
    c.Skv = int(np.exp(r.uniform(0, np.log(most + 0.99))))
    c.Sq = c.Skv if chance(0.6) else 1 if chance(0.4) else int(r.integers(1, c.Skv + 1))
    c.D = int(r.choice([8, 16, 32, 64]))
    c.Dv = c.D if chance(0.75) else int(r.choice([8, 16, 24, 64]))
    c.dtype = str(r.choice(["f32", "bf16", "f16"]))
    if chance(0.5):
        c.causal = True
    elif chance(0.15):
        c.prefix = int(r.integers(0, c.Skv + 1))
    if chance(0.3):
        left = int(r.integers(0, max(2, c.Skv // 2)))
        c.window = (left, 0 if c.causal else int(r.choice([-1, 0, 1, 3])))
    c.docs = chance(0.12)
    if chance(0.25):
        c.offset = "top"
    elif chance(0.15) and not c.docs:
        c.offset = int(r.integers(-2, c.Skv - c.Sq + 3))
    c.softcap = float(r.choice([1.5, 4, 20])) if chance(0.15) else 0
    c.alibi = chance(0.15)
    c.bias = str(r.choice(["bhqk", "hqk", "qk", "bk", "hk"])) if chance(0.2) else ""
    c.mask = str(r.choice(["bhqk", "bqk", "qk", "bk"])) if chance(0.15) else ""
    c.pad = str(r.choice(["left", "right"])) if chance(0.25) else ""
    c.count = chance(0.15) and not c.docs and c.Skv > c.Sq
    c.paged = int(r.choice([4, 16])) if c.count and chance(0.4) else 0
    c.sink = chance(0.3)
    c.scale = float(r.choice([0.1, 0.5, 1.0])) if chance(0.1) else 0
    c.empty = str(r.choice(["mean", "mean_causal", "nan"])) if chance(0.12) else "zero"
    if chance(0.2) and not c.alibi:
        c.rope = str(r.choice(["half", "pairs"]))
        c.theta = float(r.choice([1e4, 1.5e5, 5e5, 2e4]))
        c.yarn = float(r.choice([1, 4, 32]))
    c.dropout = float(r.choice([0.1, 0.3])) if chance(0.06) else 0
    return c


def fill(c):
    """Draws the arrays of a claim, in its storage type, from its seed."""
    r = np.random.default_rng([c.seed, 1])
    to = ROUND[c.dtype]
    loud = r.choice([0.5, 1, 1, 2])
    a = {"q": to(r.standard_normal((c.B, c.Hq, c.Sq, c.D)) * loud), "k": to(r.standard_normal((c.B, c.Hkv, c.Skv, c.D))),
         "v": to(r.standard_normal((c.B, c.Hkv, c.Skv, c.Dv)))}
    if c.sink:
        a["sinks"] = round_f32(r.standard_normal(c.Hq) * 1.5 + np.log(max(1, c.Skv // 4)))
    if c.alibi:
        a["slopes"] = round_f32(2.0 ** (-8 * (np.arange(c.Hq) + 1) / c.Hq))
    if c.bias:
        a["bias"] = round_f32(r.standard_normal(_grid(c.bias, c)))
    if c.mask:
        a["mask"] = (r.random(_grid(c.mask, c)) < 0.7).astype(np.float64)
    if c.dropout:
        a["keep"] = (r.random((c.B, c.Hq, c.Sq, c.Skv)) >= c.dropout).astype(np.float64)
    if c.count:
        a["key_count"] = r.integers(c.Sq, c.Skv + 1, c.B)
    if c.pad:
        count = a["key_count"] if c.count else np.full(c.B, c.Skv)
        n = np.array([r.integers(0, max(1, n // 2) + 1) for n in count])
        a["key_range"] = np.stack([n, count] if c.pad == "left" else [np.zeros(c.B, int), count - n], 1)
    if c.docs:
        starts = r.random((c.B, c.Skv)) < max(0.05, 3 / c.Skv)
        a["documents"] = np.cumsum(starts, 1)
    c.arrays = a
    return c


def draw(seed, most=64):
    return fill(draw_shape(seed, most))
