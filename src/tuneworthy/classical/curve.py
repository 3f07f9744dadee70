"""The learning curve of a classical baseline: a cheap forecast of what more examples would bring."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from random import Random
from typing import NamedTuple

from tuneworthy.classical.base import fit
from tuneworthy.errors import Undecided
from tuneworthy.types import Case, Example


class CurvePoint(NamedTuple):
    """The score of a classical baseline fitted on `size` examples drawn with `seed`."""

    size: int
    seed: int
    score: float


def learning_curve(  # noqa: PLR0917
    name: str,
    examples: Sequence[Example],
    cases: Sequence[Case],
    sizes: Sequence[int],
    seeds: Sequence[int],
    score_fn: Callable[[Sequence[Case], Sequence[str]], float],
    *,
    question: Callable[[Case], str] = attrgetter("text"),
) -> list[CurvePoint]:
    """Fit the classical baseline `name` on growing subsets of `examples` and score it on `cases`.

    The subsets of one seed are nested, so that a curve is not blurred by the draw.

    Args:
        name: One of `CLASSICAL_MODELS`.
        examples: The pool.
        cases: Labelled cases that are not in the pool.
        sizes: Subset sizes, each from 1 to ``len(examples)``.
        seeds: Seeds of the draw (and of the fit).
        score_fn: ``(cases, answers) -> score``, by the task's primary grader.
        question: Renders a case as the examples' questions are rendered.

    Returns:
        A point for each size and seed, in the order of `sizes`, then `seeds`.

    Raises:
        Undecided: A size is below 1 or above the number of examples.
    """
    wrong = [size for size in sizes if not 1 <= size <= len(examples)]
    if wrong:
        raise Undecided(
            f"Learning-curve sizes must be between 1 and {len(examples)}, the number of examples. Sizes out of "
            f"range: {', '.join(map(str, wrong))}."
        )
    questions = [question(case) for case in cases]
    draws = {seed: Random(seed).sample(range(len(examples)), len(examples)) for seed in seeds}
    points = []
    for size in sizes:
        for seed in seeds:
            classical = fit(name, [examples[i] for i in draws[seed][:size]], seed)
            points.append(CurvePoint(size, seed, score_fn(cases, classical.predict(questions))))
    return points
