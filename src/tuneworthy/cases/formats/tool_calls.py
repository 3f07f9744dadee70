"""Tools and calls of tools, brought to the OpenAI shape: ids on every call, arguments as the text of a JSON object."""

from contextlib import suppress
from typing import Any

import orjson

from tuneworthy.cases import messages
from tuneworthy.cases.formats.values import at
from tuneworthy.cases.readers.faults import RowFault
from tuneworthy.types import JsonObject, Message, Messages, Turns, calls_of, role_of


def tools_of(value: Any) -> list[JsonObject]:
    """Return tools as a list in the OpenAI shape; they may be JSON text.

    Raises:
        RowFault: They are neither.
    """
    if isinstance(value, str):
        if not value.strip():
            return []
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise RowFault("JSON for `tools`", value, code="bad_tools") from None
    tools = value if isinstance(value, list) else [value]
    out = []
    for tool in tools:
        if not isinstance(tool, dict):
            raise RowFault(messages.TOOLS, tool)
        if "function" not in tool and "name" in tool:  # a bare function, of the Responses API, or of Anthropic
            function = {key: value for key, value in tool.items() if key not in {"type", "input_schema"}}
            if "input_schema" in tool:
                function["parameters"] = tool["input_schema"]
            out.append({"type": "function", "function": function})
        else:
            out.append(tool)
    return out


def with_calls(turns: Messages) -> Turns:
    """Return messages whose calls are in the OpenAI shape, and whose results name the call that they answer.

    Ids that are missing are ``call_0``, ``call_1``, in order; a result without one answers the first open call.

    Raises:
        RowFault: A call without a name, or with arguments that are no JSON object.
    """
    if not any("tool_calls" in message or role_of(message) == "tool" for message in turns):
        return tuple(turns)
    out = []
    open_ids = []
    n = 0
    for i, message in enumerate(turns):
        new = message
        if "tool_calls" in message:
            new = {key: value for key, value in message.items() if key != "tool_calls"}
            where, given = f"messages[{i}].tool_calls", message["tool_calls"]
            if not isinstance(given, list):
                raise RowFault(f"a list at {where}", given, code="bad_tool_call")
            calls = [call_of(call, where, n + k) for k, call in enumerate(given)]
            n += len(calls)
            open_ids += [call["id"] for call in calls]
            if calls:
                new["tool_calls"] = calls
        elif role_of(message) == "tool":
            if "tool_call_id" not in message and open_ids:
                new = {**message, "tool_call_id": open_ids[0]}
            if at(new, "tool_call_id") in open_ids:
                open_ids.remove(new["tool_call_id"])
        out.append(new)
    return tuple(out)


def plain_calls(turn: Message) -> list[JsonObject]:
    """Return the calls of a turn as `{"name", "arguments"}`, which is the form of an expected answer."""
    functions = [call["function"] for call in calls_of(turn)]
    return [{"name": one["name"], "arguments": orjson.loads(one["arguments"])} for one in functions]


def with_weights(turns: Messages) -> Turns:
    """Return messages in which Axolotl's `train` is OpenAI's `weight`: whether an answer is learned from."""
    return tuple(
        {key: item for key, item in message.items() if key != "train"} | {"weight": int(message["train"])}
        if isinstance(message.get("train"), bool)
        else message
        for message in turns
    )


def call_of(value: Any, where: str, n: int) -> JsonObject:
    """Return a call in the OpenAI shape: from that shape, or from ``{"name", "arguments"}``.

    Args:
        value: The call.
        where: Its place, for messages.
        n: How many calls came before it, for its id.

    Raises:
        RowFault: No name, or arguments that are no JSON object.
    """
    call = value if isinstance(value, dict) else {}
    function = call.get("function", call)
    name = at(function, "name")
    if not isinstance(name, str) or not name.strip():
        raise RowFault(f'a call {{"name": ..., "arguments": ...}} at {where}', value, code="bad_tool_call")
    arguments = at(function, "arguments")
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        arguments = {}
    if isinstance(arguments, str):
        with suppress(orjson.JSONDecodeError):
            arguments = orjson.loads(arguments)
    if not isinstance(arguments, dict):
        raise RowFault(f"a JSON object for the arguments at {where}", arguments, code="bad_tool_call")
    identity = at(call, "id")
    return {
        "id": identity if isinstance(identity, str) and identity else f"call_{n}",
        "type": "function",
        "function": {"name": name, "arguments": orjson.dumps(arguments).decode()},
    }
