"""Sentences about regression sets."""

from typing import Literal

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    __name__,
    {
        "duplicate_name": "[[regressions]]: two sets have the name {name!r}.",
        "rename_one": "Rename one of the sets.",
        "no_cases": "{path} contains no cases.",
        "add_or_remove": "Add cases to this file, or remove its set from [[regressions]].",
        "unlabelled": "Cases without an expected answer in {path}: {n} (the first is {first}).",
        "label_them": "Add the expected answers.",
        "unscored": (
            "too few cases have a score from both models (cases without: {unscored} of {n}), so the set is inconclusive"
        ),
    },
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
