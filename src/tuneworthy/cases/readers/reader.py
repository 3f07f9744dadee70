"""Read a file of cases or examples, in whatever format it is: streamed, checked, all faults reported at once.

The invariant: every row is in the result, or in `dropped` with its reason, or named in the error. `stream_examples`
holds no more than a few rows: each is given out, or waits in the journal with its reason.
"""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from tuneworthy.cases import messages
from tuneworthy.cases.formats.case_rows import native_fields
from tuneworthy.cases.formats.columns import Columns, Read, parsed
from tuneworthy.cases.formats.dialects import check_words
from tuneworthy.cases.formats.example_rows import native_example
from tuneworthy.cases.formats.exports.unread import unread
from tuneworthy.cases.formats.registry import CASE_FORMATS, EXAMPLE_FORMATS, Convert, Fields, Format, detect
from tuneworthy.cases.readers.faults import NO_FACTS, Dropped, DroppedRow, Journal, Reject, Rejects, RowFault, show
from tuneworthy.cases.readers.files import Row, RowSource, open_rows
from tuneworthy.errors import DataError
from tuneworthy.registry import Registry
from tuneworthy.types import UNLABELLED, Case, Example, canonical, content_hash

R = TypeVar("R", Case, Example)
# Lines with the fields of a row; None where the journal got the row.
Converted = Iterator[tuple[int, Fields | None]]

# Of a file that is read whole.
MAX_ROWS = 5_000_000
_PEEK = 100
_PEEK_FAULTS = 1000
_NESTED = ("messages", "conversations", "request", "response", "request_body", "response_body", "history")
_PARSED = (*_NESTED, "tools", "meta", "metadata", "feedback", "scores")


@dataclass(frozen=True, slots=True)
class CaseFile:
    """The cases of a file.

    Attributes:
        cases: In file order; ids are unique.
        format: Packing and format, e.g. `jsonl/native`.
        notes: What was guessed, converted or left out, one line each, with counts.
        dropped: Rows that were left out.
    """

    cases: tuple[Case, ...]
    format: str
    notes: tuple[str, ...] = ()
    dropped: tuple[DroppedRow, ...] = ()


@dataclass(frozen=True, slots=True)
class ExampleFile:
    """The examples of a file, read from disk on access; attributes as in `CaseFile`."""

    examples: Sequence[Example]
    format: str
    notes: tuple[str, ...] = ()
    dropped: tuple[DroppedRow, ...] = ()


@dataclass(frozen=True, slots=True)
class ExampleStream:
    """The examples of a file, one at a time.

    Attributes:
        format: Packing and format, e.g. `jsonl+gzip/sharegpt`.
        rows: Line and keyword arguments of the `Example` (without `id` and `source`); None where the row of that line
            waits in the journal. Lines never go back.
        entry: The format of the rows; None where columns are named, or no row can be used.
    """

    format: str
    rows: Converted
    entry: Format | None


@dataclass(frozen=True, slots=True)
class _Noun:
    """What differs between reading cases and reading examples."""

    formats: Registry[Format]
    read: Read
    noun: str
    keep_rest: bool
    at_least_one: messages.Fault


_CASES = _Noun(CASE_FORMATS, native_fields, "cases", False, messages.NO_CASE)
_EXAMPLES = _Noun(EXAMPLE_FORMATS, native_example, "examples", True, messages.NO_EXAMPLE)


def read_cases(
    path: Path | str,
    *,
    input_column: str | Sequence[str] | None = None,
    expected_column: str | None = None,
    format: str | None = None,
    lenient: bool = False,
) -> CaseFile:
    """Read cases from `path`.

    Args:
        path: JSONL, JSON, CSV, Parquet or promptfoo YAML.
        input_column: The column (or key) of the question; several make a dict of variables.
        expected_column: The column (or key) of the right answer.
        format: Name of a case format; recognised if None.
        lenient: Whether rows without a question, and all rows of a question with two answers, are left out, which is
            noted; else they are faults.

    Raises:
        DataError: The file cannot be read, or rows are wrong (`DataFaults`: all of them).
    """
    journal = Journal(Path(path))
    journal.lenient = lenient
    cases, name, notes, dropped = _read_whole(
        journal, _CASES, _collect_cases, inputs=input_column, expected=expected_column, format=format
    )
    return CaseFile(tuple(cases), name, notes, dropped)


