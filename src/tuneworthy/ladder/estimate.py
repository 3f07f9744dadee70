"""Estimate of a run: calls, dollars and minutes, from the rungs' candidates. No model is called.

Each rung is taken to propose on today's variant, and on the variant of the rungs before if all adopt,
with equal chances. Of a rung's candidates the median by cost wins. Races follow their schedule,
and answers are about as long as the expected answers. Lengths and times are those of the last run for the models that
it measured. The expected value is one figure; its range covers the races, and assumptions on models that no run has
measured.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from math import ceil, sqrt
from typing import Any, Self

from tuneworthy.cases.task_kind import answer_text
from tuneworthy.config.graders import Judge
from tuneworthy.config.project import Project
from tuneworthy.errors import ModelError, UserError
from tuneworthy.evaluate.latency import MORE_CASES, N_CASES
from tuneworthy.evaluate.models import Models, OpenModel
from tuneworthy.ladder import messages
from tuneworthy.ladder.classical_models import IN_PROCESS
from tuneworthy.ladder.measurement import repeats_of
from tuneworthy.ladder.record import read_record
from tuneworthy.ladder.rung import RUNGS, Proposal, View
from tuneworthy.ladder.rungs.model import TEACHER, teachers
from tuneworthy.ladder.task_data import TaskData
from tuneworthy.ladder.tuned_models import config_of
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.prompts.templates import chat
from tuneworthy.prompts.transforms import COT_TOKENS
from tuneworthy.providers.capabilities import capabilities_for
from tuneworthy.providers.http_client import blocking
from tuneworthy.providers.models import find
from tuneworthy.providers.prices import price_for
from tuneworthy.retrieval.library import open_library
from tuneworthy.retrieval.oracle import ROOM
from tuneworthy.search.ablate import BYTES_A_TOKEN
from tuneworthy.search.racing import LOOKS, schedule
from tuneworthy.store import Folder
from tuneworthy.types import Case, Request, Response, Variant

SAMPLED_CASES = 50
# Tokens a second that the embedded 98 MB model reads, and writes to one request, on two idle cores; a larger model in
# proportion. Many requests together are written as fast as they are read. Source: docs/limits.md, benchmarks/.
LOCAL_READ = 240.0
LOCAL_WRITE = 130.0
LOCAL_BYTES = 98_000_000
# Seconds before the first token, and tokens a second, of a server that was not measured yet.
NETWORK_S = 0.5
NETWORK_RATE = 60.0
FEWEST_IN_FLIGHT = 8
# Tokens of an answer per expected token, additional tokens, and tokens of thinking.
LONGER, AROUND, THINKING = 1.5, 4.0, 300.0
# Of the tokens of all labels, those that a ranking reads: what labels share at their beginning is read once.
RANKED_SHARE = 0.75
# The ends of a range are at most so many times below and above the expected value; of measured models, the tokens
# and seconds of a call are known better.
SPREAD, MEASURED_SPREAD = 1.9, 1.2
# Answers that a judge is tested with, at most, for each dev case.
CANARIES = 8
# Stands for the answer and the form that a judge gets: about 50 tokens.
JUDGE_FORM = 200 * " "


@dataclass(frozen=True, slots=True)
class Amount:
    """An expected value with its range."""

    expected: float
    low: float
    high: float

    @property
    def span(self) -> tuple[float, float]:
        """Only the range."""
        return self.low, self.high

    @classmethod
    def within(cls, expected: float, low: float, high: float) -> Self:
        """Return an amount whose range is a factor of `SPREAD` to both sides at most."""
        return cls(expected, max(low, expected / SPREAD), min(high, expected * SPREAD))

    @classmethod
    def total(cls, figures: Iterable[Self]) -> Self:
        """Return the sum."""
        rows = [(one.expected, one.low, one.high) for one in figures]
        return cls(*map(sum, zip(*rows, strict=True))) if rows else cls(0, 0, 0)

    def times(self, each: float, spread: float) -> Self:
        """Return the total of so many calls that take `each`, or up to `spread` times as much or as little."""
        return self.within(self.expected * each, self.low * each / spread, self.high * each * spread)


@dataclass(frozen=True, slots=True)
class Work:
    """Calls that are alike: how many are expected, and the seconds that they take in all."""

    calls: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RungEstimate:
    """What one rung takes.

    Attributes:
        candidates: That are raced.
        calls: In all.
        together: Those with others in flight.
        alone: Timed calls, one at a time.
    """

    candidates: int
    calls: Amount
    together: Work
    alone: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEstimate:
    """What one model, or one server of a search, takes."""

    calls: Amount
    usd: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Estimate of a run without stored answers.

    Attributes:
        calls: In all.
        usd: In all.
        minutes: In all.
        rungs: By name.
        models: By name, servers of the search included.
        assumptions: Of the numbers, in sentences.
    """

    calls: Amount
    usd: Amount
    minutes: Amount
    rungs: Mapping[str, RungEstimate] = field(default_factory=dict)
    models: Mapping[str, ModelEstimate] = field(default_factory=dict)
    assumptions: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return asdict(self)

    def __str__(self) -> str:
        return messages.run_estimate(*((one.expected, *one.span) for one in (self.calls, self.usd, self.minutes)))


