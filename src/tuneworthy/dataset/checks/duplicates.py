"""Rows that repeat an earlier row: letter by letter, but for filler and typing errors, or in other words.

A row repeats another one only if its answer does too. The same question with another answer (another label) is a
contradiction, which other checks report; questions that only share a canned answer are different questions.
"""

from array import array
from collections.abc import Iterable
from itertools import chain

import numpy as np
from xxhash import xxh3_64_intdigest, xxh3_128_digest, xxh3_128_hexdigest

from tuneworthy.arrays import Ints
from tuneworthy.cases.normalize import folded, normalise, normalised_bytes, question_of, signed, words
from tuneworthy.dataset.base import CheckContext, RowFinding, RowFindings, data_check
from tuneworthy.dataset.dedup.specifics import content, mistyped, rows_with
from tuneworthy.extras import require
from tuneworthy.store.own_file import OwnTexts
from tuneworthy.types import Example, Examples, TextPair, calls_of, frozen


def exact_duplicates(texts: Iterable[str]) -> Ints:
    """Return for each row the number of the first row with the same normalised text, or -1 if it is the first.

    Args:
        texts: The rows, (n,); read once, and not kept: 128 bits of hash a row are.

    >>> exact_duplicates(["Hello!", "bye", "  hello"]).tolist()
    [-1, -1, 0]
    """
    first: dict[bytes, int] = {}
    same = np.fromiter(
        (
            first.setdefault(key, row)
            for row, key in enumerate(xxh3_128_digest(normalised_bytes(text)) for text in texts)
        ),
        np.int64,
    )
    same[same == np.arange(len(same))] = -1
    return same


# Words of an answer up to which it must be the same, and may not only be like the other one.
SHORT = 12


def answer_text(row: Example) -> str:
    """Return the last turn: its text, and calls of tools."""
    last = row.messages[-1] if row.messages else {}
    calls = calls_of(last)
    return f"{_text(last.get('content'))} {calls}" if calls else _text(last.get("content"))


def _text(content: object) -> str:
    return content if isinstance(content, str) else "" if content is None else str(content)


def _key(row: Example) -> str:
    """Return a text that two rows share if their questions have the same letters and their answers the same words."""
    answer = " ".join(folded(answer_text(row)).split())
    return f"{question_of(row)} x{xxh3_128_hexdigest(answer.encode('utf-8', 'surrogatepass'))}"


@data_check("exact", whole=True, version=2)
def exact(rows: Examples, context: CheckContext) -> RowFindings:
    """Rows whose question has the same letters and digits as an earlier one, with the same answer.

    Texts are compared after Unicode normalisation and case folding; punctuation counts only where it is part of a
    number, a formula or a name (1.5, 12-3, C#). Copies weigh like one row that is trained on many times, and let a
    model learn it by heart. The first row stays.

    Bad: the same chat, logged twice.
    """
    same = exact_duplicates(_key(row) for row in rows)
    for row, other in enumerate(same.tolist()):
        if other >= 0:
            yield RowFinding(row=row, code="exact_duplicate", other=other)


@data_check("near", whole=True, version=3)
@frozen
class NearCheck:
    """Rows that repeat an earlier one but for words that say nothing, and typing errors.

    Two rows are near copies if question and answer have the same words in the same order once filler (please, so,
    really, the; in five languages), punctuation and repeated words are taken out. In longer texts a word may also be
    mistyped, by a letter or two inside. A short answer, such as a label, must be the same. Any other word, a number, a
    sign or a negation makes another row.

    Bad: "Where is my card?" and "So where is my card?" with the same answer.
    """

    threshold: float = 0.7

    def __post_init__(self) -> None:
        require("numba")

    def __call__(self, rows: Examples, context: CheckContext) -> RowFindings:
        from tuneworthy.dataset.dedup.near import near_duplicates

        first: dict[int, int] = {}
        contents, left, keys = OwnTexts(), array("q"), array("Q")
        of = {}
        for row, (text, short) in enumerate(map(_content, rows)):
            other = first.setdefault(_hash(f"{short}\0{text}"), row)
            if other != row:
                of[row] = other, 1.0
                continue
            left.append(row)
            contents.add(text)
            keys.append(_hash(short))
        first.clear()
        same = near_duplicates(contents, keys=np.array(keys), threshold=self.threshold)
        pairs = {
            row: differences
            for row in np.flatnonzero(same.of >= 0).tolist()
            if (differences := mistyped(contents[row], contents[same.of[row]]))
        }
        counts = rows_with(contents, frozenset(chain.from_iterable(chain.from_iterable(pairs.values()))))
        # The rows that repeat an earlier one but for typing errors, with that row and the similarity.
        typed = {
            left[row]: (left[same.of[row]], float(same.score[row]))
            for row, differences in pairs.items()
            if all(min(counts[one], counts[two]) == 1 < max(counts[one], counts[two]) for one, two in differences)
        }
        of = {row: (typed.get(other, (other,))[0], score) for row, (other, score) in of.items()} | typed
        for row in sorted(of):
            other, score = of[row]
            yield RowFinding(
                row=row,
                code="near_duplicate",
                message=f"similarity {score:.2f}",
                other=other,
                score=score,
            )


def _content(row: Example) -> TextPair:
    """Return the content of question and answer, and a short answer as a whole instead of its content."""
    question, answer = content(question_of(row)), signed(answer_text(row))
    return (f"{question}\n{content(answer)}", "") if len(words(answer)) > SHORT else (question, normalise(answer))


def _hash(text: str) -> int:
    return xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))
