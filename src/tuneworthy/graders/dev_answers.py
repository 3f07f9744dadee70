"""Answers to dev cases in the record of a run: short, with personal data masked, and with their kinds of failure."""

from collections.abc import Callable, Sequence

from tuneworthy.graders.base import accepted
from tuneworthy.graders.choice import LabelFinder
from tuneworthy.graders.messages import REASONS
from tuneworthy.types import Case, Cases, JsonMapping, Score, Texts, Traces, frozen

# Dev cases in the record, and characters per text.
MAX_CASES, MAX_CHARS = 200, 200
# Shown instead of a label that the answer does not name.
NO_LABEL = "(no label)"


@frozen
class DevCase:
    """A dev case; its texts are short, and personal data is masked."""

    case: str
    question: str
    expected: str


@frozen
class DevAnswer:
    """A scored answer to a dev case.

    Attributes:
        text: Short, with personal data masked.
        score: 0..1.
        failures: Confused labels, wrong fields, or the grader's reason; empty for a right answer.
    """

    text: str
    score: float
    failures: Texts = ()

    @property
    def is_right(self) -> bool:
        return self.score >= 1


def dev_cases(cases: Cases) -> list[DevCase]:
    short = shortener()
    return [DevCase(case=case.id, question=short(case.text), expected=short(_expected(case))) for case in cases]


def dev_answers(labels: Texts, cases: Cases, traces: Traces, scores: Sequence[Score]) -> dict[str, DevAnswer]:
    """Return the scored answers to dev cases by case.

    Args:
        labels: Of a label task; empty for others.
        cases: Of dev.
        traces: One answer to each.
        scores: Of these answers.
    """
    short, find = shortener(), LabelFinder(labels) if labels else None
    rows = [row for row in zip(cases, traces, scores, strict=True) if row[1].response and row[2].value is not None]
    return {
        case.id: DevAnswer(
            text=short(trace.text),
            score=score.value or 0.0,
            failures=[]
            if (score.value or 0.0) >= 1
            else failure_kinds(case, trace.text, score.reason, score.detail, find=find, short=short),
        )
        for case, trace, score in rows
    }


def failure_kinds(
    case: Case, text: str, reason: str, detail: JsonMapping, *, find: LabelFinder | None, short: Callable[[str], str]
) -> Texts:
    """Return the confused labels of an answer that is not fully right, else its wrong fields, else the reason.

    Args:
        case: The case.
        text: The answer.
        reason: Of its score, like `detail`.
        find: Finds the labels of a label task; None for others.
        short: Cuts a text.
    """
    if find is not None:
        labels, expected = find(text), _expected(case)
        answered = labels[0] if len(labels) == 1 else NO_LABEL
        if answered != expected:
            return [f"{short(expected)} → {short(answered)}"]
    fields = detail.get("fields") or {}
    return [short(path) for path, (_, *faults) in fields.items() if any(faults)] or [
        REASONS.get(reason, short(reason or "wrong"))
    ]


def _expected(case: Case) -> str:
    return "(decline)" if case.expected is None else ", ".join(accepted(case.expected))


def shortener() -> Callable[[str], str]:
    """Return a function that masks personal data in a text and cuts it."""
    from tuneworthy.cases.pii import Masker  # its patterns take a while to compile

    masker = Masker()

    def short(text: str) -> str:
        masked = " ".join(masker.mask(text[: 4 * MAX_CHARS]).split())
        return masked if len(masked) <= MAX_CHARS else f"{masked[:MAX_CHARS]}…"

    return short
