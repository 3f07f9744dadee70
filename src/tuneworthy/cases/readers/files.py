"""Streaming readers for JSONL, JSON, CSV, Excel, Parquet and YAML: each yields (line, row).

JSONL, CSV and Parquet stream, also from gzip. JSON and YAML up to 16 MiB are read whole; a larger JSON list streams.
The journal gets the fault of a row, and ``(line, None)`` replaces the row: lines never decrease, and each has a row or
a fault. A syntax error ends a JSON list. Only an unreadable file raises. Memory is bounded: a line, cell or list
element above `MAX_LINE` is a fault.
"""

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import orjson

from tuneworthy import limited
from tuneworthy.cases import messages
from tuneworthy.cases.formats.values import at
from tuneworthy.cases.messages import Fault
from tuneworthy.cases.readers.faults import Journal, data_error, kind_of, show
from tuneworthy.cases.readers.table_child import json_bytes, table_rows
from tuneworthy.errors import UserError
from tuneworthy.extras import require
from tuneworthy.input_files import open_input
from tuneworthy.types import JsonObject, Texts, positional
from tuneworthy.yaml_text import check_size

Container = Literal["jsonl", "json", "csv", "excel", "parquet", "arrow", "inspect", "yaml"]
Row = tuple[int, JsonObject | None]
Rows = Iterator[Row]

BOM = b"\xef\xbb\xbf"
MAX_LINE = 16 * 2**20
MAX_COLUMNS = 2000
# First bytes of a zip archive, of an Excel file before 2007, and of Arrow's files and streams.
_ZIP, _OLD_EXCEL, _ARROW = b"PK\x03\x04", b"\xd0\xcf\x11\xe0", (b"ARROW1", b"\xff\xff\xff\xff")
_SHEETS = (b"[Content_Types].xml", b"docProps/", b"xl/", b"opendocument")
# Titles of binary containers.
_TITLES = {"parquet": "Parquet", "arrow": "Arrow", "inspect": "Inspect"}
LIST_KEYS = (
    *("data", "items", "samples", "tests", "rows", "examples", "cases", "runs", "loglines", "traces"),
    "results/results",  # of promptfoo
    *("resourceSpans", "resourceLogs"),
)
_MAX_DEPTH = 200  # orjson writes at most 254 levels
_MAX_WHOLE = 16 * 2**20
_HEAD = 65536
# Rows per call of the limited child, and the call's processor time in seconds.
_BATCH = 512
_BATCH_S = 10.0
_REASON = re.compile(r"^(?:b['\"])?(?:parse|lexical) error: |\.?\\n.*", re.DOTALL)
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)
# Errors of values in YAML that cannot be parsed.
_UNPARSED = (ValueError, TypeError, RecursionError, OverflowError, AttributeError, LookupError)


@positional
class RowSource:
    """An opened file: its container (`jsonl`), whether it is compressed, and its rows."""

    container: Container
    rows: Rows
    packed: bool

    @property
    def is_table(self) -> bool:
        return self.container in {"csv", "excel", "parquet", "arrow"}

    @property
    def name(self) -> str:
        """The container and its compression: `jsonl`, `csv+gzip`."""
        return f"{self.container}+gzip" if self.packed else self.container


def open_rows(path: Path, journal: Journal) -> RowSource:
    """Detect the container of `path` (by its name, then by its first bytes) and stream its rows.

    Raises:
        DataError: Missing, a folder, unreadable, empty, or not the format of its name.
    """
    with _opened(path) as file:
        packed = _is_packed(file)
        head = _head(file)
    if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise data_error(path, messages.UTF8, "UTF-16")
    if not head.removeprefix(BOM).strip():
        raise data_error(path, messages.NO_ROW, "an empty file")
    suffix = _suffix(path)
    if head[:4] == b"PAR1" or suffix in {".parquet", ".pq"}:
        return RowSource("parquet", _binary("parquet", path, journal), packed)
    if head.startswith(_ARROW) or suffix in {".arrow", ".feather"}:
        return RowSource("arrow", _binary("arrow", path, journal), packed)
    if suffix == ".eval":
        return RowSource("inspect", _binary("inspect", path, journal), packed)
    if head.startswith((_ZIP, _OLD_EXCEL)) or suffix in {".xlsx", ".xls"}:
        if suffix not in {".xlsx", ".xls"} and head.startswith(_ZIP) and not any(mark in head for mark in _SHEETS):
            raise data_error(path, Fault("rows", "Unpack the archive, and import a file inside it."), "a zip archive")
        return RowSource("excel", _excel(path, journal), packed)
    if suffix in {".csv", ".tsv"}:
        return RowSource("csv", _csv(path, journal), packed)
    if suffix in {".yaml", ".yml"}:
        return RowSource("yaml", _yaml(path, journal), packed)
    one_document = suffix not in {".jsonl", ".ndjson"} and _is_one_document(head)
    if one_document and (rows := _json(path, journal)) is not None:
        return RowSource("json", rows, packed)
    return RowSource("jsonl", _jsonl(path, journal), packed)


