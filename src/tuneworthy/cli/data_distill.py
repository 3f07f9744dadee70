"""`tuneworthy data distill`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from tuneworthy.cli.options import json_option, note, print_json, project_option, spending_options
from tuneworthy.cli.progress import Lines
from tuneworthy.cli.run import agree_to_spend, fetch_models
from tuneworthy.config import Project, load
from tuneworthy.dataset.distill.queries import open_queries
from tuneworthy.dataset.distill.run import Distillation, distill
from tuneworthy.dataset.importing.importer import ImportRequest
from tuneworthy.ladder.commands.teacher import teaching_of
from tuneworthy.ladder.session import open_session


@click.command("distill", short_help="Let a teacher answer questions, as training rows.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--input", "inputs", metavar="COL", multiple=True, help="Column of the question (may be repeated).")
@click.option("--expected", metavar="COL", help="Column of the right answer.")
@click.option("--format", "format_name", metavar="NAME", help="How the rows are written; recognised if not given.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Ask at most N questions: a seeded draw.")
@click.option("--add", is_flag=True, help="Keep the rows of the latest import and add these; needs FILES.")
@project_option
@spending_options
@json_option
def command(
    files: tuple[Path, ...],
    inputs: tuple[str, ...],
    expected: str | None,
    format_name: str | None,
    limit: int | None,
    add: bool,
    root: Path,
    max_usd: float | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Let the teacher of [teacher] answer the questions of FILES (else of the latest import, else of the examples).

    First the questions are sifted: rows whose answer people disliked, questions of dev and test, and repeated ones are
    not asked, and personal data is masked. Answers that were cut off, blocked or refused are left out. What comes is
    an import that `data build` takes; whatever was left out is in its rejects.jsonl, with the reason. With
    `variant = "best"` the best prompt of the last run teaches a model that sees the bare question.

    Run it again to go on after an interruption: what was answered is never asked again.

    \b
    Example:
      tuneworthy data distill questions.txt --limit 500 --max-usd 2
      tuneworthy data distill logs.jsonl --yes
    """
    if add and not files:
        raise click.UsageError("expected FILES with --add: what is there already would be asked again")
    project = load(root)
    fetch_models(project)
    request = ImportRequest(inputs, expected, format_name)
    done = asyncio.run(_run(project, files, request, limit=limit, add=add, max_usd=max_usd, yes=yes))
    if as_json:
        print_json({"path": str(done.rows.folder), "calls": done.calls, **done.rows.document})
    else:
        _say(done)


async def _run(
    project: Project,
    files: tuple[Path, ...],
    request: ImportRequest,
    *,
    limit: int | None,
    add: bool,
    max_usd: float | None,
    yes: bool,
) -> Distillation:
    async with open_session(project, progress=Lines(), max_usd=max_usd, waiting=note) as session:
        teaching = teaching_of(session)
        judges = {grader.model for grader in project.graders[:1] if grader.type == "judge"}
        agree_to_spend(project, max_usd, yes, {teaching.variant.model, *judges})
        queries = open_queries(project, session.folder, files, request, note)
        return await distill(project, session.folder, queries, teaching, limit=limit, add=add, say=note)


def _say(done: Distillation) -> None:
    told, made = done.rows.document, done.rows.document["distilled"]
    teacher = made["teacher"]
    click.echo(f"Teacher: {teacher['variant']} on {teacher['model']}, prompt {teacher['prompt']}")
    click.echo(
        f"{made['n_asked']} questions asked, {made['n_answers']} answers ({done.calls} calls now), "
        f"{made['n_kept']} kept, ${made['cost_usd']:.4f} in all"
    )
    for line in told["notes"]:
        note(line)
    for reason, found in told["reasons"].items():
        click.echo(f"  left out: {found['n']} {reason} ({found['words']}; first at {found['first']})")
    if agreement := made["agreement"]:
        click.echo(f"First answers against known ones: {_share(agreement)}")
    click.echo(f"{done.rows.folder / 'rows.jsonl'}: {told['n_kept']} rows; next: tuneworthy data build")
    if told["n_rejected"]:
        click.echo(f"{done.rows.folder / 'rejects.jsonl'}: {told['n_rejected']} rows that were left out, with reasons")


def _share(agreement: dict[str, Any]) -> str:
    low, high = agreement["ci95"]
    return f"{agreement['score']:.3f} [{low:.3f}, {high:.3f}], n = {agreement['n']}, {agreement['unscored']} unscored"
