"""English number agreement, numbers as text, and text of others made visible."""

import re
import time
import unicodedata
from collections.abc import Sequence
from html import escape
from itertools import takewhile

# Categories of characters that cannot be seen.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# The start of a tag of Jinja.
_OPENS = re.compile(r"\{(?=[{%#])")


def plural(n: float, singular: str, plural_form: str) -> str:
    """Return the word that agrees with `n`.

    >>> plural(1, "is", "are"), plural(3, "is", "are")
    ('is', 'are')
    """
    return singular if n == 1 else plural_form


def count(n: int, noun: str, plural_form: str = "") -> str:
    """Return a number with its noun.

    >>> count(1, "case"), count(3, "case"), count(2, "copy", "copies")
    ('1 case', '3 cases', '2 copies')
    """
    return f"{n} {noun if n == 1 else plural_form or noun + 's'}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return the first few of `names`, with the count of the rest.

    >>> listed(["a", "b"]), listed("abcd", 2)
    ('a, b', 'a, b and 2 more')
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def number_text(value: float) -> str:
    """Return a number of JSON as a person writes it.

    >>> number_text(87654321.0), number_text(0.5)
    ('87654321', '0.5')
    """
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def rounded(value: float) -> str:
    """Return an estimate with two significant digits.

    >>> rounded(4473349.2), rounded(0.0)
    ('4,500,000', '0')
    """
    return f"{float(f'{value:.2g}'):,.0f}"


def since(start: float) -> str:
    """Return a start, seconds since the epoch, in local time, and the minutes since then: `since 14:03 (12 min)`."""
    return f"since {time.strftime('%H:%M', time.localtime(start))} ({max(0.0, time.time() - start) / 60:.0f} min)"


def n_shared(first: Sequence[object], second: Sequence[object]) -> int:
    """Return the length of the common start.

    >>> n_shared("read", "reap"), n_shared([1, 2], [3])
    (3, 0)
    """
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def visible(value: str) -> str:
    r"""Return `value` with every character that cannot be seen written out; spaces, tabs and line ends stay.

    >>> visible("a \x1b[31mred\n\u202eb")
    'a \\x1b[31mred\n\\u202eb'
    """
    if value.isascii() and value.replace("\n", "").isprintable():
        return value
    return "".join(ascii(character)[1:-1] if is_hidden(character) else character for character in value)


def is_hidden(character: str) -> bool:
    category = unicodedata.category(character)
    return (category in _HIDDEN and character not in "\t\n") or 0xE0000 <= ord(character) <= 0xE0FFF


def has_text(value: str) -> bool:
    """Whether a text has a character that can be seen."""
    return not all(character.isspace() or is_hidden(character) for character in value)


# Sentences, and a table whose first row is the header.
Summary = tuple[Sequence[str], Sequence[Sequence[object]]]
# Lines of a summary, and characters of a cell.
MAX_LINES, MAX_CELL = 10, 36
_TAGS = ["th", *["td"] * MAX_LINES]


class Shown:
    """A result that an interpreter and a notebook show as its summary."""

    __slots__ = ()

    def summary(self) -> Summary:
        """Return the sentences and the table that sum it up."""
        raise NotImplementedError

    def __repr__(self) -> str:
        sentences, table = self.summary()
        widths = [max(map(len, map(_cell, column))) for column in zip(*table, strict=True)]
        rows = ["  ".join(map(str.ljust, map(_cell, row), widths)).rstrip() for row in table]
        lines = [*filter(None, sentences), *rows]
        more = len(lines) - MAX_LINES + 1
        return "\n".join(lines if more <= 1 else [*lines[:-more], f"… ({more} more)"])

    def _repr_html_(self) -> str:
        sentences, table = self.summary()
        rows = [
            f"<tr>{''.join(f'<{tag}>{escape(_cell(value))}</{tag}>' for value in row)}</tr>"
            for tag, row in zip(_TAGS, table, strict=False)
        ]
        paragraphs = [f"<p>{escape(sentence)}</p>" for sentence in sentences if sentence]
        return "".join([*paragraphs, *(["<table>", *rows, "</table>"] if rows else [])])


def _cell(value: object) -> str:
    text = " ".join(visible("" if value is None else str(value)).split())
    return text if len(text) <= MAX_CELL else f"{text[: MAX_CELL - 1]}…"


def verbatim(text: str) -> str:
    """Return a template that writes `text` as it is: a label or a name that comes from data is no template.

    >>> verbatim("{{ input }}"), verbatim("{a}")
    ("{{ '{' }}{ input }}", '{a}')
    """
    return _OPENS.sub("{{ '{' }}", text)


def readable_minutes(minutes: float) -> str:
    """Return a time of at least a minute.

    >>> readable_minutes(0.2), readable_minutes(25), readable_minutes(2400)
    ('<1 min', '25 min', '40 h')
    """
    if minutes < 0.5:
        return "<1 min"
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:,.0f} h"
