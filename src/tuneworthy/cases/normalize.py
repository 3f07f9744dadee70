"""Texts made comparable: for exact matches (letters, digits and their signs only) and as words for n-grams."""

import html
import json
import re
import unicodedata
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

import re2

from tuneworthy.cases.formats.chats import turns_text
from tuneworthy.cases.formats.columns import parsed
from tuneworthy.types import Case, CaseOrExample, Example, JsonMapping, JsonObject, Texts, role_of, text_of


class _TranslateTable(dict[int, int | str | None]):
    """A table for `str.translate` that is filled as characters are met.

    Args:
        gap: Replaces punctuation and white space.
        split: Whether each character of a script that puts no space between words is a word.
    """

    def __init__(self, gap: str | None, *, split: bool) -> None:
        super().__init__()
        self.gap, self.split = gap, split

    def __missing__(self, code: int) -> int | str | None:
        character = chr(code)
        kept: int | str | None = code
        if character in "'’":
            kept = None
        elif unicodedata.category(character)[0] in "PZC":
            kept = self.gap
        elif self.split and _is_unspaced(code):
            kept = f" {character} "
        self[code] = kept
        return kept


class _FormatTable(dict[int, int | None]):
    """A table for `str.translate` that removes characters which are not seen and keep nothing apart."""

    def __missing__(self, code: int) -> int | None:
        unseen = unicodedata.category(chr(code)) == "Cf" or 0xFE00 <= code <= 0xFE0F or code in (0x34F, 0x115F, 0x1160)
        self[code] = None if unseen else code
        return self[code]


def _is_unspaced(code: int) -> bool:
    """Whether the character belongs to a script without spaces (Thai, Lao, Khmer, Burmese, Han, Kana)."""
    return (
        0x0E00 <= code <= 0x0EFF
        or 0x1000 <= code <= 0x109F
        or 0x1780 <= code <= 0x17FF
        or 0x3040 <= code <= 0x30FF
        or 0x3400 <= code <= 0x9FFF
        or 0x20000 <= code <= 0x323AF
    )


_EXACT = _TranslateTable(None, split=False)
_WORDS = _TranslateTable(" ", split=True)
_LINES = _TranslateTable(" ", split=True)
_LINES[10] = 10
# Ends a text among the words of several; no word is that.
END = "."
# Letters that look like ASCII letters: in any word, and (capitals) in a word that also has an ASCII letter.
_DATA = json.loads(files("tuneworthy.cases").joinpath("lookalikes.json").read_text("utf-8"))
_LOOKALIKES, _IN_LATIN = (str.maketrans(*_DATA[key]) for key in ("anywhere", "in_latin_words"))
_CAPITAL = re.compile(f"[{_DATA['in_latin_words'][0]}]")
_MIXED = re.compile(rf"\w*{_CAPITAL.pattern}\w*")
_ASCII = re.compile("[A-Za-z]")
_UNSEEN = _FormatTable()
_DROPPED = bytes(code for code in range(128) if not chr(code).translate(_EXACT))
_ACCENT = re.compile("[\u0300-\u036f]")


# Punctuation that is part of a number, a formula or a name (C#), and the symbols that stand for it: of a Unicode class
# that `normalise` and `words` keep. The comma of thousands (1,000) is none.
_MAY_SIGN = re.compile(r"[\d#*/]")
_SIGNED = re.compile(
    r"(?<=\d)[.:](?=\d)|(?<=\d),(?=\d)(?!\d{3}(?!\d))|(?<=\d)\s*[-‐‑‒–—−*/·×:]\s*(?=[\d(])|(?<=[\d)])\s*[-–−*/%](?!\w)|(?<=[\d)])\s*[*/%]|"
    r"[*/]\s*(?=\d)|(?<!\w)[-‐‑‒–—−](?=[\d(])|(?<=\b[a-z])\s*[-–−*/]\s*(?=(?:\d|[a-z]\b))|"
    r"\((?=\s*[-–−]?\d)|(?<=\d)\s*\)|(?<=[^\W\d])#(?!\w)"
)
# What a text holds, in UTF-8, wherever `_SIGNED` matches: without look-around, in linear time.
_HOLDS_SIGN = re2.compile(
    r"[\p{Nd})]<gap>[-‐‑‒–—−*/·×:%)]|\p{Nd}[.,:]\p{Nd}|[*/]<gap>\p{Nd}|[-‐‑‒–—−(]<gap>[-–−]?[\p{Nd}(]|"
    r"[a-z]<gap>[-–−*/]|#".replace("<gap>", r"[\s\pZ\x{b}\x{1c}-\x{1f}\x{85}]*")
)
_SYMBOLS = str.maketrans("-‐‑‒–—−*×/.,:·%#()", "−−−−−−−∗∗÷∙∘∶∙∝♯⊂⊃", " \t\n")


def plain(text: str) -> str:
    """Return `text` without HTML entities and without accents, which people omit when they retype a text.

    >>> plain("&iquest;D&oacute;nde&nbsp;está?") == "¿Donde\\xa0esta?"
    True
    """
    return (
        text
        if text.isascii() and "&" not in text
        else unicodedata.normalize("NFC", _ACCENT.sub("", unicodedata.normalize("NFD", html.unescape(text))))
    )


