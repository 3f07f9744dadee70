"""Anthropic's messages API, over the one HTTP client.

The system message stands apart; a long one is marked for the prompt cache; thinking blocks are skipped, so the
first block is not assumed to be text; a cut-off or refused answer keeps its reason.

Source: https://docs.anthropic.com/en/api/messages (stop_reason, usage, output_config).
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.config.models import Anthropic
from tuneworthy.errors import ProviderError
from tuneworthy.providers.base import provider
from tuneworthy.providers.capabilities import Capabilities, capabilities_for, filter_parameters
from tuneworthy.providers.constraints import constraint, put, unwrap
from tuneworthy.providers.http_client import HttpClient
from tuneworthy.providers.keys import Key, read_key
from tuneworthy.providers.usage import cut, mapping, most_bytes, name_of, string, token_count
from tuneworthy.types import Message, Request, Response

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


class AnthropicProvider:
    """Answers through ``POST {base_url}/v1/messages``.

    Args:
        base_url: Address of the API, with or without the version.
        model: Model id, as sent.
        api_key: The key.
        identity: What determines the answers (see `Provider`).
        capabilities: What is accepted.
        timeout_s: Limit of one attempt, seconds.
    """

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        api_key: Key,
        identity: Mapping[str, Any],
        capabilities: Capabilities,
        timeout_s: float = 60.0,
    ) -> None:
        headers = {"anthropic-version": VERSION}
        if api_key:
            headers["x-api-key"] = api_key.reveal()
        self.identity = identity
        self.capabilities = capabilities
        self.supports = capabilities.supports
        self._model = model
        self._client = HttpClient(
            base_url.rstrip("/").removesuffix("/v1"), headers=headers, key=api_key, timeout_s=timeout_s
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self.identity)!r})"

    async def complete(self, request: Request) -> Response:
        """Answer `request` (see `Provider.complete`)."""
        body, dropped = self.body(request)
        started = time.perf_counter()
        answer = await self._client.post(body, "v1/messages", max_body=most_bytes(request))
        seconds = time.perf_counter() - started
        return read_message(
            answer,
            self._client,
            request,
            dropped=dropped,
            seconds=seconds,
            wrapped=request.output.kind == "choice" and self.capabilities.choice == "wrapped_schema",
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def body(self, request: Request) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the JSON that is sent for `request`, and what had to be left out (``"name: reason"``)."""
        caps = self.capabilities
        sent, dropped = filter_parameters(caps, request.decoding)
        system, messages = split_system(request.messages)
        body: dict[str, Any] = {"model": self._model, "max_tokens": request.max_tokens, "messages": messages}
        if system:
            body["system"] = [self._system_block(system)]
        part, objection = constraint(request.output, caps)
        body |= part
        for wire, value in sent.items():
            put(body, wire, value)
        if objection:
            dropped += (objection,)
        if request.logprobs is not None:
            dropped += (f"logprobs: not accepted ({caps.family})",)
        if request.tools and caps.tools:
            body["tools"] = [_tool(tool) for tool in request.tools]
        elif request.tools:
            dropped += (f"tools: not accepted ({caps.family})",)
        return body, dropped

    def _system_block(self, system: str) -> dict[str, Any]:
        """Write the system message as a block, marked for the cache if it is long enough to be kept."""
        block: dict[str, Any] = {"type": "text", "text": system}
        least = self.capabilities.cache_min_tokens
        if least is not None and len(system.encode()) >= least * _BYTES_PER_TOKEN:
            block["cache_control"] = {"type": "ephemeral"}
        return block


def split_system(messages: tuple[Message, ...]) -> tuple[str, list[Message]]:
    """Take system messages out of a chat, and put the rest into Anthropic's shape."""
    system = "\n\n".join(str(m["content"]) for m in messages if m["role"] in {"system", "developer"})
    turns: list[Message] = []
    for message in messages:
        if message["role"] in {"system", "developer"}:
            continue
        turn = _turn(message)
        if (
            turns
            and message["role"] == "tool"
            and isinstance(turns[-1]["content"], list)
            and turns[-1]["role"] == "user"
        ):
            turns[-1]["content"] += turn["content"]  # results of one round of calls appear in one turn
        else:
            turns.append(turn)
    return system, turns


