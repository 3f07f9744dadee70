"""Personal data in texts: found by pattern and, where there is one, by checksum; masked so that it can be compared.

Works offline with no model: e-mail addresses, phone numbers, IBANs (mod 97), payment cards (Luhn), IP addresses, keys
and tokens by their prefixes. Names and street addresses are *not* found: that takes a model; wherever a count is
shown, a note says so. RE2 reads a text once and says which patterns can match it, and most texts match no pattern.

Invariants: a found value never leaves this module, except masked or hashed; one value has one mask within a `Masker`,
so that a judge can still see that answer and question name the same address. Time is linear in the text.

Source: ISO 13616 (IBAN), ISO/IEC 7812-1 annex B (Luhn), RFC 5321 section 4.5.3.1 (lengths of addresses), E.164.
"""

import hashlib
import ipaddress
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple

import re2
from stdnum import luhn, numdb
from stdnum.iso7064 import mod_97_10

# In the order in which they are looked for: a stretch that is one is not taken for the next.
KINDS: Final = ("key", "email", "iban", "card", "ip", "phone")


@dataclass(frozen=True, slots=True)
class PiiMatch:
    """Where a text holds personal data; the value itself is not kept.

    Attributes:
        kind: One of `KINDS`.
        start: Where the value begins in the text.
        end: Where it ends.
        digest: Hash of the value, to count distinct ones.
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

_CARD_PREFIX = re.compile(r"4|5[1-5]|2[2-7]|3[47]|30[0-5]|3[689]|6")


def iban_end(text: str) -> int:
    """Return how many characters of `text` are an IBAN with a right checksum; 0 if none are.

    A pattern may run on into the next word, so the length of the country decides.

    >>> iban_end("DE89 3704 0044 0532 0130 00 and"), iban_end("DE88 3704 0044 0532 0130 00")
    (27, 0)
    """
    end = _iban_shape(text)
    number = "".join(char.upper() for char in text[:end] if char.isalnum())
    return end if end and mod_97_10.is_valid(number[4:] + number[:4]) else 0


@lru_cache
def iban_length(country: str) -> int:
    """Return how many characters an IBAN of `country` (two capital letters) has; 0 if the country has none.

    >>> iban_length("DE"), iban_length("ZZ")
    (22, 0)
    """
    _, facts = numdb.get("iban").info(f"{country}00")[0]
    return 4 + sum(map(int, re.findall(r"[0-9]+", facts.get("bban", "")))) if facts else 0


def _iban_shape(text: str) -> int:
    """Return how many characters of `text` are written like an IBAN, whatever its checksum; 0 if none are."""
    want = iban_length(text[:2].upper())
    places = [place for place, char in enumerate(text) if char.isalnum()]
    if not want or len(places) < want:
        return 0
    end = places[want - 1] + 1
    return 0 if end < len(text) and text[end].isalnum() else end


def is_card(digits: str) -> bool:
    """Whether 13 to 19 digits are a payment card's number: a known prefix and Luhn's checksum.

    >>> is_card("4111111111111111"), is_card("4111111111111112")
    (True, False)
    """
    plausible = 13 <= len(digits) <= 19 and _CARD_PREFIX.match(digits) is not None and len(set(digits)) > 1
    return plausible and luhn.is_valid(digits)


_DIGITS = re.compile("[0-9]+")
# Start and end of each value in a stretch of a text, and whether it counts: not if its checksum is wrong.
Spans = Iterator[tuple[int, int, bool]]
# How the digits of a card are written in groups.
_GROUPED = {(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3)}


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


def _phone_end(text: str) -> int:
    n_digits = sum(char.isdigit() for char in text)
    return len(text) if 7 <= n_digits <= 15 and not re.fullmatch(r"\d{4}[./-]\d{2}[./-]\d{2}", text) else 0


def _matches(pattern: re.Pattern[str], measure: Callable[[str], int]) -> Callable[[str], Spans]:
    """Return what yields the values that match `pattern`, as far as `measure` says of a match that they go."""

    def spans(text: str) -> Spans:
        for match in pattern.finditer(text):
            if size := measure(match.group()):
                yield match.start(), match.start() + size, True

    return spans


def _ibans(text: str) -> Spans:
    """Yield account numbers; what only begins like one hides none that follows."""
    done = 0
    for start in _IBAN_START.finditer(text):
        match = _IBAN.match(text, start.start()) if start.start() >= done else None
        if match and (size := _iban_shape(match.group())):
            done = match.start() + size
            yield match.start(), done, iban_end(match.group()) > 0


def _card_spans(text: str) -> Spans:
    for match in _CARD_RUN.finditer(text):
        yield from _cards(text, *match.span())


def _anchor(pattern: str) -> Callable[[bytes], Any]:
    """Return the search for `pattern` in UTF-8, read byte by byte so that no text is refused."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    search: Callable[[bytes], Any] = re2.compile(pattern.encode(), options).search
    return search


