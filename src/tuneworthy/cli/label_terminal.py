"""Labelling on a terminal: which file, which cases, and what counts as a label of this task."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import orjson

from tuneworthy.cases import read_cases, read_examples
from tuneworthy.cases.labelling import (
    GREETING,
    QUIT,
    SKIP,
    UNDO,
    Applied,
    LabelSession,
    apply_labels,
    read_labels,
    run_terminal,
)
from tuneworthy.cases.task_kind import answer_text, guess_kind
from tuneworthy.cli.options import note
from tuneworthy.config import FILE_NAME, Project, load
from tuneworthy.config.graders import Choice
from tuneworthy.errors import TuneworthyError, UserError, did_you_mean
from tuneworthy.graders.judging import verdicts_path
from tuneworthy.ladder.commands.case_answers import open_answers
from tuneworthy.ladder.task_data import read_data
from tuneworthy.report.text import clean
from tuneworthy.text import count, plural
from tuneworthy.trust import own_path
from tuneworthy.types import Case, Cases, Examples, Texts
from tuneworthy.verdict.label_audit import cases_to_audit
from tuneworthy.verdict.suspects import (
    DRAW_SEED,
    RELABELLED,
    contradicts,
    drawn_suspects,
    found_so_far,
    is_rated,
    read_relabelled,
    suspects_path,
)

JSON_GRADERS = frozenset({"json_fields", "json_schema", "tool_call"})
MOST_LISTED = 100
VERDICT_GREETING = (
    f"Type g (good) or b (bad). {UNDO} takes your last rating back, {SKIP} skips a case for now, and {QUIT} "
    "stops. Every rating is saved."
)
EXPECTED_GREETING = f"Is the reference right? {VERDICT_GREETING}"
# Of the order of an audit, which mixes both strata and is not that of the draw.
AUDIT_SEED = DRAW_SEED + 1


@dataclass(frozen=True, slots=True)
class LabelFiles:
    """The files to label.

    Attributes:
        cases: The file of the cases.
        labels: The label file, next to it.
        project: The project, if there is one.
    """

    cases: Path
    labels: Path
    project: Project | None

    @classmethod
    def of(cls, root: Path, labels: Path | None) -> LabelFiles:
        """Find the files of the folder `root`; a project file need not be there yet."""
        project = load(root) if (root / FILE_NAME).exists() else None
        cases = project.path(project.cases.path) if project else own_path(root, "cases.jsonl")
        return cls(cases, labels or cases.with_name(f"{cases.stem}.labels.jsonl"), project)


def label_on_terminal(files: LabelFiles, labeller: str, *, share: float, every: bool) -> int:
    """Label until all is done or the labeller stops; return how many labels were given.

    Args:
        files: The files to label.
        labeller: Who labels.
        share: Of the cases, for a second labeller.
        every: Also the cases that have an answer.

    Raises:
        UserError: No case waits for a label.
    """
    cases = read_cases(files.cases).cases
    labelled = {label.case for label in read_labels(files.labels)}
    pool = [case for case in cases if every or not case.labelled or case.id in labelled]
    if not pool:
        raise UserError(
            f"All {len(cases)} cases in {files.cases} are already labelled.",
            hint=(
                "Use --all to label them a second time without seeing the first labels. The agreement shows how "
                "reliable the labels are."
            ),
        )
    seed = files.project.split.seed if files.project else 7
    session = LabelSession(pool, files.labels, labeller, seed=seed, share=share)
    return run_terminal(session, ask_line, note, parse=answer_parser(files.project, files.labels, cases))


def relabel_on_terminal(root: Path, labeller: str, *, audit: bool) -> tuple[Path, int, str]:
    """Let a person label failed dev cases of the last error analysis, or a random sample of test, again, blind.

    Tasks without labels show the expected answers of test, and the person says whether these are right.

    Returns:
        The label file, how many labels were given, and the next command.

    Raises:
        UserError: There is no run, or no failed case.
    """
    project = load(root)
    data, names, path, greeting = read_data(project), drawn_suspects(project), suspects_path(project), GREETING
    session: LabelSession = _SuspectSession(project, [case for case in data.split.dev if case.id in names], labeller)
    parse = answer_parser(project, path, data.cases) if data.task.kind == "label" or not audit else parse_verdict
    if audit:
        with open_answers(project) as answers:
            cases = cases_to_audit(answers)
        if parse is parse_verdict:
            cases, greeting = [Case(id=case.id, input=_sheet(case)) for case in cases], EXPECTED_GREETING
        session = LabelSession(cases, path, labeller, seed=AUDIT_SEED, share=1.0)
    if not session.assigned:
        raise UserError(
            "No stored error analysis marks an expected answer as probably wrong.",
            hint="Run `tuneworthy decide --probe` to look for such answers.",
        )
    n_given = run_terminal(session, ask_line, note, parse=parse, greeting=greeting)
    if not audit and (found := found_so_far(project)) and found.wrong is not None:
        note(f"These {found.n} labels settle the question.")
    wrong = audit and contradicts(data, read_relabelled(project, data))[1]
    return path, n_given, "tuneworthy cases label --audit --apply" if wrong else "tuneworthy decide"


def _sheet(case: Case) -> str:
    reference = "(a refusal is expected)" if case.expected is None else clean(case.expected, 0)
    return f"question: {clean(case.text, 0)}" + (f"\nreference: {reference}" if case.labelled else "")


class _SuspectSession(LabelSession):
    """Ends once its labels settle whether most failures are the label's; it looks after every fifteen."""

    def __init__(self, project: Project, cases: Cases, labeller: str) -> None:
        super().__init__(cases, suspects_path(project), labeller, seed=DRAW_SEED, share=1.0)
        self._project = project

    def next(self) -> Case | None:
        """Return the next case to label; None if all are done, or if the question is settled."""
        found = found_so_far(self._project) if self.n_done % RELABELLED == 0 else None
        return super().next() if found is None or found.wrong is None else None


