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
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuneworthy.types import JsonObject

if TYPE_CHECKING:
    import torch

IGNORED = -100
# Tokens and supervised places of a batch are filled up to a multiple of these: kernels are compiled for each new size
# of a matrix, which takes a third of a step on a processor.
TOKENS_ROUNDED, SUPERVISED_ROUNDED = 64, 32


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the rows of one batch lie.

    Attributes:
        prefix: Tokens of the common beginning; may be 0.
        lengths: Tokens of each row after the common beginning, `(n_rows,)`.
        filled: Tokens at the end that belong to no row; nothing sees them and nothing is made of them.
    """

    prefix: int
    lengths: tuple[int, ...]
    filled: int = 0

    @property
    def n_tokens(self) -> int:
        """Tokens in memory."""
        return self.prefix + sum(self.lengths) + self.filled


def common_prefix(rows: Sequence[Sequence[int]], most: int) -> int:
    """Return how many ids all rows begin with, `most` at most.

    >>> common_prefix([[1, 2, 3, 4], [1, 2, 9]], 10)
    2
    """
    first = rows[0]
    n = min(most, *(len(row) for row in rows))
    for at in range(n):
        if any(row[at] != first[at] for row in rows):
            return at
    return n


def lay_out(
    ids: Sequence[Sequence[int]], labels: Sequence[Sequence[int]], *, share: bool = True, fill: bool = False
) -> JsonObject:
    """Return a batch as lists: what `Collator` makes tensors of.

    Args:
        ids: Token ids of each row.
        labels: The same with `IGNORED` where nothing is supervised.
        share: Whether the common beginning is kept once (of a single row nothing is common).
        fill: Whether tokens and supervised places are filled up to round numbers.

    Returns:
        `input_ids`, `position_ids` and `labels` of all tokens in memory; `predict_at` and `targets` of the supervised
        ones: the place that predicts each, and its id; and the `layout`.
    """
    # the token before the first supervised one predicts it, so it is the row's own
    most = min(next(at for at, label in enumerate(row) if label != IGNORED) for row in labels) - 1
    prefix = common_prefix(ids, max(0, most)) if share and len(ids) > 1 else 0
    tokens, positions, own_labels = list(ids[0][:prefix]), list(range(prefix)), [IGNORED] * prefix
    predict_at: list[int] = []
    targets: list[int] = []
    for row, labelled in zip(ids, labels, strict=True):
        offset = len(tokens) - prefix
        for at in range(max(prefix, 1), len(row)):
            if labelled[at] != IGNORED:
                predict_at.append(offset + at - 1)
                targets.append(labelled[at])
        tokens += row[prefix:]
        positions += range(prefix, len(row))
        own_labels += [IGNORED if at == 0 else labelled[at] for at in range(prefix, len(row))]
    filled = -len(tokens) % TOKENS_ROUNDED if fill else 0
    tokens, positions = tokens + tokens[:1] * filled, positions + [0] * filled
    own_labels += [IGNORED] * filled
    places = -len(targets) % SUPERVISED_ROUNDED if fill else 0
    predict_at, targets = predict_at + [0] * places, targets + [IGNORED] * places
    layout = Layout(prefix, tuple(len(row) - prefix for row in ids), filled)
    return {"input_ids": tokens, "position_ids": positions, "labels": own_labels, "predict_at": predict_at,
            "targets": targets, "layout": layout}  # fmt: skip


class Collator:
    """Makes batches.

    Args:
        share: See `lay_out`.
        fill: See `lay_out`.
    """

    def __init__(self, *, share: bool = True, fill: bool = True) -> None:
        self.share, self.fill = share, fill

    def __call__(self, rows: Sequence[JsonObject]) -> dict[str, torch.Tensor]:
        """Return `input_ids`, `position_ids`, `labels`, each `(1, n_tokens)`; `predict_at`, `targets`, each
        `(n_supervised,)`; and `lengths`, `(2 + n_rows,)`: the prefix, what is filled, then the rows.
        """
        import torch

        ids, labels = [row["input_ids"] for row in rows], [row["labels"] for row in rows]
        made = lay_out(ids, labels, share=self.share, fill=self.fill)
        layout = made["layout"]
        batch = {name: torch.tensor([made[name]]) for name in ("input_ids", "position_ids", "labels")}
        batch |= {name: torch.tensor(made[name]) for name in ("predict_at", "targets")}
        return {**batch, "lengths": torch.tensor([layout.prefix, layout.filled, *layout.lengths])}


class StepsOfAKind:
    """Yields the places of rows, in another order each epoch: whole steps of a kind, then the remainder of all kinds.

    Rows of the task share a long beginning that is computed once a batch; one row of another kind among them would
    leave nothing to share. And the loss is a mean over the tokens of a step: long answers of another kind would drown
    short answers of the task.

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
