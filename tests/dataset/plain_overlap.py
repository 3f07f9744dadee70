"""Overlap of rows and cases, written plainly: every row beside every case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tuneworthy.cases.contamination_index import common_grams, gram_size, without
from tuneworthy.cases.normalize import normalise, question_of, words
from tuneworthy.types import Case, Example


def plain_hits(rows: Sequence[Example], cases: Sequence[Case], n: int, threshold: float = 0.5) -> list[Any]:
    """Return (row, reason, score, case) of each row that overlaps with a case."""
    texts = [words(question_of(case)) for case in cases]
    common = common_grams(texts, n)
    texts = [without(text, common, n) for text in texts]
    hits = []
    for number, row in enumerate(rows):
        own = without(words(question_of(row)), common, n)
        same = [case.id for case in cases if normalise(question_of(case)) == normalise(question_of(row))]
        group = [case.id for case in cases if row.group is not None and case.group == row.group]
        scores = [coverage(own, text, gram_size(len(text), n)) if len(text) >= 4 else 0.0 for text in texts]
        near = [k for k, text in enumerate(texts) if 4 <= len(text) <= 60 and one_word_apart(own, text)]
        if same or group:
            hits.append((number, "exact" if same else "group", 1.0, (same or group)[0]))
        elif scores and max(scores) > threshold:
            hits.append((number, "ngram", max(scores), cases[scores.index(max(scores))].id))
        elif near:
            hits.append((number, "edit", 1 - 1 / max(len(own), len(texts[near[0]])), cases[near[0]].id))
    return hits


def coverage(row: Sequence[str], case: Sequence[str], size: int) -> float:
    """Return the share of the words of `case` that stand in stretches of `size` words that `row` has too."""
    there = {tuple(row[k : k + size]) for k in range(len(row) - size + 1)}
    covered = {k + j for k in range(len(case) - size + 1) if tuple(case[k : k + size]) in there for j in range(size)}
    return len(covered) / len(case)


def one_word_apart(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two lists of words differ in one word: another one, one more or one less.

    >>> one_word_apart(["where", "is", "it"], ["where", "was", "it"]), one_word_apart(["is", "it"], ["it", "is"])
    (True, False)
    """
    one, other = list(one), list(other)
    if len(one) == len(other):
        return sum(a != b for a, b in zip(one, other, strict=True)) == 1
    short, long = sorted((one, other), key=len)
    return len(long) == len(short) + 1 and any(long[:k] + long[k + 1 :] == short for k in range(len(long)))
