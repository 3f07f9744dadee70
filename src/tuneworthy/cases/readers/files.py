"""Files to rows: JSONL, JSON, CSV, Excel, Parquet and YAML as a stream of (line, row), whatever the rows mean.

JSONL, CSV and Parquet stream, also out of gzip; JSON and YAML are read whole up to 16 MiB, and a larger JSON list
streams. A fault of one row goes to the journal, ``(line, None)`` takes the place of the row, and the next row follows:
lines never go back, and each has a row or a fault. What follows a syntax error in a JSON list is not read. Only a file
that cannot be read at all raises here. Memory is bounded: a line or a cell above `MAX_LINE` is a fault, and is passed
over without being held; of a JSON list one element is held at a time.
"""

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import orjson

from tuneworthy import limited
from tuneworthy.cases import messages
from tuneworthy.cases.messages import Fault
from tuneworthy.cases.readers.excel_child import excel_rows
from tuneworthy.cases.readers.faults import Journal, kind_of, show
from tuneworthy.cases.readers.parquet_child import json_bytes, parquet_rows
from tuneworthy.errors import DataError, UserError
from tuneworthy.extras import require
from tuneworthy.input_files import open_input
from tuneworthy.yaml_text import check_size

Container = Literal["jsonl", "json", "csv", "excel", "parquet", "yaml"]
Row = tuple[int, dict[str, Any] | None]

BOM = b"\xef\xbb\xbf"
MAX_LINE = 16 * 2**20
MAX_COLUMNS = 2000
_GZIP = b"\x1f\x8b"
# What a file of Excel begins with: a zip archive, or the format before 2007.
_EXCEL = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
LIST_KEYS = (
    *("data", "items", "samples", "tests", "rows", "examples", "cases", "runs", "loglines"),
    *("resourceSpans", "resourceLogs"),
)
_MAX_DEPTH = 200  # orjson writes at most 254 levels
_MAX_WHOLE = 16 * 2**20
_HEAD = 65536
# Rows of a Parquet or Excel file that the child hands over at once, and the processor time that these may take,
# seconds. Where they are too much for it, rows come one by one.
_BATCH = 512
_BATCH_S = 10.0
_REASON = re.compile(r"^(?:b['\"])?(?:parse|lexical) error: |\.?\\n.*", re.DOTALL)
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)


class _Gzip(gzip.GzipFile):
    """A compressed file that is closed with its reader."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(fileobj=file)
        self._below = file

    def close(self) -> None:
        """Close both."""
        super().close()
        self._below.close()


@dataclass(frozen=True, slots=True)
class RowSource:
    """An opened file: how it is packed, and its rows."""

    container: Container
    rows: Iterator[Row]
    packed: str = ""

    @property
    def is_table(self) -> bool:
        """Whether a row is a row of cells."""
        return self.container in {"csv", "excel", "parquet"}

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
        raise DataError(path, None, messages.UTF8.expected, "UTF-16", hint=messages.UTF8.hint)
    if not head.removeprefix(BOM).strip():
        raise DataError(path, None, messages.NO_ROW.expected, messages.say("empty_file"), hint=messages.NO_ROW.hint)
    suffix = _suffix(path)
    if head[:4] == b"PAR1" or suffix in {".parquet", ".pq"}:
        return RowSource("parquet", _parquet(path, journal), packed)
    if head.startswith(_EXCEL) or suffix in {".xlsx", ".xls"}:
        return RowSource("excel", _excel(path, journal), packed)
    if suffix in {".csv", ".tsv"}:
        return RowSource("csv", _csv(path, journal), packed)
    if suffix in {".yaml", ".yml"}:
        return RowSource("yaml", _yaml(path, journal), packed)
    if suffix not in {".jsonl", ".ndjson"} and _is_one_document(head):
        if (whole := _whole_json(path)) is not None:
            return RowSource("json", _document(whole, journal), packed)
        if (prefix := _list_prefix(path)) is not None:
            return RowSource("json", _list(path, prefix, journal), packed)
    return RowSource("jsonl", _jsonl(path, journal), packed)


def _suffix(path: Path) -> str:
    """Return the last suffix in lower case, that of the compression aside."""
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


def _is_gzip(path: Path) -> bool:
    with open_input(path) as file:
        return file.read(2) == _GZIP


def _unpacked(path: Path) -> BinaryIO:
    file = open_input(path)
    return cast(BinaryIO, _Gzip(file)) if _is_gzip(path) else file


def _head(file: Any) -> bytes:
    """Return the first bytes; fewer if the gzip file is damaged there."""
    head = b""
    try:
        while len(head) < _HEAD and (more := file.read1(_HEAD - len(head))):
            head += more
    except _DAMAGED as error:
        if not head:
            raise OSError(f"a corrupt gzip file ({error})") from None
    return head


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn the faults of the file system into `DataError`."""
    try:
        yield
    except FileNotFoundError:
        raise _file_error(path, messages.NO_FILE, "nothing at that path") from None
    except IsADirectoryError:
        raise _file_error(path, messages.FOLDER, "a folder") from None
    except OSError as error:
        raise _file_error(path, messages.UNREADABLE, str(error.strerror or error)) from None
    except ValueError:  # a null byte in the name
        raise _file_error(repr(str(path)), messages.FILE_NAME, "an invalid file name") from None


