"""Cases that reword one source: found by their words, and merged with the declared groups.

A rewording shares the rare words of its source in any order. Texts are compared by the cosine of their words, each
weighed by its rarity, so that a template that all cases share counts for nothing. Cases with one expected
answer need less in common than cases with different answers. Groups are cut from average linkage: a chain of neighbours
does not make one group of a whole intent.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from tuneworthy.cases.normalize import normalise, question_of, words
from tuneworthy.cases.stratified import components_of, members_of, numbered, units_of
from tuneworthy.types import UNLABELLED, Case, Cases, canonical

# Similarity from which two cases are one source, where they expect one answer, and where they do not. On real
# questions (BANKING77, restaurant8k, XQuAD; docs/limits.md) these find 95 % of wrapped, reordered and shortened
# rewordings, and 67 % to 84 % of those with two other words.
SAME_ANSWER: Final = 0.5
OTHER_ANSWER: Final = 0.7
# Cases that are compared with all others at once.
_BLOCK: Final = 1000


class GroupedCases(NamedTuple):
    """Cases whose `group` joins declared groups and rewordings.

    Attributes:
        cases: In their order.
        n_near: Cases that were joined with another one that no declared group joins them with.
    """

    cases: tuple[Case, ...]
    n_near: int


def group_near_duplicates(cases: Cases) -> GroupedCases:
    """Return `cases` with one group for those that share a source; a case without rewordings keeps its group.

    The name of a group depends on its members only: the first declared name, else the smallest id.
    """
    cases = list(cases)
    declared = np.zeros(len(cases), np.int64)
    for number, unit in enumerate(units_of(cases)):
        declared[unit.members] = number
    pairs = np.array([*_alike(cases)], np.int64).reshape(-1, 2)
    n_near = 0
    for places in members_of(components_of(declared[pairs], len(cases))[declared].tolist()):
        if len(places) == 1:
            continue
        some = [cases[i] for i in places]
        group = min(filter(None, (case.group for case in some)), default=f"near {min(case.id for case in some)}")
        n_near += len(some) if len({case.source for case in some}) > 1 else 0
        for i in places:
            cases[i] = replace(cases[i], group=group)
    return GroupedCases(tuple(cases), n_near)


def near_duplicates(new: Iterable[Case], of: Cases) -> dict[str, str]:
    new = list(new)
    grouped, _ = group_near_duplicates([*(replace(case, group=None) for case in (*of, *new))])
    first: dict[str, str] = {}
    for case in grouped[: len(of)]:
        first.setdefault(case.source, case.id)
    return {case.id: first[case.source] for case in grouped[len(of) :] if case.source in first}


def _alike(cases: Cases) -> Iterator[tuple[int, int]]:
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(cases) < 2:
        return
    vectors = _vectors([question_of(case) for case in cases])
    forms = (case.id.encode() + b"?" if case.expected is UNLABELLED else canonical(case.expected) for case in cases)
    answers = np.array(numbered(forms))  # an unknown answer is like no other
    n = len(cases)
    near = []
    for first in range(0, n, _BLOCK):
        similar = (vectors[first : first + _BLOCK] @ vectors.T).tocoo()
        alike = similar.data >= SAME_ANSWER
        near.append(np.array([similar.row[alike] + first, similar.col[alike]]))
    component = components_of(np.concatenate(near, axis=1).T, n)
    order = np.argsort(component, kind="stable")
    for places in np.split(order, np.flatnonzero(np.diff(component[order])) + 1):
        if len(places) == 1:
            continue
        part = vectors[places]
        similarity = (part @ part.T).toarray()
        same = answers[places][:, None] == answers[places][None]
        similarity = np.minimum(1.0, np.where(same, similarity * (OTHER_ANSWER / SAME_ANSWER), similarity))
        np.fill_diagonal(similarity, 1.0)
        tree = linkage(squareform(1 - similarity, checks=False), "average")
        source = fcluster(tree, 1 - OTHER_ANSWER + 1e-9, "distance")
        for number in np.unique(source):
            head, *rest = places[source == number].tolist()
            yield from ((head, other) for other in rest)


def _vectors(texts: Sequence[str]) -> Any:
    """Return TF-IDF unit vectors of the texts, `(n_texts, n_words)`, a rare word long and a common one short."""
    from scipy.sparse import csr_array

    numbers: dict[str, int] = defaultdict(lambda: len(numbers))
    owners, columns = [], []
    for number, text in enumerate(texts):
        own = [numbers[word] for word in words(text) or [normalise(text)]]
        owners += [number] * len(own)
        columns += own
    vectors = csr_array((np.ones(len(columns)), (owners, columns)), shape=(len(texts), len(numbers)))
    n_cases = np.bincount(vectors.indices, minlength=len(numbers))
    vectors.data = (1 + np.log(vectors.data)) * np.log((len(texts) + 1) / n_cases)[vectors.indices]
    vectors.data /= np.repeat(np.sqrt(vectors.power(2).sum(axis=1)), np.diff(vectors.indptr))
    return vectors
