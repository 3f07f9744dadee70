"""Draw a share of rows so that what belongs together stays together and every stratum is represented.

The order of the draw comes from hashes of seed and id, not from a shuffle: it does not depend on the
order of the file, and a row that is added moves few others.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tuneworthy.cases.normalize import normalise, question_of
from tuneworthy.types import CaseOrExample, grouped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


@dataclass(slots=True)
class Unit:
    """Rows that must stay together: those of one group, and those that ask the same question.

    Attributes:
        key: The smallest id of the rows.
        members: Indexes of the rows.
        strata: How many of the rows count in each stratum; filled in by the caller.
    """

    key: str
    members: list[int]
    strata: Counter[str] = field(default_factory=Counter)

    @property
    def size(self) -> int:
        return self.strata.total()


def units_of(rows: Sequence[CaseOrExample]) -> list[Unit]:
    numbers: dict[str, int] = defaultdict(lambda: len(numbers))
    nodes = [numbers["question " + normalise(question_of(row))] for row in rows]
    edges = [
        (node, numbers["group " + row.group]) for node, row in zip(nodes, rows, strict=True) if row.group is not None
    ]
    components = components_of(edges, len(numbers)) if edges else range(len(numbers))
    return [Unit(min(rows[i].id for i in group), group) for group in members_of(components[node] for node in nodes)]


def components_of(edges: "ArrayLike", n: int) -> "NDArray[np.int32]":
    """Return the number of the component of each of `n` nodes, which `edges`, `(n_edges, 2)`, connect."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.array(edges, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(ends.shape[1]), tuple(ends)), shape=(n, n))
    components: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return components


def members_of(numbers: Iterable[int]) -> list[list[int]]:
    """Return the places of each number, in the order in which the numbers first appear."""
    return list(grouped((number, place) for place, number in enumerate(numbers)).values())


def numbered(values: Iterable[Hashable]) -> list[int]:
    """Return a number for each value: equal values have one number, in the order in which they first appear."""
    numbers: dict[Hashable, int] = defaultdict(lambda: len(numbers))
    return [numbers[value] for value in values]


def rank(seed: int, key: str) -> str:
    """Return a text that sorts keys in an order that looks random and depends only on `seed` and `key`."""
    return hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()


def is_drawn(seed: int, name: str, share: float) -> bool:
    """Whether a hash puts `name` into a share of all names; a larger share contains each smaller share."""
    return int(rank(seed, name)[:13], 16) < share * 16**13


def quotas(totals: Counter[str], take: int, seed: int) -> dict[str, int]:
    """Share `take` among strata by largest remainder: each within 1 of its proportional share.

    >>> quotas(Counter(a=60, b=30, c=10), 10, seed=0)
    {'a': 6, 'b': 3, 'c': 1}
    """
    n = totals.total()
    shares = {name: divmod(take * total, n) for name, total in totals.items()}
    left = take - sum(whole for whole, _ in shares.values())
    more = set(sorted(shares, key=lambda name: (-shares[name][1], rank(seed, name)))[:left])
    return {name: whole + (name in more) for name, (whole, _) in shares.items()}


def draw(units: Iterable[Unit], take: int, *, seed: int, at_least: bool) -> list[Unit]:
    """Choose units of about `take` rows in all.

    Without groups it is exactly `take` (or all there are), and every stratum is within 1 of its share.

    Args:
        units: With their strata.
        take: Rows.
        seed: Of the order.
        at_least: Whether groups may make it more than `take`; else they may make it fewer.
    """
    order = sorted(units, key=lambda unit: rank(seed, unit.key))
    totals: Counter[str] = Counter()
    for unit in order:
        totals.update(unit.strata)
    take = min(take, totals.total())
    if take <= 0:
        return []
    quota, have = quotas(totals, take, seed), Counter[str]()
    chosen: list[Unit] = []
    rest: list[Unit] = []
    for unit in order:
        fits = all(have[name] + count <= quota[name] for name, count in unit.strata.items())
        (chosen if fits else rest).append(unit)
        have.update(unit.strata if fits else {})
    for unit in sorted(rest, key=lambda unit: unit.size):
        short = take - have.total()
        if short > 0 and (at_least or unit.size <= short):
            chosen.append(unit)
            have.update(unit.strata)
    return chosen
