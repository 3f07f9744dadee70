"""`tuneworthy decode uncertainty`."""

from pathlib import Path

import click

from tuneworthy.cli.options import (
    FILE_PATH,
    json_option,
    note,
    print_result,
    project_option,
    spending_options,
)
from tuneworthy.cli.run import fetch_models, with_variants
from tuneworthy.cli.tables import show_tables
from tuneworthy.cli.terminal import console
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.ladder.commands.uncertainty import UncertaintyReport, measure_uncertainty
from tuneworthy.report.heatmap import areas_table, page, ranked, reliability_table, spots_table, terminal, verdict
from tuneworthy.report.run_report import write_text
from tuneworthy.report.text import clean

# Answers to show.
MOST = 5


@click.command("uncertainty")
@click.option(
    "--variant", default="", metavar="WORD", help="Variant to examine: best, a rung, a variant ID, or current."
)
@click.option(
    "--samples", default=0, type=click.IntRange(0, 20), help="Additional sampled answers per case (0, or 2 to 20)."
)
@click.option("--out", type=FILE_PATH, help="Page to write (.html).")
@project_option
@spending_options
@json_option
def command(
    variant: str, samples: int, out: Path | None, root: Path, max_usd: float | None, yes: bool,
) -> None:  # fmt: skip
    """Find where a model is unsure, and whether that predicts errors.

    Runs a variant on dev cases and stores the log-probabilities of its answers. The command suggests a threshold only
    if graded answers support it: the interval of the AUROC must be above chance, with cases grouped. --samples adds the
    disagreement of sampled answers: a second signal, or the only one of a model without log-probabilities.

    \b
    Example:
      tuneworthy decode uncertainty --out uncertainty.html
    """
    if out is not None and out.suffix != ".html":
        raise UserError(f"{out} must end in .html.")
    if samples == 1:
        raise UserError("--samples must be 0 or at least 2, because a single sample cannot show disagreement.")
    project = load(root)
    fetch_models(project)
    report = with_variants(project, [variant], measure_uncertainty, samples=samples, max_usd=max_usd, yes=yes)
    if out:
        write_text(out, page(report))
        note(f"Wrote {out}.")
    print_result(report.to_dict(), _show, report)


def _show(report: UncertaintyReport) -> None:
    out = console()
    out.print(f"{report.variant}: {len(report.answers)} answers, {report.unscored} unscored.")
    show_tables(table for table in (areas_table(report), reliability_table(report), spots_table(report)) if table.rows)
    for one in ranked(report)[:MOST]:
        state = "not graded" if one.wrong is None else "wrong" if one.wrong else "right"
        out.print(f"{clean(one.case, 40)} ({state}): {clean(one.question, 100)}")
        out.print(terminal(one))
    out.print(verdict(report))
