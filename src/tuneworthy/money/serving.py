"""Cost of running an option: per answer, per month, and for each way to serve a model of one's own.

The bill of a measured option has its dollars, tokens and its own server. A machine's capacity follows from the tokens
of an answer, the size of the model and the hardware. `hardware.json` is the table of machines, cards and hosted tuned
models, with its date and sources. The cheapest way that meets the latency limit and carries the traffic counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil, exp, expm1, inf
from typing import Any, Literal

from tuneworthy.config.ladder import Economics
from tuneworthy.providers.prices import Price
from tuneworthy.store.shapes import bundled
from tuneworthy.train.gpus import HEADROOM
from tuneworthy.types import Bounds, frozen

Basis = Literal["measured", "computed", "published", "assumed", "project", ""]
SizeFrom = Literal["project", "file", "assumed"]
# A model of one's own, one that a vendor tunes and serves, or an encoder (training method `classifier`).
Training = Literal["own", "hosted", "encoder"]

HOURS = 730.0
SECONDS = 3600 * HOURS
# An option must cost (or take) at most this share of another to displace it without being better.
SAVING = 0.8
# Memory of the process around a model on a CPU, GB. Assumed.
PROCESS_GB = 1.0
# Size below which a model is served by the CPU next to the application, billions of parameters.
MAX_CPU_B = 1.0
# The 95th percentile of latency as a multiple of the seconds of a mean answer. Assumed.
TAIL = 2.0
# Tokens of an answer where no provider reports them: a prompt of a page, an answer of two sentences. Assumed.
USUAL_TOKENS = (600.0, 60.0)
# Keys of `[economics]` that say how the model is served.
PINNED = frozenset({"serve_hardware", "serve_usd_per_month", "serve_capacity_per_month"})


@frozen
class Hardware:
    """A row of `hardware.json`.

    Attributes:
        name: Short name, for people.
        memory_gb: Of one machine or card.
        bytes_per_weight: As it is served there.
        prompt_tokens_per_s: Read by a model of a billion parameters at full load.
        answer_tokens_per_s: Written by it, all requests together.
        answers_at_once: Requests that share that rate.
        usd_per_hour: Of one that always runs.
        flex_usd_per_hour: Of one that scales to zero; None if it is not rented so.
        rates_source: Where the two rates are from, like `price_source`; both are published or assumed, as they say.
    """

    name: str
    memory_gb: float
    bytes_per_weight: float
    prompt_tokens_per_s: float
    answer_tokens_per_s: float
    answers_at_once: int
    usd_per_hour: float
    flex_usd_per_hour: float | None = None
    rates_source: str
    price_source: str

    def memory_share(self, params_b: float) -> float:
        return HEADROOM * self.bytes_per_weight * params_b / self.memory_gb

    def seconds(self, params_b: float, tokens: Bounds, at_once: int = 1) -> float:
        """Return the seconds of an answer: its share of a full machine, or with `answers_at_once` its latency."""
        read, written = tokens
        return params_b * (read / self.prompt_tokens_per_s + at_once * written / self.answer_tokens_per_s)


@frozen
class Way:
    """A way to serve a model of one's own.

    Attributes:
        usd_per_month: Price of one machine that runs all month, all its cards together.
        title: The way in words, with its hardware.
        training: Kind of the model that it serves.
        capacity: Requests per month for one, peaks allowed for; None if it is not limited.
        kept_s: Seconds for which a request keeps a machine that scales to zero; 0 if it always runs.
        usd_per_1k: Price of a thousand answers where they are paid by the token.
        latency_ms: The 95th percentile, as computed; None if it is unknown.
        params_b: Size of the model, billions of parameters; None if nothing was computed from it.
        size_from: Source of that size; `assumed` is the default of `[economics]`.
        tokens_assumed: Whether the capacity assumes token counts that nothing reported for this option.
        source: Source of the price.
    """

    usd_per_month: float
    title: str = "a server"
    training: Training = "own"
    capacity: float | None = None
    kept_s: float = 0.0
    usd_per_1k: float = 0.0
    latency_ms: float | None = None
    params_b: float | None = None
    size_from: SizeFrom = "assumed"
    tokens_assumed: bool = False
    source: str = ""

    def machines(self, requests: float) -> float:
        """Return the machines that a month needs, in parts; requests of a machine that scales to zero come at random.

        Beyond the first they are counted in parts too, so that a sum never jumps.
        """
        on = -expm1(-requests * self.kept_s / SECONDS) if self.kept_s else 1.0
        return max(on, requests / self.capacity) if self.capacity else on

    def monthly_usd(self, requests: float) -> float:
        return self.usd_per_month * self.machines(requests) + self.usd_per_1k / 1000 * requests


# A server at a local address, which is not billed.
YOURS = Way(usd_per_month=0.0, title="your server")


def saves(mine: float | None, theirs: float | None, *, spares_server: bool = False) -> bool:
    """Return whether one cost is at least 20% below another; an unknown cost is the highest.

    Args:
        mine: US dollars, per month or per thousand answers.
        theirs: The same for the option that it would displace.
        spares_server: Whether only the other option needs a server.

    >>> saves(0.8, 1.0), saves(0.9, 1.0), saves(0.0, 0.0), saves(0.0, 0.0, spares_server=True), saves(1.0, None)
    (True, False, False, True, True)
    """
    return (
        mine is not None
        if mine is None or theirs is None
        else mine <= SAVING * theirs and (mine < theirs or spares_server)
    )


@frozen
class RunningCost:
    """Running cost of an option.

    Attributes:
        usd_per_1k: Price of a thousand answers; None if it is unknown.
        ways: Ways to serve a model of one's own; the cheapest counts. Empty if a vendor runs the model, or the calling
            program does.
        upkeep_usd: Per month, whatever the traffic.
    """

    usd_per_1k: float | None
    ways: Sequence[Way] = ()
    upkeep_usd: float = 0.0

    def way_at(self, requests: float | None) -> Way | None:
        """Return the cheapest way for so many requests a month; None without one, or if it depends on the traffic."""
        return (
            None
            if requests is None and len(self.ways) > 1
            else min(self.ways, key=lambda way: way.monthly_usd(requests or 0.0), default=None)
        )

    def title_at(self, requests: float | None) -> str:
        way = self.way_at(requests)
        return way.title if way else ""

    def monthly_usd(self, requests: float) -> float | None:
        """Return the cost of a month with so many requests; None if the price of an answer is not known."""
        if self.usd_per_1k is None:
            return None
        return self.usd_per_1k / 1000 * requests + self.server_usd(requests)

    def server_usd(self, requests: float) -> float:
        """Return the cost of the cheapest way and of the upkeep for a month with so many requests."""
        return min((way.monthly_usd(requests) for way in self.ways), default=0.0) + self.upkeep_usd

    def saves_against(self, other: "RunningCost", requests: float | None) -> bool:
        """Return whether this costs at least 20 % less than `other`.

        By the month, servers and upkeep included, where the traffic is known, else by the answer (see `saves`).

        Args:
            other: The displaced option.
            requests: A month; None if not known.

        >>> own = RunningCost(usd_per_1k=0.0, ways=[Way(usd_per_month=500.0, capacity=1e6)])
        >>> api = RunningCost(usd_per_1k=1.0)
        >>> own.saves_against(api, 10_000), own.saves_against(api, 1_000_000), own.saves_against(api, None)
        (False, True, True)
        """
        mine, theirs = self.usd_per_1k, other.usd_per_1k
        if requests is not None:
            mine, theirs = self.monthly_usd(requests), other.monthly_usd(requests)
        return saves(mine, theirs, spares_server=requests is None and not self.ways and bool(other.ways))

    def usd_per_1k_at(self, requests: float | None) -> float | None:
        """Return the total cost of a thousand answers: with a server of one's own that depends on the traffic.

        >>> own = RunningCost(usd_per_1k=0.0, ways=[Way(usd_per_month=500.0, capacity=1e6)])
        >>> own.usd_per_1k_at(20_000), own.usd_per_1k_at(None)
        (25.0, None)
        """
        if not self.ways or self.ways == (YOURS,):
            return self.usd_per_1k
        month = self.monthly_usd(requests) if requests else None
        return 1000 * month / requests if requests and month is not None else None


@frozen
class HostedTuning:
    """A hosted model that can be tuned: US dollars a million tokens, and a month of storage."""

    title: str
    input: float
    output: float
    usd_per_month: float
    source: str


@dataclass(frozen=True, slots=True)
class HardwareTable:
    """Content of `hardware.json`: also the tuned encoder's size, and the seconds of a cold start and of idling."""

    date: str
    start_s: float
    idle_s: float
    encoder_b: float
    hosted: Sequence[HostedTuning]
    hardware: Mapping[str, Hardware]


