"""Disk-backed sequence of examples, with the columns that splits and labels need as arrays.

Invariant: memory grows with the number of examples (some 60 bytes each), not with their texts.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Final, overload

import numpy as np
import orjson
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from tuneworthy.cases.asked import asked_id
from tuneworthy.cases.normalize import normalised_bytes, question_of
from tuneworthy.cases.task_kind import parse_object
from tuneworthy.store.own_file import OwnFile
from tuneworthy.types import UNLABELLED, Example

Numbers = NDArray[np.int64]
Hashes = NDArray[np.uint64]

# Examples that are read from the file at once where they follow one another.
_BLOCK: Final = 512
# Maximum ratio of a stretch that is read at once to the size of its examples.
_MOST_BETWEEN: Final = 2
# Bytes of an answer by which answers are put in order, before whole answers are compared.
_PREFIX: Final = 48


@dataclass(frozen=True, slots=True, eq=False)
class ExampleColumns:
    """Columns of examples without their texts, `(n,)` each.

    Attributes:
        ids: Hash of the id.
        groups: Number of the group, or -1.
        asked: The id of the question as a case (`asked_id`), as a number; 0 without a user turn.
        questions: Hash of the normalised question.
        answers: Hash of the answer; 0 if it is blank.
        objects: Whether the answer is a JSON object or list.
        names: Group numbers by name.
    """

    ids: Hashes
    groups: Numbers
    asked: Hashes
    questions: Hashes
    answers: Hashes
    objects: NDArray[np.bool_]
    names: Mapping[str, int]

    def at(self, places: Numbers) -> "ExampleColumns":
        """Return the columns of some of the examples."""
        some = {one.name: getattr(self, one.name)[places] for one in fields(self) if one.name != "names"}
        return replace(self, **some)

    def scorable(self, kind: str) -> NDArray[np.bool_]:
        """Return which examples graders can score in a task of this kind."""
        fits: NDArray[np.bool_] = (self.asked != 0) & (self.answers != 0)
        return fits & self.objects if kind == "json" else fits


class _ColumnWriter:
    def __init__(self) -> None:
        self._hashes = [array("Q") for _ in range(4)]
        self._groups, self._objects = array("q"), array("b")
        self._names: dict[str, int] = {}

    def add(self, example: Example) -> None:
        answer, case = example.answer, asked_id(example)
        values = (
            hash_of(example.id.encode("utf-8", "surrogatepass")),
            0 if case is None else int(case, 16),
            hash_of(normalised_bytes(question_of(example))),
            hash_of(answer.encode("utf-8", "surrogatepass")) if answer.strip() else 0,
        )
        for column, value in zip(self._hashes, values, strict=True):
            column.append(value)
        group = example.group
        self._groups.append(-1 if group is None else self._names.setdefault(group, len(self._names)))
        self._objects.append(parse_object(answer) is not UNLABELLED)

    def columns(self) -> ExampleColumns:
        ids, asked, questions, answers = (np.frombuffer(column, np.uint64) for column in self._hashes)
        groups, objects = np.frombuffer(self._groups, np.int64), np.frombuffer(self._objects, np.bool_)
        return ExampleColumns(ids, groups, asked, questions, answers, objects, self._names)


class ExampleWriter:
    """Writes examples, which `stored` then returns.

    Args:
        name: Of the file that they come from; their source is ``name:line``.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._file = OwnFile()
        self._columns = _ColumnWriter()
        self._starts, self._lines, self._ids = array("Q", [0]), array("Q"), array("Q")

    def add(self, identity: str, line: int, fields: Mapping[str, Any]) -> None:
        """Write an example: its id (a content hash), its line, and the other arguments of `Example`."""
        self._columns.add(Example(id=identity, **fields))
        content = orjson.dumps(
            [fields["messages"], fields.get("group"), fields.get("tags", ()), fields.get("meta", {})],
            option=orjson.OPT_NON_STR_KEYS,
        )
        self._starts.append(self._file.write(content))
        self._lines.append(line)
        self._ids.append(int(identity, 16))

    def stored(self) -> "tuple[StoredExamples, Iterable[int]]":
        """Return the distinct examples, and the lines of the repeated examples."""
        self._file.finish()
        for one in (self._lines, self._ids):
            one.append(0)
        heads = np.array([self._starts, self._lines, self._ids])
        firsts = np.sort(np.unique(heads[2, :-1], return_index=True)[1])
        again = np.setdiff1d(np.arange(heads.shape[1] - 1), firsts, assume_unique=True)
        every = StoredExamples(self._file, self._name, heads, self._columns.columns())
        return every.at(firsts), heads[1, again].tolist()


