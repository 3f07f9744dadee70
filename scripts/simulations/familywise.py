"""How often a ladder adopts what is not better, and how often it finds what is: whole ladders whose truth is known.

`python -m scripts.simulations.familywise --seed 7` prints both. The ladder, the race on dev, the planned comparisons,
the tests and the adoption rule are the package's own; only right and wrong answers are drawn. A ladder has five rungs
of four candidates, each built on the best so far, and a classical baseline that is compared with the best at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
from scipy.special import ndtr

from tuneworthy.cases.splits import Split
from tuneworthy.cases.task_kind import Kind
from tuneworthy.config.project import Project
from tuneworthy.engine.budget import Budget
from tuneworthy.engine.runner import Runner
from tuneworthy.ladder import run as ladder_run
from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.rung import Proposal, Rung, View
from tuneworthy.ladder.session import Session
from tuneworthy.ladder.task_info import TaskInfo
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.stats.intervals import lower_bound, upper_bound
from tuneworthy.store import Folder
from tuneworthy.types import Case, Example, Response, Score, Timing, Trace, Variant, content_hash

RUNGS = ("prompt", "retrieval", "model", "few_shot", "decoding")
CANDIDATES = 4
MARGIN = 0.05
SCORES = {"right": Score(num=1.0), "wrong": Score(reason="wrong")}
PROJECT = f"""
[task]
name = "ladder"
margin = {MARGIN}
[examples]
[[graders]]
type = "exact"
[models.small]
provider = "scripted"
function = "answers.py:small"
input_usd_per_mtok = 0.0
output_usd_per_mtok = 1.0
[models.large]
provider = "scripted"
function = "answers.py:large"
input_usd_per_mtok = 0.0
output_usd_per_mtok = 1.0
[ladder]
baseline = "small"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is true of one ladder.

    Attributes:
        seed: Of the answers.
        base: True score of today's variant.
        shared: Share of a case's difficulty that all variants share.
        effects: What a candidate adds to the true score of what it is built on, by (rung, candidate); 0 if not there.
        costs: What it multiplies the cost of an answer by; 1 if not there.
        classical: What the classical baseline scores more than today's variant; None without examples.
        n_test: Test cases.
        n_dev: Dev cases.
        trained: Whether the ladder has the rung `fine_tune`, with nothing trained yet.
    """

    seed: int
    base: float = 0.6
    shared: float = 0.6
    effects: Mapping[tuple[str, int], float] = field(default_factory=dict)
    costs: Mapping[tuple[str, int], float] = field(default_factory=dict)
    classical: float | None = 0.0
    n_test: int = 200
    n_dev: int = 80
    trained: bool = True

    def score(self, variant: Variant) -> float:
        """Return the true score of a variant."""
        if variant.model == CLASSICAL.model:
            return self.base + (self.classical or 0.0)
        return min(1.0, max(0.0, self.base + sum(self.effects.get(part, 0.0) for part in parts_of(variant))))

    def usd(self, variant: Variant) -> float:
        """Return the cost of an answer."""
        if variant.model == CLASSICAL.model:
            return 0.01
        return 0.01 * float(np.prod([self.costs.get(part, 1.0) for part in parts_of(variant)]))

    def right(self, variant: Variant) -> np.ndarray:
        """Say of each case, those of dev first, whether a variant answers it rightly."""
        n = self.n_dev + self.n_test
        difficulty = np.random.default_rng([self.seed, 0]).normal(size=n)
        own = np.random.default_rng([self.seed, 1, *map(ord, variant.model + (variant.system or ""))]).normal(size=n)
        return ndtr(np.sqrt(self.shared) * difficulty + np.sqrt(1 - self.shared) * own) < self.score(variant)


CLASSICAL = Variant(
    name="classical/linear", model="classical/linear", model_identity={}, system=None, user="{{ input }}"
)
TODAY = Variant(name="baseline/small", model="small", model_identity={}, system="", user="{{ input }}")


def parts_of(variant: Variant) -> list[tuple[str, int]]:
    """Return what a variant adds to today's, as (rung, candidate)."""
    pairs = (part.split() for part in (variant.system or "").splitlines())
    return [(name, int(number)) for name, number in pairs]