@cache
def hardware_table() -> HardwareTable:
    return bundled("tuneworthy.money", "hardware.json", HardwareTable)


def ways_for(
    settings: Economics,
    tokens: Bounds | None = None,
    params_b: float | None = None,
    *,
    borrowed: bool = False,
    p95_ms: float | None = None,
    trainings: Sequence[Training] = ("own",),
) -> tuple[Way, ...]:
    """Return the ways to serve a model that meet the latency limit, else the fastest; as the project file sets them.

    Args:
        settings: May set the hardware, its price, its load, and the size of the model.
        tokens: Of the prompt and of the answer, means; None if they are not known.
        params_b: Size that was read from the model's files, billions of parameters; None if it was not.
        borrowed: Whether `tokens` are those of another option.
        p95_ms: Limit of the latency; no vendor states that of a tuned model.
        trainings: Models that may serve, unless the project sets the hardware: then a model of one's own.

    >>> round(ways_for(Economics(serve_hardware="l4"), (1000, 100))[0].capacity)
    863967
    """
    read, written = tokens or USUAL_TOKENS
    given, table = settings.model_fields_set, hardware_table()
    size_from: SizeFrom = "project" if "serve_params_b" in given else "assumed" if params_b is None else "file"
    size = params_b if params_b is not None and size_from == "file" else settings.serve_params_b
    assumed = settings.serve_capacity_per_month is None and (tokens is None or borrowed)
    ways = [
        replace(way, params_b=size, size_from=size_from, tokens_assumed=assumed)
        for way in _own_ways(settings, size, (read, written))
    ]
    if not given & PINNED and "hosted" in trainings:
        ways += [
            Way(
                title=row.title,
                training="hosted",
                usd_per_month=row.usd_per_month,
                usd_per_1k=(read * row.input + written * row.output) / 1000,
                source=row.source,
            )
            for row in table.hosted
        ]
    if not given & PINNED and "encoder" in trainings:
        way = next(_own_ways(settings, table.encoder_b, (read, 0.0)))
        ways.append(replace(way, title=f"tuned encoder, {way.title}", training="encoder"))
    return tuple(
        [way for way in ways if p95_ms is None or (way.latency_ms or inf) <= p95_ms]
        or [min(ways, key=lambda way: way.latency_ms or inf)]
    )


