"""Validate a judge before it may decide: canaries that are never good, and verdicts of people.

Invariants: a judge that calls one canary good fails; fewer than 50 verdicts of people leave it unknown, never passed;
agreement is never the criterion (always saying good agrees with the base rate), telling good from bad is.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Literal

from tuneworthy.graders.base import accepted
from tuneworthy.graders.judge import JudgeGrader
from tuneworthy.stats.confusion import Confusion
from tuneworthy.store.shapes import bundled
from tuneworthy.text import count
from tuneworthy.types import Bounds, Case, Cases, JsonObject, Texts, canonical, frozen

# Minimum of rated answers per variant of a comparison.
MIN_HUMAN = 50
# Largest share of judgements that may be missing.
MOST_UNREAD = 0.02

Status = Literal["pass", "fail", "unknown"]


@frozen
class Canary:
    """An answer that is never good, to a question."""

    name: str
    kind: str
    case: Case
    answer: str


@frozen
class JudgedAnswer:
    case: Case
    answer: str
    good: bool


@frozen
class JudgeValidation:
    """Evidence on a judge from canaries and people's verdicts.

    Attributes:
        status: `pass`: it may decide where people's verdicts correct it; `fail`; `unknown`: too few verdicts.
        reasons: Why it is not `pass`, one sentence each.
        fooled: Names of the canaries that it called good.
        n_canaries: Canaries that it was shown.
        n_unread: Verdicts that are missing.
        n_asked: Verdicts that were requested.
        confusion: Its verdicts against those of people.
        warnings: What does not bar it: judge and judged of one family.
    """

    status: Status
    reasons: Texts
    fooled: Texts
    n_canaries: int
    n_unread: int
    n_asked: int
    confusion: Confusion
    warnings: Texts = ()

    def __str__(self) -> str:
        table = self.confusion
        caught = f"{self.n_canaries - len(self.fooled)} of {self.n_canaries} worthless answers caught"
        if not table.n:
            return f"Judge: {self.status}, {caught}, no human ratings."
        return (
            f"Judge: {self.status}, {caught}. On {table.n} human-rated answers, kappa is "
            f"{'not defined' if table.kappa is None else f'{table.kappa:.2f}'}. Good answers rated good: "
            f"{_share(table.sensitivity, table.sensitivity_interval())}. Bad answers rated bad: "
            f"{_share(table.specificity, table.specificity_interval())}."
        )

    def to_dict(self) -> JsonObject:
        table = self.confusion
        return {
            **asdict(self),
            "detail": str(self),
            "n": table.n,
            "agreement": table.agreement,
            "kappa": table.kappa,
            "sensitivity": table.sensitivity,
            "sensitivity_ci95": table.sensitivity_interval(),
            "specificity": table.specificity,
            "specificity_ci95": table.specificity_interval(),
            "residual_bad": table.residual_bad,
        }


def _share(value: float | None, interval: Bounds) -> str:
    if value is None:
        return "not defined (people rated no such answers)"
    return f"{value:.1%} [{interval[0]:.1%}, {interval[1]:.1%}]"


@dataclass(frozen=True)
class Question:
    question: str
    expected: str


@dataclass(frozen=True)
class CanaryTemplate:
    """An answer that is never good; `{question}` or `{other}` (the answer to another question) is filled in."""

    name: str
    kind: str
    answer: str
    needs_reference: bool = False


@dataclass(frozen=True)
class CanaryTable:
    fallback: list[Question]
    canaries: list[CanaryTemplate]


@cache
def _table() -> CanaryTable:
    return bundled("tuneworthy.graders", "canaries.json", CanaryTable)


def canaries(cases: Cases = (), *, needs_expected: bool = True) -> list[Canary]:
    """Return the canaries, put to the project's own questions.

    Args:
        cases: Labelled cases (dev); built-in questions appear in where there are fewer than two different answers.
        needs_expected: Whether the judge sees right answers; else those that are wrong in fact are left out.
    """
    own = [case for case in cases if case.has_answer]
    built_in = [
        Case(id=f"canary-{i}", input=row.question, expected=row.expected) for i, row in enumerate(_table().fallback)
    ]
    if len({canonical(case.expected) for case in own}) < 2:
        own = built_in
    rows = [row for row in _table().canaries if needs_expected or not row.needs_reference]
    return [_canary(row, [*own[n % len(own) :], *own, *built_in]) for n, row in enumerate(rows)]


def _canary(row: CanaryTemplate, cases: Cases) -> Canary:
    for case in cases:
        other = next(one for one in cases if canonical(one.expected) != canonical(case.expected))
        answer = (
            row.answer.replace("{question}", case.text)
            if "{question}" in row.answer
            else row.answer.replace("{other}", accepted(other.expected)[0])
        )
        if answer.strip().casefold() not in {text.strip().casefold() for text in accepted(case.expected)}:
            break
    return Canary(name=row.name, kind=row.kind, case=case, answer=answer)


async def validate_judge(
    judge: JudgeGrader,
    cases: Cases = (),
    answers: Sequence[JudgedAnswer] = (),
    *,
    warnings: Texts = (),
) -> JudgeValidation:
    """Show a judge the canaries and the answers that people judged; all verdicts are stored and reused.

    Args:
        judge: The grader, with a session to ask.
        cases: Whose questions the canaries are put to (dev).
        answers: Answers with people's verdicts, a random sample of the answers that it will judge.
        warnings: Further evidence (see `family.same_family`).

    Raises:
        TuneworthyError: Budget spent, key refused, provider down.
    """
    planted = canaries(cases, needs_expected=judge.needs_expected)
    pairs = [(one.case, one.answer) for one in planted] + [(one.case, one.answer) for one in answers]
    replies = await asyncio.gather(*(judge.verdict(case, answer) for case, answer in pairs))
    verdicts = [good for good, _ in replies]
    of_canaries, of_answers = verdicts[: len(planted)], verdicts[len(planted) :]
    fooled = tuple(one.name for one, good in zip(planted, of_canaries, strict=True) if good)
    table = Confusion.of((one.good, good) for one, good in zip(answers, of_answers, strict=True) if good is not None)
    if table.n >= MIN_HUMAN and table.tells_apart() is None:
        warnings = [
            *warnings,
            (
                f"The human ratings ({table.n_good} good, {table.n_bad} bad) do not show that the judge can tell good "
                "answers from bad ones."
            ),
        ]
    n_unread = sum(good is None for good in verdicts)
    failed = _failed(fooled, n_unread, len(replies), next((why for good, why in replies if good is None), ""), table)
    few = (
        [f"People have rated {count(table.n, 'answer')}, but at least {MIN_HUMAN} are needed."]
        if table.n < MIN_HUMAN
        else []
    )
    return JudgeValidation(
        status="fail" if failed else "unknown" if few else "pass",
        reasons=tuple(failed or few),
        fooled=fooled,
        n_canaries=len(planted),
        n_unread=n_unread,
        n_asked=len(replies),
        confusion=table,
        warnings=tuple(warnings),
    )


def _failed(fooled: Texts, n_unread: int, n_asked: int, example: str, table: Confusion) -> list[str]:
    reasons = (
        (
            f"The judge rated {count(len(fooled), 'worthless answer')} as good ({', '.join(fooled[:5])}).",
            bool(fooled),
        ),
        (
            f"{n_unread} of {n_asked} ratings are missing (first reason: {example}).",
            n_unread > MOST_UNREAD * n_asked,
        ),
        (
            "The judge is no better than chance: it gives bad answers a good rating at least as often as good answers.",
            table.n >= MIN_HUMAN and table.tells_apart() is False,
        ),
    )
    return [reason for reason, applies in reasons if applies]
