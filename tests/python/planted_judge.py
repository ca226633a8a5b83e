# SPDX-License-Identifier: Apache-2.0
"""The planted-defect suite: defects planted in calls, what heed says of them, and whether that is right.

Whether a defect can be seen at all is computed here, without heed: the exact difference between what was planted and what is
claimed, against how correct computations of both scatter.

    .venv/bin/python tests/python/planted_judge.py planted 2000          # or clean, theirs, foreign, pairs
    .venv/bin/python tests/python/planted_judge.py planted 1 --from 17   # one case again, told in full
"""
import argparse
import collections
import json
import os
import pathlib
import subprocess
import tempfile
import zlib

import numpy as np

import planted
import planted_foreign
import planted_formula as formula

ROOT = pathlib.Path(__file__).resolve().parents[2]
# In units of how correct computations scatter along the very difference that is looked for.
DECIDABLE, UNDECIDABLE = 12, 3
SIZES = (24, 24, 64, 64, 64, 160, 160, 600)    # the longest sequence of one case in eight each


# ---- What can be seen --------------------------------------------------------------------------------------------------

def _flat(out, lse):
    """Rows x (channels and lse)."""
    return np.concatenate([out.reshape(-1, out.shape[-1]), lse.reshape(-1, 1)], 1)


class Scatter:
    """How far correct computations of some settings stay from their exact result, row by row."""

    def __init__(self, case, s, ways=(0, 2, 4, 5)):
        self.exact = _flat(*formula.compute(case, s))
        self.errors = []
        with np.errstate(invalid="ignore"):
            for way in ways + (6,) * bool(case.rope and case.dtype != "f32"):    # q and k may be rounded again after rotary
                self.errors.append(np.nan_to_num(_flat(*formula.rounded(case, s, way)) - self.exact, posinf=0, neginf=0))
            lse = np.maximum(1, np.abs(np.where(np.isfinite(self.exact[:, -1:]), self.exact[:, -1:], 0)))
            step = np.concatenate([planted.ulp(case.dtype, self.exact[:, :-1]), 3 * planted.ulp("f32", lse)], 1)
        square = np.mean(np.square(self.errors), 0)
        row = np.concatenate([np.broadcast_to(square[:, :-1].mean(1, keepdims=True), square[:, :-1].shape), square[:, -1:]], 1)
        self.variance = row + step ** 2 / 12 + 1e-90


def visibility(a, b, with_lse):
    """The difference of two computations in units of what rounding does along it; infinite where one alone is finite."""
    take = slice(None) if with_lse else slice(0, -1)
    x, y = a.exact[:, take], b.exact[:, take]
    if ((np.isnan(x) != np.isnan(y)) | (np.isinf(x) != np.isinf(y))).any():
        return np.inf
    with np.errstate(invalid="ignore"):
        d = np.nan_to_num(y - x, posinf=0, neginf=0)
    variance = np.maximum(a.variance, b.variance)[:, take]
    size = np.sqrt((d ** 2 / variance).sum())
    if size == 0:
        return 0.0
    along = [abs((e[:, take] * d / variance).sum()) / size for e in a.errors + b.errors]
    return size / max(1, max(along))


def roughness(a, b, with_lse):
    """rms of a difference in units of the claim's scatter: how far a precision lies beyond rounding."""
    with np.errstate(invalid="ignore"):
        z = np.nan_to_num((b.exact - a.exact) ** 2 / a.variance, posinf=0, neginf=0)
    z = max(z[:, :-1].mean(), z[:, -1].mean() if with_lse else 0)
    return np.sqrt(z) if np.isfinite(a.exact[:, :-1]).sum() == np.isfinite(b.exact[:, :-1]).sum() else np.inf


# ---- What heed says ----------------------------------------------------------------------------------------------------

def _write(to, name, case, out, lse):
    to.write(f"case {name}\n{case.text()}\n".encode())
    arrays = dict(case.arrays, out=out)
    if lse is not None:
        arrays["lse"] = lse
    for key, x in arrays.items():
        x = np.ascontiguousarray(x, np.float64)
        to.write(f"array {key} {x.size}\n".encode() + x.tobytes())
    to.write(b"end\n")


def diagnose(cases):
    """cases: (name, case, out, lse or None). What heed finds in each, by name, in one process."""
    tool = ROOT / os.environ.get("HEED_BUILD", "build") / "test_tool_diagnose"
    with tempfile.TemporaryFile() as file:
        for case in cases:
            _write(file, *case)
        file.seek(0)
        done = subprocess.run([str(tool)], stdin=file, capture_output=True, text=True)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode != 0 or len(told) != len(cases):
        raise RuntimeError(f"{tool} ended with {done.returncode} after {len(told)} of {len(cases)} cases: {done.stderr[-400:]}")
    return {t["name"]: t for t in told}


# ---- What is planted ---------------------------------------------------------------------------------------------------

def _seed(*words):
    return zlib.crc32(" ".join(map(str, words)).encode())


def _case_for(ids, n, most):
    """A case for which all of these mean something."""
    for tries in range(4000):
        shape = planted.draw_shape(_seed(n, tries, *ids), most)
        if all(formula.applies(id, shape) for id in ids):
            return planted.fill(shape)
    raise RuntimeError(f"no case for {ids}")


