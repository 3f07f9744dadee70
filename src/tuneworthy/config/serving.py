"""The constraint rule: which measured variant may serve. The ladder, the verdict and the economics all ask it here."""

from tuneworthy.config.ladder import Constraints
from tuneworthy.types import OpenBounds


def may_serve(limits: Constraints, *, hosted: bool) -> bool:
    """Return whether a model may serve: a hosted one may not on the device, nor where nothing may be sent to it."""
    return not ((limits.on_device or limits.data_stays) and hosted)


def keeps_p95(limits: Constraints, p95_ms: float | None, interval: OpenBounds | None = None) -> bool | None:
    """Return whether a latency keeps the limit; None if it was not measured, or its interval straddles the limit.

    Args:
        limits: `[constraints]`.
        p95_ms: As measured.
        interval: Of it; without one the measurement is taken as it is.
    """
    if not limits.p95_ms:
        return True
    if p95_ms is None:
        return None
    lower, upper = interval or (p95_ms, p95_ms)
    if lower > limits.p95_ms:
        return False
    return True if upper is not None and upper <= limits.p95_ms else None


def violation(
    limits: Constraints,
    *,
    model: str,
    hosted: bool,
    p95_ms: float | None,
    usd_per_1k: float | None,
    p95_interval: OpenBounds | None = None,
) -> str:
    """Name the constraint that a measured variant breaks; "" without one.

    Args:
        limits: `[constraints]`.
        model: Key of `[models]`, for the words.
        hosted: Whether the model runs elsewhere.
        p95_ms: 95th percentile of latency at concurrency 1; None if it was not measured.
        usd_per_1k: Cost of a thousand answers; None if it is not known.
        p95_interval: Of `p95_ms`; only one that is wholly above the limit breaks it.
    """
    if not may_serve(limits, hosted=hosted):
        wanted = "data may not leave" if limits.data_stays else "the task must run on"
        return f"{model} is a hosted model, but {wanted} the device"
    if p95_ms is not None and keeps_p95(limits, p95_ms, p95_interval) is False:
        return f"the p95 latency is {p95_ms:.0f} ms, above the limit of {limits.p95_ms or 0.0:g} ms"
    if limits.usd_per_1k and usd_per_1k is not None and usd_per_1k > limits.usd_per_1k:
        return f"1,000 answers cost ${usd_per_1k:.4f}, above the limit of ${limits.usd_per_1k:g}"
    return ""
