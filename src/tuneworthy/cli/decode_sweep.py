"""`tuneworthy decode sweep`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from tuneworthy.cli.options import json_option, note, print_json, project_option, spending_options
from tuneworthy.cli.progress import Lines
from tuneworthy.cli.run import agree_to_spend, fetch_models
from tuneworthy.config import Project, load
from tuneworthy.ladder.commands.sweep import Sweeping, SweepReport
from tuneworthy.ladder.record import read_record
from tuneworthy.ladder.rungs.decoding import label
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import resolve
from tuneworthy.search.sweep import open_study

CALLS = 1000


@click.command("sweep", short_help="Tune the sampling parameters on dev.")
@click.option("--variant", default="", metavar="WORD", help="What to tune: best, a rung, an id, current.")
@click.option("--calls", default=CALLS, show_default=True, type=click.IntRange(1), help="Answers, at most.")
@click.option("--repeats", default=2, show_default=True, type=click.IntRange(2, 10), help="Answers to each case.")
@project_option
@spending_options
@json_option
def command(
    variant: str, calls: int, repeats: int, root: Path, max_usd: float | None, yes: bool, as_json: bool
) -> None:
    """Tune the sampling parameters of a variant on dev, within a number of calls.

    Optuna proposes, racing drops those behind on one half of dev, and the winner is compared with what is in use on the
    other half, once. What is adopted is the first candidate of the rung `decoding` (of `fine_tune`, for a tuned model),
    which puts it to test. Run it again after an interruption: nothing is asked twice. Models that take no temperature,
    or none but 1, are swept over all levels of their effort.

    \b
    Example:
      tuneworthy decode sweep --calls 600
      tuneworthy decode sweep --variant few_shot --max-usd 1 --yes
    """
    project = load(root)
    open_study(0)
    fetch_models(project)
    report = asyncio.run(_run(project, variant, calls, repeats, max_usd=max_usd, yes=yes))
    if as_json:
        print_json(report.to_dict())
    else:
        _show(report)


async def _run(
    project: Project, word: str, calls: int, repeats: int, *, max_usd: float | None, yes: bool
) -> SweepReport:
    async with open_session(project, progress=Lines(), max_usd=max_usd, waiting=note) as session:
        last = read_record(session.folder)
        word = word or ("best" if last and last.best and not last.partial else "current")
        base = resolve(session, word)
        judges = {grader.model for grader in project.graders if grader.type == "judge"}
        agree_to_spend(project, max_usd, yes, {*judges, base.model})
        return await Sweeping(session, base, repeats).run(calls)


def _show(report: SweepReport) -> None:
    found = report.found
    click.echo(f"{report.base.name} on {report.base.model}: {len(found.tried)} settings tried ({found.stopped}).")
    for one in found.tried[:8]:
        click.echo(f"  {one.objective:.3f} on {one.n:4d} cases  {label(one.setting)}")
    if found.paired is None:
        click.echo("Nothing was better than what is in use on the half that was searched.")
    else:
        pair, words = found.paired, "adopted" if found.adopted else "not adopted"
        click.echo(
            f"{label(found.setting)}: {words}. On {found.n_confirm} cases that nobody searched on: {pair.delta:+.3f} "
            f"[{pair.ci[0]:+.3f}, {pair.ci[1]:+.3f}], p = {pair.p_value:.4f}, of objective {pair.a:.3f}."
        )
    for name, parts in (("in use", report.before), ("winner", report.after)):
        if parts:
            click.echo(
                f"  {name}: score {parts.score:.3f}, repeats agree {parts.consistency:.3f}, valid {parts.validity:.3f}"
                f"{_failed(parts.failed)}"
            )
    if report.flips:
        flips = report.flips
        click.echo(
            f"At temperature 0, {flips.rate:.0%} of {flips.cases} cases change over {flips.repeats} answers: "
            f"{flips.share:.0%} of the variance of a score{_failed(flips.failed)}."
        )
    else:
        click.echo("How often answers change at temperature 0 was not measured: the model takes no such temperature.")
    click.echo(f"{found.calls} of {found.budget} calls, ${report.cost_usd:.4f}.")


def _failed(n: int) -> str:
    return f" ({n} failed answers left out)" if n else ""
