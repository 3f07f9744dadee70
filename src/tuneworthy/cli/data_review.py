"""`tuneworthy data review`: people judge a random sample of a frozen version."""

from pathlib import Path
from typing import Any

import click

from tuneworthy.cases import read_dataset
from tuneworthy.cli.findings_terminal import findings_on_terminal
from tuneworthy.cli.lazy import CommandGroup
from tuneworthy.cli.options import (
    COUNT,
    OPEN_SHARE,
    POSITIVE,
    SEED,
    SHARE,
    json_option,
    note,
    person,
    print_json,
    print_result,
    project_option,
    say,
    version_option,
    wants_json,
)
from tuneworthy.cli.review_terminal import correct, review_on_terminal
from tuneworthy.config import FILE_NAME as PROJECT
from tuneworthy.config import load
from tuneworthy.dataset.corrections import FILE_NAME as CORRECTIONS
from tuneworthy.dataset.corrections import read_corrections, suspect_rows
from tuneworthy.dataset.freeze import Version, open_version
from tuneworthy.dataset.rows import ROWS, StoredRows
from tuneworthy.people.review import BOUND, Review
from tuneworthy.people.review_log import FILE_NAME, ReviewPlan, content_of
from tuneworthy.people.review_state import State
from tuneworthy.report.text import clean
from tuneworthy.stats.acceptance import operating_characteristic
from tuneworthy.store import Folder
from tuneworthy.types import SECOND_SHARE, grouped

BAD_RATES = (0.005, 0.01, 0.02)
STATUS = {"accepted": 0, "rejected": 3, "open": 4, "no_plan": 4}


reviewer_option = click.option("--reviewer", metavar="NAME", help="Name of the reviewer (default: your user name).")
share_option = click.option(
    "--share",
    type=SHARE,
    default=SECOND_SHARE,
    show_default=True,
    help="Share of the sample that every reviewer rates (at least 30 rows), to measure agreement.",
)


@click.group("review", cls=CommandGroup)
def command() -> None:
    """Let people review a random sample of a version.

    Reviewers rate each row as good to train on as it is, or bad, with a reason. The plan (how many rows, and how
    many may be bad) is fixed and saved before the first row is shown. It ends early only when its outcome is
    certain. Every plan counts as an attempt, and attempt k may err with probability 0.05 / 2^k, so "at least 95% are
    good" is true with 95% confidence over all rebuilds and attempts of the project. Rows that have been reviewed are
    not drawn again.

    Ratings are saved immediately in reviews.jsonl: stop with /quit and resume later. If several people review, they
    share part of the sample, which measures their agreement. A row is bad if any reviewer says so.

    Each reviewer also gets some rows with the answer of another row, unmarked. If a reviewer rates more than 2 such
    rows as good, that reviewer's good ratings do not count. On a terminal, a row cannot be rated as good faster than
    it can be read.

    The exit status is 0 if the version is accepted, 3 if it is rejected, and 4 if the plan is not finished.

    \b
    Example:
      tuneworthy data review plan
      tuneworthy data review start --max-bad 2 --reviewer ada
    """


@command.command("plan")
@version_option
@click.option("--bound", type=OPEN_SHARE, default=BOUND, show_default=True, help="Share of good rows to demonstrate.")
@project_option
@json_option
def plan_command(version_id: str | None, bound: float, root: Path) -> None:
    """List possible review plans without fixing one.

    \b
    Example:
      tuneworthy data review plan
    """
    review = open_review(root, version_id)
    plans = [
        (n, n_bad, [operating_characteristic(n, n - n_bad, 1 - rate) for rate in BAD_RATES])
        for n, n_bad in review.choices(bound=bound)
    ]
    if wants_json():
        names = [f"{rate:.1%}" for rate in BAD_RATES]
        rows = [
            {"n": n, "max_bad": n_bad, "passes": dict(zip(names, chances, strict=True))} for n, n_bad, chances in plans
        ]
        print_json({"version": review.version, "bound": bound, "plans": rows})
        return
    say(
        f"Review plans that demonstrate at least {100 * bound:.4g}% good rows. Each column gives the probability "
        "that a version with this share of bad rows passes:"
    )
    say("  --max-bad   rows   " + "   ".join(f"{rate:>6.1%}" for rate in BAD_RATES))
    for n, n_bad, chances in plans:
        say(f"  {n_bad:>9}   {n:>4}   " + "   ".join(f"{chance:>6.0%}" for chance in chances))
    say(
        "`data review start` fixes a plan. A plan counts as an attempt, even if no row is rated."
        if plans
        else "  No plan is possible: too many rows are known to be bad, or all rows have been reviewed."
    )


