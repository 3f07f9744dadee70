"""Files to rows: JSONL, JSON, CSV, Parquet and YAML as a stream of (line, row), whatever the rows mean.

JSONL, CSV and Parquet stream, also out of gzip; JSON and YAML are read whole up to 64 MiB, and a larger JSON list
streams. A fault of one row goes to the journal, ``(line, None)`` takes the place of the row, and the next row follows:
lines never go back, and each has a row or a fault. What follows a syntax error in a JSON list is not read. Only a file
that cannot be read at all raises here. Memory is bounded: a line or a cell above `MAX_LINE` is a fault, and is passed
over without being held; of a JSON list one element is held at a time.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import orjson

from tuneworthy.cases.readers.faults import Journal, kind_of, show
from tuneworthy.errors import DataError
from tuneworthy.extras import require

Container = Literal["jsonl", "json", "csv", "parquet", "yaml"]
Row = tuple[int, dict[str, Any] | None]

BOM = b"\xef\xbb\xbf"
MAX_LINE = 16 * 2**20
_GZIP = b"\x1f\x8b"
_UTF8_HINT = "Save the file as UTF-8 (for example: iconv -f WINDOWS-1252 -t UTF-8)"
_JSON_HINT = "Mend the line, or take it out"
_GZIP_HINT = "Fetch or write the file again"
LIST_KEYS = ("data", "items", "samples", "tests", "rows", "examples", "cases")
_MAX_DEPTH = 200  # orjson writes at most 254 levels
_MAX_WHOLE = 64 * 2**20
_HEAD = 65536
_REASON = re.compile(r"^(?:b['\"])?(?:parse|lexical) error: |\.?\\n.*", re.DOTALL)
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)


@dataclass(frozen=True, slots=True)
class RowSource:
    """An opened file: how it is packed, and its rows."""

    container: Container
    rows: Iterator[Row]
    packed: str = ""

    @property
    def is_table(self) -> bool:
        """Whether a row is a row of cells."""
        return self.container in {"csv", "parquet"}

    @property
    def name(self) -> str:
        """The container, and how it is compressed: `jsonl`, `csv+gzip`."""
        return f"{self.container}+{self.packed}" if self.packed else self.container


def open_rows(path: Path, journal: Journal) -> RowSource:
    """Recognise how `path` is packed (by its name, then by its first bytes) and stream its rows.

    Raises:
        DataError: Not there, a folder, not readable, empty, or not the format that its name says.
    """
    with _reading(path), _unpacked(path) as file:
        packed = "gzip" if _is_gzip(path) else ""
        head = _head(file)
    if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise DataError(path, None, "UTF-8", "UTF-16", hint=_UTF8_HINT)
    if not head.removeprefix(BOM).strip():
        raise DataError(path, None, "at least one row", "an empty file", hint="Write one JSON object a line")
    suffix = _suffix(path)
    if head[:4] == b"PAR1" or suffix in {".parquet", ".pq"}:
        return RowSource("parquet", _parquet(path, journal), packed)
    if suffix in {".csv", ".tsv"}:
        return RowSource("csv", _csv(path, journal), packed)
    if suffix in {".yaml", ".yml"}:
        return RowSource("yaml", _yaml(path, journal), packed)
    if suffix not in {".jsonl", ".ndjson"} and _is_one_document(head):
        whole = _whole_json(path)
        if whole is not None:
            return RowSource("json", _document(whole, journal), packed)
        prefix = _list_prefix(path)
        if prefix is not None:
            return RowSource("json", _list(path, prefix, journal), packed)
    return RowSource("jsonl", _jsonl(path, journal), packed)


def _suffix(path: Path) -> str:
    """Return the last suffix in lower case, that of the compression aside."""
    bare = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return bare.suffix.lower()


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def _unpacked(path: Path) -> BinaryIO:
    """Open a file, or what is in it if it is gzip by its first bytes."""
    return cast(BinaryIO, gzip.open(path, "rb")) if _is_gzip(path) else path.open("rb")


def _head(file: Any) -> bytes:
    """Return the first bytes; fewer if the gzip file is damaged there."""
    head = b""
    try:
        while len(head) < _HEAD and (more := file.read1(_HEAD - len(head))):
            head += more
    except _DAMAGED as error:
        if not head:
            raise OSError(f"a gzip file that is damaged from its start ({error})") from None
    return head


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
    return b"\n" not in text.rstrip() and any(f'"{key}"'.encode() in text for key in LIST_KEYS)


def _whole_json(path: Path) -> Any:
    """Return the document, or None if it is not JSON or larger than what is read whole."""
    content = _whole(path)
    try:
        return None if content is None else orjson.loads(content)
    except orjson.JSONDecodeError:
        return None


def _whole(path: Path) -> bytes | None:
    """Return the content of a file, or None if there is more than should be held, or it is damaged."""
    with _reading(path), _unpacked(path) as file:
        try:
            content = file.read(_MAX_WHOLE + 1)
        except _DAMAGED:
            return None
    return content.removeprefix(BOM) if len(content) <= _MAX_WHOLE else None


def _document(document: Any, journal: Journal) -> Iterator[Row]:
    """Rows of a document: its elements if it is a list, those of the list in it, or itself."""
    rows = document if isinstance(document, list) else [document]
    if isinstance(document, dict):
        rows = next((document[key] for key in LIST_KEYS if isinstance(document.get(key), list)), rows)
    for number, row in enumerate(rows, 1):
        yield number, _checked(row, number, journal)


def _list_prefix(path: Path) -> str | None:
    """Return where the rows of a JSON document are, for ijson: the list itself, or one under a key of `LIST_KEYS`."""
    import ijson

    with _reading(path), _unpacked(path) as file:
        _pass_bom(file)
        try:
            for prefix, event, _ in ijson.parse(file, use_float=True):
                if event == "start_array" and prefix in {"", *LIST_KEYS}:
                    return f"{prefix}.item" if prefix else "item"
        except (ijson.JSONError, *_DAMAGED):
            return None
    return None


def _pass_bom(file: BinaryIO) -> None:
    if file.read(len(BOM)) != BOM:
        file.seek(0)


def _list(path: Path, prefix: str, journal: Journal) -> Iterator[Row]:
    """Rows of the JSON list at `prefix`, numbered from 1."""
    import ijson

    number = 0
    with _reading(path), _unpacked(path) as file:
        _pass_bom(file)
        try:
            for number, row in enumerate(ijson.items(file, prefix, use_float=True), 1):
                yield number, _checked(row, number, journal)
        except ijson.JSONError as error:
            reason = str(error.args[0])
            code = "not_utf8" if "UTF8" in reason else "not_json"
            got = _REASON.sub("", reason).splitlines()[0]
            journal.fault(number + 1, "a JSON object as element of the list", got, _JSON_HINT, code=code)
            yield number + 1, None
        except _DAMAGED as error:
            yield _cut(number + 1, error, journal)


def _checked(row: Any, line: int, journal: Journal) -> dict[str, Any] | None:
    """Return `row` if it is an object that can be hashed, else journal the fault."""
    if not isinstance(row, dict):
        hint = 'Write {"input": ..., "expected": ...} or {"messages": ...}'
        journal.fault(line, "a JSON object", kind_of(row), hint, code="not_an_object", raw=row)
        return None
    try:
        orjson.dumps(row)
    except (TypeError, RecursionError):
        journal.fault(line, f"at most {_MAX_DEPTH} levels of nesting", "more", code="too_deep")
        return None
    return row


def _lines(path: Path, journal: Journal) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines without byte order marks; None is one that is too long, or where a damaged file ends."""
    line = 0
    with _reading(path), _unpacked(path) as file:
        try:
            while raw := file.readline(MAX_LINE + 1):
                line += 1
                if len(raw) > MAX_LINE and raw[-1:] != b"\n":
                    _too_long(len(raw) + _pass_over(file), line, journal, "a line", raw)
                    yield line, None
                else:
                    yield line, raw.removeprefix(BOM)  # where files were put together, also in the middle
        except _DAMAGED as error:
            yield _cut(line + 1, error, journal)


