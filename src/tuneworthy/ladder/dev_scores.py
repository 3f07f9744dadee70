"""What races and searches ask of a session: a variant's answers to cases of dev, scored and weighed."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tuneworthy.errors import OutsideFault
from tuneworthy.evaluate.runner import usage
from tuneworthy.ladder.session import Session
from tuneworthy.search.racing import DevScores
from tuneworthy.types import Case, Score, Trace, Variant


def shuffled(dev: Sequence[Case], seed: int) -> list[Case]:
    """Return dev in the order in which it is raced on and searched on."""
    cases = sorted(dev, key=lambda case: case.id)
    random.Random(seed).shuffle(cases)
    return cases


@contextmanager
def all_answered(session: Session) -> Iterator[None]:
    """Require that every call within is answered, or fails as it would in any other run.

    Raises:
        OutsideFault: A call failed for a reason that may pass: another run would ask again.
    """
    lost = session.runner.lost
    before = len(lost)
    yield
    if len(lost) > before:
        raise OutsideFault(
            f"The search needs every answer, but a call failed: {lost[before].message}",
            hint="Run the same command again when the provider is available. Finished calls are cached.",
        )


async def answers(session: Session, variant: Variant, cases: Sequence[Case]) -> tuple[list[Trace], list[Score]]:
    """Ask `cases` once each for a search, and score the answers with the primary grader.

    Raises:
        OutsideFault: An answer, or a judge's verdict on it, did not come, and would be asked for again.
    """
    with all_answered(session):
        traces = await session.ask(variant, cases)
        _, _, scores = await session.score(traces, cases)
    return traces, scores


async def measure(session: Session, variant: Variant, cases: Sequence[Case]) -> DevScores:
    """Ask `cases` once each, and score the answers with the primary grader."""
    traces = await session.ask(variant, cases)
    num, den, _ = await session.score(traces, cases)
    return DevScores(
        num=num,
        den=den,
        cost_usd=sum(trace.cost_usd for trace in traces),
        weight=usage(traces).weight,
    )
