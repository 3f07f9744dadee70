"""The elements of a JSON list, one after another, without holding the list.

Only brackets, commas and quotes are looked at; what stands between them is for the caller to parse. So an element that
is not JSON leaves the next one whole, as long as its quotes and brackets come in pairs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},"]', re.DOTALL)
_PART = re.compile(rb'["\\\[\]{},]')
_OPENS_LIST = re.compile(rb"\s*:\s*\[")
_CHUNK = 2**20
_BOM = b"\xef\xbb\xbf"


def list_start(head: bytes, keys: Sequence[str]) -> int | None:
    """Return where the list of a JSON document begins: behind its bracket.

    Args:
        head: The first bytes of the document.
        keys: Under which an object may hold the list, the likeliest first.

    >>> list_start(b'[1, 2]', []), list_start(b'{"n": 1, "rows": [1]}', ["rows"]), list_start(b'{"a": 1}', ["rows"])
    (1, 18, None)
    """
    at = len(_BOM) if head.startswith(_BOM) else 0
    at += len(head[at:]) - len(head[at:].lstrip())
    if head[at : at + 1] == b"[":
        return at + 1
    found: dict[bytes, int] = {}
    depth = 0
    for token in _TOKEN.finditer(head, at):
        text = token.group()
        if text in b"[{":
            depth += 1
        elif text in b"]}":
            depth -= 1
        elif depth == 1 and (opens := _OPENS_LIST.match(head, token.end())):
            found.setdefault(text[1:-1], opens.end())
    return next((found[key.encode()] for key in keys if key.encode() in found), None)


def elements(file: Any, most: int, *, alone: bool) -> Iterator[bytes | int]:
    """Yield the elements of the list that `file` (binary, with `read1`) stands behind the bracket of.

    Args:
        most: An element above this many bytes is not held: its size is given instead.
        alone: Whether nothing may follow the list: the beginning of what follows is given as an element.

    The list may end without its bracket: then what is left is an element too, for the caller to refuse.
    """
    buffer, begin, at, depth, passed = b"", 0, 0, 0, b""
    while chunk := passed or file.read1(_CHUNK):
        buffer, at, begin, passed = buffer[begin:] + chunk, at - begin, 0, b""
        for token in _TOKEN.finditer(buffer, at):
            at = token.end()
            mark = buffer[token.start() : token.start() + 1]
            if mark == b'"':
                if len(token.group()) == 1:  # the text goes on in the next chunk
                    at = token.start()
                    break
            elif mark in b"[{":
                depth += 1
            elif mark != b",":
                if not depth:
                    rest = (buffer[at:] or file.read1(_CHUNK)).strip() if alone else b""
                    yield from filter(None, (buffer[begin : token.start()].strip(), rest))
                    return
                depth -= 1
            elif not depth:
                yield buffer[begin : token.start()].strip()
                begin = token.end()
        else:
            at = len(buffer)
        if len(buffer) - begin > most:
            size, passed = _pass_over(file, buffer[at:], depth)
            yield size + at - begin
            buffer, begin, at, depth = b"", 0, 0, 0
    if last := buffer[begin:].strip():
        yield last


def _pass_over(file: Any, rest: bytes, depth: int) -> tuple[int, bytes]:
    """Read to the end of an element without holding it.

    Args:
        rest: What was read and not looked at yet; begins outside a text, or with the quote of one.
        depth: Brackets that are open.

    Returns:
        How many bytes were passed over, and what follows the comma; what follows begins with the bracket of the list
        if that ended the element.
    """
    size, inside, skip = 0, False, False
    rest = rest or file.read1(_CHUNK)
    while rest:
        at = 0
        while token := _PART.search(rest, at + skip):
            at, skip = token.end(), False
            mark = token.group()
            if mark == b"\\":
                skip = inside
            elif mark == b'"':
                inside = not inside
            elif inside:
                continue
            elif mark in b"[{":
                depth += 1
            elif mark in b"]}":
                if not depth:
                    return size + at - 1, rest[at - 1 :]
                depth -= 1
            elif not depth:
                return size + at - 1, rest[at:]
        skip = skip and at == len(rest)
        size += len(rest)
        rest = file.read1(_CHUNK)
    return size, b""