def folded(text: str) -> str:
    """Return `text` in one case and one Unicode form (NFKC), each letter as the ASCII letter that it looks like.

    Characters that are not seen (zero-width, direction, soft hyphen) are removed.

    >>> folded("Ca\u200brd") == folded("\u0421\u0430rd") == "card"
    True
    """
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", text).translate(_UNSEEN)
    if _CAPITAL.search(text):
        text = _MIXED.sub(lambda word: word[0].translate(_IN_LATIN) if _ASCII.search(word[0]) else word[0], text)
    folds = unicodedata.normalize("NFKC", text.casefold()).translate(_LOOKALIKES)
    return folds if folds.isascii() else unicodedata.normalize("NFKC", folds)


def signed(text: str) -> str:
    """Return `text`, folded, with the punctuation of numbers, formulas and names as symbols that normalising keeps.

    >>> signed("Is 1.5 - 3*4 in C#?"), signed("Well-known, and/or: e.g. 3.")
    ('is 1∙5−3∗4 in c♯?', 'well-known, and/or: e.g. 3.')
    """
    text = folded(text)
    if not _MAY_SIGN.search(text) or not _HOLDS_SIGN.search(text.encode("utf-8", "replace")):
        return text
    return _SIGNED.sub(lambda sign: sign[0].translate(_SYMBOLS), text)


def normalise(text: str) -> str:
    """Return `text` after NFKC and case folding, without white space and punctuation but signs (see `signed`).

    >>> normalise("Where is my card?!") == normalise("  where is MY CARD"), normalise("1.5") == normalise("15")
    (True, False)
    """
    return normalised_bytes(text).decode("utf-8", "surrogatepass")


def normalised_bytes(text: str) -> bytes:
    """Return `normalise(text)` in UTF-8; what to hash."""
    text = signed(text)
    if text.isascii():
        return text.encode().translate(None, _DROPPED) or text.strip().encode()
    kept = text.translate(_EXACT)
    if not kept.isascii():
        kept = unicodedata.normalize("NFKC", kept)  # characters may combine once a space is removed
    return (kept or text.strip()).encode("utf-8", "surrogatepass")


def words(text: str) -> list[str]:
    """Return the words of `text`, folded, without punctuation; an apostrophe does not part a word.

    >>> words("Where's my card?")
    ['wheres', 'my', 'card']
    """
    return spaced(folded(text)).split()


def words_of_all(texts: Texts) -> list[str]:
    """Return the words of all `texts`, with `END` after each text: ten times as fast as one by one.

    >>> words_of_all(["Where's my card?", "", "Hm."])
    ['wheres', 'my', 'card', '.', '.', 'hm', '.']
    """
    lines = "".join([text.replace("\n", " ") + "\n" for text in texts])
    return folded(lines).translate(_LINES).replace("\n", f" {END} ").split()


def spaced(text: str) -> str:
    """Return folded `text` with white space in the place of punctuation: its words, before they are parted."""
    return text.translate(_WORDS)


def context_of(row: CaseOrExample) -> list[str]:
    """Return the texts that may quote another question: system messages, and each turn of a chat of several."""
    asked = row.messages[:-1]
    if len(asked) < 2:
        return []
    alone = sum(role_of(message) == "user" for message in asked) == 1
    return [text for m in asked if (text := text_of(m)) and not (alone and role_of(m) == "user")]


def question_of(row: CaseOrExample) -> str:
    if isinstance(row, Example):
        return turns_text(row.messages[:-1])
    return turns_text(row.messages) if row.messages else row.text


def asked_part(example: Example) -> Any:
    """Return the question: the user's text if the chat is (system,) user, assistant; else all messages but the last.

    None if there is no user turn before the answer.
    """
    asked = example.messages[:-1]
    roles = [role_of(message) for message in asked]
    if len(roles) <= 2 and [role for role in roles if role not in {"system", "developer"}] == ["user"]:
        return example.question
    return list(asked) if roles[-1:] in (["user"], ["tool"]) else None


def tools_of(example: Example) -> tuple[Any, ...]:
    tools = example.meta.get("tools")
    return tuple(tools) if isinstance(tools, list) else ()


def asked_id(example: Example) -> str | None:
    """Return the id of the case that asks what `example` asks; None if there is no user turn before the answer."""
    asked = asked_part(example)
    return None if asked is None else Case.make_id(asked, tools_of(example))


def variables_text(variables: JsonMapping) -> str:
    """Return variables as one text: ``name: value``, a line each.

    >>> variables_text({"text": "hi", "slots": ["a"]})
    'text: hi\\nslots: ["a"]'
    """
    return "\n".join(
        f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in variables.items()
    )


def read_variables(text: str, names: Iterable[str]) -> JsonObject:
    """Return the variables that `variables_text` wrote into a text; {} unless it consists of the variables, each once.

    Args:
        text: A text that may contain variables.
        names: Names of the variables; a line that begins with another one is part of a value.

    >>> read_variables('text: hi\\nslots: ["a"]', {"text", "slots"})
    {'text': 'hi', 'slots': ['a']}
    >>> read_variables("text: hi\\ntext: ho", {"text"})
    {}
    """
    before, *parts = re.split(rf"^({'|'.join(map(re.escape, sorted(names)))}): ", text, flags=re.MULTILINE)
    found = {name: parsed(value.removesuffix("\n")) for name, value in zip(parts[::2], parts[1::2], strict=True)}
    return found if not before and len(parts) == 2 * len(found) else {}
