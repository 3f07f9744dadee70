"""What a whole run will take: calls, dollars and minutes, from what the rungs would propose, without asking anything.

Two walks bound it: in the short one nothing is adopted; in the long one each rung adopts the dearest candidate.
Races take what their budget allows. All numbers are estimates: tokens are bytes / 4, and what a model or machine does
is assumed where no run has told it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from tuneworthy.cases.task_kind import answer_text
from tuneworthy.config.project import Project
from tuneworthy.errors import ModelError, UserError
from tuneworthy.evaluate.latency import N_CASES
from tuneworthy.evaluate.models import Models, OpenModel
from tuneworthy.ladder.measured import Measured, measured
from tuneworthy.ladder.measurement import repeats_of
from tuneworthy.ladder.rung import RUNGS, Examines, Searches, View
from tuneworthy.ladder.rungs.tuned_models import config_of
from tuneworthy.ladder.session import Data
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.prompts.templates import chat
from tuneworthy.prompts.transforms import COT_TOKENS
from tuneworthy.providers.capabilities import capabilities_of
from tuneworthy.providers.http_client import blocking
from tuneworthy.providers.models import find
from tuneworthy.providers.prices import price_for
from tuneworthy.providers.scripted import ScriptedProvider
from tuneworthy.retrieval.library import DocumentLibrary, open_library
from tuneworthy.retrieval.oracle import ROOM
from tuneworthy.search.racing import schedule
from tuneworthy.types import Case, Request, Response, Variant

BYTES_A_TOKEN = 4
SAMPLED_CASES = 50
LOCAL_RATE = (150.0, 300.0)
"""Tokens a second that the embedded 98 MB model writes on two CPU cores, at 1 and at 32 requests (numbers.md); a
larger model is taken to be slower in the ratio of the sizes."""
LOCAL_BYTES = 98_000_000
PREFILL = 10.0
"""How much faster a prompt is read than an answer is written."""
NETWORK_S = 0.5
NETWORK_RATE = 60.0
"""Seconds before the first token, and tokens a second, of a server that was not measured yet."""
FEWEST_IN_FLIGHT = 8
THOUGHT = (1 / 8, 1 / 2)
"""Shares of the room for hidden thinking that are taken to be used."""
JUDGE_FORM = 200 * " "
"""Stands for the answer and the form that a judge is asked with: about 50 tokens."""

Span = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run from nothing will take; each pair is from the short walk to the long one.

    Attributes:
        rungs: Rung to its candidates and calls.
        calls, usd, minutes: In all. models: Name to calls and dollars.
        assumptions: What the numbers rest on, in words.
    """

    calls: Span
    usd: Span
    minutes: Span
    rungs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    assumptions: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return asdict(self)

    def __str__(self) -> str:
        calls = _span(*(f"{round(calls, -2 if calls > 1000 else -1):,.0f}" for calls in self.calls))
        low, high = (round(minutes) for minutes in self.minutes)
        minutes = _span(str(low), str(high)) + (" minute" if low == high == 1 else " minutes")
        dollars = _span(*(f"${usd:.2f}" for usd in self.usd)) if self.usd[1] else "no money"
        return f"a run takes about {calls} calls, {dollars} and {minutes if high else 'less than a minute'}"


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


@dataclass(frozen=True, slots=True)
class _Ask:
    """Calls of one variant: `calls` together (`tested` of them on test), `alone` one at a time."""

    rung: str
    variant: Variant
    calls: int
    alone: int = 0
    tested: int = 0


class _Stub:
    """Stands for a model that cannot be opened (no key, no file): it is described, and never asked."""

    def __init__(self, config: Any) -> None:
        self.identity: Mapping[str, Any] = {"provider": config.provider, "model": getattr(config, "model", "")}
        host = urlsplit(getattr(config, "base_url", "")).hostname or ""
        self.capabilities = capabilities_of(config.provider, getattr(config, "model", ""), host)
        scripted = config.provider == "scripted"
        self.supports = ScriptedProvider.supports if scripted else self.capabilities.supports

    async def complete(self, request: Request) -> Response:
        raise ModelError("expected a model that can be asked, got a stand-in")

    async def close(self) -> None: ...


