"""`tuneworthy cases`."""

from dataclasses import asdict
from pathlib import Path

import click

from tuneworthy.calls.connectors import local_calls
from tuneworthy.cases import read_cases
from tuneworthy.cases.addition import AddedCases, add_cases
from tuneworthy.cases.drafts import FILE_NAME as DRAFTS
from tuneworthy.cases.sampling import sample_cases
from tuneworthy.cases.writer import write_cases
from tuneworthy.cli.interruption import run_async
from tuneworthy.cli.label_queues import label_files
from tuneworthy.cli.lazy import CommandGroup
from tuneworthy.cli.options import (
    PATH,
    POSITIVE,
    expected_option,
    input_option,
    json_option,
    note,
    print_json,
    print_result,
    project_option,
    say,
    spending_options,
    wants_json,
)
from tuneworthy.cli.progress import RunProgress
from tuneworthy.cli.run import agree_to_spend, fetch_models
from tuneworthy.config import load
from tuneworthy.dataset.distill.drafting import Drafts
from tuneworthy.errors import UserError
from tuneworthy.input_files import read_input_text
from tuneworthy.ladder.commands.case_answers import CaseAnswers, Failures, open_answers
from tuneworthy.ladder.commands.drafting import draft_project
from tuneworthy.ladder.comparison_plan import is_measured
from tuneworthy.store import Folder
from tuneworthy.text import count
from tuneworthy.trust import own_path
from tuneworthy.types import Texts
from tuneworthy.verdict.messages import sentence

# Half of the drafts are test cases, and at least 50 are needed.
DRAFTED = 100
# Bytes of a description.
MAX_ABOUT = 100_000
# The same file gives the same draw.
DRAW_SEED = 7


command = CommandGroup(
    "cases",
    help="""Draw, add and inspect cases.

    \b
    Example:
      tuneworthy cases sample --from logs.jsonl --n 300
    """,
)


@command.command("sample")
@click.option(
    "--from",
    "source",
    required=True,
    metavar="SOURCE",
    help="Logs or data: JSONL, CSV, Excel, Parquet, text; or a source of `init --from`.",
)
@click.option("--n", required=True, type=POSITIVE, help="Number of cases to draw.")
@click.option("--out", type=PATH, help="File to write (default: cases.jsonl).")
@project_option
@json_option
def sample(source: str, n: int, out: Path | None, root: Path) -> None:
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
    own = label_files(root)[1]
    path, notes = local_calls(source, root)
    drawn = sample_cases(path, n, DRAW_SEED, present=read_cases(own).cases if own.exists() else ())
    write_cases(target, drawn.cases)
    if wants_json():
        counts = {key: value for key, value in asdict(drawn).items() if key != "cases"}
        print_json({"path": str(target), "n": len(drawn.cases), **counts})
        return
    labelled_here = own.resolve() == target.resolve()
    note(*notes, *map(sentence, drawn.notes))
    next_step = (
        "Next: tuneworthy label"
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


@command.command("draft")
@click.option("--about", required=True, metavar="TEXT|FILE", help="Description of the task, or a text file with it.")
@click.option("--n", type=POSITIVE, default=DRAFTED, show_default=True, help="Number of cases to draft.")
@project_option
@spending_options
@json_option
def draft(about: str, n: int, root: Path, max_usd: float | None, yes: bool) -> None:
    """Draft cases when no logs exist.

    The model of [teacher], or else today's model, drafts questions with suggested answers from the description and
    the project's documents: common, rare, adversarial and unanswerable. Near-duplicates are dropped. A person accepts,
    edits or drops each draft with `label drafts`. Accepted cases stay marked as drafted, and a
    verdict also needs real cases.

    \b
    Example:
      tuneworthy cases draft --about "Sort support mails by topic" --yes
    """
    project = load(root)
    if (target := own_path(root, DRAFTS)).exists():
        raise UserError(
            f"{target} already exists.", hint="Decide about its cases with `tuneworthy label drafts`, or move the file."
        )
    description = _description(about)
    name = (project.teacher and project.teacher.model) or project.ladder.baseline
    fetch_models(project, {name})
    agree_to_spend(project, max_usd, yes, {name})
    drafts, usd = run_async(
        draft_project(project, name, description, n, max_usd=max_usd, progress=RunProgress(), waiting=note)
    )
    facts = {key: value for key, value in asdict(drafts).items() if key != "cases"}
    print_result(
        {"path": str(target), "n": len(drafts.cases), "usd": usd, **facts}, _show_drafts, drafts, target, usd, n
    )


def _description(about: str) -> str:
    is_path = "\n" not in about and len(about.encode()) < 256 and Path(about).is_file()
    text = read_input_text(Path(about), MAX_ABOUT) if is_path else about
    if not text.strip():
        raise UserError("The description in --about is empty.", hint="Describe the task in a sentence.")
    if not is_path and Path(about).suffix[1:].isalnum() and len(about.split()) == 1:
        raise UserError(f"There is no file {about}.", hint="Pass a text file, or a description of several words.")
    return text.strip()


def _show_drafts(drafts: Drafts, target: Path, usd: float, n: int) -> None:
    situations = ", ".join(f"{name} {n_drafts}" for name, n_drafts in drafts.situations.items())
    say(
        f"{target}: {count(len(drafts.cases), 'draft')} ({situations}) from {drafts.n_read} in the answers, "
        f"{count(drafts.n_near, 'near-duplicate')} dropped, ${usd:.4f}.",
        f"Spread: {drafts.spread:.1%} of the pairs of neighbouring words are distinct.",
        *[f"The model had no more distinct cases: {n} were requested."] * (len(drafts.cases) < n),
        "Next: tuneworthy label drafts",
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


@command.command("show")
@click.argument("case_id", metavar="[ID]", required=False)
@click.option("--variant", metavar="RUNG", help="Only this rung's variant; also `current`, or B of `compare`.")
@click.option("--reveal-test", is_flag=True, help="Show answers to test cases; later runs report that you did.")
@project_option
@json_option
def show(case_id: str | None, variant: str | None, reveal_test: bool, root: Path) -> None:
    """Show why a case failed.

    Shows the question of case ID, the expected answer, and each rung's answer and score. Without ID, lists the failed
    dev cases of the best variant, or of --variant.

    Shows only stored answers and calls no model. Answers to test cases stay hidden unless you pass --reveal-test.
    Once you have seen them, the test set is no longer a fair measure of later changes.

    \b
    Example:
      tuneworthy cases show
      tuneworthy cases show 3f2a
    """
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
