"""What a run takes at most: calls, dollars and minutes, from what the rungs propose. No model is called.

Each rung is taken to propose on today's variant and on the dearest one that the rungs before it could have adopted;
the larger of the two counts. The lower ends assume that races end at their first look and that answers are as short as
the expected ones. Lengths and times are those of the last run for the models that it measured.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from typing import Any
from urllib.parse import urlsplit

from tuneworthy.cases.task_kind import answer_text
from tuneworthy.config.project import Project
from tuneworthy.errors import ModelError, UserError
from tuneworthy.evaluate.latency import MORE_CASES, N_CASES
from tuneworthy.evaluate.models import Models, OpenModel
from tuneworthy.ladder import messages
from tuneworthy.ladder.measurement import repeats_of
from tuneworthy.ladder.record import read_record
from tuneworthy.ladder.rung import RUNGS, Proposal, View
from tuneworthy.ladder.rungs.model import TEACHER, teachers
from tuneworthy.ladder.session import TaskData
from tuneworthy.ladder.tuned_models import config_of
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.prompts.templates import chat
from tuneworthy.providers.capabilities import capabilities_of
from tuneworthy.providers.http_client import blocking
from tuneworthy.providers.models import find
from tuneworthy.providers.prices import price_for
from tuneworthy.providers.scripted import ScriptedProvider
from tuneworthy.retrieval.library import open_library
from tuneworthy.retrieval.oracle import ROOM
from tuneworthy.search.ablate import BYTES_A_TOKEN
from tuneworthy.search.racing import LOOKS, schedule
from tuneworthy.store import Folder
from tuneworthy.types import Case, Request, Response, Variant

SAMPLED_CASES = 50
# Tokens a second that the embedded 98 MB model writes to one request on two CPU cores; a larger one in proportion.
LOCAL_RATE = 150.0
LOCAL_BYTES = 98_000_000
# How much faster it writes to many requests together.
LOCAL_BATCH = 2.0
# How much faster a prompt is read than an answer is written.
PREFILL = 10.0
# Seconds before the first token, and tokens a second, of a server that was not measured yet.
NETWORK_S = 0.5
NETWORK_RATE = 60.0
FEWEST_IN_FLIGHT = 8
# Answers that a judge is tested with, at most, for each dev case.
CANARIES = 8
# Stands for the answer and the form that a judge gets: about 50 tokens.
JUDGE_FORM = 200 * " "

Span = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class RungEstimate:
    """What one rung takes: its candidates, and the least and the most calls."""

    candidates: int
    calls: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEstimate:
    """What one model, or one server of a search, takes: least and most."""

    calls: Span
    usd: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run from nothing takes, least and most; the most is a bound as far as the assumptions hold.

    Attributes:
        calls: In all.
        usd: In all.
        minutes: In all.
        rungs: By name.
        models: By name, servers of the search included.
        assumptions: What the numbers rest on, in sentences.
    """

    calls: Span
    usd: Span
    minutes: Span
    rungs: Mapping[str, RungEstimate] = field(default_factory=dict)
    models: Mapping[str, ModelEstimate] = field(default_factory=dict)
    assumptions: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return asdict(self)

    def __str__(self) -> str:
        return messages.run_estimate(self.calls, self.usd, self.minutes)


@dataclass(frozen=True, slots=True)
class _Load:
    """Calls of one variant: least and most of them together, and those one at a time."""

    variant: Variant
    calls: Span
    alone: int = 0


class _Described:
    """Stands for a model that cannot be opened (no key, no file): it is described, and never called."""

    def __init__(self, config: Any) -> None:
        self.identity: Mapping[str, Any] = {"provider": config.provider, "model": getattr(config, "model", "")}
        self.capabilities = capabilities_of(
            config.provider, getattr(config, "model", ""), urlsplit(getattr(config, "base_url", "")).hostname or ""
        )
        self.supports = ScriptedProvider.supports if config.provider == "scripted" else self.capabilities.supports

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
    """What the last run tells of a model: mean tokens of an answer, and seconds of a single call."""

    output_tokens: float
    seconds: float


