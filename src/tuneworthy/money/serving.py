"""Cost of running an option: per answer, per month, and for its own servers.

A server's capacity follows from the tokens of an answer, the size of the model and the hardware. `hardware.json` is the
table of machines and cards, with its date and sources.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Final, Literal

from tuneworthy.config.ladder import Economics
from tuneworthy.store.shapes import bundled
from tuneworthy.types import Bounds

Basis = Literal["measured", "computed", "published", "assumed", "project", ""]
SizeFrom = Literal["project", "file", "assumed"]

HOURS: Final = 730.0
# An option must cost (or take) at most this share of another to displace it without being better.
SAVING: Final = 0.8
# Memory for weights and answers in flight, as a multiple of the weights.
HEADROOM: Final = 1.2
# Tokens of an answer where no provider reports them: a prompt of a page, an answer of two sentences. Assumed.
USUAL_TOKENS: Final = (600.0, 60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """A row of `hardware.json`.

    Attributes:
        name: Short name, for people.
        title: Full name with its size.
        memory_gb: Of one machine or card.
        bytes_per_weight: As it is served there.
        prompt_tokens_per_s: Read by a model of a billion parameters at full load.
        answer_tokens_per_s: Written by it, all requests together.
        usd_per_hour: Of one.
        rates_source: Where the two rates are from, like `price_source` and its `mark`.
    """

    name: str
    title: str
    memory_gb: float
    bytes_per_weight: float
    prompt_tokens_per_s: float
    answer_tokens_per_s: float
    usd_per_hour: float
    rates_source: str
    price_source: str
    mark: Basis

    def cards_for(self, params_b: float) -> int:
        """Return the number of cards for a model of so many billion parameters.

        >>> hardware("l4").cards_for(8), hardware("h100").cards_for(70)
        (1, 3)
        """
        return max(1, ceil(HEADROOM * self.bytes_per_weight * params_b / self.memory_gb))


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnServer:
    """A server for one of the user's own models.

    Attributes:
        usd_per_month: Price of one, all its cards together.
        capacity: Requests per month for one, peaks allowed for.
        params_b: Size of the model, billions of parameters; None if nothing was computed from it.
        size_from: Source of that size; `assumed` is the default of `[economics]`.
        tokens_assumed: Whether the capacity assumes token counts that nothing reported for this option.
    """

    usd_per_month: float
    capacity: float
    params_b: float | None = None
    size_from: SizeFrom = "assumed"
    tokens_assumed: bool = False

    def monthly_usd(self, requests: float) -> float:
        """Return the price of the servers; beyond the first they are counted in parts, so that a sum never jumps."""
        return self.usd_per_month * max(1.0, requests / self.capacity)


def saves(mine: float | None, theirs: float | None, *, spares_server: bool = False) -> bool:
    """Return whether one cost is at least 20% below another; an unknown cost is the highest.

    Args:
        mine: US dollars, per month or per thousand answers.
        theirs: The same for the option that it would displace.
        spares_server: Whether only the other option needs a server.

    >>> saves(0.8, 1.0), saves(0.9, 1.0), saves(0.0, 0.0), saves(0.0, 0.0, spares_server=True), saves(1.0, None)
    (True, False, False, True, True)
    """
    if mine is None or theirs is None:
        return mine is not None
    return mine <= SAVING * theirs and (mine < theirs or spares_server)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCost:
    """Running cost of an option.

    Attributes:
        usd_per_1k: Price of a thousand answers; None if it is unknown.
        server: None if a vendor runs the model, or the calling program does.
        upkeep_usd: Per month, whatever the traffic.
    """

    usd_per_1k: float | None
    server: OwnServer | None = None
    upkeep_usd: float = 0.0

    def monthly_usd(self, requests: float) -> float | None:
        """Return the cost of a month with so many requests; None if the price of an answer is not known."""
        if self.usd_per_1k is None:
            return None
        servers = self.server.monthly_usd(requests) if self.server else 0.0
        return self.usd_per_1k / 1000 * requests + servers + self.upkeep_usd

    def saves_against(self, other: "RunningCost", requests: float | None) -> bool:
        """Return whether this costs at least 20 % less than `other`.

        By the month, servers and upkeep included, where the traffic is known, else by the answer (see `saves`).

        Args:
            other: The displaced option.
            requests: A month; None if not known.

        >>> own = RunningCost(usd_per_1k=0.0, server=OwnServer(usd_per_month=500.0, capacity=1e6))
        >>> api = RunningCost(usd_per_1k=1.0)
        >>> own.saves_against(api, 10_000), own.saves_against(api, 1_000_000), own.saves_against(api, None)
        (False, True, True)
        """
        mine, theirs = self.usd_per_1k, other.usd_per_1k
        if requests is not None:
            mine, theirs = self.monthly_usd(requests), other.monthly_usd(requests)
        spares_server = requests is None and self.server is None and other.server is not None
        return saves(mine, theirs, spares_server=spares_server)

    def usd_per_1k_at(self, requests: float | None) -> float | None:
        """Return the total cost of a thousand answers: with a server of one's own that depends on the traffic.

        >>> own = RunningCost(usd_per_1k=0.0, server=OwnServer(usd_per_month=500.0, capacity=1e6))
        >>> own.usd_per_1k_at(20_000), own.usd_per_1k_at(None)
        (25.0, None)
        """
        if self.server is None:
            return self.usd_per_1k
        month = self.monthly_usd(requests) if requests else None
        return 1000 * month / requests if requests and month is not None else None


@dataclass(frozen=True, slots=True)
class HardwareTable:
    """Content of `hardware.json`."""

    date: str
    note: str
    hardware: Mapping[str, Hardware]


@cache
def hardware_table() -> HardwareTable:
    return bundled("tuneworthy.money", "hardware.json", HardwareTable)


def hardware(name: str) -> Hardware:
    return hardware_table().hardware[name]


def size_b(settings: Economics, params_b: float | None) -> float:
    """Return the size of a model, billions of parameters: as the project sets it, else as read, else as assumed."""
    return settings.serve_params_b if params_b is None or "serve_params_b" in settings.model_fields_set else params_b


def server_for(
    settings: Economics,
    tokens: Bounds | None = None,
    params_b: float | None = None,
    *,
    borrowed: bool = False,
) -> OwnServer:
    """Return the server of an own model; values of the project file are taken as they are.

    Args:
        settings: Name the hardware, the load, and the size of the model where it cannot be read.
        tokens: Of the prompt and of the answer, means; None if they are not known.
        params_b: Size that was read from the model's files, billions of parameters; None if it was not.
        borrowed: Whether `tokens` are those of another option.

    >>> round(server_for(Economics(), (1000, 100)).capacity)
    863967
    """
    row, size = hardware(settings.serve_hardware), size_b(settings, params_b)
    cards, (read, written) = row.cards_for(size), tokens or USUAL_TOKENS
    seconds = size * (read / row.prompt_tokens_per_s + written / row.answer_tokens_per_s) / cards
    price, capacity = settings.serve_usd_per_month, settings.serve_capacity_per_month
    size_from: SizeFrom = "assumed" if params_b is None else "file"
    if "serve_params_b" in settings.model_fields_set:
        size_from = "project"
    return OwnServer(
        usd_per_month=cards * row.usd_per_hour * HOURS if price is None else price,
        capacity=settings.serve_load * HOURS * 3600 / max(seconds, 1e-9) if capacity is None else capacity,
        params_b=size,
        size_from=size_from,
        tokens_assumed=capacity is None and (tokens is None or borrowed),
    )


def upkeep_usd(settings: Economics) -> float:
    """Return the monthly cost of monitoring and retraining a fine-tuned model."""
    again = settings.hours_retrain * settings.usd_per_hour + settings.train_hours * settings.gpu_usd_per_hour
    return settings.upkeep_usd_per_month + again / settings.retrain_months
