"""Draw simulations: what is true of a task, its variants, its failures and its money; no code of the package is used.

A world is clear in all but one thing. In a `yes` world everything speaks for training; a `no` world is a `yes` world
in which one thing, drawn at random, speaks against it; so nothing else can save a verdict that overlooks it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import md5
from math import exp, log, sqrt
from typing import Literal, get_args
from zlib import crc32

import numpy as np
from scipy.special import ndtri

Truth = Literal["yes", "no", "boundary", "gain_too_small"]
TRUTHS: tuple[Truth, ...] = get_args(Truth)
Setting = Literal["money", "device", "slow", "dear"]
Reason = Literal["met", "lever", "money", "motivation"]
LEVERS = ("refusal", "format", "label_or_grader", "knowledge", "instability", "reasoning")
CLASSES = (*LEVERS, "unexplained")
LABELS = ("amber", "birch", "cedar", "dune")
PROMPTS = ("xml_contract", "contract", "xml", "role", "chain_of_thought")
SHOTS = ("per_case-8", "per_case-4", "fixed-8", "fixed-4", "per_case-8+choice", "choice")
DECODING = ("0.0", "0.2", "0.7")
"""By temperature."""
SIZES = (50, 80, 120, 200, 300, 400)
INPUT_TOKENS, OUTPUT_TOKENS = 600, 40
SECONDS = {"small": 0.4, "large": 1.5}
SPREAD = 0.2
LIMIT_MS = 900.0
ONE_OFF_USD, MONTHLY_USD, HORIZON = 5785.06, 984.0, 12.0
"""The project file names these numbers; the truth of the money is computed from them here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What data there is; simulations of one shape share it.

    Attributes:
        n_test: Cases of test. n_cases, n_examples: rows of the files.
        group_size: Cases of a source; 1: none are named.
    """

    n_test: int
    n_cases: int
    n_examples: int
    group_size: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """All that is true of one simulation.

    Attributes:
        truth: Its class.
        reason: What speaks against training; "" if nothing does.
        detail: By what, for reports.
        icc: Share of the difficulty that a source shares.
        rho: Share that all variants share on a case.
        best: True score of the best eligible variant that there is.
        base: True score of the baseline.
        classical: True score of the classical baseline.
        prompts: Candidate to what it adds to the true score, like `shots` and `decoding`.
        models: The same, by model.
        usd_per_1k: By model.
        large_fits: Whether the large model keeps the limits.
        shares: Class of failure to its true share.
        seen: Chance that a probe finds the class of a failure.
        payback: Times that the one-off costs are earned within the horizon.
        requests: As the project file has them.
        noise: Share of labels that are wrong.
        sensitivity: Of the judge, like `specificity`; None where a rule grades.
        flattery: How much less specific it is with the large model's wrong answers.
        n_human: Test cases that people judge.
    """

    seed: int
    truth: Truth
    reason: str
    detail: str
    shape: Shape
    setting: Setting
    motivation: str | None
    problem: str | None
    target: float
    margin: float
    icc: float
    rho: float
    best: float
    base: float
    classical: float
    prompts: Mapping[str, float]
    models: Mapping[str, float]
    shots: Mapping[str, float]
    decoding: Mapping[str, float]
    usd_per_1k: Mapping[str, float]
    large_fits: bool
    shares: Mapping[str, float]
    seen: float
    payback: float
    requests: int
    noise: float
    sensitivity: float | None = None
    specificity: float = 1.0
    flattery: float = 0.0
    n_human: int = 0

    def score(self, model: str, prompt: str, shots: str, decoding: str) -> float:
        """Return the true score of a variant; names that are not known add nothing."""
        parts = (self.prompts.get(prompt, 0.0), self.models.get(model, 0.0), self.shots.get(shots, 0.0))
        free = 0.0 if shots.endswith("choice") else self.decoding.get(decoding, 0.0)
        return min(0.99, max(0.02, self.base + sum(parts) + free))

    def right(self, key: str, p: float) -> np.ndarray:
        """Say of each case, `(n_cases + n_examples,)`, whether a variant with the true score `p` is right."""
        n = self.shape.n_cases + self.shape.n_examples
        rng = np.random.default_rng(self.seed)
        source = rng.standard_normal(n)[np.arange(n) // self.shape.group_size]
        case = rng.standard_normal(n)
        own = np.random.default_rng([self.seed, crc32(key.encode())]).standard_normal(n)
        rest = 1 - self.icc
        mixed = sqrt(self.icc) * source + sqrt(rest * self.rho) * case + sqrt(rest * (1 - self.rho)) * own
        return np.asarray(mixed < ndtri(p))

    def shift(self) -> np.ndarray:
        """Return how far each label, `(n_cases + n_examples,)`, is from the right one: 0 where it is right."""
        n = self.shape.n_cases + self.shape.n_examples
        rng = np.random.default_rng([self.seed, 1])
        return np.where(rng.random(n) < self.noise, rng.integers(1, len(LABELS), n), 0)

    @property
    def rates(self) -> tuple[float, float, float]:
        """Sensitivity, specificity, flattery of the judge."""
        return self.sensitivity or 1.0, self.specificity, self.flattery

    def class_of(self, case: int, label_wrong: bool) -> str:
        """Return the class that the probes give a failure: the true one, or what they take it for."""
        rng = np.random.default_rng([self.seed, 2, case])
        name = "label_or_grader" if label_wrong else str(rng.choice(CLASSES, p=[self.shares[one] for one in CLASSES]))
        if name == "unexplained":
            return str(rng.choice(LEVERS)) if rng.random() < MISREAD else name
        return name if rng.random() < self.seen else "unexplained"


MISREAD = 0.03
"""Share of the failures of no lever that a probe takes for one of a lever."""
FLATTERED = 2
"""The large model's wrong answers lie so many labels from the right one, those of the others by one."""


