"""Rows in another language than the others.

The language is recognised by the script, and among those in Latin letters by their most frequent words
(`languages.json`); a text that neither identifies counts as no language.
"""

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from itertools import chain, repeat

import numpy as np
import orjson

from tuneworthy.cases.normalize import question_of, words
from tuneworthy.dataset.base import MANY, CheckContext, RowFinding, RowFindings, as_rows, data_check
from tuneworthy.dataset.columns import MappedCheck, Mapper, RowColumns
from tuneworthy.stats.intervals import upper_bound
from tuneworthy.types import Example, Examples, TextPair, Texts, grouped

# Rows from which the usual language can be estimated.
MIN_ROWS = 50
# Share of the rows up to which a language is rare, where the cases are few.
_RARE = 0.01
_SCRIPTS = (
    "LATIN", "CYRILLIC", "ARABIC", "HEBREW", "GREEK", "DEVANAGARI", "THAI", "HANGUL", "HIRAGANA", "KATAKANA", "CJK",
)  # fmt: skip
_CLIP = 600
_MIN_WORDS = 5
# Probability that rows leave that are as right as the cases.
_ALPHA = 0.001


@cache
def _frequent() -> dict[str, list[str]]:
    """Return the languages of each frequent word."""
    return grouped(
        (word, language)
        for language, listed in orjson.loads(
            files("tuneworthy.dataset").joinpath("languages.json").read_bytes()
        ).items()
        for word in set(listed.split())
    )


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


@data_check("language", whole=True, version=3, asks={"answered_in_another": MANY})
class LanguageCheck(MappedCheck):
    """Rows in a language that no case and, with few cases, hardly any other row uses, or answered in another language.

    Rows that are answered in a language in which no case is answered leave if there are more than the cases explain.
    Right rows in such languages are about as frequent as cases in languages that no other case has.

    Bad: an answer in German to a question in English, where the others are English.
    """

    def mapper(self, rows: Examples, context: CheckContext) -> Mapper:
        return lambda some: {"pairs": np.array(["\t".join(_languages(row)) for row in some], "S24")}

    def join(self, columns: RowColumns, rows: Examples, context: CheckContext) -> RowFindings:
        if len(rows) < MIN_ROWS:
            return
        names, number_of, sizes = np.unique(columns.whole("pairs"), return_inverse=True, return_counts=True)
        pairs = [tuple(name.decode().split("\t")) for name in names.tolist()]
        counts = dict(zip(pairs, sizes.tolist(), strict=True))
        found = self._faults(pairs, counts, len(rows), context)
        for row in np.flatnonzero(np.isin(number_of, [*found])).tolist():
            yield replace(found[number_of[row]], row=row)

    @staticmethod
    def _faults(
        pairs: Sequence[TextPair], counts: Mapping[TextPair, int], n_rows: int, context: CheckContext
    ) -> dict[int, RowFinding]:
        """Return the finding on each pair of languages that is unusual, by its place."""
        expected = Counter(filter(all, map(_languages, as_rows(context.cases))))
        usual = {language_of(question_of(case)) for case in context.cases}
        asked: Counter[str] = Counter()
        for (question, _), n in counts.items():
            asked[question] += n
        known = {*expected, *(("", answer) for _, answer in expected)}
        unseen = Counter({pair: n for pair, n in counts.items() if pair[1] not in {"", pair[0]} and pair not in known})
        # Source: Good 1953, "The population frequencies of species" (what is seen once measures what is not seen).
        missing = upper_bound([*expected.values()].count(1), expected.total(), _ALPHA) if expected else 1
        surely = unseen.total() > missing * n_rows
        most, most_pairs = (
            n_rows if n >= MIN_ROWS else max(1, _RARE * n_rows) for n in (len(context.cases), expected.total())
        )
        found: dict[int, RowFinding] = {}
        for number, (question, answer) in enumerate(pairs):
            if question not in {"", *usual} and asked[question] <= most:
                found[number] = RowFinding(code="rare_language", message=question, action="report")
            elif (n := unseen[question, answer]) and (surely or (question and n <= most_pairs)):
                found[number] = RowFinding(
                    code="answered_in_another",
                    message=f"question language {question or 'unclear'}, answer language {answer}",
                    action="drop" if surely and ("", answer) not in known else "report",
                )
        return found


def _languages(row: Example) -> TextPair:
    """Return the languages of question and answer; of an answer in several, that of the question or the first."""
    question, answer = language_of(question_of(row)), language_of(row.answer)
    parts = [answer] if answer else [*filter(None, map(language_of, row.answer[:_CLIP].split(". ")))]
    return question, question if question in parts else next(iter(parts), "")
