"""`tuneworthy data review`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from tuneworthy.cases.pii import Masker
from tuneworthy.cli.options import json_option, person, print_json, project_option
from tuneworthy.cli.review_terminal import mend, review_on_terminal, second_on_terminal
from tuneworthy.dataset.card import look_of
from tuneworthy.dataset.freeze import Version, open_version
from tuneworthy.dataset.importing.importer import example_of
from tuneworthy.dataset.review.log import FILE_NAME
from tuneworthy.dataset.review.session import BOUND, Rejected, Review
from tuneworthy.dataset.review.state import State
from tuneworthy.report.text import clean
from tuneworthy.stats.acceptance import operating_characteristic
from tuneworthy.store import Folder
from tuneworthy.types import Example

OPEN_SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)
STATUS = {"accepted": 0, "rejected": 3, "open": 4, "no_plan": 4}


@click.command("review", short_help="Let people judge a random sample of a version.")
@click.option(
    "--version", "version_id", metavar="ID", help="The frozen version, or how its id begins; else the latest."
)
@click.option("--reviewer", metavar="NAME", help="Who reviews; the default is the name of the user.")
@click.option("--bound", type=OPEN_SHARE, help="Share of good rows to show; 0.95 if not given.")
@click.option("--max-bad", type=click.IntRange(min=0), help="Most bad rows in the sample; 1 if not given.")
@click.option("--seed", type=int, help="Of the draw; a random one, which is stored, if not given.")
@click.option("--plans", is_flag=True, help="Only list the plans to choose from: fixes nothing, shows no row.")
@click.option("--status", "status_only", is_flag=True, help="Only say how far the review is.")
@click.option("--again", is_flag=True, help="A further attempt, with fresh rows, on a version that was rejected.")
@click.option("--complete", is_flag=True, help="Go on to the end of the sample although it is decided.")
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.25,
    show_default=True,
    help="Share of the sample that every reviewer gets (at least 30 rows): gives their agreement.",
)
@click.option(
    "--rejected", is_flag=True, help="Judge a second sample instead: rows that a check or the judge rejected."
)
@click.option(
    "--reason", "reasons", metavar="CODE", multiple=True, help="With --rejected: only rows left out for this."
)
@click.option("--n", type=click.IntRange(min=1), help="With --rejected: how many rows; 60 if not given.")
@click.option("--bad", "bad_row", metavar="ROW", help="Make your verdict on this row bad after all; needs --because.")
@click.option("--because", metavar="TEXT", help="With --bad: why.")
@project_option
@json_option
def command(
    version_id: str | None,
    reviewer: str | None,
    bound: float | None,
    max_bad: int | None,
    seed: int | None,
    plans: bool,
    status_only: bool,
    again: bool,
    complete: bool,
    share: float,
    rejected: bool,
    reasons: tuple[str, ...],
    n: int | None,
    bad_row: str | None,
    because: str | None,
    root: Path,
    as_json: bool,
) -> int:
    """Judge a random sample of a frozen version, row by row: good to train on as it is, or bad, and why.

    The plan (so many rows, at most so many bad) is fixed and on disk before the first row is shown. It ends early only
    when its outcome is certain. Every plan counts as an attempt, and attempt k may err with 0.05 / 2^k, so that "at
    least 95 % are good" holds at 95 % over all rebuilds and attempts of the project; rows that were reviewed before
    are not drawn again.

    Verdicts are on disk at once, in reviews.jsonl: stop with /quit and go on later. Several people may review: all of
    them get a share of the sample, which gives their agreement; a row is bad if anybody says so. With --rejected you
    judge rows that were left out, to learn how often that was wrong; that sample is kept apart.

    The exit status is 0 if the version is accepted, 3 if it is rejected, 4 if the plan is not finished.

    \b
    Example:
      tuneworthy data review --plans
      tuneworthy data review --max-bad 2 --reviewer ada
      tuneworthy data review --rejected --reason judged_bad
      tuneworthy data review --status --json
    """
    version = open_version(Folder(root), version_id)
    review = _review_of(root, version)
    if plans:
        return _plans(review, bound, as_json=as_json)
    if rejected and (bound is not None or max_bad is not None or again):
        raise click.UsageError("expected --rejected without --bound, --max-bad and --again: its sample decides nothing")
    if (reasons or n) and not rejected:
        raise click.UsageError("expected --rejected with --reason and --n, which are about rows that were left out")
    if bad_row or because:
        who = person(reviewer, "--reviewer")
        mend(review, who, bad_row or "", because or "")
    elif not status_only and rejected:
        who = person(reviewer, "--reviewer")
        sample = review.second_sample(n=n, reasons=reasons, seed=seed)
        second_on_terminal(review, sample, who, share=share, masker=Masker(look=look_of(version.recipe)))
    elif not status_only:
        who = person(reviewer, "--reviewer")
        plan = review.plan(bound=bound, max_bad=max_bad, seed=seed, again=again)
        review_on_terminal(review, plan, who, share=share, complete=complete)
    state = review.state()
    if as_json:
        print_json(state.to_dict())
    else:
        _say(state)
    return 0 if rejected else STATUS[state.status]


def _review_of(root: Path, version: Version) -> Review:
    return Review(root / FILE_NAME, version.id, _Kept(version), _LeftOut(version))


class _Kept:
    """The rows of a version, read anew each time."""

    def __init__(self, version: Version) -> None:
        self.version = version

    def __iter__(self) -> Iterator[Example]:
        return self.version.examples()


class _LeftOut:
    """The rows that left a version and can be read as a chat, read anew each time."""

    def __init__(self, version: Version) -> None:
        self.version = version

    def __iter__(self) -> Iterator[Rejected]:
        for line in self.version.rejects():
            row = line.get("row")
            if isinstance(row, dict) and row.get("messages"):
                yield Rejected(example_of({"id": "", **row}), str(line["reason"]))


def _plans(review: Review, bound: float | None, *, as_json: bool) -> int:
    bound = bound or BOUND
    found = review.choices(bound=bound)
    rates = (0.005, 0.01, 0.02)
    rows = []
    for n, bad in found:
        passes = {f"{rate:.1%}": operating_characteristic(n, n - bad, 1 - rate) for rate in rates}
        rows.append({"n": n, "max_bad": bad, "passes": passes})
    if as_json:
        print_json({"version": review.version, "bound": bound, "plans": rows})
        return 0
    click.echo(
        f"Plans that show at least {bound:.4g} good, and the chance that a version with so many bad rows passes:"
    )
    click.echo("  --max-bad   rows   " + "   ".join(f"{rate:>6.1%}" for rate in rates))
    for n, bad in found:
        chances = "   ".join(f"{operating_characteristic(n, n - bad, 1 - rate):>6.0%}" for rate in rates)
        click.echo(f"  {bad:>9}   {n:>4}   {chances}")
    if not rows:
        click.echo("  none: too many rows are known as bad, or all were reviewed before")
    return 0


def _say(state: State) -> None:
    click.echo(f"{state.version}: {state.status.replace('_', ' ')}: {state.words}.")
    for one in state.bad:
        click.echo(f"  bad: {one.row} ({clean(one.reviewer)}): {clean(one.reason)}")
    both = state.agreement
    if both.n and both.raw is not None:
        kappa = "not defined" if both.kappa is None else f"{both.kappa:.2f}"
        low, high = both.ci95
        share = f"{both.raw:.1%} [{low:.1%}, {high:.1%}]"
        click.echo(f"The reviewers agree on {both.n_agree} of {both.n} rows: {share}, kappa {kappa}.")
    second = state.calibration
    if second is None:
        return
    click.echo(f"{second.words[0].upper()}{second.words[1:]}.")
    for reason, (judged, good) in second.by_reason.items():
        click.echo(f"  {clean(reason)}: {good} of {judged} are good")
