"""Reads rows of Parquet files in the limited child: a kilobyte of such a file can stand for gigabytes."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson

from tuneworthy.cases import messages
from tuneworthy.cases.readers.open_file import fault_of, keep_open, resume


def parquet_rows(first: int, size: int, path: str) -> dict[str, Any]:
    """Return the next rows of a file.

    Args:
        first: How many rows were read before.
        size: Most rows.
        path: Absolute.

    Returns:
        Each row as JSON text, or None and why it is no JSON; the `fault` that ends the file, "" at its end and before.
    """
    import pyarrow as pa

    try:
        batches = resume(path, first, lambda: _batches(path, first, size))
        batch = next(batches, None)
    except MemoryError:  # one of Arrow's too: fewer rows may fit
        raise
    except (pa.ArrowException, ValueError, TypeError, OSError) as error:
        return {"rows": [], "fault": fault_of(error)}
    if batch is None:
        return {"rows": [], "fault": ""}
    keep_open(path, first + len(batch), batches)
    return {"rows": [_json(cells) for cells in batch.to_pylist()], "fault": ""}


def _batches(path: str, first: int, size: int) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import parquet

    pa.set_memory_pool(pa.system_memory_pool())  # others reserve more than the child may have
    at = 0
    with parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
        for name, n in Counter(file.schema_arrow.names).items():
            if n > 1:  # a row would keep the last of them
                raise ValueError(messages.say("twice", name=f"the column {name}"))
        for batch in file.iter_batches(batch_size=size, use_threads=False):
            at += len(batch)
            if at > first:
                yield batch.slice(max(0, len(batch) - (at - first)))


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
        return value.decode()  # UnicodeDecodeError is a ValueError: the caller journals it
    if isinstance(value, set | tuple):
        return list(value)
    return str(value)