def number(*parts: object) -> float:
    """Return a number in [0, 1) that looks random and is always the same."""
    return int(md5("|".join(map(str, parts)).encode()).hexdigest(), 16) / 2**128


def judged(seed: int, question: str, answer: str, reference: str, rates: tuple[float, float, float]) -> bool:
    """Return whether a judge, who errs, calls `answer` good; what is no label at all it never calls good."""
    sensitivity, specificity, flattery = rates
    if answer not in LABELS:
        return False
    if answer == reference:
        return number(seed, question, answer) < sensitivity
    flattered = (LABELS.index(answer) - LABELS.index(reference)) % len(LABELS) == FLATTERED
    return number(seed, question, answer) >= specificity - (flattery if flattered else 0.0)


def draw(seed: int, truth: Truth) -> Simulation:
    """Draw a world of a class (the priors are told in `docs/simulations.md`)."""
    rng = np.random.default_rng([seed, TRUTHS.index(truth)])
    judge = rng.random() < 0.2
    shape = _shape(rng, judge)
    reason = str(rng.choice(get_args(Reason))) if truth == "no" else ""
    setting: Setting = "money" if reason == "money" else _pick(rng, get_args(Setting))
    if reason == "motivation" and setting in {"device", "dear"}:
        setting = "money"  # where the constraint is a fact, so is the motivation
    motivation = _motivation(rng, setting)
    problem, detail = None, ""
    icc = float(rng.uniform(0.05, 0.3)) if shape.group_size > 1 else 0.0
    target, margin = float(rng.uniform(0.65, 0.9)), float(rng.choice([0.03, 0.05, 0.08]))
    room = max(margin, half_width(target, shape, icc))
    if setting in {"slow", "dear"}:
        target = min(target, 0.95 - 1.5 * room)  # so that the teacher can meet it clearly
        room = max(margin, half_width(target, shape, icc))
    if truth == "boundary":
        best = target + float(rng.uniform(-margin, margin))
    elif reason == "met":
        best = min(0.985, target + float(rng.uniform(0, 0.12)))
    else:
        best = target - room * float(rng.uniform(2, 4))
    best = max(best, 0.3)
    classical = float(rng.uniform(0.25, max(0.26, best - 0.05)))
    if reason == "met":
        detail = "language model"
        if shape.n_examples and rng.random() < 1 / 6:
            classical, best, detail = best, max(0.3, target - room * float(rng.uniform(2, 4))), "classical"
    large_fits = setting in {"money", "device"} or (setting == "slow" and reason == "motivation")
    lifts = _lifts(rng, best, met=reason == "met" and detail != "classical", shape=shape, large=large_fits)
    shares = _shares(rng, motivation, reason)
    if reason == "motivation":
        motivation, problem, shares, detail = _without(rng, setting, motivation, shares)
    if reason == "lever":
        detail = max(LEVERS, key=lambda name: shares[name])
    base, models = lifts.pop("base")["base"], dict(lifts["models"])
    if not large_fits:  # the teacher meets the target clearly, and a limit forbids it
        models = {"small": 0.0, "large": target + room * float(rng.uniform(1, 1.5)) - base}
    prices, payback, requests = _money(rng, models, pays=reason != "money")
    sensitivity = float(rng.uniform(0.85, 0.98)) if judge else None
    return Simulation(
        seed=seed,
        truth=truth,
        reason=reason,
        detail=detail,
        shape=shape,
        setting=setting,
        motivation=motivation,
        problem=problem,
        target=target,
        margin=margin,
        icc=icc,
        rho=float(rng.uniform(0.4, 0.8)),
        best=best,
        base=base,
        classical=classical,
        prompts=lifts["prompts"],
        models=models,
        shots=lifts["shots"],
        decoding=lifts["decoding"],
        usd_per_1k=prices,
        large_fits=large_fits,
        shares=shares,
        seen=float(rng.uniform(0.85, 1)),
        payback=payback,
        requests=requests,
        noise=0.0 if judge else float(rng.uniform(0, 0.02)),
        sensitivity=sensitivity,
        specificity=float(rng.uniform(0.8, 0.98)) if judge else 1.0,
        flattery=float(rng.uniform(0, 0.2)) if judge else 0.0,
        n_human=int(rng.integers(60, 151)) if judge else 0,
    )