def _file_error(path: object, fault: Fault, got: str) -> DataError:
    return DataError(path, None, fault.expected, got, hint=fault.hint)


def _is_one_document(head: bytes) -> bool:
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
    content = _whole(path)
    try:
        return None if content is None else orjson.loads(content)
    except orjson.JSONDecodeError:
        return None


def _whole(path: Path) -> bytes | None:
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
        try:
            _pass_bom(file)
            for prefix, event, _ in ijson.parse(_shallow(_Element(file), 2 * _MAX_DEPTH)):
                if event == "start_array" and prefix in {"", *LIST_KEYS}:
                    return f"{prefix}.item" if prefix else "item"
        except (ijson.JSONError, *_DAMAGED):
            return None
    return None


class _Element:
    """A file that `ijson` reads on for one element: it may be as large as a line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        import ijson

        self.size += size
        if self.size > MAX_LINE:
            raise ijson.JSONError(f"an element of more than {MAX_LINE >> 20} MiB")
        return self._file.read(size)


def _shallow(file: _Element, level: int) -> Iterator[tuple[str, Any]]:
    """Yield the events of a JSON document; the path to a value would grow with every level of one that nests deeply.

    Args:
        file: Positioned.
        level: How deep the container of its elements is; each of these may be large.
    """
    import ijson

    depth = 0
    for event, value in ijson.basic_parse(file, use_float=True):
        depth += event.startswith("start_") - event.startswith("end_")
        if depth > 2 * _MAX_DEPTH:  # `_checked` reports a row above `_MAX_DEPTH`
            raise ijson.JSONError(f"more than {2 * _MAX_DEPTH} levels of nesting")
        if depth <= level:
            file.size = 0
        yield event, value


def _pass_bom(file: BinaryIO) -> None:
    if file.read(len(BOM)) != BOM:
        file.seek(0)


def _list(path: Path, prefix: str, journal: Journal) -> Iterator[Row]:
    import ijson

    number, packed = 0, _is_gzip(path)
    with _reading(path), _unpacked(path) as file:
        _pass_bom(file)
        try:
            events = ijson.parse(_shallow(_Element(file), prefix.count(".") + 1))
            for number, row in enumerate(ijson.items(events, prefix), 1):
                if packed and file.tell() > journal.MAX_UNPACKED:
                    yield _too_much(number, journal)
                    return
                yield number, _checked(row, number, journal)
        except ijson.JSONError as error:
            reason = str(error.args[0])
            code = "not_utf8" if "UTF8" in reason else "not_json"
            got = _REASON.sub("", reason).splitlines()[0]
            journal.fault(number + 1, messages.JSON_ELEMENT._replace(code=code), got)
            yield number + 1, None
        except _DAMAGED as error:
            yield _cut(number + 1, error, journal)


def _checked(row: Any, line: int, journal: Journal) -> dict[str, Any] | None:
    """Return `row` if it is an object that can be hashed, else journal the fault."""
    if not isinstance(row, dict):
        journal.fault(line, messages.NOT_OBJECT, kind_of(row), row)
        return None
    try:
        orjson.dumps(row)
    except (TypeError, RecursionError):
        journal.fault(line, messages.TOO_DEEP.at(depth=_MAX_DEPTH), "deeper nesting")
        return None
    return row


def _lines(path: Path, journal: Journal) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines without byte order marks; None is one that is too long, or where a damaged file ends."""
    line, packed = 0, _is_gzip(path)
    with _reading(path), _unpacked(path) as file:
        try:
            while raw := file.readline(MAX_LINE + 1):
                line += 1
                if packed and file.tell() > journal.MAX_UNPACKED:
                    yield _too_much(line, journal)
                    return
                if len(raw) > MAX_LINE and raw[-1:] != b"\n":
                    got = messages.say("too_large", size=(len(raw) + _pass_over(file)) / 2**20)
                    journal.fault(line, messages.TOO_LONG.at(size=MAX_LINE >> 20), got, raw[:1024])
                    yield line, None
                else:
                    yield line, raw.removeprefix(BOM)  # where files were put together, also in the middle
        except _DAMAGED as error:
            yield _cut(line + 1, error, journal)