def _pass_over(file: BinaryIO) -> int:
    """Read on to the end of the line, holding little; return how many bytes that were."""
    size = 0
    while part := file.readline(2**20):
        size += len(part)
        if part[-1:] == b"\n":
            break
    return size


def _too_long(size: int, line: int, journal: Journal, what: str, raw: bytes = b"") -> None:
    got = f"one of {size / 2**20:.0f} MiB"
    journal.fault(line, f"{what} of at most {MAX_LINE >> 20} MiB", got, code="too_long", raw=raw[:1024] or None)


def _cut(line: int, error: Exception, journal: Journal) -> tuple[int, None]:
    """Journal where a damaged file ends: what stood before it is kept."""
    ends = isinstance(error, EOFError)
    got = "one that ends too early" if ends else f"a damaged one ({show(str(error), 60)})"
    journal.fault(line, "a whole gzip file", got, _GZIP_HINT, code="cut_off")
    return line, None


def _jsonl(path: Path, journal: Journal) -> Iterator[Row]:
    loads = orjson.loads
    for line, raw in _lines(path, journal):
        if raw is None:
            yield line, None
            continue
        try:
            row = loads(raw)
        except orjson.JSONDecodeError as error:
            if raw.strip():
                _bad_json(raw, line, error, journal, "a JSON object on one line")
                yield line, None
            continue
        if type(row) is not dict or raw.count(b"{") + raw.count(b"[") > _MAX_DEPTH:
            row = _checked(row, line, journal)
        yield line, row


