"""Cuts keys out of texts: whole, in parts, and what looks like one. Every key that was read is known here by value.

Servers echo keys: in errors, in answers, in the name of the model. Shown and stored text goes through `redact`.
"""

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import parse_qsl, unquote, urlsplit

from tuneworthy.text import n_shared

HIDDEN = "[key]"
LOOKS_LIKE_A_KEY = re.compile(r"\b(?:sk|pk|rk|gsk|hf|xai|nvapi|AIza)[-_][\w*.-]{6,}|(?<=Bearer )\S+")
# Names of headers and of fields in an address.
_NAMES_A_KEY = re.compile(r"(?i)auth|key|token|secret|cookie|password|signature|\bsig\b|\bcode\b")
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


def redact(text: str, keys: Iterable[str] = ()) -> str:
    """Return `text` without any key that was read or is given, and without parts of a third of a key or longer."""
    for key, least in [*_KEYS.items(), *((key, max(SHORTEST, len(key) // 3)) for key in keys)]:
        text = _cut(text, key, least)
    return text


def keys_in(headers: Iterable[tuple[str, str]], url: str = "") -> tuple[str, ...]:
    """Return the values of a request's headers and of its address that are keys by their names."""
    parts = urlsplit(url)
    named = [
        *((name, part) for name, value in headers for part in value.split()),
        *parse_qsl(parts.query),
        ("password", unquote(parts.password or "")),
    ]
    return tuple(value for name, value in named if len(value) >= SHORTEST and _NAMES_A_KEY.search(name))


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


@lru_cache(1024)  # of a proxy, each user has a key
def _blocks(key: str, least: int) -> tuple[tuple[int, str], ...]:
    """Return places and pieces of `key`, so that any part of `least` characters contains a piece."""
    size = (least + 1) // 2
    return tuple((place, key[place : place + size]) for place in range(0, len(key) - size + 1, size))


def _cut(text: str, key: str, least: int) -> str:
    for place, block in _blocks(key, least):
        start = text.find(block)
        while start >= 0:
            before = n_shared(text[max(0, start - place) : start][::-1], key[:place][::-1])
            after = n_shared(text[start : start + len(key)], key[place:])
            first, end = start - before, start + after
            if end - first >= least:
                # what touches it belongs to it, or to a key that is much like it; an escape of JSON stays
                first -= len(_BEFORE.search(text[max(0, first - _NEAR) : first])[0])  # type: ignore[index]
                end += len(_AFTER.match(text[end : end + _NEAR])[0])  # type: ignore[index]
                text, end = text[:first] + HIDDEN + text[end:], first + len(HIDDEN)
            start = text.find(block, end)
    return text
