"""Readers of case and example files in any format: streamed, checked, all faults reported at once.

The invariant: every row is in the result, or in `dropped` with its reason, or named in the error. `stream_examples`
keeps only a few rows in memory: each is yielded, or waits in the journal with its reason.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from tuneworthy.cases import messages
from tuneworthy.cases.formats.case_rows import native_fields
from tuneworthy.cases.formats.chats import check_words
from tuneworthy.cases.formats.columns import (
    EXPECTED_NAMES,
    Columns,
    all_differ,
    find_column,
    is_in_words,
    parsed,
    question_and_answers,
)
from tuneworthy.cases.formats.example_rows import native_example
from tuneworthy.cases.formats.registry import CASE_FORMATS, EXAMPLE_FORMATS, Convert, Fields, Format, detect, unread
from tuneworthy.cases.formats.values import at
from tuneworthy.cases.messages import DropReason, Fault
from tuneworthy.cases.readers.faults import (
    NO_FACTS,
    Dropped,
    Journal,
    Reject,
    Rejects,
    RowFault,
    data_error,
    show,
)
from tuneworthy.cases.readers.files import Row, Rows, RowSource, open_rows
from tuneworthy.errors import DataError
from tuneworthy.registry import Registry
from tuneworthy.types import (
    UNLABELLED,
    Case,
    CaseTuple,
    Example,
    Examples,
    JsonObject,
    Texts,
    TextTuple,
    canonical,
    content_hash,
    positional,
)

R = TypeVar("R", Case, Example)
# Lines with the fields of a row; None where the journal got the row.
Converted = Iterator[tuple[int, Fields | None]]

# Of a file that is read whole.
MAX_ROWS = 5_000_000
_PEEK = 100
_PEEK_FAULTS = 1000
# Further rows whose values say which column could be the answer: a file is often sorted by it.
_COMPARED = 10_000
_NESTED = ("messages", "conversations", "request", "response", "request_body", "response_body", "history")
# Keys with which a row of ours needs no column to be guessed.
_ANSWERED = (*EXPECTED_NAMES, "messages")
_PARSED = (*_NESTED, "tools", "meta", "metadata", "feedback", "scores")


@positional
class CaseFile:
    """The cases of a file.

    Attributes:
        cases: In file order; ids are unique.
        format: Container and format, e.g. `jsonl/native`.
        notes: Guesses, conversions and omissions, one line each, with counts.
        dropped: Rows that were left out.
    """

    cases: CaseTuple
    format: str
    notes: TextTuple
    dropped: tuple[Reject, ...]


@positional
class ExampleFile:
    """The examples of a file, read from disk on access; attributes as in `CaseFile`."""

    examples: Examples
    format: str
    notes: TextTuple
    dropped: tuple[Reject, ...]


@positional
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


@positional
class _Noun:
    formats: Registry[Format]
    read: Convert
    noun: str
    keep_rest: bool


_CASES = _Noun(CASE_FORMATS, native_fields, "cases", keep_rest=False)
_EXAMPLES = _Noun(EXAMPLE_FORMATS, native_example, "examples", keep_rest=True)


@positional
class _Options:
    """The caller's choice of columns; recognised where it is empty."""

    inputs: Texts = ()
    expected: str | None = None


def read_cases(
    path: Path | str,
    *,
    input_column: Texts = (),
    expected_column: str | None = None,
    lenient: bool = False,
) -> CaseFile:
    """Read cases from `path`.

    Args:
        path: JSONL, JSON, CSV, Parquet or promptfoo YAML.
        input_column: The column (or key) of the question; several make a dict of variables.
        expected_column: The column (or key) of the right answer.
        lenient: Whether rows without a question, and all rows of a question with two answers, are left out, which is
            noted; else they are faults.

    Raises:
        DataError: The file cannot be read, or rows are wrong (`DataFaults`: all of them).
    """
    journal = Journal(Path(path), lenient=lenient)
    cases, name = _read_whole(journal, _CASES, _collect_cases, _Options(input_column, expected_column))
    return CaseFile(tuple(cases), name, journal.notes(), tuple(journal.dropped))


