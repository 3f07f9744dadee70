"""What people said about an answer in a production log, and what becomes of the row.

The model's own bad answers must not be trained on. So: a correction replaces the answer; without one, a thumbs-down, an
escalation to a person, or feedback that cannot be interpreted drops the row. Where ratings are numbers, what is bad
depends on the scale, which the ratings of the file show (`Scales`).

Pure functions of one row; the names of keys are compared without case, spaces, dashes and underscores.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from typing import Any, Literal

from tuneworthy.cases.formats.chats import is_blank, text_of_parts
from tuneworthy.cases.pairs import with_rejected
from tuneworthy.cases.readers.faults import RowFault
from tuneworthy.types import Bounds, JsonMapping, JsonObject, Messages, Turns, content_hash, positional, role_of

Opinion = Literal["none", "good", "unclear", "bad"]


def _set_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


Kind = Literal["rates", "against", "corrects", "escalates", "outcome", "wraps", "scores"]
_KEYS: Mapping[Kind, str] = {
    "rates": (
        "feedback userfeedback feedbackrating feedbackscore thumb thumbs thumbsup vote rating userrating stars "
        "reaction csat liked like helpful resolved accepted satisfied"
    ),
    "against": "thumbsdown disliked dislike downvoted downvote flagged reported unhelpful",
    "corrects": (
        "correction corrected correctedanswer correctedoutput correctedresponse correctedcontent correctanswer edited "
        "editedanswer editedoutput editedresponse humananswer revised revisedanswer revisedresponse"
    ),
    "escalates": (
        "escalated escalation escalate escalatedto handoff handedoff humanhandoff transferred transferredtohuman "
        "humantakeover"
    ),
    "outcome": "outcome resolution disposition",
    "wraps": "metadata meta",
    "scores": "scores labels annotations evaluations",
}
_KIND_OF: Mapping[str, Kind] = {key: kind for kind, keys in _KEYS.items() for key in keys.split()}
_INSIDE = _set_of("score value rating type label thumb thumbs sentiment vote name key result")
# What the name of a score says: of which more is worse, and of which more is better. The first is looked for first:
# "incorrect" is not "correct".
_WORSE = re.compile(
    "unhelp|incorrect|inaccura|irrelevan|unsatisf|dislike|downvote|thumbsdown|toxic|hallucinat|harm|bias|error|fail"
    "|reject|wrong|bad|complain|flag|unsafe|refus|offtopic"
)
_BETTER = re.compile(
    "feedback|thumb|rating|vote|like|helpful|quality|correct|accura|relevan|satisf|csat|accept|resolved|success|pass"
    "|useful|faithful|grounded|good|stars|userscore|review"
)
_GOOD = _set_of(
    "thumbsup thumbup up positive pos good like liked yes true correct right helpful accepted accept upvote great "
    "excellent satisfied resolved 👍"
)
_BAD = _set_of(
    "thumbsdown thumbdown down negative neg bad dislike disliked no false incorrect wrong unhelpful nothelpful "
    "rejected reject downvote poor terrible unsatisfied unresolved hallucination "
    "hallucinated offtopic harmful 👎"
)
# Words that judge an answer wherever they occur; "positive" or "no" may be the answer itself.
_JUDGES = _set_of(
    "good bad thumbsup thumbsdown upvote downvote accepted rejected helpful unhelpful correct incorrect wrong 👍 👎"
)
_NEUTRAL = frozenset({"", "none", "null", "neutral", "na", "unrated", "norating", "skipped", "pending"})
_RANK: dict[Opinion, int] = {"none": 0, "good": 1, "unclear": 2, "bad": 3}
_HANDED_OVER = ("escalat", "handoff")
_STARS = frozenset({"stars", "csat"})
_TOPS = (1.0, 5.0, 10.0, 100.0)
SETTLED = "feedback_settled"
# Where `meta` keeps the ratings of single turns that could not be judged yet; a list of objects.
TURNS = "feedback_of_turns"
_OWN = frozenset({"role", "content", "tool_calls", "tool_call_id", "name"})


@dataclass(slots=True)
class Scales:
    """The lowest and the highest rating under each key: together they show what a number means.

    >>> scales = Scales(); scales.add({"rating": 4}); scales.add({"rating": 2})
    >>> scales.opinion("rating", 2), scales.opinion("rating", 5), scales.opinion("thumbs", 0)
    ('bad', 'good', 'bad')
    """

    ranges: dict[str, Bounds] = field(default_factory=dict)

    def add(self, meta: JsonMapping) -> None:
        for key, value in _numbers(meta):
            low, high = self.ranges.get(key, (value, value))
            self.ranges[key] = min(low, value), max(high, value)

    def add_row(self, messages: Messages, meta: JsonMapping) -> None:
        for entries in (meta, *_deferred(meta), *(entries for _, entries in _feedback_on_turns(messages))):
            self.add(entries)

    def forget_single(self) -> None:
        """Forget the keys with one number only: a 1 may be the best on its scale, or the worst."""
        self.ranges = {key: (low, high) for key, (low, high) in self.ranges.items() if low < 0 or low < high}

    def unknown(self, meta: JsonMapping) -> list[dict[str, float]]:
        return [{key: value} for key, value in _numbers(meta) if key not in self.ranges]

    def opinion(self, key: str, value: float) -> Opinion:
        """Return what the number `value` under `key` says.

        With negative numbers on the scale, those are bad and 0 says nothing; on a scale up to 1 what is below one
        half is bad; on scales up to 5 (stars always), 10 or 100 what is below their middle. A number beyond the scale
        is unclear.
        """
        low, high = self.ranges.get(key, (value, value))
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


@positional
class Feedback:
    """What people said about the answer of a row.

    Attributes:
        opinion: The worst of all.
        escalated: Whether a person took over.
        corrected: Whether a person corrected the answer.
        correction: The corrected answer, if the log holds it.
    """

    opinion: Opinion
    escalated: bool
    corrected: bool
    correction: str | None

    @property
    def drops(self) -> str:
        if self.correction is not None:
            return ""
        if self.corrected:
            return "corrected"
        if self.escalated:
            return "escalated"
        return {"bad": "thumbs_down", "unclear": "unclear_feedback"}.get(self.opinion, "")


def read_feedback(meta: JsonMapping, scales: Scales) -> Feedback:
    """Return the feedback in `meta`, all that a log holds besides the messages.

    >>> read_feedback({"feedback": {"thumbs": "down", "correction": "Try again."}}, Scales()).correction
    'Try again.'
    >>> read_feedback({"rating": "👎"}, Scales()).drops
    'thumbs_down'
    """
    opinion: Opinion = "none"
    escalated, corrected, correction = False, False, None
    entries = list(_entries(meta))
    has_down = any(key == "thumbsdown" for _, key, _ in entries)
    for kind, key, value in entries:
        if kind == "corrects":
            text = _corrected_text(value)
            correction = text if text is not None else correction
            corrected = corrected or text is not None or _is_true(value)
        elif kind == "escalates":
            escalated = escalated or _is_true(value)
        elif kind == "outcome":
            escalated = escalated or (isinstance(value, str) and _bare(value).startswith(_HANDED_OVER))
        elif kind == "against":
            opinion = _worse(opinion, "bad" if _is_true(value) else "none")
        elif key == "thumbsup" and not value and (has_down or value is not False):
            continue  # a pair of switches or of counters, of which this one is off
        else:
            rated = _opinion(key, value, scales)
            escalated = escalated or rated is None
            opinion = _worse(opinion, rated or "none")
    return Feedback(opinion, escalated, corrected, correction)


Entry = tuple[Kind, str, Any]


def _entries(value: Any, *, inside: bool = False, depth: int = 0) -> Iterator[Entry]:
    """Yield the feedback in an object; in one that is `inside` another feedback object, a bare score counts too.

    A feedback object without a known key is yielded as `feedback` with the value ``"?"``: unclear.
    """
    for item in value if isinstance(value, list) and inside else ():
        if isinstance(item, Mapping):
            yield from _entries(item, inside=True, depth=depth + 1)
        else:
            yield "rates", "feedback", item
    if not isinstance(value, Mapping) or depth > 4:
        return
    recognised = False
    for name, item in value.items():
        key = _bare_key(name)
        kind = _KIND_OF.get(key)
        if kind in {"wraps", "scores", "rates"} and isinstance(item, Mapping | list):
            recognised = recognised or kind == "rates"
            if kind == "scores":
                yield from chain.from_iterable(_scored(title, rated) for title, rated in _scores_in(item))
            else:
                yield from _entries(item, inside=kind == "rates", depth=depth + 1)
        elif kind not in {None, "wraps", "scores"} or (_rates_inside if inside else _is_verdict)(key, item):
            recognised = True
            yield kind or "rates", key, item
    if inside and value and not recognised:
        yield "rates", "feedback", "?"


def _rates_inside(key: str, value: Any) -> bool:
    if key not in _INSIDE or isinstance(value, Mapping | list):
        return False
    return key not in {"name", "key", "type"} or not isinstance(value, str) or _bare(value) in _GOOD | _BAD


def _is_verdict(key: str, value: Any) -> bool:
    """Whether a bare `label` or `score` of a row judges its answer, and is no class and no similarity."""
    if key == "label":
        return isinstance(value, bool) or (isinstance(value, str) and _bare(value) in _JUDGES)
    return key == "score" and isinstance(value, bool | int | float) and value in (-1, 0, 1)


def _scores_in(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield names and values of scores: an object by name, or a list of ``{"name": ..., "value": ...}``."""
    if isinstance(value, Mapping):
        value = [
            {"name": name, **(item if isinstance(item, Mapping) else {"value": item})} for name, item in value.items()
        ]
    for item in value:
        if isinstance(item, Mapping):
            inner = item["result"] if isinstance(item.get("result"), Mapping) else item
            name = str(item.get("name", item.get("key", "")))
            yield from ((name, inner[key]) for key in ("value", "score", "label") if inner.get(key) is not None)


