"""Personal data in texts: found by pattern and, where there is one, by checksum; masked so that it can be compared.

Works offline with no model: e-mail addresses, phone numbers, IBANs (mod 97), payment cards (Luhn), IP addresses, keys
and tokens by their prefixes. Names and street addresses are *not* found: that takes a model, and is said wherever the
count is shown.

Invariants: a found value never leaves this module, except masked or hashed; one value has one mask within a `Masker`,
so that a judge can still see that answer and question name the same address. Time is linear in the text.

Source: ISO 13616 (IBAN), ISO/IEC 7812-1 annex B (Luhn), RFC 5321 section 4.5.3.1 (lengths of addresses), E.164.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

KINDS: Final = ("key", "email", "iban", "card", "ip", "phone")
"""In the order in which they are looked for: a text that is one is not looked at for the next."""


@dataclass(frozen=True, slots=True)
class PiiMatch:
    """Where a text holds personal data; the value itself is not kept.

    Attributes:
        kind: One of `KINDS`. start, end: Of the value in the text. digest: Of the value, to count distinct ones.
    """

    kind: str
    start: int
    end: int
    digest: str


_KEY = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"sk-(?:ant-|proj-|or-)?[A-Za-z0-9_-]{16,200}|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,200}"
    r"|gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{22,255}|glpat-[A-Za-z0-9_-]{20,64}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,400}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,200}|hf_[A-Za-z0-9]{30,64}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,300}"
    r"|eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,1000}"
    r")(?![A-Za-z0-9_])"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]{0,8000}(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
)
_EMAIL = re.compile(
    r"(?<![\w.!#$%&'*+/=?^`{|}~-])[\w.!#$%&'*+/=?^`{|}~-]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]{1,4}){3,8}(?![A-Za-z0-9])")
_IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?=[ -]?[A-Za-z0-9])")
_CARD_RUN = re.compile(r"(?<![\w.,+-])[0-9](?:[ -]?[0-9]){12,}(?![\w-]|[.,][0-9])")
_IPV4 = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w]|\.[0-9])")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{2,39}(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3})?(?![\w:])")
_PHONE = re.compile(
    r"(?<![\w.,/+-])(?:"
    r"(?:\+|00)[1-9][0-9]{0,2}(?:[ ./-]{0,2}\(?[0-9]{1,5}\)?){2,6}"  # international
    r"|\(0?[0-9]{2,5}\)[ ./-]{0,2}[0-9]{2,5}(?:[ ./-]?[0-9]{2,5}){1,3}"  # (area) number
    r"|[2-9][0-9]{2}[ .-][2-9][0-9]{2}[ .-][0-9]{4}"  # North America
    r"|0[1-9][0-9]{1,4}[ /-][0-9]{2,4}(?:[ -]?[0-9]{2,4}){1,3}"  # national, with the trunk 0
    r")(?![\w]|[.,/-][0-9])"
)

_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "CH": 21,
    "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18,
    "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23,
    "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20,
    "LV": 21, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15, "PK": 24,
    "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SE": 24, "SI": 19, "SK": 24, "SM": 27,
    "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip
_CARD_PREFIX = re.compile(r"4|5[1-5]|2[2-7]|3[47]|30[0-5]|3[689]|6")


def iban_end(text: str) -> int:
    """Return how many characters of `text` are an IBAN with a right checksum; 0 if none are.

    A pattern may run on into the next word, so the length of the country decides.

    >>> iban_end("DE89 3704 0044 0532 0130 00 and"), iban_end("DE88 3704 0044 0532 0130 00")
    (27, 0)
    """
    end = _iban_shape(text)
    kept = "".join(char.upper() for char in text[:end] if char.isalnum())
    number = "".join(str(int(char, 36)) for char in kept[4:] + kept[:4])
    return end if end and int(number) % 97 == 1 else 0


def _iban_shape(text: str) -> int:
    """Return how many characters of `text` are written like an IBAN, whatever its checksum; 0 if none are."""
    want = _IBAN_LENGTHS.get(text[:2].upper())
    places = [place for place, char in enumerate(text) if char.isalnum()]
    if want is None or len(places) < want:
        return 0
    end = places[want - 1] + 1
    return 0 if end < len(text) and text[end].isalnum() else end


def is_card(digits: str) -> bool:
    """Whether 13 to 19 digits are a payment card's number: a known prefix and Luhn's checksum.

    >>> is_card("4111111111111111"), is_card("4111111111111112")
    (True, False)
    """
    if not 13 <= len(digits) <= 19 or not _CARD_PREFIX.match(digits) or len(set(digits)) == 1:
        return False
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


_DIGITS = re.compile("[0-9]+")
Spans = Iterator[tuple[int, int, bool]]
"""Start and end of each value in a stretch of a text, and whether it counts: not if its checksum is wrong."""
_GROUPED = {(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3)}
"""How the digits of a card are written in groups."""


def _cards(text: str, start: int, end: int) -> Spans:
    """Yield the cards of one run of digits: all of it, or groups as on a card (an expiry date may stand beside)."""
    groups = [match.span() for match in _DIGITS.finditer(text, start, end)]
    if is_card(_bare(text[start:end])):
        yield start, end, True
        return
    first = 0
    while first < len(groups):
        size = groups[first][1] - groups[first][0]
        for last in range(first, min(first + 5, len(groups)) if size == 4 else first + (size >= 13)):
            shape = tuple(stop - begin for begin, stop in groups[first : last + 1])
            begin, stop = groups[first][0], groups[last][1]
            digits = _bare(text[begin:stop]) if len(shape) == 1 or shape in _GROUPED else ""
            if 13 <= len(digits) <= 19 and _CARD_PREFIX.match(digits):
                yield begin, stop, is_card(digits)
                first = last
                break
        first += 1


def _bare(digits: str) -> str:
    return digits.replace(" ", "").replace("-", "") if len(digits) <= 37 else ""


def _ip_end(text: str) -> int:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return 0
    return 0 if address.is_unspecified or address.is_loopback else len(text)


def _ipv6_end(text: str) -> int:
    return _ip_end(text) if text.count(":") >= 2 and re.search(r"[0-9]", text) else 0


def _phone_end(text: str) -> int:
    n_digits = sum(char.isdigit() for char in text)
    return len(text) if 7 <= n_digits <= 15 and not re.fullmatch(r"\d{4}[./-]\d{2}[./-]\d{2}", text) else 0


def _matches(pattern: re.Pattern[str], measure: Callable[[str], int]) -> Callable[[str, int, int], Spans]:
    """Return what yields the values that match `pattern`, as far as `measure` says of a match that they go."""

    def spans(text: str, start: int, end: int) -> Spans:
        for match in pattern.finditer(text, start, end):
            if size := measure(match.group()):
                yield match.start(), match.start() + size, True

    return spans


def _ibans(text: str, start: int, end: int) -> Spans:
    """Yield account numbers; what only begins like one hides none that follows."""
    done = start
    for anchor in _IBAN_START.finditer(text, start, end):
        match = _IBAN.match(text, anchor.start(), end) if anchor.start() >= done else None
        if match and (size := _iban_shape(match.group())):
            done = match.start() + size
            yield match.start(), done, iban_end(match.group()) > 0


def _card_spans(text: str, start: int, end: int) -> Spans:
    for match in _CARD_RUN.finditer(text, start, end):
        yield from _cards(text, *match.span())


_ALL: Final[tuple[tuple[str, Callable[[str, int, int], Spans]], ...]] = (
    ("key", _matches(_KEY, len)),
    ("email", _matches(_EMAIL, len)),
    ("iban", _ibans),
    ("card", _card_spans),
    ("ip", _matches(_IPV4, _ip_end)),
    ("ip", _matches(_IPV6, _ipv6_end)),
    ("phone", _matches(_PHONE, _phone_end)),
)
"""Kind and finder, numbered as in `pii_scan`."""


def find(text: str) -> list[PiiMatch]:
    """Return what personal data `text` holds, in order, without overlaps."""
    return _find(text, [(number, 0, len(text)) for number in range(len(_ALL))])


def find_all(texts: Sequence[str]) -> Iterator[tuple[int, list[PiiMatch]]]:
    """Yield the number of each text that holds personal data, with what `find` returns for it.

    For many texts: a compiled pass says where to look (about a second to load the first time).
    """
    from tuneworthy.cases.pii_scan import windows

    for number, stretches in windows(texts):
        if values := _find(texts[number], stretches):
            yield number, values


def _find(text: str, stretches: Iterable[tuple[int, int, int]]) -> list[PiiMatch]:
    """Look at stretches ``(number in _ALL, start, end)`` of `text`, sorted by number."""
    taken: list[tuple[int, int, PiiMatch | None]] = []
    for number, group in groupby(stretches, key=itemgetter(0)):
        kind, spans = _ALL[number]
        fresh = [
            (begin, stop, found(text, kind, begin, stop) if counts else None)
            for _, start, end in group
            for begin, stop, counts in spans(text, start, min(end, len(text)))
            if not _overlaps(begin, stop, taken)
        ]
        if fresh:
            taken = sorted([*taken, *fresh], key=itemgetter(0))
    return [one for _, _, one in taken if one]


def found(text: str, kind: str, start: int, end: int) -> PiiMatch:
    """Return the value of `kind` that stands in `text` from `start` to `end`."""
    return PiiMatch(kind, start, end, _digest(kind, text[start:end]))


def _overlaps(start: int, end: int, taken: Sequence[tuple[int, int, PiiMatch | None]]) -> bool:
    """Whether a stretch touches any of `taken`, which are in order and apart."""
    before = bisect_right(taken, start, key=itemgetter(1))
    return before < len(taken) and taken[before][0] < end


def _digest(kind: str, value: str) -> str:
    """Hash a value without regard to how it is written: spaces, dashes and case."""
    bare = value.casefold() if kind in {"email", "ip"} else value if kind == "key" else re.sub(r"\W", "", value).upper()
    return hashlib.sha256(f"{kind}:{bare}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(slots=True)
class Masker:
    """Masks texts that belong together: ``[EMAIL_1]`` is the same address in all of them.

    Attributes:
        counts: Values masked so far, by kind, repetitions included.
        look: What finds the values in a text, in order and without overlaps.

    >>> Masker().mask("write to ada@example.org or bob@example.org, not to Ada@example.org")
    'write to [EMAIL_1] or [EMAIL_2], not to [EMAIL_1]'
    """

    counts: Counter[str] = field(default_factory=Counter)
    look: Callable[[str], list[PiiMatch]] = find
    _numbers: dict[str, int] = field(default_factory=dict)
    _last: Counter[str] = field(default_factory=Counter)

    def mask(self, text: str) -> str:
        """Return `text` with a mask in the place of each value."""
        parts, done = [], 0
        for one in self.look(text):
            if one.digest not in self._numbers:
                self._last[one.kind] += 1
                self._numbers[one.digest] = self._last[one.kind]
            parts += [text[done : one.start], f"[{one.kind.upper()}_{self._numbers[one.digest]}]"]
            self.counts[one.kind] += 1
            done = one.end
        return "".join([*parts, text[done:]]) if parts else text

    def mask_json(self, value: Any) -> Any:
        """Return JSON-able `value` with all texts and whole numbers in it masked, keys included."""
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, dict):
            return {self.mask(str(key)): self.mask_json(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.mask_json(item) for item in value]
        if isinstance(value, int) and not isinstance(value, bool):
            masked = self.mask(str(value))
            return value if masked == str(value) else masked
        return value
