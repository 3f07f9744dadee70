"""Sentences about regression sets."""

from typing import Literal

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {},
).say


def outcome(  # noqa: PLR0917
    status: Literal["pass", "fail", "unknown"],
    tuned: float,
    base: float,
    n: int,
    loss: float,
    margin: float,
    needs: int | None,
) -> str:
    """Say how the tuned model did on a regression set."""
    result = {"pass": "no loss beyond the margin", "fail": "worse", "unknown": "inconclusive"}[status]
    text = (
        f"{tuned:.1%} on {n} cases, against {base:.1%} for the base model: {result} "
        f"(loss at most {100 * loss:.1f} points with 95% confidence, margin {100 * margin:g} points)"
    )
    if status != "unknown":
        return text
    if needs is None or needs <= n:
        return f"{text}, and the score fell, so only many more cases could rule out a loss"
    return f"{text}, and about {needs:,} cases would be needed to show that there is no loss"
