"""Readers of binary files for the limited child process: a kilobyte of such a file can expand to gigabytes."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from struct import unpack
from typing import Any
from zipfile import ZipFile

import orjson

from tuneworthy.cases.formats.values import at, dict_at

# Of zip archives: the number of Zstandard; and bytes of an unpacked sample of Inspect.
_ZSTANDARD = 93
_MAX_SAMPLE = 2**28
Batches = Iterator[list[Any]]
# The open file: its path, to the number of the next row and its remaining batches.
_open: dict[str, tuple[int, Batches]] = {}


def table_rows(first: int, size: int, path: str, kind: str) -> tuple[list[Any], str, list[str]]:
    """Return the next rows of a file, which stays open for the next call.

    Args:
        first: Number of rows read before.
        size: Maximum number of rows.
        path: Absolute path.
        kind: `parquet`, `arrow`, `inspect` or `excel`.

    Returns:
        The rows; the error that ends the file, or ""; the sheets that are ignored, if this call opened the file. A row
        of Parquet is its JSON text, or None, and an error; a row of Excel is the texts of its cells.
    """
    ignored: list[str] = []
    try:
        position, batches = _open.pop(path, (-1, iter(())))
        if position != first:
            batches = _READERS[kind](path, first, size, ignored)
        rows = next(batches, [])
    except MemoryError:  # also Arrow's: fewer rows may fit
        raise
    except Exception as error:  # pyarrow and calamine raise many kinds for damaged files
        return [], (str(error).splitlines() or [""])[0][:120] or type(error).__name__, ignored
    _open.clear()
    _open[path] = first + len(rows), batches
    return rows, "", ignored


def _parquet(path: str, first: int, size: int, ignored: list[str]) -> Batches:
    import pyarrow as pa
    from pyarrow import parquet

    pa.set_memory_pool(pa.system_memory_pool())  # others reserve more than the child may have
    with parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
        for name, n in Counter(file.schema_arrow.names).items():
            if n > 1:  # a row would keep only the last column
                raise ValueError(f"the column {name} twice")
        yield from _rows_from(first, file.iter_batches(batch_size=size, use_threads=False))


def _arrow(path: str, first: int, size: int, ignored: list[str]) -> Batches:
    """Yield rows of a file or a stream of Arrow, which `datasets` writes."""
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())
    with pa.OSFile(path) as file, Path(path).open("rb") as head:
        is_file = head.read(6) == b"ARROW1"
        source = pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)
        batches = map(source.get_batch, range(source.num_record_batches)) if is_file else source
        yield from _rows_from(first, (batch.slice(n, size) for batch in batches for n in range(0, len(batch), size)))


def _rows_from(first: int, batches: Iterable[Any]) -> Batches:
    position = 0
    for batch in batches:
        # The names of classes, by column, which `datasets` writes next to their numbers.
        about = orjson.loads((batch.schema.metadata or {}).get(b"huggingface", b"{}"))
        classes = {
            name: words
            for name, feature in dict_at(about, "info/features").items()
            if name in batch.schema.names and isinstance(words := at(feature, "names"), list)
        }
        position += len(batch)
        if position > first:
            yield [
                _json({**row, **{name: at(of, str(row[name])) for name, of in classes.items()}})
                for row in batch.slice(max(0, len(batch) - (position - first))).to_pylist()
            ]


def _inspect(path: str, first: int, size: int, ignored: list[str]) -> Batches:
    """Yield the samples of an Inspect log; Python's own reader cannot unpack Zstandard."""
    import pyarrow as pa

    with ZipFile(path) as archive, Path(path).open("rb") as file:
        for info in [info for info in archive.infolist() if info.filename.startswith("samples/")][first:]:
            if info.compress_type == _ZSTANDARD:
                file.seek(info.header_offset + 26)  # of the lengths of two more parts of the head
                file.seek(info.header_offset + 30 + sum(unpack("<HH", file.read(4))))
                packed = pa.BufferReader(file.read(info.compress_size))
                sample = orjson.loads(pa.CompressedInputStream(packed, "zstd").read(_MAX_SAMPLE))
            else:
                sample = orjson.loads(archive.open(info).read(_MAX_SAMPLE))
            yield [_json({key: sample.get(key) for key in ("id", "input", "choices", "target", "output", "scores")})]


def _json(cells: Any) -> tuple[str | None, str]:
    try:
        return json_bytes(cells).decode(), ""
    except (TypeError, ValueError, RecursionError) as error:
        return None, str(error)[:80]


def json_bytes(value: Any) -> bytes:
    """Write `value` as JSON: dates and decimals become text.

    Raises:
        TypeError: It nests too deeply, or a number is too large.
        ValueError: Bytes that are not UTF-8.
    """
    return orjson.dumps(value, default=_as_text, option=orjson.OPT_NON_STR_KEYS)


def _as_text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return list(value) if isinstance(value, set | tuple) else str(value)


def _excel(path: str, first: int, size: int, ignored: list[str]) -> Batches:
    """Yield rows of the first visible sheet that has any; a single far cell can expand to billions of rows."""
    from python_calamine import SheetTypeEnum, SheetVisibleEnum, load_workbook

    workbook = load_workbook(path)
    names = [meta.name for meta in workbook.sheets_metadata
             if (meta.typ, meta.visible) == (SheetTypeEnum.WorkSheet, SheetVisibleEnum.Visible)]  # fmt: skip
    sheet = next((sheet for sheet in map(workbook.get_sheet_by_name, names) if sheet.total_height), None)
    ignored += [name for name in workbook.sheet_names if sheet is None or name != sheet.name]
    rows = islice(sheet.iter_rows(), first, None) if sheet else iter(())
    while batch := [
        [str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell) for cell in row]
        for row in islice(rows, size)
    ]:
        yield batch


_READERS: dict[str, Callable[[str, int, int, list[str]], Batches]] = {
    "parquet": _parquet,
    "arrow": _arrow,
    "inspect": _inspect,
    "excel": _excel,
}
