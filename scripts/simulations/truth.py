"""Draw simulations: what is true of a task, its models, its failures and its money; no code of the package is used.

A case has a cause: what it takes to answer it rightly. A variant answers a case of a cause rightly with a chance that
its model, prompt, shots, search and decoding give it, so that every variant has a true score, and every failure has a
true class. What the right outcome is follows from these truths in `rules.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import exp, log
from typing import Literal, get_args

import numpy as np

Truth = Literal[
    "quality",
    "waived",
    "cost",
    "latency",
    "locality",
    "met",
    "knowledge",
    "labels",
    "money",
    "model_untried",
    "quality_unchecked",
    "labels_unchecked",
    "documents_unknown",
    "traffic_unknown",
    "price_unknown",
    "costs_unknown",
]
Condition = Literal["balanced", "imbalanced", "duplicates", "noise", "judge"]
TRUTHS: tuple[Truth, ...] = get_args(Truth)
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
# Classes whose keys are given, whose rungs were run, and whose failures people labelled again: a firm answer is due.
FIRM: tuple[Truth, ...] = TRUTHS[:9]
# The rule by which each class must be answered (see `rules.py`).
BY: Mapping[Truth, str] = {
    "quality": "quality",
    "waived": "quality",
    "cost": "cost",
    "latency": "constraint",
    "locality": "constraint",
    "met": "met",
    "knowledge": "knowledge",
    "labels": "labels",
    "money": "money",
    "model_untried": "untried",
    "quality_unchecked": "quality",
    "labels_unchecked": "labels",
    "documents_unknown": "documents",
    "traffic_unknown": "unknown",
    "price_unknown": "price",
    "costs_unknown": "cost",
}
# Open answers have no majority, and a judge sees no label that could be wrong.
IMPOSSIBLE = {
    ("waived", "imbalanced"),
    ("knowledge", "imbalanced"),
    ("documents_unknown", "imbalanced"),
    ("labels", "judge"),
    ("labels_unchecked", "judge"),
}
# Where a stronger model would do, and where documents would.
REASONING = ("cost", "latency", "locality", "model_untried", "traffic_unknown", "price_unknown", "costs_unknown")
KNOWLEDGE = ("knowledge", "documents_unknown", "waived")
# Where nobody labelled failures again.
UNCHECKED = ("quality_unchecked", "labels_unchecked")
Cause = Literal["easy", "prompt", "shots", "format", "sampling", "knowledge", "reasoning", "unexplained"]
CAUSES: tuple[Cause, ...] = get_args(Cause)
PROMPTS = ("xml", "role", "chain_of_thought")
SHOTS = ("fixed-4", "per_case-8", "per_case-8+choice")
DECODING = ("0.1", "0.3")
# Chances of a right answer: to an easy case, to one of a cause that nothing helps, and to one that the lever of its
# cause helps.
EASY, HOPELESS, HELPED = 0.985, 0.04, 0.93
# Of a sample, where answers vary.
SAMPLED = 0.6
INPUT_TOKENS, OUTPUT_TOKENS = 600, 40
# What the tuned model costs a month, and once, by the defaults of the project file.
MONTHLY_USD, CAPACITY, ONE_OFF_USD, HORIZON = 319.18, 1_698_452.0, 5785.06, 12.0
SERVER_USD = 584.0
LIMIT_MS = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is true of a model.

    Attributes:
        reasoning: Its chance of a right answer to a case that needs a stronger model.
        usd_per_1k: A thousand answers.
        p95_ms: 95th percentile of latency.
        hosted: Whether it runs elsewhere.
        family: Part of its name that tells its family.
        likes: How often a judge is fooled by its wrong answers.
    """

    reasoning: float = HOPELESS
    usd_per_1k: float = 0.0
    p95_ms: float = 300.0
    hosted: bool = False
    family: str = "llama"
    likes: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All that is true of one simulation, and what of it the project knows.

    Attributes:
        truth: Its class. condition: How its data are.
        n_test, n_dev: Cases.
        shares: Label to its share of the cases.
        noise: Share of labels that are wrong.
        group_size: Cases of an undeclared source; icc: how often they share cause and difficulty.
        rho: Share of the difficulty of a case that all variants share.
        alike: How often a wrong answer is the one that suggests itself.
        causes: Their true shares.
        models: By name; the first is today's.
        prompts: Candidate to its chance where the prompt is the cause, like `shots` and `decoding`.
        classical: True score of the classical baseline; "constant" answers the most frequent label.
        search: Share of the cases that need a document, to which the search finds it.
        rungs: That were run.
        requests: True traffic a month. worth: what a wrong answer costs; None if the project does not say.
        knows: What the project file says: traffic, prices, costs, success, documents, waiver.
        relabelled: Failures that people labelled again.
        added: Test cases that were added, each time.
        n_human: Test cases that people judge; 0 where a rule grades.
        specificity: Of the judge, like `sensitivity`.
    """

    seed: int
    truth: Truth
    condition: Condition
    kind: Literal["label", "short_answer"]
    n_test: int
    n_dev: int
    target: float
    margin: float
    shares: Mapping[str, float]
    noise: float = 0.0
    group_size: int = 1
    icc: float = 0.0
    rho: float
    alike: float
    causes: Mapping[Cause, float]
    models: Mapping[str, Model]
    prompts: Mapping[str, float]
    shots: Mapping[str, float]
    decoding: Mapping[str, float]
    classical: float
    constant: bool = False
    search: float = 0.0
    rungs: tuple[str, ...]
    on_device: bool = False
    p95_ms: float | None = None
    requests: float = 0.0
    worth: float | None = None
    knows: frozenset[str] = frozenset()
    relabelled: int = 0
    added: tuple[int, ...] = ()
    n_human: int = 0
    sensitivity: float = 1.0
    specificity: float = 1.0

    @property
    def today(self) -> str:
        """Name of today's model."""
        return next(iter(self.models))

    def chances(self, key: Key) -> dict[Cause, float]:
        """Return how likely a variant answers a case of each cause rightly."""
        model = self.models[key.model]
        search = self.search if key.search == "search" else 1.0 if key.search == "oracle" else 0.0
        return {
            "easy": EASY,
            "prompt": self.prompts.get(key.prompt, HOPELESS),
            "shots": self.shots.get(key.shots.removesuffix("+choice"), HOPELESS),
            "format": HELPED if key.shots.endswith("choice") else HOPELESS,
            "sampling": SAMPLED if key.sampled else self.decoding.get(key.decoding, HOPELESS),
            "knowledge": HOPELESS + (HELPED - HOPELESS) * search,
            "reasoning": model.reasoning,
            "unexplained": HOPELESS,
        }

    def accuracy(self, key: Key) -> float:
        """Return how often a variant is truly right."""
        chances = self.chances(key)
        return sum(share * chances[cause] for cause, share in self.causes.items())

    def score(self, key: Key) -> float:
        """Return the true score of a variant by the labels of the files."""
        return self._labelled(self.accuracy(key))

    @property
    def classical_score(self) -> float:
        """True score of the classical baseline, by the labels of the files."""
        return self._labelled(self.classical)

    def _labelled(self, right: float) -> float:
        other = 1 / max(1, len(self.shares) - 1)
        return (1 - self.noise) * right + self.noise * (1 - right) * other

    def failures(self, key: Key) -> dict[str, float]:
        """Return the true shares of the failures of a variant: by cause, and `label` where the label is wrong."""
        chances, other = self.chances(key), 1 / max(1, len(self.shares) - 1)
        parts: dict[str, float] = {
            cause: (1 - self.noise) * share * (1 - chances[cause]) for cause, share in self.causes.items()
        }
        right = self.accuracy(key)
        parts["label"] = self.noise * right
        parts["unexplained"] += parts.pop("easy") + self.noise * (1 - right) * (1 - other)
        total = sum(parts.values())
        return {name: part / total for name, part in parts.items()}

    @property
    def majority(self) -> float:
        """True share of the most frequent label; 0 for other tasks."""
        return max(self.shares.values()) if self.kind == "label" else 0.0


