"""Readers: every format gives the same nouns, every fault is named with its line, all at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from tuneworthy.cases import DataFaults, read_cases, read_examples
from tuneworthy.cases.writer import write_cases
from tuneworthy.errors import DataError
from tuneworthy.types import UNLABELLED, Case

ASK = {"role": "user", "content": "Where is my card?"}
TELL = {"role": "assistant", "content": "card_arrival"}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


def test_native_rows_keep_all_their_keys(file: Path) -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    row = {
        "id": "a",
        "input": "q",
        "expected": {"x": 1},
        "group": "g",
        "tags": ["t"],
        "documents": ["d"],
        "tools": [tool],
    }
    (case,) = read_cases(write(file, row)).cases
    assert case == Case(id="a", input="q", expected={"x": 1}, group="g", tags=("t",), documents=("d",), tools=(tool,))


def test_null_means_decline_and_a_missing_key_means_unlabelled(file: Path) -> None:
    first, second = read_cases(write(file, {"input": "a", "expected": None}, {"input": "b"})).cases
    assert first.expected is None
    assert first.labelled
    assert second.expected is UNLABELLED


def test_an_id_is_the_hash_of_the_question_so_a_corrected_label_keeps_it(file: Path) -> None:
    one = read_cases(write(file, {"input": "a", "expected": "x"})).cases[0]
    two = read_cases(write(file, {"input": "a", "expected": "y"})).cases[0]
    assert one.id == two.id == Case.make_id("a")


def test_bom_crlf_and_blank_lines_are_read_over(file: Path) -> None:
    file.write_bytes(b'\xef\xbb\xbf{"input": "a"}\r\n\r\n{"input": "b"}\r\n')
    assert [case.input for case in read_cases(file).cases] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"input": "q", "expected": "x"}\n'),
        ("a.json", '[{"input": "q", "expected": "x"}]'),
        ("a.json", '{\n "data": [{"input": "q", "expected": "x"}]}'),
        ("a.csv", "input,expected\nq,x\n"),
        ("a.csv", "input;expected\r\nq;x\r\n"),
        ("a.tsv", "input\texpected\nq\tx\n"),
        ("a.csv", "\ufeffquestion,label\nq,x\n"),
        ("a.jsonl", '{"input": "q", "target": "x"}\n'),
        ("a.json", '[{"input": "q", "target": ["x"], "metadata": {}}]'),
        ("a.jsonl", '{"input": "q", "ideal": "x"}\n'),
        ("a.jsonl", '{"input": "q", "expectedOutput": "x", "metadata": null}\n'),
        ("a.json", '[{"input": "q", "expectedOutput": "x"}]'),
    ],
)
def test_every_format_gives_the_same_case(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    (case,) = read_cases(path).cases
    assert (case.input, case.expected) == ("q", "x")


def test_openai_evals_take_a_chat_and_the_ideal(file: Path) -> None:
    read = read_cases(write(file, {"input": [{"role": "system", "content": "s"}, ASK], "ideal": ["a", "b"]}))
    assert read.format == "jsonl/openai_evals"
    assert read.cases[0].messages[-1] == ASK
    assert read.cases[0].expected == ["a", "b"]


def test_inspect_choices_are_written_below_the_question(file: Path) -> None:
    read = read_cases(write(file, {"id": 3, "input": "Which?", "choices": ["one", "two"], "target": "B"}))
    assert read.cases[0].input == "Which?\n\nA) one\nB) two"
    assert read.cases[0].id == "3"
    assert "choices" in read.notes[0]


def test_an_archived_langfuse_item_is_left_out_and_counted(file: Path) -> None:
    rows = [{"input": "a", "expectedOutput": "x"}, {"input": "b", "expectedOutput": "y", "status": "ARCHIVED"}]
    read = read_cases(write(file, *rows))
    assert [(row.line, row.words) for row in read.dropped] == [(2, "the Langfuse item is archived")]
    assert "dropped: the Langfuse item is archived (1 row)" in read.notes


def test_a_null_of_langfuse_means_unlabelled(file: Path) -> None:
    read = read_cases(write(file, {"input": "a", "expectedOutput": None, "id": "x"}))
    assert read.cases[0].expected is UNLABELLED
    assert any("unlabelled" in note for note in read.notes)


def test_a_promptfoo_configuration_gives_variables_and_expected_answers(tmp_path: Path) -> None:
    path = tmp_path / "promptfooconfig.yaml"
    path.write_text(
        "prompts: ['Say {{word}}']\ntests:\n"
        "  - vars: {word: [hi, ho]}\n    assert: [{type: icontains, value: h}, {type: latency, threshold: 5}]\n"
        "  - vars: {word: bye}\n    assert:\n      - type: equals\n        value: Bye\n      - type: is-json\n"
        "  - vars: {word: bomb}\n    assert: [{type: is-refusal}]\n"
        "  - vars: {word: '2020'}\n"
    )
    read = read_cases(path)
    assert [case.input for case in read.cases] == [{"word": w} for w in ("hi", "ho", "bye", "bomb", "2020")]
    assert [case.expected for case in read.cases] == ["h", "h", "Bye", None, UNLABELLED]
    notes = "\n".join(read.notes)
    for part in ("`prompts` is ignored", "`icontains` is used as the", "`latency` is ignored", 'type = "json_schema"'):
        assert part in notes


def test_several_input_columns_make_variables_and_cells_may_hold_json(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('city,when,slots\nOslo,now,"{""date"": 1}"\nBonn,then,\nRome,soon,null\nNice,ever,{oops\n')
    read = read_cases(path, input_column=["city", "when"], expected_column="slots")
    assert read.cases[0].input == {"city": "Oslo", "when": "now"}
    assert [case.expected for case in read.cases] == [{"date": 1}, UNLABELLED, None, "{oops"]
    assert any("looks like JSON" in note for note in read.notes)


def test_guessed_and_unread_columns_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,category,who\nq,x,me\n")
    assert read_cases(path).notes == (
        "using column 'text' as the input and column 'category' as the expected answer",
        "ignored columns: who",
    )


def test_a_number_in_a_cell_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("input,expected\n13,007\n")
    assert (read_cases(path).cases[0].input, read_cases(path).cases[0].expected) == ("13", "007")


def test_parquet_gives_cases_and_chats(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"input": ["a", "b"], "expected": ['{"k": [1]}', None], "group": ["g", None]}), path)
    cases = read_cases(path).cases
    assert [case.expected for case in cases] == [{"k": [1]}, UNLABELLED]
    assert [case.group for case in cases] == ["g", None]
    chat = pa.table({"messages": [[{**ASK, "name": None}, {**TELL, "name": None}]]})
    parquet.write_table(chat, path)
    assert read_examples(path).examples[0].messages == (ASK, TELL)
    parquet.write_table(pa.table({"messages": [json.dumps([ASK, TELL])]}), path)
    assert read_examples(path).examples[0].messages == (ASK, TELL)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [ASK, TELL]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": ASK["content"]}]}, TELL]},
        {"prompt": ASK["content"], "completion": TELL["content"]},
        {"prompt": [ASK], "completion": [TELL]},
        {"prompt": [ASK], "completion": TELL["content"]},
        {"instruction": ASK["content"], "input": "", "output": TELL["content"]},
        {"conversations": [{"from": "human", "value": ASK["content"]}, {"from": "gpt", "value": TELL["content"]}]},
        {"request": {"messages": [ASK]}, "response": {"choices": [{"message": TELL}]}},
        {"request": {"body": {"messages": [ASK]}}, "response": {"body": {"choices": [{"message": TELL}]}}},
        {"input": ASK["content"], "expected": TELL["content"]},
        {"messages": [ASK], "expected": TELL["content"]},
        {"text": ASK["content"], "label": TELL["content"]},
    ],
)
def test_every_format_gives_the_same_example(file: Path, row: dict[str, Any]) -> None:
    (example,) = read_examples(write(file, row)).examples
    assert example.messages == (ASK, TELL)
    assert example.source == "rows.jsonl:1"
    assert example.id == read_examples(write(file, {"messages": [ASK, TELL]})).examples[0].id


def test_feedback_and_model_of_a_log_are_kept(file: Path) -> None:
    reply = {"choices": [{"message": TELL, "finish_reason": "stop"}], "model": "m-1"}
    row = {"request": {"messages": [ASK]}, "response": reply, "feedback": {"score": 1}}
    failed = {"request": {"messages": [ASK]}, "response": {"error": "overloaded"}}
    read = read_examples(write(file, row, failed))
    assert read.examples[0].meta == {"model": "m-1", "finish_reason": "stop", "feedback": {"score": 1}}
    assert read.dropped[0].line == 2


def test_sharegpt_roles_and_system_are_mapped(file: Path) -> None:
    turns = [{"from": "system", "value": "s"}, {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    messages = read_examples(write(file, {"conversations": turns})).examples[0].messages
    assert [message["role"] for message in messages] == ["system", "user", "assistant"]


def test_alpaca_input_history_and_system_are_put_in_order(file: Path) -> None:
    row = {"instruction": "i", "input": "x", "output": "o", "system": "s", "history": [["q", "a"]]}
    messages = read_examples(write(file, row)).examples[0].messages
    assert [message["content"] for message in messages] == ["s", "q", "a", "i\n\nx", "o"]


GOOD = {"input": "good", "expected": "x"}
CASE_FAULTS: list[tuple[Any, str]] = [
    ('{"input": "a", \n', "a JSON object on one line"),
    ("[1]\n", "a JSON object"),
    ('"text"\n', "a JSON object"),
    ({"expected": "x"}, "`input` or `messages`"),
    ({"input": 5}, "a string or an object of variables"),
    ({"input": ""}, "string for `input`, got an empty string"),
    ({"input": {}}, "a string or an object of variables"),
    ({"input": "a", "messages": [ASK]}, "got both"),
    ({"input": "a", "expectd": 1}, "Did you mean `expected`?"),
    ({"input": "a", "id": True}, "a string for id"),
    ({"input": "a", "group": ["g"]}, "a string for group"),
    ({"input": "a", "tags": {"a": 1}}, "a list for `tags`"),
    ({"input": "a", "tags": [None]}, "a string for item of `tags`"),
    ({"input": "a", "tools": ["f"]}, "objects in `tools`"),
    ({"messages": []}, "a list of messages"),
    ({"messages": ["hi"]}, "a message"),
    ({"messages": [{"content": "hi"}]}, "a role at messages[0]"),
    ({"messages": [{"role": "usr", "content": "hi"}]}, "a known role at messages[0]"),
    ({"messages": [{"role": "user"}]}, "text content"),
    ({"messages": [{"role": "user", "content": 5}]}, "text content"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "Only text"),
    ({"messages": [ASK, TELL], "expected": "card_arrival"}, "ends with a user turn"),
    *(({"messages": [ASK, TELL], "graded": graded}, "`graded` as a list") for graded in ([0], [2], [], "1", [[1]])),
    ({"input": "Hi", "graded": [1]}, "`graded` as a list"),
    ('{"input": ' + '{"a":' * 300 + "1" + "}" * 300 + "}\n", "levels of nesting"),
    ('{"input": "\\ud800"}\n', "a JSON object on one line"),
]


@pytest.mark.parametrize(("row", "says"), CASE_FAULTS, ids=[says for _, says in CASE_FAULTS])
def test_a_faulty_case_is_named_with_its_line(file: Path, row: Any, says: str) -> None:
    with pytest.raises(DataFaults) as caught:
        read_cases(write(file, GOOD, row))
    assert says in str(caught.value)
    assert caught.value.faults[0].line == 2
    assert "\n" not in str(caught.value)


EXAMPLE_FAULTS: list[tuple[Any, Any, str]] = [
    ({"messages": [ASK, TELL]}, {"messages": [ASK]}, "an assistant answer as the last message"),
    ({"messages": [ASK, TELL]}, {"messages": [TELL]}, "at least one user turn"),
    ({"messages": [ASK, TELL]}, {"messages": [ASK, {"role": "assistant", "content": " "}]}, "assistant answer"),
    ({"messages": [ASK, TELL]}, {"message": [ASK, TELL]}, "`messages`"),
    ({"messages": [ASK, TELL]}, {"messages": [ASK, TELL], "tags": 3}, "a list of strings for `tags`"),
    ({"prompt": "q", "completion": "a"}, {"prompt": "q"}, "a string for `completion`, got a row without this key"),
    ({"prompt": "q", "completion": "a"}, {"prompt": "", "completion": "b"}, "a non-empty question"),
    ({"instruction": "i", "output": "o"}, {"instruction": 1, "output": "o"}, "a string for `instruction`"),
    ({"instruction": "i", "output": "o"}, {"instruction": "i", "output": "p", "history": ["x"]}, "answer pairs"),
    (
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {"conversations": [{"from": "alien", "value": "q"}]},
        "a known role at conversations[0]",
    ),
    (
        {"request": {"messages": [ASK]}, "response": {"choices": [{"message": TELL}]}},
        {"request": "GET", "response": {}},
        "an object for `request`",
    ),
]


@pytest.mark.parametrize(("good", "bad", "says"), EXAMPLE_FAULTS, ids=[says for _, _, says in EXAMPLE_FAULTS])
def test_a_faulty_example_is_named_with_its_line(file: Path, good: Any, bad: Any, says: str) -> None:
    with pytest.raises(DataFaults) as caught:
        read_examples(write(file, good, bad))
    assert says in str(caught.value)
    assert caught.value.faults[0].line == 2


def test_the_variables_of_an_example_become_lines_of_one_text(file: Path) -> None:
    found = read_examples(write(file, {"input": {"text": "hi", "slots": ["a"]}, "expected": "b"}))
    assert found.examples[0].question == 'text: hi\nslots: ["a"]'


def test_bad_json_on_line_40001_is_found_there(file: Path) -> None:
    rows = "".join(f'{{"input": "q{i}"}}\n' for i in range(40_000))
    file.write_text(rows + '{"input": "q", }\n')
    with pytest.raises(DataFaults, match=r"rows.jsonl:40001: expected a JSON object on one line"):
        read_cases(file)


def test_a_byte_that_is_not_utf8_is_named_with_line_and_column(tmp_path: Path) -> None:
    for name, head in (("a.jsonl", b'{"input": "ok"}\n{"input": "caf\xe9"}\n'), ("a.csv", b"input\nok\ncaf\xe9\n")):
        path = tmp_path / name
        path.write_bytes(head)
        with pytest.raises(DataFaults, match="expected UTF-8 text, got the invalid byte 0xe9 at column") as caught:
            read_cases(path)
        assert caught.value.faults[0].line == (2 if name == "a.jsonl" else 3)
        assert "iconv" in str(caught.value)


def test_all_faults_are_told_at_once_and_those_beyond_twenty_are_counted(file: Path) -> None:
    with pytest.raises(DataFaults) as caught:
        read_cases(write(file, GOOD, *[{"input": i} for i in range(30)]))
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert "further errors: 10." in lines[-1]
    assert caught.value.n_faults == 30
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b"", "an empty file"),
        ("a.csv", b"\xef\xbb\xbf\r\n", "an empty file"),
        ("a.csv", b"input,expected\n", "at least one row, got none"),
        ("a.jsonl", "{}".encode("utf-16"), "expected UTF-8 text, got UTF-16"),
        ("a.csv", b"input,input\na,b\n", '"input" twice'),
        ("a.csv", b"input,expected\na\n", "expected 2 cells, as in the header, got 1"),
        ("a.csv", b'input,expected\n"a"b,c\n', "a CSV row"),
        ("a.csv", b'input,expected\n"a,c\n', "a CSV row"),
        ("a.csv", b"foo,bar\n1,2\n", "--input COLUMN"),
        ("a.jsonl", b'{"foo": 1}\n', "a known format for cases"),
        ("a.parquet", b"PAR1 nonsense", "a readable Parquet file"),
        ("a.yaml", b"tests: [}", "a.yaml:1: expected valid YAML"),
        ("a.yaml", b"- 1\n", "whose `tests` is a list"),
        ("a.yaml", b"tests: file://tests.csv\n", "Pass the tests file itself"),
        (
            "a.yaml",
            b"tests:\n  - vars: {a: 1}\n  - description: x\n",
            "a.yaml:3: expected an object of variables for `vars`",
        ),
        ("a.yaml", b"tests:\n  - vars: {a: 'file://b.txt'}\n", "Write the value into the file"),
        ("a.yaml", b"tests:\n  - vars: {a: b}\n    assert: x\n", "a list of assertions"),
        ("a.json", b'[{"input": "a", "target": 3}]', "a string or a list of strings for `target`"),
        ("a.json", b'[{"input": "a", "target": "A", "choices": "x"}]', "a list of strings for `choices`"),
    ],
)
def test_a_faulty_file_is_one_clear_line(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_cases(path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_parquet_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    columns = [pa.array(["Where?"]), pa.array(["order"]), pa.array(["chat"])]
    parquet.write_table(pa.Table.from_arrays(columns, names=["text", "label", "label"]), tmp_path / "d.parquet")
    with pytest.raises(DataError, match="the column label twice"):
        read_cases(tmp_path / "d.parquet")


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing at that path"):
        read_cases(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="a folder"):
        read_examples(tmp_path)


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\na,b\n")
    with pytest.raises(DataError, match="expected a column 'txt', got the columns label, text"):
        read_cases(path, input_column=["txt"])


def test_a_question_that_holds_the_answer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\na,b\n")
    with pytest.raises(DataError, match="expected another column for the answer than for the question"):
        read_cases(path, input_column=["text", "label"], expected_column="label")


def test_equal_rows_are_dropped_with_a_note(file: Path) -> None:
    read = read_cases(write(file, GOOD, {"input": "b"}, GOOD, {"input": "b", "expected": "late"}))
    assert [case.expected for case in read.cases] == ["x", "late"]
    assert [row.line for row in read.dropped] == [3, 4]
    assert "dropped: the same question as an earlier row (1 row)" in read.notes


def test_one_question_with_two_answers_names_both_lines(file: Path) -> None:
    with pytest.raises(DataFaults, match=r'rows.jsonl:3: .*"y" here and "x" on line 1') as caught:
        read_cases(write(file, GOOD, {"input": "b"}, {**GOOD, "expected": "y"}))
    assert "Decide which answer is correct" in str(caught.value)


def test_declining_and_answering_the_same_question_contradict(file: Path) -> None:
    with pytest.raises(DataFaults, match="null here"):
        read_cases(write(file, GOOD, {**GOOD, "expected": None}))


def test_an_id_that_is_given_twice_names_both_lines(file: Path) -> None:
    with pytest.raises(
        DataFaults, match=r'rows.jsonl:2: expected a unique `id`, got "a", which is also used on line 1'
    ):
        read_cases(write(file, {"id": "a", "input": "p"}, {"id": "a", "input": "q"}))


def test_the_same_example_twice_is_read_once(file: Path) -> None:
    read = read_examples(write(file, {"messages": [ASK, TELL]}, {"messages": [ASK, TELL]}))
    assert len(read.examples) == 1
    assert read.dropped[0].line == 2


def test_a_csv_cell_over_several_lines_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('input,expected\n"a\nb",x\n,y\n')
    with pytest.raises(DataFaults) as caught:
        read_cases(path)
    assert caught.value.faults[0].line == 4


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, tuneworthy.cases; print({'pyarrow', 'yaml', 'sklearn', 'scipy', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


CALL = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "find", "arguments": {"n": 1}}}]}
RESULT = {"role": "tool", "content": "sent"}
CHAT = [
    {"role": "assistant", "content": "Hi!"},
    ASK,
    CALL,
    RESULT,
    TELL,
    {"role": "assistant", "content": "Bye."},
    ASK,
    TELL,
]
FIND = [{"name": "find", "arguments": {"n": 1}}]


@pytest.mark.parametrize(
    ("row", "places"),
    [
        ({"messages": CHAT}, [2, 4, 7]),
        ({"messages": CHAT, "graded": [4]}, [4]),
        ({"messages": CHAT, "graded": [7, 2], "id": "chat", "tags": ["a"]}, [2, 7]),
        ({"messages": CHAT[:4]}, []),  # its answer is not known
        ({"messages": CHAT[:4], "graded": [2]}, [2]),
    ],
)
def test_a_conversation_is_a_case_for_each_graded_turn(file: Path, row: Any, places: list[int]) -> None:
    cases = read_cases(write(file, row)).cases
    assert [len(case.messages) for case in cases] == (places or [4])
    assert [case.expected for case in cases if case.labelled] == [
        FIND if place == 2 else CHAT[place]["content"] for place in places
    ]
    assert len({case.group for case in cases}) == 1 and (not places or cases[0].group == row.get("id", cases[0].group))
    assert all(
        turn["tool_call_id"] == "call_0"
        for case in cases
        for turn in case.messages
        if turn["role"] == "tool" and places
    )
    write_cases(file, cases)
    assert read_cases(file).cases == cases


def test_conversations_that_begin_alike_stay_apart_and_ask_their_greeting_once(file: Path) -> None:
    turns = [[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": text}] for text in ("Yes?", "Hello!")]
    read = read_cases(write(file, *({"messages": [*some, ASK, TELL]} for some in turns)))
    assert [len(case.messages) for case in read.cases] == [1, 3, 3]
    assert len({case.group for case in read.cases}) == 2 and "an earlier conversation (1 row)" in read.notes[0]