def read_examples(
    path: Path | str,
    *,
    input_column: Texts = (),
    expected_column: str | None = None,
    lenient: bool = False,
) -> ExampleFile:
    """Read examples from `path`; arguments and errors as in `read_cases`.

    The id of an example is the content hash of its messages; its `source` is ``file name:line``.
    Rows with the same messages are read once.
    """
    journal = Journal(Path(path), lenient=lenient)
    examples, name = _read_whole(journal, _EXAMPLES, _collect_examples, _Options(input_column, expected_column))
    return ExampleFile(examples, name, journal.notes(), tuple(journal.dropped))


def stream_examples(
    path: Path | str,
    journal: Rejects,
    *,
    input_column: Texts = (),
    expected_column: str | None = None,
) -> ExampleStream:
    """Read examples one by one; arguments as in `read_cases`, equal rows are all given.

    Args:
        journal: Gets the rows that are left out.

    Raises:
        DataError: The file cannot be read, or its format is not known; never for a row.
    """
    return _opened(journal, _EXAMPLES, _Options(input_column, expected_column))


def _read_whole(
    journal: Journal, kind: _Noun, collect: Callable[[Converted, Journal], Sequence[R]], options: _Options
) -> tuple[Sequence[R], str]:
    stream = _opened(journal, kind, options)
    rows = collect(_bounded(stream.rows, journal), journal)
    journal.raise_faults()
    if not rows:
        notes = "; ".join(journal.notes())
        raise data_error(
            journal.path,
            Fault(f"at least one {kind.noun.removesuffix('s')}", notes[:1].upper() + notes[1:]),
            "no usable rows",
        )
    return rows, stream.format


def _bounded(converted: Converted, journal: Journal) -> Converted:
    """Yield the first `MAX_ROWS` rows: a kilobyte of gzip or Parquet can expand to billions of rows."""
    for number, (line, fields) in enumerate(converted):
        if number == MAX_ROWS:
            journal.fault(
                line, Fault(f"at most {MAX_ROWS} rows", "Split the file, or import it as data.", "too_many"), "more"
            )
            return
        yield line, fields


def _opened(journal: Journal, kind: _Noun, options: _Options) -> ExampleStream:
    source = open_rows(journal.path, journal)
    lines, head = _peek(source)
    if not head:
        return ExampleStream(f"{source.name}/unknown", _without_rows(journal, lines), None)
    try:
        entry = _chosen(kind, source, head, options)
        if entry is None or entry.name == "columns":
            keys = {key for _, row in (head if entry is None else head[:1]) for key in row}
            convert: Convert = Columns(
                kind.read,
                keys,
                journal,
                options.inputs,
                options.expected,
                keep_rest=kind.keep_rest,
                head=[row for _, row in head],
            )
        else:
            convert = entry.convert
    except RowFault as error:
        raise data_error(journal.path, error.fault, error.got, head[0][0]) from None
    rows: Rows = chain(lines, source.rows)
    if entry is not None:
        rows = _records(entry, source, rows, journal)
    name = "columns" if entry is None else entry.name
    return ExampleStream(f"{source.name}/{name}", _converted(rows, convert, journal, kind), entry)


def _records(entry: Format, source: RowSource, rows: Rows, journal: Journal) -> Rows:
    """Return the rows that the format converts: cells parsed, related rows joined.

    Raises:
        DataError: The rows only describe rows of another file, and no other file is read with this one.
    """
    if entry.companion:
        if journal.alone:
            raise data_error(journal.path, Fault("rows with an answer", entry.companion), entry.title)
        return ((line, None) for line, row in rows if row is None)
    if entry.title and journal.facts is NO_FACTS:
        journal.facts = facts_of([journal.path])
    if source.is_table and entry.name != "columns":
        rows = ((line, row and _with_parsed(row)) for line, row in rows)
    return rows if entry.records is None else entry.records(rows, journal)