def _suffix(path: Path) -> str:
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file, decompressed, and raise the faults of the file system as `DataError`."""
    try:
        with open_input(path) as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            yield cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file
    except FileNotFoundError:
        raise data_error(path, Fault("a file", "Fix the path, or create the file."), "nothing at that path") from None
    except IsADirectoryError:
        raise data_error(path, Fault("a file", "Specify a file inside the folder."), "a folder") from None
    except OSError as error:
        raise data_error(
            path, Fault("a readable file", "Check the file and its permissions."), str(error.strerror or error)
        ) from None
    except ValueError:  # a null byte in the name
        raise data_error(repr(str(path)), Fault("a file name"), "an invalid file name") from None


def _is_packed(file: BinaryIO) -> bool:
    return isinstance(file, gzip.GzipFile)


def _head(file: Any) -> bytes:
    head = b""
    try:
        while len(head) < _HEAD and (more := file.read1(_HEAD - len(head))):
            head += more
    except _DAMAGED as error:
        if not head:
            raise OSError(f"a corrupt gzip file ({error})") from None
    return head


def _is_one_document(head: bytes) -> bool:
    text = head.removeprefix(BOM).lstrip()
    if text[:1] != b"{":
        return text[:1] == b"["
    try:
        orjson.loads(text.split(b"\n", 1)[0])
    except orjson.JSONDecodeError:
        return True
    return b"\n" not in text.rstrip() and any(f'"{key.split("/")[0]}"'.encode() in text for key in LIST_KEYS)


def _json(path: Path, journal: Journal) -> Rows | None:
    """Return the rows of a JSON document; None if it is neither small and valid nor a list of rows."""
    content = _whole(path)
    try:
        if content is not None:
            document = orjson.loads(content)
            rows = document if isinstance(document, list) else [document]
            if isinstance(document, dict):
                rows = next((inner for key in LIST_KEYS if isinstance(inner := at(document, key), list)), rows)
            return ((number, _checked(row, number, journal)) for number, row in enumerate(rows, 1))
    except orjson.JSONDecodeError:
        pass
    prefix = _list_prefix(path)
    return None if prefix is None else _list(path, prefix, journal)


def _whole(path: Path) -> bytes | None:
    """Return the content of an undamaged file of at most `_MAX_WHOLE` bytes."""
    with _opened(path) as file:
        try:
            content = file.read(_MAX_WHOLE + 1)
        except _DAMAGED:
            return None
    return content.removeprefix(BOM) if len(content) <= _MAX_WHOLE else None


def _list_prefix(path: Path) -> str | None:
    """Return ijson's prefix of the rows: those of the list itself, or of one under a key of `LIST_KEYS`."""
    import ijson

    with _opened(path) as file:
        try:
            for prefix, event, _ in ijson.parse(_shallow(file, 2 * _MAX_DEPTH)):
                if event == "start_array" and prefix.replace(".", "/") in {"", *LIST_KEYS}:
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
        import ijson

        self.size += size
        if self.size > MAX_LINE:
            raise ijson.JSONError(f"an element of more than {MAX_LINE >> 20} MiB")
        return self._file.read(size)


