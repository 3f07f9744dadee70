"""The file of reviews: plans, samples and verdicts, a line each, only ever appended to (see `review`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final

import orjson

from tuneworthy.cases.readers.faults import show
from tuneworthy.errors import DataError
from tuneworthy.types import Example, content_hash

FILE_NAME: Final = "reviews.jsonl"
"""In the project folder and not in the tool's own: it is people's work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A sample, fixed.

    Attributes:
        id: Of the sample. version: What it was drawn from.
        rows: Content hashes in the order in which they are shown; a row that the version holds twice may be twice here.
        seed: Of the draw. n_rows: How many rows it could have drawn from, known ones included.
        time: When it was fixed.
    """

    id: str
    version: str
    rows: tuple[str, ...]
    seed: int
    n_rows: int
    time: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Drawn):
    """A sample of the kept rows, and what it decides.

    Attributes:
        attempt: Number of this plan among all of the file, from 1. alpha: The error that it may make.
        bound: The least share of good rows that is claimed. max_bad: Most bad rows in the sample.
        n_known: Rows of the version that were seen before. n_known_bad: Of these, found bad.
        known: Content hashes of these rows, a row that the version holds twice twice; empty in files of old.
    """

    attempt: int
    alpha: float
    bound: float
    max_bad: int
    n_known: int
    n_known_bad: int
    known: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """How many rows are reviewed."""
        return len(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondSample(Drawn):
    """A sample of the rows that were rejected.

    Attributes:
        reasons: Why each of `rows` was. asked: The reasons that were asked for; all if empty.
    """

    reasons: tuple[str, ...]
    asked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowVerdict:
    """What one reviewer said of one row of a sample; a bad row has a reason."""

    sample: str
    row: str
    reviewer: str
    good: bool
    reason: str
    time: str


KINDS: Final[dict[str, type[Plan | SecondSample | RowVerdict]]] = {
    "plan": Plan,
    "second_sample": SecondSample,
    "verdict": RowVerdict,
}
_LISTS: Final = frozenset({"rows", "reasons", "asked", "known"})


@dataclass(slots=True)
class Ledger:
    """All plans, samples and verdicts of a file, in its order."""

    plans: list[Plan] = field(default_factory=list)
    seconds: list[SecondSample] = field(default_factory=list)
    verdicts: dict[str, list[RowVerdict]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """Read a file; none is an empty ledger, and a last line that was cut off is none.

        Raises:
            DataError: Another line is wrong.
        """
        found = cls()
        try:
            lines = path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return found
        except OSError as error:
            raise DataError(path, None, "a file of reviews", str(error.strerror)) from None
        for number, line in enumerate(lines, 1):
            try:
                found._add(orjson.loads(line))
            except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
                if number == len(lines) and not line.endswith(b"\n"):
                    break
                expected = f"a line of kind {', '.join(KINDS)}"
                raise DataError(path, number, expected, show(line.decode(errors="replace").strip())) from None
        return found

    def _add(self, row: dict[str, Any]) -> None:
        cls = KINDS[row.pop("kind")]
        fields: Any = {key: tuple(value) if key in _LISTS else value for key, value in row.items()}
        one = cls(**fields)
        if isinstance(one, RowVerdict):
            self.verdicts[one.sample].append(one)
        elif isinstance(one, Plan):
            self.plans.append(one)
        else:
            self.seconds.append(one)

    def plan_of(self, version: str) -> Plan | None:
        """Return the last plan of a version."""
        return next((plan for plan in reversed(self.plans) if plan.version == version), None)

    def drawn_of(self, version: str) -> list[Drawn]:
        """Return all samples of a version: those of its plans, then the second one."""
        return [one for one in (*self.plans, *self.seconds) if one.version == version]

    def second_of(self, version: str) -> SecondSample | None:
        """Return the second sample of a version."""
        return next((one for one in reversed(self.seconds) if one.version == version), None)

    def said(self, drawn: Drawn) -> dict[str, bool]:
        """Return row to whether it is good, of the rows of a sample of which somebody said something."""
        return _worst(self.verdicts.get(drawn.id, ()))

    def known(self) -> dict[str, bool]:
        """Return row to whether it is good, of all rows that anybody ever judged."""
        return _worst(chain.from_iterable(self.verdicts.values()))


def _worst(verdicts: Iterable[RowVerdict]) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for one in verdicts:
        found[one.row] = found.get(one.row, True) and one.good
    return found


def found_bad(path: Path) -> frozenset[str]:
    """Return the content hashes of all rows that were found bad in a review: a rebuilt version leaves them out."""
    return frozenset(row for row, good in Ledger.read(path).known().items() if not good)


def content_of(row: Example) -> str:
    """Return what a row is named by: the hash of its messages as they are, whatever its id says."""
    return content_hash(list(row.messages))


def now() -> str:
    """Return the time as it is written into the file."""
    return datetime.now(UTC).isoformat(timespec="seconds")
