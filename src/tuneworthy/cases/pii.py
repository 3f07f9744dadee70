"""Personal data detection and masking by pattern and checksum.

Works offline without a model: e-mail addresses, phone numbers, IBANs (mod 97), payment cards (Luhn), IP addresses, keys
and tokens by their prefixes (`keys.json`) or by the words before them ("password =", "Bearer"), national identifiers,
accounts, devices, birth dates and streets (`identifiers.json`). An identifier of digits only counts after a word that
names it; nearly every number would be valid in some country. Names of people are *not* detected, which takes a model;
every count is shown with a note about it. RE2 selects the patterns that can match a text; most texts match no pattern.

Invariants: a value never leaves this module, except masked or hashed; a `Masker` gives one value one mask, so that a
judge still sees that answer and question name the same address. Time is linear in the text.

Source: ISO 13616 (IBAN), ISO/IEC 7812-1 annex B (Luhn), RFC 5321 section 4.5.3.1 (lengths of addresses), E.164.
"""

import hashlib
import ipaddress
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import import_module
from importlib.resources import files
from operator import itemgetter
from typing import Any, NamedTuple, cast

import orjson
import re2
from stdnum import luhn, numdb
from stdnum.iso7064 import mod_97_10

from tuneworthy.text import number_text
from tuneworthy.types import Texts, positional

# In the order in which they are looked for: a stretch that is one is not taken for the next.
KINDS = ("key", "email", "iban", "id", "account", "device", "card", "ip", "birth_date", "phone", "address")


@positional
class PiiMatch:
    """The place of personal data in a text; the value itself is not kept.

    Attributes:
        kind: One of `KINDS`.
        start: Where the value begins in the text.
        end: Where it ends.
        digest: Hash of the value, to count distinct values.
    """

    kind: str
    start: int
    end: int
    digest: str


# Finds personal data in a text (see `Masker`).
Look = Callable[[str], list[PiiMatch]]


def _data(name: str) -> Any:
    return orjson.loads(files("tuneworthy.cases").joinpath(name).read_bytes())


_VENDORS = _data("keys.json")
_VENDOR_KEYS = "|".join(_VENDORS["vendors"].values())
_KEY = re.compile(
    rf"(?<![A-Za-z0-9_-])(?:{_VENDOR_KEYS})(?![A-Za-z0-9_])|(?:{'|'.join(_VENDORS['elsewhere'].values())})"
)
_SECRET_NAMES = (
    "pass(?:word|wd|phrase|code)|pwd|passwort|kennwort|mot de passe|contrase(?:ñ|n)a|"
    "secret(?:[_-]?(?:access[_-]?)?key)?|"
    "api[_-]?key|access[_-]?key|(?:access|auth|api|refresh)?[_-]?token|client[_-]?secret|account[_-]?key|private[_-]?key|"
    "(?-i:[A-Z0-9]_PASS)"
)
# Words that name a secret, with the text after them; the secret is the group.
_SECRETS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?ai:(?:{_SECRET_NAMES})[\"'`]?\]?[ \t]*"
        r"(?:=>?|:=?|\bis\b|\bist\b|\blautet\b|\best\b|\bes\b|\bè\b)[ \t]*[\"'`]?)"
        r"([^\s\"'`<>,;(){}\[\]]{6,200})(?![^\s\"'`<>,;){}\[\]])(?!\()",
        r"(?ai:\b(?:bearer|basic|digest)[ \t]+)([A-Za-z0-9._~+/=-]{16,2000})",
        r"(?ai:\b[a-z][a-z0-9+.-]{1,20}://)[^\s:/@]{0,80}:([^\s@/]{3,200})@",
        r"(?ai:[;?&][ \t]*(?:password|pwd)=)([^;&\s\"']{6,400})",
        r"(?ai:(?:curl\b[^\n]{0,80}? -u|--user)[ =])[^\s:]{1,80}:(\S{4,100})",
        r"(?ai:[;?&][ \t]*(?:token|sig|signature|access_token|api_?key|key|auth)=)([^;&\s\"']{6,400})",
        r"[A-Z0-9]_KEY[\"'`]?\]?[ \t]*[:=][ \t]*[\"'`]?([A-Za-z0-9._~+/=-]{10,400})",
    )
)
_NO_SECRET = re.compile(
    r"(?i)[$%<{*\[]|your(?:[_-]|pass|pwd|key|api|secret|token|own)|xxx|\.\.\.|example$|change.?me$|"
    r"(?:password|passwort|secret|token|none|null|true|false)$|os\.|process\.|env(?:[.(_\[]|iron|$)|"
    r"(?:self|this|form|req|request|data|config|settings|args|options|user|app|state)\.[a-z_]|"  # fields in code
    r"[a-z_]\w*\.[a-z_]\w*(?:\.[a-z_]\w*)+$"
)
_EMAIL = re.compile(
    r"(?<![\w.!#$%&'*+/=?^`{|}~-])[\w.!#$%&'*+/=?^`{|}~-]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]{1,4}){3,8}(?![A-Za-z0-9])")
_IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?=[ -]?[A-Za-z0-9])")
_CARD_RUN = re.compile(r"(?<![\w.,+-])[0-9](?:[ -]?[0-9]){12,}(?![\w-]|[.,][0-9])")
_VERSION = re.compile(r"(?ai)(?:\b(?:versions?|ver|v|build|release|revision|firmware|driver|update)\b[^\w\n]{0,3})\Z")
_IPV4 = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w]|\.[0-9])")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{2,39}(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3})?(?![\w:])")
_PHONE = re.compile(
    r"(?<![\w.,/+-])(?:"
    r"(?:\+|00)[1-9][0-9]{0,2}(?:[ ./-]{0,2}\(?[0-9]{1,5}\)?){2,6}"  # international
    r"|\((?!(?:19|20)[0-9]{2}\))0?[0-9]{2,5}\)[ ./-]{0,2}[0-9]{2,5}(?:[ ./-]?[0-9]{2,5}){1,3}"  # (area) number
    r"|[2-9][0-9]{2}[ .-][2-9][0-9]{2}[ .-][0-9]{4}"  # North America
    r"|0[1-9](?:[ .-][0-9]{2}){4}"  # France
    r"|0[1-9][0-9]{1,4}[ /-][0-9]{2,4}(?:[ -]?[0-9]{2,4}){1,3}"  # national, with the trunk 0
    r")(?![\w]|[.,/-][0-9])"
)

# Start and end of a value in a stretch of a text, and whether it counts: not if its checksum is wrong.
Spans = Iterator[tuple[int, int, bool]]
# Start of an anchor whose pattern allows no letter or digit before it. Without it a value may start anywhere in a word,
# and nearly every random name adds states to RE2's automaton, up to `_ANCHOR_BYTES`.
_EDGE = "(?:^|[^A-Za-z0-9])"
# Memory of the search for all anchors.
_ANCHOR_BYTES = 64 << 20
# The patterns of `_SECRETS` behind which any value is a secret.
_SURE = frozenset({2, 3, 4})
# Characters behind the word that names an identifier in which it is looked for.
_NEAR = 48
# Letters and digits of a value that is looked for elsewhere; of one that may be divided into groups in another way; and
# digits from which a number is one within a word too.
_LEAST, _MOST_GROUPED, _MANY_DIGITS = 4, 40, 8
_CARD_PREFIX = re.compile(r"4|5[1-5]|2[2-7]|3[47]|30[0-5]|3[689]|6")


def iban_end(text: str) -> int:
    """Return how many characters of `text` are an IBAN with a valid checksum; 0 if it is not an IBAN.

    A pattern may run on into the next word, so the length of the country decides.

    >>> iban_end("DE89 3704 0044 0532 0130 00 and"), iban_end("DE88 3704 0044 0532 0130 00")
    (27, 0)
    """
    end = _iban_shape(text)
    number = re.sub(r"[\W_]", "", text[:end]).upper()
    return end if end and mod_97_10.is_valid(number[4:] + number[:4]) else 0


@lru_cache
def iban_length(country: str) -> int:
    """Return how many characters an IBAN of `country` (two capital letters) has; 0 for a country without IBANs.

    >>> iban_length("DE"), iban_length("ZZ")
    (22, 0)
    """
    _, facts = numdb.get("iban").info(f"{country}00")[0]
    return 4 + sum(map(int, re.findall(r"[0-9]+", facts.get("bban", "")))) if facts else 0


def _iban_shape(text: str) -> int:
    """Return how many characters of `text` are written like an IBAN, whatever its checksum; 0 if it is not."""
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