def _shallow(file: BinaryIO, level: int) -> Iterator[tuple[str, Any]]:
    """Yield the events of a JSON document; the path to a value would grow with every level of one that nests deeply.

    Args:
        file: At its start.
        level: The depth of the elements' container; each element may be large.
    """
    import ijson

    if file.read(len(BOM)) != BOM:
        file.seek(0)
    depth, element = 0, _Element(file)
    for event, value in ijson.basic_parse(element, use_float=True):
        depth += event.startswith("start_") - event.startswith("end_")
        if depth > 2 * _MAX_DEPTH:  # `_checked` reports a row above `_MAX_DEPTH`
            raise ijson.JSONError(f"more than {2 * _MAX_DEPTH} levels of nesting")
        if depth <= level:
            element.size = 0
        yield event, value


def _list(path: Path, prefix: str, journal: Journal) -> Rows:
    import ijson

    number = 0
    with _opened(path) as file:
        try:
            for number, row in enumerate(ijson.items(ijson.parse(_shallow(file, prefix.count(".") + 1)), prefix), 1):
                if _is_packed(file) and file.tell() > journal.MAX_UNPACKED:
                    yield _too_much(number, journal)
                    return
                yield number, _checked(row, number, journal)
        except ijson.JSONError as error:
            reason = str(error.args[0])
            journal.fault(
                number + 1,
                Fault(
                    "a JSON object as each list element",
                    "Fix the element, or remove it.",
                    "not_utf8" if "UTF8" in reason else "not_json",
                ),
                _REASON.sub("", reason).splitlines()[0],
            )
            yield number + 1, None
        except _DAMAGED as error:
            yield _cut(number + 1, error, journal)


def _checked(row: Any, line: int, journal: Journal) -> JsonObject | None:
    if not isinstance(row, dict):
        journal.fault(
            line,
            Fault("a JSON object", 'Write {"input": ..., "expected": ...} or {"messages": ...}.', "not_an_object"),
            kind_of(row),
            row,
        )
        return None
    try:
        orjson.dumps(row)
    except (TypeError, RecursionError):
        journal.fault(line, Fault(f"at most {_MAX_DEPTH} levels of nesting", code="too_deep"), "deeper nesting")
        return None
    return row


def _lines(path: Path, journal: Journal) -> Iterator[tuple[int, bytes | None]]:
    """Yield numbered lines without byte order marks; None for one that is too long, or where a damaged file ends."""
    line = 0
    with _opened(path) as file:
        try:
            while raw := file.readline(MAX_LINE + 1):
                line += 1
                if _is_packed(file) and file.tell() > journal.MAX_UNPACKED:
                    yield _too_much(line, journal)
                    return
                if len(raw) > MAX_LINE and raw[-1:] != b"\n":
                    size, part = len(raw), raw
                    while part and part[-1:] != b"\n":
                        part = file.readline(2**20)
                        size += len(part)
                    _too_long(size, line, raw, journal)
                    yield line, None
                else:
                    yield line, raw.removeprefix(BOM)  # also where files were concatenated
        except _DAMAGED as error:
            yield _cut(line + 1, error, journal)


def _size(n_bytes: int) -> str:
    return f"a line of {n_bytes / 2**20:.1f} MiB"


def _too_long(n_bytes: int, line: int, raw: str | bytes, journal: Journal) -> None:
    journal.fault(line, Fault(f"a line of at most {MAX_LINE >> 20} MiB", code="too_long"), _size(n_bytes), raw[:1024])


def _too_much(line: int, journal: Journal) -> tuple[int, None]:
    """Journal the line at which a file that is read whole unpacks to more than its limit."""
    journal.fault(
        line,
        Fault(
            f"at most {journal.MAX_UNPACKED >> 20} MiB of unpacked rows",
            "Split the file, or import it as data.",
            "too_large",
        ),
        "more",
    )
    return line, None


def _cut(line: int, error: Exception, journal: Journal) -> tuple[int, None]:
    """Journal the line at which a damaged file ends; earlier lines are kept."""
    got = "a truncated file" if isinstance(error, EOFError) else f"a corrupt file ({show(str(error), 60)})"
    journal.fault(line, Fault("a complete gzip file", "Download or create the file again.", "cut_off"), got)
    return line, None


