"""`tuneworthy label`: one queue for every judgement of a person."""

from pathlib import Path

import click

from tuneworthy.cases import read_cases
from tuneworthy.cases.labelling import Applied, agreement, apply_labels, read_labels
from tuneworthy.cases.task_kind import answer_text, guess_kind, label_counts
from tuneworthy.cli.label_queues import QUEUES, LabelFiles, LabelRequest, counted, guideline_of, review_of
from tuneworthy.cli.label_terminal import work_through
from tuneworthy.cli.options import (
    json_option,
    note,
    print_result,
    project_option,
    say,
    version_option,
    wants_json,
)
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.ladder.task_data import read_data
from tuneworthy.people.queue import Queue, same_spelling
from tuneworthy.people.review import Review
from tuneworthy.people.review_state import State
from tuneworthy.report.text import clean
from tuneworthy.text import count
from tuneworthy.types import NamedInts
from tuneworthy.verdict.messages import sentence
from tuneworthy.verdict.suspects import contradicts, is_rated, read_relabelled, suspects_path

STATUS = {"accepted": 0, "rejected": 3, "open": 4, "no_plan": 4}
# Options that apply to some queues only.
ONLY = {"every": "cases", "rungs": "judge", "version": "review findings", "applied": "cases suspects audit"}
NAMES = {"every": "--all", "rungs": "--variant", "version": "--version", "applied": "--apply"}


@click.command("label")
@click.argument("kind", metavar="[QUEUE]", required=False, type=click.Choice([*QUEUES]))
@click.option("--labeller", metavar="NAME", help="Your name (default: your user name).")
@click.option("--status", is_flag=True, help="Show how many rows wait, and the result of a review.")
@click.option("--apply", "applied", is_flag=True, help="Write the labels into the cases.")
@click.option("--overwrite", is_flag=True, help="With --apply, replace expected answers that differ.")
@click.option("--all", "every", is_flag=True, help="Include cases that already have an answer.")
@click.option("--variant", "rungs", metavar="RUNG", multiple=True, help="Rate answers of this rung only; repeatable.")
@version_option
@project_option
@json_option
def command(
    kind: str | None, labeller: str | None, status: bool, applied: bool, overwrite: bool, root: Path, **options: object
) -> int:
    """Label, rate and review rows, one at a time.

    \b
    cases      Give the expected answers; a second person gets a share, blind.
    judge      Rate answers of the last run as good or bad.
    suspects   Relabel failed cases whose label may be wrong.
    shadow     Label sampled sessions of the last replay.
    review     Rate a random sample of a dataset version. Exit status: 0
               accepted, 3 rejected, 4 open.
    findings   Correct rows that the checks of a dataset reported.
    audit      Relabel a random sample of the test cases.

    Without QUEUE, opens the queue that helps most. Every answer is saved at once: stop at any time, and run the same
    command again to continue. The file guideline.md next to the cases tells labellers how to decide.

    \b
    Example:
      tuneworthy label cases --labeller ada
      tuneworthy label cases --apply
    """
    version = options.pop("version_id")
    given = {**options, "version": version, "applied": applied}
    for option, queues in ONLY.items():
        if given[option] and (kind or "cases") not in queues.split():
            raise click.UsageError(f"{NAMES[option]} applies to {queues.replace(' ', ', ')} only.")
    request = LabelRequest(root, labeller, version=version, **options)  # type: ignore[arg-type]
    if status:
        return _show_status(request, kind)
    if applied:
        return _apply(root, kind or "cases", overwrite=overwrite)
    queue = QUEUES[kind or _most_useful(request)](request)
    n_given = work_through(queue)
    if queue.kind == "review":
        return _show_review(review_of(root, request.version)[1])
    _show_end(queue, n_given)
    return 0


def _most_useful(request: LabelRequest) -> str:
    """Return the first queue in which rows wait.

    Raises:
        UserError: There is no such queue.
    """
    for kind, queue in counted(request).items():
        if isinstance(queue, Queue) and queue.waiting and kind != "audit":  # an audit always has more rows
            note(f"Queue `{kind}`: {count(queue.waiting, 'row')}. {queue.why}")
            return kind
    raise UserError(
        "No row waits for you.",
        hint="`tuneworthy label --status` shows why. `tuneworthy cases sample` draws cases from logs.",
    )


def _show_status(request: LabelRequest, kind: str | None) -> int:
    if kind == "review":
        return _show_review(review_of(request.root, request.version)[1])
    queues = {name: queue for name, queue in counted(request).items() if kind in {None, name}}
    rows = [
        {"queue": name, "waiting": 0, "minutes": 0.0, "why": queue}
        if isinstance(queue, str)
        else {"queue": name, "waiting": queue.waiting, "minutes": queue.minutes, "why": queue.why}
        for name, queue in queues.items()
    ]
    waiting = [row for row in rows if row["waiting"] or kind]
    lines = [f"{row['queue']}: {row['waiting']} rows, {row['minutes']:.0f} min. {row['why']}" for row in waiting]
    lines += [f"Nothing waits in {', '.join(str(row['queue']) for row in rows if row not in waiting)}."] * (not kind)
    print_result({"queues": rows}, say, *lines, f"Next: tuneworthy label {(waiting or rows)[0]['queue']}")
    return 0


