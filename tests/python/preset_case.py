# SPDX-License-Identifier: Apache-2.0
"""A small attention problem that heed computes under a preset and another system computes its own way.

Three things meet in `judge`: the formula in f64, written plainly below from what the case says is visible; the other system's
result; and heed's, from every implementation that accepts the problem. The other system must agree with the formula, which
shows that the case says what that system means; then heed must.
"""
import dataclasses
import math
import random

import heed_ctypes as h
import torch
from test_attention_torch import floors

EPS32 = 2.0 ** -23
IMPLEMENTATIONS = ("ref", "cpu.eager", "cpu.flash")


@dataclasses.dataclass
class Case:
    """What is asked. see and bias are of shape (b, h, q, k) or broadcast to it; offset is where row 0 stands."""
    preset: str
    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    see: torch.Tensor
    tokens: str = ""                     # beyond sizes and preset: "causal softcap:5"
    bias: torch.Tensor | None = None     # what is added to the scores, whatever heed is given it as
    arrays: dict = dataclasses.field(default_factory=dict)    # heed_args by name
    offset: int = 0
    scale: float | None = None
    cap: float | None = None
    sinks: torch.Tensor | None = None
    empty: str = "zero"
    windows: list = dataclasses.field(default_factory=list)   # masks that have no token
    name: str = ""
    dropout = 0.0

    @property
    def sizes(self):
        b, hq, sq, d = self.q.shape
        return b, hq, self.k.shape[1], sq, self.k.shape[2], d, self.v.shape[3]

    hq, hkv, d = (property(lambda self, n=n: self.sizes[n]) for n in (1, 2, 5))

    @property
    def text(self):
        b, hq, hkv, sq, skv, d, dv = self.sizes
        scale = f" scale:{self.scale!r}" if self.scale is not None else ""
        return f"b{b} h{hq}/{hkv} q{sq} k{skv} d{d}/{dv} preset:{self.preset} {self.tokens}{scale}"