@dataclass(frozen=True, slots=True)
class _Load:
    """Calls of one variant.

    Attributes:
        calls: Concurrent calls: minimum, expected value and maximum.
        alone: One at a time.
        chance: That the run makes them.
    """

    variant: Variant
    calls: tuple[float, float, float]
    alone: int = 0
    chance: float = 1.0

    @property
    def figure(self) -> Amount:
        """All of its calls."""
        least, expected, most = (self.chance * (n + self.alone) for n in self.calls)
        return Amount.within(expected, least, most)


class _Described:
    """Stands for a model that cannot be opened (no key, no file): it is described, and never called."""

    def __init__(self, config: Any) -> None:
        self.identity: Mapping[str, Any] = {"provider": config.provider, "model": getattr(config, "model", "")}
        self.capabilities = capabilities_for(config)
        self.supports = self.capabilities.supports

    async def complete(self, request: Request) -> Response:
        raise NotImplementedError

    async def close(self) -> None: ...


def estimate_run(project: Project, data: TaskData, opened: Mapping[str, OpenModel]) -> Estimate | None:
    """Estimate a run; None where the prompt is so wrong that nothing can be proposed.

    Args:
        project: Its configuration.
        data: Its data, split.
        opened: Those of its models that could be opened.
    """
    models = Models(project)
    for name, config in project.models.items():
        price = price_for(config)
        described = OpenModel(
            name=name,
            provider=_Described(config),
            price=None if price is None or price.free else price,
            hosted=config.hosted,
            concurrency=config.concurrency,
            timeout_s=config.timeout_s,
            retries=config.retries,
        )
        models.add(opened.get(name, described))
    try:
        return _Estimating(project, data, models).run()
    except UserError:
        return None  # the check that finds the reason reports it


@dataclass(frozen=True, slots=True)
class _Observed:
    """Measurements of a model in the last run: mean tokens of an answer of `variant`, and seconds of a single call."""

    variant: Variant
    output_tokens: float
    seconds: float