def _scored(name: str, value: Any) -> Iterator[Entry]:
    """Yield the feedback in a score; nothing where its name does not say whether a high score is good."""
    word, said = _bare_key(name), _bare(value) if isinstance(value, str) else ""
    if _KIND_OF.get(word) == "corrects":
        yield "corrects", "correction", value
    elif "escalat" in word:
        yield "escalates", "escalated", value
    elif said in _JUDGES:
        yield "rates", "label", value
    elif _WORSE.search(word):
        number = _number(value)
        bad = number >= 0.5 if number is not None and number <= 1 else said in {"yes", "true"} | _BAD - {"no", "false"}
        yield "against", "flagged", bad or value is True
    elif _BETTER.search(word):
        for one in value if isinstance(value, list) else [value]:
            yield "rates", word, one


def is_rated(messages: Messages, meta: JsonMapping) -> bool:
    return any(has_feedback(entries) for entries in (meta, *(one for _, one in _feedback_on_turns(messages))))


def has_feedback(meta: JsonMapping) -> bool:
    return any(value is not None and value not in ("", {}, []) for *_, value in _entries(meta))


def unused_scores(meta: JsonMapping) -> set[str]:
    scores = meta.get("scores")
    pairs = _scores_in(scores) if isinstance(scores, Mapping | list) else ()
    return {name for name, value in pairs if not any(True for _ in _scored(name, value))}


