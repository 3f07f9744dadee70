"""The verdict as a manager reads it: the answer, three reasons, the money, what would change it, and for how long.

Invariant: a verdict that no longer holds gives no answer, only what changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tuneworthy.report import messages, numbers
from tuneworthy.report.text import clean
from tuneworthy.verdict.base import EconomicsResult
from tuneworthy.verdict.economics import money_sentence
from tuneworthy.verdict.last_verdict import StoredVerdict
from tuneworthy.verdict.messages import answer_of
from tuneworthy.verdict.savings import savings_sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictSection:
    """What stands at the head of the report.

    Attributes:
        outcome: For styles; "stale" if the verdict no longer holds.
        answer: In plain words.
        reasons: At most three sentences, the weightiest first.
        facts: (what it is about, sentences): money, the next step, what would change it, until when it holds.
    """

    outcome: str
    answer: str
    reasons: Sequence[str]
    facts: Sequence[tuple[str, str]]


def section(stored: StoredVerdict) -> VerdictSection:
    """Return the section of a stored verdict."""
    verdict = stored.verdict
    answer = answer_of(verdict)
    if not stored.holds:
        return _section(
            "stale",
            messages.say("verdict_stale"),
            [
                messages.say("verdict_was", answer=answer[0].lower() + answer[1:]),
                messages.say("since_then", changes="; ".join(stored.changed)),
            ],
            [(messages.say("next"), messages.say("decide_again"))],
        )
    following, changes = str(verdict.next_action), " ".join(verdict.would_change)
    facts = [(messages.say("money"), _money(verdict.economics)), (messages.say("next"), following)]
    facts += [(messages.say("would_change"), changes), (messages.say("valid_until"), verdict.valid_until)]
    return _section(verdict.outcome, answer, verdict.reasons, facts)


def _section(outcome: str, answer: str, reasons: Sequence[str], facts: Sequence[tuple[str, str]]) -> VerdictSection:
    """Clean all sentences; code marks do not stand in prose."""
    return VerdictSection(
        outcome=outcome,
        answer=answer,
        reasons=[clean(reason, 0).replace("`", "") for reason in reasons],
        facts=[(name, clean(text, 0).replace("`", "")) for name, text in facts if text],
    )


def in_a_sentence(stored: StoredVerdict | None) -> str:
    """Return the answer for the paragraph to paste; "" without one that holds."""
    if stored is None or not stored.holds:
        return ""
    result, until = section(stored), stored.verdict.valid_until
    return messages.say(
        "verdict_line",
        valid=messages.say("until", date=until) if until else "",
        answer=result.answer,
        reason=result.reasons[0],
    )


def _money(result: EconomicsResult) -> str:
    text = [money_sentence(result, short=True)]
    if saved := savings_sentence(result.saved):
        text.append(messages.say("saved", saved=saved))
    if result.one_off_usd is not None and result.monthly_usd is not None:
        once, month = numbers.count(result.one_off_usd), numbers.count(result.monthly_usd)
        text.append(messages.say("training_costs", once=once, month=month))
    return " ".join(text)
