"""The decision matrix: which lever fits which kind of problem, and whether training helps; data with sources.

The rows stand in `guide.json`. Where facts.md corrects the article a cell holds the corrected value and keeps the
article's beside it; where nothing supports the article its source is `UNSUPPORTED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal, get_args

import orjson

from tuneworthy.config.task import Problem
from tuneworthy.errors import UserError

UNSUPPORTED = "article, unsupported"
Training = Literal["yes", "no", "conditional"]
SAYS: Mapping[str, Training] = MappingProxyType({"✓": "yes", "✗": "no", "cond": "conditional"})
"""What the article's signs for "does training help?" mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell.

    Attributes:
        value: What the product uses.
        article: What the article has in this place.
        source: Section and row of facts.md with the paper, or `UNSUPPORTED`.
        mark: V read in the primary source, V2 in a secondary one, C computed, K known; "" if unsupported.
        why: What the source says, or where it differs from the article.
        rungs: Rungs of the ladder that try this lever, if any.
    """

    value: str
    article: str
    source: str
    mark: str = ""
    why: str = ""
    rungs: tuple[str, ...] = ()

    @property
    def supported(self) -> bool:
        """Whether anything but the article stands behind it."""
        return self.source != UNSUPPORTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A kind of problem.

    Attributes:
        problem: Its id, as in `task.problem`. name: In words.
        primary, backup: The lever to pull first, and the next.
        helps: Whether training helps; its value is a `Training`.
    """

    problem: Problem
    name: str
    primary: Cell
    backup: Cell
    helps: Cell

    @property
    def training(self) -> Training:
        """Whether training helps: `yes`, `no` or `conditional`."""
        return self.helps.value  # type: ignore[return-value]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data, `training` included."""
        return {**asdict(self), "training": self.training}


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What the article says of the matrix as a whole, and what holds instead."""

    article: str
    holds: str
    source: str
    mark: str


@cache
def load_guide() -> Mapping[str, Row]:
    """Return the rows by problem, in the order of the article.

    >>> load_matrix()["strict_format"].training
    'conditional'
    """
    rows = [_row(content) for content in _document()["rows"]]
    return MappingProxyType({found.problem: found for found in rows})


def row(problem: str) -> Row:
    """Return the row of `problem`.

    Raises:
        UserError: There is none.
    """
    matrix = load_guide()
    if problem not in matrix:
        raise UserError(f"expected one of the problems {', '.join(get_args(Problem))}, got {problem!r}")
    return matrix[problem]


def notes() -> list[Note]:
    """Return what is said of the matrix as a whole."""
    return [Note(**content) for content in _document()["notes"]]


def _row(content: Mapping[str, Any]) -> Row:
    cells = {name: _cell(content[name]) for name in ("primary", "backup", "helps")}
    if cells["helps"].value not in get_args(Training):
        raise ValueError(f"{content['problem']}: expected {get_args(Training)}, got {cells['helps'].value!r}")
    return Row(problem=content["problem"], name=content["name"], **cells)


def _cell(content: Mapping[str, Any]) -> Cell:
    return Cell(**{**content, "rungs": tuple(content.get("rungs", ()))})


@cache
def _document() -> Mapping[str, Any]:
    document: Mapping[str, Any] = orjson.loads(files(__package__).joinpath("guide.json").read_bytes())
    return document
