"""Scores of pairs by the project's first grader: `data build` looks for pairs whose worse answer is the better one."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from tuneworthy.cases.pairs import rejected_answer
from tuneworthy.cases.splits import example_case
from tuneworthy.cases.task_kind import guess_kind
from tuneworthy.config.project import Project
from tuneworthy.dataset.base import PairScorer
from tuneworthy.errors import UserError
from tuneworthy.graders.apply import grade_all, make_grader
from tuneworthy.graders.base import GradingContext
from tuneworthy.types import Case, Example, Response, Trace


def pair_scorer(
    project: Project, cases: Sequence[Case], rows: Sequence[Example], labels: Sequence[str]
) -> PairScorer | None:
    """Return what scores pairs; None where the first grader is a judge, whose calls cost money.

    A grader that compares with an expected answer takes the better answer as the expected one, so it can only find that
    both are equally good. One that judges form or runs code sees which is better.

    Args:
        project: The project.
        cases: Its cases, which show the kind of the task.
        rows: What graders may be built from.
        labels: Of a task that has few.
    """
    section = project.graders[0]
    if section.type == "judge":
        return None
    kind = guess_kind([case.expected for case in cases if case.labelled])

    def scores(pairs: Sequence[Example]) -> list[tuple[float | None, float | None]]:
        context = GradingContext(root=project.root, examples=rows, labels=labels, seed=project.split.seed)
        try:
            grader = make_grader(section, context)
        except UserError:  # `check` says why it cannot be built
            return [(None, None)] * len(pairs)
        found = [example_case(row, kind) for row in pairs]
        asked = {str(n): replace(case, id=str(n)) for n, case in enumerate(found) if case is not None}
        traces = [
            Trace(
                case_id=n, variant_id="pair", repeat=0, messages=(), response=Response(text=text, finish_reason="stop")
            )
            for n in asked
            for text in (pairs[int(n)].answer, rejected_answer(pairs[int(n)]))
        ]
        values = [score.value for score in asyncio.run(grade_all(grader, traces, asked))]
        of = dict(zip(asked, zip(values[::2], values[1::2], strict=True), strict=True))
        return [of.get(str(n), (None, None)) for n in range(len(pairs))]

    return scores
