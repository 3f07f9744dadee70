"""Rows in another language than the others.

The language is recognised by the script, and among those in Latin letters by their most frequent words
(`languages.json`); a text that neither identifies counts as no language.
"""

import unicodedata
from collections import Counter
from functools import cache
from importlib.resources import files
from itertools import chain, repeat

import orjson

from tuneworthy.cases.normalize import question_of, words
from tuneworthy.dataset.base import CheckContext, RowFinding, RowFindings, as_rows, data_check
from tuneworthy.types import Example, Examples, Texts, grouped

# Rows from which the usual language can be estimated.
MIN_ROWS = 50
# Share of the rows up to which a language is rare, where the cases are few.
_RARE = 0.01
_SCRIPTS = (
    "LATIN", "CYRILLIC", "ARABIC", "HEBREW", "GREEK", "DEVANAGARI", "THAI", "HANGUL", "HIRAGANA", "KATAKANA", "CJK",
)  # fmt: skip
_CLIP = 600
_MIN_WORDS = 5


@cache
def _frequent() -> dict[str, list[str]]:
    """Return the languages of each frequent word."""
    data = orjson.loads(files("tuneworthy.dataset").joinpath("languages.json").read_bytes())
    return grouped((word, language) for language, listed in data.items() for word in set(listed.split()))


@cache
def _script(character: str) -> str:
    name = unicodedata.name(character, "")
    return next((script for script in _SCRIPTS if name.startswith(script)), "")


def language_of(text: str) -> str:
    """Return the language or script of `text`, such as `en` or `CYRILLIC`; "" if it is unclear.

    >>> language_of("where is the card that I ordered last week"), language_of("Где моя карта?"), language_of("ok")
    ('en', 'CYRILLIC', '')
    """
    text = text[:_CLIP]
    if text.isascii():
        return _latin(words(text)) if any(map(str.isalpha, text)) else ""
    scripts = Counter(script for character in text if character.isalpha() and (script := _script(character)))
    if not scripts:
        return ""
    script, n = scripts.most_common(1)[0]
    if scripts["HIRAGANA"] + scripts["KATAKANA"] and script in {"CJK", "HIRAGANA", "KATAKANA"}:
        return "JAPANESE"
    if n < 0.6 * scripts.total():
        return ""
    return script if script != "LATIN" else _latin(words(text))


def _latin(tokens: Texts) -> str:
    """Return the language whose frequent words are clearly the most common among `tokens`."""
    if len(tokens) < _MIN_WORDS:
        return ""
    hits = Counter(chain.from_iterable(map(_frequent().get, tokens, repeat(()))))
    (best, n), (_, second) = [*hits.most_common(2), ("", 0), ("", 0)][:2]
    return best if n >= 2 and n >= 0.15 * len(tokens) and n > 1.3 * second else ""


@data_check("language", whole=True, version=2)
def language(rows: Examples, context: CheckContext) -> RowFindings:
    """Rows in a language that no case and, with few cases, hardly any other row uses, or answered in another language.

    Bad: an answer in German to a question in English, where the others are English.
    """

    if len(rows) < MIN_ROWS:
        return
    pairs = [_languages(row) for row in rows]
    expected = Counter(map(_languages, as_rows(context.cases)))
    usual = Counter(language_of(question_of(case)) for case in context.cases)
    counts, asked = Counter(pairs), Counter(question for question, _ in pairs if question)
    del usual[""]
    least = 1.0 if usual.total() >= MIN_ROWS else _RARE
    several = sum(n for (question, answer), n in expected.items() if question and answer)
    most = max(1, (1.0 if several >= MIN_ROWS else _RARE) * len(rows))
    for row, (question, answer) in enumerate(pairs):
        if not question:
            continue
        if asked[question] <= max(1, least * asked.total()) and question not in usual:
            yield RowFinding(row=row, code="rare_language", message=question, action="report")
        elif answer not in {"", question} and counts[question, answer] <= most and not expected[question, answer]:
            yield RowFinding(
                row=row,
                code="answered_in_another",
                message=f"question language {question}, answer language {answer}",
                action="report",
            )


def _languages(row: Example) -> tuple[str, str]:
    return language_of(question_of(row)), language_of(row.answer)
