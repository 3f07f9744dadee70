"""How many calls are timed, and what their interval says of a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from tuneworthy.config.ladder import Constraints
from tuneworthy.config.serving import keeps_p95
from tuneworthy.engine.latency import Latency, measure_latency, time_calls
from tuneworthy.stats.intervals import quantile_interval
from tuneworthy.types import Case

CASES = [Case(id=f"c{i:03d}", input=str(i)) for i in range(300)]
LIMIT = Constraints(p95_ms=40.0)


def timed(seconds: Callable[[int], float], cases: int = 300, limits: Any = LIMIT) -> Latency:
    async def run(variant: Any, model: Any, cases: list[Case], **_: Any) -> list[Any]:
        return [
            SimpleNamespace(case_id=one.id, response=SimpleNamespace(seconds=seconds(int(one.id[1:])))) for one in cases
        ]

    runner: Any = SimpleNamespace(run=run, library=None)
    variant: Any = SimpleNamespace(retrieval=None)
    model: Any = None
    return asyncio.run(measure_latency(partial(time_calls, runner, variant, model), CASES[:cases], limits=limits))


def kept(latency: Latency) -> bool | None:
    return keeps_p95(LIMIT, latency.quantile_ms(0.95), latency.interval_ms(0.95))


@pytest.mark.parametrize(
    ("seconds", "n", "keeps"),
    [
        (lambda i: 0.1, 32, False),
        (lambda i: 0.01, 100, True),
        (lambda i: 0.1 if i % 50 == 7 else 0.01, 200, None),
        (lambda i: 0.1 if i in {7, 150} else 0.01, 200, True),
    ],
)
def test_calls_are_added_until_the_limit_is_settled(seconds: Any, n: int, keeps: bool | None) -> None:
    latency = timed(seconds)
    assert (len(latency.seconds), kept(latency)) == (n, keeps)


def test_without_a_limit_or_further_cases_nothing_is_added() -> None:
    assert len(timed(lambda i: 0.01, limits=Constraints()).seconds) == 32
    few = timed(lambda i: 0.01, cases=60)
    assert len(few.seconds) == 59 and kept(few) is None


@pytest.mark.parametrize("n", [32, 100, 200])
@pytest.mark.parametrize("q", [0.5, 0.95])
def test_the_interval_of_a_quantile_covers_it(n: int, q: float) -> None:
    """Distribution-free: by the ranks alone."""
    lower, upper = quantile_interval(np.arange(1, n + 1), q)
    below = binom.cdf((upper or n + 1) - 1, n, q) if upper else 1.0
    assert below - binom.cdf(lower - 1, n, q) >= 0.95
    assert upper is not None or q**n > 0.025
