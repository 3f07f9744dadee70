"""Sentences about regression sets."""

from typing import Literal

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        "duplicate_name": "[[regressions]]: two sets are called {name!r}.",
        "rename_one": "Rename one of them.",
        "no_cases": "{path} holds no case.",
        "unlabelled": "{n} cases of {path} have no right answer ({first}, ...).",
        "label_them": "Label them.",
        "unscored": "{unscored} of {n} cases lack a score of either model, so the set shows nothing",
    }
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
    result = {"pass": f"no worse by {margin:g}", "fail": "worse", "unknown": "unresolved"}[status]
    text = (
        f"{tuned:.3f} against {base:.3f} of the base on {n} cases: {result}; the loss may be as large as {loss:.3f} "
        f"(one-sided 95% bound), the margin is {margin:g}"
    )
    if status != "unknown":
        return text
    if needs is None or needs <= n:
        return f"{text}; the score fell, so only many more cases could show that nothing was lost"
    return f"{text}; about {needs:,} cases would show it if nothing was lost"
