"""Tools and calls of tools, brought to the OpenAI shape: ids on every call, arguments as the text of a JSON object."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import orjson

from tuneworthy.cases import messages
from tuneworthy.cases.readers.faults import RowFault
from tuneworthy.types import Message


def tools_of(value: Any) -> list[dict[str, Any]]:
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
    if bad := [tool for tool in tools if not isinstance(tool, dict)]:
        raise RowFault(messages.TOOLS, bad[0])
    return [_tool(tool) for tool in tools]


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """Return a tool in the OpenAI shape: also a bare function, one of the Responses API, or one of Anthropic."""
    if "function" in tool or "name" not in tool:
        return tool
    function = {key: value for key, value in tool.items() if key not in {"type", "input_schema"}}
    if "input_schema" in tool:
        function["parameters"] = tool["input_schema"]
    return {"type": "function", "function": function}


def with_calls(turns: Sequence[Message]) -> tuple[Message, ...]:
    """Return messages whose calls are in the OpenAI shape, and whose results name the call that they answer.

    Ids that are missing are ``call_0``, ``call_1``, in order; a result without one answers the first open call.

    Raises:
        RowFault: A call without a name, or with arguments that are no JSON object.
    """
    if not any("tool_calls" in message or message["role"] == "tool" for message in turns):
        return tuple(turns)
    out: list[Message] = []
    open_ids: list[str] = []
    n = 0
    for i, message in enumerate(turns):
        new = message
        if "tool_calls" in message:
            new = {key: value for key, value in message.items() if key != "tool_calls"}
            calls = _calls(message["tool_calls"], f"messages[{i}].tool_calls", n)
            n += len(calls)
            open_ids += [call["id"] for call in calls]
            if calls:
                new["tool_calls"] = calls
        elif message["role"] == "tool":
            if "tool_call_id" not in message and open_ids:
                new = {**message, "tool_call_id": open_ids[0]}
            if new.get("tool_call_id") in open_ids:
                open_ids.remove(new["tool_call_id"])
        out.append(new)
    return tuple(out)


def with_weights(turns: Sequence[Message]) -> tuple[Message, ...]:
    """Return messages in which Axolotl's `train` is OpenAI's `weight`: whether an answer is learned from."""
    out: list[Message] = []
    for message in turns:
        new = dict(message)
        if isinstance(message.get("train"), bool):
            new["weight"] = int(new.pop("train"))
        out.append(new)
    return tuple(out)


def _calls(value: Any, where: str, n: int) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise RowFault(f"a list at {where}", value, code="bad_tool_call")
    return [call_of(call, where, n + i) for i, call in enumerate(value)]


def call_of(value: Any, where: str, n: int) -> dict[str, Any]:
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
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise RowFault(f'a call {{"name": ..., "arguments": ...}} at {where}', value, code="bad_tool_call")
    arguments = function.get("arguments")
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        arguments = {}
    if isinstance(arguments, str):
        with suppress(orjson.JSONDecodeError):
            arguments = orjson.loads(arguments)
    if not isinstance(arguments, dict):
        raise RowFault(f"a JSON object for the arguments at {where}", arguments, code="bad_tool_call")
    identity = call.get("id")
    return {
        "id": identity if isinstance(identity, str) and identity else f"call_{n}",
        "type": "function",
        "function": {"name": name, "arguments": orjson.dumps(arguments).decode()},
    }
