# SPDX-License-Identifier: Apache-2.0
"""What each id of the hypotheses' table means, as numbers: attention in numpy, in double or as correct code rounds it.

Written from docs/contract.md and the table's words, not from src/compare: that is what makes the suite independent. Where the
words leave a choice, docs/diagnosis.md says which one is planted.
"""
import numpy as np

from planted import ROUND, round_bf16, round_f16

TILES = (16, 32, 64, 128, 256)
THETAS = (1e4, 1.5e5, 5e5, 1e6)
# What a computation may do otherwise; an id sets a field or two. Absent: as claimed.
CLAIM = dict(shift=0, mask_offset=None, mask="", pad="", docs="", empty=None, factor=1.0, sink="", sink_order=None, heads="",
             swap="", cap="", alibi="", bias=1.0, bias_t=False, rope="", rope_scale=1, layout="", tile="", tile_keys=0, lse="",
             cache="", dropout="", precise="", edges=None, theta=None)


def _has(*fields):
    return lambda c: all(getattr(c, f) for f in fields)


def _edges(c):
    """(causal, prefix, left, right) of the claim."""
    return c.causal, c.prefix, *((c.window or (-1, -1)))


def _right(c):
    return c.causal or c.prefix >= 0 or (c.window is not None and c.window[1] >= 0)


def _left(c):
    return c.window is not None and c.window[0] >= 0


def _bounded(c):
    return _right(c) or _left(c)


def _open(c):
    return not (_bounded(c) or c.pad or c.docs or c.mask or c.count)


def _edge(edit):
    return lambda c, p: dict(edges=edit(*_edges(c)))


def _set(**fields):
    return lambda c, p: fields


def _theta(c, p):
    return dict(theta=p)


def _sink_order(c, p):
    G = c.Hq // c.Hkv
    if G == 1 or c.Hkv == 1:
        return dict(sink_order=np.arange(c.Hq)[::-1])
    return dict(sink_order=np.arange(c.Hq).reshape(G, c.Hkv).T.reshape(-1))