@dataclass(frozen=True, slots=True)
class Key:
    """What a variant is made of."""

    model: str
    prompt: str = ""
    shots: str = ""
    decoding: str = ""
    search: str = ""
    sampled: bool = False


def draw(seed: int, truth: Truth, condition: Condition, n_test: int) -> World:
    """Draw a world of a class; the priors are on the page."""
    rng = np.random.default_rng([seed, TRUTHS.index(truth), CONDITIONS.index(condition)])
    opened = truth in {"knowledge", "documents_unknown", "waived"} or condition == "judge"
    margin = float(rng.choice([0.03, 0.05, 0.08] if condition != "imbalanced" else [0.03, 0.05]))
    noise = float(rng.uniform(0.0, 0.2 if condition == "noise" else 0.02)) if condition != "judge" else 0.0
    if truth in {"labels", "labels_unchecked"}:
        noise = float(rng.uniform(0.12, 0.2))
    ceiling = EASY * (1 - noise) - 0.005
    shares = _shares(rng, condition, opened=opened)
    majority = 0.0 if opened else max(shares.values())
    low, high = max(0.6, majority + 0.7 * margin if condition == "imbalanced" else 0.0), min(0.95, ceiling - 0.02)
    target = float(rng.uniform(min(low, high), high))
    best, strong = _scores(rng, truth, target, margin, noise)
    if truth in {"labels", "labels_unchecked"}:  # most failures are of the label, and the target is out of reach
        best = ceiling - float(rng.uniform(0.0, 0.4)) * noise
        target = min(0.97, best + float(rng.uniform(0.5 * margin, 0.15)))
    failing = _failing(rng, truth, 1 - best, noise)
    world = World(
        seed=seed,
        truth=truth,
        condition=condition,
        kind="short_answer" if opened else "label",
        n_test=n_test,
        n_dev=200,
        target=round(target, 3),
        margin=margin,
        shares=shares,
        noise=noise,
        group_size=int(rng.choice([2, 3, 5])) if condition == "duplicates" else 1,
        icc=float(rng.uniform(0.5, 0.9)) if condition == "duplicates" else 0.0,
        rho=float(rng.uniform(0.3, 0.8)),
        alike=float(rng.uniform(0.0, 0.9)),
        causes={},
        models={},
        prompts=_rung(rng, PROMPTS),
        shots=_rung(rng, ("fixed-4", "per_case-8")),
        decoding=_rung(rng, DECODING),
        classical=max(majority, float(rng.uniform(0.3, max(0.31, best - 0.05)))),
        constant=condition == "imbalanced" and rng.random() < 0.5,
        search=float(rng.uniform(0.1, 0.4)),
        rungs=("classical", "baseline", "prompt", "model", "few_shot", "decoding"),
        requests=0.0,
    )
    world = _condition(rng, world)
    world = replace(world, causes=_causes(rng, world, best, failing))
    if world.constant:
        world = replace(world, classical=majority)
    world = SETTINGS[truth](rng, world, strong)
    return world if truth in UNCHECKED else replace(world, relabelled=60)


