"""Awkward files: every row of them is given out or left out with its reason, and memory stays bounded."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tuneworthy.cases import DataFaults, Reject, Rejects, read_cases, read_examples, stream_examples
from tuneworthy.cases.readers import files
from tuneworthy.errors import DataError, TuneworthyError

ROW = {"messages": [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "Here."}]}
LINE = json.dumps(ROW).encode()


def streamed(path: Path) -> tuple[str, list[tuple[int, dict[str, Any]]], list[Reject]]:
    """The format, the rows with their lines, and the rejects in the order in which they were taken."""
    journal = Rejects(path)
    stream = stream_examples(path, journal)
    rows, rejects, last = [], [], 0
    for line, fields in stream.rows:
        assert line >= last, "lines go back"
        last = line
        rejects += list(journal.take(line))
        if fields is not None:
            rows.append((line, fields))
    assert journal.first() is None, "a reject after the last line"
    return stream.format, rows, rejects


def reasons(path: Path) -> list[tuple[int, str]]:
    return [(reject.line, reject.reason) for reject in streamed(path)[2]]


def chat(*turns: tuple[str, Any]) -> bytes:
    return json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]}).encode()


KEYS = [key for key in files.LIST_KEYS if "/" not in key]
LINES: list[tuple[bytes, str]] = [
    (b'{"messages": ', "not_json"),
    (b"\0\0\0\0", "not_json"),
    (b'{"a": "\0"}', "not_json"),
    (b"[1, 2]", "not_an_object"),
    (b"caf\xe9", "not_utf8"),
    (LINE.replace(b"Here", b"H\xe9re"), "not_utf8"),
    (b'{"messages": "\\ud800"}', "not_json"),
    (b'{"messages": ' + b'{"a":' * 300 + b"1" + b"}" * 301, "too_deep"),
    (b"{}", "missing_key"),
    (b'{"messages": []}', "no_messages"),
    (b'{"messages": ["hi"]}', "bad_message"),
    (chat(("user", "a"), ("alien", "b")), "unknown_role"),
    (chat(("user", "a"), ("assistant", "")), "empty_answer"),
    (chat(("user", "a"), ("assistant", " \u200b\u202e\ufeff")), "empty_answer"),
    (chat(("user", "a"), ("assistant", ""), ("user", "b"), ("assistant", "c")), "empty_turn"),
    (chat(("user", "a"), ("assistant", None)), "no_content"),
    (chat(("user", "a"), ("assistant", [{"type": "image_url"}])), "not_text"),
    (chat(("user", "a"), ("assistant", "b"), ("user", "c")), "no_answer"),
    (chat(("assistant", "b")), "no_question"),
    (b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [{}]}]}', "bad_tool_call"),
    (LINE[:-1] + b', "tools": "[oops"}', "bad_tools"),
]


@pytest.mark.parametrize(("line", "reason"), LINES, ids=[f"{reason}-{i}" for i, (_, reason) in enumerate(LINES)])
def test_a_bad_line_is_left_out_with_its_reason_and_its_neighbours_stay(
    line: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + LINE + b"\r\n" + line + b"\r\n\r\n\xef\xbb\xbf" + LINE)
    _, rows, rejects = streamed(path)
    assert [number for number, _ in rows] == [1, 4]
    assert [(reject.line, reject.reason) for reject in rejects] == [(2, reason)]
    assert rejects[0].words
    if reason != "too_deep":
        raw = rejects[0].raw
        assert raw == line + b"\r\n" or raw == json.loads(line)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "jsonl.gz"])
def test_a_line_above_the_limit_is_passed_over_without_being_held(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_LINE", 2000)
    long = "x" * 5_000_000
    path = tmp_path / f"a.{kind}"
    if kind == "csv":
        path.write_text(f"input,expected\na,b\n{long},c\nd,e\n")
    else:
        content = b"\n".join([LINE, chat(("user", long), ("assistant", "b")), LINE])
        path.write_bytes(gzip.compress(content) if kind.endswith("gz") else content)
    _, rows, rejects = streamed(path)
    assert len(rows) == 2
    assert [reject.reason for reject in rejects] == ["too_long"]
    assert rejects[0].got == "a line of 4.8 MiB"
    with pytest.raises(DataFaults, match="of at most"):
        read_examples(path)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.json.gz", "a.csv.gz", "a"])
def test_gzip_is_read_and_what_stands_before_its_damage_is_kept(name: str, tmp_path: Path) -> None:
    lines = [chat(("user", f"q{i}"), ("assistant", "a" * (i % 7 + 1))) for i in range(3000)]
    content = b"\n".join(lines)
    if name.startswith("a.json."):
        content = b"[" + b",\n".join(lines) + b"]"
    if name.startswith("a.csv"):
        content = b"input,expected\n" + b"".join(b"q%d,a\n" % i for i in range(3000))
    packed = gzip.compress(content)
    path = tmp_path / name
    path.write_bytes(packed)
    form, rows, rejects = streamed(path)
    assert "+gzip/" in form
    assert (len(rows), rejects) == (3000, [])
    path.write_bytes(packed[: len(packed) // 2])
    _, rows, rejects = streamed(path)
    assert 1000 < len(rows) < 2000
    assert rejects[-1].reason == "cut_off"
    assert rejects[-1].line == rows[-1][0] + 1
    with pytest.raises(DataFaults, match="expected a complete gzip file, got a truncated file"):
        read_examples(path)
    path.write_bytes(packed[:-8] + b"\0" * 8)  # the checksum
    _, rows, rejects = streamed(path)
    assert rejects[-1].reason == "cut_off"
    assert len(rows) >= (2500 if name.startswith("a.json.") else 2999)  # of a JSON list what one read holds is lost


def test_a_file_that_is_gzip_by_two_bytes_only_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    for content in (b"\x1f\x8b", b"\x1f\x8bnonsense", gzip.compress(LINE)[:11]):
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read_examples(path)
        assert "\n" not in str(caught.value)


def test_rows_of_csv_are_left_out_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        b"\xef\xbb\xbfinput,expected\r\n"
        b"=1+1,@SUM(A1)\r\n"  # 2: a formula is text like any other
        b"a,b,c\r\n"  # 3: too many cells
        b"caf\xe9,b\r\n"  # 4: not UTF-8
        b'"two\r\nlines",b\r\n'  # 5 and 6
        b'"a"b,c\r\n'  # 7: a quote inside
        b"nul\0,b\r\n"  # 8: kept here; `data import` leaves it out
        b"\r\n"
        b'last,"caf\xe9\r\n\xff"\r\n'  # 10 and 11: one row, two bad lines
        b'"open,b\r\n'  # 12: never closed
    )
    _, rows, rejects = streamed(path)
    assert [(line, fields["messages"][0]["content"]) for line, fields in rows] == [
        (2, "=1+1"),
        (5, "two\r\nlines"),
        (8, "nul\0"),
    ]
    assert rows[0][1]["messages"][1]["content"] == "@SUM(A1)"
    bad = [(3, "wrong_cells"), (4, "not_utf8"), (7, "bad_csv"), (10, "not_utf8"), (11, "not_utf8"), (12, "bad_csv")]
    assert [(reject.line, reject.reason) for reject in rejects] == bad
    assert rejects[0].raw == ["a", "b", "c"]


def test_unknown_columns_of_a_table_stay_with_the_example(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('question,answer,feedback,n\nq,a,"{""thumbs"": ""down""}",\n')
    _, rows, _ = streamed(path)
    assert rows[0][1]["meta"] == {"feedback": {"thumbs": "down"}}


@pytest.mark.parametrize(
    ("elements_", "told"),
    [
        ([LINE, b"7", LINE], [(2, "not_an_object")]),
        ([LINE, b'{"a": }', LINE], [(2, "not_json")]),
        ([LINE, b"", LINE], [(2, "not_json")]),
        ([LINE, LINE.replace(b"Here", b"H\xe9re"), LINE], [(2, "not_utf8")]),
        ([LINE, LINE, b""], [(3, "not_json")]),
    ],
)
def test_an_element_that_is_no_object_is_left_out_and_nothing_is_read_behind_a_syntax_error(
    elements_: list[bytes], told: list[tuple[int, str]], tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf [\n" + b",\n".join(elements_) + b"\n]\n")
    assert reasons(path) == told


def test_a_list_that_is_cut_off_or_followed_by_something_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"[" + LINE + b"," + LINE[:30])
    assert reasons(path) == [(2, "not_json")]
    path.write_bytes(b"[" + LINE + b"]\n[" + LINE + b"]")
    assert reasons(path) == [(2, "not_json")]
    path.write_bytes(b'{"meta": {"data": [1]}, "rows": [' + LINE + b', 1], "more": [2]}')
    assert reasons(path) == [(2, "not_an_object")]


def test_a_file_of_nothing_but_faults_gives_them_all_or_gives_up(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"oops\n" * 10)
    form, rows, rejects = streamed(path)
    assert (form, rows, len(rejects)) == ("jsonl/unknown", [], 10)
    path.write_bytes(b"oops\n" * 1000 + LINE)
    with pytest.raises(DataError, match=r"a.jsonl:1: .* got errors in each of the first 1000 rows"):
        streamed(path)


def test_faults_ahead_of_the_rows_are_taken_in_the_order_of_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([LINE, b'{"messages": []}', b"oops", LINE, b'{"messages": 1}', b"oops"]))
    assert [line for line, _ in reasons(path)] == [2, 3, 5, 6]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows))


def test_sharegpt_keeps_calls_of_tools_and_names_unknown_roles(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    call = {"name": "find", "arguments": {"q": "x"}}
    good = [
        {"from": "human", "value": "q"},
        {"from": "function_call", "value": json.dumps(call)},
        {"from": "observation", "value": "none"},
        {"from": "gpt", "value": "No."},
    ]
    tool = {"name": "find", "parameters": {}}
    role_style = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    rows = [
        {"conversations": good, "tools": json.dumps([tool])},
        {"conversations": [{"from": "narrator", "value": "q"}, *good]},
        {"conversations": [good[0], {"from": "function_call", "value": "find(x)"}]},
        {"conversations": [good[0], {"from": "gpt", "value": ""}]},
        {"conversations": role_style},
    ]
    write_rows(path, rows)
    _, read, rejects = streamed(path)
    messages = read[0][1]["messages"]
    made = {"id": "call_0", "type": "function", "function": {"name": "find", "arguments": '{"q":"x"}'}}
    assert messages[1] == {"role": "assistant", "content": None, "tool_calls": [made]}
    assert messages[2] == {"role": "tool", "content": "none", "tool_call_id": "call_0"}
    assert read[0][1]["meta"] == {"tools": [{"type": "function", "function": tool}]}
    assert list(read[1][1]["messages"]) == role_style
    told = [(reject.line, reject.reason) for reject in rejects]
    assert told == [(2, "unknown_role"), (3, "bad_tool_call"), (4, "empty_answer")]


ASKED = {"role": "user", "content": "q"}
TOOL = {"type": "function", "function": {"name": "f"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


@pytest.mark.parametrize(
    ("row", "roles", "meta"),
    [
        (
            {
                "request": {"messages": [ASKED], "model": "m", "tools": [TOOL]},
                "response": {
                    "choices": [{"message": {"content": None, "tool_calls": [CALL]}, "finish_reason": "tool_calls"}]
                },
                "feedback": {"score": 1},
            },
            ["user", "assistant"],
            {
                "model": "m",
                "finish_reason": "tool_calls",
                "tools": [TOOL],
                "feedback": {"score": 1},
            },
        ),
        (
            {
                "request": {"input": "q", "instructions": "s", "model": "m"},
                "response": {
                    "model": "m-1",
                    "output": [
                        {"type": "reasoning", "summary": []},
                        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
                    ],
                },
            },
            ["system", "user", "assistant"],
            {"model": "m-1", "finish_reason": "stop", "responses_api": True},
        ),
        (
            {
                "request": {
                    "input": [
                        {"role": "user", "content": [{"type": "input_text", "text": "q"}]},
                        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                        {"type": "function_call_output", "call_id": "c", "output": "7"},
                    ]
                },
                "response": {
                    "output": [{"type": "message", "content": [{"type": "output_text", "text": "a"}]}],
                    "incomplete_details": {"reason": "max_output_tokens"},
                },
            },
            ["user", "assistant", "tool", "assistant"],
            {"finish_reason": "length", "responses_api": True},
        ),
        (
            {
                "request": {
                    "functions": [{"name": "f"}],
                    "messages": [
                        ASKED,
                        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
                        {"role": "function", "name": "f", "content": "7"},
                    ],
                },
                "response": {"choices": [{"message": {"function_call": {"name": "f", "arguments": "{}"}}}]},
            },
            ["user", "assistant", "tool", "assistant"],
            {"tools": [TOOL]},
        ),
        ({"messages": [ASKED], "response": "a", "model": "m"}, ["user", "assistant"], {"model": "m"}),
        (
            {"request_body": {"messages": [ASKED]}, "response_body": {"choices": [{"message": {"content": "a"}}]}},
            ["user", "assistant"],
            {},
        ),
    ],
    ids=["chat", "responses", "responses with calls", "functions", "flat", "bodies"],
)  # fmt: skip
def test_logs_of_each_kind_become_chats(row: Any, roles: list[str], meta: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_rows(path, [row])
    form, read, _ = streamed(path)
    assert form == "jsonl/openai_log"
    fields = read[0][1]
    assert [message["role"] for message in fields["messages"]] == roles
    assert fields.get("meta", {}) == meta


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (None, "no_response"),
        ({"error": "overloaded"}, "failed_request"),
        ({"choices": []}, "failed_request"),
        ({"choices": [{"message": {"content": None, "refusal": "no"}}]}, "refused"),
        ({"choices": [{"message": {"content": ""}}]}, "empty_answer"),
        ({"output": []}, "empty_answer"),
        ({"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}]}, "refused"),
        ({"output": [{"type": "web_search"}]}, "bad_message"),
    ],
)
def test_a_log_without_an_answer_says_why(response: Any, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_rows(path, [{"request": {"messages": [ASKED]}, "response": response}])
    assert reasons(path) == [(1, reason)]


# --- properties over all readers ------------------------------------------------------------------------------------

SUFFIXES = [".jsonl", ".json", ".csv", ".tsv", ".parquet", ".yaml", ".jsonl.gz", ".csv.gz", ".gz", ""]
SNIPPETS = [
    LINE, LINE[:-2], b"\n", b"\r\n", b"\r", b",", b'"', b"\\", b"\0", b"\xff", b"\xef\xbb\xbf", b"[", b"]", b"{", b"}",
    b"input,expected\n", b"a,b\n", b'"a\nb",c\n', "\u200b\u202e\u0627".encode(), b"=1+1", b"PAR1",
    b"tests:\n- vars: {a: b}\n",
    b'{"conversations": [{"from": "alien", "value": "x"}]}', b'{"instruction": "i", "output": ""}', b"\x1f\x8b",
    b'{"prompt": "p", "completion": "c"}', b'{"input": "q", "expected": "a"}', b'{"data": [', b"null", b"NaN", b"1e999",
]  # fmt: skip
contents = st.lists(st.sampled_from(SNIPPETS) | st.binary(max_size=8), max_size=12).map(b"".join)


def check_stream(path: Path) -> None:
    """Whatever the file holds: our own error for the file, or every line once, in order, as a row or as a reject."""
    try:
        _, rows, rejects = streamed(path)
    except TuneworthyError:
        return
    lines = Counter([line for line, _ in rows])
    assert all(n == 1 for n in lines.values())
    for reject in rejects:
        assert reject.reason and reject.words
        assert reject.line >= 1


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=80, deadline=None)
@given(content=contents, cut=st.integers(0, 400))
def test_any_bytes_are_rows_or_rejects(suffix: str, content: bytes, cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        path.write_bytes(gzip.compress(content)[: cut + 10] if suffix.endswith(".gz") else content)
        check_stream(path)
        for read in (read_cases, read_examples):
            with contextlib.suppress(TuneworthyError):
                read(path)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=6)
    | st.sampled_from(["user", "assistant", "human", "gpt", "function_call", "tool", "", "q", "{}", "[]"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["role", "content", "from", "value", "tool_calls", "function", "name", "arguments", "message",
                         "choices", "messages", "input", "output", "type", "text", "body", "refusal", "id"]),
        inner, max_size=4,
    ),
    max_leaves=10,
)  # fmt: skip
FIRST: list[dict[str, Any]] = [
    ROW,
    {"request": {"messages": [ASKED]}, "response": {"choices": [{"message": {"content": "a"}}]}},
    {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
    {"instruction": "i", "output": "o"},
    {"prompt": "p", "completion": "c"},
    {"input": "q", "expected": "a"},
    {"question": "q", "answer": "a"},
]
TOP = ["messages", "request", "response", "conversations", "instruction", "input", "output", "history", "system"]
TOP += ["prompt", "completion", "expected", "question", "answer", "tools", "meta", "tags", "group", "feedback"]


@pytest.mark.parametrize("first", FIRST, ids=[next(iter(row)) for row in FIRST])
@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.dictionaries(st.sampled_from(TOP), values, max_size=5), min_size=1, max_size=5))
def test_every_format_gives_each_row_or_its_reason(first: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        write_rows(path, [first, *rows])
        _, read, rejects = streamed(path)
        lines = sorted([line for line, _ in read] + [reject.line for reject in rejects])
        assert lines == list(range(1, len(rows) + 2))


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(values, max_size=6),
    indent=st.sampled_from([None, 1]),
    key=st.sampled_from([None, *KEYS]),
)
def test_a_list_gives_every_element_however_it_is_written(rows: Any, indent: Any, key: str | None) -> None:
    text = json.dumps(rows if key is None else {"n": [1], key: rows}, indent=indent)
    assume("Infinity" not in text and "NaN" not in text)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        path.write_text(text)
        journal = Rejects(path)
        read = [row for _, row in files.open_rows(path, journal).rows]
        assert [row for row in read if row is not None] == [row for row in rows if isinstance(row, dict)]
        assert len(read) == len(rows)


@pytest.mark.slow
def test_a_line_of_200_mb_takes_little_memory(tmp_path: Path) -> None:
    code = (
        "import re, sys; from pathlib import Path; from tuneworthy.cases import Rejects, stream_examples\n"
        "path = Path(sys.argv[1]); journal = Rejects(path); stream = stream_examples(path, journal)\n"
        "kept = sum(fields is not None for _, fields in stream.rows)\n"
        "peak = int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) // 1024\n"
        "print(kept, journal.first().reason, peak)\n"
    )
    for name in ("a.jsonl", "a.jsonl.gz"):
        path = tmp_path / name
        opener: Any = gzip.open if name.endswith("gz") else open
        with opener(path, "wb") as file:
            file.write(LINE + b"\n")
            file.write(b'{"messages": "')
            for _ in range(200):
                file.write(b"x" * 2**20)
            file.write(b'"}\n' + LINE)
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        kept, reason, megabytes = done.stdout.split()
        assert (kept, reason) == ("2", "too_long")
        print(f"{name}: {megabytes} MB")
        assert int(megabytes) < 120, f"{name}: {megabytes} MB"


def test_a_list_too_large_to_be_read_whole_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MAX_WHOLE", 100)
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"n": [1], "rows": [' + b",".join([LINE] * 5) + b", 7]}")
    form, rows, rejects = streamed(path)
    assert (form, len(rows), [(one.line, one.reason) for one in rejects]) == (
        "json/messages",
        5,
        [(6, "not_an_object")],
    )
