# SPDX-License-Identifier: Apache-2.0
"""Attention by formulas that no hypothesis covers: what heed must call unexplained."""
import numpy as np

import planted


def _softmax(x):
    w = np.exp(x - x.max(-1, keepdims=True))
    return w / w.sum(-1, keepdims=True)


def _normal(w):
    return w / np.maximum(w.sum(-1, keepdims=True), 1e-300)


def _sparsemax(x):
    """Martins and Astudillo 2016: the projection on the simplex."""
    z = -np.sort(-x, -1)
    n = np.arange(1, x.shape[-1] + 1)
    with np.errstate(invalid="ignore"):
        total = np.cumsum(np.where(np.isfinite(z), z, 0), -1)
        held = (1 + n * z > total) & np.isfinite(z)
    k = held.sum(-1, keepdims=True)
    edge = (np.take_along_axis(total, k - 1, -1) - 1) / k
    return np.maximum(x - edge, 0)


def _top(x, k):
    return np.where(x >= -np.sort(-x, -1)[..., min(k, x.shape[-1]) - 1, None], x, -np.inf)


def _seen(x, f):
    """f of the scores that are seen, 0 elsewhere."""
    return np.where(np.isfinite(x), f(np.where(np.isfinite(x), x, 0)), 0)


def _edit(f):
    return lambda x, n, raw: _softmax(np.where(np.isfinite(x), f(np.where(np.isfinite(x), x, 0)), -np.inf))


# weights from the scores x (B, H, Sq, Skv), -inf where hidden; n: the key's index; raw: q, k as heads read them
FORMULAS = {
    "sparsemax": lambda x, n, raw: _sparsemax(x),
    "scores squared": _edit(np.square),
    "scores cubed": _edit(lambda x: x ** 3),
    "absolute scores": _edit(np.abs),
    "relu of scores": _edit(lambda x: np.maximum(x, 0)),
    "sine of scores": _edit(lambda x: 2 * np.sin(2 * x)),
    "clipped scores": _edit(lambda x: np.clip(x, -0.4, 0.4)),
    "leaky scores": _edit(lambda x: np.where(x > 0, x, 0.1 * x)),
    "floor of scores": _edit(np.floor),
    "logarithm of scores": _edit(lambda x: np.sign(x) * np.log1p(np.abs(x))),
    "sigmoid weights": lambda x, n, raw: _seen(x, lambda y: 1 / (1 + np.exp(-y))),
    "normalised sigmoid": lambda x, n, raw: _normal(_seen(x, lambda y: 1 / (1 + np.exp(-y)))),
    "linear, relu kernel": lambda x, n, raw: _normal(_seen(x, lambda y: np.maximum(y, 0) + 0.01)),
    "linear, elu kernel": lambda x, n, raw: _normal(_seen(x, lambda y: np.where(y > 0, y + 1, np.exp(y)))),
    "squared weights": lambda x, n, raw: _softmax(x) ** 2,
    "square root of weights": lambda x, n, raw: np.sqrt(_softmax(x)),
    "keys weighted by position": lambda x, n, raw: _normal(_softmax(x) * (1 + n)),
    "keys weighted by parity": lambda x, n, raw: _normal(_softmax(x) * (1 + n % 2)),
    "best three keys": lambda x, n, raw: _softmax(_top(x, 3)),
    "best key": lambda x, n, raw: _softmax(np.where(x == x.max(-1, keepdims=True), x, -np.inf)),
    "every third key": lambda x, n, raw: _normal(_softmax(x) * np.where(n % 3 == 0, 1, 1e-6)),
    "cosine scores": lambda x, n, raw: _softmax(np.where(np.isfinite(x), 3 * raw[2] / raw[3], -np.inf)),
    "minus squared distance": lambda x, n, raw: _softmax(np.where(np.isfinite(x), -raw[4] * raw[5], -np.inf)),
    "softmax over the queries": lambda x, n, raw: _softmax(np.where(np.isfinite(x), x, -1e30).swapaxes(2, 3)).swapaxes(2, 3),
    "mixed with the mean": lambda x, n, raw: 0.7 * _softmax(x) + 0.3 * _normal(np.isfinite(x).astype(float)),
    "centred weights": lambda x, n, raw: _softmax(x) - _normal(np.isfinite(x).astype(float)),
}


def case_for(seed):
    """A plain call, long enough that these differ from everything the table has."""
    r = np.random.default_rng(seed)
    heads = int(r.choice([1, 2, 4]))
    S = int(r.integers(20, 100))
    return planted.fill(planted.Case(seed=seed, B=int(r.choice([1, 2])), Hq=heads, Hkv=int(r.choice([1, heads])), Sq=S, Skv=S,
                                     D=16, Dv=int(r.choice([16, 24])), dtype=str(r.choice(["f32", "bf16", "f16"])),
                                     causal=bool(r.random() < 0.5)))


def compute(case, name):
    q, k, v = (case.arrays[n] for n in "qkv")
    g = np.arange(case.Hq) * case.Hkv // case.Hq
    k, v = k[:, g], v[:, g]
    dot = q @ k.swapaxes(2, 3)
    norms = np.linalg.norm(q, axis=-1)[..., :, None] * np.linalg.norm(k, axis=-1)[..., None, :]
    far = (q ** 2).sum(-1)[..., :, None] + (k ** 2).sum(-1)[..., None, :] - 2 * dot
    i, j = np.arange(case.Sq)[:, None], np.arange(case.Skv)[None]
    x = np.where((j <= i) | (not case.causal), dot * case.scale_used(), -np.inf)
    return FORMULAS[name](x, j, (q, k, dot, norms, far, case.scale_used())) @ v