def _secrets(text: str) -> Spans:
    """Yield secrets that are named: with a digit among letters, unless a value in a URL or header must be one."""
    for number, pattern in enumerate(_SECRETS):
        for match in pattern.finditer(text):
            value = match[1].rstrip(".!?")
            mixed = re.search("[0-9]", value) and re.search("[^0-9.:]", value)
            if not _NO_SECRET.match(value) and (mixed or number in _SURE):
                yield match.start(1), match.start(1) + len(value), True


@lru_cache
def _checker(module: str) -> Callable[[str], bool]:
    return import_module(f"stdnum.{module}").is_valid if module else lambda number: True


def _identifiers(module: str, pattern: str, words: str) -> Callable[[str], Spans]:
    """Return what yields the values of `pattern` that `stdnum.<module>` accepts, near behind `words` if given."""
    value = re.compile(rf"(?<![\w.,+-])(?:{pattern})(?![\w-]|[.,][0-9])")
    named = re.compile(f"(?ai:{words})") if words else None

    def spans(text: str) -> Spans:
        check = _checker(module)
        matches: Iterable[re.Match[str] | None] = value.finditer(text)
        if named:
            matches = (value.search(text, name.end(), name.end() + _NEAR) for name in named.finditer(text))
        for match in matches:
            if match and check(match[0]) and not _goes_on(text, *match.span()):
                yield *match.span(), True

    return spans


def _goes_on(text: str, start: int, end: int) -> bool:
    """Whether groups of four digits are some of the groups of a longer number, as of a card."""
    if not _FOURS.fullmatch(text, start, end):
        return False
    return bool(_FOUR_BEHIND.match(text, end) or _FOUR_BEFORE.fullmatch(text, max(0, start - 5), start))


_DIGITS = re.compile("[0-9]+")
_FOURS = re.compile(r"[0-9]{4}(?:[ -][0-9]{4})+")
_FOUR_BEHIND, _FOUR_BEFORE = re.compile(r"[ -][0-9]{4}(?![0-9])"), re.compile(r"[0-9]{4}[ -]")
# How the digits of a card are written in groups.
_GROUPED = {(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3)}


def _cards(text: str) -> Spans:
    """Yield card numbers: a whole run of digits, or groups as on a card (an expiry date may follow)."""
    for run in _CARD_RUN.finditer(text):
        yield from _cards_in_run(text, *run.span())


def _cards_in_run(text: str, start: int, end: int) -> Spans:
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
    """Yield IBANs; a false start does not hide a later IBAN."""
    done = 0
    for start in _IBAN_START.finditer(text):
        match = _IBAN.match(text, start.start()) if start.start() >= done else None
        if match and (size := _iban_shape(match.group())):
            done = match.start() + size
            yield match.start(), done, iban_end(match.group()) > 0


def _ipv4s(text: str) -> Spans:
    """Yield addresses, but no versions of programs."""
    for match in _IPV4.finditer(text):
        if _ip_end(match.group()) and not _VERSION.search(text[max(0, match.start() - _NEAR) : match.start()]):
            yield *match.span(), True


def _anchor_options() -> Any:
    options = re2.Options()
    options.max_mem = _ANCHOR_BYTES
    return options


def _which(anchors: Texts) -> Callable[[bytes], list[int] | None]:
    """Return a function that lists the `anchors` in UTF-8 text; None if RE2's memory does not suffice."""
    listed = re2.Set.SearchSet(_anchor_options())
    for anchor in anchors:
        listed.Add(anchor.encode())
    listed.Compile()
    return cast(Callable[[bytes], list[int] | None], listed.Match)


def _anchor_of(pattern: str) -> str:
    """Return a pattern for RE2 that matches wherever `pattern` of Python's `re` does: shorter runs, no look-around."""
    shorter = re.sub(r"\{([0-9]+),[0-9]*\}", r"{\1,}", pattern)
    return (
        re.sub(r"\(\?<?[=!][^()]*\)", "", shorter.replace("(?ai:", "(?i:"))
        .replace("[\\w", r"[\pL\pN_")
        .replace(r"\w", r"[\pL\pN_]")
    )


class _Pattern(NamedTuple):
    """A pattern with a cheap test.

    Attributes:
        kind: One of `KINDS`.
        anchor: Matches, in RE2, every text that the pattern matches: linear and without look-around.
        spans: What yields the values.
    """

    kind: str
    anchor: str
    spans: Callable[[str], Spans]