class _Estimating:
    """One estimate."""

    def __init__(self, project: Project, data: TaskData, models: Models) -> None:
        self.project, self.task, self.models, self.split = project, data.task, models, data.split
        self.library = open_library(project)
        self.pool = ShotPool(self.split.pool)
        self.observed = observed(project)
        n_cases = len(self.split.dev) + len(self.split.test)
        self.n_timed = min(N_CASES + 1, n_cases)
        limit = project.constraints.p95_ms
        self.n_timed_again = min(MORE_CASES[-1] + 1, n_cases) - self.n_timed if limit else 0
        sizes = [len(answer_text(c.expected).encode()) for c in self.split.test if c.expected is not None]
        self.answer = 2 + (sum(sizes) / len(sizes) if sizes else 40.0) / BYTES_A_TOKEN
        shots = [len((e.question + e.answer).encode()) for e in self.split.pool[:1000]]
        self.shot = 8 + (sum(shots) / len(shots) if shots else 0.0) / BYTES_A_TOKEN

    def run(self) -> Estimate:
        """Return the sums over all rungs."""
        rungs, loads = self._rungs()
        judges = self._judges(loads)
        by_model: dict[str, list[_Load]] = defaultdict(list)
        for load in (*loads, *judges):
            by_model[load.variant.model].append(load)
        used = {
            name: ModelEstimate(
                calls=Amount.total(load.figure for load in own), usd=Amount.total(self._usd(load) for load in own)
            )
            for name, own in by_model.items()
        }
        if self.library and "retrieval" in rungs:
            for name, use in self.library.use(len(self.split.dev), len(self.split.test), N_CASES + 1).items():
                spans = {key: Amount.within(sum(span) / 2, *span) for key, span in use.items()}  # one form or all
                used[name] = ModelEstimate(**spans)
        calls = Amount.total(one.calls for one in used.values())
        minutes = sum(load.chance * self._seconds(load) for load in (*loads, *judges)) / 60
        measured = all(name in self.observed for name in by_model)
        each = minutes / calls.expected if calls.expected else 0.0
        return Estimate(
            calls=calls,
            usd=Amount.total(one.usd for one in used.values()),
            minutes=calls.times(each, MEASURED_SPREAD if measured else SPREAD),
            rungs=rungs,
            models=used,
            assumptions=messages.estimate_assumptions(
                list(self.observed), [m.provider for m in self.project.models.values()]
            ),
        )

    def _rungs(self) -> tuple[dict[str, RungEstimate], list[_Load]]:
        """Return the estimates by rung, and all calls."""
        rungs: dict[str, RungEstimate] = {}
        loads: list[_Load] = []
        today: Variant | None = None
        adopted: Variant | None = None
        names = ["baseline", *(n for n in self.project.ladder.rungs if n not in {"classical", "baseline"})]
        if "model" in names:
            names.insert(names.index("model") + 1, TEACHER)
        for name in names:
            bases = {variant.id if variant else "": variant for variant in (today, adopted)}.values()
            options = [option for option in [self._rung(name, base) for base in bases] if option]
            if not options:
                continue
            own = [replace(load, chance=1 / len(options)) for option in options for load in option]
            rungs[name] = RungEstimate(
                candidates=max(len({load.variant.id for load in option if load.calls[1]}) for option in options),
                calls=Amount.total(load.figure for load in own),
                together=self._work(own, alone=False),
                alone=self._work(own, alone=True),
            )
            loads += own
            if name != TEACHER:  # nothing is built on the teacher
                today, adopted = today or own[0].variant, options[-1][0].variant
        return rungs, loads

    def _rung(self, name: str, best: Variant | None) -> list[_Load]:
        """Return the calls of a rung that proposes on `best`: race, test, timing, search and closer look."""
        split = self.split
        view = View(
            project=self.project,
            task=self.task,
            pool=self.pool,
            models=self.models,
            library=self.library,
            best=best,
            n_dev=len(split.dev),
            searched=split.explore,
        )
        if name == TEACHER:
            proposal = Proposal(candidates=teachers(view))
        else:
            proposal = blocking(RUNGS.get(name, self.project.root)().propose(view))
        raced = proposal.candidates if split.explore else proposal.candidates[:1]
        raced = [one for one in raced if not one.model.startswith(IN_PROCESS)]  # they cost nothing
        if not raced:
            return []
        winner = sorted(raced, key=self._weight)[len(raced) // 2]
        candidates = [winner, *(one for one in raced if one is not winner)]
        asked = [*candidates, *candidates[:1] * (proposal.more_candidates if split.explore else 0)]
        most, least = [0] * len(asked), 0
        if split.explore:
            rounds = schedule(len(asked), len(split.dev))
            for n, head in rounds:
                most[:n] = [head] * n
            least = rounds[0][1] if len(asked) == 1 else ceil(rounds[0][1] / LOOKS)
            most[0] = len(split.dev)  # whether the winner is ahead of the best so far is seen on all of dev
        test = len(split.test) * max(repeats_of(self.project, one) for one in candidates)
        # 1: is the model available?
        loads = [_Load(one, (least, n, n + 1)) for one, n in zip(asked, most, strict=True)]
        again = 2 * self.n_timed if name != "baseline" else 0  # if only speed would decide
        calls = (least + test, most[0] + test, most[0] + test + again + self.n_timed_again)
        loads[0] = _Load(candidates[0], calls, self.n_timed)
        if best is not None and split.explore:
            loads.append(_Load(best, (0, 0, len(split.dev))))
        return loads + [
            _Load(replace(candidates[0], model=model), (0, n, n)) for model, n in proposal.more_calls.items()
        ]

    def _judges(self, loads: Sequence[_Load]) -> list[_Load]:
        """Return the calls of judges: the primary grader judges every answer, the others at most as many."""
        calls = Amount.total(load.figure for load in loads)
        least, expected, most = calls.low, calls.expected, calls.high + CANARIES * len(self.split.dev)
        return [
            _Load(
                Variant(
                    name="judge",
                    model=grader.model,
                    model_identity={},
                    system=self.project.text(grader.rubric),
                    user=f"{JUDGE_FORM}{{{{ input }}}}",
                    max_tokens=grader.max_tokens,
                ),
                (0 if number else least, expected, most),
            )
            for number, grader in enumerate(self.project.graders)
            if isinstance(grader, Judge)
        ]

    def _weight(self, variant: Variant) -> float:
        """Return what orders variants: dollars, and seconds where nothing costs money."""
        load = _Load(variant, (1, 1, 1))
        return self._usd(load).expected + 1e-9 * self._seconds(load)

    def _work(self, loads: Sequence[_Load], *, alone: bool) -> Work:
        """Return the timed calls of `loads`, or the others."""
        part = [replace(load, calls=(0, 0, 0)) if alone else replace(load, alone=0) for load in loads]
        return Work(sum(load.figure.expected for load in part), sum(one.chance * self._seconds(one) for one in part))

    def _usd(self, load: _Load) -> Amount:
        price = self.models[load.variant.model].price
        each = price.cost(round(self._read(load.variant)), round(self._written(load.variant))) if price else 0.0
        return load.figure.times(each, MEASURED_SPREAD if load.variant.model in self.observed else SPREAD)

    def _seconds(self, load: _Load) -> float:
        """Return the seconds of all calls of a load, as if the run made them."""
        config, variant = config_of(self.project, load.variant.model), load.variant
        alone = together = self._alone(variant)
        if config.local_file is not None:
            together -= self._written(variant) * (1 / LOCAL_WRITE - 1 / LOCAL_READ) / self._speed(config.local_file)
        else:
            together /= sqrt(config.concurrency * min(config.concurrency, FEWEST_IN_FLIGHT))
        if known := self.observed.get(variant.model):
            factor = known.seconds / max(self._alone(known.variant), 1e-9)
            alone, together = alone * factor, together * factor
        return load.calls[1] * together + load.alone * alone

    def _alone(self, variant: Variant) -> float:
        """Return the seconds of a single call, as assumed before any was measured."""
        config, written = config_of(self.project, variant.model), self._written(variant)
        if config.local_file is not None:
            fixed = len((variant.system or "").encode()) / BYTES_A_TOKEN  # the start that prompts share is read once
            if variant.shots and variant.shots.mode == "fixed":
                fixed += variant.shots.k * self.shot
            read = max(1.0, self._read(variant) - fixed)
            return (read / LOCAL_READ + written / LOCAL_WRITE) / self._speed(config.local_file)
        known = config.assumed_seconds
        return NETWORK_S + written / NETWORK_RATE if known is None else known

    def _speed(self, spec: str) -> float:
        """Return how fast a local model is, where the embedded one is 1."""
        size = LOCAL_BYTES
        with suppress(ModelError, OSError):
            if path := find(spec, self.project.root):
                size = path.stat().st_size
        return LOCAL_BYTES / max(size, LOCAL_BYTES / 4)

    def _read(self, variant: Variant) -> float:
        mean, _ = prompt_tokens(variant, (self.split.dev or self.split.test)[:SAMPLED_CASES])
        return mean + passage_tokens(variant) + (variant.shots.k * self.shot if variant.shots else 0.0)

    def _written(self, variant: Variant) -> float:
        """Return the tokens of an answer, as observed where that is known; of a ranking, those of all labels."""
        if variant.output.kind == "ranked":
            tokens = sum(1 + len(label.encode()) / BYTES_A_TOKEN for label in variant.output.choices)
            return tokens * RANKED_SHARE
        known, effort = self.observed.get(variant.model), variant.decoding.get("effort")
        if known and not variant.answer_after and not effort:
            return known.output_tokens
        answer = LONGER * self.answer + AROUND + (COT_TOKENS if variant.answer_after else 0)
        capabilities = getattr(self.models[variant.model].provider, "capabilities", None)
        if capabilities and (effort or capabilities.thinks in {"by_default", "always"}):
            answer += THINKING
        return min(answer, float(variant.max_tokens))


def observed(project: Project) -> dict[str, _Observed]:
    """Return the measurements by model of the last run; answers after thinking aloud are longer and left out."""
    found: dict[str, _Observed] = {}
    with suppress(UserError):
        record = read_record(Folder(project.root))
        for row in record.rungs if record else ():
            variant = record.variant_of(row) if record else None
            if (
                variant
                and row.output_tokens is not None
                and row.latency_p50_ms is not None
                and not variant.answer_after
            ):
                found.setdefault(variant.model, _Observed(variant, row.output_tokens, row.latency_p50_ms / 1000))
    return {name: one for name, one in found.items() if name in project.models}


def prompt_tokens(variant: Variant, cases: Sequence[Case]) -> tuple[float, float]:
    """Return the mean and the largest number of tokens of a prompt without its shots and passages, estimated."""
    bare = replace(variant, shots=None, retrieval=None)
    sizes = []
    for case in cases:
        try:
            turns = chat(bare, case, ())
        except UserError:
            turns = ({"content": f"{variant.system or ''}{variant.user}{case.text}"},)
        sizes.append(sum(8 + len(str(turn.get("content") or "").encode()) / BYTES_A_TOKEN for turn in turns))
    return (sum(sizes) / len(sizes), max(sizes)) if sizes else (0.0, 0.0)


def passage_tokens(variant: Variant) -> int:
    """Return the tokens of the passages in a prompt, at most."""
    if variant.retrieval is None:
        return 0
    return ROOM if variant.retrieval.mode == "oracle" else variant.retrieval.k * variant.retrieval.chunk_tokens
