"""[ladder], [few_shot], [decoding], [constraints], [economics], [[waivers]]: what is tried, within what."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tuneworthy.config.base import Count, NonNegative, Positive, Section

RungName = Literal["floor", "baseline", "prompt", "model", "few_shot", "decoding"]
RUNGS: tuple[RungName, ...] = ("floor", "baseline", "prompt", "model", "few_shot", "decoding")


class Ladder(Section):
    """Which rungs are walked, with what money."""

    baseline: str
    """Key of `[models]`: the model as it is used today."""
    budget_usd: NonNegative | None = None
    """Most that all calls of this project may cost; needed where a model costs money."""
    repeats: Count = 1
    """Answers to each test case; at least 3 are taken where the temperature is above 0."""
    rungs: list[RungName] = list(RUNGS)
    """Rungs to walk, in the order of the ladder."""


class FewShot(Section):
    """[few_shot]"""

    k: list[Count] = [4, 8]
    """Numbers of shots to try."""


class Decoding(Section):
    """[decoding]"""

    grid: list[dict[str, Any]] | None = None
    """Sampling settings to try; a small grid by the kind of task if not set."""


class Constraints(Section):
    """Limits that make a variant not eligible."""

    on_device: bool = False
    """Hosted models are not eligible."""
    p95_ms: Positive | None = None
    """Limit of the 95th percentile of latency, ms, at concurrency 1."""
    usd_per_1k: Positive | None = None
    """Limit of the cost of a thousand answers, US dollars."""


class Economics(Section):
    """[economics]"""

    requests_per_month: NonNegative | None = None
    """Expected traffic; turns prices into a monthly bill."""


class Waiver(Section):
    """A gate that is knowingly passed over."""

    gate: str
    reason: str = Field(min_length=8)
