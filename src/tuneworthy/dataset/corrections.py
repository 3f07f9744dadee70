"""What people decided about findings on a frozen version: a line each, only ever appended; the next build applies it.

A row is named as in reviews, by the hash of its messages; the last decision on a row counts. Corrections are applied
before all checks, so that these see the corrected rows. They never touch a frozen version.
"""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from tuneworthy.cases.pairs import rejected_answer, with_rejected
from tuneworthy.dataset import messages
from tuneworthy.dataset.base import CheckContext, DataCheck, RowFinding, RowFindings, with_turns
from tuneworthy.dataset.freeze import Version
from tuneworthy.dataset.importing.folder import Import
from tuneworthy.dataset.records import RowLine
from tuneworthy.dataset.rows import StoredRows
from tuneworthy.errors import UserError
from tuneworthy.people.feedback import Scales, has_feedback, settle
from tuneworthy.people.review_log import content_of
from tuneworthy.store.lines import append_line, now, read_lines, refuse_link
from tuneworthy.types import (
    Cases,
    Example,
    Examples,
    Message,
    Messages,
    NamedTexts,
    TextPair,
    TextTuple,
    content_hash,
    frozen,
    grouped,
    role_of,
)

# In the project folder, next to the reviews: it is people's work.
FILE_NAME = "corrections.jsonl"
Decision = Literal["answer", "keep", "drop", "open"]


@frozen
class Correction:
    """One person's decision about one row.

    Attributes:
        row: Content hash of the row as it was frozen.
        version: In which it was shown.
        reviewer: Who decided.
        decision: `answer` replaces its last answer, `open` takes an earlier decision back.
        answer: The new answer, else "".
        time: When.
    """

    row: str
    version: str
    reviewer: str
    decision: Decision
    answer: str = ""
    time: str = ""


def read_corrections(path: Path) -> dict[str, Correction]:
    """Return the decisions that count, by row, in the order in which they were made."""
    refuse_link(path)
    if not path.exists():
        return {}
    last: dict[str, Correction] = {}
    for each in read_lines(path, Correction):
        last.pop(each.row, None)
        last[each.row] = each
    return {row: each for row, each in last.items() if each.decision != "open"}


def write_correction(path: Path, correction: Correction) -> None:
    """Bring a decision to disk.

    Raises:
        UserError: No one signs it, or the new answer is empty.
    """
    if not correction.reviewer.strip():
        raise UserError("No reviewer name is set.", hint="Pass --labeller NAME.")
    if correction.decision == "answer" and not correction.answer.strip():
        raise UserError("Type the new answer.")
    append_line(path, asdict(replace(correction, time=correction.time or now())))


def corrections_check(corrections: Mapping[str, Correction]) -> DataCheck:
    """Return the check that applies corrections: it drops rows, and gives others a new answer."""

    def apply(rows: Examples, context: CheckContext) -> RowFindings:
        applied: Counter[TextPair] = Counter()
        for number, row in enumerate(rows):
            correction = corrections.get(content_of(row))
            if correction is None or correction.decision == "keep":
                continue
            is_new = correction.decision == "answer"
            code = "corrected" if is_new else "dropped_by_person"
            applied[correction.reviewer, code] += 1
            changed = with_turns(row, (*row.messages[:-1], {**row.messages[-1], "content": correction.answer}))
            yield RowFinding(
                row=number,
                code=code,
                message=f"decided by {correction.reviewer}",
                action="mask" if is_new else "drop",
                changed=replace(changed, meta=with_rejected(row.meta, row.messages[-1])) if is_new else None,
            )
        for (reviewer, code), n in sorted(applied.items()):
            verb = "gave rows a new answer" if code == "corrected" else "dropped rows"
            yield RowFinding(code=code, message=f"{reviewer} {verb} (n = {n})")

    return DataCheck(name="corrections", examine=apply, codes=messages.REASONS["corrections"], whole=True, version=2)


@frozen
class SuspectRow:
    """A row that waits for a decision.

    Attributes:
        row: The row; its id is its name in corrections.
        reasons: What was found in it, for people.
        suggested: The label that a check suggests; "" if none.
        rival: Row with the same question and another answer, if any.
        gain: Estimated probability that its answer is wrong, so that a look at it pays; None if no check
            estimates it.
    """

    row: Example
    reasons: TextTuple
    suggested: str
    rival: Example | None
    gain: float | None

    @property
    def id(self) -> str:
        return self.row.id


# Of two answers to the same question one at least is wrong: each with this probability or more.
_GAIN_OF_PAIR = 0.5
_LONGEST_LABEL = 100
# Characters of a case's question.
_SHOWN = 300