class _Unheard(Rejects):
    def _set_aside(self, reject: Reject) -> None:
        return


def facts_of(paths: Iterable[Path]) -> dict[str, list[Any]]:
    """Return values such as scores that the rows of files give for rows of any file, by `Format.facts`.

    Raises:
        DataError: A file cannot be read.
    """
    facts: dict[str, list[Any]] = {}
    for path in paths:
        source = open_rows(path, _Unheard(path))
        lines, head = _peek(source)
        with suppress(RowFault):
            entry = _chosen(_EXAMPLES, source, head, _Options()) if head else None
            if entry is not None and entry.facts is not None:
                for _, row in chain(lines, source.rows):
                    for key, value in entry.facts(row) if row is not None else ():
                        values = facts.setdefault(key, [])
                        if values[-1:] != [value]:
                            values.append(value)
    return facts


def columns_of(path: Path) -> set[str]:
    """Return the names of the columns (or keys) of the first rows of a file.

    Raises:
        DataError: The file cannot be read.
    """
    return {key for row in first_rows(path) for key in row}


def guess_columns(
    path: Path, asked: Texts, *, examples: bool = False, labels: bool = False
) -> tuple[list[str], list[str]]:
    """Return the column of the question and those that could be the answer; none for a file in a known format.

    Args:
        path: The file.
        asked: The columns of the question, where they are known.
        examples: Whether the rows are examples.
        labels: Whether the answers are labels: a column whose values all differ is then no answer.

    Raises:
        DataError: The file cannot be read.
    """
    source = open_rows(path, _Unheard(path))
    head = _peek(source)[1]
    rows = [row for _, row in chain(head, islice(source.rows, _COMPARED)) if row is not None]
    entry = None
    if not head:  # the reader of the whole file reports it
        return [], []
    with suppress(RowFault):  # keys of no known format
        entry = _chosen(_EXAMPLES if examples else _CASES, source, head, _Options(asked))
    known = entry and (entry.name not in {"native", "columns"} or find_column(rows[0], _ANSWERED))
    question, answers = ([], []) if known else question_and_answers(rows, asked)
    return question, [name for name in answers if not (labels and all_differ([row.get(name) for row in rows]))]


def first_rows(path: Path) -> list[JsonObject]:
    """Return the first rows of a file.

    Raises:
        DataError: The file cannot be read.
    """
    return [row for _, row in _peek(open_rows(path, _Unheard(path)))[1]]


def _peek(source: RowSource) -> tuple[list[Row], list[tuple[int, JsonObject]]]:
    lines = []
    head = []
    for line, row in source.rows:
        lines.append((line, row))
        if row is not None:
            head.append((line, _with_parsed(row) if source.is_table else row))
        if len(head) == _PEEK or len(lines) == _PEEK_FAULTS:
            break
    return lines, head


def _without_rows(journal: Journal, lines: list[Row]) -> Iterator[tuple[int, None]]:
    """Return the lines of a file without a usable row.

    Raises:
        DataError: They have no fault, or there are too many faults to go on.
    """
    journal.raise_faults()
    reject = journal.first() if isinstance(journal, Rejects) else None
    if reject is None and not journal.n_faults:
        raise data_error(journal.path, messages.NO_ROW, "none")
    if reject is not None and len(lines) == _PEEK_FAULTS:
        raise DataError(
            journal.path,
            reject.line,
            reject.words,
            f"errors in each of the first {_PEEK_FAULTS} rows, such as {reject.got}",
        )
    return ((line, None) for line, _ in lines)


def _with_parsed(row: JsonObject) -> JsonObject:
    """Return a row of cells whose lists and objects are parsed from JSON text."""
    new = dict(row)
    for key, cell in row.items():
        if isinstance(cell, str) and (key in _PARSED or key in {"prompt", "completion"}):
            value = parsed(cell)
            if key in _PARSED or at(value, "0/role") is not None:
                new[key] = value
    return new


