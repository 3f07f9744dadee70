"""The formats of examples: chats, request logs, ShareGPT, Alpaca, prompt/completion, and columns."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from tuneworthy.cases.case_formats import native_fields
from tuneworthy.cases.chats import check_chat, check_messages
from tuneworthy.cases.columns import EXPECTED_NAMES, INPUT_NAMES, Columns, find_column
from tuneworthy.cases.faults import Dropped, Journal, RowFault, kind_of, show
from tuneworthy.cases.formats import EXAMPLE_FORMATS, Convert, Fields, Format
from tuneworthy.cases.text import variables_text
from tuneworthy.types import UNLABELLED, Message

_FROM = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
    "function_call": "assistant",
}
_ALPACA = frozenset({"instruction", "input", "output", "system", "history"})


def _fields(messages: tuple[Message, ...], row: dict[str, Any], read: Set[str]) -> Fields:
    """Return the fields of an example; whatever else the row holds is kept in `meta`."""
    fields: Fields = {"messages": check_chat(messages)}
    if row.keys() <= read:
        return fields
    if row.get("group") is not None:
        fields["group"] = str(row["group"])
    if row.get("tags") is not None:
        tags = row["tags"]
        if not isinstance(tags, str | list):
            raise RowFault("a list of texts as `tags`", kind_of(tags))
        fields["tags"] = (tags,) if isinstance(tags, str) else tuple(str(tag) for tag in tags)
    meta = {k: v for k, v in row.items() if k not in read and k not in {"group", "tags"} and v is not None}
    if isinstance(inner := meta.get("meta"), dict):
        meta = {**inner, **{k: v for k, v in meta.items() if k != "meta"}}
    if meta:
        fields["meta"] = meta
    return fields


def _text(row: dict[str, Any], key: str, *, optional: bool = False) -> str:
    value = row.get(key)
    if value is None and optional:
        return ""
    if not isinstance(value, str):
        raise RowFault(f"a text as `{key}`", kind_of(value) if key in row else "no such key")
    return value


def _chat(system: str, question: str, answer: str) -> tuple[Message, ...]:
    head = ({"role": "system", "content": system},) if system.strip() else ()
    if not question.strip():
        raise RowFault("a question", "an empty one", "Write it, or take the row out")
    return (*head, {"role": "user", "content": question}, {"role": "assistant", "content": answer})


def _messages(row: dict[str, Any]) -> Fields:
    if "messages" not in row:
        raise RowFault("`messages`", f"the keys {', '.join(row)}", 'A row is {"messages": [...]}')
    return _fields(check_messages(row["messages"]), row, {"messages"})


def _openai_log(row: dict[str, Any]) -> Fields:
    """Convert a logged request and its response; feedback and the like are kept in `meta`."""
    request, response = row.get("request"), row.get("response")
    if not isinstance(request, dict):
        raise RowFault("an object as `request`", kind_of(request))
    request = request["body"] if isinstance(request.get("body"), dict) else request
    messages = check_messages(request.get("messages"), "request.messages")
    if not isinstance(response, dict):
        raise Dropped("the log holds no response")
    response = response["body"] if isinstance(response.get("body"), dict) else response
    choices = response.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Dropped("the response holds no choice (a failed request)")
    answer = choices[0].get("message")
    if not isinstance(answer, dict):
        raise RowFault("an object as `response.choices[0].message`", kind_of(answer))
    if not answer.get("content") and not answer.get("tool_calls"):
        raise Dropped("the response is empty")
    kept = {key: answer[key] for key in ("content", "tool_calls") if answer.get(key) is not None}
    turn = check_messages([{"role": "assistant", **kept}], "response.choices[0].message")
    fields = _fields((*messages, *turn), row, {"request", "response"})
    told = {
        "model": response.get("model") or request.get("model"),
        "finish_reason": choices[0].get("finish_reason"),
        "tools": request.get("tools"),
    }
    fields["meta"] = {**{k: v for k, v in told.items() if v is not None}, **fields.get("meta", {})}
    return fields


def _sharegpt(row: dict[str, Any]) -> Fields:
    turns = row.get("conversations")
    if not isinstance(turns, list) or not turns:
        raise RowFault("a list of turns as `conversations`", kind_of(turns))
    messages: list[Any] = []
    if system := _text(row, "system", optional=True):
        messages.append({"role": "system", "content": system})
    for i, turn in enumerate(turns):
        where = f"conversations[{i}]"
        if not isinstance(turn, dict):
            raise RowFault(f'a turn {{"from": ..., "value": ...}} at {where}', kind_of(turn))
        speaker = turn.get("from")
        role = _FROM.get(speaker.lower()) if isinstance(speaker, str) else None
        if role is None:
            raise RowFault(f"a known role at {where}", kind_of(speaker), f"Roles are {', '.join(_FROM)}")
        messages.append({"role": role, "content": turn.get("value")})
    return _fields(check_messages(messages, "conversations"), row, {"conversations", "system"})


def _alpaca(row: dict[str, Any]) -> Fields:
    parts = (_text(row, "instruction"), _text(row, "input", optional=True))
    question = "\n\n".join(part for part in parts if part.strip())
    chat = _chat(_text(row, "system", optional=True), question, _text(row, "output"))
    return _fields((*chat[:-2], *_history(row.get("history")), *chat[-2:]), row, _ALPACA)


def _history(value: Any) -> tuple[Message, ...]:
    if value is None:
        return ()
    pairs = value if isinstance(value, list) else [value]
    messages: list[Message] = []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise RowFault("pairs of question and answer as `history`", kind_of(pair))
        messages += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return tuple(messages)


def _prompt_completion(row: dict[str, Any]) -> Fields:
    prompt, completion = row.get("prompt"), row.get("completion")
    if isinstance(prompt, list):
        answer = [{"role": "assistant", "content": completion}] if isinstance(completion, str) else completion
        messages = (*check_messages(prompt, "prompt"), *check_messages(answer, "completion"))
    else:
        if isinstance(completion, list):
            completion = check_messages(completion, "completion")[-1].get("content")
        pair = {key: value for key, value in (("prompt", prompt), ("completion", completion)) if key in row}
        messages = _chat("", _text(pair, "prompt"), _text(pair, "completion"))
    return _fields(messages, row, {"prompt", "completion"})


def native_example(row: dict[str, Any], journal: Journal) -> Fields:
    """Convert a row in the format of a case (input or messages, and expected) to an example.

    Variables become one text, a line each (`variables_text`), as `init` writes them into cases.
    """
    if "messages" in row and row.get("expected", UNLABELLED) in (UNLABELLED, ""):
        rest = {key: value for key, value in row.items() if key != "expected"}
        return _messages(rest)
    case = native_fields({key: value for key, value in row.items() if key in _CASE_KEYS}, journal)
    if "expected" not in case or case["expected"] is None:
        raise Dropped("no answer to learn from (not labelled, or declining is right)")
    question = case.get("input")
    if isinstance(question, dict):
        question = variables_text(question)
    expected = case["expected"]
    answer = expected if isinstance(expected, str) else show(expected, 10**9)
    before = case.get("messages") or ({"role": "user", "content": question},)
    return _fields((*before, {"role": "assistant", "content": answer}), row, {"input", "messages", "expected"})


_CASE_KEYS = frozenset({"input", "messages", "expected"})


def example_columns_converter(columns: Columns) -> Convert:
    """Return the converter of rows of cells."""
    return lambda row: native_example(columns.native(row), columns.journal)


def _columns_by_name(journal: Journal) -> Convert:
    columns: list[Columns] = []

    def convert(row: dict[str, Any]) -> Fields:
        if not columns:
            columns.append(Columns(row.keys(), journal))
        return native_example(columns[0].native(row), journal)

    return convert


def _two_columns(keys: Set[str], first: dict[str, Any]) -> bool:
    question = find_column(first.keys(), INPUT_NAMES)
    return question is not None and find_column(first.keys() - {question}, EXPECTED_NAMES) is not None


for _format in (
    Format(
        name="messages",
        shape='{"messages": [..., {"role": "assistant", "content": ...}]}',
        detect=lambda keys, first: ("messages" in keys and "expected" not in keys) or not keys,
        converter=lambda journal: _messages,
        priority=0,
    ),
    Format(
        name="openai_log",
        shape='{"request": {"messages": [...]}, "response": {"choices": [...]}}',
        detect=lambda keys, first: "request" in keys and "response" in keys,
        converter=lambda journal: _openai_log,
        priority=1,
    ),
    Format(
        name="sharegpt",
        shape='{"conversations": [{"from": ..., "value": ...}]}',
        detect=lambda keys, first: "conversations" in keys,
        converter=lambda journal: _sharegpt,
        priority=2,
    ),
    Format(
        name="alpaca",
        shape='{"instruction": ..., "input": ..., "output": ...}',
        detect=lambda keys, first: {"instruction", "output"} <= keys,
        converter=lambda journal: _alpaca,
        priority=3,
    ),
    Format(
        name="prompt_completion",
        shape='{"prompt": ..., "completion": ...}',
        detect=lambda keys, first: {"prompt", "completion"} <= keys,
        converter=lambda journal: _prompt_completion,
        priority=4,
    ),
    Format(
        name="input_expected",
        shape='{"input": ..., "expected": ...}',
        detect=lambda keys, first: "expected" in keys and bool({"input", "messages"} & keys),
        converter=lambda journal: lambda row: native_example(row, journal),
        priority=5,
    ),
    Format(
        name="columns",
        shape="two columns, question and answer",
        detect=_two_columns,
        converter=_columns_by_name,
        priority=6,
    ),
):
    EXAMPLE_FORMATS.register(_format.name)(_format)