def _jsonl(path: Path, journal: Journal) -> Rows:
    for line, raw in _lines(path, journal):
        if raw is None:
            yield line, None
            continue
        try:
            row = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            if raw.strip():
                text, is_utf8 = _decoded(raw, line, journal)
                if is_utf8:
                    what = f"{error.msg.split(': line ')[0]} at column {error.colno}"
                    journal.fault(
                        line,
                        Fault("a JSON object on one line", "Fix the line, or remove it.", "not_json"),
                        f"invalid JSON ({what}): {show(text.strip(), 50)}",
                        raw,
                    )
                yield line, None
            continue
        if type(row) is not dict or raw.count(b"{") + raw.count(b"[") > _MAX_DEPTH:
            row = _checked(row, line, journal)
        yield line, row


def decoded_lines(path: Path, journal: Journal) -> Iterator[str]:
    for line, raw in _lines(path, journal):
        if raw is not None:
            yield _decoded(raw, line, journal)[0]


def _decoded(raw: bytes, line: int, journal: Journal) -> tuple[str, bool]:
    """Return the text of a line and whether all bytes are UTF-8; journal the first invalid byte."""
    try:
        return raw.decode(), True
    except UnicodeDecodeError as bad:
        journal.fault(line, messages.UTF8, f"the invalid byte 0x{raw[bad.start]:02x} at column {bad.start + 1}", raw)
        return raw.decode(errors="replace"), False


class _CsvLines:
    """Lines for `csv.reader`, which asks for no more than the row needs.

    Attributes:
        faulty: The last faulty line of the current row, or 0.
        size: Bytes of the current row.
    """

    def __init__(self, path: Path, journal: Journal) -> None:
        self.lines = _lines(path, journal)
        self.journal = journal
        self.faulty = 0
        self.size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line, raw = next(self.lines)
        self.size += len(raw or b"")
        if self.size > MAX_LINE:
            raise csv.Error(_size(self.size))
        text, is_utf8 = ("\n", False) if raw is None else _decoded(raw, line, self.journal)
        if not is_utf8:
            self.faulty = line
        return text


def _csv(path: Path, journal: Journal) -> Rows:
    rows = _csv_rows(path, journal)
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
            journal.fault(
                line,
                Fault(
                    f"{len(names)} cells, as in the header",
                    "Put cells that contain a separator in double quotes.",
                    "wrong_cells",
                ),
                str(len(cells)),
                cells,
            )
            yield line, None


def _csv_rows(path: Path, journal: Journal) -> Iterator[tuple[int, list[str] | None]]:
    lines = _CsvLines(path, journal)
    first = next(lines, "")
    delimiter = max(",;\t", key=first.count) if first.strip() else ","
    # The module's limit, not the reader's; one above any plausible cell stays in force.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    reader = csv.reader(chain([first], lines), delimiter="\t" if _suffix(path) == ".tsv" else delimiter, strict=True)
    cells: list[str] | None = []
    while cells is not None:
        line, lines.size = reader.line_num + 1, 0
        try:
            cells = next(reader, None)
        except csv.Error as error:
            span = f" (lines {line} to {reader.line_num})" if reader.line_num > line else ""
            journal.fault(
                line,
                Fault("a CSV row", "Put the cell in double quotes, and double each quote inside.", "bad_csv"),
                f"{error}{span}",
            )
            yield max(line, lines.faulty), None
        else:
            if lines.faulty:
                yield lines.faulty, None
            elif cells:
                yield line, cells
        lines.faulty = 0


def _is_header(names: Texts, journal: Journal) -> bool:
    """Return whether names can be those of columns; else the journal has the fault."""
    repeated = sorted(name for name, n in Counter(names).items() if n > 1)
    if len(names) > MAX_COLUMNS:
        journal.fault(
            1,
            Fault(
                f"at most {MAX_COLUMNS} columns", "Keep only the columns for the question and its answer.", "too_wide"
            ),
            str(len(names)),
        )
    elif repeated:
        journal.fault(
            1, Fault("unique column names", "Rename one of the columns.", "bad_header"), f"{show(repeated[0])} twice"
        )
    return len(names) <= MAX_COLUMNS and not repeated


