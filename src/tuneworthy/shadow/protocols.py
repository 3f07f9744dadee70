"""Protocols of chat APIs: the session of a request, and the answer as a whole, read or written.

A streamed answer becomes the API's answer without streaming. Bytes that are no request or
no complete answer raise `ValueError`: nothing is guessed.

Source: https://platform.openai.com/docs/api-reference/chat (objects and chunks of chat completions).
"""

import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from secrets import token_hex
from typing import Annotated, Any, Final

import orjson
from pydantic import BeforeValidator, Field

from tuneworthy.graders.tool_call import read_call
from tuneworthy.providers.usage import WireModel, mapping
from tuneworthy.types import JsonObject, Response, content_hash

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
# Keys of a request, in all protocols, that make up the question; and types of tools that the client runs.
_ASKING = ("model", "messages", "input", "system", "instructions", "tools", "functions")
_OWN_TOOLS = frozenset({"function", "custom"})


def session_name(header: str, body: bytes) -> str:
    """Return a hash that is the same for all requests of a session, that reveals nothing.

    Args:
        header: Value of the header that names sessions; "" without one.
        body: Of the request. Without a header it is the user or session that the body names, else all that was said up
            to the first message of a user, else the whole body.
    """
    try:
        return content_hash(["header", header] if header else _named(orjson.loads(body)))
    except (orjson.JSONDecodeError, TypeError):  # no JSON, or nested too deep to be hashed
        return content_hash(["bytes", body.decode("latin-1")])


def _named(request: Any) -> list[Any]:
    if not isinstance(request, dict):
        return ["value", request]
    about = mapping(request.get("metadata"))
    for place, key in ((request, "user"), (about, "user_id"), (about, "session_id"), (request, "conversation")):
        if place.get(key):
            return [key, place[key]]
    turns = request.get("messages", request.get("input"))
    if not isinstance(turns, list):
        return ["input", turns]
    roles = [turn.get("role") if isinstance(turn, dict) else None for turn in turns]
    return ["first", turns[: roles.index("user") + 1] if "user" in roles else turns]


def asked_by(request: JsonObject) -> JsonObject:
    """Return the question of a request; all other fields, which may contain secrets, are dropped.

    Raises:
        ValueError: The API itself runs one of its tools: no other model has it.
    """
    tools = request.get("tools") or []
    own = isinstance(tools, list) and all(
        isinstance(tool, dict) and tool.get("type", "function") in _OWN_TOOLS and tool.keys() & {"name", "function"}
        for tool in tools
    )
    if not own or request.get("mcp_servers"):
        raise ValueError("tools of the API")
    return {key: request[key] for key in _ASKING if key in request}


def unpacked(body: bytes, encoding: str, most: int) -> bytes:
    """Return a body as it was before its encoding.

    Raises:
        ValueError: The encoding is not gzip or deflate, or the body has more than `most` bytes.
    """
    if encoding in {"", "identity"}:
        return body
    if encoding not in {"gzip", "deflate"}:
        raise ValueError(encoding)
    unpack = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        whole = unpack.decompress(body, most)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if unpack.unconsumed_tail:
        raise ValueError(encoding)
    return whole


def answer_of(path: str, body: bytes, *, streamed: bool) -> JsonObject:
    """Return the answer of an API as JSON.

    Args:
        path: A key of `STREAMS`.
        body: Unpacked.
        streamed: Whether it is a stream of events.

    Raises:
        ValueError: It is no JSON object, or a stream that ends early.
    """
    try:
        answer = STREAMS[path](_events(body)) if streamed else orjson.loads(body)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(repr(error)) from None
    if not isinstance(answer, dict):
        raise ValueError(type(answer).__name__)
    return answer


def _events(body: bytes) -> Iterator[JsonObject]:
    for line in body.splitlines():
        if line.startswith(b"data:") and (data := line[5:].strip()) != b"[DONE]":
            yield orjson.loads(data)