def _of_kind(kind: str) -> list[_Pattern]:
    patterns = []
    for module, pattern, names in _IDENTIFIERS[kind].values():
        words = re.sub(r" (\??)", r"[\\s_.-]\1", names).replace(r"\b", r"(?:\b|_)")  # also keys: "account_number"
        patterns.append(
            _Pattern(
                kind,
                _anchor_of(f"(?i:{words})" if words else f"{_EDGE}(?:{pattern})"),
                _identifiers(module, pattern, words),
            )
        )
    return patterns


_IDENTIFIERS = _data("identifiers.json")
_KEYS = "|".join(one for each in _VENDORS.values() for one in each.values())
# In the order in which they are looked for.
_PATTERNS = (
    _Pattern("key", _anchor_of(_KEYS), _matches(_KEY, len)),
    _Pattern(
        "key", rf"(?i:{_SECRET_NAMES}|\b(?:bearer|basic|digest)\b|://|[;?&]\s*[a-z_]+=|curl|--user)|_KEY", _secrets
    ),
    _Pattern("email", r"\S@\S", _matches(_EMAIL, len)),
    _Pattern("iban", _EDGE + r"[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11}", _ibans),
    *_of_kind("id"),
    *_of_kind("account"),
    *_of_kind("device"),
    _Pattern("card", _EDGE + r"[0-9](?:[ -]?[0-9]){12}", _cards),
    _Pattern("ip", _EDGE + r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", _ipv4s),
    _Pattern(
        "ip", r"(?:^|[^\w:.])(?:[0-9A-Fa-f:]*::|(?:[0-9A-Fa-f]{1,4}:){6})",
        _matches(_IPV6, lambda text: _ip_end(text) if text.count(":") >= 2 and re.search(r"[0-9]", text) else 0),
    ),
    *_of_kind("birth_date"),
    _Pattern("phone", _EDGE + r"[0-9](?:[ ./()-]{0,4}[0-9]){6}", _matches(_PHONE, _phone_end)),
    *_of_kind("address"),
)  # fmt: skip

_ANCHORS = [pattern.anchor for pattern in _PATTERNS]
_ANY: Callable[[bytes], Any] = re2.compile(
    "|".join(f"(?:{anchor})" for anchor in _ANCHORS).encode(), _anchor_options()
).search
_WHICH = _which(_ANCHORS)


# Characters that look like another one, and those that cannot be seen.
_DASHES = (*range(0x2010, 0x2016), 0x2212, 0xFE58, 0xFE63)
_SPACES = (0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000)
_LIKE = (
    dict.fromkeys(_DASHES, "-")
    | dict.fromkeys(_SPACES, " ")
    | {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}  # full width
)
_INVISIBLE = "\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff"
_VISIBLE, _ODD = re.compile(f"[^{_INVISIBLE}]"), re.compile(f"[{_INVISIBLE}{re.escape(''.join(map(chr, _LIKE)))}]")


def _flat(text: str) -> tuple[str, Sequence[int]]:
    """Return `text` without invisible characters and with ASCII for what looks like it, and where each stood."""
    if not _ODD.search(text):
        return text, range(len(text))
    places = [match.start() for match in _VISIBLE.finditer(text)]
    return "".join([text[place] for place in places]).translate(_LIKE), places


def find(text: str) -> list[PiiMatch]:
    """Return the personal data in `text`, in order, without overlaps."""
    data = _flat(text)[0].encode("utf-8", "replace")
    if not _ANY(data):
        return []
    numbers = _WHICH(data) or range(len(_PATTERNS))  # an anchor only saves the search
    return _values(text, [_PATTERNS[number] for number in sorted(numbers)])


def find_all(texts: Iterable[str]) -> Iterator[tuple[int, list[PiiMatch]]]:
    """Yield the number of every text with personal data, and the result of `find`."""
    for number, text in enumerate(texts):
        if values := find(text):
            yield number, values


def _values(text: str, patterns: Iterable[_Pattern]) -> list[PiiMatch]:
    """Return the matches of `patterns` in `text`; earlier patterns take precedence."""
    taken: list[tuple[int, int, PiiMatch | None]] = []
    text, places = _flat(text)
    for kind, _, spans in patterns:
        fresh: list[tuple[int, int, PiiMatch | None]] = []
        for start, end, counts in sorted(spans(text)):
            if not _overlaps(start, end, taken) and not _overlaps(start, end, fresh):
                fresh.append((start, end, match_of(text, kind, start, end) if counts else None))
        taken = sorted(taken + fresh, key=itemgetter(0)) if fresh else taken
    return [_moved(match, places) for _, _, match in taken if match]


def _moved(match: PiiMatch, places: Sequence[int]) -> PiiMatch:
    return replace(match, start=places[match.start], end=places[match.end - 1] + 1)


def recurrences(text: str, matches: Iterable[PiiMatch]) -> Look:
    """Return a function that finds the values of `matches` in other texts: later mentions may lack the naming word.

    >>> text = "my account number is 12345678"
    >>> [(one.start, one.end) for one in recurrences(text, find(text))("12345678, or 1234-5678")]
    [(0, 8), (13, 22)]
    """
    values: dict[str, PiiMatch] = {}
    for match in matches:
        values.setdefault(_recurring(match.kind, _flat(text[match.start : match.end])[0]), match)
    values.pop("", None)
    ordered = sorted(values, key=len, reverse=True)
    pattern = re.compile("|".join(f"({value})" for value in ordered) or "(?!)", re.IGNORECASE)

    def again(other: str) -> list[PiiMatch]:
        flat, places = _flat(other)
        return [
            _moved(replace(values[ordered[(match.lastindex or 1) - 1]], start=match.start(), end=match.end()), places)
            for match in pattern.finditer(flat)
        ]

    return again


def _recurring(kind: str, value: str) -> str:
    """Return the pattern of a value in other texts; "" for a value so short that it would match other words."""
    bare = re.sub(r"[\W_]", "", value)
    if len(bare) < _LEAST:
        return ""
    if kind in {"key", "email", "ip", "birth_date", "address"} or len(bare) > _MOST_GROUPED:
        pattern = r"\s+".join(map(re.escape, value.split()))
    else:
        pattern = "[ ./()-]{0,2}".join(bare)
    edge = "0-9" if bare.isdecimal() and len(bare) >= _MANY_DIGITS else r"^\W_"
    return f"(?<![{edge}]){pattern}(?![{edge}])"


def match_of(text: str, kind: str, start: int, end: int) -> PiiMatch:
    value = text[start:end]
    if kind in {"email", "ip"}:
        value = value.casefold()
    elif kind != "key":  # however it is written: spaces, dashes and case
        value = re.sub(r"\W", "", value).upper()
    return PiiMatch(
        kind, start, end, hashlib.sha256(f"{kind}:{value}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
    )


def _overlaps(start: int, end: int, taken: Sequence[tuple[int, int, PiiMatch | None]]) -> bool:
    before = bisect_right(taken, start, key=itemgetter(1))
    return before < len(taken) and taken[before][0] < end


@dataclass(slots=True)
class Masker:
    """Masks texts that belong together: ``[EMAIL_1]`` is the same address in all texts.

    Attributes:
        counts: Values masked so far, by kind, repetitions included.
        look: What finds the values in a text, in order and without overlaps.

    >>> Masker().mask("write to ada@example.org or bob@example.org, not to Ada@example.org")
    'write to [EMAIL_1] or [EMAIL_2], not to [EMAIL_1]'
    """

    counts: Counter[str] = field(default_factory=Counter)
    look: Look = find
    _numbers: dict[str, int] = field(default_factory=dict)
    _last: Counter[str] = field(default_factory=Counter)

    def mask(self, text: str) -> str:
        parts, done = [], 0
        for match in self.look(text):
            if match.digest not in self._numbers:
                self._last[match.kind] += 1
                self._numbers[match.digest] = self._last[match.kind]
            parts += [text[done : match.start], f"[{match.kind.upper()}_{self._numbers[match.digest]}]"]
            self.counts[match.kind] += 1
            done = match.end
        return "".join([*parts, text[done:]])

    def mask_json(self, value: Any) -> Any:
        """Return JSON-able `value` with all texts and numbers in it masked, keys included."""
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, dict):
            return {self.mask(str(key)): self.mask_json(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.mask_json(item) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = number_text(value)
            masked = self.mask(text)
            return value if masked == text else masked
        return value