def apply_relabelled(root: Path) -> tuple[Path, Applied, list[str], str]:
    """Write the labels of failed cases and of the audit into the cases.

    Returns:
        The label file, the result, a sentence for each correction to make by hand, and the next commands.
    """
    project = load(root)
    path, data = suspects_path(project), read_data(project)
    labels = read_labels(path)
    rows = [row for row in labels if not is_rated(data, row.label)]
    done = apply_labels(project.path(project.cases.path), rows, overwrite=True)
    data = read_data(project)
    _, still = contradicts(data, given := read_relabelled(project, data))
    sentences = []
    for case in (*data.split.dev, *data.split.test):
        if case.id in still:
            answer = "" if is_rated(data, given[case.id]) else f" The answer is {answer_text(given[case.id])!r}."
            sentences.append(f"Correct this example: {clean(case.text)}{answer}")
    audited = given.keys() & {case.id for case in data.split.test}
    next_step = f"tuneworthy run{'' if audited else ', then tuneworthy cases label --audit'}"
    return path, replace(done, unknown=()), sentences, next_step


def judge_on_terminal(
    root: Path, labeller: str, *, labels: Path | None, rungs: Texts, n: int, share: float
) -> tuple[Path, int]:
    """Let a person judge stored answers, good or bad, blind to the variant.

    Args:
        root: The project folder.
        labeller: Who judges.
        labels: The file of the verdicts; the project's own if None.
        rungs: Whose answers; those of all rungs that were compared on test if empty.
        n: Cases.
        share: Of the answers, for a second labeller.

    Returns:
        The file, and how many verdicts were given.

    Raises:
        UserError: No run yet, or its primary grader is no judge.
    """
    project = load(root)
    with open_answers(project) as answers:
        items = answers.to_judge(rungs, n=n)
        rubric = answers.judge.rubric
    path = labels or verdicts_path(project)
    shown = []
    for item in items:
        case = item.case
        shown.append(Case(id=item.id, input=f"{_sheet(case)}\nanswer: {clean(item.answer, 0)}"))
    session = LabelSession(shown, path, labeller, seed=project.split.seed, share=share)
    note(
        f"{count(len(shown), 'answer')} to at most {n} test cases, in random order. The variant of each answer is "
        "hidden."
    )
    note(f"What makes an answer good:\n{rubric}")
    return path, run_terminal(session, ask_line, note, parse=parse_verdict, greeting=VERDICT_GREETING)


