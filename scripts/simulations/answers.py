"""What every variant of a world answers, and the session that stands where an opened project stands.

The package's own code asks it: measurements on test, comparisons, and the probes of the error analysis.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from math import sqrt
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import numpy as np
import orjson
from scipy.special import ndtri
from scripts.simulations.truth import CAPACITY, CAUSES, INPUT_TOKENS, OUTPUT_TOKENS, SAMPLED, Key, World

from tuneworthy.cases.near_duplicates import group_near_duplicates
from tuneworthy.cases.splits import Split
from tuneworthy.cases.task_kind import Kind
from tuneworthy.config import Project
from tuneworthy.config.ladder import RUNGS, Economics
from tuneworthy.engine.models import OpenModel
from tuneworthy.graders.judging import Judging
from tuneworthy.graders.validate import JudgeValidation
from tuneworthy.ladder.own_models import PREFIX
from tuneworthy.ladder.session import Session
from tuneworthy.ladder.task_info import TaskInfo
from tuneworthy.money.economics import SPREADING
from tuneworthy.providers.capabilities import capabilities_of
from tuneworthy.providers.prices import price_for
from tuneworthy.stats.confusion import Confusion
from tuneworthy.store.shapes import parsed
from tuneworthy.types import Case, Response, Retrieval, Score, Timing, Trace, Variant

RIGHT, WRONG = Score(num=1.0), Score(reason="wrong")
CAPABILITIES = capabilities_of("scripted", "")
# Spread of the logarithm of latency; its 95th percentile lies so many of them above the median.
SPREAD, Z95 = 0.15, 1.645
# No folder: nothing is read or written.
NOWHERE = Path("/nonexistent/simulation")
WORDS = tuple(f"w{number}" for number in range(997))


def key_of(variant: Variant) -> Key:
    """Return what a variant is made of."""
    shots = f"{variant.shots.mode}-{variant.shots.k}" if variant.shots else ""
    if variant.output.kind != "free":
        shots += "+choice"
    temperature = variant.decoding.get("temperature", 1.0)
    return Key(
        model=variant.model,
        prompt=(variant.system or "").rpartition(": ")[2] if ": " in (variant.system or "") else "",
        shots=shots,
        decoding=f"{variant.decoding['top_p']:.1f}" if "top_p" in variant.decoding else "",
        search=variant.retrieval.mode if variant.retrieval else "",
        sampled=temperature > 0,
    )


class Answers:
    """What every variant answers to the cases of a world: dev first, then test, then what can be added."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.n = n = world.n_dev + world.n_test
        self.labels = tuple(world.shares)
        k = len(self.labels)
        source = np.arange(n) // world.group_size
        shared = self._uniform("shared")[:n] < world.icc
        own, common = self._uniform("cause"), self._uniform("common cause")[source]
        bounds = np.cumsum([world.causes[cause] for cause in CAUSES])
        self.cause = np.searchsorted(bounds / bounds[-1], np.where(shared, common, own), side="right")
        difficulty, common = self._normal("difficulty"), self._normal("common difficulty")[source]
        self.difficulty = np.where(shared, common, difficulty)
        bounds = np.cumsum(list(world.shares.values()))
        own, common = self._uniform("label"), self._uniform("common label")[source]
        self.label = np.searchsorted(bounds / bounds[-1], np.where(source >= 0, common, own), side="right")
        wrong = self._uniform("noise") < world.noise
        self.expected = np.where(wrong, self._another("given", self.label), self.label)
        self.suggested = self._another("suggested", self.label)
        if world.condition == "imbalanced":
            self.suggested = np.where(self.label > 0, 0, self.suggested)
        self.texts = (*self.labels, *(f"It is {label}." for label in self.labels))
        self.k = k
        self._given: dict[tuple[Key, int, bool], np.ndarray] = {}
        self.cases = [self._case(i, int(source[i])) for i in range(n)]
        self.place = {case.id: i for i, case in enumerate(self.cases)}

    def _rng(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.world.seed, crc32(name.encode())])

    def _uniform(self, name: str) -> np.ndarray:
        return self._rng(name).random(self.n)

    def _normal(self, name: str) -> np.ndarray:
        return self._rng(name).standard_normal(self.n)

    def _another(self, name: str, label: np.ndarray) -> np.ndarray:
        """Return another label than `label` of each case, drawn evenly."""
        step = 1 + (self._uniform(name) * max(1, len(self.labels) - 1)).astype(int)
        return (label + step) % len(self.labels)

    def _case(self, i: int, source: int) -> Case:
        words = self.world.seed * 1009 + source * 31
        chosen = [WORDS[(words * (j + 3) + j * j * 7919) % 997] for j in range(12)]
        if self.world.group_size > 1:  # a rewording has two other words
            chosen[i % 12], chosen[(i * 5 + 3) % 12] = WORDS[(i * 613) % 997], WORDS[(i * 271) % 997]
        text = " ".join(chosen)
        documents = ("d1",) if "documents" in self.world.knows else ()
        expected = self.labels[self.expected[i]]
        return Case(
            id=f"{'d' if i < self.world.n_dev else 't'}{i:05}", input=text, expected=expected, documents=documents
        )

    def given(self, variant: Variant, repeat: int = 0) -> np.ndarray:
        """Return the place in `texts` of what a variant answers to each case, `(n,)`."""
        key = key_of(variant) if not variant.model.startswith(PREFIX) else Key(model=variant.model)
        sampled = key.sampled and not variant.model.startswith(PREFIX)
        place = (key, repeat if sampled else 0, sampled)
        if place not in self._given:
            self._given[place] = self._classical() if variant.model.startswith(PREFIX) else self._drawn(key, repeat)
        return self._given[place]

    def _classical(self) -> np.ndarray:
        world = self.world
        if world.constant:
            return np.zeros(self.n, dtype=int)
        mixed = sqrt(0.3) * self.difficulty + sqrt(0.7) * self._normal("classical")
        return np.where(mixed < ndtri(world.classical), self.label, self._another("classical wrong", self.label))

    def _drawn(self, key: Key, repeat: int) -> np.ndarray:
        world = self.world
        chances = world.chances(key)
        p = np.clip(np.array([chances[cause] for cause in CAUSES]), 1e-6, 1 - 1e-6)[self.cause]
        # What only the decoding changes, and what a sample changes, is drawn anew; else a model errs alike.
        name = f"{key.model}|{key.prompt}|{key.shots}|{key.decoding}|{key.search}"
        own = 0.8 * self._normal(key.model) + 0.6 * self._normal(name)
        mixed = sqrt(world.rho) * self.difficulty + sqrt(1 - world.rho) * own
        right = mixed < ndtri(p)
        if key.sampled:  # only unstable answers vary
            again = self._rng(f"{name}|{repeat}").random(self.n) < SAMPLED
            right = np.where(self.cause == CAUSES.index("sampling"), again, right)
        alike = self._uniform(f"alike {key.model}") < world.alike
        wrong = np.where(alike, self.suggested, self._another(f"wrong {key.model}", self.label))
        answer = np.where(right, self.label, wrong)
        malformed = (self.cause == CAUSES.index("format")) & ~right & (not key.shots.endswith("choice"))
        return np.where(malformed, self.label + self.k, answer)


