"""Reviewing on a terminal: how a row is shown, and what counts as a verdict."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from tuneworthy.cases.labelling import QUIT, SKIP, UNDO, run_terminal
from tuneworthy.cases.pii import Masker
from tuneworthy.cli import messages
from tuneworthy.cli.label_terminal import ask_line
from tuneworthy.cli.options import note
from tuneworthy.dataset.review.log import Ledger, ReviewPlan, SecondSample
from tuneworthy.dataset.review.session import Review, Reviewing
from tuneworthy.errors import UserError
from tuneworthy.report.text import clean
from tuneworthy.types import Case, Example

GREETING = messages.say("review_greeting", undo=UNDO, skip=SKIP, quit=QUIT)


def review_on_terminal(review: Review, plan: ReviewPlan, reviewer: str, *, share: float, complete: bool) -> int:
    """Go through the sample of a plan; return how many verdicts were given."""
    note(
        messages.say(
            "review_plan",
            version=plan.version,
            attempt=plan.attempt,
            n=plan.n,
            n_new=plan.n_rows - plan.n_known,
            max_bad=plan.max_bad,
            seed=plan.seed,
            time=plan.time,
        )
    )
    return _run(review.reviewing(reviewer, plan, share=share, complete=complete))


def second_on_terminal(review: Review, sample: SecondSample, reviewer: str, *, share: float, masker: Masker) -> int:
    """Go through the second sample; return how many verdicts were given.

    Personal data is masked: a row may have been dropped before the build masked anything.
    """
    note(
        messages.say(
            "rejected_sample", version=sample.version, n=len(sample.rows), n_rows=sample.n_rows, seed=sample.seed
        )
    )
    return _run(review.reviewing(reviewer, sample, share=share), masker)


def correct(review: Review, reviewer: str, row: str, reason: str) -> None:
    """Change the verdict on a row to bad, in every sample of the version that holds it.

    Raises:
        UserError: No sample of the version holds the row, or there is no reason.
    """
    samples = [sample for sample in Ledger.read(review.path).samples_of(review.version) if row in sample.rows]
    if not samples:
        raise UserError(messages.say("not_in_sample", version=review.version, row=row[:40]))
    for sample in samples:
        review.reviewing(reviewer, sample).give(row, good=False, reason=reason)


def parse_verdict(line: str) -> tuple[bool, str]:
    """Return whether a line says good, and why.

    >>> parse_verdict("g"), parse_verdict("b wrong label")
    ((True, ''), (False, 'wrong label'))

    Raises:
        UserError: It says neither, or bad without a reason.
    """
    word, _, reason = line.strip().partition(" ")
    if word.lower() in {"g", "good"}:
        return True, reason.strip()
    if word.lower() in {"b", "bad"}:
        if not reason.strip():
            raise UserError(messages.say("bad_needs_reason"))
        return False, reason.strip()
    raise UserError(messages.say("not_a_row_verdict", line=line[:40]))


def sheet(row: Example) -> str:
    """Return a row as it is shown: its messages in order, safe for a terminal."""
    parts = [f"row {row.id}"]
    if tools := row.meta.get("tools"):
        parts.append(f"tools: {clean(_json(tools), 0)}")
    for message in row.messages:
        content = message.get("content")
        text = content if isinstance(content, str) else "" if content is None else _json(content)
        lines = text.splitlines() or [""]
        head = clean(message.get("role", "?"))
        parts += [f"{head}: {clean(lines[0], 0)}", *(f"    {clean(line, 0)}" for line in lines[1:])]
        parts += [f"    calls {clean(_json(call), 0)}" for call in message.get("tool_calls") or ()]
    return "\n".join(parts)


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()


class _Turn:
    """A reviewer's session in the form that `run_terminal` takes."""

    def __init__(self, way: Reviewing, masker: Masker | None) -> None:
        self.way, self.done, self.masker = way, way.n_given(), masker
        self.assigned: Sequence[str] = way.sample.rows
        self._last: Case | None = None
        self._again: Case | None = None

    @property
    def n_done(self) -> int:
        return self.done

    def next(self) -> Case | None:
        if self._again is not None:
            return self._again
        row = self.way.next()
        if row is None:
            return None
        return Case(id=row.id, input=sheet(row if self.masker is None else _masked(row, self.masker)))

    def submit(self, case_id: str, label: tuple[bool, str]) -> None:
        good, reason = label
        if self._again is None:
            self._last = self.next() if good else None
            self.way.give(case_id, good=good, reason=reason)
        elif not good:
            self.way.give(case_id, good=False, reason=reason)
        self._again = None
        self.done += 1

    def skip(self, case_id: str) -> None:
        self.way.skip(case_id)

    def undo(self) -> None:
        """Ask about the last row again, which can only make its verdict worse; both verdicts are on disk."""
        if self._last is None or self._again is not None:
            raise UserError(messages.say("bad_stays"))
        self._again, self._last = self._last, None
        self.done -= 1


def _masked(row: Example, masker: Masker) -> Example:
    messages = tuple({**masker.mask_json(message), "role": message.get("role", "?")} for message in row.messages)
    return replace(row, messages=messages, meta=masker.mask_json(dict(row.meta)))


def _run(way: Reviewing, masker: Masker | None = None) -> int:
    return run_terminal(_Turn(way, masker), ask_line, note, parse=parse_verdict, greeting=GREETING)
