"""Disk-backed sequence of examples, with the columns that splits and labels need as arrays.

Invariant: memory grows with the number of examples (some 60 bytes each), not with their texts.
"""

import re
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import orjson
from xxhash import xxh3_64_intdigest

from tuneworthy.arrays import Bools, Hashes, Ints
from tuneworthy.cases.normalize import asked_id, normalised_bytes, question_of
from tuneworthy.cases.stratified import Unit, components_of, members_of
from tuneworthy.cases.task_kind import Kind, parse_object
from tuneworthy.store.own_file import OwnFile, StoredSequence
from tuneworthy.types import (
    UNLABELLED,
    Case,
    CaseOrExample,
    Cases,
    Example,
    Examples,
    JsonMapping,
    NamedInts,
    TextTuple,
)

R = TypeVar("R", Case, Example)

# Characters of an answer by which equally frequent answers are put in order.
_PREFIX = 200
_IS_HASH = re.compile("[0-9a-f]{16}")


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
    groups: Ints
    asked: Hashes
    questions: Hashes
    answers: Hashes
    objects: Bools
    names: NamedInts

    def at(self, places: Ints) -> "ExampleColumns":
        return replace(
            self, **{one.name: getattr(self, one.name)[places] for one in fields(self) if one.name != "names"}
        )

    def scorable(self, kind: str) -> Bools:
        """Return which examples graders can score in a task of this kind."""
        fits: Bools = (self.asked != 0) & (self.answers != 0)
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

    def add(self, identity: str, line: int, fields: JsonMapping) -> None:
        self._columns.add(Example(id=identity, **fields))
        content = orjson.dumps(
            [fields["messages"], fields.get("group"), fields.get("tags", ()), fields.get("meta", {})],
            option=orjson.OPT_NON_STR_KEYS,
        )
        self._starts.append(self._file.write(content))
        self._lines.append(line)
        self._ids.append(int(identity, 16))

    def stored(self) -> "tuple[StoredExamples, Iterable[int]]":
        for one in (self._lines, self._ids):
            one.append(0)
        heads = np.array([self._starts, self._lines, self._ids])
        firsts = np.sort(np.unique(heads[2, :-1], return_index=True)[1])
        again = np.setdiff1d(np.arange(heads.shape[1] - 1), firsts, assume_unique=True)
        every = StoredExamples(self._file, self._name, heads, self._columns.columns())
        return every.at(firsts), heads[1, again].tolist()