def _pass_over(file: BinaryIO) -> int:
    """Read on to the end of the line, holding little; return how many bytes that were."""
    size, part = 0, b""
    while part[-1:] != b"\n" and (part := file.readline(2**20)):
        size += len(part)
    return size


def _too_much(line: int, journal: Journal) -> tuple[int, None]:
    """Journal where a file that is read whole unpacks to more than it may."""
    journal.fault(line, messages.UNPACKED.at(size=journal.MAX_UNPACKED >> 20), messages.say("more_of_it"))
    return line, None


def _cut(line: int, error: Exception, journal: Journal) -> tuple[int, None]:
    """Journal where a damaged file ends: what stood before it is kept."""
    early = isinstance(error, EOFError)
    got = "a truncated file" if early else f"a corrupt file ({show(str(error), 60)})"
    journal.fault(line, messages.WHOLE_GZIP, got)
    return line, None


def _jsonl(path: Path, journal: Journal) -> Iterator[Row]:
    for line, raw in _lines(path, journal):
        if raw is None:
            yield line, None
            continue
        try:
            row = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            if raw.strip():
                _bad_json(raw, line, error, journal)
                yield line, None
            continue
        if type(row) is not dict or raw.count(b"{") + raw.count(b"[") > _MAX_DEPTH:
            row = _checked(row, line, journal)
        yield line, row


def _bad_json(raw: bytes, line: int, error: orjson.JSONDecodeError, journal: Journal) -> None:
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError as bad:
        _not_utf8(raw, line, bad, journal)
    else:
        got = f"invalid JSON ({error.msg.split(': line ')[0]} at column {error.colno}): {show(text, 50)}"
        journal.fault(line, messages.JSON_LINE, got, raw)


def _not_utf8(raw: bytes, line: int, bad: UnicodeDecodeError, journal: Journal) -> None:
    journal.fault(line, messages.UTF8, f"the invalid byte 0x{raw[bad.start]:02x} at column {bad.start + 1}", raw)


def decoded_lines(path: Path, journal: Journal) -> Iterator[str]:
    """Lines of a text file; a byte that is not UTF-8 is journalled and replaced."""
    for line, raw in _lines(path, journal):
        if raw is not None:
            yield _decoded(raw, line, journal)[0]


def _decoded(raw: bytes, line: int, journal: Journal) -> tuple[str, bool]:
    """Return the text of a line and whether all of it is UTF-8; journal the first byte that is not."""
    try:
        return raw.decode(), True
    except UnicodeDecodeError as bad:
        _not_utf8(raw, line, bad, journal)
        return raw.decode(errors="replace"), False


