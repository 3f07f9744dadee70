"""Cards that a run may be planned for: their memory and how fast they multiply (`cards.json`, mark K)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import orjson

GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class Gpu:
    """A card: its memory and its dense 16-bit products, in TFLOP/s."""

    name: str
    gib: float
    tflops: float

    def __str__(self) -> str:
        return f"{self.name} ({self.gib:g} GiB)"


@cache
def cards() -> Sequence[Gpu]:
    """Return all cards, the smallest first."""
    rows = orjson.loads(files(__package__).joinpath("cards.json").read_bytes())["cards"]
    return tuple(sorted((Gpu(**row) for row in rows), key=lambda card: (card.gib, card.tflops)))


def cards_of_at_least(n_bytes: float, limit: int = 2) -> Sequence[Gpu]:
    """Return the smallest cards that hold `n_bytes`."""
    return [card for card in cards() if card.gib * GIB >= n_bytes][:limit]


def cards_of(n_bytes: float) -> Sequence[Gpu]:
    """Return the cards whose memory is `n_bytes`, give or take a tenth."""
    return [card for card in cards() if abs(card.gib * GIB / n_bytes - 1) < 0.1]
