"""The formats of examples: chats, request logs, ShareGPT, Alpaca, prompt/completion, and columns."""

from collections.abc import Set
from typing import Any

import orjson

from tuneworthy.cases import messages
from tuneworthy.cases.formats.case_rows import native_fields
from tuneworthy.cases.formats.chats import ROLES, check_messages, is_blank, modern
from tuneworthy.cases.formats.columns import INPUT_NAMES, expected_column, find_column
from tuneworthy.cases.formats.logs import asked, exchange, fields_of
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Fields, Format, has, register
from tuneworthy.cases.formats.tool_calls import call_of
from tuneworthy.cases.formats.values import at, list_at
from tuneworthy.cases.normalize import variables_text
from tuneworthy.cases.readers.faults import Dropped, Journal, RowFault, show
from tuneworthy.types import UNLABELLED, JsonObject, Turns

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


def _text(row: JsonObject, key: str, *, optional: bool = False) -> str:
    value = row.get(key)
    if value is None and optional:
        return ""
    if not isinstance(value, str):
        if key not in row:
            raise RowFault(f"a string for `{key}`", got="a row without this key", code="missing_key")
        raise RowFault(f"a string for `{key}`", value)
    return value


def _chat(system: str, question: str, answer: str) -> Turns:
    head = ({"role": "system", "content": system},) if system.strip() else ()
    if is_blank(question):
        raise RowFault(messages.A_QUESTION, got="an empty string")
    return (*head, {"role": "user", "content": question}, {"role": "assistant", "content": answer})


def messages_example(row: JsonObject, journal: Journal) -> Fields:
    if "messages" not in row:
        raise RowFault(
            "`messages`",
            got=messages.keys(row),
            hint='Write each row as {"messages": [...]}.',
            code="missing_key",
        )
    turns = modern(row["messages"])
    system = row.get("system")
    if isinstance(system, str) and isinstance(turns, list) and not is_blank(system):
        return fields_of(check_messages([{"role": "system", "content": system}, *turns]), row, {"messages", "system"})
    return fields_of(check_messages(turns), row, {"messages"})


def log_example(row: JsonObject, journal: Journal) -> Fields:
    request, response = _body(row, "request"), _body(row, "response")
    if request is None and "messages" in row:
        request = {key: row[key] for key in ("messages", "model", "tools") if key in row}
    if not isinstance(request, dict):
        raise RowFault("an object for `request`", request)
    read = {"request", "response", "request_body", "response_body", "messages"}
    if "request" not in row and "request_body" not in row:
        read |= {"tools", "model"}
    about = {key: value for key, value in row.items() if key not in read}
    return exchange(request, response, _facts(row.get("request"), response) | about, api=True)


def recorded_example(row: JsonObject, journal: Journal) -> Fields:
    """Convert a line of `tuneworthy record`: a request with its answer, or a function's arguments with its output."""
    if reason := row.get("skipped"):
        raise Dropped(f"the recorder skipped the call: {reason}", "not_recorded")
    if "request" not in row:
        given = row.get("input")
        texts = [*given.values()] if isinstance(given, dict) else [given]
        single = len(texts) == 1 and isinstance(texts[0], str)
        question = texts[0] if single or not isinstance(given, dict) else variables_text(given)
        answer = row.get("output")
        return exchange(question, answer if isinstance(answer, str | None) else show(answer, 10**9), _about(row))
    request, response = row["request"], row.get("response")
    return exchange(request, response, _about(row) | _facts(request, response), api=True)


def _facts(request: Any, response: Any) -> JsonObject:
    """Return the settings of a request, the tokens, and whether it went to the Responses API."""
    return {
        "usage": at(response, "usage"),
        "settings": {key: request[key] for key in SAMPLING if key in request} or None
        if isinstance(request, dict)
        else None,
        "responses_api": isinstance(at(response, "output"), list) or None,
    }


def _about(row: JsonObject) -> JsonObject:
    return {key: value for key, value in row.items() if key not in {"request", "response", "input", "output"}}


# Settings of a request that set how an answer is sampled, how long it is, and where it ends.
SAMPLING = (
    "temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty", "reasoning_effort", "reasoning",
    "thinking", "verbosity", "max_tokens", "max_completion_tokens", "max_output_tokens", "stop", "stop_sequences",
)  # fmt: skip


def _gemini(row: JsonObject, journal: Journal) -> Fields:
    read = {"contents", "systemInstruction", "system_instruction", "candidates"}
    asking = {key: row[key] for key in read if key in row}
    if answers := asking.pop("candidates", None):
        return exchange(
            asking, {"candidates": answers}, {key: value for key, value in row.items() if key not in read}, api=True
        )
    return fields_of(check_messages(asked(asking)), row, read)


def _body(row: JsonObject, name: str) -> Any:
    """Return the request or the response of a row; that of a batch is wrapped once more."""
    value = row.get(name, at(row, f"{name}_body"))
    body = at(value, "body")
    return body if isinstance(body, dict) else value


