"""`tuneworthy data curve`."""

from dataclasses import asdict
from pathlib import Path

import click

from tuneworthy.cli import messages
from tuneworthy.cli.options import json_option, note, print_result, project_option, version_option
from tuneworthy.cli.tables import make_table
from tuneworthy.cli.terminal import console
from tuneworthy.config import load
from tuneworthy.dataset.curve import SAMPLES, DatasetCurve, curve_of
from tuneworthy.dataset.effect import MIN_ASKED
from tuneworthy.dataset.freeze import open_version
from tuneworthy.dataset.records import Difference
from tuneworthy.report.numbers import NONE, count, percent, percent_range, points, points_range
from tuneworthy.store import Folder


@click.command("curve")
@version_option
@click.option(
    "--sample",
    "samples",
    multiple=True,
    type=click.Choice(list(SAMPLES)),
    help="Another way to choose the rows; repeatable.",
)
@project_option
@json_option
def command(version_id: str | None, samples: tuple[str, ...], root: Path, as_json: bool) -> int:
    """Show how the score grows with the number of rows.

    Trains the classical baseline on random subsets of a frozen version, each twice as large as the one before,
    and shows the score per size. The recommended size is the smallest that scores within the margin in [task] of all
    rows.

    Where at least 50 dev cases have an expected answer, the built rows are also compared with as many raw rows, which
    are rows from before the checks.

    --sample adds another way to choose the rows. With `difficulty`, the hardest rows come first: those whose answer a
    model trained on other rows finds least probable. With `diversity`, each further row is the one least similar to
    those already chosen.

    The exit status is 4 if there are too few rows or dev cases, or if more rows do not help this baseline.

    \b
    Example:
      tuneworthy data curve
      tuneworthy data curve --sample difficulty --sample diversity
    """
    project = load(root)
    curve = curve_of(project, open_version(Folder(project.root), version_id), list(dict.fromkeys(samples)), note)
    print_result(as_json, asdict(curve), _say, curve)
    return 4 if curve.size is None else 0


def _say(curve: DatasetCurve) -> None:
    others = list(curve.points[0].against)
    rows = [
        [
            count(one.size),
            f"{percent(one.score)} {percent_range(one.ci95)}",
            *(_words(one.against.get(n)) for n in others),
        ]
        for one in curve.points
    ]
    if curve.cleaning:
        rows.append(["all", "", *(_words(curve.cleaning) if n == "raw" else NONE for n in others)])
    heads = [
        "rows",
        "built, 95% interval",
        *(f"built − {name}, 95% interval" for name in others),
    ]
    console().print(make_table(None, heads, rows, numbers=range(len(heads))))
    largest = curve.points[-1].size
    about = {"margin": 100 * curve.margin, "size": curve.size, "largest": largest, "least": curve.least}
    if curve.size is None:
        click.echo(messages.say("curve_undecided", **about))
    else:
        click.echo(messages.say("curve_size" if curve.size < largest else "curve_size_all", **about))
        if curve.least < curve.size:
            click.echo(messages.say("curve_open", **about))
        low, high = curve.doubling.ci95
        trend = "curve_flat" if high < curve.margin else "curve_more" if low > 0 else "curve_unclear"
        click.echo(messages.say(trend, gain=_words(curve.doubling), **about))
    if others:
        click.echo(
            f"Differences use only the {curve.n_dev} dev cases. The held-out rows passed the checks, so they "
            "would favour the built rows."
        )
    elif curve.n_dev < MIN_ASKED:
        click.echo(
            f"The effect of the checks and of other samples was not measured. It needs at least {MIN_ASKED} dev "
            f"cases with a known answer, and there are {curve.n_dev}."
        )
    click.echo(messages.say("curve_basis", **asdict(curve), n_dropped=curve.n_raw - curve.n_built))


def _words(difference: Difference | None) -> str:
    return f"{points(difference.delta)} {points_range(difference.ci95)}" if difference else NONE
