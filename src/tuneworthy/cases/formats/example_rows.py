"""The formats of examples: chats, request logs, ShareGPT, Alpaca, prompt/completion, and columns."""

from collections.abc import Set
from typing import Any

import orjson

from tuneworthy.cases import messages
from tuneworthy.cases.formats.case_rows import native_fields
from tuneworthy.cases.formats.chats import ROLES, check_messages, is_blank
from tuneworthy.cases.formats.columns import EXPECTED_NAMES, INPUT_NAMES, columns_by_name, find_column
from tuneworthy.cases.formats.dialects import modern
from tuneworthy.cases.formats.logs import exchange, fields_of
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Fields, Format
from tuneworthy.cases.formats.tool_calls import call_of
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
_CASE = frozenset({"input", "messages", "expected"})


def _text(row: dict[str, Any], key: str, *, optional: bool = False) -> str:
    value = row.get(key)
    if value is None and optional:
        return ""
    if not isinstance(value, str):
        fault = messages.A_TEXT.at(key=key)
        if key not in row:
            raise RowFault(fault._replace(code="missing_key"), "a row without this key")
        raise RowFault(fault, kind_of(value))
    return value


def _chat(system: str, question: str, answer: str) -> tuple[Message, ...]:
    head = ({"role": "system", "content": system},) if system.strip() else ()
    if is_blank(question):
        raise RowFault(messages.A_QUESTION, messages.say("an_empty_one"))
    return (*head, {"role": "user", "content": question}, {"role": "assistant", "content": answer})


def messages_example(row: dict[str, Any]) -> Fields:
    """Convert a chat; a system prompt may stand beside its messages."""
    if "messages" not in row:
        got = messages.say("keys", names=", ".join(row)) if row else messages.say("empty_object")
        raise RowFault(messages.NO_MESSAGES, got)
    turns = modern(row["messages"])
    if isinstance(system := row.get("system"), str) and isinstance(turns, list) and not is_blank(system):
        return fields_of(check_messages([{"role": "system", "content": system}, *turns]), row, {"messages", "system"})
    return fields_of(check_messages(turns), row, {"messages"})


def log_example(row: dict[str, Any]) -> Fields:
    """Convert a logged request and its response; feedback and the like are kept in `meta`."""
    request, response = _body(row, "request"), _body(row, "response")
    if request is None and "messages" in row:
        request = {key: row[key] for key in ("messages", "model", "tools") if key in row}
    if not isinstance(request, dict):
        raise RowFault(messages.LOG_OBJECT.at(name="request"), kind_of(request))
    read = {"request", "response", "request_body", "response_body", "messages"}
    if "request" not in row and "request_body" not in row:
        read |= {"tools", "model"}
    return exchange(request, response, {key: value for key, value in row.items() if key not in read}, api=True)


def _body(row: dict[str, Any], name: str) -> Any:
    """Return the request or the response of a row; that of a batch is wrapped once more."""
    value = row.get(name, row.get(f"{name}_body"))
    return value["body"] if isinstance(value, dict) and isinstance(value.get("body"), dict) else value


def _sharegpt(row: dict[str, Any]) -> Fields:
    turns = row.get("conversations")
    if not isinstance(turns, list) or not turns:
        raise RowFault(messages.TURNS, kind_of(turns))
    chat: list[Any] = []
    if system := _text(row, "system", optional=True):
        chat.append({"role": "system", "content": system})
    n_calls = 0
    for i, turn in enumerate(turns):
        where = f"conversations[{i}]"
        if not isinstance(turn, dict):
            raise RowFault(messages.TURN.at(where=where), kind_of(turn))
        chat.append(_turn(turn, where, n_calls))
        n_calls += len(chat[-1].get("tool_calls") or ())
    return fields_of(check_messages(chat, "conversations"), row, {"conversations", "system"})


def _turn(turn: dict[str, Any], where: str, n_calls: int) -> dict[str, Any]:
    """Return a turn of ShareGPT as a message; one that is a message already stays as it is."""
    if "from" not in turn and turn.get("role") in ROLES:
        return turn
    speaker = turn.get("from", turn.get("role"))
    role = _FROM.get(speaker.lower()) if isinstance(speaker, str) else None
    if role is None:
        raise RowFault(messages.KNOWN_ROLE.at(where=where, roles=", ".join(_FROM)), kind_of(speaker))
    rest = {key: turn[key] for key in _TURN_KEYS if key in turn}
    value = turn.get("value", turn.get("content"))
    if isinstance(speaker, str) and speaker.lower() == "function_call":
        return {"role": role, "content": None, "tool_calls": _called(value, where, n_calls), **rest}
    return {"role": role, "content": value, **rest}


