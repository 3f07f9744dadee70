"""Let the package run a simulation: its own ladder, race, tests, rules, gates and decision; only answers are drawn.

What is put in: the runner (answers, seconds and tokens come from the simulation), the scores of those answers (right or
wrong, or what the simulated judge says), and what the probes find of each failure.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.special import ndtri
from scripts.simulations.truth import (
    FLATTERED,
    INPUT_TOKENS,
    LABELS,
    LIMIT_MS,
    OUTPUT_TOKENS,
    SECONDS,
    SPREAD,
    Shape,
    Simulation,
    judged,
    number,
)

from tuneworthy.cases import dataset_of, example_case
from tuneworthy.classical.base import fit
from tuneworthy.config import Project
from tuneworthy.config.task import SplitSection
from tuneworthy.evaluate.budget import Budget
from tuneworthy.evaluate.models import OpenModel
from tuneworthy.evaluate.runner import Runner
from tuneworthy.graders.base import Grader
from tuneworthy.graders.judge import JudgeGrader
from tuneworthy.ladder.classical_models import PREFIX
from tuneworthy.ladder.judging import Judging
from tuneworthy.ladder.record import RunRecord, write_record
from tuneworthy.ladder.run import LadderRun
from tuneworthy.ladder.session import Session, TaskData, settle
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.providers.capabilities import capabilities_of
from tuneworthy.providers.prices import price_for
from tuneworthy.store import Folder
from tuneworthy.types import Case, Example, Response, Score, Timing, Trace, Variant, content_hash
from tuneworthy.verdict.base import Verdict
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.error_analysis import (
    FILE,
    MOST_CASES,
    PROBES,
    ErrorAnalysis,
    best_language_model,
    fingerprint,
    rows_of,
)
from tuneworthy.verdict.evidence import Evidence
from tuneworthy.verdict.gather import gather

RIGHT, WRONG = Score(num=1.0), Score(reason="wrong")
CAPABILITIES = capabilities_of("scripted", "")
RUBRIC = "It names the right kind."


def question(index: int) -> str:
    """Return what case or example `index` asks: words that no other one shares."""
    return " ".join(["item", *(content_hash([index, part], 7) for part in range(6))])


def label(index: int) -> str:
    """Return the answer that the files give for it."""
    return LABELS[int(number("label", index) * len(LABELS))]


def cases_of(shape: Shape) -> list[Case]:
    """Return the cases of a shape."""
    sources = [f"source-{i // shape.group_size}" if shape.group_size > 1 else None for i in range(shape.n_cases)]
    return [Case(id=f"c{i:04}", input=question(i), expected=label(i), group=own) for i, own in enumerate(sources)]


def examples_of(shape: Shape) -> list[Example]:
    """Return the examples of a shape."""
    found = []
    for index in range(shape.n_cases, shape.n_cases + shape.n_examples):
        chat = ({"role": "user", "content": question(index)}, {"role": "assistant", "content": label(index)})
        found.append(Example(messages=chat, id=content_hash(list(chat))))
    return found


@cache
def data_of(shape: Shape) -> TaskData:
    """Read and split the data of a shape, as a project does."""
    project = Project.model_validate(tomllib.loads(BARE))
    return settle(project, dataset_of(project, cases_of(shape), examples_of(shape)))


@cache
def places_of(shape: Shape) -> dict[str, int]:
    """Return case id to the place of the case among cases and examples."""
    places = {case.id: index for index, case in enumerate(cases_of(shape))}
    for place, example in enumerate(examples_of(shape), start=shape.n_cases):
        case = example_case(example)
        assert case is not None
        places[case.id] = place
    return places


BARE = '[task]\nname = "world"\n[[graders]]\ntype = "exact"\n[models.small]\nprovider = "scripted"\n'
BARE += 'function = "world.py:small"\n[ladder]\nbaseline = "small"\n'


def project_file(world: Simulation) -> str:
    """Return the project file of a world."""
    lines = ["[task]", 'name = "world"', f"target = {world.target!r}", f"margin = {world.margin!r}"]
    lines += [f'motivation = "{world.motivation}"'] if world.motivation else []
    lines += [f'problem = "{world.problem}"'] if world.problem else []
    lines += ["[examples]"] if world.shape.n_examples else []
    lines += ["[prompt]", 'system = "Name the kind of the item."', "[[graders]]"]
    judge = ['type = "judge"', 'model = "judge"', f'rubric = "{RUBRIC}"', "[models.judge]"]
    judge += ['provider = "scripted"', 'function = "world.py:judge"']
    lines += judge if world.sensitivity else ['type = "exact"']
    billed = world.setting != "device"
    for name in world.models:
        lines += [f"[models.{name}]", 'provider = "scripted"', f'function = "world.py:{name}"']
        price = world.usd_per_1k[name] * 1000 / (INPUT_TOKENS + OUTPUT_TOKENS)
        lines += [f"input_usd_per_mtok = {price!r}", f"output_usd_per_mtok = {price!r}"] if billed else []
    lines += ["[ladder]", 'baseline = "small"', "budget_usd = 1e9", "[constraints]"]
    lines += ["on_device = true"] if world.setting == "device" else []
    lines += [f"p95_ms = {LIMIT_MS}"] if world.setting == "slow" else []
    if world.setting == "dear":
        lines += [f"usd_per_1k = {world.usd_per_1k['small'] * 1.2!r}"]
    lines += ["[economics]", f"requests_per_month = {world.requests}", "serve_capacity_per_month = 1e12"]
    return "\n".join(lines) + "\n"


class Models:
    """The models of a world, which are never asked."""

    def __init__(self, project: Project) -> None:
        self._open: dict[str, OpenModel] = {}
        for name, config in project.models.items():
            identity = {"provider": "scripted", "name": name}
            provider: Any = SimpleNamespace(
                identity=identity, capabilities=CAPABILITIES, supports=CAPABILITIES.supports
            )
            price = price_for(config)
            self._open[name] = OpenModel(
                name=name,
                provider=provider,
                price=None if price is None or price.free else price,
                hosted=config.hosted,
                concurrency=1,
                timeout_s=1.0,
                retries=0,
            )

    def __getitem__(self, name: str) -> OpenModel:
        return self._open[name]

    def add(self, model: OpenModel) -> None:
        """Add a classical baseline."""
        self._open[model.name] = model


def key_of(variant: Variant) -> tuple[str, str, str, str]:
    """Return what a variant is made of: model, prompt, shots, decoding; as `World.score` takes it."""
    shots = [f"{variant.shots.mode}-{variant.shots.k}"] if variant.shots else []
    shots += [] if variant.output.kind == "free" else [variant.output.kind]
    prompt = next((note for note in variant.notes if " " not in note and note in TRANSFORMED), "")
    temperature = variant.decoding.get("temperature")
    return variant.model, prompt, "+".join(shots), "" if temperature is None else f"{temperature:.1f}"


TRANSFORMED = frozenset({"xml_contract", "contract", "xml", "role", "chain_of_thought", "half"})


class Answers:
    """What every variant answers to every case of a world."""

    def __init__(self, world: Simulation) -> None:
        self.world = world
        self.places = places_of(world.shape)
        self.shift = world.shift()
        self.classical_models: ShotPool | None = None
        """What classical baselines are really fitted on; None: they are drawn."""
        self._right: dict[tuple[str, ...], np.ndarray] = {}

    def right(self, variant: Variant) -> np.ndarray:
        """Say of each case and example whether a variant answers it rightly."""
        key = key_of(variant)
        if key not in self._right:
            p = self._classical(variant.model) if variant.model.startswith(PREFIX) else self.world.score(*key)
            self._right[key] = self.world.right("|".join(key), p)
        return self._right[key]

    def _classical(self, name: str) -> float:
        """Return the true score of a classical: the strongest has what the world says, the others less."""
        chance = 1 / len(LABELS)
        return chance + (self.world.classical - chance) * {"linear": 1.0, "nearest": 0.7}.get(name[len(PREFIX) :], 0.0)

    def texts(self, variant: Variant, cases: Sequence[Case]) -> list[str]:
        """Return the answers to `cases`."""
        if self.classical_models is not None and variant.model.startswith(PREFIX):
            classical = fit(variant.model[len(PREFIX) :], self.classical_models.examples, SplitSection().seed)
            return classical.predict([case.text for case in cases])
        right, wrong = self.right(variant), FLATTERED if variant.model == "large" else 1
        return [
            LABELS[(LABELS.index(case.expected) + self.shift[place] + (0 if right[place] else wrong)) % len(LABELS)]
            for case, place in ((case, self.places[case.id]) for case in cases)
        ]

    def seconds(self, model: str, case: Case) -> float:
        """Return how long an answer takes."""
        slow = SECONDS["large" if self.slow(model) else "small"]
        draw = 0.001 + 0.998 * number(self.world.seed, model, case.text)
        return float(slow * np.exp(SPREAD * ndtri(draw)))

    def slow(self, model: str) -> bool:
        """Whether a model is too slow for the limit: the large one is, where there is a limit that it breaks."""
        return model == "large" and not (self.world.setting == "slow" and self.world.large_fits)


class Asked(Runner):
    """Stands where the runner stands: the answers are drawn, not asked for."""

    def __init__(self, answers: Answers, pool: ShotPool) -> None:
        nowhere: Any = None
        super().__init__(nowhere, Budget(None), pool)
        self.answers = answers
        self.log: dict[str, tuple[Variant, dict[str, Case]]] = {}
        self.kept: dict[tuple[str, str], Trace] = {}

    async def run(
        self,
        variant: Variant,
        model: OpenModel,
        cases: Sequence[Case],
        *,
        repeats: Iterable[int] = (0,),
        logprobs: int | None = None,
        concurrency: int | None = None,
        timing: Timing | None = None,
    ) -> list[Trace]:
        """Return the traces of `cases` (see `Runner.run`)."""
        identity, times = variant.id, tuple(repeats)
        timed = timing is not None
        self.log.setdefault(identity, (variant, {}))[1].update({case.id: case for case in cases})
        price = 0.0 if model.price is None else self.answers.world.usd_per_1k[model.name] / 1000
        tokens = (0, 0) if variant.model.startswith(PREFIX) else (INPUT_TOKENS, OUTPUT_TOKENS)
        replies = {text: Response(text=text, input_tokens=tokens[0], output_tokens=tokens[1]) for text in LABELS}
        found = []
        for case, text in zip(cases, self.answers.texts(variant, cases), strict=True):
            reply = replies[text]
            if timed:
                reply = replace(reply, seconds=self.answers.seconds(model.name, case))
            found += [
                Trace(
                    case_id=case.id,
                    variant_id=identity,
                    repeat=repeat,
                    messages=(),
                    response=reply,
                    cost_usd=price,
                )
                for repeat in times
            ]
        self.kept |= {(identity, trace.case_id): trace for trace in found if trace.repeat == 0}
        return found

    def stored(
        self, variant: Variant, cases: Sequence[Case], *, repeats: Iterable[int] = (0,), logprobs: int | None = None
    ) -> list[Trace]:
        """Return the first answers to those of `cases` that were asked (see `Runner.stored`)."""
        identity = variant.id
        return [self.kept[identity, case.id] for case in cases if (identity, case.id) in self.kept]


class Judge(JudgeGrader):
    """The judge of a world: what it says follows from question and answer."""

    def __init__(self, world: Simulation, test: Sequence[Case]) -> None:
        self.rubric, self.needs_expected, self.model = RUBRIC, True, "judge"
        self.identity = {"type": "judge", "world": world.seed}
        self._simulation, self._test = world, frozenset(case.text for case in test)

    def says(self, case: Case, answer: str) -> bool:
        """Return whether it calls an answer good; it errs on test only."""
        reference = str(case.expected)
        if case.text not in self._test or not answer.strip():
            return answer == reference
        return judged(self._simulation.seed, case.text, answer, reference, self._simulation.rates)

    async def verdict(self, case: Case, answer: str) -> tuple[bool | None, str]:
        """See `JudgeGrader.verdict`."""
        return self.says(case, answer), ""


class SimulationSession(Session):
    """An opened project whose answers are drawn."""

    def __init__(self, world: Simulation, root: Path, *, fit_classical_models: bool = False) -> None:
        self.world = world
        self.project = Project.model_validate(tomllib.loads(project_file(world)))
        self.project._root = root
        self.folder = Folder(root)
        self.data = data_of(world.shape)
        self.split = self.data.split
        self.folder.write("split", self.split.to_dict())
        self.task = self.data.task
        self.models = Models(self.project)  # type: ignore[assignment]
        self.pool = ShotPool(self.split.shots)
        self.library = None
        self.answers = Answers(world)
        self.answers.classical_models = self.pool if fit_classical_models else None
        self.runner: Asked = Asked(self.answers, self.pool)
        identity: Any = SimpleNamespace(identity=lambda model: {"provider": "scripted", "name": model})
        self.asker = identity

    @cached_property
    def graders(self) -> dict[str, Grader]:
        """The one grader of a world."""
        if self.world.sensitivity:
            return {"judge": Judge(self.world, self.split.test)}
        rule: Any = SimpleNamespace(identity={"type": "exact"})
        return {"exact": rule}

    @cached_property
    def judging(self) -> Judging | None:
        """As in a project, with all verdicts of people on the first cases of the draw."""
        if not self.world.sensitivity:
            return None
        found = Judging(self.project, self.split, self.primary)  # type: ignore[arg-type]
        found._verdicts = {row["case"]: float(row["label"]) for row in verdicts(self)}
        return found

    async def score(
        self, traces: Sequence[Trace], cases: Sequence[Case], *, grader: Grader | None = None
    ) -> tuple[np.ndarray, np.ndarray, list[Score]]:
        """Score traces of `cases` (one a case, or all repeats of a case together)."""
        by_id = {case.id: case for case in cases}
        judge = self.primary if self.world.sensitivity else None
        good = [
            judge.says(by_id[trace.case_id], trace.text)
            if isinstance(judge, Judge)
            else trace.text == by_id[trace.case_id].expected
            for trace in traces
        ]
        num = np.array(good, dtype=float).reshape(len(cases), -1).mean(axis=1)
        return num, np.ones(len(cases)), [RIGHT if one else WRONG for one in good]


def verdicts(session: SimulationSession) -> Iterator[dict[str, Any]]:
    """Yield people's verdicts on every answer to the first cases of the draw: people see what is true."""
    judging = Judging(session.project, session.split, session.primary)  # type: ignore[arg-type]
    for case in judging._order(session.split.test)[: session.world.n_human]:
        for answer in LABELS:
            item = judging.item(case, answer)
            yield {"case": item.id, "labeller": "ada", "label": answer == case.expected, "time": "t"}


