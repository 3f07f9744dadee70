"""OpenAI's Responses API, without its state: a chat as items of input, and the answer from items of output.

OpenAI stores nothing (`store` is false), and each request contains the whole chat.

Source: https://github.com/openai/openai-openapi/blob/f85dbe22/openapi.yaml (CreateResponse, Response).
"""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator

from tuneworthy.providers.usage import Name, WireModel, mapping, read_usage, token_logprobs
from tuneworthy.types import JsonMapping, JsonObject, Message, Request, Response, calls_of, role_of

# The least that `max_output_tokens` may be.
MIN_TOKENS = 16
_NO_FIELDS: JsonObject = {"type": "object", "properties": {}}
# Its status, or the reason of an incomplete answer, to our finish reason; any other keeps its name.
_FINISH = {"completed": "stop", "max_output_tokens": "length"}


class _CallItem(WireModel):
    call_id: str
    name: str
    arguments: str = ""


def input_items(messages: Sequence[Message]) -> list[JsonObject]:
    """Return the turns of a chat as items of input: messages, tool calls and their results."""
    items: list[JsonObject] = []
    for message in messages:
        role, content, calls = role_of(message), str(message.get("content") or ""), calls_of(message)
        if role == "tool":
            items.append({"type": "function_call_output", "call_id": message.get("tool_call_id"), "output": content})
        elif content or not calls:
            items.append({"role": role, "content": content})
        sent = (_CallItem.model_validate({**call["function"], "call_id": call["id"]}) for call in calls)
        items += [{"type": "function_call", **call.model_dump()} for call in sent]
    return items


def as_responses(
    *,
    messages: Sequence[Message],
    max_output_tokens: int,
    tools: Sequence[JsonMapping] = (),
    response_format: JsonMapping | None = None,
    logprobs: bool = False,
    **same: Any,
) -> JsonObject:
    """Return a request of chat completions as the Responses API takes it, where tools are strict by default."""
    body = {**same, "input": input_items(messages), "max_output_tokens": max(max_output_tokens, MIN_TOKENS)}
    functions = ({"parameters": _NO_FIELDS, "strict": False, **tool.get("function", tool)} for tool in tools)
    if tools:
        body["tools"] = [{"type": "function", **function} for function in functions]
    if response_format:
        body["text"] = {"format": {"type": "json_schema", **response_format["json_schema"]}}
    if logprobs:
        body["include"] = ["message.output_text.logprobs"]
    return {**body, "store": False}


class _OutputPart(WireModel):
    text: str = ""
    refusal: str = ""
    logprobs: list[JsonObject] | None = None


class _OutputMessage(WireModel):
    content: list[_OutputPart]


class _Responses(WireModel):
    output: list[JsonObject]
    status: Name = ""
    incomplete_details: Annotated[Name, BeforeValidator(lambda value: mapping(value).get("reason"))] = ""
    model: Name = ""
    usage: Any = None


def read_response(answer: JsonMapping, request: Request) -> Response:
    """Turn an answer of the Responses API into a `Response`.

    Raises:
        ValidationError: It has no output, or a text, a tool call or a refusal has another type.
    """
    whole = _Responses.model_validate(answer)
    items = [(item.get("type"), item) for item in whole.output]  # others, such as reasoning, are not read
    parts = [part for kind, item in items if kind == "message" for part in _OutputMessage.model_validate(item).content]
    calls = [_CallItem.model_validate(item) for kind, item in items if kind == "function_call"]
    refusal, reason = "".join(part.refusal for part in parts), whole.incomplete_details or whole.status
    finish = "refusal" if refusal else _FINISH.get(reason, reason) or "stop"
    return Response(
        text="".join(part.text for part in parts) or refusal,
        finish_reason="tool_calls" if calls and finish == "stop" else finish,
        **read_usage(whole.usage),
        tool_calls=tuple(
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in calls
        ),
        logprobs=token_logprobs([token for part in parts for token in part.logprobs or ()], request),
        model=whole.model,
    )
