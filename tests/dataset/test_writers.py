"""Writers: what leaves comes back through our own readers, and what a format cannot hold is left out and said."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tuneworthy.cases import Rejects, read_examples, stream_examples
from tuneworthy.cases.formats.chats import is_blank
from tuneworthy.cases.pairs import rejected_answer
from tuneworthy.dataset.writers import WRITERS, write_dataset
from tuneworthy.errors import UserError
from tuneworthy.types import Example, content_hash

NAMES = sorted(WRITERS)
TOOLS = [
    {"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {"q": {}}}}},
    {"type": "function", "function": {"name": "add", "description": "+", "strict": True, "parameters": {}}},
]


def example(*messages: dict[str, Any], **meta: Any) -> Example:
    return Example(id=content_hash(messages), messages=messages, meta=meta)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def calling(*calls: tuple[str, str, str], text: str | None = None) -> dict[str, Any]:
    made = [{"id": i, "type": "function", "function": {"name": name, "arguments": given}} for i, name, given in calls]
    return {"role": "assistant", "content": text, "tool_calls": made}


def result(text: str, identity: str) -> dict[str, Any]:
    return {"role": "tool", "content": text, "tool_call_id": identity}


PLAIN = example(user("hi"), said("ho"))
TURNS = example({"role": "system", "content": "s"}, user("a"), said("b"), user("=c()"), said("d\r\n\u202eé\u200b!"))
TOOL_CHAT = example(
    user("find x"),
    calling(("call_0", "find", '{"q":"x"}')),
    result("none", "call_0"),
    said("There is none."),
    tools=TOOLS,
)
OWN_IDS = example(user("find x"), calling(("abc", "find", '{"q":["x",1.5,null]}')), result("none", "abc"), said("No."))
PARALLEL = example(
    user("both"),
    calling(("call_0", "find", "{}"), ("call_1", "add", '{"a":{"b":1}}')),
    result("two", "call_1"),
    result("one", "call_0"),
    said("Done."),
)
LAST_CALLS = example(user("go"), calling(("call_0", "find", '{"q":"y"}')), tools=TOOLS[:1])
TEXT_AND_CALL = example(user("go"), calling(("call_0", "find", "{}"), text="Let me see."))
WEIGHTED = example(user("a"), said("bad", weight=0), user("b"), said("good", weight=1))
TWICE = example(user("a"), user("b"), said("c"))
ALL = [PLAIN, TURNS, TOOL_CHAT, OWN_IDS, PARALLEL, LAST_CALLS, TEXT_AND_CALL, WEIGHTED, TWICE]
LOST = {
    "alpaca": [TOOL_CHAT, OWN_IDS, PARALLEL, LAST_CALLS, TEXT_AND_CALL, WEIGHTED, TWICE],
    "preference": [LAST_CALLS, WEIGHTED],
    "sharegpt": [PARALLEL, TEXT_AND_CALL, WEIGHTED],
    "llama_factory": [PARALLEL, TEXT_AND_CALL, WEIGHTED, TWICE],
}


def paired(name: str, rows: list[Example]) -> list[Example]:
    """The rows, for the format of pairs with a worse answer."""
    if name != "preference":
        return rows
    return [replace(row, meta={**row.meta, "rejected": said("worse")}) for row in rows]


def expected(name: str, row: Example) -> list[Any]:
    """The messages that come back: ShareGPT has no ids of calls, so they are counted."""
    if name not in {"sharegpt", "llama_factory"}:
        return list(row.messages)
    ids = [call["id"] for message in row.messages for call in message.get("tool_calls", ())]
    text = json.dumps(row.messages)
    for i, one in enumerate(ids):
        for key in ("id", "tool_call_id"):
            text = text.replace(f'"{key}": {json.dumps(one)}', f'"{key}": "\0{i}"')
    return list(json.loads(text.replace("\0", "call_")))


def again(path: Path) -> list[Example]:
    return list(read_examples(path).examples)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_read_again_with_its_tools(name: str, tmp_path: Path) -> None:
    written = write_dataset(name, tmp_path / "out", {"train": paired(name, ALL), "eval": paired(name, [PLAIN])})
    lost = LOST.get(name, [])
    kept = [row for row in ALL if row not in lost]
    read = again(written.paths[0])
    assert [list(row.messages) for row in read] == [expected(name, row) for row in kept]
    assert [row.meta.get("tools") for row in read] == [row.meta.get("tools") for row in kept]
    assert written.n_rows == {"train": len(kept), "eval": 1}
    assert list(written.left_out_ids) == [row.id for row in lost]
    assert sum(written.left_out.values()) == len(lost)
    assert [list(row.messages) for row in again(written.paths[1])] == [list(PLAIN.messages)]


@pytest.mark.parametrize("name", NAMES)
def test_a_format_says_what_becomes_of_calls_of_tools(name: str, tmp_path: Path) -> None:
    written = write_dataset(name, tmp_path, {"train": paired(name, [TOOL_CHAT, PLAIN])})
    assert any("calls" in note for note in written.notes)
    assert ("tools or tool calls" in written.left_out) == (name == "alpaca")
    assert len(again(written.paths[0])) == 2 - (name == "alpaca")


def test_pairs_come_back_as_pairs_and_what_is_none_is_left_out(tmp_path: Path) -> None:
    written = write_dataset("preference", tmp_path, {"train": [*paired("preference", [TOOL_CHAT, PLAIN]), TWICE]})
    assert (written.n_rows, written.left_out) == ({"train": 2}, {"a row without a worse answer": 1})
    assert [rejected_answer(row) for row in again(written.paths[0])] == ["worse"] * 2
    row = json.loads(written.paths[0].read_text().splitlines()[1])
    assert row == {"prompt": [user("hi")], "chosen": [said("ho")], "rejected": [said("worse")]}


def test_llama_factory_is_told_how_to_read_its_file(tmp_path: Path) -> None:
    written = write_dataset("llama_factory", tmp_path / "faq", {"train": [PLAIN, TOOL_CHAT], "eval": [PLAIN]})
    info = json.loads(written.paths[-1].read_text())
    assert written.paths[-1].name == "dataset_info.json"
    assert list(info) == ["faq_train", "faq_eval"]
    entry = info["faq_train"]
    rows = [json.loads(line) for line in (written.paths[-1].parent / entry["file_name"]).read_text().splitlines()]
    tags = entry["tags"]
    for row in rows:
        assert isinstance(row[entry["columns"]["tools"]], str)
        for i, turn in enumerate(row[entry["columns"]["messages"]]):
            odd, even = (tags["user_tag"], tags["observation_tag"]), (tags["assistant_tag"], tags["function_tag"])
            assert turn[tags["role_tag"]] in (even if i % 2 else odd)
            assert isinstance(turn[tags["content_tag"]], str)


def test_axolotl_is_told_which_fields_to_read(tmp_path: Path) -> None:
    written = write_dataset("axolotl", tmp_path, {"train": [WEIGHTED, TOOL_CHAT], "eval": [PLAIN]})
    config = yaml.safe_load(written.paths[-1].read_text())
    (train,), (tested,) = config["datasets"], config["test_datasets"]
    assert (train["path"], tested["path"], train["type"]) == ("train.jsonl", "eval.jsonl", "chat_template")
    rows = [json.loads(line) for line in (tmp_path / train["path"]).read_text().splitlines()]
    assert [turn.get(train["message_field_training"]) for turn in rows[0][train["field_messages"]]] == [
        None,
        False,
        None,
        True,
    ]
    assert rows[1][train["field_tools"]] == TOOLS


def test_parquet_keeps_group_tags_and_provenance(tmp_path: Path) -> None:
    row = Example(
        id="x", messages=PLAIN.messages, source="logs.jsonl:3", group="g", tags=("t",), meta={"model": "m", "n": 1}
    )
    path = write_dataset("parquet", tmp_path, {"train": [row]}).paths[0]
    (read,) = again(path)
    assert (read.group, read.tags) == ("g", ("t",))
    assert read.meta == {"model": "m", "n": 1, "source": "logs.jsonl:3"}
    assert parquet.ParquetFile(path).schema_arrow.names == ["messages", "tools", "group", "tags", "meta"]


def test_trl_gets_arguments_as_objects_and_the_last_message_as_completion(tmp_path: Path) -> None:
    path = write_dataset("trl", tmp_path, {"train": [LAST_CALLS]}).paths[0]
    row = json.loads(path.read_text())
    assert row["completion"][0]["tool_calls"][0]["function"]["arguments"] == {"q": "y"}
    assert [turn["role"] for turn in row["prompt"]] == ["user"]


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    def rows() -> Iterator[Example]:
        yield PLAIN
        raise KeyboardInterrupt

    for name in NAMES:
        with pytest.raises(KeyboardInterrupt):
            write_dataset(name, tmp_path, {"train": rows()})
    assert list(tmp_path.iterdir()) == []


def test_a_split_that_is_no_file_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a valid split name"):
        write_dataset("openai", tmp_path, {"../train": [PLAIN]})
    with pytest.raises(UserError, match="Unknown export format"):
        write_dataset("word", tmp_path, {"train": [PLAIN]})


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20).filter(
    lambda text: not is_blank(text)
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def chats(draw: Any) -> Example:
    messages: list[dict[str, Any]] = []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": draw(texts)})
    for _ in range(draw(st.integers(1, 3))):
        messages.append(user(draw(texts)))
        if draw(st.booleans()):
            ids = draw(st.lists(texts, min_size=1, max_size=2, unique=True))
            objects = draw(st.lists(st.dictionaries(texts, values, max_size=2), min_size=2, max_size=2))
            arguments = [json.dumps(value, ensure_ascii=False, separators=(",", ":")) for value in objects]
            messages.append(calling(*[(i, draw(texts), text) for i, text in zip(ids, arguments, strict=False)]))
            messages += [result(draw(texts), i) for i in draw(st.permutations(ids))]
        messages.append(said(draw(texts)))
    used = any("tool_calls" in message for message in messages)
    return example(*messages, **({"tools": TOOLS} if used else {}))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, deadline=None)
@given(rows=st.lists(chats(), min_size=1, max_size=4, unique_by=lambda row: row.id))
def test_any_chat_comes_back_or_is_left_out_with_its_reason(name: str, rows: list[Example]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written = write_dataset(name, Path(folder), {"train": paired(name, rows)})
        kept = [row for row in rows if row.id not in written.left_out_ids]
        assert len(kept) + sum(written.left_out.values()) == len(rows)
        if not kept:
            return
        journal = Rejects(written.paths[0])
        read = [fields for _, fields in stream_examples(written.paths[0], journal).rows]
        assert [list(fields["messages"]) for fields in read if fields] == [expected(name, row) for row in kept]
        assert journal.first() is None
