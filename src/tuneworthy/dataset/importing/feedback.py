"""What people said about an answer in a production log, and what becomes of the row.

The model's own bad answers must not be trained in. So: a correction takes the place of the answer; without one, a
thumbs-down, an escalation to a person, or feedback that cannot be understood drops the row. Where ratings are numbers,
what is bad depends on the scale, which is told by the ratings of the file (`Scales`).

Pure functions of one row; the names of keys are compared without case, spaces, dashes and underscores.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal

from tuneworthy.cases.formats.chats import is_blank, text_of_parts
from tuneworthy.cases.readers.faults import RowFault
from tuneworthy.types import Message, content_hash

Opinion = Literal["none", "good", "unclear", "bad"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_RATES: Final = _words(
    "feedback userfeedback thumb thumbs thumbsup vote rating userrating stars reaction csat liked like helpful "
    "resolved accepted satisfied"
)
_AGAINST: Final = _words("thumbsdown disliked dislike downvoted downvote flagged reported unhelpful")
_CORRECTS: Final = _words(
    "correction corrected correctedanswer correctedoutput correctedresponse correctedcontent correctanswer edited "
    "editedanswer editedoutput editedresponse humananswer revised revisedanswer revisedresponse"
)
_ESCALATES: Final = _words(
    "escalated escalation escalate escalatedto handoff handedoff humanhandoff transferred transferredtohuman "
    "humantakeover"
)
_OUTCOMES: Final = frozenset({"outcome", "resolution", "disposition"})
_INSIDE: Final = _words("score value rating type label thumb thumbs sentiment vote name key result")
_WRAPS: Final = frozenset({"metadata", "meta", "scores", "labels"})
_GOOD: Final = _words(
    "thumbsup thumbup up positive pos good like liked yes true correct right helpful accepted accept upvote great "
    "excellent satisfied resolved 👍"
)
_BAD: Final = _words(
    "thumbsdown thumbdown down negative neg bad dislike disliked no false incorrect wrong unhelpful nothelpful "
    "rejected reject downvote poor terrible unsatisfied unresolved hallucination "
    "hallucinated offtopic harmful 👎"
)
_NEUTRAL: Final = frozenset({"", "none", "null", "neutral", "na", "unrated", "norating", "skipped", "pending"})
_RANK: Final[dict[Opinion, int]] = {"none": 0, "good": 1, "unclear": 2, "bad": 3}
_STARS: Final = frozenset({"stars", "csat"})
_TOPS: Final = (1.0, 5.0, 10.0, 100.0)
WORDS: Final = {
    "thumbs_down": "a person said that the answer is bad",
    "escalated": "the conversation was handed to a person",
    "corrected": "the answer was corrected, and the log does not hold the correction",
    "unclear_feedback": "the feedback is not understood, so the answer may be bad",
}
"""Reason for machines to reason for people."""
SETTLED: Final = "feedback_settled"
TURNS: Final = "feedback_of_turns"
"""Where `meta` keeps the ratings of single turns that could not be judged yet; a list of objects."""
_OWN: Final = frozenset({"role", "content", "tool_calls", "tool_call_id", "name"})


@dataclass(slots=True)
class Scales:
    """The lowest and the highest rating seen under each key: together they tell what a number means.

    >>> scales = Scales(); scales.see({"rating": 4}); scales.see({"rating": 2})
    >>> scales.opinion("rating", 2), scales.opinion("rating", 5), scales.opinion("thumbs", 0)
    ('bad', 'good', 'bad')
    """

    seen: dict[str, tuple[float, float]] = field(default_factory=dict)

    def see(self, meta: Mapping[str, Any]) -> None:
        """Take the ratings of one row into account."""
        for key, value in _numbers(meta):
            low, high = self.seen.get(key, (value, value))
            self.seen[key] = min(low, value), max(high, value)

    def see_row(self, messages: Sequence[Message], meta: Mapping[str, Any]) -> None:
        """Take the ratings of one row into account, those of its single turns too."""
        self.see(meta)
        for told in (*_kept_of_turns(meta), *(told for _, told in _told_of_turns(messages))):
            self.see(told)

    def forget_single(self) -> None:
        """Forget the keys under which one number alone was seen: a 1 may be the best on its scale, or the worst."""
        self.seen = {key: (low, high) for key, (low, high) in self.seen.items() if low < 0 or low < high}

    def unknown(self, meta: Mapping[str, Any]) -> list[dict[str, float]]:
        """Return the ratings in `meta` whose scale was not seen."""
        return [{key: value} for key, value in _numbers(meta) if key not in self.seen]

    def opinion(self, key: str, value: float) -> Opinion:
        """Return what the number `value` under `key` says.

        With negative numbers on the scale, those are bad and 0 says nothing; on a scale up to 1 what is below one
        half is bad; on scales up to 5 (stars always), 10 or 100 what is below their middle. A number beyond the scale
        is unclear.
        """
        low, high = self.seen.get(key, (value, value))
        if value < 0:
            return "bad"
        if low < 0:
            return "good" if value else "none"
        high = max(high, 5.0) if key in _STARS else high
        top = next((top for top in _TOPS if high <= top), high)
        if value > top:
            return "unclear"
        middle = 0.5 if top == 1 else (1 + top) / 2
        return "bad" if value < middle else "good"


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a row says about its answer.

    Attributes:
        opinion: The worst of all that was said.
        escalated: Whether a person took over.
        corrected: Whether somebody corrected the answer.
        correction: The corrected answer, if the log holds it.
    """

    opinion: Opinion = "none"
    escalated: bool = False
    corrected: bool = False
    correction: str | None = None

    @property
    def drops(self) -> str:
        """The reason for which the row is dropped, or ""."""
        if self.correction is not None:
            return ""
        if self.corrected:
            return "corrected"
        if self.escalated:
            return "escalated"
        return {"bad": "thumbs_down", "unclear": "unclear_feedback"}.get(self.opinion, "")