def _shares(rng: np.random.Generator, condition: Condition, *, opened: bool) -> dict[str, float]:
    """Draw the labels of a task with their shares; open answers are many."""
    if opened:
        return {f"answer {number}": 1 / 60 for number in range(60)}
    if condition == "imbalanced":
        top, rest = float(rng.uniform(0.8, 0.87)), int(rng.choice([1, 2, 3]))
        return {"kind 0": top} | {f"kind {number + 1}": (1 - top) / rest for number in range(rest)}
    k = int(rng.choice([3, 4, 8, 20]))
    return {f"kind {number}": 1 / k for number in range(k)}


def _scores(rng: np.random.Generator, truth: Truth, target: float, margin: float, noise: float) -> tuple[float, float]:
    """Draw the true score of the best of all prompts with today's model, and that of a stronger model."""
    ceiling = EASY * (1 - noise) - 0.005
    above = min(ceiling, target + float(rng.uniform(0.5 * margin, 0.12)))
    below = max(0.25, target - float(rng.uniform(0.5 * margin, 0.3)))
    if truth in REASONING:  # what a stronger model can repair is enough
        below = max(below, (above - 0.55 * EASY * (1 - noise)) / 0.45)
    return (above, above) if truth == "met" else (below, above)


def _failing(rng: np.random.Generator, truth: Truth, failed: float, noise: float) -> dict[Cause, float]:
    """Draw the shares of the causes among the failures of the best that are not of the label."""
    name: Cause = "reasoning" if truth in REASONING else "knowledge" if truth in KNOWLEDGE else "unexplained"
    top = float(rng.uniform(0.62, 0.9)) if truth != "knowledge" else float(rng.uniform(0.65, 0.95))
    rest: list[Cause] = ["unexplained", "sampling", "format"] if name != "unexplained" else ["sampling", "format"]
    parts = (1 - top) * rng.dirichlet([1.0] * len(rest))
    return {name: top} | dict(zip(rest, parts.tolist(), strict=True))


