"""`tuneworthy cases`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tuneworthy.cases.labelling import Agreement, Applied, agreement, apply_labels, read_labels
from tuneworthy.cases.sampling import sample_cases
from tuneworthy.cases.writer import write_cases
from tuneworthy.cli.label_terminal import LabelFiles, judge_on_terminal, label_on_terminal
from tuneworthy.cli.options import json_option, note, person, print_json, project_option
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.ladder.commands.case_answers import CaseAnswers, Failures, open_answers


@click.group("cases", short_help="Draw, label and look at cases.")
def command() -> None:
    """Draw cases from logs, label them blind, and see why one failed.

    \b
    Example:
      tuneworthy cases sample --from logs.jsonl --n 300
    """


@command.command("sample", short_help="Draw cases from logs.")
@click.option(
    "--from", "source", required=True, type=click.Path(path_type=Path), help="Logs or data: JSONL, CSV, Parquet, text."
)
@click.option("--n", required=True, type=click.IntRange(min=1), help="How many cases to draw.")
@click.option("--seed", type=int, default=7, show_default=True, help="Of the draw.")
@click.option("--out", type=click.Path(path_type=Path), help="File to write; the default is cases.jsonl.")
@project_option
@json_option
def sample(source: Path, n: int, seed: int, out: Path | None, root: Path, as_json: bool) -> None:
    """Draw cases from logs: each question once, near-duplicates thinned out, all kinds represented; unlabelled.

    \b
    Example:
      tuneworthy cases sample --from logs.jsonl --n 300
    """
    target = out or root / "cases.jsonl"
    if target.exists():
        raise UserError(f"expected no file at {target}, got one", hint="choose another with --out, or move it away")
    drawn = sample_cases(source, n, seed)
    write_cases(target, drawn.cases)
    if as_json:
        print_json(
            {
                "path": str(target),
                "n": len(drawn.cases),
                "n_read": drawn.n_read,
                "n_exact": drawn.n_exact,
                "n_near": drawn.n_near,
                "stratified_by": drawn.stratified_by,
                "strata": drawn.strata,
                "notes": drawn.notes,
            }
        )
        return
    for line in drawn.notes:
        note(line)
    click.echo(
        f"{target}: {len(drawn.cases)} cases of {drawn.n_read} questions ({drawn.n_exact} asked twice, {drawn.n_near} "
        f"nearly so), by {drawn.stratified_by} ({len(drawn.strata)} strata). Next: tuneworthy cases label"
    )


@command.command("label", short_help="Label cases blind.")
@click.option("--labeller", metavar="NAME", help="Who labels; the default is the name of the user.")
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.3,
    show_default=True,
    help="Share of the cases that a second labeller gets (at least 30 cases).",
)
@click.option("--all", "every", is_flag=True, help="Also the cases that have an answer already: labels them again.")
@click.option("--labels", type=click.Path(path_type=Path), help="The label file; the default is CASES.labels.jsonl.")
@click.option("--apply", "applied", is_flag=True, help="Write the labels into the cases instead of labelling.")
@click.option("--judge", is_flag=True, help="Say of answers of the last run whether they are good: validates a judge.")
@click.option("--variant", "rungs", metavar="RUNG", multiple=True, help="With --judge: this rung's answers only.")
@click.option(
    "--n", type=click.IntRange(min=50), default=60, show_default=True, help="With --judge: how many test cases."
)
@click.option("--overwrite", is_flag=True, help="With --apply: a label replaces another answer that a case has.")
@project_option
@json_option
def label(
    labeller: str | None,
    share: float,
    every: bool,
    labels: Path | None,
    applied: bool,
    judge: bool,
    rungs: tuple[str, ...],
    n: int,
    overwrite: bool,
    root: Path,
    as_json: bool,
) -> None:
    """Label cases blind, one at a time; a second labeller gets a share, and their agreement is the ceiling.

    Every label is on disk at once: stop with /quit and go on later. The labels enter the cases with --apply; a case
    on which the labellers differ is left for you to settle.

    With --judge you say of answers of the last run whether they are good, blind to the variant. A judge (grader
    `judge`) decides nothing before people have judged at least 50 answers of each variant that is compared; their
    verdicts correct what it says. Then run again.

    \b
    Example:
      tuneworthy cases label --labeller ada
      tuneworthy cases label --labeller bob --share 0.3
      tuneworthy cases label --apply
      tuneworthy cases label --judge
    """
    if judge:
        if applied or every:
            raise click.UsageError("expected --judge alone: verdicts on answers are no labels of cases")
        who = person(labeller, "--labeller")
        path, given = judge_on_terminal(root, who, labels=labels, rungs=rungs, n=n, share=share)
        _say_label(path, given, agreement(read_labels(path)), as_json=as_json)
        return
    files = LabelFiles.of(root, labels)
    given, done = 0, None
    if applied:
        done = apply_labels(files.cases, read_labels(files.labels), overwrite=overwrite)
    else:
        given = label_on_terminal(files, person(labeller, "--labeller"), share=share, every=every)
    if done and not as_json:
        _say_applied(files.cases, done)
    _say_label(files.labels, given, agreement(read_labels(files.labels)), as_json=as_json, done=done)


def _say_label(path: Path, given: int, ceiling: Agreement, *, as_json: bool, done: Applied | None = None) -> None:
    if as_json:
        print_json(_label_document(path, given, ceiling, done))
        return
    click.echo(f"{str(ceiling)[0].upper()}{str(ceiling)[1:]}.")


def _label_document(path: Path, given: int, ceiling: Agreement, done: Applied | None) -> dict[str, Any]:
    written = done and {
        "n_written": done.n_written,
        "n_same": done.n_same,
        "relabelled": done.relabelled,
        "conflicts": done.conflicts,
        "unknown": done.unknown,
    }
    return {
        "labels": str(path),
        "given": given,
        "agreement": {
            "n": ceiling.n,
            "n_agree": ceiling.n_agree,
            "share": ceiling.raw,
            "ci95": ceiling.ci95,
            "kappa": ceiling.kappa,
            "disagreements": [{"case": one.case, "labels": one.labels} for one in ceiling.disagreements],
        },
        "applied": written,
    }


def _say_applied(path: Path, done: Applied) -> None:
    click.echo(f"{path}: {done.n_written} labels written, {done.n_same} were there already.")
    for one in done.disagreements:
        said = ", ".join(f"{name} says {value!r}" for name, value in one.labels.items())
        click.echo(f"  left out: {one.case}: {said}; settle it in the file by hand")
    if done.conflicts:
        named = ", ".join(done.conflicts[:5])
        click.echo(f"  left out: {len(done.conflicts)} cases with another answer ({named}); use --overwrite for them")
    if done.unknown:
        click.echo(f"  left out: {len(done.unknown)} labels of cases that the file does not have")


@command.command("show", short_help="Say why a case failed.")
@click.argument("case_id", metavar="[ID]", required=False)
@click.option("--failed", is_flag=True, help="List the failed dev cases of the best variant (or of --variant).")
@click.option("--variant", metavar="RUNG", help="Only this rung's variant.")
@click.option("--reveal-test", is_flag=True, help="Show answers to test cases: recorded, and told by later runs.")
@project_option
@json_option
def show(case_id: str | None, failed: bool, variant: str | None, reveal_test: bool, root: Path, as_json: bool) -> None:
    """Say why case ID failed: the question, what is expected, and each rung's answer and score.

    Only stored answers are shown, nothing is asked. What was answered to test cases stays hidden unless you reveal
    it: a test set whose answers were seen no longer measures what was tuned after that.

    \b
    Example:
      tuneworthy cases show --failed
      tuneworthy cases show 3f2a
    """
    if (case_id is None) is not failed:
        raise click.UsageError("expected the ID of a case, or --failed, got " + ("neither" if not failed else "both"))
    with open_answers(load(root), say=note) as answers:
        if case_id is None:
            failures = answers.failed(variant, reveal_test=reveal_test)
            if as_json:
                print_json(failures.to_dict())
            else:
                _show_failures(failures)
            return
        found = answers.of_case(case_id, variant, reveal_test=reveal_test)
    if as_json:
        print_json(found.to_dict())
    else:
        _show_case(found)


def _show_case(found: CaseAnswers) -> None:
    click.echo(f"{found.case} ({found.side})")
    click.echo(f"question: {found.question}")
    click.echo(f"expected: {found.expected}")
    if found.hidden:
        click.echo(found.hidden)
    for one in found.answers:
        score = "not scored" if one.score is None else f"{one.score:.3f}"
        why = f" ({one.reason})" if one.reason else ""
        click.echo(f"{one.rung}, {one.name}: {score}{why}\n  {one.text!r}")
        if one.thinking:
            click.echo(f"  after thinking: {one.thinking!r}")
        if one.detail:
            click.echo(f"  {one.detail}")
    if not found.answers and not found.hidden:
        click.echo("No answer to it is stored: it was not asked yet (dev cases may leave a race early).")


def _show_failures(failures: Failures) -> None:
    click.echo(
        f"{failures.name}: {len(failures.failed)} of {failures.n} {failures.on} cases failed by {failures.grader}"
    )
    for one in failures.failed:
        click.echo(f"  {one.case}  {one.reason or 'wrong'}: expected {one.expected!r}, got {one.text!r}")
    for reason, count in failures.reasons.items():
        click.echo(f"{reason}: {count}")
