"""Rows in another language than the others.

The language is recognised by the script, and among those in Latin letters by their most frequent words
(`languages.json`); a text that neither identifies counts as no language.
"""

import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import chain, repeat

import orjson

from tuneworthy.cases.normalize import question_of, words
from tuneworthy.dataset.base import CheckContext, RowFinding, RowFindings, as_rows, data_check
from tuneworthy.dataset.records import Action
from tuneworthy.types import Examples, Texts, grouped

# Rows from which the usual language can be estimated.
MIN_ROWS = 50
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


def language_outliers(languages: Texts, usual: Texts = (), least: float = 0.01) -> list[int]:
    counts = Counter(language for language in languages if language)
    rare = {language for language, n in counts.items() if n <= max(1, least * counts.total())} - set(usual)
    return [row for row, language in enumerate(languages) if language in rare]


@data_check("language", whole=True, version=2)
@dataclass(frozen=True, slots=True)
class Language:
    """Rows in a language that no case and, with few cases, hardly any other row uses, or answered in another language.

    Bad: an answer in German to a question in English, where the others are English.
    """

    least: float = 0.01
    action: Action = "report"

    def __call__(self, rows: Examples, context: CheckContext) -> RowFindings:
        if len(rows) < MIN_ROWS:
            return
        pairs = [(language_of(question_of(row)), language_of(row.answer)) for row in rows]
        counts = Counter(pairs)
        usual = Counter(filter(None, (language_of(question_of(case)) for case in context.cases)))
        least = 1.0 if usual.total() >= MIN_ROWS else self.least
        rare = set(language_outliers([question for question, _ in pairs], sorted(usual), least))
        expected = Counter((language_of(question_of(row)), language_of(row.answer)) for row in as_rows(context.cases))
        several = sum(n for (question, answer), n in expected.items() if question and answer)
        most = max(1, (1.0 if several >= MIN_ROWS else self.least) * len(rows))
        for row, (question, answer) in enumerate(pairs):
            if row in rare:
                yield RowFinding(row=row, code="rare_language", message=question, action=self.action)
            elif (
                question
                and answer
                and question != answer
                and counts[question, answer] <= most
                and not expected[question, answer]
            ):
                yield RowFinding(
                    row=row,
                    code="answered_in_another",
                    message=f"question language {question}, answer language {answer}",
                    action=self.action,
                )
