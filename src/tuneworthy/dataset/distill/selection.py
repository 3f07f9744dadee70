"""Which of a teacher's answers to one question is selected, or why none is. Pure.

An answer must have ended normally. Where the right answer is known, the grader's best one is selected, if it is good
enough; else the one that most samples gave, if enough of them did; else the first.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import field, replace

import orjson

from tuneworthy.cases.formats.chats import is_blank
from tuneworthy.cases.normalize import normalise
from tuneworthy.cases.task_kind import parse_object
from tuneworthy.dataset import messages
from tuneworthy.dataset.checks.endings import CUT, NATURAL, REFUSED
from tuneworthy.graders.refusals import refuses
from tuneworthy.types import UNLABELLED, Score, TextPair, Trace, Traces, positional

_BLOCKED = REFUSED - {"refusal"}


@positional
class Selection:
    """What becomes of one question.

    Attributes:
        trace: The selected answer; None if none is good enough.
        reason: Why none is, a key of `messages.TEACHER_REASONS`.
        detail: More on the reason, for people.
        how: `grader`, `majority` or `first`.
        share: Of the samples that agree with the selected one, or with the majority; None for one sample.
        endings: Samples without a proper end, by reason.
        worst: The answer that the grader scores lowest, where that is below the selected one.
    """

    trace: Trace | None
    reason: str = ""
    detail: str = ""
    how: str = ""
    share: float | None = None
    endings: Counter[str] = field(default_factory=Counter)
    worst: Trace | None = None


def ending(trace: Trace) -> TextPair:
    """Return why an answer is unfit for training, and details; two empty texts if it is fit.

    >>> from tuneworthy.types import Response
    >>> ended = Response(text="It is", finish_reason="length")
    >>> ending(Trace(case_id="", variant_id="", repeat=0, messages=(), response=ended))[0]
    'truncated'
    """
    if trace.response is None:
        return "teacher_error", trace.error.code if trace.error else ""
    reason = trace.response.finish_reason.strip().lower()
    if reason in CUT:
        return "truncated", ""
    if reason in _BLOCKED:
        return "content_filter", messages.finish_reason(reason)
    if reason == "refusal":
        return "teacher_refused", messages.say("refused_by_log")
    if reason not in NATURAL:
        return "unnatural_end", messages.finish_reason(reason)
    if is_blank(trace.text) and not trace.response.tool_calls:
        return "empty_answer", ""
    return ("teacher_refused", messages.say("refused_by_text")) if refuses(trace.text) else ("", "")


def select(
    traces: Traces, scores: Sequence[Score] | None, *, accept: float = 1.0, agree: float | None = None
) -> Selection:
    """Select one of the answers to a question.

    Args:
        traces: The samples, at least one.
        scores: One a sample, of the grader; None where no right answer is known.
        accept: Least score of an answer that is selected.
        agree: Least share of all samples that must agree where no right answer is known.
    """
    why = [ending(trace) for trace in traces]
    ended = [n for n, (reason, _) in enumerate(why) if not reason]
    endings = Counter(reason for reason, _ in why if reason)
    if not ended:
        reason, detail = Counter(why).most_common(1)[0][0]
        return Selection(None, reason, detail, endings=endings)
    contents = {n: _content(traces[n]) for n in ended}
    votes = Counter(contents.values())
    if scores is not None:
        selection, chosen = _graded(traces, scores, {n: votes[contents[n]] for n in ended}, accept)
    elif agree is None:
        chosen = ended[0]
        selection = Selection(traces[chosen], how="first")
    else:
        (majority, n_most), *others = votes.most_common()
        chosen = next(n for n in ended if contents[n] == majority)
        selection = Selection(traces[chosen], how="majority")
        if n_most / len(traces) < agree or any(n == n_most for _, n in others):
            selection = Selection(
                None, "disagreement", f"the most frequent answer occurs in {n_most} of {len(traces)} samples"
            )
    return replace(
        selection,
        share=None if chosen is None or len(traces) == 1 else votes[contents[chosen]] / len(traces),
        endings=endings,
    )


def _graded(
    traces: Traces, scores: Sequence[Score], votes: Mapping[int, int], accept: float
) -> tuple[Selection, int | None]:
    """Return the selection by score among the samples in `votes`, and the sample with the best score."""
    values = {n: value for n in votes if (value := scores[n].value) is not None}
    if not values:
        return Selection(None, "unscored", scores[min(votes)].unscored), None
    best = max(values, key=lambda n: (values[n], votes[n], -n))
    if values[best] < accept:
        return Selection(
            None,
            "wrong",
            f"the best answer scores {values[best]:.3f}, below the threshold of {accept:g} (n = {len(values)})",
        ), best
    last = min(values, key=lambda n: (values[n], n))
    return Selection(traces[best], how="grader", worst=traces[last] if values[last] < values[best] else None), best


def _content(trace: Trace) -> str:
    """Return a text that two answers share if they differ in case, punctuation and order of keys only."""
    assert trace.response is not None
    if trace.response.tool_calls:
        calls = [call.get("function") for call in trace.response.tool_calls]
        return orjson.dumps(calls, option=orjson.OPT_SORT_KEYS, default=str).decode()
    parsed = parse_object(trace.text)
    return (
        orjson.dumps(parsed, option=orjson.OPT_SORT_KEYS).decode()
        if parsed is not UNLABELLED
        else normalise(trace.text) or trace.text.strip()
    )
