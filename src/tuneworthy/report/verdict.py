"""The verdict as a manager reads it: the answer, three reasons, the money, what would change it, and for how long.

Invariant: no word of the tool's own stands here without its meaning; a verdict that no longer holds gives no answer,
only what changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuneworthy.report import numbers
from tuneworthy.report.text import clean
from tuneworthy.verdict.base import EconomicsResult
from tuneworthy.verdict.economics import money_words
from tuneworthy.verdict.savings import saved_words
from tuneworthy.verdict.wording import UNDECIDED

if TYPE_CHECKING:
    from tuneworthy.verdict.last_verdict import Kept

ANSWERS: Mapping[str, str] = {
    "fine_tune": "Fine-tuning is worth a try",
    "do_not_fine_tune": "Do not fine-tune",
    "undecided": "Not decided yet: evidence is missing",
    "ship": "Ship the fine-tuned model",
    "do_not_ship": "Do not ship the fine-tuned model",
}
PILOT = (
    "Build a training set that passes its checks, and run a pilot: a few short trainings that show what training gains "
    "before the whole of it is paid for."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What stands at the head of the report.

    Attributes:
        outcome: For styles; "stale" if the verdict no longer holds.
        answer: In plain words. reasons: At most three sentences, the weightiest first.
        money, next, change, until: A sentence each; "" if there is none.
    """

    outcome: str
    answer: str
    reasons: list[str]
    money: str = ""
    next: str = ""
    change: str = ""
    until: str = ""

    @property
    def named(self) -> list[tuple[str, str]]:
        """The sentences after the reasons, with what each is about."""
        rows = [("Money", self.money), ("Next", self.next), ("This would change it", self.change)]
        return [(name, words) for name, words in [*rows, ("Valid until", self.until)] if words]


def section(verdict: Kept) -> Section:
    """Return the section of a verdict that was kept."""
    content = verdict.content
    answer = ANSWERS[content["outcome"]]
    if not verdict.holds:
        return Section(
            outcome="stale",
            answer="The last verdict no longer holds",
            reasons=[_sentence(f"it was: {answer.lower()}"), _sentence(f"since then: {'; '.join(verdict.changed)}")],
            next="Run tuneworthy decide again.",
        )
    reasons = [reason.removeprefix(UNDECIDED) for reason in content["reasons"]]
    following, changes = content["next_action"], list(content["would_change"])
    if content["outcome"] == "undecided":
        reasons[0], _, todo = reasons[0].partition("; ")  # what was found; what to do
        following = todo or following
        missing = sum(row["status"] == "unknown" or _failed(row) for row in content["gates"])
        changes[:1] = [f"what is missing ({missing} in all: tuneworthy decide lists them), once it is there"]
    return Section(
        outcome=content["outcome"],
        answer=answer,
        reasons=[_sentence(reason) for reason in reasons],
        money=_money(content["economics"]),
        next=PILOT if _untouched(content) else _sentence(following),
        change=_sentence("; ".join(changes)) if changes else "",
        until=clean(content["valid_until"]),
    )


def in_a_sentence(verdict: Kept | None) -> str:
    """Return the answer for the paragraph to paste; "" if there is none that holds."""
    if verdict is None or not verdict.holds:
        return ""
    found = section(verdict)
    until = f" (valid until {found.until})" if found.until else ""
    return f"Verdict{until}: {found.answer.lower()}. {found.reasons[0]}"


def _untouched(content: Mapping[str, Any]) -> bool:
    """Whether training is worth a try and nothing of it was begun: no gate before training holds."""
    gates = [row for row in content["gates"] if row["stage"] == "to_train"]
    return content["outcome"] == "fine_tune" and all(row["status"] in {"unknown", "fail"} for row in gates)


def _failed(row: Mapping[str, Any]) -> bool:
    """Whether a gate failed so that nothing can be decided; two gates that fail are an answer."""
    return row["status"] == "fail" and row["gate"] not in {"reason", "economics"}


def _money(content: Mapping[str, Any]) -> str:
    """Say whether training pays, and what it would cost."""
    found = EconomicsResult(**content)
    words = _sentence(money_words(found).partition("; ")[0])
    if less := saved_words(found.saved):
        words += f" {_sentence(f'measured on test, {less}')}"
    if found.one_off_usd is None or found.monthly_usd is None:
        return words
    once, month = numbers.count(found.one_off_usd), numbers.count(found.monthly_usd)
    return f"{words} Training is taken to cost ${once} once, and ${month} a month to serve and keep up."


def _sentence(words: str) -> str:
    """Return words as a clean sentence: a capital, a full stop, no code marks."""
    text = clean(words, 0).replace("`", "")
    return text[:1].upper() + text[1:].rstrip(".") + "."
