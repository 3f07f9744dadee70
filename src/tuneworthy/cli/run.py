"""`tuneworthy run`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Container, Sequence
from pathlib import Path

import click

from tuneworthy.cli.options import json_option, note, print_json, project_option, spending_options
from tuneworthy.cli.progress import Lines
from tuneworthy.cli.tables import show_run
from tuneworthy.config import Project, load
from tuneworthy.config.retrieval import CrossEncoderReranker, LlamaCppEncoder
from tuneworthy.errors import Undecided, UserError
from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.run import check_rungs, run_ladder
from tuneworthy.providers.models import find, pull
from tuneworthy.providers.prices import price_for
from tuneworthy.report.text import clean
from tuneworthy.retrieval.library import paid_servers


@click.command("run", short_help="Walk the ladder: measure every cheaper lever on one frozen test set.")
@project_option
@click.option("--rung", "rungs", multiple=True, metavar="NAME", help="Walk only this rung (may be repeated).")
@click.option("--quick", is_flag=True, help="Use 40 dev cases and do not look at test.")
@spending_options
@json_option
def command(root: Path, rungs: tuple[str, ...], quick: bool, max_usd: float | None, yes: bool, as_json: bool) -> None:
    """Walk the ladder: measure every cheaper lever on one frozen test set.

    Each rung explores on dev, puts one winner to test and is adopted or not. Run it again to go on after an
    interruption: what was answered is never asked again. A run that has to stop (budget spent, provider down)
    prints what was walked so far; `"partial"` says why it stopped.

    \b
    Example:
      tuneworthy run --quick
      tuneworthy run --max-usd 2 --yes
    """
    project = load(root)
    check_rungs(rungs)
    fetch_models(project)
    agree_to_spend(project, max_usd, yes)

    def show(record: RunRecord) -> None:
        if as_json:
            print_json(record.to_dict())
        else:
            show_run(record)

    record = walk(project, rungs, quick=quick, max_usd=max_usd, stopped=show)
    show(record)
    baseline = record.rung("baseline")
    if baseline and baseline.status == "failed":
        raise Undecided(
            f"expected a baseline that can be scored, got: {baseline.reason}",
            hint="mend what it says and run again: what was answered is not asked again",
        )


def walk(
    project: Project,
    rungs: Sequence[str] = (),
    *,
    quick: bool = False,
    max_usd: float | None = None,
    stopped: Callable[[RunRecord], None] = lambda _: None,
) -> RunRecord:
    """Walk, with a progress line and a line for each rung; `stopped` is told what was walked if it has to stop."""
    return asyncio.run(
        run_ladder(
            project,
            rungs,
            quick=quick,
            max_usd=max_usd,
            progress=Lines(),
            say=lambda record: note(f"{record.rung}: {record.status}. {clean(record.reason, 0)}"),
            waiting=note,
            stopped=stopped,
        )
    )


def fetch_models(project: Project, names: Container[str] | None = None) -> None:
    """Fetch the embedded models that are not here yet: those of `names`, or all of the project."""
    for name, model in project.models.items():
        if names is not None and name not in names:
            continue
        if model.provider == "llama_cpp" and find(model.model, project.root) is None:
            note(f"Fetching the model {name} ({model.model}).")
            pull(model.model, project.root)
    for key, part in (("encoder", project.retrieval.encoder), ("reranker", project.retrieval.reranker)):
        if isinstance(part, LlamaCppEncoder | CrossEncoderReranker) and find(part.model, project.root) is None:
            note(f"Fetching the model of retrieval.{key} ({part.model}).")
            pull(part.model, project.root)


def agree_to_spend(project: Project, max_usd: float | None, yes: bool, names: Container[str] | None = None) -> None:
    """Ask before money is spent; elsewhere than on a terminal a budget or `--yes` must say so.

    Args:
        project: Its configuration.
        max_usd: Most that this run may spend.
        yes: Whether the user agreed already.
        names: The models that are asked; all of the project if not given.

    Raises:
        UserError: A model costs money, nobody can be asked, and nothing limits it.
    """
    asked = {name: model for name, model in project.models.items() if names is None or name in names}
    paid = [name for name, model in asked.items() if not ((price := price_for(model)) and price.free)]
    paid += paid_servers(project)
    limited = max_usd is not None or project.ladder.budget_usd is not None
    if not paid or yes or (limited and not sys.stdin.isatty()):
        return
    if not sys.stdin.isatty():
        raise UserError(
            f"expected a budget, because {', '.join(paid)} cost money, got none",
            hint="set ladder.budget_usd, or give --max-usd or --yes",
        )
    limit = max_usd if max_usd is not None else project.ladder.budget_usd
    words = f"at most ${limit:.2f}" if limit is not None else "without a limit"
    click.confirm(f"{', '.join(paid)} cost money: go on, {words}?", abort=True, err=True)