class _Models(Models):
    """The project's models; one that cannot be opened has a stand-in."""

    def __init__(self, project: Project, opened: Mapping[str, OpenModel]) -> None:
        super().__init__(project)
        self._known = dict(opened)

    def __getitem__(self, name: str) -> OpenModel:
        if name not in self._known:
            self._known[name] = _stand_in(name, self._project.models[name])
        return self._known[name]

    def add(self, model: OpenModel) -> None:
        self._known.setdefault(model.name, model)


def _stand_in(name: str, config: Any) -> OpenModel:
    price = price_for(config)
    return OpenModel(
        name=name,
        provider=_Stub(config),
        price=None if price is None or price.free else price,
        hosted=config.hosted,
        concurrency=config.concurrency,
        timeout_s=config.timeout_s,
        retries=config.retries,
    )


def race_calls(candidates: int, n_dev: int) -> list[int]:
    """Return how many dev cases each of so many candidates sees, if none is dropped early.

    >>> race_calls(5, 120)
    [68, 68, 35, 13, 13]
    """
    seen = [0] * candidates
    for alive, head in schedule(candidates, n_dev):
        seen[:alive] = [head] * alive
    return seen


def estimate_run(project: Project, data: Data, opened: Mapping[str, OpenModel]) -> Estimate | None:
    """Estimate a run; None where the prompt is so wrong that nothing can be proposed.

    Args:
        project: Its configuration.
        data: Its data, split.
        opened: Those of its models that could be opened.
    """
    models = _Models(project, opened)
    try:
        library = open_library(project)
        short, long = (_Walk(project, data, models, library, dear=dear).asks() for dear in (False, True))
    except UserError:
        return None  # the check that finds the reason tells it
    seen = measured(project, data, models)
    known = _Known(project, data, models, seen)
    sums = [_Sums(known, asks, end) for end, asks in enumerate((short, long))]
    names = dict.fromkeys(ask.variant.model for ask in (*short, *long))
    asked = library is not None and any(ask.rung == "retrieval" for ask in (*short, *long))
    served = library.use(len(data.split.dev), len(data.split.test), N_CASES + 1) if library and asked else {}
    return Estimate(
        calls=(_with(sums[0].calls(), served, "calls", 0), _with(sums[1].calls(), served, "calls", 1)),
        usd=(_with(sums[0].usd(), served, "usd", 0), _with(sums[1].usd(), served, "usd", 1)),
        minutes=(sums[0].seconds() / 60, sums[1].seconds() / 60),
        rungs=_by_rung(short, long),
        models={name: {"calls": [s.calls(name) for s in sums], "usd": [s.usd(name) for s in sums]} for name in names}
        | {name: {what: list(span) for what, span in one.items()} for name, one in served.items()},
        assumptions=_assumptions(project, seen),
    )


def _with(total: float, served: Mapping[str, Mapping[str, Span]], what: str, end: int) -> float:
    """Return `total` with what the servers of searches take."""
    return total + sum(one[what][end] for one in served.values())


def _by_rung(short: Sequence[_Ask], long: Sequence[_Ask]) -> dict[str, dict[str, Any]]:
    def calls(asks: Sequence[_Ask], rung: str) -> int:
        return sum(ask.calls + ask.alone for ask in asks if ask.rung == rung)

    return {
        rung: {
            "candidates": len({ask.variant.id for ask in long if ask.rung == rung}),
            "calls": [calls(short, rung), calls(long, rung)],
        }
        for rung in dict.fromkeys(ask.rung for ask in (*short, *long))
    }


def _assumptions(project: Project, seen: Mapping[str, Measured]) -> list[str]:
    lines = [
        f"tokens are bytes / {BYTES_A_TOKEN}; an answer is as long as the expected ones at least, and "
        f"{project.prompt.max_tokens} tokens at most",
        "nothing is adopted at the lower end; the dearest candidate of each rung is at the upper end",
    ]
    if seen:
        lines.append(f"lengths and times of {', '.join(seen)} are those of stored answers")
    if any(model.provider == "llama_cpp" and name not in seen for name, model in project.models.items()):
        lines.append(
            f"the embedded model writes {LOCAL_RATE[0]:.0f} to {LOCAL_RATE[1]:.0f} tokens a second on two cores"
            " (98 MB; a larger one is slower in proportion)"
        )
    if any(model.provider in {"openai", "anthropic"} and name not in seen for name, model in project.models.items()):
        lines.append(f"a server takes {NETWORK_S:g} s and writes {NETWORK_RATE:.0f} tokens a second")
    return lines