class SimulatedRung(Rung):
    """A rung that proposes four candidates on the best so far."""

    def __init__(self, name: str, truth: Truth) -> None:
        self.name, self.truth = name, truth

    async def propose(self, view: View) -> Proposal:
        """Return the candidates; `fine_tune` has none before something is trained."""
        if self.name == "baseline":
            return Proposal(candidates=[TODAY])
        if self.name == "classical":
            return Proposal(candidates=[CLASSICAL])
        if self.name == "fine_tune":
            return Proposal(skipped="nothing is trained", skip_code="no_tuned_model")
        lines = [*(view.incumbent.system or "").splitlines()]
        return Proposal(
            candidates=[
                replace(
                    view.incumbent, name=f"{self.name}/{number}", system="\n".join([*lines, f"{self.name} {number}"])
                )
                for number in range(CANDIDATES)
            ]
        )


class Answers(Runner):
    """Stands where the runner stands: answers are drawn."""

    def __init__(self, truth: Truth, places: Mapping[str, int], pool: ShotPool) -> None:
        nowhere: Any = None
        super().__init__(nowhere, Budget(None), pool)
        self.truth, self.places = truth, places
        self.right: dict[str, np.ndarray] = {}
        self.given: set[tuple[str, str]] = set()

    async def run(
        self,
        variant: Variant,
        model: Any,
        cases: Sequence[Case],
        *,
        repeats: Iterable[int] = (0,),
        logprobs: int | None = None,
        concurrency: int | None = None,
        timing: Timing | None = None,
    ) -> list[Trace]:
        """Return the traces of `cases` (see `Runner.run`)."""
        identity, usd = variant.id, self.truth.usd(variant)
        if identity not in self.right:
            self.right[identity] = self.truth.right(variant)
        right = self.right[identity]
        self.given |= {(identity, case.id) for case in cases}
        return [
            Trace(
                case_id=case.id,
                variant_id=identity,
                repeat=0,
                messages=(),
                response=replace(ANSWERS[bool(right[self.places[case.id]])], output_tokens=round(1e6 * usd)),
                cost_usd=usd,
            )
            for case in cases
        ]

    def stored(
        self, variant: Variant, cases: Sequence[Case], *, repeats: Iterable[int] = (0,), logprobs: int | None = None
    ) -> list[Trace]:
        """Return nothing: no answer is stored."""
        return []


ANSWERS = {
    value: Response(text=text, seconds=0.1, input_tokens=1) for value, text in ((True, "right"), (False, "wrong"))
}


class SimulatedSession(Session):
    """An opened project whose answers are drawn."""

    def __init__(self, truth: Truth, root: Path) -> None:
        (root / "documents").mkdir(parents=True, exist_ok=True)
        self.truth = truth
        self.project = _project(truth)
        self.project._root = root
        self.folder = Folder(root)
        self.split = _split(truth.n_test, truth.n_dev)
        self.task = TaskInfo(kind="short_answer")
        contamination = SimpleNamespace(counts={}, alike=frozenset())
        self.data: Any = SimpleNamespace(notes=[], cases=(), dataset=SimpleNamespace(contamination=contamination))
        self.pool = ShotPool(self.split.shots)
        self.library = self.toolbox = None
        model = SimpleNamespace(provider=SimpleNamespace(identity={}), hosted=False, name="small")
        self.models: Any = dict.fromkeys(("small", "large", CLASSICAL.model), model)
        self.runner: Any = Answers(truth, _places(truth.n_test, truth.n_dev), self.pool)
        if not (self.folder.path / "split.json").exists():
            self.folder.write("split", replace(self.split.stored(), dev=[], test=[]))  # long, and not read

    @property
    def graders(self) -> Any:
        """The one grader."""
        return {"exact": SimpleNamespace(identity={"type": "exact"})}

    @property
    def judging(self) -> None:
        """No judge grades."""

    async def ask(
        self, variant: Variant, cases: Sequence[Case], *, repeats: int = 1, logprobs: int | None = None
    ) -> list[Trace]:
        """Return the traces of `cases`."""
        found: list[Trace] = await self.runner.run(variant, None, cases)
        return found

    async def score(
        self, traces: Sequence[Trace], cases: Sequence[Case], *, grader: Any = None
    ) -> tuple[np.ndarray, np.ndarray, list[Score]]:
        """Score traces of `cases`, one a case."""
        scores = [SCORES[trace.text] for trace in traces]
        return np.array([score.num for score in scores]), np.ones(len(cases)), scores