def read_feedback(meta: Mapping[str, Any], scales: Scales) -> Feedback:
    """Return what `meta`, all that a log holds beside the messages, says about the answer.

    >>> read_feedback({"feedback": {"thumbs": "down", "correction": "Try again."}}, Scales()).correction
    'Try again.'
    >>> read_feedback({"rating": "👎"}, Scales()).drops
    'thumbs_down'
    """
    opinion: Opinion = "none"
    escalated, corrected, correction = False, False, None
    entries = list(_entries(meta))
    both = {key for key, _, _ in entries}
    for key, value, inside in entries:
        if key in _CORRECTS:
            found = _corrected_text(value)
            correction = found if found is not None else correction
            corrected = corrected or found is not None or _is_true(value)
        elif key in _ESCALATES:
            escalated = escalated or _is_true(value)
        elif key in _OUTCOMES:
            escalated = escalated or (isinstance(value, str) and _bare(value).startswith(("escalat", "handoff")))
        elif key in _AGAINST:
            opinion = _worse(opinion, "bad" if _is_true(value) else "none")
        elif key in _RATES or inside:
            if key == "thumbsup" and not value and ("thumbsdown" in both or value is not False):
                continue  # a pair of switches or of counters, of which this one is off
            said = _opinion(key, value, scales)
            escalated = escalated or said is None
            opinion = _worse(opinion, said or "none")
    return Feedback(opinion, escalated, corrected, correction)


def _entries(value: Any, *, inside: bool = False, depth: int = 0) -> Iterator[tuple[str, Any, bool]]:
    """Yield bare key, value, and whether it stands inside an object of feedback: also of objects and lists in it.

    An object of feedback none of whose keys is known is yielded as `feedback` with the value ``"?"``: unclear.
    """
    if isinstance(value, list) and inside:
        for item in value:
            if isinstance(item, Mapping):
                yield from _entries(item, inside=True, depth=depth + 1)
            else:
                yield "feedback", item, True
    if not isinstance(value, Mapping) or depth > 4:
        return
    known = False
    for name, item in value.items():
        key = _bare_key(name)
        nested = isinstance(item, Mapping | list)
        if key in _RATES and nested:
            known = True
            yield from _entries(item, inside=True, depth=depth + 1)
        elif key in _WRAPS and nested:
            yield from _named(item, depth)
        elif key in _RATES | _AGAINST | _CORRECTS | _ESCALATES | _OUTCOMES:
            known = True
            yield key, item, False
        elif inside and key in _INSIDE and not nested and not _is_title(key, item):
            known = True
            yield key, item, True
    if inside and value and not known:
        yield "feedback", "?", True


def _is_title(key: str, value: Any) -> bool:
    """Whether a `name`, `key` or `type` only says what is rated ("user-feedback") and not how."""
    return key in {"name", "key", "type"} and isinstance(value, str) and _bare(value) not in _GOOD | _BAD


def _named(value: Any, depth: int) -> Iterator[tuple[str, Any, bool]]:
    """Yield the entries of metadata, and of scores in the form ``{"name": ..., "value": ...}`` that are feedback."""
    if isinstance(value, Mapping):
        yield from _entries(value, depth=depth + 1)
        return
    for item in value:
        if isinstance(item, Mapping):
            name = _bare(str(item.get("name", item.get("key", ""))))
            if any(word in name for word in ("feedback", "thumb", "rating", "correct", "escalat")):
                rated = item.get("value", item.get("score"))
                key = "correction" if "correct" in name else "escalated" if "escalat" in name else name
                yield (key, rated, False) if key in _CORRECTS | _ESCALATES else ("feedback", rated, True)


