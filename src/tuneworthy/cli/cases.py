"""`tuneworthy cases`."""

from dataclasses import asdict
from pathlib import Path

import click

from tuneworthy.cases import read_cases
from tuneworthy.cases.addition import AddedCases, add_cases
from tuneworthy.cases.labelling import Applied, agreement, apply_labels, read_labels
from tuneworthy.cases.sampling import sample_cases
from tuneworthy.cases.writer import write_cases
from tuneworthy.cli.label_terminal import (
    LabelFiles,
    apply_relabelled,
    judge_on_terminal,
    label_on_terminal,
    relabel_on_terminal,
)
from tuneworthy.cli.lazy import CommandGroup
from tuneworthy.cli.options import (
    PATH,
    POSITIVE,
    SHARE,
    CountFrom,
    expected_option,
    input_option,
    json_option,
    note,
    person,
    print_json,
    print_result,
    project_option,
    say,
    wants_json,
)
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.ladder.commands.case_answers import CaseAnswers, Failures, open_answers
from tuneworthy.ladder.comparison_plan import is_measured
from tuneworthy.store import Folder
from tuneworthy.text import count
from tuneworthy.trust import own_path
from tuneworthy.types import SECOND_SHARE, Texts
from tuneworthy.verdict.messages import sentence

# The same file gives the same draw.
DRAW_SEED = 7


@click.group("cases", cls=CommandGroup)
def command() -> None:
    """Draw, label and inspect cases.

    \b
    Example:
      tuneworthy cases sample --from logs.jsonl --n 300
    """


@command.command("sample")
@click.option(
    "--from",
    "source",
    required=True,
    type=PATH,
    help="Logs or data: JSONL, CSV, Excel, Parquet, text.",
)
@click.option("--n", required=True, type=POSITIVE, help="Number of cases to draw.")
@click.option("--out", type=PATH, help="File to write (default: cases.jsonl).")
@project_option
@json_option
def sample(source: Path, n: int, out: Path | None, root: Path) -> None:
    """Draw cases from logs.

    Draws a stratified sample without duplicates and with few near-duplicates. Questions that are cases of the project
    already are left out. The drawn cases have no labels yet.

    \b
    Example:
      tuneworthy cases sample --from logs.jsonl --n 300
    """
    target = out or own_path(root, "cases.jsonl")
    if target.exists():
        raise UserError(
            f"{target} already exists.", hint="Choose a different file with --out, or move the existing file."
        )
    own = LabelFiles.of(root, None).cases
    drawn = sample_cases(source, n, DRAW_SEED, present=read_cases(own).cases if own.exists() else ())
    write_cases(target, drawn.cases)
    if wants_json():
        counts = {key: value for key, value in asdict(drawn).items() if key != "cases"}
        print_json({"path": str(target), "n": len(drawn.cases), **counts})
        return
    labelled_here = own.resolve() == target.resolve()
    note(*map(sentence, drawn.notes))
    next_step = (
        "Next: tuneworthy cases label"
        if labelled_here
        else "Next: add the expected answers to this file. Then use it with `tuneworthy cases add` or "
        "`tuneworthy init --data`."
    )
    say(
        f"{target}: {count(len(drawn.cases), 'case')} from {count(drawn.n_read, 'question')}, stratified by "
        f"{drawn.stratified_by} ({count(len(drawn.strata), 'stratum', 'strata')}). Left out: {drawn.n_cases} "
        f"already in the project's cases, {count(drawn.n_exact, 'duplicate')}, "
        f"{count(drawn.n_near, 'near-duplicate')}. "
        f"{next_step}"
    )