def read_examples(
    path: Path | str,
    *,
    input_column: str | Sequence[str] | None = None,
    expected_column: str | None = None,
    format: str | None = None,
    lenient: bool = False,
) -> ExampleFile:
    """Read examples from `path`; arguments and errors as in `read_cases`.

    The id of an example is the content hash of its messages; its `source` is ``file name:line``.
    Rows with the same messages are read once.
    """
    journal = Journal(Path(path))
    journal.lenient = lenient
    read = _read_whole(
        journal, _EXAMPLES, _collect_examples, inputs=input_column, expected=expected_column, format=format
    )
    return ExampleFile(*read)


def stream_examples(
    path: Path | str,
    journal: Rejects,
    *,
    input_column: str | Sequence[str] | None = None,
    expected_column: str | None = None,
    format: str | None = None,
) -> ExampleStream:
    """Read examples one by one; arguments as in `read_cases`, equal rows are all given.

    Args:
        journal: Gets the rows that are left out, and says after which line to begin.

    Raises:
        DataError: The file cannot be read, or its format is not known; never for a row.
    """
    return ExampleStream(*_opened(journal, _EXAMPLES, input_column, expected_column, format))


def _read_whole(
    journal: Journal,
    kind: _Noun,
    collect: Callable[[Converted, Journal], Sequence[R]],
    *,
    inputs: str | Sequence[str] | None,
    expected: str | None,
    format: str | None,
) -> tuple[Sequence[R], str, tuple[str, ...], tuple[DroppedRow, ...]]:
    """Return the rows of a file, its format, the notes and what was dropped; errors as in `read_cases`."""
    with _no_collection():
        name, converted, _ = _opened(journal, kind, inputs, expected, format)
        rows = collect(_bounded(converted, journal), journal)
    journal.raise_faults()
    if not rows:
        notes = "; ".join(journal.notes())
        raise DataError(
            journal.path,
            None,
            kind.at_least_one.expected,
            "no usable rows",
            hint=notes[:1].upper() + notes[1:],
        )
    return rows, name, journal.notes(), tuple(journal.dropped)


def _bounded(converted: Converted, journal: Journal) -> Converted:
    """Yield the first `MAX_ROWS` rows: a kilobyte of gzip or Parquet can stand for billions of them."""
    for number, (line, fields) in enumerate(converted):
        if number == MAX_ROWS:
            journal.fault(line, messages.MANY_ROWS.at(most=MAX_ROWS), messages.say("more_of_it"))
            return
        yield line, fields