def _rung(rng: np.random.Generator, names: tuple[str, ...]) -> dict[str, float]:
    """Draw how well each candidate of a rung helps where it may: one of them well."""
    chances = rng.uniform(0.0, 0.6, len(names))
    chances[rng.integers(len(names))] = HELPED
    return dict(zip(names, chances.tolist(), strict=True))


def _condition(rng: np.random.Generator, world: World) -> World:
    if world.condition != "judge":
        return world
    return replace(
        world,
        n_human=180,
        sensitivity=float(rng.uniform(0.85, 0.98)),
        specificity=float(rng.uniform(0.75, 0.95)),
        knows=frozenset({"waiver"}),
    )


def _causes(rng: np.random.Generator, world: World, best: float, failing: Mapping[Cause, float]) -> dict[Cause, float]:
    """Return the shares of the causes for which the best of all prompts scores `best`."""
    right = min(EASY, best / (1 - world.noise))
    missing = max(0.0, EASY - right)
    causes = {cause: missing * share / (EASY - HOPELESS) for cause, share in failing.items()}
    room = 1 - sum(causes.values())
    lift = min(float(rng.uniform(0.0, 0.25)) if rng.random() > 0.2 else 0.0, 0.5 * room)
    parts = lift * rng.dirichlet([0.5] * 2)
    causes |= {"prompt": float(parts[0]), "shots": float(parts[1])}
    return {cause: float(causes.get(cause, 0.0)) for cause in CAUSES} | {"easy": room - lift}


def _quality(rng: np.random.Generator, world: World, strong: float) -> World:
    """Nothing meets the target, and no lever is left."""
    return replace(world, models=_local(rng, world))


def _waived(rng: np.random.Generator, world: World, strong: float) -> World:
    """A gap of knowledge for which there are no documents, as the team says."""
    return replace(_quality(rng, world, strong), knows=world.knows | {"waiver"})


def _met(rng: np.random.Generator, world: World, strong: float) -> World:
    """An option meets the target, and money is no reason."""
    return replace(
        world, models=_local(rng, world), requests=float(rng.uniform(1e3, 1e5)), knows=world.knows | {"traffic"}
    )


def _cost(rng: np.random.Generator, world: World, strong: float) -> World:
    """Today's large model meets the target and is dear; the small one misses it."""
    large = exp(float(rng.uniform(log(0.5), log(20.0))))
    models = {
        "claude": Model(
            reasoning=_needed(world, strong), usd_per_1k=large, hosted=True, family="claude", likes=_liked(rng, world)
        ),
        "llama": Model(usd_per_1k=large * float(rng.uniform(0.02, 0.3))),
    }
    saved = float(rng.uniform(0.35, 0.85))  # of the bill, by a tuned model at the estimate
    fixed = MONTHLY_USD + ONE_OFF_USD / HORIZON
    per_request = large / 1000 - SERVER_USD / CAPACITY
    requests = fixed / max(1e-9, (1 - saved) * large / 1000 - SERVER_USD / CAPACITY)
    if requests <= 0 or per_request <= 0 or (requests < CAPACITY and requests * large / 1000 * (1 - saved) < fixed):
        requests = (fixed + SERVER_USD) / ((1 - saved) * large / 1000)
    return replace(world, models=models, requests=float(requests), knows=world.knows | {"traffic", "prices", "costs"})


def _costs_unknown(rng: np.random.Generator, world: World, strong: float) -> World:
    """What training and serving cost is not given, so that it is assumed."""
    return replace(_cost(rng, world, strong), knows=world.knows | {"traffic", "prices"})


def _traffic_unknown(rng: np.random.Generator, world: World, strong: float) -> World:
    return replace(_cost(rng, world, strong), knows=world.knows | {"prices"})


def _price_unknown(rng: np.random.Generator, world: World, strong: float) -> World:
    return replace(_cost(rng, world, strong), knows=world.knows | {"traffic"})