@command.command("add")
@click.argument("source", metavar="[FILE]", required=False, type=click.Path(path_type=Path, exists=True))
@input_option
@expected_option
@project_option
@json_option
def add(source: Path | None, inputs: Texts, expected: str | None, root: Path) -> None:
    """Extend the test set.

    Adds the labelled cases in FILE to the project's cases and to its test set. Without FILE, adds the cases that
    you appended to the project's own file. Cases that repeat or reword a case or overlap an example are refused.

    The next `run` measures every variant on the new cases; stored answers are kept. The new comparisons take their
    error rate from the reserve.

    \b
    Example:
      tuneworthy cases add more.jsonl
      tuneworthy cases add more.csv --input text --expected category
    """
    project = load(root)
    with Folder(project.root).lock(note):
        result = add_cases(project, source, inputs, expected, joins=not is_measured(Folder(project.root)))
    print_result(result, _show_added, result, source)


def _show_added(result: AddedCases, source: Path | None) -> None:
    added, n_test = count(len(result.added), "case"), result.n_test
    if n_test is None:
        say(f"{added} added. The first run draws the test set. Next: tuneworthy check")
    elif result.added:
        say(
            f"{added} added{' for the recall of critical labels only' * result.by_label}. "
            f"The test set has {n_test} cases. Next: tuneworthy run"
        )
    else:
        say(f"No case was added. The test set has {n_test} cases.")
    if result.repeated:
        say(
            f"Refused {count(len(result.repeated), 'case that repeats', 'cases that repeat')} a question of the "
            f"project: {', '.join(result.repeated[:5])}."
        )
    if result.overlapping:
        say(
            f"Refused {count(len(result.overlapping), 'case')}, too similar to another case or an example: "
            f"{', '.join(result.overlapping[:5])}.{'' if source else ' Remove the refused rows from the file.'}"
        )


@command.command("label")
@click.option("--labeller", metavar="NAME", help="Name of the labeller (default: your user name).")
@click.option(
    "--share",
    type=SHARE,
    default=SECOND_SHARE,
    show_default=True,
    help="Share of the cases for a second labeller (at least 30 cases).",
)
@click.option("--all", "every", is_flag=True, help="Include cases that already have an answer.")
@click.option("--labels", type=PATH, help="Label file (default: CASES.labels.jsonl).")
@click.option("--apply", "applied", is_flag=True, help="Write the labels into the cases instead.")
@click.option("--judge", is_flag=True, help="Rate answers of the last run instead.")
@click.option(
    "--variant", "rungs", metavar="RUNG", multiple=True, help="With --judge, answers of this rung only; repeatable."
)
@click.option("--n", type=CountFrom(50), default=60, show_default=True, help="With --judge, number of test cases.")
@click.option("--suspects", is_flag=True, help="Relabel failed cases whose label may be wrong.")
@click.option("--audit", is_flag=True, help="Label a random sample of the test cases again.")
@click.option("--overwrite", is_flag=True, help="With --apply, replace expected answers that differ.")
@project_option
@json_option
def label(
    labeller: str | None,
    share: float,
    every: bool,
    labels: Path | None,
    applied: bool,
    judge: bool,
    rungs: Texts,
    n: int,
    suspects: bool,
    audit: bool,
    overwrite: bool,
    root: Path,
) -> None:
    """Label cases blind, one at a time.

    A second labeller gets a share of the cases. No score above the agreement between the two is meaningful.

    Every label is saved immediately: stop with /quit and resume later. --apply writes the labels into the cases. Cases
    on which the labellers disagree are left to you.

    --judge: rate answers of the last run, at least 50 per compared variant, without seeing which variant gave them. The
    next run corrects the judge's scores by them.

    --suspects: relabel failed dev cases. --audit: relabel a random sample of test, which shows the share of wrong
    labels and the highest score they allow. Either with --apply writes both and lists the examples to correct by hand.

    \b
    Example:
      tuneworthy cases label --labeller ada
    """
    if judge and (applied or every):
        raise click.UsageError(
            "--judge cannot be combined with --apply or --all, because ratings of answers are not labels of cases."
        )
    files, n_new, done = LabelFiles.of(root, labels), 0, None
    lines: list[str] = []
    path, next_step = files.labels, "tuneworthy run" if files.project else ""
    if judge:
        path, n_new = judge_on_terminal(
            root, person(labeller, "--labeller"), labels=labels, rungs=rungs, n=n, share=share
        )
    elif (suspects or audit) and applied:
        path, done, lines, next_step = apply_relabelled(root)
    elif suspects or audit:
        path, n_new, next_step = relabel_on_terminal(root, person(labeller, "--labeller"), audit=audit)
    elif applied:
        done = apply_labels(files.cases, read_labels(path), overwrite=overwrite)
    else:
        n_new = label_on_terminal(files, person(labeller, "--labeller"), share=share, every=every)
        next_step = "tuneworthy cases label --apply" if n_new else ""
    if done and not wants_json():
        _show_applied(files.cases, done)
    ceiling = agreement(read_labels(path))
    document = {"labels": str(path), "given": n_new, "agreement": ceiling, "applied": done}
    lines += [sentence(str(ceiling))] if ceiling.n else []
    print_result(document, say, *lines, *([f"Next: {next_step}"] if next_step else []))