# id: (means something for the claim, what it sets, values of its parameter, its lse is said)
TABLE = {
    "causal.none": (_right, _edge(lambda c, n, l, r: (False, -1, l, -1))),
    "causal.no_mask_no_causal": (lambda c: c.causal and _left(c), _edge(lambda c, n, l, r: (False, -1, -1, -1))),
    "causal.dropped_with_mask": (lambda c: c.causal, _edge(lambda c, n, l, r: (False, -1, -1, -1))),
    "causal.added": (lambda c: not c.causal and c.prefix < 0, _edge(lambda c, n, l, r: (True, n, l, r))),
    "causal.top_left": (lambda c: _bounded(c) and not c.docs, _set(mask_offset="top")),
    "causal.bottom_right": (lambda c: _bounded(c) and not c.docs, _set(mask_offset="bottom")),
    "causal.plus_one": (_right, _set(shift=1)),
    "causal.strict": (_right, _set(shift=-1)),
    "window.none": (_left, _edge(lambda c, n, l, r: (c, n, -1, r))),
    "window.plus_one": (_left, _edge(lambda c, n, l, r: (c, n, l + 1, r))),
    "window.minus_one": (lambda c: _left(c) and c.window[0] > 0, _edge(lambda c, n, l, r: (c, n, l - 1, r))),
    "window.right_open": (_left, _edge(lambda c, n, l, r: (False, -1, l, -1))),
    "window.no_causal": (lambda c: _left(c) and c.causal, _edge(lambda c, n, l, r: (False, -1, l, l))),
    "sink.none": (_has("sink"), _set(sink="none")),
    "sink.scaled": (_has("sink"), _set(sink="scaled")),
    "sink.masked_rows": (_has("sink"), _set(sink="masked_rows")),
    "sink.after_softmax": (_has("sink"), _set(sink="after"), (), False),
    "sink.head_order": (lambda c: c.sink and c.Hq > 1, _sink_order),
    "sink.in_value": (_has("sink"), _set(sink="in_value")),
    "heads.tiled": (lambda c: c.Hkv > 1 and c.Hq > c.Hkv, _set(heads="tiled")),
    "heads.kv_plus_one": (lambda c: c.Hkv > 1, _set(heads="plus_one")),
    "heads.kv_swapped": (lambda c: c.D == c.Dv and not c.rope, _set(swap="kv")),
    "heads.reversed": (lambda c: c.Hkv > 1, _set(heads="reversed")),
    "heads.first_only": (lambda c: c.Hkv > 1, _set(heads="first")),
    "heads.qk_swapped": (lambda c: c.Sq == c.Skv and not c.rope and not c.count, _set(swap="qk")),
    "scale.none": (lambda c: c.scale != 1, lambda c, p: dict(factor=1 / c.scale_used())),
    "scale.twice": (lambda c: c.scale_used() != 1, lambda c, p: dict(factor=c.scale_used())),
    "scale.inverse_d": (lambda c: c.scale_used() * c.D != 1, lambda c, p: dict(factor=1 / c.D / c.scale_used())),
    "scale.dv": (lambda c: c.D != c.Dv, lambda c, p: dict(factor=1 / np.sqrt(c.Dv) / c.scale_used())),
    "scale.log2": (lambda c: True, _set(lse="ln2"), (), False),
    "softcap.none": (_has("softcap"), _set(cap="none")),
    "softcap.before_scale": (_has("softcap"), _set(cap="before")),
    "softcap.after_mask": (lambda c: c.softcap and not (c.bias or c.alibi) and (_bounded(c) or c.pad or c.mask or c.docs),
                           _set(cap="after")),
    "alibi.none": (_has("alibi"), _set(alibi="none")),
    "alibi.sign": (_has("alibi"), _set(alibi="sign")),
    "alibi.unshifted": (_has("alibi"), _set(alibi="unshifted")),
    "alibi.absolute": (lambda c: c.alibi and not c.causal and c.prefix < 0, _set(alibi="absolute")),
    "bias.none": (_has("bias"), _set(bias=0.0)),
    "bias.transposed": (lambda c: "q" in c.bias and "k" in c.bias and c.Sq == c.Skv, _set(bias_t=True)),
    "bias.twice": (_has("bias"), _set(bias=2.0)),
    "bias.scaled": (_has("bias"), lambda c, p: dict(bias=c.scale_used())),
    "mask.none": (_has("mask"), _set(mask="none")),
    "mask.inverted": (_has("mask"), _set(mask="inverted")),
    "mask.as_bias": (_has("mask"), _set(mask="as_bias")),
    "rope.none": (_has("rope"), _set(rope="none")),
    "rope.pairing": (_has("rope"), _set(rope="pairing")),
    "rope.partial": (_has("rope"), _set(rope="partial")),
    "rope.theta": (_has("rope"), _theta, THETAS),
    "rope.plus_one": (_has("rope"), _set(rope="plus_one")),
    "rope.no_offset": (lambda c: c.rope and c.offset != "top" and (c.offset != "bottom" or c.Skv != c.Sq), _set(rope="no_offset")),
    "rope.inverse": (_has("rope"), _set(rope="inverse")),
    "rope.no_concentration": (lambda c: c.rope and c.yarn > 1, _set(rope_scale=0)),
    "rope.concentration_twice": (lambda c: c.rope and c.yarn > 1, _set(rope_scale=2)),
    "rope.bf16_table": (_has("rope"), _set(rope="bf16_table")),
    "rope.q_only": (_has("rope"), _set(rope="q_only")),
    "rope.from_padding": (_has("rope", "pad"), _set(rope="from_padding")),    # these two move q and k alike
    "rope.no_restart": (_has("rope", "docs"), _set(rope="no_restart")),
    "pad.none": (_has("pad"), _set(pad="none")),
    "pad.side": (_has("pad"), _set(pad="side")),
    "pad.finite_minimum": (lambda c: c.pad and not c.sink, _set(empty="mean_shown")),
    "pad.zero_keys": (_has("pad"), _set(pad="zero")),
    "docs.leak": (_has("docs"), _set(docs="leak")),
    "docs.edge_off_by_one": (_has("docs"), lambda c, p: dict(docs="late" if p == 1 else "early"), (1, 2)),
    "precision.softmax_storage": (lambda c: c.dtype != "f32", _set(precise="softmax"), (), False),
    "precision.accumulate_storage": (lambda c: c.dtype != "f32", _set(precise="accumulate"), (), False),
    "precision.scores_storage": (lambda c: c.dtype != "f32", _set(precise="scores")),
    "precision.overflow": (lambda c: True, _set(precise="overflow")),
    "layout.seq_head": (lambda c: c.Hq > 1 and c.Sq > 1, _set(layout="seq_head"), (), False),
    "layout.batch_head": (lambda c: c.Hq > 1 and c.B > 1, _set(layout="batch_head"), (), False),
    "layout.v_transposed": (lambda c: c.Skv > 1 and c.Dv > 1, _set(layout="v_transposed")),
    "layout.strides_ignored": (lambda c: c.Hq > 1 and c.Sq > 1 and not c.rope, _set(layout="strides")),
    "tile.tail_dropped": (lambda c: c.Skv > 16 and not c.count, lambda c, p: dict(tile="dropped", tile_keys=p), TILES),
    "tile.tail_zero": (lambda c: _open(c) and not c.sink, lambda c, p: dict(tile="zero", tile_keys=p), TILES),
    "tile.no_rescale": (lambda c: c.Skv > 16 and not c.sink and not c.dropout,
                        lambda c, p: dict(tile="no_rescale", tile_keys=p), TILES),
    "merge.unweighted": (lambda c: c.Skv > 16 and not c.sink and not c.dropout,
                         lambda c, p: dict(tile="unweighted", tile_keys=p), TILES, False),
    "lse.base2": (lambda c: True, _set(lse="base2")),
    "lse.no_sink": (_has("sink"), _set(lse="no_sink")),
    "cache.one_more": (lambda c: c.count and not _bounded(c) and not c.pad, _set(cache="one_more")),
    "cache.one_less": (_has("count"), _set(cache="one_less")),
    "cache.stale_last": (lambda c: c.count and not c.rope, _set(cache="stale_last")),
    "cache.page_order": (lambda c: c.paged and 2 * c.paged <= c.Skv, _set(cache="page_order")),
    "dropout.none": (_has("dropout"), _set(dropout="none")),
    "dropout.not_rescaled": (_has("dropout"), _set(dropout="not_rescaled")),
    "dropout.before_softmax": (_has("dropout"), _set(dropout="before")),
}
for _rule in ("zero", "mean", "mean_causal", "nan"):
    TABLE["empty." + _rule] = (lambda c, rule=_rule: c.empty != rule and not c.sink and (_bounded(c) or c.pad or c.mask or c.docs),
                               _set(empty=_rule))


