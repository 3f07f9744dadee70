"""Batches: the order of the rows, and their layout in memory: the common beginning once, then each row, unpadded.

    row 1   S S S S a a a a a          S S S S | a a a a a | b b b | c c c c
    row 2   S S S S b b b        ->    prefix    row 1       row 2   row 3
    row 3   S S S S c c c c            0 1 2 3   4 5 6 7 8   4 5 6   4 5 6 7      (positions)

Rows of one task begin alike: the template's opening and the system prompt. A token of the prefix sees only the
prefix, so its states are the same in every row, and computing them once changes neither the loss nor, since gradients
add up, any gradient. Supervised tokens never lie in the prefix.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from tuneworthy.text import n_shared
from tuneworthy.types import JsonObject, TokenLists

if TYPE_CHECKING:
    import torch

IGNORED = -100
# Tokens and supervised places of a batch are filled up to a multiple of these: kernels are compiled for each new size
# of a matrix, which takes a third of a step on a processor.
TOKENS_ROUNDED, SUPERVISED_ROUNDED = 64, 32


def common_prefix(rows: Sequence[Any]) -> int:
    """Return the number of ids (or bytes) that all rows begin with.

    >>> common_prefix([[1, 2, 3, 4], [1, 2, 9]])
    2
    """
    return n_shared(min(rows), max(rows))


def lay_out(ids: TokenLists, labels: TokenLists) -> dict[str, list[int]]:
    """Return a batch as lists, which `collate` makes tensors of; the common beginning of several rows is kept once.

    Args:
        ids: Token ids per row.
        labels: The same with `IGNORED` where nothing is supervised.

    Returns:
        `input_ids` and `position_ids` of all tokens in memory; `labels`: the supervised ids behind one `IGNORED`, by
        which a trainer counts them; `predict_at` and `targets` of the supervised tokens: the place that predicts each,
        and its id; `lengths`: the prefix, the tokens that are filled in at the end, and the rest per row.
    """
    # the token before the first supervised one predicts it, so it is the row's own
    most = min(next((at for at, label in enumerate(row) if label != IGNORED), 1) for row in labels) - 1
    prefix = max(0, min(most, common_prefix(ids))) if len(ids) > 1 else 0
    tokens, positions = list(ids[0][:prefix]), list(range(prefix))
    predict_at = []
    targets = []
    for row, labelled in zip(ids, labels, strict=True):
        offset = len(tokens) - prefix
        supervised = [at for at in range(max(prefix, 1), len(row)) if labelled[at] != IGNORED]
        predict_at += [offset + at - 1 for at in supervised]
        targets += [labelled[at] for at in supervised]
        tokens += row[prefix:]
        positions += range(prefix, len(row))
    filled, places = -len(tokens) % TOKENS_ROUNDED, -len(targets) % SUPERVISED_ROUNDED
    return {
        "input_ids": tokens + tokens[:1] * filled,
        "position_ids": positions + [0] * filled,
        "labels": [IGNORED, *targets],
        "predict_at": predict_at + [0] * places,
        "targets": targets + [IGNORED] * places,
        "lengths": [prefix, filled, *(len(row) - prefix for row in ids)],
    }


def collate(rows: Sequence[JsonObject]) -> dict[str, torch.Tensor]:
    """Return the batch of `lay_out` as tensors, `(1, n)` for `input_ids`, `position_ids` and `labels`, else `(n,)`.

    Rows that fill up a step are dropped, as they share no beginning with others; but a batch has a row.
    """
    import torch

    rows = [row for row in rows if max(row["labels"]) != IGNORED] or rows[:1]
    made = lay_out([row["input_ids"] for row in rows], [row["labels"] for row in rows])
    wide = {"input_ids", "position_ids", "labels"}
    return {name: torch.tensor([values] if name in wide else values, dtype=torch.long) for name, values in made.items()}


class StepsOfAKind:
    """Yields the places of rows, in another order each epoch: whole steps of a kind, then the remainder of all kinds.

    Rows of the task share a long beginning that is computed once a batch; one row of another kind among them would
    leave nothing to share. And the loss is a mean over the tokens of a step: long answers of another kind would drown
    short answers of the task.

    Args:
        sizes: Rows per kind, which lie one kind after the other.
        step: Rows of an optimiser step: the order does not hang on how many fit into memory at once.
        seed: Seed of the order.
        at_once: Rows that all processes read at once. The last step of an epoch is filled up to a multiple with the
            place after the last row, where a row without supervised tokens must be.

    >>> order = list(StepsOfAKind([4, 2], 2, seed=0))
    >>> [{place >= 4 for place in order[at : at + 2]} for at in (0, 2, 4)].count({True})
    1
    """

    def __init__(self, sizes: Sequence[int], step: int, *, seed: int, at_once: int = 1) -> None:
        self._kinds = [range(end - size, end) for size, end in zip(sizes, accumulate(sizes), strict=True)]
        self._step, self._seed, self._epoch = step, seed, 0
        self._filler = [sum(sizes)] * (-sum(size % step for size in sizes) % at_once)

    def __len__(self) -> int:
        return sum(map(len, self._kinds)) + len(self._filler)

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch; each has an order of its own, the same in every process and after a kill."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        draw = random.Random(f"{self._seed}/{self._epoch}")
        whole = []
        rest = []
        for kind in self._kinds:
            order = draw.sample(kind, len(kind))
            end = len(order) - len(order) % self._step
            whole += [order[at : at + self._step] for at in range(0, end, self._step)]
            rest += order[end:]
        draw.shuffle(whole)
        return iter([place for step in whole for place in step] + rest + self._filler)