def _show_applied(path: Path, done: Applied) -> None:
    say(f"Wrote labels to {path} (new: {done.n_written}, already present: {done.n_same}).")
    for conflict in done.disagreements:
        labels = ", ".join(f"{name}: {value!r}" for name, value in conflict.labels.items())
        say(f"  skipped {conflict.case}: its labellers disagree ({labels}). Edit the file to resolve the conflict.")
    if done.conflicts:
        say(
            f"  skipped cases that already have a different label: {len(done.conflicts)} "
            f"({', '.join(done.conflicts[:5])}). Use --overwrite to replace these labels."
        )
    if done.unknown:
        say(f"  skipped labels whose cases are not in the file: {len(done.unknown)}")


@command.command("show")
@click.argument("case_id", metavar="[ID]", required=False)
@click.option("--failed", is_flag=True, help="Failed dev cases of the best variant (or of --variant).")
@click.option("--variant", metavar="RUNG", help="Only this rung's variant; also `current`, or B of `compare`.")
@click.option("--reveal-test", is_flag=True, help="Show answers to test cases; later runs report that you did.")
@project_option
@json_option
def show(case_id: str | None, failed: bool, variant: str | None, reveal_test: bool, root: Path) -> None:
    """Show why a case failed.

    Shows the question of case ID, the expected answer, and each rung's answer and score.

    Shows only stored answers and calls no model. Answers to test cases stay hidden unless you pass --reveal-test.
    Once you have seen them, the test set is no longer a fair measure of later changes.

    \b
    Example:
      tuneworthy cases show --failed
      tuneworthy cases show 3f2a
    """
    if (case_id is None) is not failed:
        raise click.UsageError("Pass either the ID of a case or --failed.")
    with open_answers(load(root), say=note) as answers:
        if case_id is None:
            failures = answers.failed(variant, reveal_test=reveal_test)
            print_result(failures, _show_failures, failures)
        else:
            shown = answers.of_case(case_id, variant, reveal_test=reveal_test)
            print_result(shown, _show_case, shown)


def _show_case(found: CaseAnswers) -> None:
    say(f"{found.case} ({found.side})", f"question: {found.question}\nexpected: {found.expected}")
    if found.hidden:
        say(found.hidden)
    for answer in found.answers:
        score = "not scored" if answer.score is None else f"{answer.score:.3f}"
        why = f" ({answer.reason})" if answer.reason else ""
        say(f"{answer.rung}, {answer.name}: {score}{why}\n  {answer.text!r}")
        if answer.thinking:
            say(f"  after thinking: {answer.thinking!r}")
        if answer.detail:
            say(f"  {answer.detail}")
    if not found.answers and not found.hidden:
        say(
            "No answer to this case is stored. The run may drop a variant that falls behind before it reaches "
            "this case."
        )


def _show_failures(failures: Failures) -> None:
    say(
        f"{failures.name}: {len(failures.failed)} of {failures.n} {failures.on} cases failed according to the "
        f"grader `{failures.grader}`."
    )
    for failure in failures.failed:
        say(f"  {failure.case}  {failure.reason or 'wrong'}: expected {failure.expected!r}, got {failure.text!r}")
    for reason, n in failures.reasons.items():
        say(f"{reason}: {n}")
