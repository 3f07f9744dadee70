"""Ask base and tuned model the regression sets, greedily and without the task's prompt, and compare them."""

from collections.abc import Sequence

from tuneworthy.graders.base import GradingContext
from tuneworthy.ladder.session import Session
from tuneworthy.regressions.compare import Floats, RegressionResult, regression_result
from tuneworthy.regressions.sets import RegressionSet, regression_sets
from tuneworthy.types import Variant


def sets_of(session: Session) -> list[RegressionSet]:
    """Return the regression sets of an opened project, whose judges may ask.

    Raises:
        UserError: A set cannot be used.
    """
    project = session.project
    return regression_sets(project, GradingContext(root=project.root, asker=session.asker, seed=project.split.seed))


async def guard(session: Session, base: str, tuned: str, sets: Sequence[RegressionSet]) -> list[RegressionResult]:
    """Return the results of the tuned model by regression set.

    Args:
        session: The opened project.
        base: Name of the untuned model.
        tuned: Name of the tuned one.
        sets: The regression sets.
    """
    found = []
    for one in sets:
        sides = [await _score(session, name, one) for name in (base, tuned)]
        found.append(regression_result(one.name, one.hash, sides[0], sides[1], one.margin))
    return found


async def _score(session: Session, model: str, one: RegressionSet) -> tuple[Floats, Floats]:
    variant = Variant(
        name=f"guard/{one.name} {model}",
        model=model,
        model_identity=session.models[model].provider.identity,
        system=one.system,
        user="{{ input }}",
        decoding={"temperature": 0.0},
        max_tokens=one.max_tokens,
    )
    num, den, _ = await session.score(await session.ask(variant, one.cases), one.cases, grader=one.grader)
    return num, den