def _latency(rng: np.random.Generator, world: World, strong: float) -> World:
    """The stronger model meets the target and is too slow."""
    large = Model(
        reasoning=_needed(world, strong), p95_ms=float(rng.uniform(1.3, 3.0)) * LIMIT_MS, family="mistral",
        likes=_liked(rng, world),
    )  # fmt: skip
    return replace(world, models={"llama": Model(), "mistral": large}, p95_ms=LIMIT_MS)


def _locality(rng: np.random.Generator, world: World, strong: float) -> World:
    """The stronger model meets the target and may not serve."""
    large = Model(
        reasoning=_needed(world, strong), hosted=True, family="claude", usd_per_1k=2.0, likes=_liked(rng, world)
    )
    return replace(
        world,
        models={"llama": Model(), "claude": large},
        on_device=True,
        knows=world.knows | {"prices"},
        rungs=("classical", "baseline", "prompt", "teacher", "few_shot", "decoding"),
    )


def _knowledge(rng: np.random.Generator, world: World, strong: float) -> World:
    """Most failures lack a document that is there and that the search does not find."""
    rungs = ("classical", "baseline", "prompt", "retrieval", "model", "few_shot", "decoding")
    return replace(world, models=_local(rng, world), rungs=rungs, knows=frozenset({"documents"}))


def _labels(rng: np.random.Generator, world: World, strong: float) -> World:
    """Most failures are errors of the label, and people labelled suspects again."""
    return _labels_unchecked(rng, world, strong)


def _labels_unchecked(rng: np.random.Generator, world: World, strong: float) -> World:
    return replace(world, models=_local(rng, world))


def _money(rng: np.random.Generator, world: World, strong: float) -> World:
    """A better answer is worth little, so that training never pays."""
    requests = float(rng.uniform(1e3, 2e4))
    most = (MONTHLY_USD + SERVER_USD) * 0.75
    worth = float(rng.uniform(0.1, 0.7)) * most / requests / max(0.05, 1 - world.target + 0.3)
    knows = world.knows | {"traffic", "worth"}
    return replace(world, models=_local(rng, world), requests=requests, worth=worth, knows=knows)


def _model_untried(rng: np.random.Generator, world: World, strong: float) -> World:
    """A stronger model is named that meets the target; it was not run."""
    large = Model(reasoning=_needed(world, strong), family="mistral", likes=_liked(rng, world))
    rungs = tuple(rung for rung in world.rungs if rung != "model")
    return replace(world, models={"llama": Model(), "mistral": large}, rungs=rungs)


def _documents_unknown(rng: np.random.Generator, world: World, strong: float) -> World:
    """Open answers that are wrong for want of documents, which the project does not have."""
    return replace(world, models=_local(rng, world), knows=world.knows - {"waiver"})


SETTINGS = {
    "quality": _quality,
    "waived": _waived,
    "cost": _cost,
    "latency": _latency,
    "locality": _locality,
    "met": _met,
    "knowledge": _knowledge,
    "labels": _labels,
    "money": _money,
    "model_untried": _model_untried,
    "quality_unchecked": _quality,
    "labels_unchecked": _labels_unchecked,
    "documents_unknown": _documents_unknown,
    "traffic_unknown": _traffic_unknown,
    "price_unknown": _price_unknown,
    "costs_unknown": _costs_unknown,
}


def _local(rng: np.random.Generator, world: World) -> dict[str, Model]:
    """Draw today's model and one or two others that are no stronger where it matters, of families that may be one."""
    other = str(rng.choice(["mistral", "qwen", "llama"]))
    models = {"llama": Model(), "other": Model(family=other, reasoning=float(rng.uniform(0, 0.5)))}
    if rng.random() < 0.5:
        models["third"] = Model(family="gemma", reasoning=float(rng.uniform(0, 0.5)))
    return {name: replace(model, likes=_liked(rng, world)) for name, model in models.items()}


def _liked(rng: np.random.Generator, world: World) -> float:
    return float(rng.uniform(0.0, 0.5)) if world.condition == "judge" else 0.0


def _needed(world: World, strong: float) -> float:
    """Return the chance at cases of reasoning with which a model has the score `strong` by the labels."""
    rest = sum(
        share * {"easy": EASY, "prompt": HELPED, "shots": HELPED}.get(cause, HOPELESS)
        for cause, share in world.causes.items()
        if cause != "reasoning"
    )
    share = max(1e-9, world.causes["reasoning"])
    return float(min(0.99, max(HOPELESS, (strong / (1 - world.noise) - rest) / share)))
