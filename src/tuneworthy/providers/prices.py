"""The cost of a call: one dated price table (`prices.json`), overridden by the project file.

An unknown price of a hosted model is None, never zero: the caller turns it into an error before money is spent.

Source: prices.json names the sources and the mark of every row.
"""

from dataclasses import replace
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from tuneworthy.store.shapes import bundled
from tuneworthy.types import TextTuple, frozen

# Tokens that a chat template may add to a prompt, at most.
TEMPLATE_TOKENS = 128
# Tokens that a provider may add for tools or a schema, at most.
FEATURE_TOKENS = 1024
# Hint for an unknown price.
NO_PRICE = "Set input_usd_per_mtok and output_usd_per_mtok (0 if the model is free)."


@frozen
class TokenRates:
    """US dollars a million tokens.

    Attributes:
        input: Of the prompt.
        output: Of the answer.
        cached_input: Prompt that was read from the cache; None if it costs as much as `input`.
        cache_write: Prompt that was written into the cache; None if it costs as much as `input`.
    """

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None


@frozen
class Price:
    """Prices of one model.

    Attributes:
        rates: The standard rates.
        tiers: ``(above_tokens, rates)`` that hold for a whole request whose prompt is longer, rising.
        batch_factor: Factor of the batch interface on all rates; None if it is not known.
        context: Longest prompt, tokens.
        retires: Day that the model is switched off, where it is announced.
        retires_from: Day before which the vendor keeps the model; None if it promises no such day.
        previous: Earlier rates in order, each with the day on which it ended; None if the history is not known.
        requests_per_minute: Published limits of the entry tier and the highest standard tier; None if not known.
        source: Where it is from: `table`, `project file`, `local`.
        mark: V for read in the primary source, V2 in a secondary one, K for unverified.
    """

    rates: TokenRates
    tiers: tuple[tuple[int, TokenRates], ...] = ()
    batch_factor: float | None = None
    context: int | None = None
    retires: date | None = None
    retires_from: date | None = None
    previous: tuple[tuple[date, TokenRates], ...] | None = None
    requests_per_minute: tuple[int, int] | None = None
    source: str = "table"
    mark: str = "K"

    @property
    def free(self) -> bool:
        return not any(rates.input or rates.output for rates in (self.rates, *(tier for _, tier in self.tiers)))

    def rates_at(self, input_tokens: float) -> TokenRates:
        return [self.rates, *(tier for above, tier in self.tiers if input_tokens > above)][-1]

    def cost(
        self, input_tokens: float, output_tokens: float, cached_tokens: float = 0, *, written_tokens: float = 0
    ) -> float:
        """Return the cost of an answered call, US dollars; with mean token counts, the mean cost.

        Args:
            input_tokens: The whole prompt, cached and written tokens included.
            output_tokens: The answer, hidden reasoning included.
            cached_tokens: Part of the prompt that was read from the cache.
            written_tokens: Part of the prompt that was written into the cache, where it is told apart.
        """
        rates = self.rates_at(input_tokens)
        cached = min(cached_tokens, input_tokens)
        written = min(written_tokens, input_tokens - cached)
        dollars = (
            (input_tokens - cached - written) * rates.input
            + cached * _or(rates.cached_input, rates.input)
            + written * _or(rates.cache_write, rates.input)
            + output_tokens * rates.output
        )
        return dollars / 1e6

    def ceiling(self, prompt_bytes: int, max_tokens: int, *, features: bool = False) -> float:
        """Return the highest cost of a call, US dollars: before it is sent, and without a tokenizer.

        A token covers at least one byte; all of the prompt may be written into the cache; the answer, hidden
        reasoning included, ends at `max_tokens`.

        Args:
            prompt_bytes: UTF-8 bytes of the messages, and of tools and schema if there are any.
            max_tokens: Limit of the answer.
            features: Whether tools or a schema are sent, for which providers add a prompt of their own.
        """
        tokens = most_input_tokens(prompt_bytes, features=features)
        return max(
            (tokens * max(rates.input, _or(rates.cache_write, 0.0)) + max_tokens * rates.output) / 1e6
            for rates in [self.rates, *(tier for above, tier in self.tiers if tokens > above)]
        )

    def retires_within(self, days: int, today: date | None = None) -> bool:
        """Whether the model is switched off within `days` from `today`, or is already."""
        return self.retires is not None and (self.retires - (today or datetime.now(UTC).date())).days <= days

    @property
    def last_rise(self) -> date | None:
        """The day on which the input or the output rate last rose; None if the table has no rise."""
        history = self.previous or ()
        later = [*(rates for _, rates in history[1:]), self.rates]
        return max(
            (
                day
                for (day, old), new in zip(history, later, strict=False)  # without a history there is no step
                if new.input > old.input or new.output > old.output
            ),
            default=None,
        )