def _turn(message: Message) -> Message:
    """Write one turn in Anthropic's shape: tool calls and their results are blocks."""
    content = message.get("content")
    if message["role"] == "tool":
        return {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": message.get("tool_call_id"), "content": str(content or "")}
            ],
        }
    calls = message.get("tool_calls")
    if not calls:
        return {"role": message["role"], "content": content if content is not None else ""}
    blocks: list[dict[str, Any]] = [{"type": "text", "text": content}] if content else []
    for call in calls:
        function = call["function"]
        try:
            arguments = orjson.loads(function["arguments"] or "{}")
        except orjson.JSONDecodeError:
            raise ProviderError(
                f"The arguments of the tool {function['name']} are not JSON: {function['arguments'][:80]!r}.",
                code="bad_request",
                retryable=False,
            ) from None
        blocks.append({"type": "tool_use", "id": call["id"], "name": function["name"], "input": arguments})
    return {"role": message["role"], "content": blocks}


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool.get("function", tool)
    return {
        "name": function["name"],
        "description": function.get("description", ""),
        "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
    }


def read_message(
    answer: Mapping[str, Any],
    client: HttpClient,
    request: Request,
    *,
    dropped: tuple[str, ...],
    seconds: float,
    wrapped: bool,
) -> Response:
    """Turn a message into a `Response`.

    Raises:
        ProviderError: `malformed`: it is not of the protocol's shape.
    """
    try:
        blocks = answer["content"]
        stop = name_of(answer["stop_reason"])
        text = cut("".join(block["text"] for block in blocks if block["type"] == "text"), request.max_tokens)
        calls = tuple(_call(block) for block in blocks if block["type"] == "tool_use")
        usage = mapping(answer.get("usage"))
        return Response(
            text=unwrap(text) if wrapped else text,
            finish_reason=FINISH.get(stop, stop or "stop"),
            input_tokens=_input_tokens(usage),
            output_tokens=token_count(usage.get("output_tokens")),
            cached_tokens=token_count(usage.get("cache_read_input_tokens")),
            tool_calls=calls,
            model=name_of(answer.get("model")),
            dropped=dropped,
            seconds=seconds,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise client.malformed(
            "a message with content and stop_reason",
            client.excerpt(f"{type(error).__name__} {error} in fields {', '.join(map(str, answer))}"),
        ) from None


def _call(block: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a tool_use block into OpenAI's shape."""
    return {
        "id": string(block["id"]),
        "type": "function",
        "function": {"name": string(block["name"]), "arguments": orjson.dumps(block["input"]).decode()},
    }


def _input_tokens(usage: Mapping[str, Any]) -> int | None:
    """Add up the prompt: their `input_tokens` leaves out what went through the cache, ours does not."""
    names = "input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"
    own, *cached = (token_count(usage.get(name) or 0) for name in names)
    return None if own is None or None in cached or "input_tokens" not in usage else own + sum(filter(None, cached))


@provider("anthropic")
def open_anthropic(name: str, config: Anthropic, root: Path) -> AnthropicProvider:
    """Open `[models.NAME]` with ``provider = "anthropic"``.

    Raises:
        AuthError: The server is not on this machine, and the environment variable holds no key.
    """
    return AnthropicProvider(
        base_url=config.base_url,
        model=config.model,
        api_key=read_key(
            config.key_variable, url=config.base_url, root=root, owner=f"models.{name}", required=config.hosted
        ),
        identity={"provider": "anthropic", "model": config.model, "base_url": config.base_url},
        capabilities=capabilities_for(config),
        timeout_s=config.timeout_s,
    )
