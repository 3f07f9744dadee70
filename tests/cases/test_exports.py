"""Logs and exports of other tools: recognised without a flag, read rightly, or refused by name."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import random
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.cases.exports import (
    CHATS,
    EXPORTS,
    Export,
    completion,
    helicone,
    observation,
    span,
    spans,
    trace,
)
from tests.importing import import_into

from tuneworthy.cases import Rejects, read_examples, stream_examples
from tuneworthy.cases.formats import registry
from tuneworthy.cases.formats.chats import is_written_down
from tuneworthy.cases.formats.logs import assembled, events_of
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS
from tuneworthy.cases.readers import reader
from tuneworthy.cases.readers.faults import Dropped
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
    own = {"recorded"}  # by `tuneworthy record`
    assert titled - own == {export.format for export in EXPORTS} and len(titled - own) == 18


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


def test_the_rejected_answer_of_a_pair_is_kept(tmp_path: Path) -> None:
    rows = named(tmp_path, "preferences")
    assert {row.meta["rejected"]["content"] for row in rows} == {"No.", "No idea."}


def test_a_row_that_is_marked_beside_its_answer_is_not_answered_by_the_mark(tmp_path: Path) -> None:
    rows = [{"question": q, "answer": a, "label": "bad" if n == 2 else "good"} for n, (q, a) in enumerate(CHATS)]
    done = import_files(Folder(tmp_path / "p"), [write(tmp_path / "a.jsonl", *rows)])
    assert [row.answer for row in done.examples()] == [answer for _, answer in CHATS[:2]]
    assert [reject.reason for reject in done.rejects()] == ["thumbs_down"]


def test_a_reviewers_decision_is_no_answer_and_a_rejected_label_is_left_out(tmp_path: Path) -> None:
    decisions = ["accept", "reject", "ignore", "accept"]
    rows: list[dict[str, Any]] = [{"text": f"t{n}", "label": "DOCS", "answer": one} for n, one in enumerate(decisions)]
    done = import_files(Folder(tmp_path / "p"), [write(tmp_path / "a.jsonl", *rows)])
    assert [(row.question, row.answer) for row in done.examples()] == [("t0", "DOCS"), ("t3", "DOCS")]
    assert [reject.reason for reject in done.rejects()] == ["thumbs_down", "unclear_feedback"]
    spans = [{"text": row["text"], "spans": [{"start": 0, "label": "ORG"}], "answer": row["answer"]} for row in rows]
    with pytest.raises(DataError, match="a known format"):
        read_examples(write(tmp_path / "b.jsonl", *spans))
    loans = [{"text": row["text"], "answer": row["answer"]} for row in rows]
    assert [row.answer for row in read_examples(write(tmp_path / "c.jsonl", *loans)).examples] == decisions


@pytest.mark.parametrize(("labels", "answers"), [
    ([["bad"], ["good"]], ["bad", "good"]),
    ([["bad"], ["good", "slow"]], ['["bad"]', '["good","slow"]']),
    ([[[0, 2, "ORG"]], [[0, 2, "ORG"]]], ['[[0,2,"ORG"]]', '[[0,2,"ORG"]]']),
])  # fmt: skip
def test_a_label_that_is_always_the_only_item_of_a_list_is_that_item(
    tmp_path: Path, labels: list[Any], answers: list[str]
) -> None:
    rows = [{"text": f"t{n}", "label": label} for n, label in enumerate(labels)]
    read = read_examples(write(tmp_path / "a.jsonl", *rows))
    assert [row.answer for row in read.examples] == answers
    assert any("only item" in note for note in read.notes) == (answers[0] == "bad")


def test_a_question_about_a_picture_is_left_out_unless_it_only_has_the_word(tmp_path: Path) -> None:
    def row(text: str, **more: Any) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "a"}], **more}

    rows = [row("<image>Who is it?", images=["1.jpg"]), row("Which tag shows a file: <image>?"), row("q", images=["a"]),
            row("<video>What is it?", videos=["1.mp4"])]  # fmt: skip
    attached = {"span_attributes": {"type": "llm"}, "span_id": "s", "root_span_id": "s", "output": "a"}
    attached["input"] = {"file": {"type": "braintrust_attachment", "key": "k"}}
    paths = [write(tmp_path / "a.jsonl", *rows), write(tmp_path / "b.jsonl", attached)]
    done = import_files(Folder(tmp_path / "p"), paths)
    assert [row.question for row in done.examples()] == ["Which tag shows a file: <image>?", "q"]
    assert [reject.reason for reject in done.rejects()] == ["not_text"] * 3


def test_the_text_of_a_part_may_be_its_value(tmp_path: Path) -> None:
    turns = [{"role": role, "content": [{"type": "text", "value": role}]} for role in ("user", "assistant")]
    (row,) = read_examples(write(tmp_path / "a.jsonl", {"messages": turns})).examples
    assert (row.question, row.answer) == ("user", "assistant")


DUMPS = [
    json.dumps([{"role": "assistant", "content": "hi"}]),
    json.dumps({"a": {"b": {"content": "hi", "role": "assistant"}}}),
    json.dumps({"output": json.dumps({"role": "assistant", "content": "hi"})}),
    "[{'role': 'user', 'content': 'q'}, {'role': 'assistant', 'content': 'hi'}]",
    "AIMessage(content='hi', additional_kwargs={}, response_metadata={})",
    "content='hi' additional_kwargs={} response_metadata={}",
    "ChatCompletion(id='chatcmpl-1', choices=[Choice(finish_reason='stop')])",
    '{"messages": [{"role": "user", "content": "cut off',
    json.dumps({"messages": [{"type": "human", "content": "q", "additional_kwargs": {}}]}),
    json.dumps([{"toolCallId": "c1", "toolName": "weather", "input": "{}"}]),
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
    pairs = (mark.partition("=") for mark in marks)
    row = {key: value or ["x"] for key, _, value in pairs}
    with pytest.raises(DataError, match=f"expected a format that is read, got {title.replace('.', '[.]')}"):
        read_examples(write(tmp_path / "a.jsonl", row))
    if "messages" in row:
        return
    own = read_examples(write(tmp_path / "b.jsonl", {**dict.fromkeys(row, "x"), "question": "q", "answer": "a"}))
    assert [(one.question, one.answer) for one in own.examples] == [("q" if "input" not in row else "x", "a")]


def test_spans_with_an_input_and_an_output_are_no_rows(tmp_path: Path) -> None:
    row = {"trace_id": "t", "span_id": "s", "input": "q", "output": "a"}
    with pytest.raises(DataError, match="traces of an unknown tool"):
        read_examples(write(tmp_path / "a.jsonl", row))


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
    status = import_into(tmp_path, path, *beside)["exit"]
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
    assert import_into(tmp_path, path)["exit"] == 0
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


def chunk(text: str | None, ending: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": ending}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-6", "choices": [choice]}


def block(n: int, delta: Any, begin: Any = None) -> dict[str, Any]:
    kind = {"type": "content_block_start", "content_block": begin} if begin else {"type": "content_block_delta"}
    return {**kind, "index": n, **({} if begin else {"delta": delta})}


USAGE = {"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": {"total_tokens": 3}}
STREAMS: dict[str, list[dict[str, Any]]] = {
    "openai": [chunk(""), chunk("On its"), chunk(" way."), chunk(None, "stop"), USAGE],
    "completions": [{"object": "text_completion", "choices": [{"index": 0, "text": "On its", "finish_reason": None}]},
                    {"object": "text_completion", "choices": [{"index": 0, "text": " way.", "finish_reason": "stop"}]}],
    "anthropic": [{"type": "message_start", "message": {"type": "message", "role": "assistant", "content": []}},
                  block(0, None, {"type": "text", "text": ""}), {"type": "ping"},
                  block(0, {"type": "text_delta", "text": "On its"}), block(0, {"type": "text_delta", "text": " way."}),
                  {"type": "content_block_stop", "index": 0},
                  {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}],
    "responses": [{"type": "response.created", "response": {"status": "in_progress", "output": []}},
                  {"type": "response.output_text.delta", "delta": "On"},
                  {"type": "response.completed", "response": {"object": "response", "status": "completed", "output": [
                      {"type": "message", "role": "assistant",
                       "content": [{"type": "output_text", "text": "On its way."}]}]}}],
    "gemini": [{"candidates": [{"content": {"role": "model", "parts": [{"text": "hm", "thought": True}]}}]},
               {"candidates": [{"content": {"role": "model", "parts": [{"text": "On its"}]}}]},
               {"candidates": [{"content": {"role": "model", "parts": [{"text": " way."}]}, "finishReason": "STOP"}]}],
    "ollama": [{"model": "m", "message": {"role": "assistant", "content": "On its"}, "done": False},
               {"model": "m", "message": {"role": "assistant", "content": " way."}, "done": True}],
    "langchain": [{"type": "AIMessageChunk", "content": "On its"}, {"type": "AIMessageChunk", "content": " way."}],
}  # fmt: skip
TOOL_STREAMS: dict[str, list[dict[str, Any]]] = {
    "openai": [
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "c1", **call}]}, "finish_reason": ending}]}
        for call, ending in (({"type": "function", "function": {"name": "f", "arguments": ""}}, None),
                             ({"function": {"arguments": '{"a"'}}, None), ({"function": {"arguments": ": 1}"}}, "stop"))
    ],
    "anthropic": [{"type": "message_start", "message": {"type": "message", "role": "assistant", "content": []}},
                  block(0, None, {"type": "tool_use", "id": "c1", "name": "f", "input": {}}),
                  block(0, {"type": "input_json_delta", "partial_json": '{"a"'}),
                  block(0, {"type": "input_json_delta", "partial_json": ": 1}"}),
                  {"type": "message_delta", "delta": {"stop_reason": "tool_use"}}],
}  # fmt: skip


def as_events(events: list[dict[str, Any]]) -> str:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"


@pytest.mark.parametrize("written", [list, as_events, json.dumps], ids=["list", "events", "text"])
@pytest.mark.parametrize("name", STREAMS)
def test_a_streamed_answer_is_put_together(tmp_path: Path, name: str, written: Callable[[Any], Any]) -> None:
    log = {"request": {"messages": [{"role": "user", "content": "q"}]}, "response": written(STREAMS[name])}
    run = {"run_type": "llm", "inputs": {"input": "q"}, "outputs": {"output": written(STREAMS[name])}}
    for row in (log, run):
        rows = read_examples(write(tmp_path / "a.jsonl", row)).examples
        assert [(one.question, one.answer) for one in rows] == [("q", "On its way.")]


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_in_a_column_or_a_message_is_never_an_answer(tmp_path: Path, name: str) -> None:
    for text in (as_events(STREAMS[name]), json.dumps(STREAMS[name])):
        chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": text}]
        for row in ({"question": "q", "answer": text}, {"messages": chat}):
            with pytest.raises(DataError, match="an answer in words or data"):
                read_examples(write(tmp_path / "a.jsonl", row))


@pytest.mark.parametrize("name", TOOL_STREAMS)
def test_a_streamed_call_of_a_tool_is_put_together(tmp_path: Path, name: str) -> None:
    row = {"request": {"messages": [{"role": "user", "content": "q"}]}, "response": TOOL_STREAMS[name]}
    (one,) = read_examples(write(tmp_path / "a.jsonl", row)).examples
    assert json.loads(one.messages[-1]["tool_calls"][0]["function"]["arguments"]) == {"a": 1}


@pytest.mark.parametrize("name", ["openai", "anthropic", "responses", "gemini"])
def test_a_stream_that_was_cut_off_is_left_out(tmp_path: Path, name: str) -> None:
    events = [event for event in STREAMS[name] if event.get("type") not in {"message_delta", "message_stop"}]
    row = {"request": {"messages": [{"role": "user", "content": "q"}]}, "response": events[:-2] or events[:-1]}
    with pytest.raises(UserError):
        import_files(Folder(tmp_path / "p"), [write(tmp_path / "a.jsonl", row)])


def test_a_trace_without_spans_is_left_out_with_a_reason(tmp_path: Path) -> None:
    rows = next(export for export in EXPORTS if export.name == "mlflow").rows
    empty = {"info": {"trace_id": "tr-9"}, "data": {"spans": []}}
    done = import_files(Folder(tmp_path / "p"), [write(tmp_path / "a.jsonl", rows[0], empty)])
    assert [(reject.source, reject.reason) for reject in done.rejects()] == [
        ("a.jsonl:1", "no_model_call"),
        ("a.jsonl:2", "no_model_call"),
    ]


def test_a_thumbs_down_of_helicone_counts(tmp_path: Path) -> None:
    done = import_files(Folder(tmp_path / "p"), [write(tmp_path / "a.jsonl", *helicone())])
    assert [row.answer for row in done.examples()] == [answer for _, answer in CHATS[:2]]
    assert [reject.reason for reject in done.rejects()] == ["thumbs_down"]


@pytest.mark.parametrize("answered", [True, False])
def test_rows_of_gemini_are_read_without_its_thoughts(tmp_path: Path, answered: bool) -> None:
    said = {"role": "model", "parts": [{"text": "hm", "thought": True}, {"text": "a"}]}
    row = {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [{"role": "user", "parts": [{"text": "q"}]}],
    }
    row |= {"candidates": [{"content": said}]} if answered else {"contents": [*row["contents"], said]}
    (one,) = read_examples(write(tmp_path / "a.jsonl", row)).examples
    assert [turn["content"] for turn in one.messages] == ["Be brief.", "q", "a"]


def test_messages_of_the_vercel_sdk_are_read_and_its_tools_refused_for_what_they_are(tmp_path: Path) -> None:
    asked, text = {"role": "user", "parts": [{"type": "text", "text": "q"}]}, {"type": "text", "text": "a"}
    parts = [{"type": "step-start"}, {"type": "reasoning", "text": "hm"}, text]
    row = {"messages": [asked, {"role": "assistant", "parts": parts}]}
    (one,) = read_examples(write(tmp_path / "a.jsonl", row)).examples
    assert one.answer == "a"
    tool = {"type": "tool-weather", "toolCallId": "c", "state": "output-available", "input": {}, "output": {}}
    with pytest.raises(DataError, match=r"tool-weather.*Only text"):
        read_examples(write(tmp_path / "b.jsonl", {"messages": [asked, {"role": "assistant", "parts": [tool, text]}]}))


def zipped(samples: list[dict[str, Any]], *, zstandard: bool) -> bytes:
    """Return an Inspect log; Python 3.11 writes no Zstandard, so its number replaces that of stored members."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED if zstandard else zipfile.ZIP_DEFLATED) as archive:
        for name, value in [
            ("header.json", {"version": 2}),
            *((f"samples/{n}.json", s) for n, s in enumerate(samples)),
        ]:
            content = json.dumps(value).encode()
            archive.writestr(name, pa.compress(content, "zstd", asbytes=True) if zstandard else content)
    content, number = packed.getvalue(), (93).to_bytes(2, "little")
    if not zstandard:
        return content
    for head, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        for match in re.finditer(re.escape(head), content):
            content = content[: match.start() + place] + number + content[match.start() + place + 2 :]
    return content