def chat_answer(response: Response, model: str, *, streamed: bool) -> bytes:
    """Return a response as the body of a chat completion, or as its events: one chunk with all, and the end."""
    named = [
        {"name": name, "arguments": orjson.dumps(arguments).decode()}
        for name, arguments in filter(None, map(read_call, response.tool_calls))
    ]
    calls = [
        {"index": place, "id": f"call_{token_hex(12)}", "type": "function", "function": function}
        for place, function in enumerate(named)
    ]
    message: JsonObject = {"role": "assistant", "content": response.text or None} | (
        {"tool_calls": calls} if calls else {}
    )
    ending, read, written = "tool_calls" if calls else "stop", response.input_tokens or 0, response.output_tokens or 0
    usage = {"usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}}
    about = {"id": f"chatcmpl-{token_hex(12)}", "created": int(time.time()), "model": model}
    about |= {"object": "chat.completion.chunk" if streamed else "chat.completion"}
    parts: list[tuple[str, JsonObject, str | None, JsonObject]] = [("message", message, ending, usage)]
    if streamed:
        parts = [("delta", message, None, {}), ("delta", {}, ending, usage)]
    bodies = [
        orjson.dumps({**about, "choices": [{"index": 0, key: part, "finish_reason": end}], **rest})
        for key, part, end, rest in parts
    ]
    return b"".join(b"data: %s\n\n" % body for body in (*bodies, b"[DONE]")) if streamed else bodies[0]


class _CallDelta(WireModel):
    index: int | None = None
    id: str | None = None
    function: dict[str, str | None] | None = None


class _ChatDelta(WireModel):
    content: str | None = None
    tool_calls: list[_CallDelta] | None = None


class _ChunkChoice(WireModel):
    index: int = 0
    delta: Annotated[_ChatDelta, BeforeValidator(mapping)] = _ChatDelta()
    finish_reason: str | None = None


class _ChatChunk(WireModel):
    model: Any = None
    usage: Any = None
    choices: list[_ChunkChoice] | None = None


def _completion(events: Iterator[JsonObject]) -> JsonObject:
    text, ending, model, usage = "", None, None, None
    calls: dict[int | str | None, JsonObject] = {}
    for event in events:
        chunk = _ChatChunk.model_validate(event)
        model, usage = chunk.model or model, chunk.usage or usage
        for choice in chunk.choices or ():
            if choice.index:
                continue
            delta, ending = choice.delta, choice.finish_reason or ending
            text += delta.content or ""
            for part in delta.tool_calls or ():
                place = part.id if part.index is None else part.index  # Gemini sends each call whole, without a number
                call = calls.setdefault(place, {"type": "function", "id": part.id, "function": defaultdict(str)})
                call["id"] = part.id or call["id"]
                for key, value in (part.function or {}).items():
                    call["function"][key] += value or ""
    if ending is None:
        raise ValueError("no finish_reason")
    message: JsonObject = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = [{**call, "function": dict(call["function"])} for call in calls.values()]
    return {"model": model, "choices": [{"message": message, "finish_reason": ending}], "usage": usage}


def _response(events: Iterator[JsonObject]) -> JsonObject:
    ends = {"response.completed", "response.incomplete"}
    return dict([event["response"] for event in events if event.get("type") in ends][-1])


class _BlockDelta(WireModel):
    type: str = ""
    text: str = ""
    partial_json: str = ""


class _MessageEvent(WireModel):
    type: str = ""
    index: int = 0
    message: JsonObject = Field({})
    content_block: JsonObject = Field({})
    delta: JsonObject = Field({})
    usage: Annotated[JsonObject, BeforeValidator(mapping)] = Field({})


def _message(events: Iterator[JsonObject]) -> JsonObject:
    message = {}
    blocks = {}
    inputs: dict[int, str] = {}
    for event in map(_MessageEvent.model_validate, events):
        if event.type == "message_start":
            message = dict(event.message)
        elif event.type == "content_block_start":
            blocks[event.index] = dict(event.content_block)
        elif event.type == "content_block_delta":
            delta = _BlockDelta.model_validate(event.delta)
            if delta.type == "text_delta":
                blocks[event.index]["text"] += delta.text
            elif delta.type == "input_json_delta":
                inputs[event.index] = inputs.get(event.index, "") + delta.partial_json
        elif event.type == "message_delta":
            message |= event.delta | {"usage": {**mapping(message.get("usage")), **event.usage}}
    if not message.get("stop_reason"):
        raise ValueError("no stop_reason")
    for place, text in inputs.items():
        blocks[place]["input"] = orjson.loads(text or "{}")
    return {**message, "content": [block for _, block in sorted(blocks.items()) if "thinking" not in block["type"]]}


# Paths whose requests can be copied, and what puts together the events of a streamed answer.
STREAMS: Final[Mapping[str, Callable[[Iterator[JsonObject]], JsonObject]]] = {
    "/v1/chat/completions": _completion,
    "/v1/responses": _response,
    "/v1/messages": _message,
}