class Documents:
    """A folder in memory."""

    path = NOWHERE

    def __init__(self) -> None:
        self.content: dict[str, Any] = {}

    def read(self, name: str, shape: Any) -> Any:
        """Return what was written, in its shape."""
        content = self.content.get(name)
        return content if content is None or shape is dict else parsed(orjson.dumps(content), shape, self.path / name)

    def write(self, name: str, content: Any) -> None:
        """Keep it."""
        self.content[name] = content


class Library:
    """A library whose oracle has every document."""

    corpus = SimpleNamespace(hash="d" * 16)

    def named(self, case: Case) -> bool:
        """Return whether the documents of a case are there."""
        return bool(case.documents)

    def oracle(self, retrieval: Retrieval | None) -> Retrieval:
        """Return the retrieval that hands over the right documents."""
        return Retrieval(mode="oracle", documents=self.corpus.hash, k=5)

    async def seconds(self, retrieval: Retrieval, cases: Sequence[Case]) -> Mapping[str, float]:
        """Return that it takes no time."""
        return {}


class Models:
    """The models of a world, which are never called."""

    def __init__(self, project: Project) -> None:
        self._open = {name: self._model(name, project) for name in project.models}
        self._open[f"{PREFIX}linear"] = self._model(f"{PREFIX}linear", project)

    def _model(self, name: str, project: Project) -> OpenModel:
        config = project.models.get(name)
        provider: Any = SimpleNamespace(
            identity={"name": name}, capabilities=CAPABILITIES, supports=CAPABILITIES.supports
        )
        price = price_for(config) if config else None
        return OpenModel(
            name=name,
            provider=provider,
            price=None if price is None or price.free else price,
            hosted=bool(config and config.hosted),
            concurrency=1,
            timeout_s=1.0,
            retries=0,
        )

    def __getitem__(self, name: str) -> OpenModel:
        return self._open[name]


