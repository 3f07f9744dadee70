"""Reviewing on a terminal: how a row is shown, and what counts as a verdict."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from tuneworthy.cases.labelling import QUIT, SKIP, run_terminal
from tuneworthy.cli.label_terminal import ask_line
from tuneworthy.cli.options import note
from tuneworthy.errors import UserError
from tuneworthy.people.review import Review, Reviewing
from tuneworthy.people.review_log import Ledger, ReviewPlan
from tuneworthy.report.text import clean
from tuneworthy.types import Case, Example, Texts, calls_of, role_of, text_of

GREETING = (
    f"Type g if the row is good to train on as it is. Otherwise, or if unsure, type b and the reason. {SKIP} skips a "
    f"row for now, and {QUIT} stops. Every rating is saved. `tuneworthy data review correct` changes one to bad."
)
# Characters a second: 600 words a minute of 6 characters, at which people scan for a word (Carver 1992, Reading Rate;
# adults read 238, Brysbaert 2019). No one judges an answer faster.
READ_PER_S = 60


def review_on_terminal(
    review: Review,
    plan: ReviewPlan,
    reviewer: str,
    *,
    share: float,
    complete: bool,
    findings: Mapping[str, Texts],
) -> int:
    """Go through the sample of a plan; return how many verdicts were given.

    `findings` of a row (reports of the checks) are shown after its verdict, so that they cannot bend it.
    """
    note(
        f"Version {plan.version}, attempt {plan.attempt}: rate {plan.n} of the {plan.n_rows - plan.n_known} "
        f"rows that nobody has reviewed. At most {plan.max_bad} may be bad. The plan dates from {plan.time} "
        f"and uses seed {plan.seed}."
    )
    turn = _Turn(review.reviewing(reviewer, plan, share=share, complete=complete), findings, _clock())
    return run_terminal(turn, ask_line, note, parse=parse_verdict, greeting=GREETING)


def correct(review: Review, reviewer: str, row: str, reason: str) -> None:
    """Change the verdict on a row to bad, in every plan of the version that contains it; its id may be shortened.

    Raises:
        UserError: No plan of the version contains the row, or several such rows, or there is no reason.
    """
    plans = [plan for plan in Ledger.read(review.path).plans if plan.version == review.version]
    rows = sorted({name for plan in plans for name in plan.shown if row and name.startswith(row)})
    if not rows:
        raise UserError(
            f"No review sample of version {review.version} contains the row {row[:40]!r}. Check the row ID."
        )
    if len(rows) > 1:
        raise UserError(f"The IDs of several rows begin with {row[:40]!r}: {', '.join(rows[:5])}. Type more of the ID.")
    for plan in plans:
        if rows[0] in plan.shown:
            review.reviewing(reviewer, plan).give(rows[0], good=False, reason=reason)


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
            raise UserError("Type b, followed by the reason why the row is bad.")
        return False, reason.strip()
    raise UserError(f"Type g, or b and a reason, not {line[:40]!r}.")


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
        parts += [f"    calls {clean(_json(call), 0)}" for call in calls_of(message)]
    return "\n".join(parts)


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()


class _Turn:
    """A reviewer's session in the form that `run_terminal` takes."""

    def __init__(
        self,
        way: Reviewing,
        findings: Mapping[str, Texts],
        clock: Callable[[], float] | None,
    ) -> None:
        self.way, self.n_done, self.findings, self.clock = way, way.n_given(), findings, clock
        self._shown: tuple[str, int, float] = ("", 0, 0.0)

    @property
    def assigned(self) -> Texts:
        return self.way.assigned()

    def next(self) -> Case | None:
        row = self.way.next()
        if row is None:
            return None
        if self.clock is not None and self._shown[0] != row.id:
            # System messages are the same in every row, so that no one has to read them again.
            n_characters = sum(len(text_of(message)) for message in row.messages if role_of(message) != "system")
            self._shown = row.id, n_characters, self.clock()
        return Case(id=row.id, input=sheet(row))

    def submit(self, case_id: str, label: tuple[bool, str]) -> None:
        good, reason = label
        if good and self.clock is not None:
            _, n_shown, since = self._shown
            if (seconds := self.clock() - since) < n_shown / READ_PER_S:
                raise UserError(
                    f"This row cannot be read in {seconds:.1f} seconds, so the rating was not saved. Read the row, "
                    "then rate it again."
                )
        self.way.give(case_id, good=good, reason=reason)
        for line in self.findings.get(case_id, ()):
            note(line)
        self.n_done += 1

    def skip(self, case_id: str) -> None:
        self.way.skip(case_id)

    def undo(self) -> None:
        raise UserError(
            "Ratings stay.", hint="Run `tuneworthy data review correct ROW --because REASON` to change one to bad."
        )


def _clock() -> Callable[[], float] | None:
    """Return what measures how long a row is read; only people read, and only on a terminal."""
    return time.monotonic if sys.stdin.isatty() else None