@command.command("start")
@version_option
@click.option("--bound", type=OPEN_SHARE, help="Share of good rows to demonstrate (default: 0.95).")
@click.option("--max-bad", type=COUNT, help="Maximum number of bad rows in the sample (default: 1).")
@click.option("--seed", type=SEED, help="Random seed (default: a random one, which is stored).")
@click.option("--again", is_flag=True, help="Start another attempt, with new rows, on a rejected version.")
@click.option(
    "--planted",
    type=COUNT,
    help="Number of rows with a wrong answer mixed into the sample to test each reviewer (default: 8).",
)
@click.option("--complete", is_flag=True, help="Continue to the end of the sample although the outcome is certain.")
@reviewer_option
@share_option
@project_option
@json_option
def start(version_id: str | None, complete: bool, reviewer: str | None, share: float, root: Path, **plan: Any) -> int:
    """Fix a plan and review its rows, or resume it.

    \b
    Example:
      tuneworthy data review start --max-bad 2 --reviewer ada
    """
    review = open_review(root, version_id)
    name = person(reviewer, "--reviewer")
    state = review.state()
    if state.plan is None or (plan["again"] and state.status == "rejected"):
        note("The plan is now fixed and counts as an attempt, even if you rate no row.")
    fixed = review.plan(**plan)
    findings = findings_of(open_version(Folder(root), version_id), fixed)
    review_on_terminal(review, fixed, name, share=share, complete=complete, findings=findings)
    return show(review)


@command.command("findings")
@version_option
@click.option("--n", type=POSITIVE, default=50, show_default=True, help="Number of rows at most.")
@reviewer_option
@project_option
@json_option
def findings_command(version_id: str | None, n: int, reviewer: str | None, root: Path) -> None:
    """Correct the rows that the checks reported.

    Shows rows with a suspected label, two labels for one question, an overlap or another finding, the likeliest wrong
    labels first. The decisions are saved in corrections.jsonl, and the next build applies them.

    \b
    Example:
      tuneworthy data review findings --n 50
    """
    version, path = open_version(Folder(root), version_id), root / CORRECTIONS
    cases = read_dataset(load(root), examples=False).cases if (root / PROJECT).is_file() else ()
    suspects = suspect_rows(version, read_corrections(path), cases)
    name = person(reviewer, "--reviewer")
    n_decided = findings_on_terminal(path, version.id, suspects[:n], name) if suspects else 0
    document = {"version": version.id, "decided": n_decided, "waiting": len(suspects) - n_decided, "file": str(path)}
    text = (
        (f"{n_decided} of {len(suspects)} rows decided. All decisions are in {path}. Next: tuneworthy data build")
        if suspects
        else f"No row of version {version.id} needs a decision."
    )
    print_result(document, say, text)


@command.command("correct")
@click.argument("row")
@click.option("--because", metavar="TEXT", required=True, help="Reason why the row is bad.")
@reviewer_option
@version_option
@project_option
@json_option
def correct_command(row: str, because: str, reviewer: str | None, version_id: str | None, root: Path) -> int:
    """Change your rating of ROW from good to bad.

    \b
    Example:
      tuneworthy data review correct 3f2a9c --because "wrong label"
    """
    review = open_review(root, version_id)
    correct(review, person(reviewer, "--reviewer"), row, because)
    return show(review)


@command.command("status")
@version_option
@project_option
@json_option
def status_command(version_id: str | None, root: Path) -> int:
    """Show the progress of the review.

    \b
    Example:
      tuneworthy data review status --json
    """
    return show(open_review(root, version_id))


def findings_of(version: Version, plan: ReviewPlan) -> dict[str, list[str]]:
    lines = grouped(
        (one.id, f"A check reported on that row: {one.check}/{one.reason}: {clean(one.detail)}".removesuffix(": "))
        for one in version.findings()
        if one.id
    )
    rows = frozenset(plan.rows)
    named = ((content_of(row), row.id) for row in version.examples() if row.id in lines)
    return {name: lines[row_id] for name, row_id in named if name in rows}


def open_review(root: Path, version_id: str | None) -> Review:
    """Open the review of a frozen version.

    Raises:
        UserError: There is no such version.
    """
    version = open_version(Folder(root), version_id)
    return Review(root / FILE_NAME, version.id, StoredRows(version.folder / ROWS))


def show(review: Review) -> int:
    """Print how far the review is and return the exit status that says it."""
    state = review.state()
    print_result(state.to_dict(), _show, state)
    return STATUS[state.status]


def _show(state: State) -> None:
    say(
        f"Review of version {state.version}: {state.status.replace('_', ' ')}. "
        f"{state.summary[:1].upper()}{state.summary[1:]}."
    )
    for verdict in state.bad:
        say(f"  bad: {verdict.row} ({clean(verdict.reviewer)}): {clean(verdict.reason)}")
    agreement = state.agreement
    if agreement.n and agreement.raw is not None:
        kappa, adjusted = (
            "not defined" if figure is None else f"{figure:.2f}" for figure in (agreement.kappa, agreement.pabak)
        )
        low, high = agreement.ci95
        say(
            f"The reviewers agree on {agreement.n_agree} of {agreement.n} rows: {agreement.raw:.1%} [{low:.1%}, "
            f"{high:.1%}], kappa {kappa}, prevalence-adjusted kappa {adjusted}."
        )
    if state.status == "rejected":
        say(
            "Next: tuneworthy data build. It drops the rows that were rated bad; correct or drop others like "
            "them first. Then run `tuneworthy data review start` for the new version."
        )