def _numbers(meta: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for key, value, inside in _entries(meta):
        if (key in _RATES or inside) and (number := _number(value)) is not None:
            yield key, number


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d+(\.\d+)?\s*", value):
        return float(value)
    return None


def _opinion(key: str, value: Any, scales: Scales) -> Opinion | None:
    """Return what one value says; None: that a person took over."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "good" if value else "bad"
    if (number := _number(value)) is not None:
        return scales.opinion(key, number)
    word = _bare(value) if isinstance(value, str) else "?"
    if word in _NEUTRAL and "?" not in str(value):
        return "none"
    if word.startswith(("escalat", "handoff")):
        return None
    return "good" if word in _GOOD else "bad" if word in _BAD else "unclear"


def _worse(one: Opinion, other: Opinion) -> Opinion:
    return max(one, other, key=_RANK.__getitem__)


def _is_true(value: Any) -> bool:
    """Whether a switch is on; a text is, unless it says no."""
    if isinstance(value, str):
        return _bare(value) not in _NEUTRAL | {"no", "false", "0", "never", "off"}
    return bool(value)


def _corrected_text(value: Any) -> str | None:
    """Return the text of a correction: given as text, as a message, or as a list that ends with one."""
    if isinstance(value, list) and value:
        value = value[-1]
    if isinstance(value, Mapping):
        value = next((value[key] for key in ("content", "text", "answer", "output", "value") if key in value), None)
    if isinstance(value, list):
        try:
            value = text_of_parts(value, "correction")
        except RowFault:
            return None
    said = isinstance(value, str) and not is_blank(value)
    return value if said and _bare(value) not in _NEUTRAL | {"yes", "no", "true", "false", "0", "1"} else None


@lru_cache(maxsize=1024)
def _bare_key(name: Any) -> str:
    return _bare(str(name)[:64])


def _bare(text: str) -> str:
    return re.sub(r"[\s_:.\-]+", "", text).casefold()


@dataclass(frozen=True, slots=True)
class Settled:
    """A row after its feedback.

    Attributes:
        messages: With the correction in the place of the answer, if there is one.
        meta: As it was; of a repaired row without the finish reason of the answer that is gone.
        drops: The reason for which the row is dropped (a key of `WORDS`), or "".
        repaired: Whether a correction took the place of an answer.
    """

    messages: tuple[Message, ...]
    meta: Mapping[str, Any]
    drops: str = ""
    repaired: bool = False


def settle(messages: tuple[Message, ...], meta: Mapping[str, Any], scales: Scales) -> Settled:
    """Apply the feedback of a row, and that on single turns; once: a row that is marked as settled stays as it is.

    A turn that is corrected ends the conversation: what follows answers a text that is gone. A turn that was said to
    be bad drops the row: what follows rests on it.

    >>> chat = ({"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "5"})
    >>> settle(chat, {"correction": "4"}, Scales()).messages[-1]["content"]
    '4'
    """
    if meta.get(SETTLED):
        return Settled(messages, meta)
    for kept in _kept_of_turns(meta):
        if drops := read_feedback(kept, scales).drops:
            return Settled(messages, meta, drops)
    for i, told in _told_of_turns(messages):
        said = read_feedback(told, scales)
        if said.drops:
            return Settled(messages, meta, said.drops)
        if said.correction is not None:
            return _repaired(messages[: i + 1], meta, said.correction)
    said = read_feedback(meta, scales)
    if said.drops:
        return Settled(messages, meta, said.drops)
    if said.correction is None:
        return Settled(messages, meta)
    return _repaired(messages, meta, said.correction)


def marked(settled: Settled, scales: Scales) -> Mapping[str, Any]:
    """Return the `meta` of a settled row with the mark that its feedback was applied; as it is, if it holds none.

    What a number means is read from all rows: where those that people disliked are gone, it could not be read again.
    A row with a number whose scale was not seen yet gets no mark: the build judges it on all rows. Ratings of single
    turns that are to be judged then go along under `TURNS`.
    """
    meta = settled.meta
    turns = [one for _, told in _told_of_turns(settled.messages) for one in scales.unknown(told)]
    if turns:
        return {**meta, TURNS: [*_kept_of_turns(meta), *turns]}
    if not settled.repaired and scales.unknown(meta):
        return meta
    return {**meta, SETTLED: True} if any(True for _ in _entries(meta)) else meta


def _told_of_turns(messages: Sequence[Message]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each answer that something is told of, and what is."""
    for number, message in enumerate(messages):
        if message.get("role") == "assistant" and len(message) > 2:
            yield number, {key: item for key, item in message.items() if key not in _OWN}


def _kept_of_turns(meta: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the ratings of single turns that `marked` left to be judged."""
    kept = meta.get(TURNS)
    return [one for one in kept if isinstance(one, Mapping)] if isinstance(kept, list) else []


def _repaired(messages: tuple[Message, ...], meta: Mapping[str, Any], correction: str) -> Settled:
    *before, old = messages
    if old.get("content") == correction:
        return Settled(messages, meta)
    kept = {key: value for key, value in meta.items() if key != "finish_reason"}
    told = {**kept, "repaired": "correction", "replaced": content_hash(old)}
    return Settled((*before, {"role": "assistant", "content": correction}), told, repaired=True)