def probe(session: SimulationSession, variant: Variant) -> ErrorAnalysis:
    """Return what the probes find of the failed dev cases of `variant`."""
    answers, world = session.answers, session.world
    dev = sorted(session.split.dev, key=lambda case: case.id)
    texts = answers.texts(variant, dev)
    failed = [case for case, text in zip(dev, texts, strict=True) if text != case.expected]
    chosen = np.random.default_rng([world.seed, 3]).permutation(len(failed))[:MOST_CASES]
    classes: dict[str, Any] = {}
    for case in (failed[int(i)] for i in chosen):
        place = answers.places[case.id]
        classes[case.id] = world.class_of(place, label_wrong=bool(answers.right(variant)[place]))
    return ErrorAnalysis(
        of=fingerprint(session, variant),
        variant_name=variant.name,
        n_dev=len(dev),
        n_failed=len(failed),
        n_probed=len(classes),
        rows=rows_of(classes, PROBES),
        classes=classes,
    )


@dataclass(frozen=True, slots=True)
class Walked:
    """What the product made of a world.

    Attributes:
        record: Of the run. evidence, verdict: with the probes made.
    """

    world: Simulation
    record: RunRecord
    evidence: Evidence
    verdict: Verdict

    @property
    def falsely_better(self) -> list[str]:
        """The rungs that were adopted as better than what was compared, and truly are not."""
        made = self.record.variants
        better = [one for one in self.record.rungs if (one.status, one.reason_code) == ("adopted", "better")]
        pairs = [(one.rung, made[str(one.compared_to)], made[str(one.variant)]) for one in better]
        score = self.world.score
        return [rung for rung, old, new in pairs if score(*key_of(new)) <= score(*key_of(old))]


@contextmanager
def opened(world: Simulation, *, fit_classical_models: bool = False) -> Iterator[SimulationSession]:
    """Open a simulation in a folder that is removed afterwards; classical baselines are drawn, or really fitted."""
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="world-", dir=memory if memory.is_dir() else None))
    try:
        yield SimulationSession(world, root, fit_classical_models=fit_classical_models)
    finally:
        shutil.rmtree(root)


def walk(world: Simulation) -> Walked:
    """Let the product run, probe and decide."""
    with opened(world) as session:
        return walk_session(session)


def walk_session(session: SimulationSession) -> Walked:
    """Let the product run, probe and decide in an opened world."""
    record = asyncio.run(LadderRun(session).run(session.project.ladder.rungs))
    write_record(session.folder, record)
    variant = best_language_model(record)
    if variant is not None:
        session.folder.write(FILE, probe(session, variant).to_dict())
    evidence = gather(session)
    return Walked(session.world, record, evidence, decide(evidence))