def _sharegpt(row: JsonObject, journal: Journal) -> Fields:
    turns = list_at(row, "conversations")
    if not turns:
        raise RowFault("a list of turns for `conversations`", at(row, "conversations"), code="no_messages")
    chat = []
    if system := _text(row, "system", optional=True):
        chat.append({"role": "system", "content": system})
    n_calls = 0
    for i, turn in enumerate(turns):
        where = f"conversations[{i}]"
        if not isinstance(turn, dict):
            raise RowFault(f'a turn {{"from": ..., "value": ...}} at {where}', turn, code="bad_message")
        chat.append(sharegpt_turn(turn, where, n_calls))
        n_calls += len(at(chat[-1], "tool_calls") or ())
    return fields_of(check_messages(chat, "conversations"), row, {"conversations", "system"})


def sharegpt_turn(turn: JsonObject, where: str, n_calls: int) -> JsonObject:
    """Return a turn of ShareGPT as a message; one that is a message already stays as it is."""
    if "from" not in turn and at(turn, "role") in ROLES:
        return turn
    speaker, value = turn.get("from", at(turn, "role")), turn.get("value", at(turn, "content"))
    name = speaker.lower() if isinstance(speaker, str) else ""
    if name not in _FROM:
        raise RowFault(messages.known_role(where, ", ".join(_FROM)), speaker)
    message = {"role": _FROM[name], "content": value}
    if name == "function_call":
        if isinstance(value, str):
            try:
                value = orjson.loads(value)
            except orjson.JSONDecodeError:
                raise RowFault(f"a JSON value at {where}", value, code="bad_tool_call") from None
        calls = value if isinstance(value, list) else [value]
        message |= {"content": None, "tool_calls": [call_of(one, where, n_calls + i) for i, one in enumerate(calls)]}
    return message | {key: turn[key] for key in _TURN_KEYS if key in turn}


_TURN_KEYS = ("name", "weight", "tool_call_id", "tool_calls", "feedback", "rating", "correction")


def _alpaca(row: JsonObject, journal: Journal) -> Fields:
    question, context = _text(row, "instruction"), _text(row, "input", optional=True)
    if context.strip():
        question = f"{question}\n\n{context}" if question.strip() else context
    *before, user, assistant = _chat(_text(row, "system", optional=True), question, _text(row, "output"))
    history = at(row, "history")
    for pair in history if isinstance(history, list) else () if history is None else [history]:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise RowFault("question-answer pairs for `history`", pair, code="bad_history")
        before += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return fields_of((*before, user, assistant), row, {"instruction", "input", "output", "system", "history"})


def _prompt_completion(row: JsonObject, journal: Journal) -> Fields:
    prompt, completion = at(row, "prompt"), at(row, "completion")
    if isinstance(prompt, list):
        answer = [{"role": "assistant", "content": completion}] if isinstance(completion, str) else completion
        turns = (*check_messages(prompt, "prompt"), *check_messages(answer, "completion"))
    else:
        if isinstance(completion, list):
            row = row | {"completion": check_messages(completion, "completion")[-1].get("content")}
        turns = _chat("", _text(row, "prompt"), _text(row, "completion"))
    return fields_of(turns, row, {"prompt", "completion"})


def native_example(row: JsonObject, journal: Journal) -> Fields:
    """Convert a row in the format of a case (input or messages, and expected) to an example.

    Variables become one text, a line each (`variables_text`), as in the cases of `init`.
    """
    if "messages" in row and row.get("expected", UNLABELLED) in (UNLABELLED, ""):
        return messages_example({key: value for key, value in row.items() if key != "expected"}, journal)
    case = native_fields({key: value for key, value in row.items() if key in _CASE}, journal)
    expected, question = at(case, "expected"), at(case, "input")
    if expected is None:
        raise Dropped(
            "no answer to learn from, because the row is unlabelled or the model should decline", "not_labelled"
        )
    if isinstance(question, dict):
        question = variables_text(question)
    answer = expected if isinstance(expected, str) else show(expected, 10**9)
    before = at(case, "messages") or ({"role": "user", "content": question},)
    return fields_of((*before, {"role": "assistant", "content": answer}), row, _CASE)


def _two_columns(keys: Set[str], first: JsonObject) -> bool:
    question = find_column(first.keys(), INPUT_NAMES)
    return question is not None and expected_column(first, first.keys() - {question}) is not None


register(
    EXAMPLE_FORMATS,
    Format(
        name="recorded",
        title="recorded calls",
        unit="call",
        detect=lambda keys, first: (
            "written" in keys
            and "name" in keys
            and ("skipped" in keys or {"seconds", "output"} <= keys or {"seconds", "request", "response"} <= keys)
        ),
        convert=recorded_example,
    ),
    Format(
        name="openai_log",
        detect=lambda keys, first: (
            ("response" in keys and bool({"request", "messages"} & keys)) or {"request_body", "response_body"} <= keys
        ),
        convert=log_example,
    ),
    Format(
        name="gemini",
        detect=has("contents"),
        convert=_gemini,
    ),
    Format(
        name="messages",
        detect=lambda keys, first: ("messages" in keys and "expected" not in keys) or not keys,
        convert=messages_example,
    ),
    Format(
        name="sharegpt",
        detect=has("conversations"),
        convert=_sharegpt,
    ),
    Format(
        name="alpaca",
        detect=has("instruction output"),
        convert=_alpaca,
    ),
    Format(
        name="prompt_completion",
        detect=has("prompt completion"),
        convert=_prompt_completion,
    ),
    Format(
        name="input_expected",
        detect=has("expected", some="input messages"),
        convert=native_example,
    ),
    Format(
        name="columns",
        detect=_two_columns,
        convert=native_example,
    ),
)
