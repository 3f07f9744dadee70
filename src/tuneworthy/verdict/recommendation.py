"""Which option to run tomorrow: pure rules over measured options."""

from collections.abc import Callable, Sequence
from math import inf, isinf
from typing import Final

from tuneworthy.money.serving import SAVING, saves
from tuneworthy.verdict.options import Option

# Kinds that run only where they are shown to be as good, and for a cascade to save, or where nothing else will do.
PROVEN: Final = frozenset({"classical", "cascade"})
# Latencies are compared in steps of so many milliseconds: what is below is noise of the measurement.
STEP_MS: Final = 25.0


def rank(options: Sequence[Option]) -> list[Option]:
    """Return the options cheapest first; unknown cost is dearest, ties go to the lower p95, then the earlier rung.

    Where the traffic is known, what counts is the cost of a month, servers of one's own included; of months that cost
    the same, as they do without any traffic, the cost of an answer.
    """
    return sorted(options, key=lambda option: (_usd(option), _by_answer(option), round(_p95(option) / STEP_MS)))


def is_saving(option: Option, other: Option) -> bool:
    """Return whether `option` is at least 20% cheaper than `other`, or 20% faster and no dearer by the answer.

    >>> small, large = (Option(option=str(usd), rung="model", kind="variant", usd_per_1k=usd) for usd in (0.9, 1.0))
    >>> is_saving(small, large)
    False
    """
    by_answer = option.usd_per_month is None or other.usd_per_month is None
    spares_server = by_answer and option.server is None and other.server is not None
    if saves(*(None if isinf(usd) else usd for usd in map(_usd, (option, other))), spares_server=spares_server):
        return True
    faster = _p95(option) <= SAVING * _p95(other) and _p95(option) + STEP_MS < _p95(other)
    return faster and _by_answer(option) <= _by_answer(other)


def recommend(
    ranked: Sequence[Option], works: Callable[[Option], bool], as_good: Callable[[Option], bool]
) -> Option | None:
    """Return the option that meets the target and should run; None if none meets it.

    Today's option if it meets the target and nothing that meets it is a saving; then the cheapest saving; else the
    cheapest that meets it. The classical baseline only if it is as good as the best that was measured, a cascade only
    if it was adopted, or nothing else meets the target.

    Args:
        ranked: From `rank`.
        works: Whether an option may serve and meets the target; asked only as far as it matters.
        as_good: Whether the classical baseline is non-inferior to the best, or a cascade was adopted.
    """
    working = (option for option in ranked if works(option))
    cheapest = first = next(working, None)
    while cheapest is not None and cheapest.kind in PROVEN and not as_good(cheapest):
        cheapest = next(working, None)
    cheapest = cheapest or first
    today = next((option for option in ranked if option.kind == "today"), None)
    if cheapest is None or today is None or today is cheapest or is_saving(cheapest, today) or not works(today):
        return cheapest
    savings = (option for option in ranked if is_saving(option, today) and works(option))
    return next((option for option in savings if option.kind not in PROVEN or as_good(option)), today)


def _usd(option: Option) -> float:
    return _by_answer(option) if option.usd_per_month is None else option.usd_per_month


def _by_answer(option: Option) -> float:
    return inf if option.usd_by_answer is None else option.usd_by_answer


def _p95(option: Option) -> float:
    return 1e9 if option.latency_p95_ms is None else option.latency_p95_ms
