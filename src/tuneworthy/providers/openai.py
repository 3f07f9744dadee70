"""Any server that speaks the OpenAI chat-completions protocol or the Responses API, without an SDK.

An SDK costs ten times the CPU of the protocol (numbers.md) and retries on its own. The embedded llama.cpp and
vLLM reuse `OpenAIProvider` with their own row of the capability table.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter

from tuneworthy.config.models import OpenAI
from tuneworthy.providers.base import provider
from tuneworthy.providers.capabilities import Capabilities, RequestParts, filter_parameters, for_responses
from tuneworthy.providers.constraints import constraint, put
from tuneworthy.providers.http_client import ChatProtocol, HttpClient, ServedProvider, Sign, server_options
from tuneworthy.providers.keys import Key
from tuneworthy.providers.usage import Name, WireModel, WireToolCall, mapping, read_usage, token_logprobs
from tuneworthy.types import JsonMapping, JsonObject, Message, OutputFormat, Request, Response, Turns, calls_of, role_of

# Finish reasons of other names; Gemini passes on its own.
_FINISH = {
    "function_call": "tool_calls",
    "MAX_TOKENS": "length",
    **dict.fromkeys(("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"), "content_filter"),
}


class OpenAIProvider(ServedProvider):
    """Answers through ``POST {base_url}/chat/completions``, or ``/responses`` where its capabilities say so.

    Args:
        base_url: Address up to and including the version (``http://127.0.0.1:8080/v1``); a query is kept.
        model: Model id, as sent.
        api_key: Sent as a bearer token if it is not empty.
        identity: What determines the answers (see `Provider`).
        capabilities: Accepted parameters and forms.
        timeout_s: Limit of one attempt, seconds.
        sign: Signs each request (see `HttpClient`).
    """

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        api_key: Key | str | None = None,
        identity: JsonMapping,
        capabilities: Capabilities,
        timeout_s: float = 60.0,
        sign: Sign | None = None,
    ) -> None:
        key = api_key if isinstance(api_key, Key) else Key(api_key)
        super().__init__(HttpClient(base_url, key=key, timeout_s=timeout_s, sign=sign), identity, capabilities)
        self._model = model
        self._constraint: tuple[OutputFormat | None, JsonObject, str] = (None, {}, "")
        self._for_responses = for_responses(capabilities)
        self.min_tokens = 0 if capabilities.responses == "never" else MIN_TOKENS

    def protocol(self, request: Request) -> ChatProtocol:
        if self._accepts(request).responses == "always":
            return ChatProtocol("responses", read_response, "a response with output")
        return ChatProtocol("chat/completions", read_answer, "a chat completion with choices")

    def _accepts(self, request: Request) -> Capabilities:
        caps = self.capabilities
        thinks = (request.decoding.get("effort") or caps.default_effort) != "none"
        return self._for_responses if caps.responses == "with_tools" and request.tools and thinks else caps

    def body(self, request: Request) -> RequestParts:
        caps = self._accepts(request)
        sent, dropped = filter_parameters(caps, request.decoding)
        body: JsonObject = {
            "model": self._model,
            "messages": with_instructions(request.messages, caps.instructions),
            caps.max_tokens: request.max_tokens,
        }
        for wire, value in sent.items():
            put(body, wire, value)
        latest, part, objection = self._constraint
        if latest is not request.output:  # requests of a variant share one object
            part, objection = constraint(request.output, caps)
            self._constraint = (request.output, part, objection)
        body |= part
        objections = [objection]
        if request.tools and caps.tools:
            body |= (
                {}
                if request.tool_choice == "none" and request.output.kind != "free"  # servers refuse both
                else {"tools": request.tools, **({"tool_choice": "none"} if request.tool_choice == "none" else {})}
            )
        elif request.tools:
            objections.append(f"tools: not accepted ({caps.family})")
        if request.logprobs is not None:
            objections.append(_ask_for_logprobs(body, request, caps))
        dropped += tuple(filter(None, objections))
        return as_responses(**body) if caps.responses == "always" else body, dropped


def _ask_for_logprobs(body: JsonObject, request: Request, caps: Capabilities) -> str:
    """Add the fields for log-probabilities; return the part that is left out, "" if there is no such part."""
    wanted, effort = request.logprobs or 0, request.decoding.get("effort") or caps.default_effort
    if caps.logprobs is None:
        return f"logprobs: not accepted ({caps.family})"
    if caps.logprobs_need_effort not in {None, effort}:
        return f"logprobs: accepted only with effort {caps.logprobs_need_effort} ({caps.family})"
    body |= {"logprobs": True, **({"top_logprobs": min(wanted, caps.logprobs)} if wanted else {})}
    too_many = f"logprobs: at most {caps.logprobs} alternatives, not {wanted} ({caps.family})"
    return too_many if wanted > caps.logprobs else ""


def with_instructions(messages: Turns, role: str) -> Turns | list[Message]:
    """Put system messages into the role that the model takes; without one, ahead of the first user turn."""
    own = [message for message in messages if role_of(message) == "system"]
    if role == "system" or not own:
        return messages
    if role == "developer":
        return [message | {"role": role} if message in own else message for message in messages]
    instructions = "\n\n".join(str(message["content"]) for message in own)
    rest = [message for message in messages if message not in own]
    for at, message in enumerate(rest):
        if role_of(message) == "user":
            rest[at] = message | {"content": f"{instructions}\n\n{message['content']}"}
            return rest
    return [{"role": "user", "content": instructions}, *rest]


class _ChatPart(WireModel):
    type: str = "text"
    text: str | None = None


class _ChatMessage(WireModel):
    content: str | list[_ChatPart] | None = None
    refusal: Any = None
    tool_calls: list[WireToolCall] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text or "" for part in self.content or () if part.type == "text")


class _ChatChoice(WireModel):
    message: _ChatMessage
    finish_reason: Name = ""
    logprobs: Any = None


class _ChatCompletion(WireModel):
    choices: Annotated[list[_ChatChoice], Field(min_length=1)]
    model: Name = ""
    system_fingerprint: Name = ""
    usage: Any = None


def read_answer(answer: JsonMapping, request: Request) -> Response:
    """Turn a chat completion into a `Response`.

    A reason, a name or a count of another type counts as not given.

    Raises:
        ValidationError: There are no choices, or a text, a tool call or a refusal has another type.
    """
    completion = _ChatCompletion.model_validate(answer)
    choice = completion.choices[0]
    message, text, finish = choice.message, choice.message.text, choice.finish_reason.partition(":")[0] or "stop"
    if message.refusal and (isinstance(message.refusal, str) or not text):
        finish, text = "refusal", text or TypeAdapter(str).validate_python(message.refusal)
    return Response(
        text=text,
        finish_reason=_FINISH.get(finish, finish),
        **read_usage(completion.usage),
        tool_calls=tuple(call.model_dump() for call in message.tool_calls or ()),
        logprobs=token_logprobs(mapping(choice.logprobs).get("content"), request),
        model=completion.model,
        fingerprint=completion.system_fingerprint,
    )


@provider("openai")
def open_openai(name: str, config: OpenAI, root: Path) -> OpenAIProvider:
    return OpenAIProvider(**server_options(name, config, root))


# The Responses API, without its state: OpenAI stores nothing (`store` is false), and each request contains the whole
# chat. Source: https://github.com/openai/openai-openapi/blob/f85dbe22/openapi.yaml (CreateResponse, Response).

# The least that `max_output_tokens` may be.
MIN_TOKENS = 16
_NO_FIELDS: JsonObject = {"type": "object", "properties": {}}
# Its status, or the reason of an incomplete answer, to our finish reason; any other keeps its name.
_RESPONSES_FINISH = {"completed": "stop", "max_output_tokens": "length"}


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
    finish = "refusal" if refusal else _RESPONSES_FINISH.get(reason, reason) or "stop"
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
