"""Overlap of rows and cases, written plainly: every row beside every case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from tuneworthy.cases.contamination_index import COMMON, gram_size
from tuneworthy.cases.normalize import normalise, question_of, words
from tuneworthy.types import Case, Example


def plain_hits(rows: Sequence[Example], cases: Sequence[Case], n: int, threshold: float = 0.5) -> list[Any]:
    """Return (row, reason, score, case) of each row that overlaps with a case, of cases without an answer.

    A row with other words than a case shares one of its three rarest; a word in more than a quarter of the cases counts
    only where no word of the case is rarer.
    """
    texts = [words(question_of(case)) for case in cases]
    common = common_grams([words(text) for text in dict.fromkeys(map(question_of, cases))], n)
    texts = [without(text, common, n) for text in texts]
    counts = Counter(word for text in texts for word in set(text))
    most_cases = max(COMMON, len(cases) // 4)
    rarest = [sorted(set(text), key=lambda word: counts[word])[:3] for text in texts]
    rarest = [[word for word in some if counts[word] <= max(most_cases, counts[some[0]])] for some in rarest]
    hits = []
    for number, row in enumerate(rows):
        own = without(words(question_of(row)), common, n)
        same = [case.id for case in cases if normalise(question_of(case)) == normalise(question_of(row))]
        group = [case.id for case in cases if row.group is not None and case.group == row.group]
        scores = [coverage(own, text, gram_size(len(text), n)) if len(text) >= 4 else 0.0 for text in texts]
        apart = [distance(own, text) for text in texts]
        near = {
            k: (most, 1 - apart[k] / max(len(own), len(text)))
            for k, text in enumerate(texts)
            if 4 <= len(text) <= 60
            and not set(own).isdisjoint(rarest[k])
            and apart[k] <= (most := 2 if 12 <= len(text) <= 24 else 1)
            and len(own) in range(len(text) - 2, len(text) + 3)
        }
        sure = {k: score for k, (_, score) in near.items() if len(texts[k]) >= (12 if apart[k] == 2 else 8)}
        if same or group:
            hits.append((number, "exact" if same else "group", 1.0, (same or group)[0]))
        elif scores and max(scores) > threshold:
            hits.append((number, "ngram", max(scores), cases[scores.index(max(scores))].id))
        elif near:
            some = sure or {k: score for k, (_, score) in near.items()}
            best = max(some.values())
            hits.append((number, "edit", best, cases[min(k for k, score in some.items() if score == best)].id))
    return hits


def coverage(row: Sequence[str], case: Sequence[str], size: int) -> float:
    """Return the share of the words of `case` that stand in stretches of `size` words that `row` has too."""
    there = {tuple(row[k : k + size]) for k in range(len(row) - size + 1)}
    covered = {k + j for k in range(len(case) - size + 1) if tuple(case[k : k + size]) in there for j in range(size)}
    return len(covered) / len(case)


def distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many words of the longer of two lists are other ones, more, or at another place.

    >>> distance(["where", "is", "it"], ["where", "was", "it"]), distance(["is", "it", "on"], ["it", "is", "on", "a"])
    (1, 2)
    """

    @cache
    def common(i: int, j: int) -> int:
        if not i or not j:
            return 0
        return common(i - 1, j - 1) + 1 if one[i - 1] == other[j - 1] else max(common(i - 1, j), common(i, j - 1))

    return max(len(one), len(other)) - common(len(one), len(other))


def grams(text: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(text[k : k + n]) for k in range(len(text) - n + 1)]


def common_grams(texts: Sequence[Sequence[str]], n: int) -> set[tuple[str, ...]]:
    """Return the n-grams of more than `COMMON` texts; not those that begin a question behind a template."""
    counts = Counter(gram for text in texts for gram in set(grams(text, n)))
    common = set()
    for text in texts:
        own = grams(text, n)
        for k, gram in enumerate(own):
            most = max(counts[other] for other in own[max(0, k - n + 1) : k + n])
            if counts[gram] > COMMON and 2 * counts[gram] >= most:
                common.add(gram)
    return common


def without(text: Sequence[str], common: set[tuple[str, ...]], n: int) -> list[str]:
    """Return the words of a text in no n-gram of `common`."""
    cut = {k + j for k, gram in enumerate(grams(text, n)) if gram in common for j in range(n)}
    return [word for k, word in enumerate(text) if k not in cut]
