"""Groups of cases that copy one another, merged with the declared groups.

Copies are those of `contamination_index`. In a group each case is a copy of every other (complete linkage): a chain of
neighbours never makes one group of a whole intent, and natural near-duplicates stay separate cases.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from tuneworthy.cases.contamination_index import REASONS, ContaminationIndex
from tuneworthy.cases.stratified import components_of, members_of, numbered, units_of
from tuneworthy.types import Cases, CaseTuple, NamedTexts


def group_near_duplicates(cases: Cases, groups: NamedTexts | None = None) -> tuple[CaseTuple, int]:
    """Return `cases` with one group for those that share a source; a case without copies keeps its group.

    The name of a group depends on its members only: the first declared name, else the smallest id.

    Args:
        cases: The cases.
        groups: Group by id, as judged earlier; copies are searched if None.

    Returns:
        The cases in their order, and how many were joined with another one that no declared group joins them with.
    """
    cases = list(cases)
    declared = np.zeros(len(cases), np.int64)
    for number, unit in enumerate(units_of(cases)):
        declared[unit.members] = number
    judged = members_of(numbered((groups or {}).get(case.id, case.id) for case in cases))
    found = _alike(cases) if groups is None else ((some[0], other) for some in judged for other in some[1:])
    pairs = np.array([*found], np.int64).reshape(-1, 2)
    n_near = 0
    for places in members_of(components_of(declared[pairs], len(cases))[declared].tolist()):
        if len(places) == 1:
            continue
        some = [cases[i] for i in places]
        group = min(filter(None, (case.group for case in some)), default=f"near {min(case.id for case in some)}")
        n_near += len(some) if len({case.source for case in some}) > 1 else 0
        for i in places:
            cases[i] = replace(cases[i], group=group)
    return tuple(cases), n_near


def _alike(cases: Cases) -> Iterator[tuple[int, int]]:
    """Yield the first case of every group with each other case of the group."""
    linked = defaultdict(set)
    for one, match in ContaminationIndex(cases, cases).matches(cases):
        if not match.doubtful and REASONS[match.rank] != "group":
            linked[one].add(match.case)
            linked[match.case].add(one)
    groups: list[set[int]] = []
    for one in sorted(linked, key=lambda number: cases[number].id):
        group = next((group for group in groups if group <= linked[one]), None)
        if group is None:
            groups.append({one})
        else:
            yield min(group), one
            group.add(one)
