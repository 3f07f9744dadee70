"""Estimate of a run: calls, dollars and minutes, from the rungs' candidates. No model is called.

Each rung is taken to propose on today's variant, and on the variant of the rungs before if all adopt,
with equal chances. Of a rung's candidates the median by cost wins. Races follow their schedule,
and answers are about as long as the expected answers. Lengths and times are those of the last run for the models that
it measured.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import reduce
from math import ceil, sqrt
from types import SimpleNamespace
from typing import Any, cast

from tuneworthy.cases.task_kind import answer_text
from tuneworthy.config.graders import Judge
from tuneworthy.config.project import Project
from tuneworthy.engine.latency import N_CASES
from tuneworthy.engine.models import Models, OpenModel
from tuneworthy.engine.tool_child import MAX_RESULT
from tuneworthy.engine.toolbox import Toolbox
from tuneworthy.errors import ModelError, UserError
from tuneworthy.ladder import messages
from tuneworthy.ladder.measurement import repeats_of
from tuneworthy.ladder.own_models import IN_PROCESS, config_of
from tuneworthy.ladder.record import read_record
from tuneworthy.ladder.rung import RUNGS, Proposal, View
from tuneworthy.ladder.rungs.model import TEACHER, teachers
from tuneworthy.ladder.task_data import TaskData
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.prompts.templates import chat
from tuneworthy.prompts.transforms import COT_TOKENS
from tuneworthy.providers.base import Provider
from tuneworthy.providers.batches import VENDORS, BatchApi
from tuneworthy.providers.capabilities import capabilities_for
from tuneworthy.providers.http_client import blocking
from tuneworthy.providers.models import find
from tuneworthy.retrieval.library import open_library
from tuneworthy.retrieval.oracle import ROOM
from tuneworthy.search.racing import LOOKS, schedule
from tuneworthy.store import Folder
from tuneworthy.text import count, readable_minutes
from tuneworthy.types import Cases, Texts, Variant, frozen, text_of

SAMPLED_CASES = 50
BYTES_A_TOKEN = 4
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
# Tokens of a call of a tool, and of its result, at most.
A_CALL, A_RESULT = 40.0, MAX_RESULT / BYTES_A_TOKEN
# Of the tokens of all labels, those that a ranking reads: what labels share at their beginning is read once.
RANKED_SHARE = 0.75
# The cost of a run is at most about so many times its expected value.
SPREAD = 1.9
# Replaces the answer and the form that a judge gets: about 50 tokens.
JUDGE_FORM = 200 * " "


@dataclass(frozen=True, slots=True)
class Work:
    """Expected calls, with their US dollars and seconds."""

    calls: float = 0.0
    usd: float = 0.0
    seconds: float = 0.0

    def plus(self, other: "Work") -> "Work":
        return Work(self.calls + other.calls, self.usd + other.usd, self.seconds + other.seconds)


@frozen
class Estimate:
    """Expected values of a run without stored answers.

    Attributes:
        calls: In all.
        usd: In all.
        minutes: In all.
        rungs: By name.
        models: By name, servers of the search included.
        assumptions: Of the numbers, in sentences.
        batch_usd: In all, where calls that are not timed go through batches.
        batches: Rounds of such calls: each waits for a batch.
    """

    calls: float
    usd: float
    minutes: float
    rungs: Mapping[str, Work] = field(default_factory=dict)
    models: Mapping[str, Work] = field(default_factory=dict)
    assumptions: Texts = ()
    batch_usd: float = 0.0
    batches: int = 0

    def in_batches(self) -> str:
        """Return the price and the time of single calls and of batches, in words."""
        return (
            f"A run costs about ${self.usd:.2f} and takes about {readable_minutes(max(1.0, self.minutes))} with single "
            f"calls, or about ${self.batch_usd:.2f} in up to {count(self.batches, 'batch', 'batches')}, each of which "
            "takes up to 24 hours"
        )

    def __str__(self) -> str:
        dollars = f"costs about ${self.usd:.2f}" if self.usd else "costs nothing"
        minutes = f"about {count(round(self.minutes), 'minute')}" if self.minutes >= 0.5 else "less than a minute"
        calls = round(self.calls, -2 if self.calls > 1000 else -1)
        return f"A run makes about {calls:,.0f} calls, {dollars} and takes {minutes}"


def _described(config: Any) -> Provider:
    """Return what replaces a model that cannot be opened (no key, no file): it is described, and never called."""
    identity = {"provider": config.provider, "model": getattr(config, "model", "")}
    capabilities = capabilities_for(config)
    return cast(Provider, SimpleNamespace(identity=identity, capabilities=capabilities, supports=capabilities.supports))


def most_for(
    project: Project,
    data: TaskData,
    opened: Mapping[str, OpenModel],
    rungs: Texts = (),
    *,
    uncounted: Collection[str] = (),
    spread: float = SPREAD,
    best: Variant | None = None,
) -> Work:
    """Return the most that rungs take in addition to the baseline; without rungs, the most that the baseline takes.

    Args:
        project: Its configuration.
        data: Its data, split.
        opened: As in `estimate_run`.
        rungs: Some of the ladder, without the baseline.
        uncounted: As in `estimate_run`.
        spread: The most, as a multiple of the expectation; 1 for the expectation.
        best: As in `estimate_run`.
    """
    found = estimate_run(
        project.model_copy(update={"ladder": project.ladder.model_copy(update={"rungs": [*rungs]})}),
        data,
        opened,
        uncounted,
        best,
    )
    if found is None:
        return Work()
    start = most_for(project, data, opened, uncounted=uncounted, spread=spread) if rungs else Work()
    return Work(
        spread * found.calls - start.calls, spread * found.usd - start.usd, spread * 60 * found.minutes - start.seconds
    )


def estimate_run(
    project: Project,
    data: TaskData,
    opened: Mapping[str, OpenModel],
    uncounted: Collection[str] = (),
    best: Variant | None = None,
) -> Estimate | None:
    """Estimate a run; None where the prompt is so wrong that nothing can be proposed.

    Args:
        project: Its configuration.
        data: Its data, split.
        opened: Those of its models that could be opened.
        uncounted: Models that report no token counts. Answers of their providers count at their maximum cost.
        best: The variant that the rungs after the baseline build on, where a run has adopted one.
    """
    models = Models(project)
    for name, config in project.models.items():
        models.add(opened.get(name) or OpenModel.of(name, config, _described(config)))
    try:
        found = _Estimating(project, data, models, uncounted, best)
        return found.total(found.rungs())
    except UserError:
        return None  # the check that finds the reason reports it


def estimate_teacher(project: Project, data: TaskData, models: Models, variant: Variant, n: int) -> Estimate:
    """Estimate the answers of `[teacher]` to `n` questions, and their judge's if all references count as right."""
    settings = project.teacher
    assert settings is not None
    judged = project.model_copy(update={"graders": project.graders[: settings.references == "all"]})
    found, n_calls = _Estimating(judged, data, models, (), None), n * settings.samples
    rounds = found.steps(variant) * found._has_batches(variant.model)
    found.batches["teacher"] = rounds * ceil(n_calls / BatchApi.max_requests)
    return found.total({"teacher": found._work(variant, n_calls)})


