"""Logged requests to OpenAI-compatible servers and their responses: chat completions and the Responses API.

What else the row holds (feedback, a customer's id) is kept in `meta`, beside model, finish reason and tools.
"""

from typing import Any

from tuneworthy.cases import messages
from tuneworthy.cases.formats.chats import check_messages, text_of_parts
from tuneworthy.cases.formats.tool_calls import modern
from tuneworthy.cases.readers.faults import Dropped, RowFault, kind_of
from tuneworthy.types import Message

_ENDINGS = {"max_output_tokens": "length", "content_filter": "content_filter"}


def request_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return what was asked for: under `request`, or the row itself, if its messages stand beside the response.

    Raises:
        RowFault: It is no object.
    """
    request = row.get("request", row.get("request_body"))
    if request is None and "messages" in row:
        request = {key: row[key] for key in ("messages", "model", "tools") if key in row}
    return _body(request, "request")


def response_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return what was answered; a plain text is taken as the content of the answer.

    Raises:
        Dropped: There is no response.
    """
    response = row.get("response", row.get("response_body"))
    if isinstance(response, str) and response:
        return {"choices": [{"message": {"content": response}}]}
    if not isinstance(response, dict):
        raise Dropped(messages.NO_RESPONSE)
    return _body(response, "response")


def _body(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RowFault(messages.LOG_OBJECT.at(name=name), kind_of(value))
    return value["body"] if isinstance(value.get("body"), dict) else value


def asked(request: dict[str, Any]) -> tuple[Message, ...]:
    """Return the messages of a request.

    Raises:
        RowFault: The request has no messages, or they are not text.
    """
    if "messages" in request or "input" not in request:
        return check_messages(modern(request.get("messages")), "request.messages")
    head: list[Any] = []
    if isinstance(instructions := request.get("instructions"), str) and instructions.strip():
        head.append({"role": "system", "content": instructions})
    content = request["input"]
    turns = [{"role": "user", "content": content}] if isinstance(content, str) else content
    if not isinstance(turns, list):
        raise RowFault(messages.REQUEST_INPUT, kind_of(content))
    return check_messages([*head, *_turns(turns, "request.input")], "request.input")


def _turns(items: list[Any], where: str) -> list[Any]:
    """Items of the Responses API as messages: calls in a row become one message, reasoning is left out."""
    turns: list[Any] = []
    for i, item in enumerate(items):
        kind = item.get("type", "message") if isinstance(item, dict) else None
        if kind == "function_call":
            call = {"id": item.get("call_id"), "name": item.get("name"), "arguments": item.get("arguments")}
            if turns and "tool_calls" in turns[-1]:
                turns[-1]["tool_calls"].append(call)
            elif turns and turns[-1].get("role") == "assistant":
                turns[-1]["tool_calls"] = [call]
            else:
                turns.append({"role": "assistant", "content": None, "tool_calls": [call]})
        elif kind == "function_call_output":
            turns.append({"role": "tool", "content": item.get("output"), "tool_call_id": item.get("call_id")})
        elif kind == "message":
            content = item.get("content")
            if isinstance(content, list):
                content = text_of_parts(content, f"{where}[{i}]")
            turns.append({"role": item.get("role", "assistant"), "content": content})
        elif kind != "reasoning":
            raise RowFault(messages.MESSAGE_OR_CALL.at(where=f"{where}[{i}]"), kind_of(item))
    return turns


def answered(response: dict[str, Any]) -> tuple[Message, str | None]:
    """Return the assistant's message, and why it ended.

    Raises:
        RowFault: The answer is not text.
        Dropped: The request failed, or nothing was said.
    """
    if isinstance(response.get("output"), list):
        turn, ending = _of_output(response)
    else:
        choices = response.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise Dropped(messages.FAILED_REQUEST)
        message, ending = choices[0].get("message"), choices[0].get("finish_reason")
        if not isinstance(message, dict):
            raise RowFault(
                messages.LOG_OBJECT.at(name="response.choices[0].message")._replace(code="bad_message"),
                kind_of(message),
            )
        (turn,) = modern([message])
    if not turn.get("content") and not turn.get("tool_calls"):
        raise Dropped(messages.REFUSED if turn.get("refusal") else messages.EMPTY_RESPONSE)
    answer = {key: turn[key] for key in ("content", "tool_calls") if turn.get(key) is not None}
    return check_messages([{"role": "assistant", **answer}], "response")[0], ending


def _of_output(response: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    output = response["output"]
    contents = [item.get("content") for item in output if isinstance(item, dict)]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    if any(isinstance(part, dict) and part.get("type") == "refusal" for part in parts):
        return {"refusal": True}, None
    turns = _turns(output, "response.output")
    if not turns:
        return {}, None
    if len(turns) > 1:
        raise RowFault(messages.ONE_MESSAGE, str(len(turns)))
    details = response.get("incomplete_details")
    why = details.get("reason") if isinstance(details, dict) else None
    calls = "tool_calls" if turns[0].get("tool_calls") else "stop"
    return turns[0], calls if why is None else _ENDINGS.get(str(why), str(why))