class _Pattern(NamedTuple):
    """A pattern with a cheap test.

    Attributes:
        kind: One of `KINDS`.
        anchor: What a text holds, in UTF-8, wherever the pattern matches, for RE2: linear and without look-around.
        spans: What yields the values.
    """

    kind: str
    anchor: str
    spans: Callable[[str], Spans]


# In the order in which they are looked for.
_PATTERNS: Final = (
    _Pattern(
        "key",
        r"sk-[\w-]{16}|[srp]k_(?:live|test)_|gh[pousr]_\w{30}|github_pat_|glpat-|A[KS]IA[A-Z0-9]{16}|AIza[\w-]{35}"
        r"|ya29\.|xox[abeoprs]-|hf_\w{30}|npm_\w{36}|pypi-[\w-]{50}|eyJ[\w-]{10}|-----BEGIN ",
        _matches(_KEY, len),
    ),
    _Pattern("email", r"\S@\S", _matches(_EMAIL, len)),
    _Pattern("iban", r"[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11}", _ibans),
    _Pattern("card", r"[0-9](?:[ -]?[0-9]){12}", _card_spans),
    _Pattern("ip", r"[0-9](?:\.[0-9]{1,3}){3}", _matches(_IPV4, _ip_end)),
    _Pattern(
        "ip", r"(?:^|[^\w:.])(?:[0-9A-Fa-f:]*::|(?:[0-9A-Fa-f]{1,4}:){6})",
        _matches(_IPV6, lambda text: _ip_end(text) if text.count(":") >= 2 and re.search(r"[0-9]", text) else 0),
    ),
    _Pattern("phone", r"[0-9](?:[ ./()-]{0,4}[0-9]){6}", _matches(_PHONE, _phone_end)),
)  # fmt: skip
_ANCHORS: Final = tuple(_anchor(pattern.anchor) for pattern in _PATTERNS)
_ANY: Final = _anchor("|".join(f"(?:{pattern.anchor})" for pattern in _PATTERNS))


def find(text: str) -> list[PiiMatch]:
    """Return what personal data `text` holds, in order, without overlaps."""
    data = text.encode("utf-8", "surrogatepass")
    if not _ANY(data):
        return []
    return _values(text, [pattern for pattern, holds in zip(_PATTERNS, _ANCHORS, strict=True) if holds(data)])


def find_all(texts: Iterable[str]) -> Iterator[tuple[int, list[PiiMatch]]]:
    """Yield the number of each text that holds personal data, with what `find` returns for it."""
    for number, text in enumerate(texts):
        if values := find(text):
            yield number, values


def _values(text: str, patterns: Iterable[_Pattern]) -> list[PiiMatch]:
    """Return what `patterns` find in `text`: each only where none before it found anything."""
    taken: list[tuple[int, int, PiiMatch | None]] = []
    for kind, _, spans in patterns:
        fresh = [
            (start, end, match_of(text, kind, start, end) if counts else None)
            for start, end, counts in spans(text)
            if not _overlaps(start, end, taken)
        ]
        if fresh:
            taken = sorted([*taken, *fresh], key=itemgetter(0))
    return [one for _, _, one in taken if one]


def match_of(text: str, kind: str, start: int, end: int) -> PiiMatch:
    """Return the value of `kind` that stands in `text` from `start` to `end`."""
    return PiiMatch(kind, start, end, _digest(kind, text[start:end]))


def _overlaps(start: int, end: int, taken: Sequence[tuple[int, int, PiiMatch | None]]) -> bool:
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
