"""Cases that reword one source: found by their words, and made one group with what the file declares.

A rewording shares the rare words of its source in any order. Texts are compared by the cosine of their words, each
weighed by how few cases hold it, so that a template that all cases share counts for nothing. Cases with one expected
answer need less in common than cases with different ones. Groups are cut from average linkage: a chain of neighbours
does not make one group of a whole intent.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from tuneworthy.cases.normalize import normalise, question_of, words
from tuneworthy.cases.stratified import units_of
from tuneworthy.types import UNLABELLED, Case, canonical

# Similarity from which two cases are one source, where they expect one answer, and where they do not. On real
# questions (BANKING77, restaurant8k, XQuAD; docs/limits.md) these find 95 % of wrapped, reordered and shortened
# rewordings, and 67 % to 84 % of those with two other words.
SAME_ANSWER: Final = 0.5
OTHER_ANSWER: Final = 0.7
# Cases that are compared with all others at once.
_BLOCK: Final = 1000


class GroupedCases(NamedTuple):
    """Cases whose `group` joins what is declared and what was found.

    Attributes:
        cases: In their order.
        n_near: Cases that were joined with another one that no declared group joins them with.
    """

    cases: tuple[Case, ...]
    n_near: int


def group_near_duplicates(cases: Sequence[Case]) -> GroupedCases:
    """Return `cases` with one group for those that share a source; a case alone keeps the group that it has.

    The name of a group depends on its members only: the first declared name, else the smallest id.
    """
    cases = list(cases)
    declared = np.zeros(len(cases), np.int64)
    for number, unit in enumerate(units_of(cases)):
        declared[unit.members] = number
    joined = _joined(declared, [*_alike(cases)])
    members: dict[int, list[int]] = defaultdict(list)
    for place, number in enumerate(joined.tolist()):
        members[number].append(place)
    n_near = 0
    for places in members.values():
        if len(places) == 1:
            continue
        group = min((case.group for case in (cases[i] for i in places) if case.group), default="")
        group = group or f"near {min(cases[i].id for i in places)}"
        sources = [cases[i].source for i in places]
        n_near += sum(sources.count(source) < len(places) for source in sources)
        for i in places:
            cases[i] = replace(cases[i], group=group)
    return GroupedCases(tuple(cases), n_near)


def near_duplicates(new: Iterable[Case], of: Sequence[Case]) -> dict[str, str]:
    """Return which of `new` reword a case of `of`: id of each to the id of that case."""
    new = list(new)
    grouped, _ = group_near_duplicates([*(replace(case, group=None) for case in (*of, *new))])
    first: dict[str, str] = {}
    for case in grouped[: len(of)]:
        first.setdefault(case.source, case.id)
    return {case.id: first[case.source] for case in grouped[len(of) :] if case.source in first}


def _joined(declared: np.ndarray, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return the number of the group of each case: what is declared as one and what is alike."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not pairs:
        return declared
    a, b = (declared[list(side)] for side in zip(*pairs, strict=True))
    n = int(declared.max()) + 1
    _, component = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(n, n)), directed=False)
    joined: np.ndarray = component[declared]
    return joined


def _alike(cases: Sequence[Case]) -> Iterator[tuple[int, int]]:
    """Yield pairs of places that connect the cases of each source."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial.distance import squareform

    if len(cases) < 2:
        return
    vectors = _vectors([question_of(case) for case in cases])
    answers = _answers(cases)
    n, near = len(cases), []
    for first in range(0, n, _BLOCK):
        similar = (vectors[first : first + _BLOCK] @ vectors.T).tocoo()
        held = similar.data >= SAME_ANSWER
        near.append((similar.row[held] + first, similar.col[held], similar.data[held]))
    row, column, value = (np.concatenate(parts) for parts in zip(*near, strict=True))
    _, component = connected_components(coo_array((value, (row, column)), shape=(n, n)), directed=False)
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
    """Return the words of each text as a unit vector, `(n_texts, n_words)`, a rare word long and a common one short."""
    from scipy.sparse import csr_array

    numbers: dict[str, int] = defaultdict(lambda: len(numbers))
    counts = [
        np.unique([numbers[word] for word in words(text) or [normalise(text)]], return_counts=True) for text in texts
    ]
    columns = np.concatenate([column for column, _ in counts])
    n_cases = np.bincount(columns, minlength=len(numbers))
    values = (1 + np.log(np.concatenate([count for _, count in counts]))) * np.log((len(texts) + 1) / n_cases)[columns]
    ends = np.cumsum([0, *(len(column) for column, _ in counts)])
    lengths = np.sqrt(np.add.reduceat(values**2, ends[:-1]))
    values /= np.repeat(lengths, np.diff(ends))
    return csr_array((values, columns, ends), shape=(len(texts), len(numbers)))


def _answers(cases: Sequence[Case]) -> np.ndarray:
    """Return a number for each expected answer; an unknown one is like no other."""
    numbers: dict[bytes, int] = defaultdict(lambda: len(numbers))
    return np.array([
        numbers[canonical(case.expected) if case.expected is not UNLABELLED else case.id.encode() + b"?"]
        for case in cases
    ])  # fmt: skip