def _bad_json(raw: bytes, line: int, error: orjson.JSONDecodeError, journal: Journal, expected: str) -> None:
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError as bad:
        _not_utf8(raw, line, bad, journal)
        return
    what = error.msg.split(": line ")[0]
    got = f"{what} at column {error.colno}: {show(text, 50)}"
    journal.fault(line, expected, got, _JSON_HINT, code="not_json", raw=raw)


def _not_utf8(raw: bytes, line: int, bad: UnicodeDecodeError, journal: Journal) -> None:
    got = f"the byte 0x{raw[bad.start]:02x} at column {bad.start + 1}"
    journal.fault(line, "UTF-8", got, _UTF8_HINT, code="not_utf8", raw=raw)


def decoded_lines(path: Path, journal: Journal) -> Iterator[str]:
    """Lines of a text file; a byte that is not UTF-8 is journalled and replaced."""
    for line, raw in _lines(path, journal):
        if raw is None:
            continue
        try:
            yield raw.decode()
        except UnicodeDecodeError as bad:
            _not_utf8(raw, line, bad, journal)
            yield raw.decode(errors="replace")


class _CsvLines:
    """Lines for `csv.reader`, which asks for no more than the row needs; remembers the last of them that was faulty."""

    def __init__(self, path: Path, journal: Journal) -> None:
        self.lines = _lines(path, journal)
        self.journal = journal
        self.faulty = 0
        self.first = ""
        self.first = next(self, "")
        self._again = bool(self.first)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.first and self._again:
            self._again = False
            return self.first
        line, raw = next(self.lines)
        if raw is None:
            self.faulty = line
            return "\n"
        try:
            return raw.decode()
        except UnicodeDecodeError as bad:
            _not_utf8(raw, line, bad, self.journal)
            self.faulty = line
            return raw.decode(errors="replace")

    def was_faulty(self) -> int:
        """Return the last line that was faulty since the last call, or 0."""
        faulty, self.faulty = self.faulty, 0
        return faulty


