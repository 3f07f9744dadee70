"""Readers of files: bytes that are nearly a file, and rows of each format in each container."""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa
from hypothesis import strategies as st
from pyarrow import parquet
from scripts.fuzz.mutations import as_json, contents, values

from tuneworthy.cases import guess_kind, labels_of, make_split, read_cases, read_examples, stream_examples
from tuneworthy.cases.labelling import read_labels
from tuneworthy.cases.readers.faults import Rejects
from tuneworthy.cases.sampling import sample_cases
from tuneworthy.config import load
from tuneworthy.errors import TuneworthyError
from tuneworthy.graders.json_schema import first_error, load_schema
from tuneworthy.graders.json_text import find_json
from tuneworthy.graders.pattern import search
from tuneworthy.graders.style import read_generic
from tuneworthy.prompts.templates import question
from tuneworthy.providers.gguf import read_header
from tuneworthy.providers.weights import read_tensors
from tuneworthy.retrieval.documents import read_documents
from tuneworthy.train.settings_table import read_settings
from tuneworthy.types import canonical, content_hash

PROJECT: Final = b"""[task]
name = "t"
target = 0.9
[[graders]]
type = "exact"
[models.m]
provider = "openai"
model = "gpt-x"
base_url = "http://127.0.0.1:9/v1"
[prompt]
user = "{{ input }}"
[documents]
path = "docs"
[data]
policy = { pii = "drop" }
[ladder]
baseline = "m"
budget_usd = 1.0
"""
TENSORS: Final = b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
PDF: Final = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>endobj
4 0 obj<</Length 34>>stream
BT /F 9 Tf (the fee is 2 %) Tj ET
endstream endobj
5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj
trailer<</Root 1 0 R/Size 6>>
%%EOF
"""
CALL: Final = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
CHAT: Final = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
TURN: Final = {"role": "assistant", "content": "a"}
ROWS: Final[tuple[dict[str, Any], ...]] = (
    {"id": "a", "input": "q", "expected": ["x", 1, None], "group": "g", "tags": ["t"], "documents": ["d"], "tools": []},
    {"input": {"text": "q", "slots": ["a"]}, "expected": {"a": {"b": 1}}},
    {"messages": CHAT, "expected": None, "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
    {"vars": {"a": ["x", "y"], "b": "z"}, "assert": [{"type": "equals", "value": "x"}], "metadata": {"group": "g"}},
    {"input": CHAT, "target": ["B"], "choices": ["x", "y"], "id": 3},
    {"input": CHAT, "ideal": ["x"]},
    {"input": {"messages": CHAT}, "expectedOutput": {"a": 1}, "status": "ACTIVE", "datasetId": "d"},
    {"question": "q", "answer": "a", "meta": {"by": "x"}},
    {"messages": [*CHAT, {"role": "assistant", "content": None, "tool_calls": [CALL]},
                  {"role": "tool", "tool_call_id": "c", "content": "1"}, {**TURN, "weight": 1, "train": True}]},
    {"messages": [*CHAT, {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
                  {"role": "function", "name": "f", "content": "1"}, TURN], "tools": [{"name": "f"}]},
    {"request": {"messages": CHAT, "model": "m", "functions": [{"name": "f"}]},
     "response": {"choices": [{"message": TURN, "finish_reason": "stop"}], "model": "m"}, "feedback": {"score": 1}},
    {"request_body": {"body": {"instructions": "i", "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "q"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "1"}, {"type": "reasoning"}]}},
     "response_body": {"output": [{"type": "message", "content": [{"type": "output_text", "text": "a"}]}],
                       "incomplete_details": {"reason": "max_output_tokens"}}},
    {"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": '{"name": "f"}'},
                       {"from": "observation", "value": "1"}, {"from": "gpt", "value": "a"}], "system": "s"},
    {"instruction": "i", "input": "q", "output": "a", "history": [["q", "a"]]},
    {"prompt": CHAT, "completion": [TURN]},
    {"case": "a", "label": "x", "labeller": "r", "time": "2026-01-01"},
    {"text": "the fee", "title": "Fees", "id": "d"},
)  # fmt: skip
SEEDS: Final = (
    b"\n".join(map(as_json, ROWS[:2])) + b"\n",
    b"input,expected\nq,a\n",
    b"tests:\n- vars: {a: &a [1]}\n  assert: [{type: equals, value: *a}]\n",
    PROJECT,
    b"GGUF\3\0\0\0",
    len(TENSORS).to_bytes(8, "little") + TENSORS + b"\0\0\0\0",
    b'{"anyOf": [{"pattern": "(a+)+$"}, {"$ref": "#/anyOf/0"}]}',
    b"<html><head><meta charset=utf-8></head><body><h1>a</h1><p>b<table><tr><td>c</table><svg><p>",
    b"# a\n\n    b\n\n- c\n  > d\n```\n# e\n",
    b"{{ input }}{% for i in range(9) %}{{ i }}{% endfor %}",
    b"(?P<a>x+)+$",
    b'{"r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}',
    PDF,
)
ENDINGS: Final = (
    ".jsonl", ".json", ".csv", ".tsv", ".yaml", ".txt", ".md", ".html", ".pdf", ".gguf", ".safetensors", ".toml",
    ".parquet", ".jsonl.gz", "",
)  # fmt: skip


def cases_of(path: Path) -> None:
    """Read cases and do with them what `check` does before anything is asked."""
    cases = read_cases(path).cases
    labels_of(cases)
    guess_kind(case.expected for case in cases)
    canonical([[case.input, case.messages, case.expected if case.labelled else None] for case in cases])
    make_split(cases, seed=1, dev_size=20)


def examples_of(path: Path) -> None:
    """Read examples, whole and as a stream."""
    content_hash([[one.messages, one.meta] for one in read_examples(path).examples])
    for _ in stream_examples(path, Rejects(path)).rows:
        pass


READERS: tuple[Callable[[Path], Any], ...] = (
    cases_of,
    examples_of,
    lambda path: sample_cases(path, 5, 1),
    read_labels,
    read_generic,
    read_documents,
    read_header,
    read_tensors,
    lambda path: read_settings(path.rename(path.with_suffix(".json"))),
    lambda path: load(path.rename(path.with_suffix(".toml"))),
)


def packed(rows: list[Any], ending: str) -> bytes:
    """Write rows in the container of an ending; JSON lines where it holds no rows."""
    if ending == ".json":
        return as_json(rows)
    if ending == ".yaml":
        return as_json({"tests": rows})
    table = [row if isinstance(row, dict) else {"input": row} for row in rows]
    if ending in {".csv", ".tsv"}:
        file = io.StringIO()
        names = list({key: None for row in table for key in row})
        writer = csv.DictWriter(file, names, dialect="excel-tab" if ending == ".tsv" else "excel")
        writer.writeheader()
        cells = ({k: v if isinstance(v, str) else as_json(v).decode() for k, v in row.items()} for row in table)
        writer.writerows(cells)
        return file.getvalue().encode("utf-8", "replace")
    if ending == ".parquet":
        with suppress(pa.ArrowException, OverflowError, TypeError):
            sink = io.BytesIO()
            parquet.write_table(pa.Table.from_pylist(table), sink)
            return sink.getvalue()
    lines = b"".join(as_json(row) + b"\n" for row in rows)
    return gzip.compress(lines) if ending.endswith(".gz") else lines


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, str]:
    """Return the content of a file and its ending."""
    ending = draw(st.sampled_from(ENDINGS))
    if draw(st.booleans()):
        return draw(contents(SEEDS)), ending
    rows = draw(st.lists(values(ROWS), min_size=1, max_size=3))
    content = packed(rows, ending)
    return draw(contents([content])) if draw(st.integers(0, 4)) == 0 else content, ending


INPUTS = st.tuples(files(), st.integers(0, 10**6))


def use(drawn: tuple[tuple[bytes, str], int]) -> None:
    """Hand a file to a reader, and its text to what is no reader."""
    (content, ending), number = drawn
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"a{ending}"
        path.write_bytes(content)
        with suppress(TuneworthyError):
            READERS[number % len(READERS)](path)
    if number % 5 == 0:
        texts(content.decode(errors="replace"))


def texts(text: str) -> None:
    """Hand a text to what is no reader: templates, patterns, answers, schemas."""
    for ask in (
        lambda: question(text, "x"),
        lambda: search(text[:100], "aaaa!"),
        lambda: find_json(text),
        lambda: first_error(orjson.dumps(load_schema(text.encode(), "s")).decode(), {"a": 1}),
    ):
        try:
            ask()
        except TuneworthyError:
            pass
        except (UnicodeEncodeError, RecursionError):
            if ask.__code__.co_names[0] != "first_error":  # it runs in the limited child
                raise


def prepare() -> None:
    """Nothing is needed."""