class _Estimating:
    """One estimate."""

    def __init__(self, project: Project, data: TaskData, models: Models) -> None:
        self.project, self.data, self.models, self.split = project, data, models, data.split
        self.library = open_library(project)
        self.pool = ShotPool(self.split.shots)
        self.observed = observed(project)
        n_cases = len(self.split.dev) + len(self.split.test)
        self.n_timed = min(N_CASES + 1, n_cases)
        limit = project.constraints.p95_ms
        self.n_timed_again = min(MORE_CASES[-1] + 1, n_cases) - self.n_timed if limit else 0
        sizes = [len(answer_text(c.expected).encode()) for c in self.split.test if c.expected is not None]
        self.answer = 2 + (sum(sizes) / len(sizes) if sizes else 40.0) / BYTES_A_TOKEN
        shots = [len((e.question + e.answer).encode()) for e in self.split.shots[:1000]]
        self.shot = 8 + (sum(shots) / len(shots) if shots else 0.0) / BYTES_A_TOKEN

    def run(self) -> Estimate:
        """Return the sums over all rungs."""
        rungs: dict[str, RungEstimate] = {}
        loads: list[_Load] = []
        today: Variant | None = None
        dearest: Variant | None = None
        names = ["baseline", *(n for n in self.project.ladder.rungs if n not in {"classical", "baseline"})]
        if "model" in names:
            names.insert(names.index("model") + 1, TEACHER)
        for name in names:
            options = [
                self._rung(name, best) for best in {one.id if one else "": one for one in (today, dearest)}.values()
            ]
            chosen = max(options, key=lambda option: sum(map(self._weight, option)))
            if not chosen:
                continue
            least = min(sum(load.calls[0] + load.alone for load in option) for option in options if option)
            rungs[name] = RungEstimate(
                candidates=len({load.variant.id for load in chosen if load.calls[0]}),
                calls=(least, sum(load.calls[1] + load.alone for load in chosen)),
            )
            loads += chosen
            if name == TEACHER:
                continue  # nothing is built on it
            today = today or chosen[0].variant
            dearest = max(
                [*([dearest] if dearest else []), *(load.variant for load in chosen)],
                key=lambda variant: self._weight(_Load(variant, (1, 1))),
            )
        loads += self._judges(loads)
        by_model: dict[str, list[_Load]] = defaultdict(list)
        for load in loads:
            by_model[load.variant.model].append(load)
        used = {
            name: ModelEstimate(
                calls=_sum((load.calls[0] + load.alone, load.calls[1] + load.alone) for load in own),
                usd=_sum(self._usd(load) for load in own),
            )
            for name, own in by_model.items()
        }
        if self.library and "retrieval" in rungs:
            used |= {
                name: ModelEstimate(calls=use["calls"], usd=use["usd"])
                for name, use in self.library.use(len(self.split.dev), len(self.split.test), N_CASES + 1).items()
            }
        low, high = _sum(self._seconds(load) for load in loads)
        return Estimate(
            calls=_sum(one.calls for one in used.values()),
            usd=_sum(one.usd for one in used.values()),
            minutes=(low / 60, high / 60),
            rungs=rungs,
            models=used,
            assumptions=messages.estimate_assumptions(
                self.project.prompt.max_tokens, list(self.observed), [m.provider for m in self.project.models.values()]
            ),
        )

    def _rung(self, name: str, best: Variant | None) -> list[_Load]:
        """Return the calls of a rung that proposes on `best`: race, test, timing, search and closer look."""
        split = self.split
        view = View(
            project=self.project,
            task=self.data.task,
            pool=self.pool,
            models=self.models,
            best=best,
            seed=self.project.split.seed,
            n_dev=len(split.dev),
            library=self.library,
            searched=split.explore,
        )
        if name == TEACHER:
            proposal = Proposal(candidates=teachers(view))
        else:
            proposal = blocking(RUNGS.get(name, self.project.root)().propose(view))
        raced = proposal.candidates if split.explore else proposal.candidates[:1]
        candidates = sorted(raced, key=lambda variant: -self._weight(_Load(variant, (1, 1))))
        if not candidates:
            return []
        asked = [*candidates, *candidates[:1] * (proposal.more_candidates if split.explore else 0)]
        most, least = [0] * len(asked), 0
        if split.explore:
            rounds = schedule(len(asked), len(split.dev))
            for n, head in rounds:
                most[:n] = [head] * n
            least = rounds[0][1] if len(asked) == 1 else ceil(rounds[0][1] / LOOKS)
            most[0] = len(split.dev)  # whether the winner is ahead of the best so far is seen on all of dev
        test = len(split.test) * max(repeats_of(self.project, one) for one in candidates)
        loads = [_Load(one, (least, n + 1)) for one, n in zip(asked, most, strict=True)]  # 1: is the model available?
        again = 2 * self.n_timed if name != "baseline" else 0  # where speed alone would decide
        most_calls = most[0] + test + again + self.n_timed_again
        loads[0] = _Load(candidates[0], (least + test, most_calls), self.n_timed)
        if best is not None and split.explore:
            loads.append(_Load(best, (0, len(split.dev))))
        return loads + [_Load(replace(candidates[0], model=model), (0, n)) for model, n in proposal.more_calls.items()]

    def _judges(self, loads: Sequence[_Load]) -> list[_Load]:
        """Return the calls of judges: the primary grader judges every answer, the others at most as many."""
        calls = _sum(load.calls for load in loads)
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
                (0 if number else calls[0], calls[1] + CANARIES * len(self.split.dev)),
            )
            for number, grader in enumerate(self.project.graders)
            if grader.type == "judge"
        ]

    def _weight(self, load: _Load) -> float:
        """Return what orders loads: dollars, and seconds where nothing costs money."""
        return self._usd(load)[1] + 1e-9 * self._seconds(load)[1]

    def _usd(self, load: _Load) -> Span:
        price, read = self.models[load.variant.model].price, round(self._read(load.variant))
        low, high = (
            (calls + load.alone) * price.cost(read, round(written)) if price else 0.0
            for calls, written in zip(load.calls, self._written(load.variant), strict=True)
        )
        return low, high

    def _seconds(self, load: _Load) -> Span:
        config = config_of(self.project, load.variant.model)
        known, read = self.observed.get(load.variant.model), self._read(load.variant)
        ends = []
        for calls, written, slow in zip(load.calls, self._written(load.variant), (False, True), strict=True):
            if config.provider == "llama_cpp":
                rate = LOCAL_RATE * LOCAL_BYTES / max(_size(config.model, self.project), LOCAL_BYTES / 4)
                alone, lanes = read / (rate * PREFILL) + written / rate, LOCAL_BATCH
            else:
                alone = (
                    config.latency_ms / 1000 if config.provider == "scripted" else NETWORK_S + written / NETWORK_RATE
                )
                lanes = min(config.concurrency, FEWEST_IN_FLIGHT) if slow else config.concurrency
            if known:
                alone = known.seconds * max(1.0, written / max(known.output_tokens, 1.0))
            ends.append((calls / lanes + load.alone) * alone)
        return ends[0], ends[1]

    def _read(self, variant: Variant) -> float:
        mean, _ = prompt_tokens(variant, (self.split.dev or self.split.test)[:SAMPLED_CASES])
        return mean + passage_tokens(variant) + (variant.shots.k * self.shot if variant.shots else 0.0)

    def _written(self, variant: Variant) -> Span:
        """Return the least and the most tokens of an answer; both as observed where that is known.

        Those of a ranking are the tokens of all labels.
        """
        if variant.output.kind == "ranked":
            most = sum(1 + len(label.encode()) / BYTES_A_TOKEN for label in variant.output.choices)
            return most / 2, most  # what labels share at their beginning is read once
        known = self.observed.get(variant.model)
        if known and not variant.answer_after and not variant.decoding.get("effort"):
            return known.output_tokens, known.output_tokens
        return min(self.answer, variant.max_tokens), float(variant.max_tokens)


def observed(project: Project) -> dict[str, _Observed]:
    """Return what the last run measured of each model; answers after thinking aloud are longer and left out."""
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
                found.setdefault(variant.model, _Observed(row.output_tokens, row.latency_p50_ms / 1000))
    return {name: one for name, one in found.items() if name in project.models}


def prompt_tokens(variant: Variant, cases: Sequence[Case]) -> Span:
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


def _sum(spans: Iterable[Span]) -> Span:
    lows, highs = zip(*spans, strict=True) if (spans := list(spans)) else ((), ())
    return sum(lows), sum(highs)


def _size(spec: str, project: Project) -> float:
    """Return the bytes of a model file; those of the embedded one if it is not here."""
    with suppress(ModelError, OSError):
        if path := find(spec, project.root):
            return float(path.stat().st_size)
    return LOCAL_BYTES