@cache
def _id(model: str, system: str) -> str:
    return content_hash([model, system])  # all in which variants differ here


def _project(truth: Truth) -> Project:
    names = [*(["classical"] if truth.classical is not None else []), "baseline", *RUNGS]
    names += ["fine_tune"] if truth.trained else []
    return Project.model_validate(tomllib.loads(PROJECT + f"rungs = {names}\n"))


@cache
def _split(n_test: int, n_dev: int) -> Split:
    def cases(side: str, n: int) -> tuple[Case, ...]:
        return tuple(Case(id=f"{side}{i:04}", input=f"{side} {i}", expected="right") for i in range(n))

    return Split(
        dev=cases("dev", n_dev),
        test=cases("test", n_test),
        shots=(
            Example(messages=({"role": "user", "content": "a"}, {"role": "assistant", "content": "right"}), id="a"),
        ),
        origin="examples",
        seed=7,
        dev_size=n_dev,
        kind=Kind("short_answer", ""),
    )


@cache
def _places(n_test: int, n_dev: int) -> dict[str, int]:
    split = _split(n_test, n_dev)
    return {case.id: place for place, case in enumerate((*split.dev, *split.test))}


@dataclass(frozen=True, slots=True)
class Ladder:
    """What became of one ladder.

    Attributes:
        better: Rungs that were adopted as better and truly are not (of the classical baseline: shown to be better).
        no_worse: Rungs that were adopted as cheaper and non-inferior, and truly are worse by the margin or more than
            the highest-scoring variant that had been adopted.
        shown: Rungs that were adopted as better and truly are.
    """

    better: Sequence[str]
    no_worse: Sequence[str]
    shown: Sequence[str]


def run(truth: Truth, root: Path, rungs: Sequence[str] = ()) -> RunRecord:
    """Let the package run the rungs of a ladder, all if none is named, in a folder."""
    session = SimulatedSession(truth, root)
    registry = SimpleNamespace(get=lambda name, _: partial(SimulatedRung, name, truth))
    described = patch.object(ladder_run, "differences_on_test", lambda *_: [])  # decides nothing here, and takes long
    named = patch.object(Variant, "id", property(lambda variant: _id(variant.model, variant.system or "")))
    estimated = patch.object(ladder_run, "estimate_run", lambda *_: None)  # of time, which nobody waits for
    calibrated = patch.object(ladder_run.LadderRun, "_calibrated", lambda _, rows, *__: rows)  # no answer is stored
    with patch.object(ladder_run, "RUNGS", registry), described, named, estimated, calibrated:
        return asyncio.run(ladder_run.LadderRun(session).run(rungs or session.project.ladder.rungs))


def walk(truth: Truth) -> Ladder:
    """Let the package run a ladder in a folder that is removed afterwards."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="ladder-", dir=memory if memory.is_dir() else None) as root:
        return judged(truth, run(truth, Path(root)))


def judged(truth: Truth, record: RunRecord) -> Ladder:
    """Compare what a run says with what is true."""
    better, no_worse, shown = [], [], []
    highest = record.rung("baseline")
    for row in sorted(record.rungs, key=lambda row: row.rung == "classical"):
        new = record.variant_of(row)
        if row.rung == "baseline" or new is None or row.compared_to is None or highest is None:
            continue
        adopted = row.status == "adopted" or row.rung == "classical"
        if adopted and row.reason_code == "better":
            found = truth.score(new) > truth.score(record.variants[row.compared_to]) + 1e-9
            (shown if found else better).append(row.rung)
        top = record.variant_of(highest)
        if adopted and row.reason_code == "cheaper" and top and truth.score(new) <= truth.score(top) - MARGIN + 1e-9:
            no_worse.append(row.rung)
        if adopted and row.rung != "classical" and (row.score or 0.0) > (highest.score or 0.0):
            highest = row
    return Ladder(better, no_worse, shown)


Draw = Callable[[np.random.Generator, int], Truth]


def _shape(rng: np.random.Generator) -> dict[str, float]:
    return {"base": float(rng.uniform(0.5, 0.8)), "shared": float(rng.uniform(0.4, 0.8))}


def nothing_helps(rng: np.random.Generator, seed: int) -> Truth:
    """No candidate is better or worse than today's variant, the classical baseline neither."""
    return Truth(seed=seed, **_shape(rng))


