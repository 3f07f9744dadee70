"""Anthropic's messages API, over the one HTTP client.

The system message is a separate field; a long one is marked for the prompt cache; thinking blocks are skipped, so the
first block is not assumed to be text; a cut-off or refused answer keeps its reason.

Source: https://docs.anthropic.com/en/api/messages (stop_reason, usage, output_config).
"""

from itertools import groupby
from pathlib import Path
from typing import Any, Self

import orjson
from pydantic import model_validator

from tuneworthy.config.models import Anthropic
from tuneworthy.errors import ProviderError
from tuneworthy.providers.base import provider
from tuneworthy.providers.capabilities import Capabilities, RequestParts, filter_parameters
from tuneworthy.providers.constraints import constraint, put
from tuneworthy.providers.http_client import ChatProtocol, HttpClient, ServedProvider, server_options
from tuneworthy.providers.keys import Key
from tuneworthy.providers.usage import Name, WireModel, read_usage
from tuneworthy.types import JsonMapping, JsonObject, Message, Request, Response, Turns, calls_of, role_of

_INSTRUCTIONS = frozenset({"system", "developer"})
VERSION = "2023-06-01"
# Anthropic's reason to ours; any other keeps its name.
FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}
# English text; only decides whether asking for the cache is worth it.
_BYTES_PER_TOKEN = 4


class AnthropicProvider(ServedProvider):
    """Answers through ``POST {base_url}/v1/messages``.

    Args:
        base_url: Address of the API, with or without the version.
        model: Model id, as sent.
        api_key: The key.
        identity: What determines the answers (see `Provider`).
        capabilities: Accepted parameters and forms.
        timeout_s: Limit of one attempt, seconds.
    """

    models_path = "v1/models"

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        api_key: Key,
        identity: JsonMapping,
        capabilities: Capabilities,
        timeout_s: float = 60.0,
    ) -> None:
        headers = {"anthropic-version": VERSION}
        if api_key:
            headers["x-api-key"] = api_key.reveal()
        super().__init__(
            HttpClient(base_url.rstrip("/").removesuffix("/v1"), headers=headers, key=api_key, timeout_s=timeout_s),
            identity,
            capabilities,
        )
        self._model = model

    def protocol(self, request: Request) -> ChatProtocol:
        return ChatProtocol("v1/messages", read_message, "a message with content and stop_reason")

    def body(self, request: Request) -> RequestParts:
        caps = self.capabilities
        sent, dropped = filter_parameters(caps, request.decoding)
        system, messages = split_system(request.messages)
        body: JsonObject = {"model": self._model, "max_tokens": request.max_tokens, "messages": messages}
        if system:
            block: JsonObject = {"type": "text", "text": system}
            least = caps.cache_min_tokens
            if least is not None and len(system.encode()) >= least * _BYTES_PER_TOKEN:
                block["cache_control"] = {"type": "ephemeral"}
            body["system"] = [block]
        part, objection = constraint(request.output, caps)
        body |= part
        for wire, value in sent.items():
            put(body, wire, value)
        no_logprobs = "" if request.logprobs is None else f"logprobs: not accepted ({caps.family})"
        dropped += tuple(filter(None, (objection, no_logprobs)))
        if request.tools and caps.tools:
            body["tools"] = [
                {
                    "name": tool.name,
                    "description": tool.description,
                    "input_schema": tool.parameters or {"type": "object", "properties": {}},
                }
                for tool in (_OfferedTool.model_validate(one.get("function", one)) for one in request.tools)
            ]
            # the API refuses a chat with calls that defines no tools
            body |= {"tool_choice": {"type": "none"}} if request.tool_choice == "none" else {}
        elif request.tools:
            dropped += (f"tools: not accepted ({caps.family})",)
        return body, dropped


def split_system(messages: Turns) -> tuple[str, list[Message]]:
    """Split a chat into its system text and its turns in Anthropic's shape, with tool calls and results as blocks."""
    system = [str(message.get("content")) for message in messages if role_of(message) in _INSTRUCTIONS]
    chat = [message for message in messages if role_of(message) not in _INSTRUCTIONS]
    turns: list[Message] = []
    for are_results, group in groupby(chat, key=lambda message: role_of(message) == "tool"):
        if are_results:  # those of one round of calls are in one turn
            results = [
                {
                    "type": "tool_result",
                    "tool_use_id": one.get("tool_call_id"),
                    "content": str(one.get("content") or ""),
                }
                for one in group
            ]
            turns.append({"role": "user", "content": results})
            continue
        for message in group:
            content, calls = (
                message.get("content"),
                [_tool_use(call["function"], call["id"]) for call in calls_of(message)],
            )
            text = [{"type": "text", "text": content}] if content else []
            turns.append({"role": role_of(message), "content": [*text, *calls] if calls else content or ""})
    return "\n\n".join(system), turns


def _tool_use(function: JsonMapping, identity: str) -> JsonObject:
    name, arguments = function["name"], function["arguments"]
    try:
        return {"type": "tool_use", "id": identity, "name": name, "input": orjson.loads(arguments or "{}")}
    except orjson.JSONDecodeError:
        raise ProviderError(
            f"The arguments of the tool {name} are not JSON: {arguments[:80]!r}.", code="bad_request", retryable=False
        ) from None


class _OfferedTool(WireModel):
    name: str
    description: str = ""
    parameters: JsonObject | None = None


class _ContentBlock(WireModel):
    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.type == "text" and self.text is None) or (self.type == "tool_use" and not (self.id and self.name)):
            raise ValueError(f"the {self.type} block is incomplete")
        return self


class _AnthropicMessage(WireModel):
    content: list[_ContentBlock]
    stop_reason: Name
    model: Name = ""
    usage: Any = None


def read_message(answer: JsonMapping, _request: Request) -> Response:
    """Turn a message into a `Response`.

    Raises:
        ValidationError: It does not have the protocol's shape.
    """
    message = _AnthropicMessage.model_validate(answer)
    return Response(
        text="".join(block.text or "" for block in message.content if block.type == "text"),
        finish_reason=FINISH.get(message.stop_reason, message.stop_reason or "stop"),
        **read_usage(message.usage, apart=True),
        tool_calls=tuple(
            {
                "id": block.id,
                "type": "function",
                "function": {"name": block.name, "arguments": orjson.dumps(block.input).decode()},
            }
            for block in message.content
            if block.type == "tool_use"
        ),
        model=message.model,
    )


@provider("anthropic")
def open_anthropic(name: str, config: Anthropic, root: Path) -> AnthropicProvider:
    return AnthropicProvider(**server_options(name, config, root))