def parse_verdict(line: str) -> bool:
    """Return whether a line says good.

    >>> parse_verdict("G"), parse_verdict("bad")
    (True, False)

    Raises:
        UserError: It says neither.
    """
    good = {"g": True, "good": True, "b": False, "bad": False}.get(line.lower())
    if good is None:
        raise UserError(f"Type g (good) or b (bad), not {line[:40]!r}.")
    return good


def answer_parser(project: Project | None, path: Path, cases: Cases) -> Callable[[str], Any] | None:
    """Show the labels of the task, if it has any, and return the parser of an answer; None if any text is one.

    Labels that were given before, in this session as well, are labels of the task: a new one needs a `+`.
    """
    graders = project.graders if project else ()
    if graders and graders[0].type in JSON_GRADERS:
        return parse_json
    closed = next((grader.labels for grader in graders if isinstance(grader, Choice) and grader.labels), ())
    answers = [*(row.answer for row in _examples(project) if row.answer), *(case.expected for case in cases)]

    def menu() -> Texts:
        if closed:
            return closed
        kind = guess_kind([*answers, *(label.label for label in read_labels(path))])
        return kind.labels if kind.name == "label" else ()

    labels = menu()
    if len(labels) > MOST_LISTED:
        note(f"There are {len(labels)} labels. Type a label. To add a new label, type + before it.")
    elif labels:
        note("Labels (type the number or the label):")
        for number, label in enumerate(labels, 1):
            note(f"  {number}  {label}")

    def parse(line: str) -> str:
        known = menu()
        numbered = labels if len(labels) <= MOST_LISTED else ()
        if known:
            return choose(line, known, numbered=numbered, closed=bool(closed))
        # The plus of a new label while too few are known to list them; that of a number is part of the answer.
        return line[1:] if line[:1] == "+" and line[1:2].isalpha() else line

    return parse


def _examples(project: Project | None) -> Examples:
    try:
        return read_examples(project.path(project.examples.path)).examples if project and project.examples else ()
    except TuneworthyError:
        return ()  # `check` reports their faults; labelling continues without their labels


def choose(line: str, menu: Texts, *, numbered: Texts, closed: bool) -> str:
    """Return the label that `line` names: itself, its number, or (where others may exist) a new one after `+`.

    Args:
        line: The typed line.
        menu: The labels of the task.
        numbered: Those that were shown with numbers, in that order.
        closed: Whether the project lists all labels.

    >>> choose("2", ["yes", "no"], numbered=["yes", "no"], closed=True)
    'no'

    Raises:
        UserError: It names no label.
    """
    if line in menu:
        return line
    by_case = [label for label in menu if label.lower() == line.lower()]
    if len(by_case) == 1:
        return by_case[0]
    if line.isdecimal() and 1 <= int(line) <= len(numbered):
        return numbered[int(line) - 1]
    if line.startswith("+") and line[1:].strip() and not closed:
        return line[1:].strip()
    hint = did_you_mean(line, menu) or ("Type the number of a label." if numbered else "")
    more = "" if closed else f"To add {line!r} as a new label, type +{line}."
    raise UserError(
        f"{line!r} is not one of the {len(menu)} known {plural(len(menu), 'label', 'labels')}.",
        hint=f"{hint} {more}".strip(),
    )


def parse_json(line: str) -> Any:
    """Return the JSON that `line` is.

    Raises:
        UserError: It is not JSON.
    """
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UserError(f"{line[:60]!r} is not valid JSON ({error}). Type the whole value on one line.") from None


def ask_line(prompt: str) -> str:
    """Ask for a line; the prompt goes to stderr, so that stdout stays clean.

    Raises:
        EOFError: There is no further line.
    """
    click.echo(prompt, nl=False, err=True)
    if not (line := sys.stdin.readline()):
        raise EOFError
    return line.rstrip("\n")
