"""Whether an answer declines: says that it does not know, cannot or will not answer.

The phrases are data (`declining.json`): answers that decline as a whole, openers that are skipped ("I'm
sorry, but"), starts, parts of the first sentences, and keys whose null means "no answer".
"""

import re
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from tuneworthy.graders.json_text import find_json
from tuneworthy.store.shapes import bundled
from tuneworthy.types import Response, Texts, content_hash

# Declining comes first: later text is not searched for built-in phrases.
HEAD_CHARS = 300

_DECLINED_FINISH = frozenset({"refusal", "content_filter"})
_PLAIN = str.maketrans({"’": "'", "ʼ": "'", "´": "'", "\uff0c": ",", "\u3002": "."})
_EDGES = " \t\r\n\"'`*_>#-([{“”«»„"
_ENDS = " \t\r\n\"'`*_.!?)]}“”«»„"


@dataclass(frozen=True)
class DeclinePhrases:
    """Content of `declining.json`: phrases that decline, and keys that do so as null."""

    whole: list[str]
    openers: list[str]
    starts: list[str]
    parts: list[str]
    null_keys: list[str]


@cache
def phrase_lists() -> DeclinePhrases:
    return bundled("tuneworthy.graders", "declining.json", DeclinePhrases)


class Declines:
    """Says whether a response declines.

    Attributes:
        identity: Content hash of the phrases.
    """

    def __init__(self) -> None:
        lists = phrase_lists()
        self._whole = frozenset(map(_folded, lists.whole))
        openers = sorted(map(_folded, lists.openers), key=len, reverse=True)
        self._opener = _any_of(openers, r"(?!\w)[\s,.;:!–—-]*")
        self._start = _any_of([_folded(one) for one in lists.starts], "")
        self._parts = tuple(map(_folded, lists.parts))
        self._shortest_part = min(map(len, self._parts))
        self._null_keys = frozenset(lists.null_keys)
        self.identity = content_hash(asdict(lists))

    def __call__(self, response: Response) -> bool:
        return response.finish_reason in _DECLINED_FINISH or (not response.tool_calls and self.text(response.text))

    def text(self, text: str) -> bool:
        head = _folded(text[:HEAD_CHARS]).lstrip(_EDGES)
        whole = len(text) < HEAD_CHARS and head.rstrip(_ENDS) in self._whole
        if self._null(text) or (head and (whole or self._begins(head))):
            return True
        return len(head) >= self._shortest_part and any(part in head for part in self._parts)

    def _begins(self, head: str) -> bool:
        position = 0
        for _ in range(4):
            if self._start.match(head, position):
                return True
            if not (opener := self._opener.match(head, position)):
                return False
            position = opener.end()
        return False

    def _null(self, text: str) -> bool:
        if len(text) > HEAD_CHARS or not ("{" in text or "null" in text):
            return False
        value: Any = find_json(text)
        if not isinstance(value, dict) or len(value) != 1:
            return value is None
        key, one = next(iter(value.items()))
        return key in self._null_keys and (one is None or (isinstance(one, str) and self.text(one)))


def _folded(text: str) -> str:
    return text.casefold().translate(_PLAIN)


def _any_of(phrases: Texts, after: str) -> re.Pattern[str]:
    return re.compile(f"(?:{'|'.join(re.escape(one) for one in phrases)}){after}")


@cache
def built_in() -> Declines:
    return Declines()