class StoredExamples(StoredSequence[Example]):
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
        self.places = np.arange(heads.shape[1] - 1)

    def at(self, numbers: Ints) -> "StoredExamples":
        """Return those with these numbers, in this order."""
        some = copy(self)
        some.__dict__.pop("columns", None)
        some.places = self.places[numbers]
        return some

    def sorted(self) -> "StoredExamples":
        return self.at(np.argsort(self._ids[self.places], kind="stable"))

    @cached_property
    def columns(self) -> ExampleColumns:
        return self._columns.at(self.places)

    @property
    def ids(self) -> list[str]:
        return [f"{number:016x}" for number in self._ids[self.places].tolist()]

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Example]:
        return map(self._read, self.places.tolist())

    def item(self, number: int) -> Example:
        return self._read(int(self.places[number]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def _read(self, place: int) -> Example:
        turns, group, tags, meta = orjson.loads(self._file.read(int(self._starts[place]), int(self._starts[place + 1])))
        return Example(
            id=f"{int(self._ids[place]):016x}",
            messages=tuple(turns),
            source=f"{self._name}:{self._lines[place]}",
            group=group,
            tags=tuple(tags),
            meta=meta,
        )


def hash_of(content: bytes) -> int:
    """Return 64 bits: among a million texts, two share them with a probability of 1 in 37 million."""
    return xxh3_64_intdigest(content)


def columns_of(rows: Examples) -> ExampleColumns:
    if isinstance(rows, StoredExamples):
        return rows.columns
    writer = _ColumnWriter()
    for row in rows:
        writer.add(row)
    return writer.columns()


def some_of(rows: Sequence[R], numbers: Iterable[int]) -> Sequence[R]:
    return (
        rows.at(np.fromiter(numbers, np.int64))
        if isinstance(rows, StoredExamples)
        else tuple(rows[number] for number in numbers)
    )


def others(rows: Sequence[CaseOrExample], numbers: Iterable[int]) -> Ints:
    return np.setdiff1d(np.arange(len(rows)), np.fromiter(numbers, np.int64))


def by_id(rows: Examples) -> Examples:
    return rows.sorted() if isinstance(rows, StoredExamples) else tuple(sorted(rows, key=lambda row: row.id))


def ids_of(rows: Examples) -> list[str]:
    return rows.ids if isinstance(rows, StoredExamples) else [row.id for row in rows]


def rows_by_answer(rows: Examples) -> list[list[int]]:
    return sorted(
        members_of(columns_of(rows).answers.tolist()), key=lambda some: (-len(some), rows[some[0]].answer[:_PREFIX])
    )


def answer_counts(rows: Examples) -> Counter[str]:
    counts: Counter[str] = Counter()
    for some in members_of(columns_of(rows).answers.tolist()):
        counts[rows[some[0]].answer.strip()] += len(some)
    del counts[""]
    return counts


def asking(pool: Examples, kind: Kind, ids: Collection[str]) -> Ints:
    columns = columns_of(pool)
    wanted = np.array([int(one, 16) for one in ids if _IS_HASH.fullmatch(one)], np.uint64)
    return np.flatnonzero(np.isin(columns.asked, wanted) & columns.scorable(kind.name))


def units_to_draw(
    pool: Examples, cases: Cases, kind: Kind, convert: Callable[[Example, Kind], Case | None]
) -> Iterator[Unit]:
    """Yield the units from which dev cases are drawn.

    A unit has a scorable row, no question with two answers, and neither a question nor a group of the cases.

    Args:
        pool: Sorted by id.
        cases: Those of test.
        kind: Of the task.
        convert: Returns an example as a case.
    """
    columns, ids = columns_of(pool), ids_of(pool)
    tested = np.array([hash_of(normalised_bytes(question_of(case))) for case in cases], np.uint64)
    groups = [columns.names.get(case.group or "", -2) for case in cases]
    barred = (np.isin(columns.questions, tested) | np.isin(columns.groups, groups)).tolist()
    scorable = columns.scorable(kind.name).tolist()
    asked, answers = columns.asked.tolist(), columns.answers.tolist()
    strata = {}
    shared: dict[TextTuple, Counter[str]] = {}  # a million units have few different counts

    def contradicts(row: int, other: int) -> bool:
        if answers[row] == answers[other]:
            return False
        case, first = convert(pool[row], kind), convert(pool[other], kind)
        return (case and case.expected) != (first and first.expected)

    for members in _units(columns):
        firsts: dict[int, int] = {}  # one row per case
        rows = [row for row in members if scorable[row]]
        for row in rows:
            firsts.setdefault(asked[row], row)
        if not rows or any(barred[row] for row in members) or any(contradicts(row, firsts[asked[row]]) for row in rows):
            continue
        for row in firsts.values():
            if kind.name == "label" and answers[row] not in strata:
                strata[answers[row]] = f"label {pool[row].answer.strip()}"
        names = tuple(strata.get(answers[row], "answer") for row in firsts.values())
        yield Unit(ids[members[0]], members, shared.setdefault(names, Counter(names)))


def _units(columns: ExampleColumns) -> list[list[int]]:
    _, question = np.unique(columns.questions, return_inverse=True)
    rows = np.flatnonzero(columns.groups >= 0)
    edges = np.array([question[rows], len(question) + columns.groups[rows]]).T
    return members_of(components_of(edges, len(question) + len(columns.names))[question].tolist())