def _table(kind: str, path: Path, journal: Journal) -> Iterator[tuple[int, Any, str]]:
    """Yield the numbered rows from the child, last with the error that ends the file; single rows where a batch fails.

    Past the limit of unpacked rows, None ends them.
    """
    number, size, unpacked = 0, _BATCH, 0
    rows: list[Any] = [""]
    while rows:
        try:
            rows, error, ignored = limited.call(table_rows, number, size, str(path.absolute()), kind, limit_s=_BATCH_S)
        except limited.OverLimit as over:
            if size > 1:
                size = 1
                continue
            rows, error, ignored = [], over.reason, []
        if ignored:
            journal.note(f"ignored sheets: {', '.join(ignored)}", 0)
        for row in rows:
            number, unpacked = number + 1, unpacked + sum(len(cell or "") for cell in row)
            if unpacked > journal.MAX_UNPACKED:
                yield *_too_much(number, journal), ""
                return
            yield number, row, ""
        if error:
            yield number + 1, None, error


def _excel(path: Path, journal: Journal) -> Rows:
    require("python_calamine")
    names: list[str] | None = None
    for number, cells, error in _table("excel", path, journal):
        if error:
            raise data_error(
                path, Fault("an Excel file that can be read", "Remove its password, or save the sheet as CSV."), error
            )
        if cells is None:
            yield number, None
        elif any(cells) and names is None:
            names = [name.strip() for name in cells]
            if not _is_header([name for name in names if name], journal):
                yield number, None
                return
        elif any(cells):
            if any(cell and not name for name, cell in zip_longest(names or (), cells)):
                journal.note("a cell in a column without a name is ignored")
            yield number, {name: cell for name, cell in zip(names or (), cells, strict=False) if name}


def _binary(kind: Container, path: Path, journal: Journal) -> Rows:
    require("pyarrow")
    title = _TITLES[kind]
    for number, cells, end in _table(kind, path, journal):
        row = None
        if end and number == 1:
            raise data_error(path, Fault(f"a readable {title} file", "Create the file again."), end)
        if end:
            journal.fault(number, Fault(f"a complete {title} file", "Create the file again.", "cut_off"), end)
        elif cells:
            text, error = cells
            if text is None:
                journal.fault(number, messages.PLAIN_VALUES, error)
            elif len(text) > MAX_LINE:
                _too_long(len(text), number, text, journal)
            else:
                row = orjson.loads(text)
        yield number, row


def _yaml(path: Path, journal: Journal) -> Rows:
    import yaml

    if _whole(path) is None:
        raise data_error(
            path,
            Fault(f"an undamaged YAML file of at most {_MAX_WHOLE >> 20} MiB", "Split the file, or create it again."),
            "a larger or damaged file",
        )
    text = "".join(decoded_lines(path, journal))
    if journal.n_faults:
        yield text.count("\n") + 1, None
        return
    parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        check_size(text, parser)
        root, document = yaml.compose(text, parser), yaml.load(text, parser)
    except (UserError, yaml.YAMLError, *_UNPARSED) as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = mark.line + 1 if mark else None
        journal.fault(line, messages.YAML, show(str(getattr(error, "problem", None) or error), 120))
        if line:
            yield line, None
        return
    tests = document.get("tests") if isinstance(document, dict) else document
    if not isinstance(document, dict) or not isinstance(tests, list):
        named = isinstance(document, dict) and "tests" in document
        journal.fault(
            None,
            Fault(
                "a promptfoo configuration whose `tests` is a list",
                "Pass the tests file itself instead of the configuration." if named else "",
            ),
            kind_of(tests),
        )
        return
    for key in sorted({"prompts", "providers", "defaultTest", "scenarios"} & document.keys()):
        journal.note(f"the promptfoo key `{key}` is ignored", 0)
    nodes = next(value for key, value in root.value if key.value == "tests").value
    for node, test in zip(nodes, tests, strict=True):
        line = node.start_mark.line + 1
        row = None
        try:
            row = _checked(orjson.loads(json_bytes(test)), line, journal)  # dates and decimals become text
        except (TypeError, ValueError, RecursionError) as error:
            journal.fault(line, messages.PLAIN_VALUES, str(error)[:80])
        yield line, row