def _chosen(kind: _Noun, source: RowSource, head: list[tuple[int, JsonObject]], options: _Options) -> Format | None:
    """Return the recognised format of the rows; None for columns.

    Raises:
        RowFault: No format is recognised, or it is that of a tool whose rows are not read.
    """
    if options.inputs or options.expected:
        return None
    keys = {key for _, row in head for key in row}
    first = head[0][1]
    recognised = detect(kind.formats, keys, first)
    if (recognised is None or not recognised.title) and (title := unread(keys, first, in_words=is_in_words(first))):
        raise RowFault(
            "a format that is read",
            got=title,
            hint='Export the calls as OpenTelemetry (OTLP JSON), convert each row to {"messages": [...]}, '
            f"{messages.NAME_COLUMNS}",
        )
    if source.is_table and not _is_more_than_columns(recognised, first):
        return None
    if recognised is None:
        raise RowFault(
            f"a known format for {kind.noun} ({', '.join(sorted(kind.formats))})",
            got=messages.keys(sorted(keys)[:12]),
            hint=f"Rename the keys to `input` and `expected`, {messages.NAME_COLUMNS}",
        )
    return recognised


def _is_more_than_columns(recognised: Format | None, first: JsonObject) -> bool:
    """Whether a table is a tool's, has lists in cells (Parquet), or has a format's own columns."""
    plain = {"columns", "native", "input_expected", "inspect", "langfuse", "openai_evals"}
    if recognised is None or (recognised.name in plain and not recognised.title):
        return False
    nested = any(isinstance(first.get(key), list | dict) for key in (*_NESTED, "vars"))
    return nested or bool(recognised.title) or recognised.name in {"alpaca", "prompt_completion"}


def _converted(rows: Rows, convert: Convert, journal: Journal, kind: _Noun) -> Converted:
    for line, row in rows:
        fields = None
        if row is not None:
            try:
                converted = convert(row, journal)
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
    apart = set()
    places = {}
    for line, fields in rows:
        if fields is None:
            continue
        given = "id" in fields
        fields["id"] = case_id(fields)
        case = Case(**fields)
        if case.id not in places:
            places[case.id] = (len(cases), line, given)
            cases.append(case)
            continue
        index, first, first_given = places[case.id]
        before = cases[index]
        same = not case.labelled or canonical_or_none(before.expected) == canonical_or_none(case.expected)
        if given or first_given:
            journal.fault(line, messages.ONE_ID, f"{show(case.id)}, which is also used on line {first}")
        elif index in apart or (journal.lenient and before.labelled and not same):
            for row in {first, line} if index not in apart else {line}:
                journal.drop(row, DropReason("rows that ask the same question do not expect the same answer"))
            apart.add(index)
        elif same:
            journal.drop(line, DropReason("the same question as an earlier row"))
        elif not before.labelled:
            cases[index] = replace(before, expected=case.expected)
            journal.drop(
                line, DropReason("the same question as an earlier unlabelled row, which now has the label of this row")
            )
        else:
            journal.fault(
                line,
                Fault("one expected answer per question", "Decide which answer is correct, and remove the other row."),
                f"{show(case.expected, 30)} here and {show(before.expected, 30)} on line {first}",
            )
    return [case for index, case in enumerate(cases) if index not in apart] if apart else cases


def case_id(fields: Fields) -> str:
    return fields.get("id") or Case.make_id(fields.get("input") or list(fields["messages"]), fields.get("tools", ()))


def canonical_or_none(expected: Any) -> bytes | None:
    """Return the canonical form of an expected answer; None if it is UNLABELLED."""
    return None if expected is UNLABELLED else canonical(expected)


def _collect_examples(rows: Converted, journal: Journal) -> Examples:
    from tuneworthy.cases.example_store import ExampleWriter

    writer = ExampleWriter(journal.path.name)
    for line, fields in rows:
        if fields is not None:
            writer.add(content_hash(fields["messages"]), line, fields)
    examples, again = writer.stored()
    for line in again:
        journal.drop(line, DropReason("the same messages as an earlier row"))
    return examples
