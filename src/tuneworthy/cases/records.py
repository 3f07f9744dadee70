"""Files to rows: JSONL, JSON, CSV, Parquet and YAML as a stream of (line, row), whatever the rows mean.

JSONL, CSV and Parquet stream; JSON and YAML files are read whole. A fault of one row goes to the journal
and the next row follows; only a file that cannot be read at all raises here.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import orjson

from tuneworthy.cases.faults import Journal, kind_of, show
from tuneworthy.errors import DataError

Container = Literal["jsonl", "json", "csv", "parquet", "yaml"]
Row = tuple[int, dict[str, Any]]

BOM = b"\xef\xbb\xbf"
_UTF8_HINT = "Save the file as UTF-8 (for example: iconv -f WINDOWS-1252 -t UTF-8)"
_JSON_HINT = "Mend the line, or take it out"
_LIST_KEYS = ("data", "items", "samples", "tests", "rows", "examples", "cases")
_MAX_DEPTH = 200  # orjson writes at most 254 levels
_MAX_CELL = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Source:
    """An opened file: how it is packed, and its rows."""

    container: Container
    rows: Iterator[Row]

    @property
    def is_table(self) -> bool:
        """Whether a row is a row of cells."""
        return self.container in {"csv", "parquet"}


def open_rows(path: Path, journal: Journal) -> Source:
    """Recognise how `path` is packed (by its name, then by its first bytes) and stream its rows.

    Raises:
        DataError: Not there, a folder, not readable, empty, or not the format that its name says.
    """
    with _reading(path), path.open("rb") as file:
        head = file.read(65536)
    if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise DataError(path, None, "UTF-8", "UTF-16", hint=_UTF8_HINT)
    if not head.removeprefix(BOM).strip():
        raise DataError(path, None, "at least one row", "an empty file", hint="Write one JSON object a line")
    suffix = path.suffix.lower()
    if head[:4] == b"PAR1" or suffix in {".parquet", ".pq"}:
        return Source("parquet", _parquet(path, journal))
    if suffix in {".csv", ".tsv"}:
        return Source("csv", _csv(path, journal))
    if suffix in {".yaml", ".yml"}:
        return Source("yaml", _yaml(path, journal))
    if suffix not in {".jsonl", ".ndjson"} and _is_one_document(head):
        whole = _whole_json(path)
        if whole is not None:
            return Source("json", _listed(whole, journal))
    return Source("jsonl", _jsonl(path, journal))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn the faults of the file system into `DataError`."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(path, None, "a file", "nothing there", hint="Mend the path, or write the file") from None
    except IsADirectoryError:
        raise DataError(path, None, "a file", "a folder", hint="Name a file in it") from None
    except OSError as error:
        raise DataError(path, None, "a file that can be read", str(error.strerror or error)) from None
    except ValueError:  # a null byte in the name
        raise DataError(repr(str(path)), None, "the name of a file", "a name that no file can have") from None


def _is_one_document(head: bytes) -> bool:
    """Whether a file that starts with `head` is one JSON document and not one a line."""
    text = head.removeprefix(BOM).lstrip()
    if text[:1] == b"[":
        return True
    if text[:1] != b"{":
        return False
    try:
        orjson.loads(text.split(b"\n", 1)[0])
    except orjson.JSONDecodeError:
        return True
    return b"\n" not in text.rstrip() and any(f'"{key}"'.encode() in text for key in _LIST_KEYS)


def _whole_json(path: Path) -> Any:
    """Return the document, or None if it is not JSON (then its lines are tried one by one)."""
    with _reading(path):
        content = path.read_bytes().removeprefix(BOM)
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None


def _listed(document: Any, journal: Journal) -> Iterator[Row]:
    """Rows of a JSON list, or of the list in an object such as ``{"data": [...]}``; numbered from 1."""
    if isinstance(document, dict):
        found = [document[key] for key in _LIST_KEYS if isinstance(document.get(key), list)]
        document = found[0] if found else [document]
    for number, row in enumerate(document, 1):
        if checked := _checked(row, number, journal):
            yield number, checked


def _checked(row: Any, line: int, journal: Journal) -> dict[str, Any] | None:
    """Return `row` if it is an object that can be hashed, else journal the fault."""
    if not isinstance(row, dict):
        journal.fault(line, "a JSON object", kind_of(row), 'Write {"input": ..., "expected": ...} or {"messages": ...}')
        return None
    try:
        orjson.dumps(row)
    except (TypeError, RecursionError):
        journal.fault(line, f"at most {_MAX_DEPTH} levels of nesting", "more")
        return None
    return row


def _jsonl(path: Path, journal: Journal) -> Iterator[Row]:
    loads = orjson.loads
    with _reading(path), path.open("rb") as file:
        _skip_bom(file)
        for line, raw in enumerate(file, 1):
            try:
                row = loads(raw)
            except orjson.JSONDecodeError as error:
                if raw.strip():
                    _journal_bad_line(raw, line, error, journal)
                continue
            if type(row) is not dict or raw.count(b"{") + raw.count(b"[") > _MAX_DEPTH:
                row = _checked(row, line, journal)
                if row is None:
                    continue
            yield line, row


def _skip_bom(file: BinaryIO) -> None:
    if file.read(3) != BOM:
        file.seek(0)


def _journal_bad_line(raw: bytes, line: int, error: orjson.JSONDecodeError, journal: Journal) -> None:
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError as bad:
        got = f"the byte 0x{raw[bad.start]:02x} at column {bad.start + 1}"
        journal.fault(line, "UTF-8", got, _UTF8_HINT)
        return
    what = error.msg.split(": line ")[0]
    journal.fault(line, "a JSON object on one line", f"{what} at column {error.colno}: {show(text, 50)}", _JSON_HINT)


def decoded_lines(path: Path, journal: Journal) -> Iterator[str]:
    """Lines of a text file; a byte that is not UTF-8 is journalled and replaced."""
    with _reading(path), path.open("rb") as file:
        _skip_bom(file)
        for line, raw in enumerate(file, 1):
            try:
                yield raw.decode()
            except UnicodeDecodeError as bad:
                got = f"the byte 0x{raw[bad.start]:02x} at column {bad.start + 1}"
                journal.fault(line, "UTF-8", got, _UTF8_HINT)
                yield raw.decode(errors="replace")


def _csv(path: Path, journal: Journal) -> Iterator[Row]:
    lines = decoded_lines(path, journal)
    first = next(lines, "")
    # A limit of the module, not of a reader; one above any sane cell stays in force.
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_CELL))
    reader = csv.reader(_chain(first, lines), delimiter=_delimiter(path, first), strict=True)
    rows = _csv_rows(reader, journal)
    header = next(rows, (1, []))[1]
    names = [name.strip() for name in header]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        journal.fault(1, "a header whose names differ", f"{show(repeated[0])} twice", "Rename one of the columns")
        return
    for line, cells in rows:
        if len(cells) == len(names):
            yield line, dict(zip(names, cells, strict=True))
        elif any(cells):
            journal.fault(line, f"{len(names)} cells, as in the header", str(len(cells)), "Put cells in double quotes")


def _csv_rows(reader: Any, journal: Journal) -> Iterator[tuple[int, list[str]]]:
    """Rows of a `csv.reader`, each with the line that it begins on."""
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            journal.fault(line, "a row of CSV", str(error), "Put the cell in double quotes and double those inside")
            continue
        if cells:
            yield line, cells


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(path: Path, header: str) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    return max(",;\t", key=header.count) if header.strip() else ","


def _parquet(path: Path, journal: Journal) -> Iterator[Row]:
    import pyarrow as pa
    from pyarrow import parquet

    number = 0
    with _reading(path):
        try:
            with parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=4096):
                    for cells in batch.to_pylist():
                        number += 1
                        row = plain(cells, number, journal)
                        if row is not None:
                            yield number, row
        except (pa.ArrowException, ValueError, TypeError, OSError) as error:
            if isinstance(error, FileNotFoundError | PermissionError):
                raise
            what = (str(error).splitlines() or [""])[0]
            raise DataError(path, number or None, "a Parquet file", what[:120], hint="Write the file again") from None


def plain(value: Any, line: int, journal: Journal) -> Any:
    """Return `value` as JSON data: dates and decimals become text; journal what cannot be kept."""
    try:
        return orjson.loads(orjson.dumps(value, default=_as_text, option=orjson.OPT_NON_STR_KEYS))
    except (TypeError, ValueError, RecursionError) as error:
        journal.fault(line, "values that JSON can hold", str(error)[:80], "Convert the column to text")
        return None


def _as_text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()  # UnicodeDecodeError is a ValueError: the caller journals it
    if isinstance(value, set | tuple):
        return list(value)
    return str(value)


def _yaml(path: Path, journal: Journal) -> Iterator[Row]:
    """The tests of a promptfoo configuration, each with the line that it begins on."""
    import yaml

    text = "".join(decoded_lines(path, journal))
    if journal.n_faults:
        return
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(io.StringIO(text))
    try:
        root = loader.get_single_node()
        document = loader.construct_document(root) if root is not None else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        what = str(getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__)
        journal.fault(mark.line + 1 if mark else None, "YAML", show(what, 120))
        return
    except (ValueError, TypeError, RecursionError, OverflowError, AttributeError, KeyError, IndexError) as error:
        journal.fault(None, "YAML", f"a value that cannot be read: {show(str(error), 80)}")
        return
    finally:
        loader.dispose()
    if not isinstance(document, dict) or not isinstance(document.get("tests"), list):
        got = kind_of(document.get("tests")) if isinstance(document, dict) else kind_of(document)
        hint = "Name the file of the tests itself" if isinstance(document, dict) and "tests" in document else ""
        journal.fault(None, "a promptfoo configuration with a list `tests`", got, hint)
        return
    for key in sorted({"prompts", "providers", "defaultTest", "scenarios"} & document.keys()):
        journal.note(f"promptfoo's `{key}` is not read", 0)
    nodes = next(value for key, value in root.value if key.value == "tests").value
    for node, test in zip(nodes, document["tests"], strict=True):
        line = node.start_mark.line + 1
        row = plain(test, line, journal)
        if row is not None and (checked := _checked(row, line, journal)) is not None:
            yield line, checked
