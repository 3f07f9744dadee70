"""How long one answer takes, measured apart: fresh calls, one at a time, nothing else in flight."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tuneworthy.config.ladder import Constraints
from tuneworthy.config.serving import keeps_p95
from tuneworthy.engine.models import OpenModel
from tuneworthy.engine.runner import Runner
from tuneworthy.types import Bounds, Cases, NamedFloats, OpenBounds, Timing, Variant, content_hash

N_CASES = 32
# Calls in all after each further look, where a limit lies within the interval.
MORE_CASES = (100, 200)
# Less than this between two variants is the measuring itself.
LEAST_S = 0.001


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds of single calls, paired by case.

    Attributes:
        seconds: By case id; calls that failed are not there.
    """

    seconds: dict[str, float]

    def quantile_ms(self, q: float) -> float | None:
        return float(np.quantile(list(self.seconds.values()), q)) * 1000 if self.seconds else None

    def interval_ms(self, q: float) -> OpenBounds | None:
        """Return the 95 % interval of the `q`-quantile in milliseconds; None if nothing was answered."""
        from tuneworthy.stats.intervals import quantile_interval

        return quantile_interval([1000 * one for one in self.seconds.values()], q) if self.seconds else None

    def ratio_to(self, other: "Latency") -> Bounds | None:
        """Return the geometric mean of the paired ratios self/other and its one-sided 95 % upper bound.

        None with fewer than 8 common cases, or where the medians are less than a millisecond apart.
        """
        common = sorted(self.seconds.keys() & other.seconds.keys())
        if len(common) < 8:
            return None
        medians = [float(np.median([one.seconds[case] for case in common])) for one in (self, other)]
        if abs(medians[0] - medians[1]) < LEAST_S:
            return None
        from scipy.special import stdtrit

        logs = np.log([self.seconds[case] / other.seconds[case] for case in common])
        upper = float(logs.mean()) + float(stdtrit(len(logs) - 1, 0.95)) * float(logs.std(ddof=1) / np.sqrt(len(logs)))
        return float(np.exp(logs.mean())), float(np.exp(upper))


async def measure_latency(
    time: Callable[[Cases], Awaitable[Latency]],
    cases: Cases,
    *,
    limits: Constraints | None = None,
) -> Latency:
    """Return the times of up to `N_CASES` calls, one at a time, to cases whose stored answers do not count.

    Where the interval of the 95th percentile straddles the limit of `limits`, of up to 200 calls.

    Args:
        time: As `time_calls`.
        cases: The first are used.
        limits: Of the project.
    """
    latency = Latency({})
    for n in (N_CASES, *MORE_CASES):
        chosen = list(cases[: n + 1])
        latency = await time(chosen)
        settled = limits is None or keeps_p95(limits, latency.quantile_ms(0.95), latency.interval_ms(0.95)) is not None
        if settled or len(chosen) <= n or not latency.seconds:
            break
    return latency


async def time_calls(runner: Runner, variant: Variant, model: OpenModel, cases: Cases) -> Latency:
    """Return the times of single calls to `cases`.

    Of several endpoints only the first in use answers, so that times compare. As wherever a variant is served, the
    start that all prompts share may be cached; the rest of a prompt is not. The
    first call warms the model up and is not counted. The search for passages is part of the time. The answers are
    stored like all others: latency is measured once.
    """
    traces = await runner.run(variant, model, cases, timing=Timing(), concurrency=1)
    counted = traces[1:] if len(traces) > 8 else traces
    searching = await _searching(runner, variant, cases)
    return Latency({
        trace.case_id: trace.response.seconds + searching.get(trace.case_id, 0.0)
        for trace in counted if trace.response
    })  # fmt: skip


async def _searching(runner: Runner, variant: Variant, cases: Cases) -> NamedFloats:
    library, search = runner.library, variant.retrieval
    return await library.seconds(search, cases) if library and search else {}


async def measure_together(runner: Runner, sides: Sequence[tuple[Variant, OpenModel]], cases: Cases) -> list[Latency]:
    """Measure at most `LANES` variants in turn, case by case, so that a busy machine slows all equally.

    As `measure_latency`, with fresh calls of their own for each set of variants.
    """
    group = content_hash([variant.id for variant, _ in sides])
    seconds: list[dict[str, float]] = [{} for _ in sides]
    chosen = cases[: N_CASES + 1]
    searching = [await _searching(runner, variant, chosen) for variant, _ in sides]
    for number, case in enumerate(chosen):
        turn = list(enumerate(sides))
        for lane, (variant, model) in reversed(turn) if number % 2 else turn:
            (trace,) = await runner.run(variant, model, [case], timing=Timing(lane, group), concurrency=1)
            if trace.response and (number or len(chosen) <= 8):
                seconds[lane][case.id] = trace.response.seconds + searching[lane].get(case.id, 0.0)
    return [Latency(one) for one in seconds]
