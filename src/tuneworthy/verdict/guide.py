"""The guide: which lever fits which kind of problem, and whether training helps; data with sources.

The rows appear in `guide.json`. A cell without a source is practice that nothing we read supports.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from types import MappingProxyType
from typing import Literal, get_args

from tuneworthy.config.task import Problem
from tuneworthy.errors import UnknownName
from tuneworthy.store.shapes import bundled
from tuneworthy.types import JsonObject, Texts, frozen

Training = Literal["yes", "no", "conditional"]


@frozen
class Cell:
    """One cell.

    Attributes:
        value: The lever, or whether training helps.
        source: Links to what supports it; "" if nothing does.
        why: What the source says.
        rungs: Rungs of the ladder that try this lever, if any.
    """

    value: str
    source: str = ""
    why: str = ""
    rungs: Texts = ()


@frozen
class Row:
    """A kind of problem.

    Attributes:
        problem: Its id, as in `task.problem`.
        name: For people.
        primary: The lever to pull first.
        backup: The next one.
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

    def to_dict(self) -> JsonObject:
        """Return plain JSON-able data, `training` included."""
        return {**asdict(self), "training": self.training}


@frozen
class Guide:
    """Content of `guide.json`."""

    rows: Sequence[Row]


@cache
def load_guide() -> Mapping[str, Row]:
    """Return the rows by problem.

    >>> load_guide()["strict_format"].training
    'conditional'
    """
    return MappingProxyType({row.problem: row for row in bundled("tuneworthy.verdict", "guide.json", Guide).rows})


def row(problem: str) -> Row:
    """Return the row of `problem`.

    Raises:
        UnknownName: It does not exist.
    """
    if problem not in load_guide():
        raise UnknownName("problem", problem, get_args(Problem))
    return load_guide()[problem]