class _CsvLines:
    """Lines for `csv.reader`, which asks for no more than the row needs; remembers the last of them that was faulty."""

    def __init__(self, path: Path, journal: Journal) -> None:
        self.lines = _lines(path, journal)
        self.journal = journal
        self.faulty = 0
        self.size = 0
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
        self.size += len(raw or b"")
        if self.size > MAX_LINE:
            raise csv.Error(messages.say("too_large", size=self.size / 2**20))
        text, whole = ("\n", False) if raw is None else _decoded(raw, line, self.journal)
        if not whole:
            self.faulty = line
        return text

    def was_faulty(self) -> int:
        """Return the last line that was faulty since the last call, or 0."""
        faulty, self.faulty = self.faulty, 0
        return faulty


def _csv(path: Path, journal: Journal) -> Iterator[Row]:
    lines = _CsvLines(path, journal)
    # A limit of the module, not of a reader; one above any sane cell stays in force.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    rows = _csv_rows(csv.reader(lines, delimiter=_delimiter(path, lines.first), strict=True), lines, journal)
    line, header = next(rows, (1, None))
    if header is None:
        yield line, None
        return
    names = [name.strip() for name in header]
    if not _is_header(names, journal):
        yield 1, None
        return
    for line, cells in rows:
        if cells is None:
            yield line, None
        elif len(cells) == len(names):
            yield line, dict(zip(names, cells, strict=True))
        elif any(cells):
            journal.fault(line, messages.CSV_CELLS.at(n=len(names)), str(len(cells)), cells)
            yield line, None


def _csv_rows(reader: Any, lines: _CsvLines, journal: Journal) -> Iterator[tuple[int, list[str] | None]]:
    """Rows of a `csv.reader`, each with the line that it begins on; None is a faulty one."""
    while True:
        line, lines.size = reader.line_num + 1, 0
        try:
            cells = next(reader)
        except StopIteration:
            if faulty := lines.was_faulty():
                yield faulty, None
            return
        except csv.Error as error:
            span = "{error} (lines {first} to {last})" if reader.line_num > line else "{error}"
            journal.fault(line, messages.CSV_ROW, span.format(error=error, first=line, last=reader.line_num))
            yield max(line, lines.was_faulty()), None
            continue
        if faulty := lines.was_faulty():
            yield faulty, None
        elif cells:
            yield line, cells


def _is_header(names: Sequence[str], journal: Journal) -> bool:
    """Return whether names can be those of columns; else the journal has the fault."""
    repeated = sorted(name for name, n in Counter(names).items() if n > 1)
    if len(names) > MAX_COLUMNS:
        journal.fault(1, messages.CSV_WIDTH.at(most=MAX_COLUMNS), str(len(names)))
    elif repeated:
        journal.fault(1, messages.CSV_HEADER, messages.say("twice", name=show(repeated[0])))
    return len(names) <= MAX_COLUMNS and not repeated


def _delimiter(path: Path, header: str) -> str:
    if _suffix(path) == ".tsv":
        return "\t"
    return max(",;\t", key=header.count) if header.strip() else ","