def _csv(path: Path, journal: Journal) -> Iterator[Row]:
    lines = _CsvLines(path, journal)
    # A limit of the module, not of a reader; one above any sane cell stays in force.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    reader = csv.reader(lines, delimiter=_delimiter(path, lines.first), strict=True)
    rows = _csv_rows(reader, lines, journal)
    line, header = next(rows, (1, None))
    if header is None:
        yield line, None
        return
    names = [name.strip() for name in header]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        got = f"{show(repeated[0])} twice"
        journal.fault(1, "a header whose names differ", got, "Rename one of the columns", code="bad_header")
        yield 1, None
        return
    for line, cells in rows:
        if cells is None:
            yield line, None
        elif len(cells) == len(names):
            yield line, dict(zip(names, cells, strict=True))
        elif any(cells):
            expected = f"{len(names)} cells, as in the header"
            hint = "Put cells in double quotes"
            journal.fault(line, expected, str(len(cells)), hint, code="wrong_cells", raw=cells)
            yield line, None


def _csv_rows(reader: Any, lines: _CsvLines, journal: Journal) -> Iterator[tuple[int, list[str] | None]]:
    """Rows of a `csv.reader`, each with the line that it begins on; None is a faulty one."""
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            if faulty := lines.was_faulty():
                yield faulty, None
            return
        except csv.Error as error:
            span = f" (lines {line} to {reader.line_num})" if reader.line_num > line else ""
            hint = "Put the cell in double quotes and double those inside"
            journal.fault(line, "a row of CSV", f"{error}{span}", hint, code="bad_csv")
            yield max(line, lines.was_faulty()), None
            continue
        if faulty := lines.was_faulty():
            yield faulty, None
        elif cells:
            yield line, cells


def _delimiter(path: Path, header: str) -> str:
    if _suffix(path) == ".tsv":
        return "\t"
    return max(",;\t", key=header.count) if header.strip() else ","


def _parquet(path: Path, journal: Journal) -> Iterator[Row]:
    require("pyarrow")
    import pyarrow as pa
    from pyarrow import parquet

    number = 0
    with _reading(path):
        try:
            with parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
                for batch in file.iter_batches(batch_size=1024, use_threads=False):
                    if number % 2**16 == 0:
                        pa.default_memory_pool().release_unused()  # or it keeps what earlier row groups took
                    for cells in batch.to_pylist():
                        number += 1
                        yield number, plain(cells, number, journal)
        except (pa.ArrowException, ValueError, TypeError, OSError) as error:
            if isinstance(error, FileNotFoundError | PermissionError):
                raise
            what = (str(error).splitlines() or [""])[0][:120]
            if not number:
                raise DataError(path, None, "a Parquet file", what, hint="Write the file again") from None
            journal.fault(number + 1, "a whole Parquet file", what, "Write the file again", code="cut_off")
            yield number + 1, None


def plain(value: Any, line: int, journal: Journal) -> Any:
    """Return `value` as JSON data: dates and decimals become text; journal what cannot be kept."""
    try:
        return orjson.loads(orjson.dumps(value, default=_as_text, option=orjson.OPT_NON_STR_KEYS))
    except (TypeError, ValueError, RecursionError) as error:
        hint = "Convert the column to text"
        journal.fault(line, "values that JSON can hold", str(error)[:80], hint, code="not_json")
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

    if _whole(path) is None:
        raise DataError(path, None, f"a YAML file of at most {_MAX_WHOLE >> 20} MiB, undamaged", "another")
    text = "".join(decoded_lines(path, journal))
    if journal.n_faults:
        yield text.count("\n") + 1, None
        return
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(io.StringIO(text))
    try:
        root = loader.get_single_node()
        document = loader.construct_document(root) if root is not None else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        what = str(getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__)
        journal.fault(mark.line + 1 if mark else None, "YAML", show(what, 120))
        yield mark.line + 1 if mark else 1, None
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
        yield line, None if row is None else _checked(row, line, journal)