def upstream(world: Simulation) -> float:
    """Return the true score of the best: any candidate of the ladder with an eligible model, or the classical one."""
    models = [name for name in world.models if name != "large" or world.large_fits]
    scores = [
        world.score(model, prompt, shots, decoding)
        for model in models
        for prompt in ("", *PROMPTS)
        for shots in ("", *SHOTS)
        for decoding in ("", *DECODING)
    ]
    return max([*scores, world.classical if world.shape.n_examples else 0.0])


def half_width(target: float, shape: Shape, icc: float) -> float:
    """Return how far a one-sided 95 % bound lies from a score at the target, at this n and these sources."""
    n = shape.n_test / (1 + (shape.group_size - 1) * icc)
    return 1.645 * sqrt(target * (1 - target) / n)


def _shape(rng: np.random.Generator, judge: bool) -> Shape:
    n = int(rng.choice(SIZES[2:] if judge else SIZES))
    size = int(rng.choice([2, 3, 5])) if rng.random() < 0.4 else 1
    design = rng.random()
    if design < 0.5:
        return Shape(n_test=n, n_cases=n, n_examples=280, group_size=size)
    if design < 0.55 and not judge:
        return Shape(n_test=50, n_cases=80, n_examples=60, group_size=size)
    return Shape(n_test=n, n_cases=2 * n, n_examples=60 if design < 0.9 else 0, group_size=size)


def _motivation(rng: np.random.Generator, setting: Setting) -> str:
    if setting == "money":
        return _pick(rng, ("strict_format", "style_persona"))
    if setting == "dear":
        return "distillation"
    return "latency_hard_constraint" if setting == "device" else _pick(rng, ("latency_hard_constraint", "distillation"))


