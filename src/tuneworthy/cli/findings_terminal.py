"""Deciding about findings on a terminal: how a row is shown, and what counts as a decision."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from tuneworthy.cases.labelling import QUIT, SKIP, UNDO, run_terminal
from tuneworthy.cli.label_terminal import ask_line
from tuneworthy.cli.options import note
from tuneworthy.cli.review_terminal import sheet
from tuneworthy.dataset.corrections import Correction, SuspectRow, write_correction
from tuneworthy.errors import UserError
from tuneworthy.report.text import clean
from tuneworthy.types import Case, Texts

GREETING = (
    f"Type k to keep the row as it is, d to drop it, or e and the right answer. {UNDO} takes the last decision "
    f"back, {SKIP} skips a row for now, and {QUIT} stops. Every decision is saved."
)
Decision = Literal["accept", "keep", "drop", "answer"]
Typed = tuple[Decision, str]
DECISIONS: Final[Mapping[str, Decision]] = {"a": "accept", "k": "keep", "d": "drop"}


def findings_on_terminal(path: Path, version: str, suspects: Sequence[SuspectRow], reviewer: str) -> int:
    """Go through rows with findings; return how many decisions were made."""
    turn = _FindingTurn(path, version, suspects, reviewer)
    return run_terminal(turn, ask_line, note, parse=parse_decision, greeting=GREETING)


def parse_decision(line: str) -> Typed:
    """Return the decision of a line, and the new answer.

    >>> parse_decision("a"), parse_decision("e card_arrival")
    (('accept', ''), ('answer', 'card_arrival'))

    Raises:
        UserError: It decides nothing.
    """
    word, _, answer = line.strip().partition(" ")
    if word.lower() == "e" and answer.strip():
        return "answer", answer.strip()
    if not answer.strip() and (decision := DECISIONS.get(word.lower())):
        return decision, ""
    raise UserError(f"Type a, k, d, or e and the right answer, not {line[:40]!r}.")


def finding_sheet(suspect: SuspectRow) -> str:
    """Return a row with its findings, safe for a terminal."""
    parts = [sheet(suspect.row), *(f"finding: {clean(text)}" for text in suspect.reasons)]
    if suspect.rival is not None:
        parts.append(f"another row has the same question with the answer: {clean(suspect.rival.answer)}")
    if suspect.suggested:
        parts.append(f"suggested label: {clean(suspect.suggested)} (type a to accept it)")
    return "\n".join(parts)


class _FindingTurn:
    """One person's way through rows with findings, in the form that `run_terminal` takes."""

    def __init__(self, path: Path, version: str, suspects: Sequence[SuspectRow], reviewer: str) -> None:
        self.path, self.version, self.reviewer = path, version, reviewer
        self.queue = {suspect.row.id: suspect for suspect in suspects}
        self.assigned: Texts = tuple(self.queue)
        self._done: list[SuspectRow] = []

    @property
    def n_done(self) -> int:
        return len(self._done)

    def next(self) -> Case | None:
        suspect = next(iter(self.queue.values()), None)
        return None if suspect is None else Case(id=suspect.row.id, input=finding_sheet(suspect))

    def submit(self, case_id: str, label: Typed) -> None:
        suspect, (word, answer) = self.queue[case_id], label
        if word == "accept":
            if not suspect.suggested:
                raise UserError("No label is suggested for this row. Type k, d, or e and the right answer.")
            word, answer = "answer", suspect.suggested
        self._write(Correction(row=case_id, version="", reviewer="", decision=word, answer=answer))
        self._done.append(self.queue.pop(case_id))

    def skip(self, case_id: str) -> None:
        self.queue[case_id] = self.queue.pop(case_id)

    def undo(self) -> None:
        if not self._done:
            raise UserError("This session has made no decision yet.")
        suspect = self._done.pop()
        self._write(Correction(row=suspect.row.id, version="", reviewer="", decision="open"))
        self.queue = {suspect.row.id: suspect, **self.queue}

    def _write(self, correction: Correction) -> None:
        write_correction(self.path, replace(correction, version=self.version, reviewer=self.reviewer))
