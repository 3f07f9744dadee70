"""The order in which rows are trained on: optimiser steps of one kind of rows, in an order that is drawn.

Rows of the task share a long beginning that is computed once a batch (`batch_layout`); one row of another kind among
them would leave nothing to share. And the loss is a mean over the tokens of a step: long answers of another kind would
drown short ones of the task.
"""

import random
from collections.abc import Iterator, Sequence


class StepsOfAKind:
    """Yields the places of rows, in another order each epoch: whole steps of a kind, then the remainder of all kinds.

    Args:
        sizes: Rows of each kind, which lie one kind after the other.
        step: Rows of an optimiser step: the order does not hang on how many fit into memory at once.
        seed: Seed of the order.

    >>> order = list(StepsOfAKind([4, 2], 2, seed=0))
    >>> [{place >= 4 for place in order[at : at + 2]} for at in (0, 2, 4)].count({True})
    1
    """

    def __init__(self, sizes: Sequence[int], step: int, *, seed: int) -> None:
        starts = [sum(sizes[:at]) for at in range(len(sizes))]
        self._kinds = [range(start, start + size) for start, size in zip(starts, sizes, strict=True)]
        self._step, self._seed, self._epoch = step, seed, 0

    def __len__(self) -> int:
        return sum(map(len, self._kinds))

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch; each has an order of its own, the same in every process and after a kill."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        draw = random.Random(f"{self._seed}/{self._epoch}")
        whole: list[list[int]] = []
        rest: list[int] = []
        for kind in self._kinds:
            order = draw.sample(kind, len(kind))
            end = len(order) - len(order) % self._step
            whole += [order[at : at + self._step] for at in range(0, end, self._step)]
            rest += order[end:]
        draw.shuffle(whole)
        return iter([place for step in whole for place in step] + rest)
