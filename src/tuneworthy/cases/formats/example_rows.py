"""The formats of examples: chats, request logs, ShareGPT, Alpaca, prompt/completion, and columns."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import orjson

from tuneworthy.cases.formats import logs
from tuneworthy.cases.formats.case_rows import native_fields
from tuneworthy.cases.formats.chats import ROLES, check_chat, check_messages, is_blank
from tuneworthy.cases.formats.columns import EXPECTED_NAMES, INPUT_NAMES, Columns, find_column
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Convert, Fields, Format
from tuneworthy.cases.formats.tool_calls import call_of, modern, tools_of, with_calls, with_weights
from tuneworthy.cases.normalize import variables_text
from tuneworthy.cases.readers.faults import Dropped, Journal, RowFault, kind_of, show
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
    """Return the fields of an example; whatever else the row holds is kept in `meta`, tools in the OpenAI shape."""
    fields: Fields = {"messages": check_chat(with_weights(with_calls(messages)))}
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
    if "tools" in meta:
        meta["tools"] = tools_of(meta["tools"])
        if not meta["tools"]:
            del meta["tools"]
    if meta:
        fields["meta"] = meta
    return fields


def _text(row: dict[str, Any], key: str, *, optional: bool = False) -> str:
    value = row.get(key)
    if value is None and optional:
        return ""
    if not isinstance(value, str):
        got = kind_of(value) if key in row else "no such key"
        raise RowFault(f"a text as `{key}`", got, code="bad_value" if key in row else "missing_key")
    return value


def _chat(system: str, question: str, answer: str) -> tuple[Message, ...]:
    head = ({"role": "system", "content": system},) if system.strip() else ()
    if is_blank(question):
        raise RowFault("a question", "an empty one", "Write it, or take the row out", code="no_question")
    return (*head, {"role": "user", "content": question}, {"role": "assistant", "content": answer})


def _messages(row: dict[str, Any]) -> Fields:
    if "messages" not in row:
        got = f"the keys {', '.join(row)}" if row else "an empty object"
        raise RowFault("`messages`", got, 'A row is {"messages": [...]}', code="missing_key")
    return _fields(check_messages(modern(row["messages"])), row, {"messages"})


def _openai_log(row: dict[str, Any]) -> Fields:
    """Convert a logged request and its response; feedback and the like are kept in `meta`."""
    request = logs.request_of(row)
    messages = logs.asked(request)
    response = logs.response_of(row)
    turn, ending = logs.answered(response)
    told = {
        "model": response.get("model") or request.get("model"),
        "finish_reason": ending,
        "tools": request.get("tools") or request.get("functions"),
    }
    rest = {key: value for key, value in row.items() if key not in _LOGGED}
    if "request" not in row and "request_body" not in row:
        rest.pop("tools", None)
        rest.pop("model", None)
    return _fields((*messages, turn), {**{k: v for k, v in told.items() if v is not None}, **rest}, _NOTHING)


_NOTHING: frozenset[str] = frozenset()
_LOGGED = frozenset({"request", "response", "request_body", "response_body", "messages"})


def _sharegpt(row: dict[str, Any]) -> Fields:
    turns = row.get("conversations")
    if not isinstance(turns, list) or not turns:
        raise RowFault("a list of turns as `conversations`", kind_of(turns), code="no_messages")
    messages: list[Any] = []
    if system := _text(row, "system", optional=True):
        messages.append({"role": "system", "content": system})
    n_calls = 0
    for i, turn in enumerate(turns):
        where = f"conversations[{i}]"
        if not isinstance(turn, dict):
            raise RowFault(f'a turn {{"from": ..., "value": ...}} at {where}', kind_of(turn), code="bad_message")
        messages.append(_turn(turn, where, n_calls))
        n_calls += len(messages[-1].get("tool_calls") or ())
    return _fields(check_messages(messages, "conversations"), row, {"conversations", "system"})


def _turn(turn: dict[str, Any], where: str, n_calls: int) -> dict[str, Any]:
    """Return a turn of ShareGPT as a message; one that is a message already stays as it is."""
    if "from" not in turn and turn.get("role") in ROLES:
        return turn
    speaker = turn.get("from", turn.get("role"))
    role = _FROM.get(speaker.lower()) if isinstance(speaker, str) else None
    if role is None:
        hint = f"Roles are {', '.join(_FROM)}"
        raise RowFault(f"a known role at {where}", kind_of(speaker), hint, code="unknown_role")
    kept = {key: turn[key] for key in _TURN_KEYS if key in turn}
    value = turn.get("value", turn.get("content"))
    if isinstance(speaker, str) and speaker.lower() == "function_call":
        return {"role": role, "content": None, "tool_calls": _called(value, where, n_calls), **kept}
    return {"role": role, "content": value, **kept}


_TURN_KEYS = ("name", "weight", "tool_call_id", "tool_calls", "feedback", "rating", "correction")


def _called(value: Any, where: str, n: int) -> list[dict[str, Any]]:
    """Return the calls that the value of a `function_call` turn is: one, or a list of them, as JSON text."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise RowFault(f"JSON as value at {where}", kind_of(value), code="bad_tool_call") from None
    calls = value if isinstance(value, list) else [value]
    return [call_of(call, where, n + i) for i, call in enumerate(calls)]


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
            raise RowFault("pairs of question and answer as `history`", kind_of(pair), code="bad_history")
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
        raise Dropped("no answer to learn from (not labelled, or declining is right)", code="not_labelled")
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
            columns.append(Columns(row.keys(), journal, keep_rest=True))
        return native_example(columns[0].native(row), journal)

    return convert


def _two_columns(keys: Set[str], first: dict[str, Any]) -> bool:
    question = find_column(first.keys(), INPUT_NAMES)
    return question is not None and find_column(first.keys() - {question}, EXPECTED_NAMES) is not None


def _is_log(keys: Set[str], first: dict[str, Any]) -> bool:
    return ("response" in keys and bool({"request", "messages"} & keys)) or {"request_body", "response_body"} <= keys


for _format in (
    Format(
        name="openai_log",
        shape='{"request": {"messages": [...]}, "response": {"choices": [...]}}',
        detect=_is_log,
        converter=lambda journal: _openai_log,
        priority=0,
    ),
    Format(
        name="messages",
        shape='{"messages": [..., {"role": "assistant", "content": ...}]}',
        detect=lambda keys, first: ("messages" in keys and "expected" not in keys) or not keys,
        converter=lambda journal: _messages,
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