@pytest.mark.parametrize("zstandard", [True, False])
def test_an_inspect_log_is_read_from_its_archive(tmp_path: Path, zstandard: bool) -> None:
    export = next(export for export in EXPORTS if export.name == "inspect")
    (path := tmp_path / "a.eval").write_bytes(zipped(export.rows[0]["samples"], zstandard=zstandard))
    done = import_files(Folder(tmp_path / "p"), [path])
    assert [row.answer for row in done.examples()] == export.answers
    assert [reject.reason for reject in done.rejects()] == export.dropped


@pytest.mark.parametrize(("name", "content", "reason"), [
    ("a.eval", zipped([], zstandard=False), "at least one row"),
    ("a.eval", b"PK\x03\x04" + b"x" * 99, "a readable Inspect file"),
    ("a.zip", zipped([{}], zstandard=False), "got a zip archive"),
    ("a.arrow", b"ARROW1" + b"x" * 99, "a readable Arrow file"),
])  # fmt: skip
def test_an_archive_is_refused_for_what_it_is(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (path := tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=reason):
        read_examples(path)


@pytest.mark.parametrize("new", [pa.ipc.new_stream, pa.ipc.new_file])
def test_arrow_is_read_as_datasets_writes_it(tmp_path: Path, new: Any) -> None:
    rows = [{"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}]}
            for n in range(1300)]  # fmt: skip
    table = pa.Table.from_pylist(rows)
    with pa.OSFile(str(tmp_path / "data-00000-of-00001.arrow"), "wb") as file, new(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=700)
    read = read_examples(tmp_path / "data-00000-of-00001.arrow")
    assert (read.format, [row.answer for row in read.examples]) == ("arrow/messages", [f"a{n}" for n in range(1300)])


@pytest.mark.parametrize("suffix", ["arrow", "parquet"])
def test_classes_have_the_names_that_datasets_writes_next_to_their_numbers(tmp_path: Path, suffix: str) -> None:
    features = {"label": {"names": ["lost", "found"], "_type": "ClassLabel"}, "gone": {"names": ["x"]}}
    table = pa.Table.from_pylist([{"text": f"t{n}", "label": n} for n in (0, 1, -1, 1)])
    named = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    plain = ["0", "1", "-1", "1"]
    for one, answers in ((named, ["lost", "found", "found"]), (table, plain)):
        path = str(tmp_path / f"{len(answers)}.{suffix}")
        if suffix == "parquet":
            parquet.write_table(one, path)
        else:
            with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, one.schema) as writer:
                writer.write_table(one)
        done = import_files(Folder(tmp_path / f"p{len(answers)}"), [Path(path)])
        assert [row.answer for row in done.examples()] == answers


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


def test_files_are_added_unless_they_are_to_replace(tmp_path: Path) -> None:
    first, second = (write(tmp_path / f"{n}.jsonl", trace(n, f"q{n}", f"a{n}")) for n in range(2))
    counts = []
    for arguments in ([first], [second], [second, "--replace"]):
        counts.append(import_into(tmp_path, *arguments)["document"]["n_kept"])
    assert counts == [1, 2, 1]


def test_a_stream_that_says_done_has_ended_whatever_its_events_say() -> None:
    event = json.dumps({"choices": [{"delta": {"content": "It is."}}]})
    done = events_of(f"data: {event}\n\ndata: [DONE]\n\n")
    assert assembled(done)["choices"][0]["message"]["content"] == [{"type": "text", "text": "It is."}]
    with pytest.raises(Dropped, match="before the answer"):
        assembled(events_of(f"data: {event}\n\ndata: {event}\n\n"))