class _Walk:
    """The ladder as it would be walked.

    Args:
        dear: Whether each rung adopts its dearest candidate; else none adopts any.
    """

    def __init__(
        self, project: Project, data: Data, models: _Models, library: DocumentLibrary | None, *, dear: bool
    ) -> None:
        self.project, self.data, self.models, self.dear = project, data, models, dear
        self.pool = ShotPool(data.split.shots)
        self.library = library
        self.best: Variant | None = None

    def asks(self) -> list[_Ask]:
        """Return all calls of language models."""
        rungs = [name for name in self.project.ladder.rungs if name not in {"classical", "baseline"}]
        asks = [ask for name in ["baseline", *rungs] for ask in self._rung(name)]
        return [*asks, *self._judged(asks)]

    def _judged(self, asks: Sequence[_Ask]) -> list[_Ask]:
        """Return the calls of judges: the primary grader judges every answer, the others those on test."""
        found = []
        for number, grader in enumerate(self.project.graders):
            if grader.type == "judge":
                calls = sum(ask.tested if number else ask.calls for ask in asks)
                judge = Variant(
                    name="judge",
                    model=grader.model,
                    model_identity={},
                    system=self.project.text(grader.rubric),
                    user=f"{JUDGE_FORM}{{{{ input }}}}",
                    max_tokens=grader.max_tokens,
                )
                found.append(_Ask("judge", judge, calls))
        return found

    def _rung(self, name: str) -> list[_Ask]:
        view = View(
            project=self.project,
            task=self.data.task,
            pool=self.pool,
            models=self.models,
            best=self.best,
            seed=self.project.split.seed,
            n_dev=len(self.data.split.dev),
            library=self.library,
            searched=self.data.split.explore,
        )
        rung = RUNGS.get(name)()
        candidates = list(blocking(rung.propose(view)).candidates)
        if not candidates:
            return []
        more = [_Ask(name, *pair) for pair in rung.expected(view)] if isinstance(rung, Searches) else []
        candidates.sort(key=self._price, reverse=self.dear)
        if self.best is None or self.dear:
            self.best = candidates[0]
        split = self.data.split
        seen = race_calls(len(candidates), len(split.dev)) if split.explore else [0]
        alone = min(N_CASES + 1, len(split.dev or split.test))
        tested = len(split.test) * repeats_of(self.project, candidates[0])
        winner = _Ask(name, candidates[0], seen[0] + tested, alone, tested)
        if isinstance(rung, Examines):
            more += [_Ask(name, *pair) for pair in rung.examined(view, candidates[0], split.dev, seen[0])]
        return [winner, *(_Ask(name, *pair) for pair in zip(candidates[1:], seen[1:], strict=False)), *more]

    def _price(self, variant: Variant) -> tuple[float, int]:
        """Return what orders candidates: rates of the model, then the size of what is sent and answered."""
        price = self.models[variant.model].price
        size = len(variant.system or "") + 400 * (variant.shots.k if variant.shots else 0) + 4 * variant.max_tokens
        size += BYTES_A_TOKEN * passage_tokens(variant)
        return (price.rates.input + 4 * price.rates.output if price else 0.0), size


@dataclass(frozen=True, slots=True)
class _Known:
    """What sums are made of; `seen` is what stored answers tell of the models."""

    project: Project
    data: Data
    models: _Models
    seen: Mapping[str, Measured]