_TURN_KEYS = ("name", "weight", "tool_call_id", "tool_calls", "feedback", "rating", "correction")


def _called(value: Any, where: str, n: int) -> list[dict[str, Any]]:
    """Return the calls that the value of a `function_call` turn is: one, or a list of them, as JSON text."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise RowFault(messages.CALL_JSON.at(where=where), kind_of(value)) from None
    calls = value if isinstance(value, list) else [value]
    return [call_of(call, where, n + i) for i, call in enumerate(calls)]


def _alpaca(row: dict[str, Any]) -> Fields:
    parts = (_text(row, "instruction"), _text(row, "input", optional=True))
    question = "\n\n".join(part for part in parts if part.strip())
    chat = _chat(_text(row, "system", optional=True), question, _text(row, "output"))
    return fields_of(
        (*chat[:-2], *_history(row.get("history")), *chat[-2:]),
        row,
        {"instruction", "input", "output", "system", "history"},
    )


def _history(value: Any) -> tuple[Message, ...]:
    if value is None:
        return ()
    turns: list[Message] = []
    for pair in value if isinstance(value, list) else [value]:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise RowFault(messages.HISTORY, kind_of(pair))
        turns += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return tuple(turns)


def _prompt_completion(row: dict[str, Any]) -> Fields:
    prompt, completion = row.get("prompt"), row.get("completion")
    if isinstance(prompt, list):
        answer = [{"role": "assistant", "content": completion}] if isinstance(completion, str) else completion
        turns = (*check_messages(prompt, "prompt"), *check_messages(answer, "completion"))
    else:
        if isinstance(completion, list):
            completion = check_messages(completion, "completion")[-1].get("content")
        pair = {key: value for key, value in (("prompt", prompt), ("completion", completion)) if key in row}
        turns = _chat("", _text(pair, "prompt"), _text(pair, "completion"))
    return fields_of(turns, row, {"prompt", "completion"})


def native_example(row: dict[str, Any], journal: Journal) -> Fields:
    """Convert a row in the format of a case (input or messages, and expected) to an example.

    Variables become one text, a line each (`variables_text`), as `init` writes them into cases.
    """
    if "messages" in row and row.get("expected", UNLABELLED) in (UNLABELLED, ""):
        return messages_example({key: value for key, value in row.items() if key != "expected"})
    case = native_fields({key: value for key, value in row.items() if key in _CASE}, journal)
    if "expected" not in case or case["expected"] is None:
        raise Dropped(messages.NOT_LABELLED)
    question = case.get("input")
    if isinstance(question, dict):
        question = variables_text(question)
    answer = case["expected"] if isinstance(case["expected"], str) else show(case["expected"], 10**9)
    before = case.get("messages") or ({"role": "user", "content": question},)
    return fields_of((*before, {"role": "assistant", "content": answer}), row, _CASE)


def _two_columns(keys: Set[str], first: dict[str, Any]) -> bool:
    question = find_column(first.keys(), INPUT_NAMES)
    return question is not None and find_column(first.keys() - {question}, EXPECTED_NAMES) is not None


for _format in (
    Format(
        name="openai_log",
        shape='{"request": {"messages": [...]}, "response": {"choices": [...]}}',
        detect=lambda keys, first: (
            ("response" in keys and bool({"request", "messages"} & keys)) or {"request_body", "response_body"} <= keys
        ),
        converter=lambda journal: log_example,
        priority=0,
    ),
    Format(
        name="messages",
        shape='{"messages": [..., {"role": "assistant", "content": ...}]}',
        detect=lambda keys, first: ("messages" in keys and "expected" not in keys) or not keys,
        converter=lambda journal: messages_example,
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
        converter=lambda journal: columns_by_name(native_example, journal, keep_rest=True),
        priority=6,
    ),
):
    EXAMPLE_FORMATS.register(_format.name)(_format)
