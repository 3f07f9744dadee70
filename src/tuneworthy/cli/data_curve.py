"""`tuneworthy data curve`."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import click

from tuneworthy.cli.options import json_option, note, print_result, project_option, say
from tuneworthy.cli.tables import show_tables
from tuneworthy.config import load
from tuneworthy.dataset.curve import NAME, NAMES, DatasetCurve, curve_of, finding
from tuneworthy.dataset.effect import MIN_ASKED
from tuneworthy.dataset.freeze import open_version
from tuneworthy.dataset.records import Difference
from tuneworthy.report.render import table_lines
from tuneworthy.report.text import NONE, Column, Table, integer, percent, percent_range, points, points_range
from tuneworthy.store import Folder
from tuneworthy.verdict.gather_training import pilot_scores


@click.command("curve")
@project_option
@json_option
def command(root: Path) -> int:
    """Show how the score grows with the number of rows.

    Trains the classical baseline on random subsets of the latest frozen version, each twice as large as the one before,
    and shows the score per size. The recommended size is the smallest that scores within the margin in [task] of all
    rows.

    Where at least 50 dev cases have an expected answer, built rows are also compared with as many raw rows (among them
    rows that the checks dropped), reviewed rows (found good by people) and the most difficult rows (answered wrong by a
    baseline that trained on others). Rows that a check repaired are repaired in all. Pilots
    of two bases are compared by number of rows.

    The exit status is 4 if there are too few rows or dev cases, or if more rows do not help this baseline.

    \b
    Example:
      tuneworthy data curve
    """
    project = load(root)
    store = Folder(project.root)
    curve = curve_of(project, open_version(store), note)
    store.write(NAME, asdict(curve))
    pilots = pilot_scores(store, curve.version)
    print_result({**asdict(curve), "pilots": pilots}, _show, curve, pilots)
    return 4 if curve.size is None else 0


def _show(curve: DatasetCurve, pilots: Mapping[str, Mapping[int, float]]) -> None:
    _say(curve)
    if len(pilots) > 1:
        (weak, lower), (strong, higher) = sorted(pilots.items(), key=lambda one: max(one[1].values()))[-2:]
        best = max(lower.values())
        columns = [
            Column("size", "rows", integer, value=int),
            *(Column(name, name, percent, value=scores.get) for name, scores in pilots.items()),
        ]
        say(
            "",
            *table_lines(Table.of("", columns, sorted({size for scores in pilots.values() for size in scores}))),
            f"Pilots, mean score on dev (descriptive): {strong} reaches the best score of {weak} ({best:.1%}, with "
            f"{min(size for size, score in lower.items() if score == best):,} rows) with "
            f"{min(size for size, score in higher.items() if score >= best):,} rows.",
        )
    elif pilots:
        say("", "To compare with another base, set `base` in [train] and run `tuneworthy train --pilot`.")


def _say(curve: DatasetCurve) -> None:
    columns = [
        Column("size", "rows", integer),
        Column("score", "built", percent),
        Column("ci95", "95% interval", percent_range),
    ]
    show_tables([Table.of("Score by number of rows", columns, curve.points), *([_gains(curve)] if curve.arms else [])])
    if curve.cleaning:
        say(f"All rows, built − raw: {_words(curve.cleaning)}")
    largest = curve.points[-1].size
    margin, gain = f"{100 * curve.margin:.1f}", _words(curve.doubling)
    if curve.size is None:
        say(
            f"No size can be recommended: {largest:,} rows do not score measurably better than {curve.least:,}. Either "
            f"{curve.least:,} rows are enough, or this baseline cannot learn the task. Check the labels, then add rows "
            "and run `tuneworthy data build`."
        )
    else:
        size = "all" if curve.size == largest else f"{curve.size:,}"
        say(
            f"Recommended size: {size} rows. It is the smallest whose score is shown to be within {margin} points of "
            f"the score with {largest:,} rows (at 95% confidence)."
        )
        if curve.least < curve.size:
            say(
                f"This test is too small to rule out that {curve.least:,} rows are enough. Add dev cases for a sharper "
                "answer."
            )
        low, high = curve.doubling.ci95
        likely = "unlikely" if high < curve.margin else "likely" if low > 0 else "not shown"
        say(f"More rows like these are {likely} to help: the last doubling gained {gain} points.")
    if found := finding(curve):
        say(
            f"{found}. These comparisons use only the {curve.n_dev} dev cases. The held-out rows passed the checks, so "
            "they would favour the built rows."
        )
    else:
        say(
            f"Kinds of rows were not compared. It needs at least {MIN_ASKED} dev cases with a known answer, and "
            f"there are {curve.n_dev}."
        )
    if "reviewed" not in curve.arms:
        say("Too few reviewed rows for a series. Run `tuneworthy label review`, then `tuneworthy data curve`.")
    say(
        f"Score: {curve.metric} of the classical baseline ({curve.baseline}) on {curve.n} dev cases and held-out rows, "
        "never on test. The held-out rows passed the checks, so the recommended size may be too small. At least a "
        f"third of the rows is held out and not trained on. Rows: {curve.n_built} of version {curve.version} and "
        f"{curve.n_raw - curve.n_built} that were dropped."
    )


def _gains(curve: DatasetCurve) -> Table:
    gains = {(name, point.size): point.gain for name, points in curve.arms.items() for point in points}
    columns = [
        Column(name, NAMES[name], _words, value=lambda n, name=name: gains.get((name, n)))  # type: ignore[misc]
        for name in curve.arms
        if name != "built"
    ]
    return Table.of(
        "Points more than as many random built rows, 95% interval",
        [Column("", "rows", integer, value=int), *columns],
        sorted({n for _, n in gains}),
    )


def _words(difference: Difference | None) -> str:
    return f"{points(difference.delta)} {points_range(difference.ci95)}" if difference else NONE
