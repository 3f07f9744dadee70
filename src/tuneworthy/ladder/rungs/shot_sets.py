"""Further sets of fixed shots for the rung `few_shot`: bootstrapped and random sets; the race chooses.

A bootstrapped set has only examples that the model already answers right without
shots, which excludes mislabelled and ungradable examples.

Source: Khattab et al., "DSPy", arXiv 2310.03714, section 4 (BootstrapFewShotWithRandomSearch).
"""

from dataclasses import replace

from tuneworthy.cases.splits import example_case
from tuneworthy.config.project import Project
from tuneworthy.ladder import messages
from tuneworthy.ladder.rung import View
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.text import count
from tuneworthy.types import Case, Example, Score, Shots

# Examples that the model is asked, in sizes of a set.
TRIED = 4
# Score of a right answer, at least.
RIGHT_FROM = 0.5


def why_no_sets(project: Project, n_pool: int, *, searched: bool) -> str:
    """Say why `few_shot.sets` cannot be followed; "" if it can be, or is not asked for."""
    if not project.few_shot.sets:
        return ""
    if n_pool <= max(project.few_shot.k):
        return (
            f"no sets of few-shot examples were sampled: {count(n_pool, 'example is', 'examples are')} too few to "
            "choose from"
        )
    return "" if searched else messages.SETS_UNSEARCHED


async def shot_sets(view: View) -> tuple[list[tuple[str, Shots]], list[str]]:
    """Return the sets, each with its name, all of the largest k; and skipped steps.

    Raises:
        OutsideFault: An answer did not come, and would be asked for again: the sets would then be others.
    """
    pool, total, k = view.pool, view.project.few_shot.sets, max(view.project.few_shot.k)
    right, n_asked = await _answered_right(view, k)
    sets: list[tuple[str, Shots]] = []
    notes = []
    if len(right) > k:
        sure = ShotPool(right)
        drawn = (sure.fixed(k, view.seed + number, mixed=True) for number in range(1, total // 2 + 1))
        sets = [(f"bootstrap{number}", replace(one, pool_hash=pool.hash)) for number, one in enumerate(drawn, 1)]
    elif total > 1:
        notes.append(
            f"no bootstrapped few-shot examples: the model answers only {len(right)} of {n_asked} examples correctly"
        )
    sets += [
        (f"random{number}", pool.fixed(k, view.seed + number, mixed=True)) for number in range(1, total - len(sets) + 1)
    ]
    return sets, notes


async def _answered_right(view: View, k: int) -> tuple[list[Example], int]:
    """Return the examples that the model, without shots, answers right, and how many it was asked."""
    session = view.session
    if view.project.few_shot.sets < 2:
        return [], 0
    drawn_cases: dict[str, tuple[Case, Example]] = {}
    for identity in view.pool.fixed(min(TRIED * k, len(view.pool)), view.seed, mixed=True).ids:
        example = view.pool.examples[view.pool.places[identity]]
        if (case := example_case(example, session.split.kind)) is not None:
            drawn_cases.setdefault(case.id, (case, example))
    cases = [case for case, _ in drawn_cases.values()]
    _, scores = await session.answers(replace(view.incumbent, shots=None), cases)
    right = [example for (_, example), score in zip(drawn_cases.values(), scores, strict=True) if _right(score)]
    return right, len(cases)


def _right(score: Score) -> bool:
    """Whether the grader has nothing against an answer; one that gives degrees (`style`) may never give all of 1."""
    return not score.reason and score.value is not None and score.value >= RIGHT_FROM