def _own_ways(settings: Economics, size: float, tokens: Bounds) -> Iterator[Way]:
    """Yield the CPU next to the application for a small model, else cards by the hour and cards that scale to zero."""
    price, capacity, table = settings.serve_usd_per_month, settings.serve_capacity_per_month, hardware_table()
    pinned = settings.serve_hardware or ("l4" if price is not None or capacity is not None else None)
    for key in [pinned] if pinned else table.hardware:
        row = table.hardware[key]
        cards = max(1, ceil(row.memory_share(size)))
        latency_s = row.seconds(size, tokens, row.answers_at_once) / cards
        full = SECONDS * settings.serve_load * cards / max(row.seconds(size, tokens), 1e-9)
        way = Way(
            usd_per_month=cards * row.usd_per_hour * HOURS if price is None else price,
            title=f"{cards} {row.name}, by the hour",
            capacity=full if capacity is None else capacity,
            latency_ms=1000 * TAIL * latency_s,
            source=f"{row.price_source}; rates: {row.rates_source}",
        )
        flex = row.flex_usd_per_hour
        if pinned or flex is not None:
            yield way
        elif size < MAX_CPU_B:  # its part of the memory, or of the time where that is more
            share = row.memory_share(size) + PROCESS_GB / row.memory_gb
            price_of_share, title = share * way.usd_per_month, "CPU next to the application"
            yield replace(way, title=title, usd_per_month=price_of_share, capacity=share * full)
        if flex is not None and not pinned:
            yield replace(
                way,
                title=f"{cards} {row.name}, scaled to zero",
                usd_per_month=cards * flex * HOURS,
                kept_s=table.start_s + table.idle_s + latency_s,
                latency_ms=1000 * (table.start_s + TAIL * latency_s),
            )


def upkeep_usd(settings: Economics) -> float:
    """Return the monthly cost of monitoring and retraining a fine-tuned model."""
    again = settings.hours_retrain * settings.usd_per_hour + settings.train_hours * settings.gpu_usd_per_hour
    return settings.upkeep_usd_per_month + again / settings.retrain_months