def _lifts(
    rng: np.random.Generator, best: float, *, met: bool, shape: Shape, large: bool
) -> dict[str, dict[str, float]]:
    """Draw what the candidates add; the best of all together reach `best`."""
    total = float(rng.uniform(0, 0.35 if met else 0.25)) if rng.random() > 0.15 else 0.0
    total = min(total, max(0.0, best - 0.15))
    prompts, models, shots, decoding = (total * rng.dirichlet([0.5] * 4)).tolist()
    names = tuple(one for one in SHOTS if shape.n_examples or one == "choice")
    others = (("large", "other") if rng.random() < 0.5 else ("large",)) if large else ()
    found = {
        "prompts": _rung(rng, PROMPTS, prompts),
        "models": _rung(rng, others, models) | {"small": 0.0},
        "shots": _rung(rng, names, shots),
        "decoding": _rung(rng, DECODING, decoding),
    }
    free = max(0.0, *found["decoding"].values())
    tops = [max(0.0, *found["prompts"].values()), max(found["models"].values())]
    tops.append(
        max([free, *(lift + (0.0 if name.endswith("choice") else free) for name, lift in found["shots"].items())])
    )
    return found | {"base": {"base": best - sum(tops)}}


def _rung(rng: np.random.Generator, names: tuple[str, ...], top: float) -> dict[str, float]:
    """Draw what each candidate of a rung adds: one of them `top`, the others a part of it, or harm."""
    if not names:
        return {}
    lifts = top * rng.uniform(-0.5, 1, len(names))
    lifts[rng.integers(len(names))] = top
    return dict(zip(names, lifts.tolist(), strict=True))


def _shares(rng: np.random.Generator, motivation: str | None, reason: str) -> dict[str, float]:
    """Draw the true shares of the classes of failures."""
    if reason == "lever":
        lever = "format" if motivation == "strict_format" else _pick(rng, LEVERS)
        top = float(rng.uniform(0.6, 0.68 if motivation == "style_persona" else 0.95))
        return dict.fromkeys(CLASSES, 0.0) | {lever: top, "unexplained": 1 - top}
    first = {"strict_format": "format", "style_persona": "unexplained"}.get(motivation or "", "unexplained")
    if first == "format":
        shares = {"format": float(rng.uniform(0.3, 0.4)), "unexplained": float(rng.uniform(0.35, 0.5))}
    else:
        shares = {"unexplained": float(rng.uniform(0.5, 0.9))}
    return _filled(rng, shares)


def _filled(rng: np.random.Generator, shares: Mapping[str, float]) -> dict[str, float]:
    """Share what is left among the other classes, none of which gets more than 0.4."""
    names = [name for name in CLASSES if name not in shares]
    rest = 1 - sum(shares.values())
    while True:
        parts = rest * rng.dirichlet([1.0] * len(names))
        if parts.max() <= 0.4:
            return dict(shares) | dict(zip(names, parts.tolist(), strict=True))


def _without(
    rng: np.random.Generator, setting: Setting, motivation: str | None, shares: Mapping[str, float]
) -> tuple[str | None, str | None, dict[str, float], str]:
    """Take the motivation away: motivation, problem, shares, and by what."""
    if setting == "slow":  # a limit that everything keeps; a teacher that misses the target
        return motivation, None, dict(shares), str(motivation)
    way = _pick(rng, ("none", "problem", "share", "distillation"))
    if way == "none":
        return None, None, dict(shares), "none named"
    if way == "problem":
        return motivation, "factual_knowledge", dict(shares), "problem"
    if way == "distillation":
        return "distillation", None, dict(shares), "distillation"
    name = "format" if motivation == "strict_format" else "unexplained"
    return motivation, None, _filled(rng, {name: float(rng.uniform(0, 0.08))}), str(motivation)


def _money(rng: np.random.Generator, models: Mapping[str, float], *, pays: bool) -> tuple[dict[str, float], float, int]:
    """Draw prices, how often the one-off costs come back, and the traffic as people estimate it (10 % off)."""
    small = exp(float(rng.uniform(log(3), log(30))))
    times = {"small": 1.0, "large": float(rng.uniform(1.5, 4)), "other": float(rng.uniform(0.3, 1.5))}
    prices = {name: small * times[name] for name in models}
    payback = exp(float(rng.uniform(log(2), log(6)))) if pays else float(rng.uniform(-1, 0.8))
    bill = payback * ONE_OFF_USD / HORIZON + MONTHLY_USD
    price = min(prices.values()) if pays else max(prices.values())
    return prices, payback, max(1, round(1000 * bill / price * exp(float(rng.normal(0, 0.1)))))


def _pick(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    return str(names[rng.integers(len(names))])