def most_input_tokens(prompt_bytes: int, *, features: bool) -> int:
    """Return how many tokens a prompt can have at most, as in `Price.ceiling`."""
    return prompt_bytes + TEMPLATE_TOKENS + (FEATURE_TOKENS if features else 0)


# The price of a model on this machine.
FREE = Price(rates=TokenRates(input=0.0, output=0.0), source="local", mark="V")


def price_of(
    provider: str, model: str, new_input: float | None = None, new_output: float | None = None
) -> Price | None:
    """Return the price of `model` at its vendor.

    Args:
        provider: Provider of the price table; `local` for a model that is not hosted.
        model: Model id, as sent.
        new_input: Rate of the project file; replaces the table's rate (and the cached rates and tiers with it).
        new_output: Likewise.

    Returns:
        None if it is hosted and either rate is unknown.
    """
    price = FREE if provider == "local" else _row_price(provider, model)
    if new_input is None and new_output is None:
        return price
    if price is None and (new_input is None or new_output is None):
        return None
    known = price or FREE
    return replace(
        known,
        rates=TokenRates(input=_or(new_input, known.rates.input), output=_or(new_output, known.rates.output)),
        tiers=(),
        previous=None,
        source="project file",
        mark="V",
    )


def price_for(config: Any) -> Price | None:
    """Return the price of a section of `[models]`; a model on this machine is free unless a price is given.

    The table holds at the vendor's own host only: a gateway sets its own prices. There the project file, which may be a
    stranger's, can raise a rate and not lower it: a budget would not hold.
    """
    provider = "local"
    if config.hosted:
        hosts = [urlsplit(url).hostname or "" for url in config.addresses]
        is_vendor = any(fnmatchcase(host, own) for host in hosts for own in config.vendor_hosts)
        provider = config.provider if is_vendor else "gateway"
    model = getattr(config, "model", "")
    price = price_of(provider, model, config.input_usd_per_mtok, config.output_usd_per_mtok)
    listed = _row_price(provider, model)
    if price is None or listed is None:
        return price
    least = listed.rates
    if price.rates.input <= least.input and price.rates.output <= least.output:
        return listed
    return replace(
        price,
        rates=replace(
            price.rates, input=max(price.rates.input, least.input), output=max(price.rates.output, least.output)
        ),
    )


def has_own_server(config: Any) -> bool:
    """Return whether a model of `[models]` runs on a server of one's own, and has no price per token."""
    price = price_for(config)
    return config.user_served and not config.hosted and price is not None and price.free


def table_date() -> date:
    return _table().date


@frozen
class _PriceRow(Price):
    """Row of the table: the vendor, and patterns of the models."""

    provider: str
    models: TextTuple


@frozen
class _PriceTable:
    date: date
    prices: tuple[_PriceRow, ...]


@lru_cache(maxsize=1)
def _table() -> _PriceTable:
    return bundled(__package__, "prices.json", _PriceTable)


@lru_cache
def _row_price(provider: str, model: str) -> Price | None:
    rows = (row for row in _table().prices if row.provider == provider)
    return next((row for row in rows if any(fnmatchcase(model.lower(), pattern) for pattern in row.models)), None)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
