"""What a text is about in particular: its numbers, codes and names. Texts that differ in these say different things."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from tuneworthy.cases.normalize import folded

# Texts in which names are looked for.
SAMPLE: Final = 100_000
# Capitals to small letters, inside sentences, from which a word is a name.
_CAPITALS: Final = 3
_INSIDE = re.compile(r"(?:(?<=[^\W_] )|(?<=[,;:] ))[^\W\d_]{2,}")
_TOKENS = re.compile(r"\w+(?:[.,:/-]\w+)*")
_DIGIT = re.compile(r"\d")
_WORDS = re.compile(r"[^\W\d_]{2,}")


def names_in(texts: Sequence[str]) -> frozenset[str]:
    """Return the words, case-folded, that these texts write with a capital inside sentences.

    Texts that write most words so (titles, shouting) show nothing.

    >>> sorted(names_in(["I fly to Oslo", "is Oslo far?", "a card", "my Card", "a card for Oslo"]))
    ['oslo']
    """
    capitals: Counter[str] = Counter()
    small: Counter[str] = Counter()
    for text in texts[:SAMPLE]:
        inside = _INSIDE.findall(text)
        upper = [word for word in inside if word[0].isupper()]
        if 2 * len(upper) <= len(inside) or len(inside) == 1:
            capitals.update(map(str.casefold, upper))
            small.update(word for word in inside if not word[0].isupper())
    return frozenset(word for word, n in capitals.items() if n >= _CAPITALS * small[word])


def specifics(text: str, names: frozenset[str]) -> str:
    """Return the numbers, codes and `names` in a text, sorted.

    >>> specifics("Where is order A-17 of Oslo, from 3.5. on?", frozenset({"oslo"}))
    '3.5 a-17 oslo'
    """
    text = folded(text)
    codes = filter(_DIGIT.search, _TOKENS.findall(text)) if _DIGIT.search(text) else ()
    return " ".join(sorted({*codes, *(names & set(_WORDS.findall(text)))}))
