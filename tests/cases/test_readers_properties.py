"""Properties over all readers: what is written is read again, and garbage never gives anything but our errors."""

from __future__ import annotations

import contextlib
import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tuneworthy.cases import read_cases, read_examples
from tuneworthy.cases.formats.chats import is_blank
from tuneworthy.cases.sampling import sample_cases
from tuneworthy.cases.writer import write_cases, write_examples
from tuneworthy.errors import TuneworthyError
from tuneworthy.types import UNLABELLED, Case

SUFFIXES = [".jsonl", ".json", ".csv", ".tsv", ".parquet", ".yaml", ".txt", ""]
READERS = [read_cases, read_examples, lambda path: sample_cases(path, 5, 1)]

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(lambda text: not is_blank(text))
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars | texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)
messages = st.lists(st.builds(lambda r, t: {"role": r, "content": t}, st.sampled_from(["user", "assistant"]), texts))
chats = messages.map(lambda turns: (*turns, {"role": "user", "content": "last?"}))


@st.composite
def cases(draw: Any) -> Case:
    chat = draw(st.none() | chats)
    question = None if chat else draw(texts | st.dictionaries(texts, values, min_size=1, max_size=3))
    identity = draw(st.none() | texts)
    return Case(
        id=identity or Case.make_id(list(chat) if chat else question),
        input=question,
        messages=chat or (),
        expected=draw(values | st.just(UNLABELLED)),
        group=draw(st.none() | texts),
        tags=tuple(draw(st.lists(texts, max_size=2))),
        documents=tuple(draw(st.lists(texts, max_size=2))),
    )


@contextlib.contextmanager
def folder() -> Any:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@settings(deadline=None)
@given(st.lists(cases(), min_size=1, max_size=6, unique_by=lambda case: case.id))
def test_cases_that_are_written_are_read_again(some: list[Case]) -> None:
    with folder() as root:
        write_cases(root / "c.jsonl", some)
        assert list(read_cases(root / "c.jsonl").cases) == some


@settings(deadline=None)
@given(st.lists(st.tuples(chats, texts), min_size=1, max_size=5, unique_by=str), st.booleans())
def test_examples_that_are_written_are_read_again(some: list[tuple[Any, str]], crlf: bool) -> None:
    with folder() as root:
        rows = [{"messages": [*chat, {"role": "assistant", "content": answer}]} for chat, answer in some]
        path = root / "e.jsonl"
        path.write_bytes(("\r\n" if crlf else "\n").join(json.dumps(row) for row in rows).encode())
        first = read_examples(path)
        write_examples(root / "again.jsonl", first.examples)
        again = read_examples(root / "again.jsonl")
        assert [example.id for example in again.examples] == [example.id for example in first.examples]
        assert [list(example.messages) for example in first.examples] == [row["messages"] for row in rows]


safe = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), min_size=1, max_size=30)
cells = safe.filter(lambda text: bool(text.strip()) and text.lstrip()[:1] not in "{[" and text != "null")
pairs = st.lists(st.tuples(cells, cells), min_size=1, max_size=5, unique_by=lambda pair: pair[0])


@settings(deadline=None)
@given(pairs, st.sampled_from(["csv", "parquet", "jsonl", "inspect", "evals", "langfuse", "yaml"]))
def test_the_same_pairs_in_any_format_are_the_same_cases(some: list[tuple[str, str]], kind: str) -> None:
    with folder() as root:
        path = root / f"a.{kind if kind in {'csv', 'parquet', 'yaml'} else 'jsonl'}"
        write_pairs(path, some, kind)
        read = [(case.input, case.expected) for case in read_cases(path).cases]
        want: list[tuple[Any, str]] = [({"q": a}, b) for a, b in some] if kind == "yaml" else list(some)
        if kind in {"csv", "parquet"}:  # space around an answer of a table is none of it
            want = [(asked, answer.strip()) for asked, answer in want]
        assert read == want


def write_pairs(path: Path, some: list[tuple[str, str]], kind: str) -> None:
    if kind == "csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("input", "expected"), *some])
    elif kind == "parquet":
        parquet.write_table(pa.table({"input": [a for a, _ in some], "expected": [b for _, b in some]}), path)
    elif kind == "yaml":
        tests = [{"vars": {"q": a}, "assert": [{"type": "equals", "value": b}]} for a, b in some]
        path.write_text(yaml.safe_dump({"tests": tests}), encoding="utf-8")
    else:
        key = {"jsonl": "expected", "inspect": "target", "evals": "ideal", "langfuse": "expectedOutput"}[kind]
        path.write_text("".join(json.dumps({"input": a, key: b}) + "\n" for a, b in some), encoding="utf-8")


def accepts_or_says_why(content: bytes, suffix: str) -> None:
    with folder() as root:
        path = root / f"a{suffix}"
        path.write_bytes(content)
        for read in READERS:
            with contextlib.suppress(TuneworthyError):
                read(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=200))
def test_garbage_bytes_give_only_our_errors(content: bytes, suffix: str) -> None:
    accepts_or_says_why(content, suffix)


KEYS = ["input", "messages", "expected", "id", "group", "tags", "documents", "tools", "target", "choices", "ideal"]
KEYS += ["expectedOutput", "status", "prompt", "completion", "instruction", "output", "system", "history"]
KEYS += [
    "conversations",
    "request",
    "response",
    "vars",
    "assert",
    "metadata",
    "text",
    "label",
    "role",
    "content",
    "from",
]
KEYS += ["from", "value", "choices", "message", "type", "meta"]
nodes = st.recursive(
    scalars | st.sampled_from(["", "user", "assistant", "human", "gpt", "equals", "null", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
rows = st.lists(st.dictionaries(st.sampled_from(KEYS), nodes, max_size=5), min_size=1, max_size=4)


@settings(max_examples=80, deadline=None)
@given(rows)
@pytest.mark.slow
def test_rows_of_known_keys_with_wrong_values_give_only_our_errors(some: list[dict[str, Any]]) -> None:
    accepts_or_says_why("\n".join(json.dumps(row) for row in some).encode(), ".jsonl")
    accepts_or_says_why(yaml.safe_dump({"tests": some}).encode(), ".yaml")


@settings(max_examples=60, deadline=None)
@given(rows)
@pytest.mark.slow
def test_tables_of_known_keys_with_wrong_values_give_only_our_errors(some: list[dict[str, Any]]) -> None:
    names = sorted({key for row in some for key in row})
    text = [names, *[[json.dumps(row[name]) if name in row else "" for name in names] for row in some]]
    with folder() as root:
        with (root / "a.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(text)
        accepts_or_says_why((root / "a.csv").read_bytes(), ".csv")
        with contextlib.suppress(pa.ArrowException, TypeError, OverflowError):
            parquet.write_table(pa.Table.from_pylist(some), root / "a.parquet")
            accepts_or_says_why((root / "a.parquet").read_bytes(), ".parquet")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_flipped_byte_of_a_parquet_file_gives_only_our_errors(position: int, byte: int) -> None:
    with folder() as root:
        parquet.write_table(pa.table({"input": ["a", "b"], "expected": ["x", "y"]}), root / "p.parquet")
        content = bytearray((root / "p.parquet").read_bytes())
        content[position % len(content)] = byte
        accepts_or_says_why(bytes(content), ".parquet")
