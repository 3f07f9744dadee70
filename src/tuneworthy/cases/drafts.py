"""Cases that a model drafted: people accept, edit or drop each one, and accepted drafts join the cases.

Invariant: whatever a person decides, a draft that joins the cases has the mark `drafted`. Until then it has no expected
answer in any file of cases; the suggested answers are in `.tuneworthy/drafts.json`.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from tuneworthy.cases.labelling import Label
from tuneworthy.cases.normalize import normalise, question_of
from tuneworthy.cases.readers.reader import read_cases
from tuneworthy.cases.writer import case_row, json_lines, write_cases
from tuneworthy.errors import UserError
from tuneworthy.store import Folder, write_atomic
from tuneworthy.trust import own_path
from tuneworthy.types import UNLABELLED, Case, Cases, CaseTuple, frozen

FILE_NAME = "drafts.jsonl"
DraftDecision = Literal["accept", "answer", "question", "drop"]


@frozen
class AppliedDrafts:
    """The result of applying decisions about drafts.

    Attributes:
        added: Cases that joined the file.
        decisions: How often each decision was made.
        n_present: Accepted drafts whose question is a case already.
        n_waiting: Drafts without a decision.
    """

    added: CaseTuple
    decisions: dict[str, int]
    n_present: int
    n_waiting: int


def write_drafts(root: Path, cases: Cases) -> Path:
    Folder(root).write("drafts", {case.id: case.expected for case in cases})
    path = own_path(root, FILE_NAME)
    write_cases(path, (replace(case, expected=UNLABELLED, drafted=True) for case in cases))
    return path


def read_drafts(root: Path) -> list[Case]:
    """Return the drafts with their suggested answers.

    Raises:
        UserError: There are no drafts.
    """
    path = own_path(root, FILE_NAME)
    suggested = Folder(root).read("drafts", dict[str, Any]) if path.exists() else None
    if suggested is None:
        raise UserError("There are no drafted cases.", hint="Run `tuneworthy cases draft` with a description.")
    return [
        replace(case, expected=suggested[case.id], drafted=True)
        for case in read_cases(path).cases
        if case.id in suggested
    ]


def with_question(case: Case, text: str) -> Case:
    """Return a draft with another question.

    Raises:
        UserError: The question has several variables.
    """
    if isinstance(case.input, dict) and len(case.input) > 1:
        raise UserError("This question has several variables, so it cannot be edited. Type a, d, or e and the answer.")
    question: Any = dict.fromkeys(case.input, text) if isinstance(case.input, dict) else text
    return replace(case, id=Case.make_id(question), input=question)


def apply_drafts(root: Path, path: Path, labels: Iterable[Label]) -> AppliedDrafts:
    """Append the accepted drafts to the cases file `path`, which need not exist.

    Args:
        root: The project folder.
        path: The project's file of cases.
        labels: Decisions of people, the last on a draft counts: `[decision, value]`.

    Raises:
        UserError: There are no drafts, or rows cannot be appended to the file.
    """
    drafts, decided = read_drafts(root), {one.case: one.label for one in labels}
    present = read_cases(path) if path.exists() else None
    if present and present.format != "jsonl/native":
        raise UserError(f"Rows cannot be appended to {path}.", hint="Use a JSONL file in tuneworthy's own format.")
    taken = {normalise(question_of(case)) for case in (present.cases if present else ())}
    added: list[Case] = []
    n_present = 0
    for draft in drafts:
        decision, value = decided.get(draft.id, ("", None))
        if decision in {"", "drop"}:
            continue
        case = with_question(draft, value) if decision == "question" else draft
        case = replace(case, expected=value) if decision == "answer" else case
        question = normalise(question_of(case))
        n_present += question in taken
        added += [case] * (question not in taken)
        taken.add(question)
    if added:
        content = path.read_bytes() if present else b""
        write_atomic(
            path,
            b"".join([content, b"\n" * bool(content and content[-1:] != b"\n"), *json_lines(map(case_row, added))]),
        )
    known = [draft.id for draft in drafts if draft.id in decided]
    return AppliedDrafts(
        added=tuple(added),
        decisions=dict(Counter(str(decided[name][0]) for name in known)),
        n_present=n_present,
        n_waiting=len(drafts) - len(known),
    )