def nothing_helps_small_dev(rng: np.random.Generator, seed: int) -> Truth:
    """The same with 30 dev cases: each rung compares a preregistered candidate."""
    return Truth(seed=seed, n_dev=30, **_shape(rng))


def first_helps(rng: np.random.Generator, seed: int) -> Truth:
    """All candidates of the first rung add 15 points, so that its alpha passes on; nothing else helps."""
    effects = {("prompt", number): 0.15 for number in range(CANDIDATES)}
    return Truth(seed=seed, effects=effects, classical=0.15, **_shape(rng))


def some_help(rng: np.random.Generator, seed: int) -> Truth:
    """In half of the rungs one candidate adds 4 to 12 points; the others add nothing or take 5."""
    effects = {(name, number): float(rng.choice([0.0, 0.0, -0.05])) for name in RUNGS for number in range(CANDIDATES)}
    effects |= {
        (name, int(rng.integers(CANDIDATES))): float(rng.uniform(0.04, 0.12)) for name in RUNGS if rng.random() < 0.5
    }
    return Truth(seed=seed, effects=effects, **_shape(rng))


def cheaper_ones(rng: np.random.Generator, seed: int) -> Truth:
    """Half of the candidates cost half as much; they change nothing, or are worse by exactly the margin."""
    parts = [(name, number) for name in RUNGS for number in range(CANDIDATES)]
    cheap = [part for part in parts if rng.random() < 0.5]
    effects = {part: -MARGIN for part in cheap if rng.random() < 0.5}
    return Truth(seed=seed, effects=effects, costs=dict.fromkeys(cheap, 0.5), **_shape(rng))


def eight_points(rng: np.random.Generator, seed: int, *, whole: bool = False) -> Truth:
    """One candidate of one rung adds 8 points, and nothing else anything: five comparisons are planned.

    Today's variant scores 70 %, and the gain makes 5 % of the cases worse (as `check` assumes) and 13 % better.
    """
    part = (str(rng.choice(RUNGS)), int(rng.integers(CANDIDATES)))
    more: dict[str, Any] = {} if whole else {"classical": None, "trained": False}
    return Truth(seed=seed, effects={part: 0.08}, base=0.7, shared=0.79, **more)


def eight_points_of_seven(rng: np.random.Generator, seed: int) -> Truth:
    """The same where the classical baseline and `fine_tune` have their part of alpha as well."""
    return eight_points(rng, seed, whole=True)


ERRORS: Sequence[Draw] = (nothing_helps, nothing_helps_small_dev, first_helps, some_help, cheaper_ones)


def eight_points_anywhere(rng: np.random.Generator, seed: int) -> Truth:
    """The same where today's variant scores 50 to 80 %, and the gain makes 5 to 13 % of the cases worse."""
    return replace(eight_points(rng, seed), **_shape(rng))


POWER: Sequence[Draw] = (eight_points, eight_points_of_seven, eight_points_anywhere)


def drawn(draw: Draw, seed: int, number: int) -> Ladder:
    """Draw and run ladder `number`."""
    kind = [*ERRORS, *POWER].index(draw)
    own = int(np.random.default_rng([seed, kind, number]).integers(2**31))
    return walk(draw(np.random.default_rng([seed, kind, number, 1]), own))


def ladders(draw: Draw, seed: int, n: int, jobs: int = 1) -> list[Ladder]:
    """Run `n` ladders."""
    job = partial(drawn, draw, seed)
    if jobs == 1:
        return [job(number) for number in range(n)]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(job, range(n), chunksize=10))


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--ladders", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[draw.__name__ for draw in (*ERRORS, *POWER)])
    settings = parser.parse_args()
    for draw in (*ERRORS, *POWER):
        if draw.__name__ not in settings.only:
            continue
        found = ladders(draw, settings.seed, settings.ladders, settings.jobs)
        n, false, creep = len(found), sum(bool(one.better) for one in found), sum(bool(one.no_worse) for one in found)
        true = sum(bool(one.shown) for one in found)
        print(
            f"{draw.__name__}: {n} ladders; falsely better {false / n:.3f} (95% bound {upper_bound(false, n):.3f}); "
            f"falsely no worse {creep / n:.3f} (bound {upper_bound(creep, n):.3f}); "
            f"truly better {true / n:.3f} (lower bound {lower_bound(true, n):.3f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