def _numbers(meta: JsonMapping) -> Iterator[tuple[str, float]]:
    for kind, key, value in _entries(meta):
        if kind == "rates" and (number := _number(value)) is not None:
            yield key, number


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    is_text = isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d+(\.\d+)?\s*", value)
    return float(value) if is_number or is_text else None


def _opinion(key: str, value: Any, scales: Scales) -> Opinion | None:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "good" if value else "bad"
    if (number := _number(value)) is not None:
        return scales.opinion(key, number)
    word = _bare(value) if isinstance(value, str) else "?"
    if word in _NEUTRAL and "?" not in str(value):
        return "none"
    if word.startswith(_HANDED_OVER):
        return None
    return "good" if word in _GOOD else "bad" if word in _BAD else "unclear"


def _worse(one: Opinion, other: Opinion) -> Opinion:
    return max(one, other, key=_RANK.__getitem__)


def _is_true(value: Any) -> bool:
    no = _NEUTRAL | {"no", "false", "0", "never", "off"}
    return _bare(value) not in no if isinstance(value, str) else bool(value)


def _corrected_text(value: Any) -> str | None:
    if isinstance(value, list) and value:
        value = value[-1]
    if isinstance(value, Mapping):
        value = next((value[key] for key in ("content", "text", "answer", "output", "value") if key in value), None)
    if isinstance(value, list):
        try:
            value = text_of_parts(value, "correction")
        except RowFault:
            return None
    is_text = isinstance(value, str) and not is_blank(value)
    return value if is_text and _bare(value) not in _NEUTRAL | {"yes", "no", "true", "false", "0", "1"} else None


