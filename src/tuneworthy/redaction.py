"""Cuts keys out of texts: whole, in parts, and what looks like one. Every key that was read is known here by value.

Servers echo keys: in errors, in answers, in the name of the model. Shown and stored text goes through `redact`.
"""

import json
import re
from functools import cache
from itertools import takewhile

HIDDEN = "[key]"
LOOKS_LIKE_A_KEY = re.compile(r"\b(?:sk|pk|rk|gsk|hf|xai|nvapi|AIza)[-_][\w*.-]{6,}|(?<=Bearer )\S+")
_NEAR = 256
_AFTER = re.compile(r"[\w*.-]*", re.ASCII)
_BEFORE = re.compile(
    r"(?<![\\\w*.-])[\w*.-]*\Z|(?<=\\u[0-9a-fA-F]{4})[\w*.-]*\Z|(?<=\\[a-tv-z])[\w*.-]*\Z|\Z", re.ASCII
)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
# Shorter keys are words, such as the "EMPTY" that local servers take.
SHORTEST = 8
_KEYS: dict[str, int] = {}


def remember(key: str) -> None:
    """Cut `key` out of everything from now on."""
    if len(key) >= SHORTEST:
        _KEYS[key] = max(SHORTEST, len(key) // 3)


def redact(text: str) -> str:
    """Return `text` without any key that was read, and without parts of a third of a key or longer."""
    for key, least in _KEYS.items():
        text = _cut(text, key, least)
    return text


def redact_json(body: bytes) -> bytes:
    """Return a JSON document without any key that was read; `body` itself if it has no key.

    A number with digits of a key stays a number, so that the document stays valid. Text that is not JSON is cut
    everywhere.
    """
    if not any(block.encode() in body for key, least in _KEYS.items() for _, block in _blocks(key, least)):
        return body
    text = body.decode("utf-8", "surrogateescape")
    try:
        json.loads(text)
    except ValueError:
        return redact(text).encode("utf-8", "surrogateescape")
    return _STRING.sub(lambda found: redact(found[0]), text).encode("utf-8", "surrogateescape")


@cache
def _blocks(key: str, least: int) -> tuple[tuple[int, str], ...]:
    """Return places and pieces of `key`, so that any part of `least` characters contains a piece."""
    size = (least + 1) // 2
    return tuple((place, key[place : place + size]) for place in range(0, len(key) - size + 1, size))


def _cut(text: str, key: str, least: int) -> str:
    for place, block in _blocks(key, least):
        start = text.find(block)
        while start >= 0:
            before = _common(text[max(0, start - place) : start][::-1], key[:place][::-1])
            after = _common(text[start : start + len(key)], key[place:])
            first, end = start - before, start + after
            if end - first >= least:
                # what touches it belongs to it, or to a key that is much like it; an escape of JSON stays
                first -= len(_BEFORE.search(text[max(0, first - _NEAR) : first])[0])  # type: ignore[index]
                end += len(_AFTER.match(text[end : end + _NEAR])[0])  # type: ignore[index]
                text, end = text[:first] + HIDDEN + text[end:], first + len(HIDDEN)
            start = text.find(block, end)
    return text


def _common(a: str, b: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