def _show_end(queue: Queue, n_given: int) -> None:
    left, next_step = queue.waiting, queue.next_step()
    ceiling = agreement(() if queue.kind == "findings" else read_labels(queue.log))
    document = {"queue": queue.kind, "plan": queue.plan, "labels": str(queue.log), "given": n_given, "left": left}
    lines = [f"{count(n_given, 'answer')} saved in {queue.log}, {count(left, 'row')} left."]
    lines += [sentence(str(ceiling))] if ceiling.n else []
    print_result({**document, "agreement": ceiling}, say, *lines, f"Next: {next_step}")


def _apply(root: Path, kind: str, *, overwrite: bool) -> int:
    files, relabelled = LabelFiles.of(root), kind != "cases"
    project = load(root) if relabelled else files.project
    path = suspects_path(project) if relabelled and project else files.labels
    before, labels = label_counts(read_cases(files.cases).cases), read_labels(path)
    if relabelled:
        data = read_data(load(root))
        labels = [row for row in labels if not is_rated(data, row.label)]
    done = apply_labels(files.cases, labels, overwrite=overwrite or relabelled)
    cases = read_cases(files.cases).cases
    has_labels = guess_kind(case.expected for case in cases).name == "label" or guideline_of(project, path).labels
    after = label_counts(cases) if has_labels else {}
    new, twins = {label: n for label, n in after.items() if label not in before}, same_spelling(after)
    n_open = sum(not case.labelled for case in cases)
    next_step = "label cases" if n_open else "run" if files.project else f"init my-task --data {files.cases}"
    by_hand: list[str] = []
    if relabelled:
        by_hand, is_audited = _to_correct(root)
        next_step = f"run{'' if is_audited else ', then tuneworthy label audit'}"
    document = {"applied": done, "unlabelled": n_open, "new_labels": new, "spellings": twins}
    ceiling = agreement(read_labels(path))
    if not wants_json():
        _show_applied(files.cases, done, n_open, new, twins, relabelled=relabelled)
    lines = [*by_hand, *([sentence(str(ceiling))] if ceiling.n else []), f"Next: tuneworthy {next_step}"]
    print_result({"labels": str(path), "agreement": ceiling, **document}, say, *lines)
    return 0


def _to_correct(root: Path) -> tuple[list[str], bool]:
    """Return a sentence for each row that a person must correct by hand, and whether test was audited."""
    data = read_data(project := load(root))
    _, still = contradicts(data, given := read_relabelled(project, data))
    sentences = []
    for case in (*data.split.dev, *data.split.test):
        if case.id in still:
            answer = "" if is_rated(data, given[case.id]) else f" The answer is {answer_text(given[case.id])!r}."
            sentences.append(f"Correct this example: {clean(case.text)}{answer}")
    return sentences, bool(given.keys() & {case.id for case in data.split.test})


def _show_applied(
    path: Path, done: Applied, n_open: int, new: NamedInts, twins: list[list[str]], *, relabelled: bool
) -> None:
    say(f"Wrote labels to {path} (new: {done.n_written}, already present: {done.n_same}).")
    for conflict in done.disagreements:
        labels = ", ".join(f"{name}: {value!r}" for name, value in conflict.labels.items())
        say(f"  skipped {conflict.case}: its labellers disagree ({labels}). Edit the file to resolve the conflict.")
    if done.conflicts:
        say(
            f"  skipped cases that already have a different label: {len(done.conflicts)} "
            f"({', '.join(done.conflicts[:5])}). Use --overwrite to replace these labels."
        )
    if done.unknown and not relabelled:
        say(f"  skipped labels whose cases are not in the file: {len(done.unknown)}")
    if n_open:
        say(f"{count(n_open, 'case')} still without a label.")
    if new:
        say(f"New labels: {', '.join(f'{clean(label)} ({n})' for label, n in new.items())}.")
    for same in twins:
        say(f"These labels differ only in spelling: {', '.join(map(repr, same))}. Correct them in {path}.")


def _show_review(review: Review) -> int:
    """Print how far the review is and return the exit status that says it."""
    state = review.state()
    print_result(state.to_dict(), _show, state)
    return STATUS[state.status]


def _show(state: State) -> None:
    say(
        f"Review of version {state.version}: {state.status.replace('_', ' ')}. "
        f"{state.summary[:1].upper()}{state.summary[1:]}."
    )
    if state.status in {"open", "no_plan"}:  # nothing that says which rows were planted
        say("Next: tuneworthy label review")
        return
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
    if state.status == "accepted":
        say("Next: tuneworthy plan")
    else:
        say(
            "Next: tuneworthy data build. It drops the rows that were rated bad; correct or drop others like "
            "them first. Then run `tuneworthy label review` for the new version."
        )