@lru_cache(maxsize=1024)
def _bare_key(name: Any) -> str:
    return _bare(str(name)[:64])


def _bare(text: str) -> str:
    return re.sub(r"[\s_:.\-]+", "", text).casefold()


@positional
class Settled:
    """A row after its feedback.

    Attributes:
        messages: With the correction as the answer, if there is one.
        meta: With a mark that the feedback was applied; of a repaired row with the old answer as the worse one of a
            pair, without its finish reason.
        drops: The code for which the row is dropped, or "".
        repaired: Whether a correction replaced an answer.
    """

    messages: Turns
    meta: JsonMapping
    drops: str = ""
    repaired: bool = False


def settle(messages: Turns, meta: JsonMapping, scales: Scales) -> Settled:
    """Apply the feedback on a row and on its single turns, once: a row with the mark of an earlier call stays as it is.

    A turn that was corrected ends the conversation: what follows answers a text that is gone. A turn that was rated as
    bad drops the row: what follows rests on it.

    What a number means is read from the first rows of a file, before the disliked ones are dropped. So the row gets a
    mark, unless it holds a number whose scale is not known yet: the build judges that on all rows.
    Ratings of single turns that are still to be judged are kept under `TURNS`.

    >>> chat = ({"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "5"})
    >>> settle(chat, {"correction": "4"}, Scales()).messages[-1]["content"]
    '4'
    """
    if meta.get(SETTLED):
        return Settled(messages, meta)
    settled = _apply(messages, meta, scales)
    return settled if settled.drops else replace(settled, meta=_marked(settled, scales))


def _apply(messages: Turns, meta: JsonMapping, scales: Scales) -> Settled:
    for entries in _deferred(meta):
        if drops := read_feedback(entries, scales).drops:
            return Settled(messages, meta, drops)
    for turn, entries in (*_feedback_on_turns(messages), (len(messages) - 1, meta)):
        feedback = read_feedback(entries, scales)
        if feedback.drops:
            return Settled(messages, meta, feedback.drops)
        if feedback.correction is not None:
            return _repaired(messages[: turn + 1], meta, feedback.correction)
    return Settled(messages, meta)


def _marked(settled: Settled, scales: Scales) -> JsonMapping:
    meta = settled.meta
    turns = [one for _, entries in _feedback_on_turns(settled.messages) for one in scales.unknown(entries)]
    if turns:
        return {**meta, TURNS: [*_deferred(meta), *turns]}
    if not settled.repaired and scales.unknown(meta):
        return meta
    return {**meta, SETTLED: True} if any(True for _ in _entries(meta)) else meta


def _repaired(messages: Turns, meta: JsonMapping, correction: str) -> Settled:
    *before, old = messages
    if old.get("content") == correction:
        return Settled(messages, meta)
    rest = {key: value for key, value in meta.items() if key != "finish_reason"}
    repaired = {**with_rejected(rest, old), "repaired": "correction", "replaced": content_hash(old)}
    return Settled((*before, {"role": "assistant", "content": correction}), repaired, repaired=True)


def _feedback_on_turns(messages: Messages) -> Iterator[tuple[int, JsonObject]]:
    for number, message in enumerate(messages):
        if role_of(message) == "assistant" and len(message) > 2:
            yield number, {key: item for key, item in message.items() if key not in _OWN}


def _deferred(meta: JsonMapping) -> list[JsonMapping]:
    ratings = meta.get(TURNS)
    return [one for one in ratings if isinstance(one, Mapping)] if isinstance(ratings, list) else []