def formula(case, dtype):
    """out, lse, weights by the definition; also the magnitudes that bound f32 rounding."""
    b, hq, hkv, sq, skv, d, dv = case.sizes
    q, k, v = case.q.to(dtype), *(x.to(dtype).repeat_interleave(hq // hkv, 1) for x in (case.k, case.v))
    scale = 1 / math.sqrt(d) if case.scale is None else case.scale
    x = (q @ k.transpose(-1, -2)) * scale
    if case.cap:
        x = case.cap * torch.tanh(x / case.cap)
    if case.bias is not None:
        x = x + case.bias.to(dtype)
    see = case.see.expand(b, hq, sq, skv) & (x != -torch.inf)
    x = torch.where(see, x, -torch.inf)
    sink = torch.full((1, hq, 1, 1), -torch.inf, dtype=dtype) if case.sinks is None else case.sinks.to(dtype).view(1, -1, 1, 1)
    m = torch.maximum(x.amax(-1, keepdim=True), sink) if skv else sink.expand(b, hq, sq, 1)
    m = torch.where(m == -torch.inf, 0.0, m).detach()
    z = torch.exp(x - m).sum(-1, keepdim=True) + torch.exp(sink - m)
    w = torch.where(z > 0, torch.exp(x - m) / torch.where(z > 0, z, 1.0), 0.0)
    lse = (m + torch.log(z))[..., 0]
    empty = ~see.any(-1)
    if case.sinks is None and skv:
        j, i = torch.arange(skv), torch.arange(sq)[:, None]
        reach = {"mean": torch.ones(sq, skv, dtype=torch.bool), "mean_causal": j <= i + case.offset}.get(case.empty)
        if reach is not None:
            mean = (reach / reach.sum(-1, keepdim=True).clamp(min=1)).to(dtype)
            w = torch.where(empty[..., None], mean, w)
        if case.empty == "nan":
            w, lse = torch.where(empty[..., None], torch.nan, w), torch.where(empty, torch.nan, lse)
    grown = 1 + 2 * (abs(scale) * (q.abs() @ k.abs().transpose(-1, -2)) + (0 if case.bias is None else finite(case.bias).abs()))
    floor = EPS32 * ((torch.nan_to_num(w) * grown) @ v.abs()).amax().item() if skv and sq else 0.0
    return w @ v, lse, w, floor


def finite(x):
    return torch.where(torch.isinf(x), 0.0, x)


def gradients(function, case, dout, dtype=torch.float32):
    """dq, dk, dv of out = function(case), by autograd."""
    leaves = [x.detach().to(dtype).requires_grad_() for x in (case.q, case.k, case.v)]
    out = function(dataclasses.replace(case, q=leaves[0], k=leaves[1], v=leaves[2]))
    return torch.autograd.grad(out, leaves, dout.to(dtype))


def run(library, case, implementation, dout=None):
    """heed's out and lse, lse also in the preset's words (None where it returns none); with dout: dq, dk and dv."""
    b, hq, _, sq, _, _, dv = case.sizes
    problem = h.parse(library, case.text)
    used = sum(mask.kind is not None for mask in problem.mask)
    for i, mask in enumerate(case.windows):
        problem.mask[used + i] = mask
    out, lse = torch.full((b, hq, sq, dv), 7.0), torch.full((b, hq, sq), 7.0)
    hold = {name: x.contiguous() for name, x in {"q": case.q, "k": case.k, "v": case.v, **case.arrays}.items()}
    if case.sinks is not None:
        hold["sinks"] = case.sinks.float().contiguous()
    args = h.Args(out=out.data_ptr(), lse=lse.data_ptr(), **{name: x.data_ptr() for name, x in hold.items()})
    plan = h.Plan(library, problem, implementation, threads=1)
    plan.run(args)
    if dout is not None:
        made = [torch.full_like(x, 7.0) for x in (hold["q"], hold["k"], hold["v"])]
        dout = dout.contiguous()
        args.dout, args.dq, args.dk, args.dv = (x.data_ptr() for x in (dout, *made))
        problem.pass_ = h.BACKWARD
        h.Plan(library, problem, implementation, threads=1).run(args)
        return made
    own = lse.clone()
    if not h.preset(library, case.preset).contents.gives_lse:
        return out, own, None
    h.preset_lse(library, case.preset, problem, args)
    return out, own, lse


def ulp(x):
    return 2.0 ** (math.floor(math.log2(x)) - 23) if x > 0 else 2.0 ** -149


def close(got, exact, bound, what):
    """NaN and infinities in the same places, the rest within the bound."""
    got, exact = got.double(), exact.double()
    assert got.shape == exact.shape, f"{what}: {tuple(got.shape)}, not {tuple(exact.shape)}"
    for kind in (torch.isnan, torch.isposinf, torch.isneginf):
        differ = kind(got) != kind(exact)
        assert not differ.any(), f"{what}: {kind.__name__} differs first at {differ.nonzero()[0].tolist()}"
    error = (got - exact)[torch.isfinite(exact)].abs()
    worst = error.max().item() if error.numel() else 0.0
    assert worst <= bound, f"{what}: off by {worst:.3g}, allowed are {bound:.3g}"


def judge(library, case, theirs, their_lse=None):
    """The yardstick for the other system and for heed, out and (where it returns one) lse in its own words."""
    exact, exact_lse, _, floor = formula(case, torch.float64)
    plain, plain_lse, _, _ = formula(case, torch.float32)
    real = torch.isfinite(exact)
    e = (plain.double() - exact)[real].abs().max().item() if real.any() else 0.0
    bound = 2 * e + ulp(exact[real].abs().max().item() if real.any() else 0.0) + floor
    close(theirs, exact, bound, f"{case.name}: {case.preset}'s own system, {case.text}")
    real = torch.isfinite(exact_lse)
    largest = exact_lse[real].abs().max().item() if real.any() else 0.0
    q, k = case.q.double().abs(), case.k.double().abs().repeat_interleave(case.q.shape[1] // case.k.shape[1], 1)
    scores = abs(case.scale or 1 / math.sqrt(q.shape[-1])) * (q @ k.transpose(-1, -2)).amax().item() if k.shape[2] else 0.0
    e_lse = (plain_lse.double() - exact_lse)[real].abs().max().item() if real.any() else 0.0
    bound_lse = 2 * e_lse + ulp(largest) + EPS32 * (1 + 2 * scores)
    ran = 0
    for implementation in IMPLEMENTATIONS:
        try:
            out, own, translated = run(library, case, implementation)
        except h.HeedError as refusal:
            assert refusal.status == h.REFUSED and implementation != "ref", f"{case.text}: {refusal}"
            continue
        ran += 1
        close(out, exact, bound, f"{case.name}: {implementation}, {case.text}")
        close(own, exact_lse, bound_lse, f"{case.name}: lse of {implementation}, {case.text}")
        if their_lse is not None:
            beyond = 2 * bound_lse + ulp(finite(their_lse).abs().max().item())
            close(translated, their_lse, beyond, f"{case.name}: {case.preset}'s lse of {implementation}, {case.text}")
    assert ran == len(IMPLEMENTATIONS), f"{case.text}: only {ran} implementations ran"


def upstream(case, seen_only=False):
    """dout of a case; seen_only: 0 where a row sees no key."""
    dout = torch.randn(*case.q.shape[:3], case.v.shape[3], generator=torch.Generator().manual_seed(case.q.numel()))
    return dout * case.see.any(-1, keepdim=True) if seen_only else dout


def judge_gradients(library, case, theirs, arrays=("dq", "dk", "dv"), seen_only=False):
    """The same of dq, dk and dv. theirs(case) is the other system's out, through which autograd goes, or the gradients themselves.

    Where a row is empty by rule `nan` the other system says which gradients are NaN; the rest is what rule `zero` gives.
    """
    dout, written = upstream(case, seen_only), dataclasses.replace(case, empty="zero" if case.empty == "nan" else case.empty)
    exact = gradients(lambda c: formula(c, torch.float64)[0], written, dout, torch.float64)
    plain = gradients(lambda c: formula(c, torch.float32)[0], written, dout)
    theirs = gradients(theirs, case, dout) if callable(theirs) else theirs
    weights = formula(written, torch.float64)[2]
    bias = None if case.bias is None else finite(case.bias)
    bounds = floors(case, case.q, case.k, case.v, dout, weights, None, torch.ones(()), bias)[1:4]
    bounds = [3 * (p.double() - x).abs().max().item() + ulp(x.abs().max().item()) + floor.item()
              for p, x, floor in zip(plain, exact, bounds)]
    if case.empty == "nan":
        exact = [torch.where(torch.isnan(t), torch.nan, x) for t, x in zip(theirs, exact)]
    sides = [("its own system", theirs)]
    sides += [(implementation, run(library, case, implementation, dout)) for implementation in IMPLEMENTATIONS]
    for name, got in sides:
        for array, x, y, bound in zip(("dq", "dk", "dv"), got, exact, bounds):
            if array in arrays:
                close(x, y, bound, f"{case.name}: {array} of {name}, {case.text}")


class Draw(random.Random):
    """Sizes and arrays of a problem; a seed is a problem."""
    def __init__(self, seed, value_channels=True):
        super().__init__(seed)
        self.torch = torch.Generator().manual_seed(seed)
        self.b, self.hkv = self.randint(1, 3), self.randint(1, 2)
        self.hq = self.hkv * self.choice([1, 2, 4])
        self.sq = self.randint(1, 40)
        self.skv = self.randint(1, 40)
        self.d = self.choice([8, 16, 32])
        self.dv = self.choice([8, 24]) if value_channels else self.d
        self.q, self.k = self.normal(self.b, self.hq, self.sq, self.d), self.normal(self.b, self.hkv, self.skv, self.d)
        self.v = self.normal(self.b, self.hkv, self.skv, self.dv)
        self.i, self.j = torch.arange(self.sq)[:, None], torch.arange(self.skv)[None, :]

    def normal(self, *shape):
        return torch.randn(*shape, generator=self.torch)

    def bits(self, *shape, p=0.7):
        return torch.rand(*shape, generator=self.torch) < p

    def maybe(self, p=0.5):
        return self.random() < p

    def left_pads(self):
        """Pads of each sequence, one of them none, one of them nearly all."""
        pads = [self.randint(0, self.skv) for _ in range(self.b)]
        pads[0] = 0 if self.maybe() else max(self.skv - 1, 0)
        return torch.tensor(pads)

    def tensors(self):
        return {"q": self.q, "k": self.k, "v": self.v}

    @property
    def all(self):
        return torch.ones(1, 1, self.sq, self.skv, dtype=torch.bool)