_CONFUSION = Confusion(good_good=120, good_bad=8, bad_good=7, bad_bad=45)


class People(Judging):
    """A validated judge, and people who see what is true of the first cases of the draw."""

    def __init__(self, session: SimulationSession) -> None:
        self.project, self.split = session.project, session.split
        self.session = session
        self.validation = JudgeValidation(
            status="pass", reasons=(), fooled=(), n_canaries=8, n_unread=0, n_asked=180, confusion=_CONFUSION
        )
        self._verdicts, self._answers = {}, {}
        self._draw = super()._order(session.split.test)
        self._judged = {case.id for case in self._draw[: session.world.n_human]}

    async def learn(self, cases: Sequence[Case], traces: Iterable[Trace]) -> JudgeValidation:
        """Return that it was validated."""
        return self.validation  # type: ignore[return-value]

    def _order(self, cases: Sequence[Case]) -> list[Case]:
        return self._draw

    def _verdict(self, case: Case, answer: str | None) -> float:
        if answer is None or case.id not in self._judged:
            return float("nan")
        return float(self.session.truly_right(case, answer))


class SimulationSession(Session):
    """An opened project whose answers are drawn."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.project = project_of(world)
        self.project._root = NOWHERE
        self.folder = Documents()  # type: ignore[assignment]
        self.answers = answers = Answers(world)
        dev, test = answers.cases[: world.n_dev], answers.cases[world.n_dev :]
        if world.group_size > 1:
            dev, test = group_near_duplicates(dev)[0], group_near_duplicates(test)[0]
        bounds = np.cumsum([world.n_test - sum(world.added), *world.added])
        additions = [test[start:end] for start, end in pairwise(bounds)]
        kind = Kind(world.kind, "", answers.labels if world.kind == "label" else ())
        self.split = Split(
            dev=tuple(dev),
            test=tuple(test),
            shots=(),
            origin="examples",
            seed=7,
            dev_size=world.n_dev,
            kind=kind,
            additions=tuple(tuple(case.id for case in some) for some in additions),
        )
        self.task = TaskInfo(kind=world.kind, labels=kind.labels)
        self.models = Models(self.project)  # type: ignore[assignment]
        self.pool: Any = SimpleNamespace(examples=(), hash="")
        self.library = Library() if "documents" in world.knows else None  # type: ignore[assignment]
        self.runner: Any = SimpleNamespace(run=self._timed, library=self.library)
        self._replies: dict[str, list[Response]] = {}
        self.graders = {world_grader(world): SimpleNamespace(identity={"type": "exact"})}  # type: ignore[assignment]

    @cached_property
    def judging(self) -> Judging | None:
        """Of a world whose answers a judge grades."""
        return People(self) if self.world.n_human else None

    def truly_right(self, case: Case, text: str) -> bool:
        """Return whether people call an answer right."""
        return text == self.answers.labels[self.answers.label[self.answers.place[case.id]]]

    def replies(self, model: str) -> list[Response]:
        """Return a reply for each text."""
        if model not in self._replies:
            n = (0, 0) if model.startswith(PREFIX) else (INPUT_TOKENS, OUTPUT_TOKENS)
            self._replies[model] = [
                Response(text=text, input_tokens=n[0], output_tokens=n[1]) for text in self.answers.texts
            ]
        return self._replies[model]

    async def ask(
        self, variant: Variant, cases: Sequence[Case], *, repeats: int = 1, logprobs: int | None = None
    ) -> list[Trace]:
        """Return what was drawn."""
        replies, identity, place = self.replies(variant.model), variant.id, self.answers.place
        price, self._model_of[identity] = self.usd(variant.model) / 1000, variant.model
        given = [self.answers.given(variant, repeat).tolist() for repeat in range(repeats)]
        return [
            Trace(
                case_id=case.id,
                variant_id=identity,
                repeat=repeat,
                messages=(),
                response=replies[given[repeat][place[case.id]]],
                cost_usd=price,
            )
            for case in cases
            for repeat in range(repeats)
        ]

    def usd(self, model: str) -> float:
        """Return the true price of a thousand answers."""
        found = self.world.models.get(model)
        return found.usd_per_1k if found else 0.0

    async def score(
        self, traces: Sequence[Trace], cases: Sequence[Case], *, grader: Any = None
    ) -> tuple[np.ndarray, np.ndarray, list[Score]]:
        """Score traces of `cases`, all repeats of a case together."""
        by_id = {case.id: case for case in cases}
        if self.world.n_human:
            good = [self._judge(by_id[trace.case_id], trace.text, trace.variant_id) for trace in traces]
        else:
            good = [trace.text == by_id[trace.case_id].expected for trace in traces]
        num = np.array(good, dtype=float).reshape(len(cases), -1).mean(axis=1)
        return num, np.ones(len(cases)), [RIGHT if one else WRONG for one in good]

    def _judge(self, case: Case, text: str, variant: str) -> bool:
        """Return what the judge says: it errs, and likes some models' wrong answers."""
        world, place = self.world, self.answers.place[case.id]
        if self.truly_right(case, text):
            return bool(self._coin(f"good {text}")[place] < world.sensitivity)
        model = world.models.get(self._model_of[variant])
        liked = model.likes if model else 0.0
        return bool(self._coin(f"bad {text}")[place] >= world.specificity * (1 - liked))

    def _coin(self, name: str) -> np.ndarray:
        if name not in self._coins:
            self._coins[name] = self.answers._uniform(f"judge {name}")
        return self._coins[name]

    @cached_property
    def _coins(self) -> dict[str, np.ndarray]:
        return {}

    @cached_property
    def _model_of(self) -> dict[str, str]:
        """Model of a variant, by id."""
        return {}

    async def _timed(
        self,
        variant: Variant,
        model: OpenModel,
        cases: Sequence[Case],
        *,
        timing: Timing | None = None,
        concurrency: int | None = None,
    ) -> list[Trace]:
        p95 = self.world.models[variant.model].p95_ms if variant.model in self.world.models else 2.0
        rng = self.answers._rng(f"seconds {variant.id} {timing}")
        seconds = p95 / 1000 * np.exp(SPREAD * (rng.standard_normal(len(cases)) - Z95))
        return [
            replace(trace, response=replace(trace.response, seconds=float(time)))  # type: ignore[type-var]
            for trace, time in zip(await self.ask(variant, cases), seconds, strict=True)
        ]