class StoredExamples(Sequence[Example]):
    """Examples of a file of this process's own, which goes with it; read on access.

    Args:
        file: What `ExampleWriter` wrote.
        name: Of the file that they come from.
        heads: Where each example begins in `file`, its line, and its id as a number; with where the last one ends,
            ``(3, n + 1)``.
        columns: Of all examples.
    """

    def __init__(self, file: OwnFile, name: str, heads: Hashes, columns: ExampleColumns) -> None:
        self._file, self._name = file, name
        self._starts, (self._lines, self._ids) = heads[0].astype(np.int64), heads[1:]
        self._columns = columns
        self.places: Numbers = np.arange(heads.shape[1] - 1)

    def at(self, numbers: Numbers) -> "StoredExamples":
        """Return those with these numbers, in this order."""
        some = copy(self)
        some.__dict__.pop("columns", None)
        some.places = self.places[numbers]
        return some

    def sorted(self) -> "StoredExamples":
        """Return the same examples by id."""
        return self.at(np.argsort(self._ids[self.places], kind="stable"))

    @cached_property
    def columns(self) -> ExampleColumns:
        """Their columns."""
        return self._columns.at(self.places)

    @property
    def ids(self) -> list[str]:
        """Their ids."""
        return [f"{number:016x}" for number in self._ids[self.places].tolist()]

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Example]:
        for first in range(0, len(self.places), _BLOCK):
            yield from self._read(self.places[first : first + _BLOCK])

    @overload
    def __getitem__(self, number: int) -> Example: ...
    @overload
    def __getitem__(self, number: slice) -> list[Example]: ...
    def __getitem__(self, number: int | slice) -> Example | list[Example]:
        if isinstance(number, slice):
            return list(self._read(self.places[number]))
        return next(self._read(self.places[[number]]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def _read(self, places: Numbers) -> Iterator[Example]:
        starts, ends = self._starts[places], self._starts[places + 1]
        whole, first, end = b"", int(starts.min(initial=2**62)), int(ends.max(initial=0))
        if len(places) > 1 and end - first <= _MOST_BETWEEN * int((ends - starts).sum()):
            whole = self._file.read(first, end)
            starts, ends = starts - first, ends - first
        heads = zip(self._ids[places].tolist(), self._lines[places].tolist(), strict=True)
        for (identity, line), start, end in zip(heads, starts.tolist(), ends.tolist(), strict=True):
            content = whole[start:end] if whole else self._file.read(start, end)
            turns, group, tags, meta = orjson.loads(content)
            yield Example(
                id=f"{identity:016x}",
                messages=tuple(turns),
                source=f"{self._name}:{line}",
                group=group,
                tags=tuple(tags),
                meta=meta,
            )


class ExamplesById(Mapping[str, Example]):
    """Examples, found by id, of several the last."""

    def __init__(self, rows: Sequence[Example]) -> None:
        self._rows, ids = rows, columns_of(rows).ids
        self._order = np.argsort(ids, kind="stable")
        self._ids = ids[self._order]

    def __getitem__(self, identity: str) -> Example:
        place = int(np.searchsorted(self._ids, np.uint64(hash_of(identity.encode())), "right")) - 1
        row = self._rows[int(self._order[place])] if place >= 0 else None
        if row is None or row.id != identity:
            raise KeyError(identity)
        return row

    def __iter__(self) -> Iterator[str]:
        return iter(ids_of(self._rows))

    def __len__(self) -> int:
        return len(self._rows)


def hash_of(content: bytes) -> int:
    """Return 64 bits: among a million texts, two share them with a probability of 1 in 37 million."""
    return xxh3_64_intdigest(content)


def columns_of(rows: Sequence[Example]) -> ExampleColumns:
    """Return the columns of examples."""
    if isinstance(rows, StoredExamples):
        return rows.columns
    writer = _ColumnWriter()
    for row in rows:
        writer.add(row)
    return writer.columns()


def some_of(rows: Sequence[Example], numbers: Iterable[int]) -> Sequence[Example]:
    """Return the examples with these numbers."""
    if isinstance(rows, StoredExamples):
        return rows.at(np.fromiter(numbers, np.int64))
    return tuple(rows[number] for number in numbers)


def others(rows: Sequence[Example], numbers: Iterable[int]) -> Numbers:
    """Return the numbers of all other examples."""
    return np.setdiff1d(np.arange(len(rows)), np.fromiter(numbers, np.int64))


def by_id(rows: Sequence[Example]) -> Sequence[Example]:
    """Return examples in the order of their ids."""
    return rows.sorted() if isinstance(rows, StoredExamples) else tuple(sorted(rows, key=lambda row: row.id))


def ids_of(rows: Sequence[Example]) -> list[str]:
    """Return the ids of examples."""
    return rows.ids if isinstance(rows, StoredExamples) else [row.id for row in rows]


def rows_by_answer(rows: Sequence[Example]) -> tuple[Numbers, Numbers]:
    """Return the numbers of the examples answer by answer, and where each answer begins, with the end.

    Frequent answers come first, equally frequent answers by their text.
    """
    answers = columns_of(rows).answers
    _, first, inverse, sizes = np.unique(answers, return_index=True, return_inverse=True, return_counts=True)
    heads = np.empty(len(first), f"S{_PREFIX}")
    # As they lie in the file, so that many are read at once.
    reading = np.argsort(rows.places[first]) if isinstance(rows, StoredExamples) else np.arange(len(first))
    for number, row in zip(reading.tolist(), some_of(rows, first[reading].tolist()), strict=True):
        heads[number] = row.answer.encode("utf-8", "surrogatepass")[:_PREFIX]
    order = np.lexsort((heads, -sizes))
    same = (heads[order][1:] == heads[order][:-1]) & (sizes[order][1:] == sizes[order][:-1])
    for part in np.split(order, np.flatnonzero(~same) + 1) if same.any() else ():
        if len(part) > 1:  # a view of `order`
            part[:] = sorted(part.tolist(), key=lambda number: rows[int(first[number])].answer)
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return np.argsort(places[inverse], kind="stable"), np.concatenate([[0], np.cumsum(sizes[order])])


def answer_counts(rows: Sequence[Example]) -> Counter[str]:
    """Return how many examples have each answer, without spaces around it; blank answers are left out."""
    answers, first, sizes = np.unique(columns_of(rows).answers, return_index=True, return_counts=True)
    counts: Counter[str] = Counter()
    for answer, row, n in zip(answers.tolist(), first.tolist(), sizes.tolist(), strict=True):
        if answer:
            counts[rows[row].answer.strip()] += n
    return counts
