"""Candidate units for the dev draw, found with arrays: a million examples take no million objects."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tuneworthy.cases.example_store import ExampleColumns, columns_of, hash_of, ids_of
from tuneworthy.cases.normalize import normalised_bytes, question_of
from tuneworthy.cases.stratified import Unit, rank
from tuneworthy.cases.task_kind import Kind
from tuneworthy.types import Case, Example

_IS_HASH: Final = re.compile("[0-9a-f]{16}")


def asking(pool: Sequence[Example], kind: Kind, ids: Collection[str]) -> NDArray[np.int64]:
    """Return the numbers of the examples that can be scored and ask one of the cases `ids`."""
    columns = columns_of(pool)
    wanted = np.array([int(one, 16) for one in ids if _IS_HASH.fullmatch(one)], np.uint64)
    return np.flatnonzero(np.isin(columns.asked, wanted) & columns.scorable(kind.name))


def units_to_draw(
    pool: Sequence[Example],
    cases: Sequence[Case],
    kind: Kind,
    *,
    seed: int,
    take: int,
    convert: Callable[[Example, Kind], Case | None],
) -> tuple[list[Unit], Counter[str]]:
    """Return the units from which `take` dev cases are drawn, and the number of rows in each stratum.

    A unit has a scorable row, no question with two answers, and neither a question nor a group of the cases.

    Args:
        pool: Sorted by id.
        cases: Those of test.
        kind: Of the task.
        seed: Of the draw.
        take: Units that are chosen at most.
        convert: Returns an example as a case.
    """
    columns = columns_of(pool)
    unit_of, n_units = _unit_numbers(columns)
    scorable = np.flatnonzero(columns.scorable(kind.name))
    bad = np.isin(
        columns.questions, np.array([hash_of(normalised_bytes(question_of(case))) for case in cases], np.uint64)
    )
    groups = {case.group for case in cases}
    taken = [number for name, number in columns.names.items() if name in groups]
    barred = np.zeros(n_units, np.bool_)
    barred[unit_of[bad | np.isin(columns.groups, taken)]] = True
    _, first, inverse = np.unique(columns.asked[scorable], return_index=True, return_inverse=True)
    first = scorable[first]  # one row per case
    unlike = np.flatnonzero(columns.answers[scorable] != columns.answers[first[inverse]])
    for row, other in zip(scorable[unlike].tolist(), first[inverse][unlike].tolist(), strict=True):
        barred[unit_of[row]] |= _expected(convert(pool[row], kind)) != _expected(convert(pool[other], kind))
    first = first[~barred[unit_of[first]]]
    strata, stratum_of = _strata(pool, columns, first, kind)
    totals = Counter(dict(zip(strata, np.bincount(stratum_of, minlength=len(strata)).tolist(), strict=True)))
    heads = np.full(n_units, len(pool))
    np.minimum.at(heads, unit_of, np.arange(len(pool)))
    ids, owners = ids_of(pool), unit_of[first]
    single = np.bincount(owners, minlength=n_units)[owners] == 1
    ranks = np.fromiter((rank(seed, ids[head])[:16].encode() for head in heads[owners[single]].tolist()), "S16")
    ordered = np.flatnonzero(single)[np.argsort(ranks)]
    by_stratum = ordered[np.argsort(stratum_of[ordered], kind="stable")]
    sizes = np.bincount(stratum_of[ordered], minlength=len(strata))
    places = np.arange(len(by_stratum)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    # Of units with one row that counts, no more than `take` of a stratum can be chosen, or twice as many in total.
    likely = np.concatenate([by_stratum[places < take], ordered[: 2 * take], np.flatnonzero(~single)])
    units = {owner: Unit(ids[heads[owner]], []) for owner in owners[np.unique(likely)].tolist()}
    for row in np.flatnonzero(np.isin(unit_of, list(units))).tolist():
        units[int(unit_of[row])].members.append(row)
    for row in np.flatnonzero(np.isin(owners, list(units))).tolist():
        units[int(owners[row])].strata[strata[stratum_of[row]]] += 1
    return list(units.values()), totals


def _unit_numbers(columns: ExampleColumns) -> tuple[NDArray[np.int64], int]:
    """Return the unit of each row (see `stratified.units_of`), and the number of units."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    _, question = np.unique(columns.questions, return_inverse=True)
    rows = np.flatnonzero(columns.groups >= 0)
    n = len(question) + len(columns.names)
    edges = csr_matrix((np.ones(len(rows)), (question[rows], len(question) + columns.groups[rows])), shape=(n, n))
    _, number = connected_components(edges, directed=False) if len(rows) else (0, question)
    units, unit_of = np.unique(number[question] if len(rows) else question, return_inverse=True)
    return unit_of, len(units)


def _expected(case: Case | None) -> Any:
    return case and case.expected


def _strata(
    pool: Sequence[Example], columns: ExampleColumns, rows: NDArray[np.int64], kind: Kind
) -> tuple[list[str], NDArray[np.int64]]:
    """Return the names of the strata, and the stratum number of each row."""
    if kind.name != "label":
        return ["answer"], np.zeros(len(rows), np.int64)
    _, first, answer = np.unique(columns.answers[rows], return_index=True, return_inverse=True)
    labels = [f"label {pool[int(rows[row])].answer.strip()}" for row in first.tolist()]
    names = {name: number for number, name in enumerate(dict.fromkeys(labels))}
    return list(names), np.array([names[label] for label in labels], np.int64)[answer]
