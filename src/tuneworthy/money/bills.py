"""Cost per answer of a measured option: dollars, tokens, and its own server."""

from collections.abc import Sequence
from math import exp
from typing import Any

from tuneworthy.config.ladder import Economics
from tuneworthy.money.serving import SECONDS, YOURS, RunningCost, Training, Way, upkeep_usd, ways_for
from tuneworthy.providers.prices import Price
from tuneworthy.types import Bounds, frozen

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
