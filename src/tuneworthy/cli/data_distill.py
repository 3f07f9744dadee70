"""`tuneworthy data distill`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tuneworthy.cli.data_build import dropped_rows
from tuneworthy.cli.interruption import run_async
from tuneworthy.cli.options import (
    PATH,
    POSITIVE,
    batch_option,
    input_option,
    json_option,
    note,
    print_result,
    project_option,
    say,
    spending_options,
)
from tuneworthy.cli.progress import RunProgress
from tuneworthy.cli.run import agree_to_spend, fetch_models
from tuneworthy.cli.tables import show_tables
from tuneworthy.config import Project, load
from tuneworthy.config.graders import Judge
from tuneworthy.dataset.distill.queries import open_queries
from tuneworthy.dataset.distill.run import distill
from tuneworthy.dataset.importing.folder import Import
from tuneworthy.dataset.records import ImportRequest
from tuneworthy.engine.batch_rounds import batches_of
from tuneworthy.ladder.commands.teacher import teaching_of
from tuneworthy.ladder.distillation import distillation_steps
from tuneworthy.ladder.estimate import Estimate, estimate_teacher
from tuneworthy.ladder.record import RungRecord
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import current
from tuneworthy.report.tables import distillation_table
from tuneworthy.types import Paths


@click.command("distill")
@click.argument("files", nargs=-1, type=PATH)
@input_option
@click.option(
    "--limit",
    type=POSITIVE,
    metavar="N",
    help="Maximum number of questions, drawn with the project's seed.",
)
@project_option
@batch_option
@spending_options
@json_option
def command(
    files: Paths,
    limit: int | None,
    root: Path,
    batch: bool,
    max_usd: float | None,
    yes: bool,
    **request: Any,
) -> None:
    """Create training rows from the answers of a teacher.

    The teacher of [teacher] answers the questions of FILES (default: the latest import, or else the examples). First,
    the command skips rows with disliked answers, dev and test questions, and duplicates, and masks personal data. It
    drops truncated, blocked and refused answers. The result is an import for `data build`, and rejects.jsonl lists
    every dropped row with the reason. With `variant`, any variant of the last run teaches a model that gets only the
    question; a table compares the teacher with today's option on test.

    To resume after an interruption, run the command again. Finished calls are cached and never paid for twice. With
    --batch, the answers come from batches of the provider; for a vLLM model, the command writes files for
    `vllm run-batch`, and reads the results when it is run again.

    \b
    Example:
      tuneworthy data distill questions.txt --limit 500 --max-usd 2
      tuneworthy data distill logs.jsonl --yes
    """
    project = load(root)
    fetch_models(project)
    made = run_async(_run(project, files, ImportRequest(**request), limit=limit, batch=batch, max_usd=max_usd, yes=yes))
    rows, calls, steps = made
    print_result({"path": str(rows.folder), "calls": calls, "steps": steps, **asdict(rows.record)}, _say, *made)


async def _run(
    project: Project,
    files: Paths,
    request: ImportRequest,
    *,
    limit: int | None,
    batch: bool,
    max_usd: float | None,
    yes: bool,
) -> tuple[Import, int, list[RungRecord]]:
    async with open_session(project, progress=RunProgress(), max_usd=max_usd, waiting=note) as session:
        teaching = teaching_of(session)
        judges = {grader.model for grader in project.graders[:1] if isinstance(grader, Judge)}
        queries = open_queries(project, session.folder, files, request, note)
        n, words = min(limit or queries.record.n_kept, queries.record.n_kept), Estimate.in_batches if batch else str
        agree_to_spend(
            project, max_usd, yes, {teaching.variant.model, *judges},
            estimate=lambda: words(estimate_teacher(project, session.data, session.models, teaching.variant, n)),
        )  # fmt: skip
        if batch:
            session.runner.rounds = await batches_of(session.runner, session.models)
        made = await distill(project, session.folder, queries, teaching, limit=limit, say=note)
        return *made, await distillation_steps(session, {"today": [current(session)], "teacher": [teaching.variant]})


def _say(rows: Import, calls: int, steps: Sequence[RungRecord]) -> None:
    record, made = rows.record, rows.record.distilled
    assert made is not None
    say(f"Teacher: {made.teacher.variant} on {made.teacher.model}, prompt {made.teacher.prompt}")
    say(
        f"{made.n_asked} questions, {made.n_answers} answers ({calls} new calls), {made.n_kept} kept, "
        f"${made.cost_usd:.4f} in total"
    )
    note(*record.notes)
    for reason in record.reasons.values():
        say(dropped_rows(reason.n, reason.words, reason.first))
    if (score := made.agreement) is not None:
        low, high = score.ci95
        say(
            f"Score of the teacher's first answers against known answers: {score.score:.1%} "
            f"[{low:.1%}, {high:.1%}], n = {score.n}, {score.unscored} unscored"
        )
    show_tables(filter(None, [distillation_table(steps)]))
    say(f"{rows.folder / 'rows.jsonl'}: {record.n_kept} rows. Next: tuneworthy data build")
    if record.n_rejected:
        say(f"{rows.folder / 'rejects.jsonl'}: the dropped rows with their reasons (n = {record.n_rejected})")