def world_grader(world: World) -> str:
    """Return the type of the grader."""
    return "judge" if world.n_human else "exact"


def project_of(world: World) -> Project:
    """Return the project file of a world."""
    models: dict[str, Any] = {}
    for name, model in world.models.items():
        models[name] = {"provider": "openai", "model": f"{model.family}-{name}"}
        models[name] |= {"base_url": "https://gateway.example/v1" if model.hosted else "http://127.0.0.1:1/v1"}
        if "prices" in world.knows and model.usd_per_1k:
            price = model.usd_per_1k * 1000 / (INPUT_TOKENS + OUTPUT_TOKENS)
            models[name] |= {"input_usd_per_mtok": price, "output_usd_per_mtok": price}
    grader: dict[str, Any] = {"type": "exact"}
    if world.n_human:
        grader = {"type": "judge", "model": "judge", "rubric": "It is right."}
        models["judge"] = {"provider": "openai", "model": "gpt", "base_url": "http://127.0.0.1:1/v1"}
    economics: dict[str, Any] = {"requests_per_month": world.requests} if "traffic" in world.knows else {}
    if "costs" in world.knows:  # they are what the project file has by default
        economics |= {name: getattr(Economics(), name) for name in SPREADING}
        economics |= {"serve_capacity_per_month": CAPACITY}
    economics |= {"ranges": {"success": (1.0, 1.0)}} if "success" in world.knows else {}
    economics |= {"usd_per_wrong_answer": world.worth} if world.worth is not None else {}
    limits: dict[str, Any] = {"on_device": world.on_device}
    limits |= {"p95_ms": world.p95_ms} if world.p95_ms else {}
    waivers = [{"gate": "retrieval", "reason": "no documents exist"}] if "waiver" in world.knows else []
    return Project.model_validate(
        {
            "task": {"name": "simulation", "target": world.target, "margin": world.margin},
            "graders": [grader],
            "models": models,
            # Its answers have no probabilities, so that there is no cascade to plan for.
            "ladder": {"baseline": world.today, "rungs": [name for name in RUNGS if name != "cascade"]},
            "constraints": limits,
            "economics": economics,
            "waivers": waivers,
        }
    )