# Seconds without a request after which a provider's cache is taken to be cold.
# Source: https://docs.claude.com/en/docs/build-with-claude/prompt-caching (5 minutes),
# https://platform.openai.com/docs/guides/prompt-caching (5 to 10 minutes).
CACHED_S = 300.0


@frozen
class Bill:
    """Cost of an answer of a measured option.

    Attributes:
        name: Of the variant.
        usd_per_1k: A thousand answers (see `known_usd`); None if the price is not known.
        input_tokens: Mean of an answer; None if the provider does not report it, like the output.
        cached_tokens: Mean of those of the prompt that came from the provider's cache.
        price: Of the model, for cache and batch; None if it is free or not known.
        hosted: Prices of its hosted models: a cascade may have two.
        own_server: Whether the model runs on hardware of one's own; of a cascade, its first part.
        yours: Whether that is a server at a local address, which is not billed.
        server_tokens: Of an answer of that server, if they differ; those of another option if
            unmeasured.
        tuned: Whether it was trained here, so that it needs upkeep.
        params_b: Size of the model on that server as its files say, billions of parameters; None if not known.
        trained_b: The same of the model that would be trained in its place.
        p95_ms: Limit of the latency, which decides how it may be served.
        trainings: Models that may take its place.
        unreported: Share of its answers whose tokens the provider did not report: they count at their maximum.
    """

    name: str
    usd_per_1k: float | None
    input_tokens: float | None = None
    output_tokens: float | None = None
    cached_tokens: float = 0.0
    price: Price | None = None
    hosted: Sequence[Price | None] = ()
    own_server: bool = False
    yours: bool = False
    server_tokens: Bounds | None = None
    tuned: bool = False
    params_b: float | None = None
    trained_b: float | None = None
    p95_ms: float | None = None
    trainings: Sequence[Training] = ("own",)
    unreported: float = 0.0

    @property
    def tokens(self) -> Bounds | None:
        """Those of the prompt and of the answer; None without a language model."""
        return None if not self.input_tokens or self.output_tokens is None else (self.input_tokens, self.output_tokens)

    @property
    def tokens_to_serve(self) -> Bounds | None:
        """Tokens that an own model would read and write in its place."""
        return self.tokens or self.server_tokens

    def usd_with(self, settings: Economics) -> float | None:
        """Return the cost of a thousand answers with the shares of cache and batch.

        Without `cached_share`, a prompt finds the start that the run found if a request came within `CACHED_S` before;
        otherwise it writes this start into the cache. Without traffic the cache is as warm as in the run.
        As measured where the tokens of some answers are unknown: the known answers may be shorter.
        """
        price = self.price
        if (
            not self.usd_per_1k
            or self.unreported
            or price is None
            or self.input_tokens is None
            or self.output_tokens is None
        ):
            return self.usd_per_1k
        cached, written = self.cached_tokens, 0.0
        if "cached_share" in settings.model_fields_set:
            cached = settings.cached_share * self.input_tokens
        elif settings.requests_per_month is not None:
            written = cached * exp(-settings.requests_per_month * CACHED_S / SECONDS)
            cached -= written
        dollars = price.cost(self.input_tokens, self.output_tokens, cached, written_tokens=written)
        batch = settings.batch_share * (1 - (1.0 if price.batch_factor is None else price.batch_factor))
        return 1000 * dollars * (1 - batch)

    def running(self, settings: Economics) -> RunningCost:
        return RunningCost(
            usd_per_1k=self.usd_with(settings),
            ways=self._ways(settings, self.server_tokens or self.tokens, self.params_b, borrowed=self.tokens is None)
            if self.own_server
            else (),
            upkeep_usd=upkeep_usd(settings) if self.tuned else 0.0,
        )

    def trained(self, settings: Economics) -> RunningCost:
        """Return the running cost of a model that would be trained in its place, and reads and writes as much."""
        return RunningCost(
            usd_per_1k=settings.serve_usd_per_1k,
            ways=self._ways(settings, self.tokens_to_serve, self.trained_b, trainings=self.trainings),
            upkeep_usd=upkeep_usd(settings),
        )

    def _ways(self, settings: Economics, tokens: Bounds | None, params_b: float | None, **more: Any) -> tuple[Way, ...]:
        return (
            (YOURS,)
            if self.yours and settings.serve_usd_per_month is None
            else ways_for(settings, tokens, params_b, p95_ms=self.p95_ms, **more)
        )