def _batches(function: Callable[..., Any], path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file as the child reads them, one by one from where more are too much for it."""
    number, size = 0, _BATCH
    read: dict[str, Any] = {"rows": [""]}
    while read["rows"]:
        try:
            read = limited.call(function, number, size, str(path.absolute()), limit_s=_BATCH_S)
        except limited.OverLimit as error:
            if size > 1:
                size = 1
                continue
            read = {"rows": [], "fault": error.reason}
        number += len(read["rows"])
        yield read


def _excel(path: Path, journal: Journal) -> Iterator[Row]:
    require("python_calamine")
    names: list[str] | None = None
    number, unpacked, fault = 0, 0, ""
    for read in _batches(excel_rows, path):
        fault = read["fault"]
        if ignored := read.get("ignored"):
            journal.note(f"ignored sheets: {', '.join(ignored)}", 0)
        for cells in read["rows"]:
            number, unpacked = number + 1, unpacked + sum(map(len, cells))
            if unpacked > journal.MAX_UNPACKED:
                yield _too_much(number, journal)
                return
            if not any(cells):
                continue
            if names is None:
                names = [name.strip() for name in cells]
                if not _is_header([name for name in names if name], journal):
                    yield number, None
                    return
            else:
                if any(cell and not name for name, cell in zip_longest(names, cells)):
                    journal.note("a cell in a column without a name is ignored")
                yield number, {name: cell for name, cell in zip(names, cells, strict=False) if name}
    if fault:
        raise _file_error(path, messages.EXCEL, fault)


def _parquet(path: Path, journal: Journal) -> Iterator[Row]:
    require("pyarrow")
    number, unpacked, end = 0, 0, ""
    for read in _batches(parquet_rows, path):
        end = read["fault"]
        for text, fault in read["rows"]:
            number, unpacked = number + 1, unpacked + len(text or "")
            if unpacked > journal.MAX_UNPACKED:
                yield _too_much(number, journal)
                return
            yield number, _parquet_row(text, fault, number, journal)
    if not end:
        return
    if not number:
        raise _file_error(path, messages.PARQUET, end)
    journal.fault(number + 1, messages.WHOLE_PARQUET, end)
    yield number + 1, None


def _parquet_row(text: str | None, fault: str, line: int, journal: Journal) -> Any:
    if text is None:
        journal.fault(line, messages.PLAIN_VALUES, fault)
    elif len(text) > MAX_LINE:
        got = messages.say("too_large", size=len(text) / 2**20)
        journal.fault(line, messages.TOO_LONG.at(size=MAX_LINE >> 20), got, text[:1024])
    else:
        return orjson.loads(text)
    return None


def plain(value: Any, line: int, journal: Journal) -> Any:
    """Return `value` as JSON data: dates and decimals become text; journal what cannot be kept."""
    try:
        return orjson.loads(json_bytes(value))
    except (TypeError, ValueError, RecursionError) as error:
        journal.fault(line, messages.PLAIN_VALUES, str(error)[:80])
        return None


def _yaml(path: Path, journal: Journal) -> Iterator[Row]:
    import yaml

    if _whole(path) is None:
        raise _file_error(path, messages.YAML_SIZE.at(size=_MAX_WHOLE >> 20), "a larger or damaged file")
    text = "".join(decoded_lines(path, journal))
    if journal.n_faults:
        yield text.count("\n") + 1, None
        return
    parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader = parser(io.StringIO(text))
    try:
        check_size(text, parser)
        root = loader.get_single_node()
        document = loader.construct_document(root) if root is not None else None
    except UserError as error:
        journal.fault(None, messages.YAML, error.message.rstrip("."))
        return
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        what = str(getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__)
        journal.fault(mark.line + 1 if mark else None, messages.YAML, show(what, 120))
        yield mark.line + 1 if mark else 1, None
        return
    except (ValueError, TypeError, RecursionError, OverflowError, AttributeError, KeyError, IndexError) as error:
        journal.fault(None, messages.YAML, f"a value that cannot be parsed: {show(str(error), 80)}")
        return
    finally:
        loader.dispose()
    if not isinstance(document, dict) or not isinstance(document.get("tests"), list):
        got = kind_of(document.get("tests")) if isinstance(document, dict) else kind_of(document)
        hint = (
            "Pass the tests file itself instead of the configuration."
            if isinstance(document, dict) and "tests" in document
            else ""
        )
        journal.fault(None, messages.PROMPTFOO._replace(hint=hint), got)
        return
    for key in sorted({"prompts", "providers", "defaultTest", "scenarios"} & document.keys()):
        journal.note(f"the promptfoo key `{key}` is ignored", 0)
    nodes = next(value for key, value in root.value if key.value == "tests").value
    for node, test in zip(nodes, document["tests"], strict=True):
        line = node.start_mark.line + 1
        row = plain(test, line, journal)
        yield line, None if row is None else _checked(row, line, journal)
