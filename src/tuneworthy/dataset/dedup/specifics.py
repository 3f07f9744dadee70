"""What a text says in particular. Texts that differ in a number, a sign, a name or a negation say different things.

`content` is what near copies have in common: the words without filler, in their order. A typing error is the only other
difference that two near copies may have (`mistyped`).
"""

import re
from collections import Counter
from collections.abc import Iterable
from importlib.resources import files

import orjson

from tuneworthy.cases.normalize import signed, words
from tuneworthy.text import n_shared
from tuneworthy.types import TextPair

_DIGIT = re.compile(r"\d")
_WORDS = orjson.loads(files("tuneworthy.dataset.dedup").joinpath("words.json").read_bytes())
# Words, in five languages, that say nothing about what is asked: politeness, greetings and particles.
_FILLER, _NEGATIONS, _NUMBERS = (
    frozenset(" ".join(_WORDS[kind].values()).split()) for kind in ("filler", "negations", "numbers")
)
_PHRASES = [f" {phrase} " for phrase in _WORDS["phrases"]]
# Letters of a word that may be mistyped, and from which it may be in two places.
_MISTYPED = 4
_LONG = 8


def content(text: str) -> str:
    """Return the words of a text, signs of its numbers included, without filler and repeats; all words if none is left.

    >>> content("So where is the card, please?"), content("Move 3 to -5 now, now!"), content("Hello!")
    ('where is card', 'move 3 to −5', 'hello')
    """
    plain = words(signed(text))
    joined = f" {' '.join(plain)} "
    for phrase in _PHRASES:
        joined = joined.replace(phrase, " ")
    left: list[str] = []
    for word in joined.split():
        if word not in _FILLER and (not left or word != left[-1] or _DIGIT.search(word)):
            left.append(word)
    return " ".join(left or plain)


def mistyped(text: str, other: str) -> list[TextPair] | None:
    """Return the pairs of words in which two contents differ, if each may be one word mistyped; else None.

    First and last letters are rarely mistyped, and endings and beginnings change the sense (cards, unlocked).

    >>> mistyped("where is my card", "where is my crad"), mistyped("card is locked", "card is lost")
    ([('card', 'crad')], None)
    """
    left, right = text.split(), other.split()
    pairs = [(one, two) for one, two in zip(left, right, strict=False) if one != two]
    return pairs if len(left) == len(right) and all(_alike(one, two) for one, two in pairs) else None


def _alike(word: str, other: str) -> bool:
    """Whether two words differ inside only, by a letter or two that changed places; of long ones by two letters."""
    long_words = min(len(word), len(other)) >= _MISTYPED and word.isalpha() and other.isalpha()
    if not long_words or not {word, other}.isdisjoint(_NEGATIONS | _NUMBERS):
        return False
    start = n_shared(word, other)
    end = min(n_shared(word[::-1], other[::-1]), len(word) - start, len(other) - start)
    inner, other_inner = word[start : len(word) - end], other[start : len(other) - end]
    longest = max(len(inner), len(other_inner))
    swapped = longest == 2 and inner == other_inner[::-1]
    return min(start, end) > 0 and (swapped or longest <= 1 + (min(len(word), len(other)) >= _LONG))


def rows_with(texts: Iterable[str], wanted: frozenset[str]) -> Counter[str]:
    return Counter(word for text in texts for word in wanted.intersection(text.split()))
