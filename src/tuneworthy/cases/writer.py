"""Write cases and examples as JSONL in our own format; a file is either the old one or the new one, never half."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.store import write_atomic
from tuneworthy.types import Case, Example, JsonObject


def case_row(case: Case) -> JsonObject:
    row: JsonObject = {}
    question: Any = case.input if case.input is not None else list(case.messages)
    if case.id != Case.make_id(question, case.tools):
        row["id"] = case.id
    row["messages" if case.input is None else "input"] = question
    if case.labelled and not (case.today and case.today.borrowed):
        row["expected"] = case.expected
    for name in ("group", "tags", "documents", "tools", "drafted"):
        if value := getattr(case, name):
            row[name] = value
    if today := case.today:
        row["today"] = {"answer": today.answer, "model": today.model, "calls": today.calls, "same": today.same}
    return row


def example_row(example: Example) -> JsonObject:
    row = {"messages": example.messages}
    rest = {"group": example.group, "tags": example.tags, "meta": dict(example.meta)}
    return row | {name: value for name, value in rest.items() if value}


def write_cases(path: Path | str, cases: Iterable[Case]) -> None:
    write_rows(path, (case_row(case) for case in cases))


def write_examples(path: Path | str, examples: Iterable[Example]) -> None:
    write_rows(path, (example_row(example) for example in examples))


def write_rows(path: Path | str, rows: Iterable[Any]) -> None:
    write_atomic(Path(path), json_lines(rows))


def json_lines(rows: Iterable[Any]) -> Iterator[bytes]:
    return (orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