class _Sums:
    """Calls, dollars and seconds of a walk.

    Args:
        known: The project, its data and models.
        asks: The walk.
        end: 0 for the lower end of what is not known, 1 for the upper.
    """

    def __init__(self, known: _Known, asks: Sequence[_Ask], end: int) -> None:
        self.project, self.data, self.models, self.seen = known.project, known.data, known.models, known.seen
        self.asks, self.end = asks, end
        data = known.data
        self._input: dict[str, float] = {}
        answers = [len(answer_text(c.expected).encode()) for c in data.split.test if c.expected is not None]
        self._answer = 2 + (sum(answers) / len(answers) if answers else 40.0) / BYTES_A_TOKEN
        shots = [len((e.question + e.answer).encode()) for e in data.split.shots[:1000]]
        self._shot = 8 + (sum(shots) / len(shots) if shots else 0.0) / BYTES_A_TOKEN

    def calls(self, model: str | None = None) -> int:
        """Return the calls, of one model or of all."""
        return sum(ask.calls + ask.alone for ask in self.asks if model in {None, ask.variant.model})

    def usd(self, model: str | None = None) -> float:
        """Return the dollars, of one model or of all."""
        total = 0.0
        for ask in self.asks:
            price = self.models[ask.variant.model].price
            if price and model in {None, ask.variant.model}:
                one = price.cost(round(self._in(ask.variant)), round(self._out(ask.variant)))
                total += (ask.calls + ask.alone) * one
        return total

    def seconds(self) -> float:
        """Return the seconds of all calls."""
        return sum(self._seconds(ask) for ask in self.asks)

    def _in(self, variant: Variant) -> float:
        """Return the mean tokens of a prompt."""
        if variant.id not in self._input:
            mean, _ = prompt_tokens(variant, (self.data.split.dev or self.data.split.test)[:SAMPLED_CASES])
            shots = variant.shots.k * self._shot if variant.shots else 0.0
            self._input[variant.id] = mean + shots + passage_tokens(variant)
        return self._input[variant.id]

    def _out(self, variant: Variant) -> float:
        """Return the tokens of an answer."""
        aloud, hidden = COT_TOKENS if variant.answer_after else 0, self._thinking(variant)
        seen = self.seen.get(variant.model)
        if seen and hidden == self._thinking(seen.variant):
            return min(seen.output_tokens + aloud / 2, variant.max_tokens)
        if self.end:
            return variant.max_tokens - hidden * (1 - THOUGHT[1])
        return min(self._answer + aloud / 4 + hidden * THOUGHT[0], variant.max_tokens)

    def _thinking(self, variant: Variant) -> int:
        """Return the room that hidden thinking is given beside the answer."""
        capabilities = getattr(self.models[variant.model].provider, "capabilities", None)
        room = capabilities.thinking_tokens(variant.decoding.get("effort")) if capabilities else 0
        return min(room, max(0, variant.max_tokens - self.project.prompt.max_tokens))

    def _seconds(self, ask: _Ask) -> float:
        """Return the seconds of all calls of `ask`; where the model was measured, the guess is scaled to fit that."""
        config = config_of(self.project, ask.variant.model)
        seen = self.seen.get(ask.variant.model)
        in_flight = min(config.concurrency, seen.n if seen else FEWEST_IN_FLIGHT if self.end else config.concurrency)
        if config.provider == "llama_cpp":  # the guess counts what all slots write together
            one = self._guess(ask.variant)
            scale = seen.seconds / in_flight / self._guess(seen.variant) if seen else 1.0
            return (ask.calls + ask.alone) * one * scale
        one = self._guess(ask.variant)
        if seen:
            one *= seen.seconds / max(self._guess(seen.variant), 1e-9)
        return ask.calls * one / in_flight + ask.alone * one

    def _guess(self, variant: Variant) -> float:
        """Return the seconds of one call if nothing is known of the model but its provider and size."""
        config = config_of(self.project, variant.model)
        if config.provider == "llama_cpp":
            rate = LOCAL_RATE[1 - self.end] * LOCAL_BYTES / max(_size(config.model, self.project), LOCAL_BYTES / 4)
            return self._in(variant) / (rate * PREFILL) + self._out(variant) / rate
        if config.provider == "scripted":
            return config.latency_ms / 1000
        return NETWORK_S + self._out(variant) / NETWORK_RATE


def prompt_tokens(variant: Variant, cases: Sequence[Case]) -> Span:
    """Return the mean and the largest number of tokens of a prompt without its shots and passages, estimated."""
    bare = replace(variant, shots=None, retrieval=None)
    sizes = []
    for case in cases:
        try:
            messages = chat(bare, case, ())
        except UserError:
            messages = ({"content": f"{variant.system or ''}{variant.user}{case.text}"},)
        sizes.append(sum(8 + len(str(message.get("content") or "").encode()) / BYTES_A_TOKEN for message in messages))
    return (sum(sizes) / len(sizes), max(sizes)) if sizes else (0.0, 0.0)


def passage_tokens(variant: Variant) -> int:
    """Return the tokens of the passages in a prompt, at most."""
    if variant.retrieval is None:
        return 0
    return ROOM if variant.retrieval.mode == "oracle" else variant.retrieval.k * variant.retrieval.chunk_tokens


def _size(spec: str, project: Project) -> float:
    """Return the bytes of a model file; those of the embedded one if it is not here."""
    try:
        path = find(spec, project.root)
        return float(path.stat().st_size) if path else LOCAL_BYTES
    except (ModelError, OSError):
        return LOCAL_BYTES