def applies(id, case):
    return bool(TABLE[id][0](case))


def parameters(id):
    return TABLE[id][2] if len(TABLE[id]) > 2 else ()


def lse_is_said(id):
    return len(TABLE[id]) < 4 or TABLE[id][3]


def edited(case, ids, values=()):
    """The settings of a computation with these defects; values: a parameter each, 0 without."""
    s = dict(CLAIM)
    for i, id in enumerate(ids):
        s.update(TABLE[id][1](case, values[i] if i < len(values) else 0))
    return s


# ---- Inputs as the other side reads them -------------------------------------------------------------------------------

def _angles(case, s, positions, channels, theta):
    pair = np.arange(channels // 2)
    f = theta ** (2 * pair / channels)
    inverse = 1 / f
    if case.yarn > 1:
        low, high = (channels / 2 * np.log(4096 / (beta * 2 * np.pi)) / np.log(theta) for beta in (32, 1))
        r = np.clip((pair - low) / (high - low), 0, 1)
        inverse = r / (case.yarn * f) + (1 - r) / f
    factor = (0.1 * np.log(case.yarn) + 1) ** s["rope_scale"]
    angle = positions[..., None] * inverse
    if s["rope"] == "inverse":
        angle = -angle
    cos, sin = np.cos(angle) * factor, np.sin(angle) * factor
    return (round_bf16(cos), round_bf16(sin)) if s["rope"] == "bf16_table" else (cos, sin)


def _turn(case, s, x, positions):
    """x (B, H, S, D) turned; positions (B, S)."""
    channels = case.D // 2 if s["rope"] == "partial" else case.D
    cos, sin = (t[:, None] for t in _angles(case, s, positions, channels, s["theta"] or case.theta))
    half = (case.rope == "half") != (s["rope"] == "pairing")
    y = x.copy()
    a, b = (slice(0, channels // 2), slice(channels // 2, channels)) if half else (slice(0, channels, 2), slice(1, channels, 2))
    y[..., a] = x[..., a] * cos - x[..., b] * sin
    y[..., b] = x[..., a] * sin + x[..., b] * cos
    return y


def _inputs(case, s):
    q, k, v = (case.arrays[n].copy() for n in "qkv")
    if s["layout"] == "strides":
        q, k, v = (x.transpose(0, 2, 1, 3).reshape(x.shape) for x in (q, k, v))
    if s["layout"] == "v_transposed":
        v = v.swapaxes(2, 3).reshape(v.shape)
    if s["cache"] == "stale_last":
        last = np.minimum(case.counts(), case.arrays["key_range"][:, 1]) if case.pad else case.counts()
        for b, n in enumerate(last):
            k[b, :, n - 1], v[b, :, n - 1] = 0, 0
    if case.rope and s["rope"] != "none":
        rows = np.arange(case.Sq)[None] + np.zeros((case.B, 1))
        at = rows + (s["rope"] == "plus_one") + (0 if s["rope"] == "no_offset" else case.offsets()[:, None])
        moved = np.zeros((case.B, 1))
        if s["rope"] == "from_padding":
            moved = -case.arrays["key_range"][:, :1]
        if s["rope"] == "no_restart":
            moved = moved + case.Skv
        q = _turn(case, s, q, at + moved)
        if s["rope"] != "q_only":
            k = _turn(case, s, k, np.arange(case.Skv)[None] + moved)
    if s["cache"] == "page_order":    # a cache holds keys that are turned already
        n, order = case.paged, np.arange(case.Skv)
        order[:2 * n] = np.r_[n:2 * n, 0:n]
        k, v = k[:, :, order], v[:, :, order]
    return (q, v, k) if s["swap"] == "kv" else (q, k, v)


def _heads(case, s):
    h, G = np.arange(case.Hq), case.Hq // case.Hkv
    return {"": h // G, "tiled": h % case.Hkv, "plus_one": (h // G + 1) % case.Hkv, "reversed": case.Hkv - 1 - h // G,
            "first": 0 * h}[s["heads"]]


# ---- Who sees whom -----------------------------------------------------------------------------------------------------

def _visible(case, s):
    """(B, H or 1, Sq, Skv): visible; by everything but padding; padded; (B, 1, 1, Skv): keys that there are."""
    i, j = np.arange(case.Sq)[None, None, :, None], np.arange(case.Skv)[None, None, None, :]
    count = case.counts()
    at = case.offsets()[:, None, None, None] + i
    own = {None: at, "top": i + 0 * at, "bottom": i + (count - case.Sq)[:, None, None, None]}[s["mask_offset"]]
    causal, prefix, left, right = s["edges"] or _edges(case)
    n_key = (count + {"one_more": 1, "one_less": -1}.get(s["cache"], 0))[:, None, None, None]
    if s["tile"] == "dropped":
        n_key = (count // s["tile_keys"] * s["tile_keys"])[:, None, None, None]
    held = j < np.minimum(n_key, case.Skv)
    seen = held & np.ones((case.B, 1, case.Sq, 1), bool)
    if causal:
        seen = seen & (j <= own + s["shift"])
    if prefix >= 0:
        seen = seen & ((j < prefix) | (j <= own + s["shift"]))
    if left >= 0:
        seen = seen & (j >= own - left)
    if right >= 0:
        seen = seen & (j <= own + right + s["shift"])
    if case.docs and s["docs"] != "leak":
        docs = case.arrays["documents"]
        if s["docs"] == "late":
            docs = np.concatenate([docs[:, :1], docs[:, :-1]], 1)
        if s["docs"] == "early":
            docs = np.concatenate([docs[:, 1:], docs[:, -1:]], 1)
        rows = np.take_along_axis(docs, at[:, 0, :, 0], 1)
        seen = seen & (rows[:, None, :, None] == docs[:, None, None, :])
    if case.mask and s["mask"] in ("", "inverted"):
        seen = seen & ((case.arrays["mask"] != 0) != (s["mask"] == "inverted"))
    padded = np.zeros(1, bool)
    if case.pad and s["pad"] != "none":
        first, end = case.arrays["key_range"].T
        if s["pad"] == "side":
            first, end = (count - end, count - first)
        padded = (j < first[:, None, None, None]) | (j >= end[:, None, None, None])
    return seen & ~padded, seen, padded, held


# ---- Scores, weights, results ------------------------------------------------------------------------------------------

def _round_of(case, s, *stages):
    return ROUND[case.dtype] if s["precise"] in stages else lambda x: x


def _scores(case, s, q, k, F):
    g, scale = _heads(case, s), case.scale_used() * s["factor"]
    q, k = q.astype(F), k[:, g].astype(F)
    if s["swap"] == "qk":
        q, k = k, q
    if s["precise"] == "accumulate":
        raw = np.zeros((case.B, case.Hq, case.Sq, case.Skv))
        for t in range(case.D):
            raw = ROUND[case.dtype](raw + q[..., :, None, t] * k[..., None, :, t])
    else:
        raw = q @ k.swapaxes(2, 3)
    if s["precise"] == "overflow":
        raw = round_f16(raw)
    cap = F(case.softcap) if case.softcap and s["cap"] != "none" else None
    x = raw * F(scale) if cap is None else cap * np.tanh(raw / cap) * F(scale) if s["cap"] == "before" \
        else cap * np.tanh(raw * F(scale) / cap)
    if case.alibi and s["alibi"] != "none":
        at = case.offsets()[:, None, None, None] + np.arange(case.Sq)[None, None, :, None]
        far = np.arange(case.Skv)[None, None, None, :] - (0 if s["alibi"] == "unshifted" else at)
        far = {"sign": -far, "absolute": -np.abs(far)}.get(s["alibi"], far)
        x = x + case.arrays["slopes"][None, :, None, None].astype(F) * far.astype(F)
    if case.bias:
        bias = case.arrays["bias"].astype(F)
        x = x + F(s["bias"]) * (bias.swapaxes(2, 3) if s["bias_t"] else bias)
    if case.mask and s["mask"] == "as_bias":
        x = x + case.arrays["mask"].astype(F)
    return _round_of(case, s, "scores", "accumulate")(x)


def _tiles(n, size):
    return [slice(t, min(n, t + size)) for t in range(0, n, size)]


def _empty_rows(case, s, seen, shown, v, out, lse):
    """The rule for rows that see nothing, where there is no sink."""
    none = ~seen.any(3)
    rule = s["empty"] or case.empty
    j = np.arange(case.Skv)
    there = np.broadcast_to(j < case.counts()[:, None, None, None], (case.B, 1, case.Sq, case.Skv))
    if rule == "mean_causal":
        at = case.offsets()[:, None, None, None] + np.arange(case.Sq)[None, None, :, None]
        there = there & (j <= at)
    if rule == "mean_shown":
        there = shown
    with np.errstate(all="ignore"):
        mean = there.astype(np.float64) @ v.astype(np.float64) / np.maximum(1, there.sum(3, keepdims=True))
    value = {"zero": 0.0, "nan": np.nan}.get(rule)
    out = np.where(none[..., None], mean if value is None else value, out)
    return out, np.where(none, np.nan if rule == "nan" else -np.inf, lse)


def _weights(case, s, x, sink, pr, way, F):
    """Weights (unnormalised where a tile's are), their sum and lse; hidden scores are -inf."""
    r = _round_of(case, s, "softmax", "accumulate")
    m = np.maximum(x.max(3, keepdims=True, initial=-np.inf), sink)
    m = np.where(np.isfinite(m), m, 0)
    if s["tile"] == "no_rescale":
        m = np.concatenate([np.broadcast_to(x[..., :t.stop].max(3, keepdims=True), x[..., t].shape)
                            for t in _tiles(case.Skv, s["tile_keys"])], 3)
        m = np.where(np.isfinite(m), m, 0)
    w = r(np.exp(r(x - m)))
    z = w.sum(3, keepdims=True, dtype=F) + np.exp(sink - m[..., -1:])
    if s["tile"] == "zero":
        z = z + np.where(case.counts() % s["tile_keys"], -case.counts() % s["tile_keys"], 0)[:, None, None, None] * np.exp(-m)
    return w, r(z), m[..., -1:]


def compute(case, s, way=None):
    """out and lse as the settings say. way: None, in double and unrounded; or {"p": round P to storage, "tile": keys of a
    tile or 0, "late": divide after the product, "rope": round q and k after rotary}: f32 as correct code may compute it."""
    F = np.float64 if way is None else np.float32
    to = ROUND[case.dtype]
    q, k, v = _inputs(case, s)
    if way and way.get("rope") and case.rope:
        q, k = to(q), to(k)
    seen, shown, padded, held = _visible(case, s)
    with np.errstate(all="ignore"):
        x = _scores(case, s, q, k, F)
        if case.pad and s["pad"] == "zero":
            x = np.where(padded & shown, F(0), x)
            seen = shown
        if s["cap"] == "after":
            x, seen = np.where(seen, x, -F(case.softcap)), held & np.ones_like(seen)
        if case.dropout and s["dropout"] == "before":
            x = x * case.arrays["keep"].astype(F) / F(1 - case.dropout)
        x = np.where(seen, x, -np.inf).astype(F)
        sink = np.full((1, case.Hq, 1, 1), -np.inf, F)
        if case.sink:
            S = case.arrays["sinks"][s["sink_order"]] if s["sink_order"] is not None else case.arrays["sinks"]
            sink = S.astype(F)[None, :, None, None] * F(case.scale_used() * s["factor"] if s["sink"] == "scaled" else 1)
        if s["lse"] == "ln2":
            x, sink = x * F(np.log(2)), sink * F(np.log(2))
        used = np.full_like(sink, -np.inf) if s["sink"] in ("none", "after") else sink
        if s["sink"] == "masked_rows":
            hides = (seen.sum(3, keepdims=True) < case.counts()[:, None, None, None])
            used = np.where(hides, -np.inf, sink).astype(F)
        return _finish(case, s, x, np.broadcast_to(seen, x.shape), shown, used, sink, v[:, _heads(case, s)], way, F)


def _finish(case, s, x, seen, shown, used, sink, v, way, F):
    to, v = ROUND[case.dtype], v.astype(F)
    p_to = to if way and way["p"] else lambda w: w
    w, z, m = _weights(case, s, x, used, None, way, F)
    lse = (m + np.log(z))[..., 0]
    drop = F(1)
    if case.dropout and s["dropout"] in ("", "not_rescaled"):
        drop = case.arrays["keep"].astype(F) * F(1 if s["dropout"] == "not_rescaled" else 1 / (1 - case.dropout))
    if s["tile"] == "unweighted":
        parts = [(w[..., t], w[..., t].sum(3, keepdims=True)) for t in _tiles(case.Skv, s["tile_keys"])]
        n = np.maximum(1, sum((p[1] > 0).astype(F) for p in parts))
        w, z = np.concatenate([p / np.where(t > 0, t, 1) for p, t in parts], 3) / n, F(1)
    if way and way["tile"]:
        out = _by_tiles(case, x, used, v, drop, p_to, way["tile"]) if s["tile"] == "" and s["precise"] == "" else None
    else:
        out = None
    if out is None and s["precise"] == "accumulate":
        w, out = to(w / z) * drop, np.zeros((*x.shape[:3], case.Dv))
        for j in range(case.Skv):
            out = to(out + w[..., j, None] * v[..., j, None, :])
    elif out is None:
        late = way is not None and way["late"] and s["precise"] == ""
        w = _round_of(case, s, "softmax")(w if late else w / z)
        out = p_to(w * drop).astype(F) @ v
        out = out / z if late else out
    if s["sink"] == "after":
        out = out / (1 + np.exp(sink))
    if s["sink"] == "in_value":
        out = out + np.exp(sink - lse[..., None]) * v[:, :, :1]
    if s["lse"] == "no_sink":
        top = x.max(3, keepdims=True)
        lse = (top + np.log(np.exp(x - np.where(np.isfinite(top), top, 0)).sum(3, keepdims=True)))[..., 0]
    if not case.sink or s["sink"] in ("none", "after"):
        rules = s if not case.sink else dict(s, empty="zero")
        out, lse = _empty_rows(case, rules, seen, shown, v, out, lse)
    else:
        out = np.where(np.isfinite(lse)[..., None], out, 0)
    lse = lse / np.log(2) if s["lse"] == "base2" else lse
    return _seen_out(case, s, out.astype(np.float64)), lse.astype(np.float64)


def _by_tiles(case, x, sink, v, drop, p_to, size):
    """FlashAttention-2's recurrence in f32."""
    m = np.broadcast_to(sink, (*x.shape[:3], 1)).astype(np.float32)
    z = np.where(np.isfinite(m), np.float32(1), np.float32(0))
    out = np.zeros((*x.shape[:3], case.Dv), np.float32)
    drop = np.broadcast_to(drop, x.shape)
    for t in _tiles(case.Skv, size):
        top = np.maximum(m, x[..., t].max(3, keepdims=True))
        safe = np.where(np.isfinite(top), top, 0)
        w, fade = np.exp(x[..., t] - safe), np.exp(m - safe)
        z = z * fade + w.sum(3, keepdims=True)
        out = out * fade + p_to(w * drop[..., t]).astype(np.float32) @ v[:, :, t]
        m = top
    return out / np.where(z > 0, z, 1)


def _seen_out(case, s, out):
    """A layout of out that is misread."""
    if s["layout"] == "seq_head":
        return out.transpose(0, 2, 1, 3).reshape(out.shape)
    if s["layout"] == "batch_head":
        return out.transpose(1, 0, 2, 3).reshape(out.shape)
    return out


WAYS = ({"p": False, "tile": 0, "late": False}, {"p": True, "tile": 0, "late": False}, {"p": False, "tile": 32, "late": True},
        {"p": True, "tile": 16, "late": True}, {"p": True, "tile": 64, "late": True}, {"p": False, "tile": 0, "late": True},
        {"p": True, "tile": 0, "late": False, "rope": True})


def stored(case, out, lse):
    return ROUND[case.dtype](out), lse.astype(np.float32).astype(np.float64)


def rounded(case, s, way):
    """As a correct implementation of these settings would have stored it."""
    return stored(case, *compute(case, s, WAYS[way % len(WAYS)]))