class _Estimating:
    def __init__(
        self, project: Project, data: TaskData, models: Models, uncounted: Collection[str], best: Variant | None
    ) -> None:
        self.best = best
        self.project, self.task, self.models, self.split = project, data.task, models, data.split
        self.library, self.toolbox = open_library(project), Toolbox(project)
        self.pool, self.observed = ShotPool(self.split.pool), observed(project)
        self.silent = {model.provider for name, model in project.models.items() if name in uncounted}
        self.used: dict[str, Work] = {}
        self.batch_usd, self.batches = 0.0, dict[str, int]()
        sizes = [len(answer_text(c.expected).encode()) for c in self.split.test if c.expected is not None]
        self.answer = 2 + (sum(sizes) / len(sizes) if sizes else 40.0) / BYTES_A_TOKEN
        shots = [len((e.question + e.answer).encode()) for e in self.split.pool[:1000]]
        self.shot = 8 + (sum(shots) / len(shots) if shots else 0.0) / BYTES_A_TOKEN

    def total(self, rungs: Mapping[str, Work]) -> Estimate:
        """Return the estimate of the work of rungs, with that of judges and of the search."""
        answers = sum(work.calls for work in rungs.values())
        for grader in [one for one in self.project.graders if isinstance(one, Judge)]:
            self._work(
                Variant(
                    name="judge",
                    model=grader.model,
                    model_identity={},
                    system=self.project.text(grader.rubric),
                    user=f"{JUDGE_FORM}{{{{ input }}}}",
                    max_tokens=grader.max_tokens,
                ),
                answers,
            )
        minutes = sum(work.seconds for work in self.used.values()) / 60
        if self.library and "retrieval" in rungs:
            for name, use in self.library.use(len(self.split.dev), len(self.split.asked), N_CASES + 1).items():
                self.used[name] = Work(*use)
                self.batch_usd += self.used[name].usd
        return Estimate(
            calls=sum(work.calls for work in self.used.values()),
            usd=sum(work.usd for work in self.used.values()),
            minutes=minutes,
            rungs=rungs,
            models=self.used,
            batch_usd=self.batch_usd,
            batches=sum(self.batches.values()),
            assumptions=[
                *messages.estimate_assumptions(
                    list(self.observed), [model.provider for model in self.project.models.values()]
                ),
                *[f"A tool is called once per case, and its result has {MAX_RESULT:,} characters."]
                * ("tools" in rungs),
            ],
        )

    def rungs(self) -> dict[str, Work]:
        """Return the estimates by rung: of its proposals on today's variant, and on that of the rungs before."""
        rungs: dict[str, Work] = {}
        today: Variant | None = None
        adopted: Variant | None = None
        names = ["baseline", *(n for n in self.project.ladder.rungs if n not in {"classical", "baseline"})]
        if "model" in names:
            names.insert(names.index("model") + 1, TEACHER)
        for name in names:
            options = [
                option
                for option in [
                    self._rung(name, base)
                    for base in {variant.id if variant else "": variant for variant in (today, adopted)}.values()
                ]
                if option
            ]
            for option in options:
                works = [self._work(*load, chance=1 / len(options)) for load in option]
                rungs[name] = reduce(Work.plus, works, rungs.get(name, Work()))
            if options and name != TEACHER:  # nothing is built on the teacher
                today, adopted = today or options[0][0][0], options[-1][0][0]
            if name == "baseline" and self.best:
                today = adopted = self.best
        return rungs

    def _rung(self, name: str, best: Variant | None) -> list[tuple[Variant, float, int]]:
        """Return the variants that a rung on `best` calls, the winner first: calls together, and one at a time."""
        split = self.split
        view = View(
            project=self.project,
            task=self.task,
            pool=self.pool,
            models=self.models,
            library=self.library,
            toolbox=self.toolbox,
            best=best,
            n_dev=len(split.dev),
            searched=split.explore,
        )
        proposal = (
            Proposal(candidates=teachers(view))
            if name == TEACHER
            else blocking(RUNGS.get(name, self.project.root)().propose(view))
        )
        raced = proposal.candidates if split.explore else proposal.candidates[:1]
        raced = [one for one in raced if not one.model.startswith(IN_PROCESS)]  # they cost nothing
        if not raced:
            return []
        winner = sorted(raced, key=lambda one: self._usd(one) + 1e-9 * self._seconds(one, 1, 0))[len(raced) // 2]
        candidates = [winner, *(one for one in raced if one is not winner)]
        asked = [*candidates, *candidates[:1] * (proposal.more_candidates if split.explore else 0)]
        heads = [0] * len(asked)
        if any(self._has_batches(one.model) for one in asked):
            self.batches[name] = max(self._rounds_of(asked), self.batches.get(name, 0))
        if split.explore:
            for n, head in schedule(len(asked), len(split.dev)):
                heads[:n] = [head] * n
            heads[0] = len(split.dev)  # whether the winner is ahead of the best so far is seen on all of dev
        heads[0] += len(split.asked) * max(repeats_of(self.project, one) for one in candidates)
        alone, forms = min(N_CASES + 1, len(split.dev) + len(split.test)), self.project.forms
        return [
            (one, float(n), alone if not place or (self.project.constraints.p95_ms and one.model in forms) else 0)
            for place, (one, n) in enumerate(zip(asked, heads, strict=True))
        ] + [(replace(winner, model=model), float(n), 0) for model, n in proposal.more_calls.items()]

    def _rounds_of(self, asked: Sequence[Variant]) -> int:
        """Return the number of times that a rung waits for answers."""
        rounds = int(bool(self.split.asked))
        if self.split.explore:  # the winner of several answers the rest of dev
            rounds += LOOKS * len(schedule(len(asked), len(self.split.dev))) + (len(asked) > 1)
        return rounds * max(map(self.steps, asked))

    def steps(self, variant: Variant) -> int:
        """Return the number of batches, one after the other, until an answer is there and judged."""
        return 1 + _results(variant) + any(isinstance(grader, Judge) for grader in self.project.graders)

    def _work(self, variant: Variant, together: float, alone: int = 0, *, chance: float = 1.0) -> Work:
        steps = 1 + _results(variant)
        calls = steps * chance * (together + alone)
        factor = self.models[variant.model].batch_factor if self._has_batches(variant.model) else 1.0
        self.batch_usd += steps * chance * (factor * together + alone) * self._usd(variant)
        work = Work(calls, calls * self._usd(variant), steps * chance * self._seconds(variant, together, alone))
        self.used[variant.model] = self.used.get(variant.model, Work()).plus(work)
        return work

    def _has_batches(self, model: str) -> bool:
        is_fleet = len(config_of(self.project, model).addresses) > 1
        return self.models[model].provider.identity.get("provider") in VENDORS and not is_fleet

    def _usd(self, variant: Variant) -> float:
        price = self.models[variant.model].price
        if price and config_of(self.project, variant.model).provider in self.silent:
            return price.ceiling(round(BYTES_A_TOKEN * self._read(variant)), variant.max_tokens)
        return price.cost(self._read(variant), self._written(variant), self._cached(variant)) if price else 0.0

    def _cached(self, variant: Variant) -> float:
        """Return the tokens of all documents in the prompt, where the provider caches that many; the first call fills
        the cache."""
        found, capabilities = variant.retrieval, self.models[variant.model].capabilities
        least = capabilities.cache_min_tokens if capabilities else None
        tokens = found.k * found.chunk_tokens if found and variant.documents_first else 0
        return tokens if least is not None and tokens >= least else 0

    def _seconds(self, variant: Variant, n_together: float, n_alone: int) -> float:
        config = config_of(self.project, variant.model)
        alone = together = self._alone(variant)
        if config.local_file is not None:
            together -= self._written(variant) * (1 / LOCAL_WRITE - 1 / LOCAL_READ) / self._speed(config.local_file)
        else:
            together /= sqrt(config.calls_in_flight * min(config.calls_in_flight, FEWEST_IN_FLIGHT))
        measured, _, seconds = self.observed.get(variant.model, (None, 0.0, 0.0))
        factor = seconds / max(self._alone(measured), 1e-9) if measured else 1.0
        return factor * (n_together * together + n_alone * alone)

    def _alone(self, variant: Variant) -> float:
        config, written = config_of(self.project, variant.model), self._written(variant)
        if config.local_file is not None:
            fixed = len((variant.system or "").encode()) / BYTES_A_TOKEN  # the start that prompts share is read once
            if variant.shots and variant.shots.mode == "fixed":
                fixed += variant.shots.k * self.shot
            if variant.retrieval and variant.documents_first:
                fixed += variant.retrieval.k * variant.retrieval.chunk_tokens
            read = max(1.0, self._read(variant) - fixed)
            return (read / LOCAL_READ + written / LOCAL_WRITE) / self._speed(config.local_file)
        known = config.assumed_seconds
        return NETWORK_S + written / NETWORK_RATE if known is None else known

    def _speed(self, spec: str) -> float:
        size = LOCAL_BYTES
        with suppress(ModelError, OSError):
            if path := find(spec, self.project.root):
                size = path.stat().st_size
        return LOCAL_BYTES / max(size, LOCAL_BYTES / 4)

    def _read(self, variant: Variant) -> float:
        mean, _ = prompt_tokens(variant, (self.split.dev or self.split.test)[:SAMPLED_CASES])
        n, found = _results(variant), variant.retrieval
        passages = 0 if found is None else ROOM if found.mode == "oracle" else found.k * found.chunk_tokens
        return mean + passages + A_RESULT * n / (1 + n) + (variant.shots.k * self.shot if variant.shots else 0.0)

    def _written(self, variant: Variant) -> float:
        """Return the mean tokens of the answers of a case, as observed if known; of a ranking, those of all labels."""
        if variant.output.kind == "ranked":
            return sum(1 + len(label.encode()) / BYTES_A_TOKEN for label in variant.output.choices) * RANKED_SHARE
        found, effort = self.models[variant.model].capabilities, variant.decoding.get("effort")
        n, known = _results(variant), variant.model in self.observed and not variant.answer_after and not effort
        answer = LONGER * self.answer + AROUND + (COT_TOKENS if variant.answer_after else 0)
        mean = (A_CALL * bool(n) + max(1, n) * (self.observed[variant.model][1] if known else answer)) / (1 + n)
        return (
            mean
            if known
            else min(
                mean + (THINKING if found and (effort or found.thinks in {"by_default", "always"}) else 0.0),
                float(variant.max_tokens),
            )
        )


# Requests of a case with a result of a tool: the answer to it, repeated where it is constrained.
def _results(variant: Variant) -> int:
    return 1 + (variant.output.kind != "free") if variant.tools else 0


def observed(project: Project) -> dict[str, tuple[Variant, float, float]]:
    """Return by model, of the last run, a variant, its mean tokens of an answer, and its seconds of a single call."""
    record = None
    with suppress(UserError):
        record = read_record(Folder(project.root))
    rows = [(record.variant_of(row), row) for row in reversed(record.rungs)] if record else []
    return {
        variant.model: (variant, row.output_tokens, row.latency_p50_ms / 1000)
        for variant, row in rows
        if variant and variant.model in project.models and not (variant.answer_after or variant.tools)
        if row.output_tokens is not None and row.latency_p50_ms is not None
    }


def prompt_tokens(variant: Variant, cases: Cases) -> tuple[float, float]:
    """Return the mean and the largest number of tokens of a prompt without its shots and passages, estimated.

    Schemas of tools are part of each.
    """
    bare = replace(variant, shots=None, retrieval=None)
    sizes, offered = [], sum(len(str(one).encode()) for one in variant.tools.schemas) if variant.tools else 0
    for case in cases:
        try:
            turns = chat(bare, case, ())
        except UserError:
            turns = ({"content": f"{variant.system or ''}{variant.user}{case.text}"},)
        sizes.append(sum((len(text_of(turn).encode()) for turn in turns), offered) / BYTES_A_TOKEN + 8 * len(turns))
    return (sum(sizes) / len(sizes), max(sizes)) if sizes else (0.0, 0.0)
