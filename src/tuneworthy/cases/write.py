"""Write cases and examples as JSONL in our own format; a file is either the old one or the new one, never half."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.types import Case, Example


def case_row(case: Case) -> dict[str, Any]:
    """Return `case` as a row of our own format; the id is written only if it is not the content hash."""
    row: dict[str, Any] = {}
    question: Any = case.input if case.input is not None else list(case.messages)
    if case.id != Case.make_id(question, case.tools):
        row["id"] = case.id
    row["messages" if case.input is None else "input"] = question
    if case.labelled:
        row["expected"] = case.expected
    for name in ("group", "tags", "documents", "tools"):
        if value := getattr(case, name):
            row[name] = value
    return row


def example_row(example: Example) -> dict[str, Any]:
    """Return `example` as a row of our own format."""
    row: dict[str, Any] = {"messages": example.messages}
    rest = {"group": example.group, "tags": example.tags, "meta": dict(example.meta)}
    return row | {name: value for name, value in rest.items() if value}


def write_cases(path: Path | str, cases: Iterable[Case]) -> None:
    """Write `cases` to `path`, atomically."""
    write_rows(path, (case_row(case) for case in cases))


def write_examples(path: Path | str, examples: Iterable[Example]) -> None:
    """Write `examples` to `path`, atomically."""
    write_rows(path, (example_row(example) for example in examples))


def write_rows(path: Path | str, rows: Iterable[Any]) -> None:
    """Write `rows` as JSONL to a file beside `path`, bring it to disk, and put it in the place of `path`."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            for row in rows:
                file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
            file.flush()
            os.fsync(file.fileno())
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
        Path(name).chmod(mode)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
