"""Data checks: the book of their rules, what they may look at besides the rows, and what they find.

A data check is a rule (`tuneworthy.rules`): a function ``(rows, context) -> findings``, or a dataclass whose instances
are such functions and whose fields are its settings, so that a recipe can rebuild it. Its docstring is its page, and
`codes` holds a description of all that it can find. The framework, not the check, counts, times and stores findings,
and only the framework changes or drops rows.

Rules that hold for every check:

1. The same rows, context and settings give the same findings.
2. No row is an error, however odd it is: empty turns, unknown roles, lone surrogates.
3. No finding holds personal data: its message is for people and is written to files.
4. A check changes nothing; a finding that asks for `mask` has the changed row, or the check a method `repair`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import field, fields, is_dataclass, replace
from typing import Any, cast

from tuneworthy.dataset import messages
from tuneworthy.dataset.records import Action
from tuneworthy.graders.base import accepted
from tuneworthy.retrieval.encoder import Encoder
from tuneworthy.rules import Finding, R, Rule, RuleBook
from tuneworthy.types import (
    Cases,
    Example,
    Examples,
    JsonObject,
    NamedFloats,
    Texts,
    Turns,
    content_hash,
    frozen,
    positional,
)

# The `row` of a finding that is about all rows together.
WHOLE_SET = -1
# Rows that a check gets at a time if it does not need all of them.
BATCH = 20_000
# Share of the rows above which a finding may be the task; of fewer rows, as many as of so many, or more than half.
MANY, MIN_ROWS = 0.1, 100


def are_many(n: int, n_rows: int, share: float = MANY) -> bool:
    """Whether so many rows have a finding that it may be the task, and only the user can tell."""
    return n > share * max(n_rows, MIN_ROWS) or 2 * n > n_rows


@frozen
class RowFinding(Finding):
    """One thing that a check found in the rows.

    Attributes:
        row: Position in the rows that were examined; `WHOLE_SET` for a finding on all rows.
        subject: Its name, if the policy may decide on it by "code:subject"; else "".
        other: The row that it repeats.
        score: How sure or how near, where the check measures it.
        action: What is asked for; a finding on all rows is reported, whatever it asks for.
        changed: The repaired row, for `mask`; the check's method ``repair(row) -> row`` makes it if None.
    """

    row: int = WHOLE_SET
    subject: str = ""
    other: int | None = None
    score: float | None = None
    action: Action = "drop"
    changed: Example | None = None


RowFindings = Iterator[RowFinding]


@frozen
class DataCheck(Rule[RowFinding]):
    """A registered data check.

    Attributes:
        whole: Whether it must see all rows at once; if not, it gets them in batches.
        gate: Codes of which no row may stay in a version.
        asks: Code to the share of the rows above which the finding may be the task: then the build asks.
        certain: Whether its rows leave whatever that costs; those of any other check are reported where it is shown
            that leaving them out costs accuracy (see `effect`).
        calls: Whether it calls graders or models of the project, and so runs in the process of the command.
        version: Raise it whenever the check finds something else in the same rows. A build that was interrupted takes
            up findings of this version only.
    """

    whole: bool = False
    gate: Collection[str] = ()
    asks: NamedFloats = field(default_factory=dict)
    certain: bool = False
    calls: bool = False
    version: int = 1

    def configured(self, **settings: Any) -> DataCheck:
        return replace(self, examine=self.build(**settings))

    @property
    def settings(self) -> JsonObject:
        examine = self.examine
        return {one.name: getattr(examine, one.name) for one in fields(examine)} if is_dataclass(examine) else {}

    @property
    def blind(self) -> str:
        return str(getattr(self.examine, "blind", ""))

    @property
    def repair(self) -> Callable[[Example], Example] | None:
        return getattr(self.examine, "repair", None)


@positional
class AuditResult:
    """A judge's opinions of rows.

    Attributes:
        opinions: In the order of the rows: good or not, and ""; or None, and why there is no verdict.
        n_canaries: Worthless answers that the judge was shown; it rejected every one.
    """

    opinions: Sequence[tuple[bool | None, str]]
    n_canaries: int


# Judges rows. Raises UserError where the judge calls a worthless answer good, so its opinions are worth nothing.
Auditor = Callable[[Examples], AuditResult]
# Scores of the answer and of the worse answer of each pair by the project's first grader; None where it cannot score.
PairScorer = Callable[[Examples], Sequence[tuple[float | None, float | None]]]


@frozen
class CheckContext:
    """What checks may look at besides the rows.

    Attributes:
        cases: Dev and test: no row may overlap with them, and they keep the mix of real traffic.
        encoder: Sentence encoder for labels; None if the project names no encoder.
        labels: The labels of a task that has few, else empty.
        rated: Whether people said something about any of the answers.
        auditor: Judges rows; None if the project names no judge for them.
        scores: Scores pairs; None if only a judge could.
        seed: Of every random choice.
    """

    cases: Cases = ()
    encoder: Encoder | None = None
    labels: Texts = ()
    rated: bool = True
    auditor: Auditor | None = None
    scores: PairScorer | None = None
    seed: int = 0


# The built-in checks in the order in which they run: what is cheap and certain first.
# Overlaps with the cases leave before duplicates do. Otherwise an overlapping row would be dropped as the duplicate
# of a row that stays, or a clean row as the duplicate of one that overlaps.
MODULES = tuple(
    f"tuneworthy.dataset.checks.{name}"
    for name in (
        "encoding",
        "chat",
        "feedback",
        "endings",
        "degenerate",
        "label_names",
        "sources",
        "contamination",
        "duplicates",
        "grounding",
        "personal_data",
        "judge_audit",
        "label_errors",
        "declined_share",
        "language",
        "pairs",
        "teachers",
    )
)

DATA_CHECKS = RuleBook("data_checks", MODULES, DataCheck)


def data_check(name: str, **facts: Any) -> Callable[[R], R]:
    """Return a decorator that registers a built-in check; `messages.REASONS` has its codes."""
    return DATA_CHECKS.rule(name, codes=messages.REASONS[name], **facts)


def as_rows(cases: Cases) -> list[Example]:
    """Return the cases with an expected answer as rows: how often a finding is right, whatever was logged."""
    return [
        Example(
            id=case.id,
            messages=(
                *(case.messages or [{"role": "user", "content": case.text}]),
                {"role": "assistant", "content": "".join(accepted(case.expected)[:1])},
            ),
        )
        for case in cases
        if case.has_answer
    ]


def with_turns(row: Example, turns: Turns) -> Example:
    return replace(row, messages=turns, id=id_of(turns))


def id_of(turns: Turns) -> str:
    try:
        return content_hash(turns)
    except TypeError:  # half of a character, which no file holds
        return content_hash(repr(turns).encode("utf-8", "surrogatepass").hex())


def data_checks() -> dict[str, DataCheck]:
    return cast("dict[str, DataCheck]", DATA_CHECKS.all())