def suspect_rows(
    version: Version, corrections: Mapping[str, Correction], cases: Cases = (), *, own: Container[str] = ()
) -> list[SuspectRow]:
    """Return the rows of a version that wait for a decision, and the rows `own`, in the order of the expected gain.

    First the likeliest wrong answers, then what no check gives a probability for, in the order of the file. Of `cases`
    those that a row resembles are shown with their questions.
    """
    asked = {messages.say("case", case=case.id): f' "{case.text[:_SHOWN]}"' for case in cases}
    lines = grouped((one.id, one) for one in version.findings() if one.id and one.action == "report")
    labels, pairs = _contradictions(version)
    rows = {row.id: row for row in version.examples() if row.id in lines or row.id in pairs}
    names = {row_id: content_of(row) for row_id, row in rows.items()}
    more_like = {messages.MORE_LIKE.format(label=label): label for label in labels}
    changed = {row_id for row_id, name in names.items() if name in corrections and corrections[name].decision != "keep"}
    rivals = {row_id: rows[other] for row_id, other in pairs.items() if other not in changed}
    reported = {*lines, *rivals}
    suspects = [
        _suspect(replace(row, id=names[row_id]), lines.get(row_id, ()), more_like, rivals.get(row_id), asked)
        for row_id, row in rows.items()
        if names[row_id] in own or (names[row_id] not in corrections and row_id in reported)
    ]
    return sorted(suspects, key=lambda suspect: -1.0 if suspect.gain is None else suspect.gain, reverse=True)


def _suspect(
    row: Example,
    lines: Sequence[RowLine],
    more_like: NamedTexts,
    rival: Example | None,
    asked: NamedTexts,
) -> SuspectRow:
    gains = [1 - line.score for line in lines if line.reason == "label_error" and line.score is not None]
    gains += [_GAIN_OF_PAIR] * (rival is not None)
    return SuspectRow(
        row=row,
        reasons=tuple(f"{line.check}/{line.reason}: {line.detail}{asked.get(line.detail, '')}" for line in lines),
        suggested=next((more_like[line.detail] for line in lines if line.detail in more_like), ""),
        rival=rival,
        gain=max(gains, default=None),
    )


def _contradictions(version: Version) -> tuple[set[str], dict[str, str]]:
    answers = Counter(answer for row in version.examples() if len(answer := row.answer) <= _LONGEST_LABEL)
    labels = {answer for answer, n in answers.items() if n > 1 and answer}
    first: dict[str, TextPair] = {}
    pairs = {}
    for row in version.examples():
        if row.answer in labels:
            texts = [str(message.get("content")) for message in row.messages[:-1]]
            other, answer = first.setdefault(
                content_hash([text.casefold().split() for text in texts]), (row.id, row.answer)
            )
            if answer != row.answer:
                pairs[row.id] = other
                pairs.setdefault(other, row.id)
    return labels, pairs


DISLIKED = "thumbs_down"


def disliked_answers(done: Import, rows: StoredRows) -> dict[str, Message]:
    """Return the answers of an import that people disliked, by the hash of what was asked; of several the last."""
    chats = [one.example.messages for one in done.rejects() if one.reason == DISLIKED and one.example is not None]
    scales = scales_of(rows)
    chats += [row.messages for row in rows if settle(row.messages, row.meta, scales).drops == DISLIKED]
    return {_asked(chat): chat[-1] for chat in chats}


def rated_pairs_check(disliked: Mapping[str, Message]) -> DataCheck:
    """Return the check that puts a disliked answer to the same question next to one that people liked.

    It runs before the rows that people disliked leave.
    """

    def pair(rows: Examples, context: CheckContext) -> RowFindings:
        scales = scales_of(rows)
        for number, row in enumerate(rows):
            worse = disliked.get(_asked(row.messages)) if row.messages and has_feedback(row.meta) else None
            if worse is None or worse.get("content") == row.answer or rejected_answer(row):
                continue
            if not settle(row.messages, row.meta, scales).drops:
                yield RowFinding(
                    row=number,
                    code="rated_pair",
                    action="mask",
                    changed=replace(row, meta=with_rejected(row.meta, worse)),
                )

    return DataCheck(name="rated_pairs", examine=pair, codes=messages.REASONS["rated_pairs"], whole=True)


def scales_of(rows: Examples) -> Scales:
    scales = Scales()
    for row in rows:
        scales.add_row(row.messages, row.meta)
    return scales


def _asked(chat: Messages) -> str:
    return content_hash([turn for turn in chat[:-1] if role_of(turn) != "system"])
