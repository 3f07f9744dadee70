"""A judge of training rows: the grader `judge`, through the project's store of answers and its budget.

Invariants:

1. Canaries, worthless answers to the rows' own questions, come first; a judge that calls one good sees no row.
2. Every verdict is committed before it counts: a build that was stopped sends no row twice.
3. A row without a verdict keeps its place; only what ends a run as a whole (budget, key, provider down) ends this.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import islice

import orjson

from tuneworthy.cases.normalize import question_of
from tuneworthy.cases.pairs import rejected_answer
from tuneworthy.cases.pii import Masker
from tuneworthy.cases.splits import example_case
from tuneworthy.cases.task_kind import guess_kind
from tuneworthy.config.graders import Judge
from tuneworthy.config.project import Project
from tuneworthy.dataset.base import Auditor, AuditResult, PairScorer
from tuneworthy.engine.budget import Budget
from tuneworthy.engine.models import Models
from tuneworthy.engine.request_batcher import RequestBatcher
from tuneworthy.engine.runner import Progress, Runner
from tuneworthy.engine.shards import keys_elsewhere
from tuneworthy.errors import UserError
from tuneworthy.graders.apply import grade_all, make_grader
from tuneworthy.graders.base import GradingContext
from tuneworthy.graders.judge import JudgeGrader
from tuneworthy.graders.validate import validate_judge
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.store import Folder, ResponseStore
from tuneworthy.types import (
    Case,
    Cases,
    Example,
    Examples,
    JsonObject,
    Response,
    Texts,
    Trace,
    calls_of,
    content_hash,
    role_of,
    text_of,
)

# Rows that are judged concurrently.
BLOCK = 1_000
_SHOWN = 200
_CANARY_ROWS = 50
_RUBRIC = """\
The answer does what the question, and the instructions before it if there are any, ask for. It is right, complete, in \
the language of the question and in the form that is asked for. It makes nothing up, breaks off nowhere, and is what a \
careful person who knows the subject would have sent. A question that cannot be answered is declined."""


def case_of(row: Example) -> Case:
    """Return a row as a case: the question, instructions included, and the answer to judge in `expected`.

    An answer that calls tools is judged as its JSON.
    """
    last = row.messages[-1] if row.messages else {}
    answer = row.answer
    if calls := calls_of(last):
        answer = orjson.dumps({"content": answer, "tool_calls": calls}, default=str).decode()
    system = [text_of(m) for m in row.messages[:-1] if role_of(m) in {"system", "developer"}]
    return Case(id=row.id, input="\n".join([*system, question_of(row)]), expected=answer)


def auditor_of(
    project: Project, store: Folder, labels: Texts, progress: Progress | None, max_usd: float | None
) -> tuple[Auditor | None, str | None]:
    """Return the judge of `[data.judge]` and a hash of what its verdicts depend on; None for both without a judge.

    Args:
        project: Its models, its budget.
        store: Its folder; the caller holds the lock.
        labels: Of a task that has few; the judge gets them.
        progress: Notified of calls.
        max_usd: Spending limit of this run, in addition to the project's own budget.
    """
    config = project.data.judge
    if config is None or "judge_audit" in project.data.off:
        return None, None
    rubric = config.rubric or _RUBRIC
    if labels and not config.rubric:
        rubric += f"\nThe answer is one of these labels, and none of the others fits better: {'; '.join(labels)}"
    section = Judge(
        type="judge",
        model=config.model,
        rubric=rubric,
        needs_expected=False,
        mask=config.mask,
        max_tokens=config.max_tokens,
    )
    opened = partial(_opened, project, store, section, progress, max_usd)

    async def identity() -> JsonObject:
        async with opened() as judge:
            return dict(judge.identity)

    async def audit(rows: Examples) -> AuditResult:
        async with opened() as judge:
            canaries = await validate_judge(judge, [case_of(row) for row in islice(rows, _CANARY_ROWS)])
            if canaries.status == "fail":
                raise UserError(
                    f"The judge models.{section.model} in [data.judge] failed its test. {' '.join(canaries.reasons)}",
                    hint='Choose a different model, fix the rubric, or set off = ["judge_audit"] in [data].',
                )
            opinions = []
            for first in range(0, len(rows), BLOCK):
                block = [case_of(row) for row in rows[first : first + BLOCK]]
                verdicts = await asyncio.gather(*(judge.verdict(case, case.expected) for case in block))
                opinions += [(good, Masker().mask(why)[:_SHOWN]) for good, why in verdicts]
        return AuditResult(opinions, canaries.n_canaries)

    return lambda rows: asyncio.run(audit(rows)), content_hash(asyncio.run(identity()))


@asynccontextmanager
async def _opened(
    project: Project, store: Folder, section: Judge, progress: Progress | None, max_usd: float | None
) -> AsyncIterator[JudgeGrader]:
    """Open the model and yield the grader, which gets no right answer: the one that it judges is all there is."""
    responses, models, seed = ResponseStore(store.responses), Models(project), project.split.seed
    spending = responses.spending()
    limits = [project.ladder.budget_usd, None if max_usd is None else spending.usd + max_usd]
    runner = Runner(
        responses,
        Budget(min((one for one in limits if one is not None), default=None), spending.usd, spending.unanswered_usd),
        ShotPool(()),
        progress,
        seed=seed,
    )
    runner.elsewhere = partial(keys_elsewhere, store)
    try:
        yield JudgeGrader(section, GradingContext(root=project.root, asker=RequestBatcher(runner, models), seed=seed))
    finally:
        await models.close()
        responses.close()


def pair_scorer(project: Project, cases: Cases, rows: Examples, labels: Texts) -> PairScorer | None:
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

    def scores(pairs: Examples) -> list[tuple[float | None, float | None]]:
        try:
            grader = make_grader(
                section, GradingContext(root=project.root, examples=rows, labels=labels, seed=project.split.seed)
            )
        except UserError:  # `check` says why it cannot be built
            return [(None, None)] * len(pairs)
        asked = {
            str(n): replace(case, id=str(n))
            for n, row in enumerate(pairs)
            if (case := example_case(row, kind)) is not None
        }
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
