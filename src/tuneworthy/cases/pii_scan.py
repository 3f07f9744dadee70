"""Where texts could hold personal data: one compiled pass over bytes, so that patterns look at few places only.

`windows` gives for each pattern the stretches of a text outside of which it cannot match; `pii.find_all` looks there.
Nothing may be lost: the tests compare with the patterns run over whole texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

Stretch = tuple[int, int, int]
"""Number of the pattern, start and end in characters."""

KEY, EMAIL, IBAN, CARD, IPV4, IPV6, PHONE = range(7)
"""Numbers of the patterns, in the order in which they are looked for."""

KEY_PREFIXES: Final = sorted((
    "sk-", "sk_live_", "sk_test_", "rk_live_", "rk_test_", "pk_live_", "pk_test_", "ghp_", "gho_", "ghu_", "ghs_",
    "ghr_", "github_pat_", "glpat-", "AKIA", "ASIA", "AIza", "ya29.", "xoxa-", "xoxb-", "xoxe-", "xoxo-", "xoxp-",
    "xoxr-", "xoxs-", "hf_", "npm_", "pypi-", "eyJ",
))  # fmt: skip
"""What every key begins with, but for a private key, which begins with `-----BEGIN`."""

_BATCH_CHARS = 4_000_000
_MIN_CARD, _MIN_PHONE, _PHONE_GAP = 13, 7, 4
_BEFORE: Final = np.array([0, 64, 0, 0, 0, 0, 0])
_AFTER: Final = np.array([8200, 600, 46, 2, 2, 2, 3])
"""Characters before and behind an anchor that a match, and what must not follow it, can take up."""

_DIGIT, _LETTER, _NAME, _LOCAL, _HEX, _PHONE, _START, _GAP, _OPEN, _PART = (1 << bit for bit in range(10))
_JOINED = np.frombuffer("".join(KEY_PREFIXES).encode(), np.uint8)
_ENDS = np.cumsum([0, *map(len, KEY_PREFIXES)])
_FIRST = np.searchsorted(np.array([ord(one[0]) for one in KEY_PREFIXES]), np.arange(257))
"""The prefixes that begin with byte b are those from `_FIRST[b]` up to `_FIRST[b + 1]`."""


def _classes() -> NDArray[np.uint16]:
    """Return the classes of each byte; one of another script may be a letter of an address."""
    digits, letters = set(b"0123456789"), {*range(65, 91), *range(97, 123)}
    members = {
        _DIGIT: digits,
        _LETTER: letters,
        _NAME: digits | letters | set(range(128, 256)),
        _LOCAL: digits | letters | set(b"_.!#$%&'*+/=?^`{|}~-") | set(range(128, 256)),
        _HEX: set(b"0123456789abcdefABCDEF:."),
        _PHONE: digits | set(b"+(). /-"),
        _START: {ord(prefix[0]) for prefix in KEY_PREFIXES},
        _GAP: set(b" -"),  # between the digits of a card
        _OPEN: set(b"+("),  # before the digits of a phone number
        _PART: digits | letters | set(b"_-"),  # before what is no beginning of a key
    }
    table = np.zeros(256, np.uint16)
    for bit, codes in members.items():
        table[sorted(codes)] |= bit
    return table


_CLASSES = _classes()


def _put_py(out: Any, n: int, row: int, pattern: int, start: int, end: int) -> int:  # noqa: PLR0917
    """Write an anchor if there is room; return how many there are now."""
    if n < len(out):
        out[n, 0], out[n, 1], out[n, 2], out[n, 3] = row, pattern, start, end
    return n + 1


def _is_key_py(data: Any, i: int, last: int) -> bool:
    """Whether one of the prefixes begins at byte `i`."""
    for k in range(_FIRST[data[i]], _FIRST[data[i] + 1]):
        size = _ENDS[k + 1] - _ENDS[k]
        if i + size <= last:
            same = True
            for j in range(size):
                if data[i + j] != _JOINED[_ENDS[k] + j]:
                    same = False
                    break
            if same:
                return True
    return False


def _is_private_key_py(data: Any, i: int, first: int, last: int) -> bool:
    """Whether `-----BEGIN` has its B at byte `i`."""
    if i - first < 5 or last - i < 5:
        return False
    for j in range(1, 6):
        if data[i - j] != 45:
            return False
    return bool(data[i + 1] == 69 and data[i + 2] == 71 and data[i + 3] == 73 and data[i + 4] == 78)


def _is_iban_py(data: Any, i: int, first: int, last: int) -> bool:
    """Whether two letters and two digits, the second at byte `i`, may begin an account's number."""
    if i - first < 3 or i + 1 >= last or not _CLASSES[data[i - 1]] & _DIGIT:
        return False
    if not (_CLASSES[data[i - 2]] & _LETTER and _CLASSES[data[i - 3]] & _LETTER):
        return False
    if i - first > 3 and _CLASSES[data[i - 4]] & (_LETTER | _DIGIT):
        return False
    return bool(_CLASSES[data[i + 1]] & (_LETTER | _DIGIT | _GAP))


_put, _is_key, _is_private_key, _is_iban = (
    njit(cache=True)(function) for function in (_put_py, _is_key_py, _is_private_key_py, _is_iban_py)
)


