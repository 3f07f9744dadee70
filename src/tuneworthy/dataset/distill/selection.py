"""Which of a teacher's answers to one question is kept, or why none is. Pure.

An answer must have come to its end by itself. Where the right answer is known the grader's best one is kept, if it is
good enough; else the one that most samples gave, if enough of them did; else the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from tuneworthy.cases.formats.chats import is_blank
from tuneworthy.cases.normalize import normalise
from tuneworthy.cases.task_kind import parse_object
from tuneworthy.dataset.checks.endings import CUT, NATURAL, REFUSED, refuses
from tuneworthy.types import UNLABELLED, Score, Trace

WORDS: Final = {
    "truncated": "the teacher's answer hit the token limit",
    "teacher_refused": "the teacher refused",
    "content_filter": "the provider blocked the teacher's answer",
    "unnatural_end": "the teacher's answer did not end by itself",
    "teacher_error": "the teacher could not be asked",
    "empty_answer": "the teacher said nothing",
    "wrong": "the grader says that no answer of the teacher is good enough",
    "unscored": "the grader could not judge the teacher's answer",
    "disagreement": "too few of the teacher's answers say the same",
}
"""Reason to words, for all that an answer of a teacher can leave for."""
_BLOCKED: Final = REFUSED - {"refusal"}


@dataclass(frozen=True, slots=True)
class Choice:
    """What becomes of one question.

    Attributes:
        kept: The answer; None if none is good enough. reason, detail: Why none is (a key of `WORDS`).
        how: `grader`, `majority` or `first`.
        share: Of the samples that say the same as the one that is kept, or as most do; None for one sample.
        score: Of the primary grader; None where no right answer is known.
        endings: Samples that did not come to their end, by reason.
    """

    kept: Trace | None
    reason: str = ""
    detail: str = ""
    how: str = ""
    share: float | None = None
    score: float | None = None
    endings: Counter[str] = field(default_factory=Counter)


def ending(trace: Trace) -> tuple[str, str]:
    """Return why an answer is none to learn from, and details; two empty texts if it is one.

    >>> from tuneworthy.types import Response
    >>> ended = Response(text="It is", finish_reason="length")
    >>> ending(Trace(case_id="", variant_id="", repeat=0, messages=(), response=ended))[0]
    'truncated'
    """
    if trace.response is None:
        return "teacher_error", trace.error.code if trace.error else ""
    told = trace.response.finish_reason.strip().lower()
    if told in CUT:
        return "truncated", ""
    if told in _BLOCKED:
        return "content_filter", f"finish reason {told!r}"
    if told == "refusal":
        return "teacher_refused", "the provider says so"
    if told not in NATURAL:
        return "unnatural_end", f"finish reason {told[:40]!r}"
    if is_blank(trace.text) and not trace.response.tool_calls:
        return "empty_answer", ""
    if refuses(trace.text):
        return "teacher_refused", "by its words"
    return "", ""


def choose(
    traces: Sequence[Trace], scores: Sequence[Score] | None, *, accept: float, agree: float | None = None
) -> Choice:
    """Choose among the answers to one question.

    Args:
        traces: The samples, at least one.
        scores: One a sample, of the grader; None where no right answer is known.
        accept: Least score of an answer that is kept.
        agree: Least share of all samples that must say the same where no right answer is known.
    """
    why = [ending(trace) for trace in traces]
    ended = [n for n, (reason, _) in enumerate(why) if not reason]
    endings = Counter(reason for reason, _ in why if reason)
    if not ended:
        reason, detail = Counter(why).most_common(1)[0][0]
        return Choice(None, reason, detail, endings=endings)
    said = {n: _said(traces[n]) for n in ended}
    votes = Counter(said.values())

    def share(n: int) -> float | None:
        return votes[said[n]] / len(traces) if len(traces) > 1 else None

    if scores is not None:
        values = {n: value for n in ended if (value := scores[n].value) is not None}
        if not values:
            return Choice(None, "unscored", scores[ended[0]].unscored, endings=endings)
        best = max(values, key=lambda n: (values[n], votes[said[n]], -n))
        if values[best] < accept:
            detail = f"{len(values)} answers, the best scores {values[best]:.3f}, below {accept:g}"
            return Choice(None, "wrong", detail, share=share(best), score=values[best], endings=endings)
        return Choice(traces[best], how="grader", share=share(best), score=values[best], endings=endings)
    if agree is None:
        return Choice(traces[ended[0]], how="first", share=share(ended[0]), endings=endings)
    (most, n_most), *others = votes.most_common()
    first = next(n for n in ended if said[n] == most)
    if n_most / len(traces) < agree or any(n == n_most for _, n in others):
        return Choice(None, "disagreement", f"{n_most} of {len(traces)} agree", share=share(first), endings=endings)
    return Choice(traces[first], how="majority", share=share(first), endings=endings)


def _said(trace: Trace) -> str:
    """Return a text that two answers share if they say the same: but for case, punctuation, order of keys."""
    assert trace.response is not None
    if trace.response.tool_calls:
        calls = [call.get("function") for call in trace.response.tool_calls]
        return orjson.dumps(calls, option=orjson.OPT_SORT_KEYS, default=str).decode()
    parsed = parse_object(trace.text)
    if parsed is not UNLABELLED:
        return orjson.dumps(parsed, option=orjson.OPT_SORT_KEYS).decode()
    return normalise(trace.text) or trace.text.strip()
