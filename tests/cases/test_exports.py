"""Logs and exports of other tools: recognised without a flag, read rightly, or refused by name."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cases.exports import CHATS, EXPORTS, Export, claude_code, codex, completion, observation, span, spans, trace

from tuneworthy.cases import Rejects, read_examples, stream_examples
from tuneworthy.cases.formats import registry
from tuneworthy.cases.formats.dialects import is_written_down
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS
from tuneworthy.cases.readers import reader
from tuneworthy.cli import invoke
from tuneworthy.dataset.importing.folder import Import
from tuneworthy.dataset.importing.importer import import_files
from tuneworthy.errors import DataError, UserError
from tuneworthy.store import Folder
from tuneworthy.types import Example


def write(path: Path, *rows: Any) -> Path:
    path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    return path


def imported(folder: Path, export: Export) -> Import:
    path = folder / f"a{export.suffix}"
    path.write_bytes(export.content())
    beside = [write(folder / "b.jsonl", *export.beside)] if export.beside else []
    return import_files(Folder(folder / "project"), [path, *beside])


def said(row: Example) -> str:
    return row.answer or str(row.messages[-1]["tool_calls"][0]["function"]["name"])


@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.name)
def test_a_tools_file_is_read_without_a_flag(tmp_path: Path, export: Export) -> None:
    done = imported(tmp_path, export)
    source = done.record.sources[0]
    assert (source.title, source.format.rpartition("/")[2]) == (export.title, export.format)
    assert [said(row) for row in done.examples()] == export.answers
    assert sorted(reject.reason for reject in done.rejects()) == sorted(export.dropped)
    assert source.n_rated == export.n_rated
    assert source.example[-1].role == "assistant" and source.example[0].content


@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.name)
def test_no_adapter_needs_the_guard(tmp_path: Path, export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "check_words", lambda turns: None)
    texts = [str(turn["content"]) for row in imported(tmp_path, export).examples() for turn in row.messages]
    assert not any(map(is_written_down, texts)) and not any("Human:" in text for text in texts)


def test_every_tools_format_has_a_file() -> None:
    titled = {name for name in EXAMPLE_FORMATS if (entry := EXAMPLE_FORMATS.get(name)).title
              and not entry.companion}  # fmt: skip
    assert titled == {export.format for export in EXPORTS} and len(titled) == 13


def named(tmp_path: Path, name: str) -> list[Example]:
    return list(imported(tmp_path, next(export for export in EXPORTS if export.name == name)).examples())


def test_system_prompt_model_tools_and_ending_are_kept(tmp_path: Path) -> None:
    row = named(tmp_path, "anthropic_log")[0]
    assert row.messages[0] == {"role": "system", "content": "Be brief."}
    assert row.messages[-1]["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": '{"city":"Paris"}'}
    assert row.meta["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}
    assert (row.meta["model"], row.meta["finish_reason"]) == ("claude", "tool_calls")


def test_a_span_keeps_its_conversation_and_the_results_of_its_calls(tmp_path: Path) -> None:
    first, _, weather = named(tmp_path, "otel_current")
    assert [turn["role"] for turn in first.messages] == ["system", "user", "assistant"]
    assert (first.group, first.meta["model"], first.meta["finish_reason"]) == ("c0", "gpt-6", "stop")
    assert weather.messages[2] == {"role": "tool", "content": "rainy", "tool_call_id": "c1"}


def test_a_trace_keeps_its_session_and_nothing_about_the_user(tmp_path: Path) -> None:
    row = named(tmp_path, "langfuse_traces")[1]
    assert [turn["role"] for turn in row.messages] == ["system", "user", "assistant"]
    assert (row.group, row.tags, row.meta["metadata"]) == ("s1", ("prod",), {"a": 1})
    assert "u@example.com" not in json.dumps(dict(row.meta))


def test_what_litellm_says_of_a_user_is_kept_without_the_headers(tmp_path: Path) -> None:
    row = named(tmp_path, "litellm")[1]
    assert (row.group, row.meta["model"], row.meta["metadata"]) == ("s1", "gpt-6", {"tenant": "t"})
    assert [turn["role"] for turn in row.messages] == ["system", "user", "assistant"]


def test_a_score_whose_name_says_no_direction_is_named_and_not_used(tmp_path: Path) -> None:
    done = imported(tmp_path, next(export for export in EXPORTS if export.name == "langfuse_traces"))
    assert any("'latency' is not used" in note for note in done.record.notes)


def test_the_feedback_on_a_chain_is_that_of_the_call_within(tmp_path: Path) -> None:
    rows = named(tmp_path, "langsmith")
    assert rows[0].messages[0] == {"role": "system", "content": "Be brief."}
    assert [row.meta.get("scores") for row in rows[:2]] == [None, [{"name": "user_score", "value": 1.0}]]
    assert [turn["role"] for turn in rows[2].messages] == ["user", "assistant", "tool", "assistant"]


def test_without_runs_of_models_the_outermost_chains_are_read(tmp_path: Path) -> None:
    def run(n: int, parent: str | None) -> dict[str, Any]:
        ends = {"inputs": {"question": f"q{n}"}, "outputs": {"output": f"a{n}"}}
        return {"id": f"r{n}", "run_type": "chain", "trace_id": "r0", "parent_run_id": parent, **ends}

    rows = read_examples(write(tmp_path / "a.jsonl", run(0, None), run(1, "r0"))).examples
    assert [(row.question, row.answer) for row in rows] == [("q0", "a0")]


def test_a_session_is_one_conversation_along_its_last_branch(tmp_path: Path) -> None:
    (row,) = read_examples(write(tmp_path / "a.jsonl", *claude_code())).examples
    assert [turn["role"] for turn in row.messages] == ["user", "assistant", "tool", "tool", "assistant"]
    assert [call["id"] for call in row.messages[1]["tool_calls"]] == ["tu1", "tu2"]
    assert "given up" not in json.dumps(row.messages) and "subagent" not in json.dumps(row.messages)


def test_a_codex_session_ends_at_a_compaction_and_begins_again_with_its_summary(tmp_path: Path) -> None:
    first, second = read_examples(write(tmp_path / "a.jsonl", *codex())).examples
    assert [turn["role"] for turn in first.messages] == [
        "system",
        "developer",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    assert second.messages[1]["content"] == "They listed files."
    assert json.loads(second.messages[3]["tool_calls"][0]["function"]["arguments"]) == {"input": "*** Begin"}
    assert first.meta["model"] == second.meta["model"] == "gpt-6-codex"


def test_the_rejected_answer_of_a_pair_is_kept(tmp_path: Path) -> None:
    rows = named(tmp_path, "preferences")
    assert {row.meta["rejected"]["content"] for row in rows} == {"No.", "No idea."}


def test_a_row_that_is_marked_beside_its_answer_is_not_answered_by_the_mark(tmp_path: Path) -> None:
    rows = [{"question": q, "answer": a, "label": "bad" if n == 2 else "good"} for n, (q, a) in enumerate(CHATS)]
    done = import_files(Folder(tmp_path / "p"), [write(tmp_path / "a.jsonl", *rows)])
    assert [row.answer for row in done.examples()] == [answer for _, answer in CHATS[:2]]
    assert [reject.reason for reject in done.rejects()] == ["thumbs_down"]


DUMPS = [
    json.dumps([{"role": "assistant", "content": "hi"}]),
    json.dumps({"a": {"b": {"content": "hi", "role": "assistant"}}}),
    json.dumps({"output": json.dumps({"role": "assistant", "content": "hi"})}),
    "[{'role': 'user', 'content': 'q'}, {'role': 'assistant', 'content': 'hi'}]",
    "AIMessage(content='hi', additional_kwargs={}, response_metadata={})",
    "content='hi' additional_kwargs={} response_metadata={}",
    "ChatCompletion(id='chatcmpl-1', choices=[Choice(finish_reason='stop')])",
    '{"messages": [{"role": "user", "content": "cut off',
]


@pytest.mark.parametrize("dump", DUMPS)
def test_messages_that_were_written_down_are_never_an_answer(tmp_path: Path, dump: str) -> None:
    asked = {"role": "user", "content": "q"}
    rows = [{"messages": [asked, {"role": "assistant", "content": dump}]},
            {"messages": [asked, {"role": "assistant", "content": dump}, asked, {"role": "assistant", "content": "a"}]},
            {"messages": [asked, {"role": "assistant", "content": "a"}], "correction": dump},
            {"messages": [asked, {"role": "assistant", "content": "fine"}]}]  # fmt: skip
    done = import_files(Folder(tmp_path / "p"), [write(tmp_path / "a.jsonl", *rows)])
    assert [row.answer for row in done.examples()] == ["fine"]
    assert [reject.reason for reject in done.rejects()] == ["answer_is_messages"] * 3


@pytest.mark.parametrize(
    "answer",
    ['{"role": "chef", "name": "Bo"}', '[{"content": "x"}]', "role: user, content: none", '{"intent": "card_arrival"}',
     "def f():\n    return Message(body='a')", 'The JSON is {"role": "user", "content": "a"}.', "[1, 2]"],
)  # fmt: skip
def test_data_and_words_are_answers(answer: str) -> None:
    assert not is_written_down(answer)


def test_a_text_of_json_stays_the_text_that_the_model_said(tmp_path: Path) -> None:
    (row,) = read_examples(write(tmp_path / "a.jsonl", trace(0, "Extract", '{"city": "Paris"}'))).examples
    assert row.answer == '{"city": "Paris"}'


@pytest.mark.parametrize(
    ("title", "marks"),
    registry._UNREAD,
    ids=lambda value: value if isinstance(value, str) else ",".join(sorted(value)),
)
def test_what_is_not_read_is_refused_by_name(tmp_path: Path, title: str, marks: frozenset[str]) -> None:
    path = write(tmp_path / "a.jsonl", {**dict.fromkeys(marks, "x"), "input": "q", "output": "a"})
    with pytest.raises(DataError, match=f"expected a format that is read, got {title.replace('.', '[.]')}"):
        read_examples(path)


@pytest.mark.parametrize("export", [one for one in EXPORTS if one.beside or "batch" in one.name], ids=lambda e: e.name)
def test_a_file_that_only_speaks_of_another_says_so(tmp_path: Path, export: Export) -> None:
    with pytest.raises(DataError, match="together with it"):
        read_examples(write(tmp_path / "b.jsonl", *export.beside))


def test_results_without_their_requests_say_so(tmp_path: Path) -> None:
    export = next(export for export in EXPORTS if export.name == "openai_batch")
    with pytest.raises(UserError, match="the request of this result is in another file"):
        import_files(Folder(tmp_path / "p"), [write(tmp_path / "a.jsonl", *export.rows)])


@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.name)
def test_a_file_that_was_cut_off_gives_its_whole_rows_or_one_line(
    tmp_path: Path, export: Export, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"a{export.suffix}"
    content = export.content()
    path.write_bytes(content[: len(content) * 2 // 3])
    beside = [write(tmp_path / "b.jsonl", *export.beside)] if export.beside else []
    status = invoke(["data", "import", str(path), *map(str, beside), "--project", str(tmp_path)])
    out, err = capsys.readouterr()
    assert status in {0, 2} and "Traceback" not in err
    if status:
        assert len([line for line in err.splitlines() if line.strip()]) <= 2
    else:
        assert out.count("JSON object") == 1


def test_the_command_names_the_tool_the_rows_and_the_feedback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = next(export for export in EXPORTS if export.name == "langfuse_traces")
    path = write(tmp_path / "traces.jsonl", *export.rows)
    assert invoke(["data", "import", str(path), "--project", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("traces.jsonl: Langfuse export, 12 traces, 4 with feedback, 10 imported\n")
    assert "    user: Where is my card?\n    assistant: It is on its way.\n" in out


def test_a_call_that_failed_and_one_that_said_nothing_are_told_apart(tmp_path: Path) -> None:
    rows = [observation(0, "q", None), observation(1, "q", ""), observation(2, "q", "a", level="ERROR"),
            observation(3, "q", completion(None, refusal="no")), observation(4, "q", "fine")]  # fmt: skip
    done = import_files(Folder(tmp_path / "p"), [write(tmp_path / "a.jsonl", *rows)])
    assert [reject.reason for reject in done.rejects()] == [
        "no_response",
        "empty_answer",
        "failed_request",
        "refused",
    ]


def test_an_image_is_a_fault_of_its_row_alone(tmp_path: Path) -> None:
    image = [{"type": "image", "source": {"type": "base64", "data": "eA=="}}, {"type": "text", "text": "What is it?"}]
    rows = [observation(0, [{"role": "user", "content": image}], "A cat."), observation(1, "q", "fine")]
    done = import_files(Folder(tmp_path / "p"), [write(tmp_path / "a.jsonl", *rows)])
    assert [reject.reason for reject in done.rejects()] == ["not_text"]


def test_spans_of_other_kinds_are_counted_and_left_out(tmp_path: Path) -> None:
    asked = {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "q", "gen_ai.completion.0.content": "a"}
    read = read_examples(write(tmp_path / "a.jsonl", spans(span(1, asked))))
    assert [row.answer for row in read.examples] == ["a"]
    assert any("not model calls are skipped (1 row)" in note for note in read.notes)


ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    3.5,
    "",
    "x",
    "[1",
    '[{"role": "user", "content": 3}]',
    [],
    [None],
    {},
    {"a": None},
]
ODD += [{"role": "user"}, {"type": 7}, [{"type": "text"}], {"content": [{}]}, {"stringValue": None}]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything within `value`."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*path, key)
        yield from places(item, (*path, key))


@pytest.mark.parametrize("seed", range(4))
def test_no_odd_value_in_an_export_is_a_bug(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(75):
        rows = copy.deepcopy((export := chance.choice(EXPORTS)).rows + export.beside)
        for _ in range(chance.randint(1, 4)):
            row = chance.choice(rows)
            if paths := list(places(row)):
                *path, last = chance.choice(paths)
                node = row
                for key in path:
                    node = node[key]
                node[last] = copy.deepcopy(chance.choice(ODD))
        file = write(tmp_path / "a.jsonl", *rows)
        journal = Rejects(file)
        with contextlib.suppress(DataError):
            journal.facts, journal.alone = reader.facts_of([file]), False
            for _, fields in stream_examples(file, journal).rows:
                assert fields is None or all(isinstance(turn["role"], str) for turn in fields["messages"])


def test_the_command_adds_unless_it_is_to_replace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (write(tmp_path / f"{n}.jsonl", trace(n, f"q{n}", f"a{n}")) for n in range(2))
    counts = []
    for arguments in ([first], [second], [second, "--replace"]):
        assert invoke(["data", "import", *map(str, arguments), "--project", str(tmp_path), "--json"]) == 0
        counts.append(json.loads(capsys.readouterr().out)["n_kept"])
    assert counts == [1, 2, 1]