@contextmanager
def _no_collection() -> Iterator[None]:
    """Pause the cycle collector: hundreds of thousands of live rows make it slow, and none is a cycle."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _opened(
    journal: Journal, kind: _Noun, inputs: str | Sequence[str] | None, expected: str | None, format: str | None
) -> tuple[str, Converted, Format | None]:
    source = open_rows(journal.path, journal)
    lines, head = _peek(source)
    if not head:
        return f"{source.name}/unknown", _without_rows(journal, lines), None
    try:
        columns = (inputs,) if isinstance(inputs, str) else tuple(inputs or ())
        entry = _chosen(kind, source, head, named=bool(columns or expected), format=format)
        if entry is None:
            keys = {key for _, row in head for key in row}
            convert: Convert = Columns(
                kind.read, keys, journal, columns, expected, keep_rest=kind.keep_rest, first=head[0][1]
            )
        else:
            convert = entry.converter(journal)
    except RowFault as error:
        raise DataError(journal.path, head[0][0], error.fault.expected, error.got, hint=error.fault.hint) from None
    rows: Iterator[Row] = chain(lines, source.rows)
    if entry is not None:
        rows = _records(entry, source, rows, journal)
    if journal.after and (entry is None or entry.records is None):
        with suppress(RowFault, Dropped):
            convert(head[0][1])  # what a converter learns from the first row
    name = "columns" if entry is None else entry.name
    return f"{source.name}/{name}", _converted(rows, convert, journal, kind), entry


def _records(entry: Format, source: RowSource, rows: Iterator[Row], journal: Journal) -> Iterator[Row]:
    """Return the rows that the format converts: cells parsed, what belongs together put together.

    Raises:
        DataError: The rows only say something about those of another file, and no other file is read with this one.
    """
    if entry.companion:
        if journal.alone:
            raise DataError(journal.path, None, messages.ALONE.expected, entry.title, hint=entry.companion)
        return ((line, None) for line, row in rows if row is None)
    if entry.title and journal.facts is NO_FACTS:
        journal.facts = facts_of([journal.path])
    if source.is_table and entry.name != "columns":
        rows = ((line, _with_parsed(row)) for line, row in rows)
    return rows if entry.records is None else entry.records(rows, journal)


class _Unheard(Rejects):
    """A journal for a pass over a file that is read again."""

    def _set_aside(self, reject: Reject) -> None:
        return


def facts_of(paths: Iterable[Path]) -> dict[str, list[Any]]:
    """Return what the rows of files say about rows that may stand elsewhere, such as scores, by `Format.facts`.

    Raises:
        DataError: A file cannot be read.
    """
    facts: dict[str, list[Any]] = {}
    for path in paths:
        journal = _Unheard(path)
        source = open_rows(path, journal)
        lines, head = _peek(source)
        with suppress(RowFault):
            entry = _chosen(_EXAMPLES, source, head, named=False, format=None) if head else None
            if entry is not None and entry.facts is not None:
                said = (fact for _, row in chain(lines, source.rows) if row is not None for fact in entry.facts(row))
                for key, value in said:
                    if [value] != (values := facts.setdefault(key, []))[-1:]:
                        values.append(value)
    return facts


def columns_of(path: Path) -> set[str]:
    """Return the names of the columns (or keys) of the first rows of a file.

    Raises:
        DataError: The file cannot be read.
    """
    return {key for _, row in _peek(open_rows(path, _Unheard(path)))[1] for key in row}


def _peek(source: RowSource) -> tuple[list[Row], list[tuple[int, dict[str, Any]]]]:
    """Return the first lines with their rows or faults, and the rows among them."""
    lines: list[Row] = []
    head: list[tuple[int, dict[str, Any]]] = []
    for line, row in source.rows:
        lines.append((line, row))
        if row is not None:
            head.append((line, _with_parsed(row) if source.is_table else row))
        if len(head) == _PEEK or len(lines) == _PEEK_FAULTS:
            break
    return lines, head


def _without_rows(journal: Journal, lines: list[Row]) -> Iterator[tuple[int, None]]:
    """Return the lines of a file none of whose rows can be used.

    Raises:
        DataError: Nothing says what is wrong with them, or there are too many of them to go on.
    """
    journal.raise_faults()
    reject = journal.first() if isinstance(journal, Rejects) else None
    if reject is None and not journal.n_faults:
        raise DataError(journal.path, None, messages.NO_ROW.expected, messages.say("none"), hint=messages.NO_ROW.hint)
    if reject is not None and len(lines) == _PEEK_FAULTS:
        raise DataError(
            journal.path,
            reject.line,
            reject.words,
            f"errors in each of the first {_PEEK_FAULTS} rows, such as {reject.got}",
        )
    return ((line, None) for line, _ in lines)


def _with_parsed(row: dict[str, Any] | None) -> Any:
    """Return a row of cells whose cells of lists and objects are parsed where they are JSON text."""
    if row is None:
        return None
    parse = [key for key in row if key in _PARSED and isinstance(row[key], str)]
    parse += [key for key in ("prompt", "completion") if isinstance(row.get(key), str) and _is_chat(parsed(row[key]))]
    return {**row, **{key: parsed(row[key]) for key in parse}} if parse else row


def _is_chat(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and "role" in value[0]


def _chosen(
    kind: _Noun, source: RowSource, head: list[tuple[int, dict[str, Any]]], *, named: bool, format: str | None
) -> Format | None:
    """Choose the format of the rows: the one asked for, or one that is recognised; None for columns.

    Raises:
        RowFault: No format is recognised, or it is that of a tool whose rows are not read.
    """
    if format is not None:
        return kind.formats.get(format)
    if named:
        return None
    keys = {key for _, row in head for key in row}
    first = head[0][1]
    recognised = detect(kind.formats, keys, first)
    if (recognised is None or not recognised.title) and (title := unread(keys)):
        raise RowFault(messages.UNREAD, title)
    if source.is_table and not _is_more_than_columns(recognised, first):
        return None
    if recognised is None:
        raise RowFault(
            messages.KNOWN_FORMAT.at(noun=kind.noun, names=", ".join(sorted(kind.formats))),
            messages.say("keys", names=", ".join(sorted(keys)[:12])) if keys else messages.say("empty_object"),
        )
    return recognised


def _is_more_than_columns(recognised: Format | None, first: dict[str, Any]) -> bool:
    """Whether a table is a tool's, or has cells that hold lists (Parquet), or a format's own columns."""
    plain = {"columns", "native", "input_expected", "inspect", "langfuse", "openai_evals"}
    if recognised is None or (recognised.name in plain and not recognised.title):
        return False
    nested = any(isinstance(first.get(key), list | dict) for key in (*_NESTED, "vars"))
    return nested or bool(recognised.title) or recognised.name in {"alpaca", "prompt_completion"}


def _converted(rows: Iterator[Row], convert: Convert, journal: Journal, kind: _Noun) -> Converted:
    """Convert the rows; None takes the place of one that the journal got."""
    for line, row in rows:
        if line <= journal.after:
            continue
        fields = None
        if row is not None:
            try:
                converted = convert(row)
                if kind is _EXAMPLES:
                    check_words(converted["messages"])
                fields = converted
            except RowFault as fault:
                journal.fault(line, fault.fault, fault.got, row)
            except Dropped as dropped:
                journal.drop(line, dropped.reason, row)
        yield line, fields


def _collect_cases(rows: Converted, journal: Journal) -> list[Case]:
    cases: list[Case] = []
    apart: set[int] = set()
    places: dict[str, tuple[int, int, bool]] = {}
    make_id = Case.make_id
    for line, fields in rows:
        if fields is None:
            continue
        given = "id" in fields
        if not given:
            fields["id"] = make_id(fields.get("input") or list(fields["messages"]), fields.get("tools", ()))
        case = Case(**fields)
        if case.id not in places:
            places[case.id] = (len(cases), line, given)
            cases.append(case)
            continue
        index, first, first_given = places[case.id]
        if given or first_given:
            journal.fault(line, messages.ONE_ID, f"{show(case.id)}, which is also used on line {first}")
        elif index in apart or (journal.lenient and _contradict(cases[index], case)):
            for row in {first, line} if index not in apart else {line}:
                journal.drop(row, messages.TWO_ANSWERS)
            apart.add(index)
        else:
            _settle(cases, index, case, (first, line), journal)
    return [case for index, case in enumerate(cases) if index not in apart] if apart else cases


def _contradict(known: Case, case: Case) -> bool:
    both = known.labelled and case.labelled
    return both and canonical_or_none(known.expected) != canonical_or_none(case.expected)


def _settle(cases: list[Case], index: int, case: Case, lines: tuple[int, int], journal: Journal) -> None:
    """Keep one of two rows that ask the same, or journal that they contradict each other."""
    known, (first, line) = cases[index], lines
    if not case.labelled or canonical_or_none(known.expected) == canonical_or_none(case.expected):
        journal.drop(line, messages.SAME_QUESTION)
    elif not known.labelled:
        cases[index] = replace(known, expected=case.expected)
        journal.drop(line, messages.GAVE_LABEL)
    else:
        here, there = show(case.expected, 30), show(known.expected, 30)
        journal.fault(line, messages.ONE_ANSWER, f"{here} here and {there} on line {first}")


def canonical_or_none(expected: Any) -> bytes | None:
    """Return the canonical form of an expected answer; None if it is UNLABELLED."""
    return None if expected is UNLABELLED else canonical(expected)


def _collect_examples(rows: Converted, journal: Journal) -> Sequence[Example]:
    from tuneworthy.cases.example_store import ExampleWriter

    writer = ExampleWriter(journal.path.name)
    for line, fields in rows:
        if fields is not None:
            writer.add(content_hash(fields["messages"]), line, fields)
    examples, again = writer.stored()
    for line in again:
        journal.drop(line, messages.SAME_MESSAGES)
    return examples
