"""Finding the JSON in an answer: the whole text, a fenced block, or the first balanced object.

The result is strict JSON (no NaN, no lone surrogates), so it can be stored again.
"""

import json
import re
from itertools import chain
from typing import Any

import orjson

from tuneworthy.types import JsonObject

MAX_CHARS = 1_000_000
# How deep a value may nest: it is stored in a record again, and a writer ends at 254 levels.
MAX_DEPTH = 200
# How many opening braces are tried before an answer counts as unreadable.
MAX_STARTS = 32

_FENCE = re.compile(r"```[A-Za-z0-9]*[ \t]*\r?\n(.*?)```", re.DOTALL)
_START = re.compile(r'\{\s*["}]')
_BRACE = re.compile(r"[{}]")
_DECODER = json.JSONDecoder()


# No JSON was found (None is JSON's null).
NOTHING = object()


def find_json(text: str, *, strict: bool = False) -> Any:
    """Return the JSON value of `text` or within it, or `NOTHING`.

    Args:
        text: An answer; characters past one million are not read.
        strict: Accept only a text that is JSON as a whole.

    >>> find_json('Sure: {"a": 1}'), find_json("[1]"), find_json("none") is NOTHING
    ({'a': 1}, [1], True)
    """
    text = text[:MAX_CHARS]
    value = _parse(text)
    if value is not NOTHING or strict:
        return value
    for index, block in enumerate(_FENCE.finditer(text)):
        value = _parse(block[1])
        if value is not NOTHING or index >= MAX_STARTS:
            break
    return value if value is not NOTHING else _first_object(text)


def find_object(text: str, *, strict: bool = False) -> JsonObject | None:
    value = find_json(text, strict=strict)
    return value if isinstance(value, dict) else None


def _parse(text: str) -> Any:
    try:
        value = orjson.loads(text)
    except ValueError:
        return NOTHING
    return NOTHING if text.count("{") + text.count("[") > MAX_DEPTH and is_deep(value) else value


def is_deep(value: Any) -> bool:
    """Whether `value` nests deeper than `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = ((one.values() if isinstance(one, dict) else one) for one in level if isinstance(one, dict | list))
        level = [*chain.from_iterable(inner)]
    return any(isinstance(one, dict | list) for one in level)


def _first_object(text: str) -> Any:
    """Return the first object of `text` that is not a part of another one.

    An object inside one that is broken or cut off is a part of an answer, not the answer: it is passed over.
    """
    position = 0
    for _ in range(MAX_STARTS):
        start = _START.search(text, position)
        if not start:
            break
        try:
            _, position = _DECODER.raw_decode(text, start.start())
        except json.JSONDecodeError as error:
            readable = len(text) if error.msg.startswith("Unterminated string") else error.pos
            position = _balanced_end(text, start.start()) or max(readable, start.end())
            continue
        except (RecursionError, ValueError):  # too deep, or a number of thousands of digits
            break
        value = _parse(text[start.start() : position])
        if value is not NOTHING:
            return value
    return NOTHING


def _balanced_end(text: str, start: int) -> int | None:
    """Return where the brace at `start` is closed, counting only braces; None if it never is."""
    depth = 0
    for brace in _BRACE.finditer(text, start):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return brace.end()
    return None