def _scan_py(data: Any, ends: Any, out: Any) -> int:  # noqa: PLR0912, PLR0915
    """Write the anchors of all rows to `out`, as many as it holds; return how many there are.

    Args:
        data: UTF-8 of all rows, one behind another.
        ends: Where each row ends in `data`.
        out: ``(n, 4)``: row, pattern, start and end in characters.
    """
    n, first = 0, 0
    for row in range(len(ends)):
        last = ends[row]
        place = -1
        card_start, card_last, n_card = 0, -9, 0
        phone_start, phone_last, n_phone, broken = 0, -9, 0, -1
        ip_start, colons = 0, 0
        quad_start, quad_dots = 0, 0
        before = np.uint8(0)
        for i in range(first, last):
            byte = data[i]
            if byte & 0xC0 == 0x80:
                continue
            place += 1
            kind = _CLASSES[byte]
            if kind & _DIGIT:
                gap = place - card_last
                if not (n_card and (gap == 1 or (gap == 2 and _CLASSES[before] & _GAP))):
                    if n_card >= _MIN_CARD:
                        n = _put(out, n, row, CARD, card_start, card_last + 1)
                    card_start, n_card = place, 0
                card_last, n_card = place, n_card + 1
                if not (n_phone and broken < phone_last and place - phone_last <= _PHONE_GAP + 1):
                    if n_phone >= _MIN_PHONE:
                        n = _put(out, n, row, PHONE, phone_start, phone_last + 1)
                    phone_start, n_phone = place - (_CLASSES[before] & _OPEN != 0), 0
                phone_last, n_phone = place, n_phone + 1
                if _is_iban(data, i, first, last):
                    n = _put(out, n, row, IBAN, place - 3, place + 1)
            elif not kind & _PHONE:
                broken = place
            if kind & _HEX:
                colons += byte == 58
            else:
                if colons >= 2:
                    n = _put(out, n, row, IPV6, ip_start, place)
                ip_start, colons = place + 1, 0
            if byte == 46:
                quad_dots += 1
            elif not kind & _DIGIT:
                if quad_dots >= 3:
                    n = _put(out, n, row, IPV4, quad_start, place)
                quad_start, quad_dots = place + 1, 0
            if byte == 64:
                if i > first and i + 1 < last and _CLASSES[data[i - 1]] & _LOCAL and _CLASSES[data[i + 1]] & _NAME:
                    n = _put(out, n, row, EMAIL, place, place + 1)
            elif kind & _START:
                if not _CLASSES[before] & _PART and _is_key(data, i, last):
                    n = _put(out, n, row, KEY, place, place + 1)
            elif byte == 66 and before == 45 and _is_private_key(data, i, first, last):
                n = _put(out, n, row, KEY, place - 5, place + 1)
            before = byte
        if n_card >= _MIN_CARD:
            n = _put(out, n, row, CARD, card_start, card_last + 1)
        if n_phone >= _MIN_PHONE:
            n = _put(out, n, row, PHONE, phone_start, phone_last + 1)
        if colons >= 2:
            n = _put(out, n, row, IPV6, ip_start, place + 1)
        if quad_dots >= 3:
            n = _put(out, n, row, IPV4, quad_start, place + 1)
        first = last
    return n


_scan = njit(cache=True, nogil=True)(_scan_py)


def windows(texts: Sequence[str]) -> Iterator[tuple[int, list[Stretch]]]:
    """Yield the number of each text that has anything to look at, with the stretches.

    The stretches of a text are in the order of the patterns; those of one pattern are in order and apart.
    """
    start = 0
    for stop in _batches(texts):
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts[start:stop]]
        ends = np.cumsum(np.array([len(one) for one in encoded], np.int64))
        yield from _by_row(_anchors(np.frombuffer(b"".join(encoded), np.uint8), ends), start)
        start = stop


def _batches(texts: Sequence[str]) -> Iterator[int]:
    """Yield where batches of `texts` of bounded size end."""
    size = 0
    for number, text in enumerate(texts):
        size += len(text)
        if size >= _BATCH_CHARS:
            yield number + 1
            size = 0
    if size:
        yield len(texts)


def _anchors(data: NDArray[np.uint8], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the stretches around all anchors: ``(n, 4)`` of row, pattern, start and end, sorted."""
    out = np.empty((4096, 4), np.int64)
    n = _scan(data, ends, out)
    if n > len(out):
        out = np.empty((n, 4), np.int64)
        _scan(data, ends, out)
    found = out[:n]
    found = found[np.lexsort((found[:, 2], found[:, 1], found[:, 0]))]
    found[:, 2] = np.maximum(found[:, 2] - _BEFORE[found[:, 1]], 0)
    found[:, 3] += _AFTER[found[:, 1]]
    return found


def _by_row(found: NDArray[np.int64], offset: int) -> Iterator[tuple[int, list[Stretch]]]:
    """Yield each row with its stretches; those of one pattern that touch are made one."""
    row = -1
    stretches: list[Stretch] = []
    for number, pattern, start, end in found.tolist():
        if number != row:
            if stretches:
                yield offset + row, stretches
            row, stretches = number, []
        if stretches and stretches[-1][0] == pattern and start <= stretches[-1][2]:
            stretches[-1] = (pattern, stretches[-1][1], max(end, stretches[-1][2]))
        else:
            stretches.append((pattern, start, end))
    if stretches:
        yield offset + row, stretches