def _value(id, n, case):
    values = formula.parameters(id)
    if id.startswith(("tile.", "merge.")):    # more than one tile
        values = [v for v in values if v < case.Skv] or values[:1]
    return values[n // 7 % len(values)] if values else 0


class Planted:
    """One or two defects in an otherwise correct computation."""

    def __init__(self, n, ids):
        most = SIZES[_seed(n, "size") % len(SIZES)]
        self.n, self.ids = n, ids
        self.case = _case_for(ids, n, most)
        self.values = [_value(id, n, self.case) for id in ids]
        self.way = _seed(n, "way") % 6
        self.name = f"{n} {'+'.join(ids)}"
        s = formula.edited(self.case, ids, self.values)
        self.claim, self.other = Scatter(self.case, formula.edited(self.case, [])), Scatter(self.case, s)
        self.out, lse = formula.rounded(self.case, s, self.way)
        self.lse = lse if all(map(formula.lse_is_said, ids)) and _seed(n, "lse") % 3 or ids[0].startswith("lse.") else None
        self.visible = visibility(self.claim, self.other, self.lse is not None)
        self.precise = any(id.startswith("precision.") for id in ids)
        if self.precise and np.isfinite(self.visible):
            self.visible = min(self.visible, roughness(self.claim, self.other, self.lse is not None) * DECIDABLE / 3)

    def says(self):
        return f"{self.case.text()} way:{self.way} lse:{self.lse is not None} parameters:{self.values}"

    def alike(self, explanation):
        """Whether an explanation's formula gives these numbers: distance in units of rounding."""
        if explanation["ids"] == [["scale.fitted"]]:
            s = dict(formula.CLAIM, factor=explanation["parameters"][0] / self.case.scale_used())
            return visibility(self.other, Scatter(self.case, s), self.lse is not None)
        ids = [next((i for i in one if i in formula.TABLE), None) for one in explanation["ids"]]
        if None in ids or not all(formula.applies(i, self.case) for i in ids):
            return np.inf
        s = formula.edited(self.case, ids, explanation["parameters"])
        return visibility(self.other, Scatter(self.case, s), self.lse is not None)

    def named(self, told):
        for e in told["explanations"]:
            if len(e["ids"]) == len(self.ids) and all(any(id in one for one in e["ids"]) for id in self.ids):
                return True
        return any(self.alike(e) < UNDECIDABLE for e in told["explanations"])

    def judge(self, told):
        """named, undecidable, grey, or a miss: its kind."""
        listed = any(set(self.ids) & set(one) for one in told["undecidable"] + told["notes"])
        if self.named(told):
            return "named"
        if self.visible >= DECIDABLE:
            return "missed, called undecidable" if listed else "missed, " + told["verdict"]
        if told["verdict"] == "ROUNDING":
            return "grey" if self.visible >= UNDECIDABLE else "undecidable"
        near = any(self.alike(e) < DECIDABLE for e in told["explanations"])
        return "grey" if near or self.visible >= UNDECIDABLE else "alarm"


def planted_cases(first, count):
    ids = list(formula.TABLE)
    for n in range(first, first + count):
        yield Planted(n, [ids[n % len(ids)]])


# Two defects of different families, so that neither is the other's special case.
def pair_cases(first, count):
    apart = ("precision", "layout", "tile", "merge", "lse", "dropout", "empty")
    ids = [id for id in formula.TABLE if id.split(".")[0] not in apart]
    for n in range(first, first + count):
        r = np.random.default_rng(n)
        while True:
            two = [str(i) for i in r.choice(ids, 2, replace=False)]
            same = {"causal": "window", "pad": "causal"}
            a, b = (same.get(i.split(".")[0], i.split(".")[0]) for i in two)
            if a != b and {a, b} != {"window", "causal"}:
                break
        try:
            case = Planted(n, two)
        except RuntimeError:    # they exclude one another
            continue
        # Each must show beside the other: else one alone explains as well, and rightly.
        alone = [Scatter(case.case, formula.edited(case.case, [two[i]], [case.values[i]])) for i in (0, 1)]
        case.visible = min([case.visible] + [visibility(case.other, a, case.lse is not None) for a in alone])
        yield case


class Clean:
    """A correct computation, by one of the emulated roundings."""

    def __init__(self, n):
        self.case = planted.draw(_seed(n, "clean"), SIZES[_seed(n, "clean size") % len(SIZES)])
        self.way, self.name, self.visible = n % len(formula.WAYS), f"{n} clean", 0
        self.out, self.lse = formula.rounded(self.case, formula.edited(self.case, []), self.way)
        self.lse = self.lse if n % 3 else None

    def says(self):
        return f"{self.case.text()} way:{self.way} lse:{self.lse is not None}"

    def judge(self, told):
        return "right" if told["verdict"] == "ROUNDING" and not told["explanations"] else "alarm"


class Theirs(Clean):
    """A correct computation by PyTorch or transformers."""

    def __init__(self, n):
        import planted_torch
        self.case = planted_torch.case_for(_seed(n, "theirs"), SIZES[_seed(n, "theirs size") % len(SIZES)])
        self.kernel = planted_torch.KERNELS[n % 3]
        self.name, self.visible, self.lse = f"{n} {self.kernel}", 0, None
        self.out = planted_torch.compute(self.case, self.kernel)

    def says(self):
        return f"{self.case.text()} kernel:{self.kernel}"

    def judge(self, told):
        """Eager code in bf16 and f16 rounds its scores to storage, which the contract does not: to be told so is right."""
        precise = all(one[0].startswith("precision.") for e in told["explanations"] for one in e["ids"])
        if self.kernel == "eager" and self.case.dtype != "f32" and told["explanations"] and precise:
            return "right, a precision"
        return super().judge(told)


class Foreign:
    """A formula that no hypothesis covers."""

    def __init__(self, n):
        names = list(planted_foreign.FORMULAS)
        self.formula = names[n % len(names)]
        self.case = planted_foreign.case_for(_seed(n, "foreign"))
        self.name = f"{n} {self.formula}"
        self.out = planted.ROUND[self.case.dtype](planted_foreign.compute(self.case, self.formula))
        self.lse = None
        claim = Scatter(self.case, formula.edited(self.case, []))
        other = Scatter(self.case, formula.edited(self.case, []))
        exact = np.concatenate([planted_foreign.compute(self.case, self.formula).reshape(-1, self.case.Dv), claim.exact[:, -1:]], 1)
        other.exact = exact
        self.visible = visibility(claim, other, False)
        for id in formula.TABLE:    # unlike everything the table has
            for value in formula.parameters(id) or (0,):
                if formula.applies(id, self.case):
                    near = Scatter(self.case, formula.edited(self.case, [id], [value]), ways=(0,))
                    self.visible = min(self.visible, visibility(near, other, False))

    def says(self):
        return f"{self.case.text()} formula:{self.formula}"

    def judge(self, told):
        if told["unexplained"]:
            return "unexplained"
        return "grey" if self.visible < 3 * DECIDABLE else "squeezed into " + "; ".join(
            "+".join(one[0] for one in e["ids"]) for e in told["explanations"][:2]) if told["explanations"] else "missed"


KINDS = {"planted": planted_cases, "pairs": pair_cases,
         "clean": lambda first, n: (Clean(i) for i in range(first, first + n)),
         "theirs": lambda first, n: (Theirs(i) for i in range(first, first + n)),
         "foreign": lambda first, n: (Foreign(i) for i in range(first, first + n))}
GOOD = ("named", "undecidable", "grey", "right", "right, a precision", "unexplained")


def family(case):
    return case.ids[0].split(".")[0] if getattr(case, "ids", None) and len(case.ids) == 1 else ""


def run(kind, count, first=0, batch=40, tell=None):
    """Judges count cases: ({family: {judgement: how many}}, [what went wrong in words])."""
    figures, wrong, waiting = collections.defaultdict(collections.Counter), [], []

    def judge_waiting():
        found = diagnose([(c.name, c.case, c.out, c.lse) for c in waiting])
        for c in waiting:
            told = found[c.name]
            verdict = c.judge(told)
            figures[family(c)][verdict if verdict in GOOD else verdict.split(",")[0].split(" into")[0]] += 1
            if verdict not in GOOD:
                brief = {k: told[k] for k in ("verdict", "residual", "floor", "peak", "peak_floor", "lse", "lse_floor")}
                said = ["+".join(one[0] for one in e["ids"]) for e in (told["explanations"] or told["nearest"])[:4]]
                wrong.append(f"{kind} {c.name}: {verdict} (visible {c.visible:.3g})\n    {c.says()}\n    {brief} {said}\n    "
                             f"again: .venv/bin/python tests/python/planted_judge.py {kind} 1 --from {c.name.split()[0]}")
            if tell:
                tell(c, verdict, told, wrong)
        waiting.clear()

    for case in KINDS[kind](first, count):
        waiting.append(case)
        if len(waiting) == batch:
            judge_waiting()
    if waiting:
        judge_waiting()
    return figures, wrong


def table(figures):
    columns = sorted({k for row in figures.values() for k in row})
    lines = ["| family | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    total = collections.Counter()
    for name, row in figures.items():
        total.update(row)
        lines.append(f"| {name} | " + " | ".join(str(row[c]) for c in columns) + " |")
    lines.append("| all | " + " | ".join(str(total[c]) for c in columns) + " |")
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("kind", choices=KINDS)
    p.add_argument("count", type=int)
    p.add_argument("--from", dest="first", type=int, default=0)
    o = p.parse_args()

    def tell(c, verdict, told, wrong):
        if o.count == 1:
            print(c.name, c.says(), verdict, c.visible, json.dumps(told), sep="\n")
        elif verdict not in GOOD:
            print(wrong[-1], flush=True)

    figures, wrong = run(o.kind, o.count, o.first, tell=tell)
    print(table(figures))
    named = figures[""]["named"]
    return 0 if not wrong or (o.kind == "pairs" and named >= 9 * len(wrong)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
