"""Any server that speaks the OpenAI chat-completions protocol, without an SDK.

An SDK costs ten times the CPU of the protocol (numbers.md) and retries on its own. The embedded llama.cpp and
vLLM reuse `OpenAIProvider` with their own row of the capability table.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yarl import URL

from tuneworthy.config.models import OpenAI
from tuneworthy.providers.base import provider
from tuneworthy.providers.capabilities import Capabilities, capabilities_for, filter_parameters
from tuneworthy.providers.constraints import constraint, put, unwrap
from tuneworthy.providers.http_client import HttpClient, Sign
from tuneworthy.providers.keys import Key, read_key
from tuneworthy.providers.usage import cut, mapping, most_bytes, name_of, read_calls, string, token_count
from tuneworthy.types import Message, OutputFormat, Request, Response


class OpenAIProvider:
    """Answers through ``POST {base_url}/chat/completions``.

    Args:
        base_url: Address up to and including the version (``http://127.0.0.1:8080/v1``); a query is kept.
        model: Model id, as sent.
        api_key: Sent as a bearer token if it is not empty.
        identity: What determines the answers (see `Provider`).
        capabilities: What is accepted.
        timeout_s: Limit of one attempt, seconds.
        sign: Signs each request (see `HttpClient`).
    """

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        api_key: Key | str | None = None,
        identity: Mapping[str, Any],
        capabilities: Capabilities,
        timeout_s: float = 60.0,
        sign: Sign | None = None,
    ) -> None:
        key = api_key if isinstance(api_key, Key) else Key(api_key)
        self.identity = identity
        self.capabilities = capabilities
        self.supports = capabilities.supports
        self.http = HttpClient(base_url, key=key, timeout_s=timeout_s, sign=sign)
        self._model = model
        self._constraint: tuple[OutputFormat | None, dict[str, Any], str] = (None, {}, "")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self.identity)!r})"

    async def complete(self, request: Request) -> Response:
        """Answer `request` (see `Provider.complete`)."""
        body, dropped = self.body(request)
        started = time.perf_counter()
        answer = await self.http.post(body, "chat/completions", max_body=most_bytes(request))
        seconds = time.perf_counter() - started
        return read_answer(
            answer,
            self.http,
            request,
            dropped=dropped,
            seconds=seconds,
            wrapped=request.output.kind == "choice" and self.capabilities.choice == "wrapped_schema",
        )

    async def close(self) -> None:
        """Close the connections."""
        await self.http.close()

    def address(self, path: str) -> tuple[URL, Mapping[str, str]]:
        """Return where requests of `path` are sent, and with which headers: for whoever streams an answer."""
        return self.http.address(path)

    def body(self, request: Request) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the JSON that is sent for `request`, and what had to be left out (``"name: reason"``)."""
        caps = self.capabilities
        sent, dropped = filter_parameters(caps, request.decoding)
        body = {
            "model": self._model,
            "messages": with_instructions(request.messages, caps.instructions),
            caps.max_tokens: request.max_tokens,
        }
        for wire, value in sent.items():
            put(body, wire, value)
        if request.output.kind != "free":
            part, objection = self._constrained(request.output)
            body |= part
            dropped += (objection,) if objection else ()
        if request.tools:
            if caps.tools:
                body["tools"] = request.tools
            else:
                dropped += (f"tools: not accepted ({caps.family})",)
        if request.logprobs is not None:
            dropped += self._ask_for_logprobs(body, request)
        return body, dropped

    def _constrained(self, output: OutputFormat) -> tuple[dict[str, Any], str]:
        """Return `constraint` of the output format; all requests of a variant share one object."""
        latest, part, objection = self._constraint
        if latest is not output:
            part, objection = constraint(output, self.capabilities)
            self._constraint = (output, part, objection)
        return part, objection

    def _ask_for_logprobs(self, body: dict[str, Any], request: Request) -> tuple[str, ...]:
        """Add the fields for log-probabilities to `body`; return what had to be left out."""
        caps, wanted = self.capabilities, request.logprobs or 0
        if caps.logprobs is None:
            return (f"logprobs: not accepted ({caps.family})",)
        effort = request.decoding.get("effort") or caps.default_effort
        if caps.logprobs_need_effort is not None and effort != caps.logprobs_need_effort:
            return (f"logprobs: accepted only with effort {caps.logprobs_need_effort} ({caps.family})",)
        body["logprobs"] = True
        if wanted:
            body["top_logprobs"] = min(wanted, caps.logprobs)
        if wanted > caps.logprobs:
            return (f"logprobs: at most {caps.logprobs} alternatives, not {wanted} ({caps.family})",)
        return ()


def with_instructions(messages: tuple[Message, ...], role: str) -> tuple[Message, ...] | list[Message]:
    """Put system messages into the role that the model takes; without one, ahead of the first user turn."""
    if role == "system" or not any(m["role"] == "system" for m in messages):
        return messages
    if role == "developer":
        return [{**m, "role": "developer"} if m["role"] == "system" else m for m in messages]
    instructions = "\n\n".join(str(m["content"]) for m in messages if m["role"] == "system")
    rest = [m for m in messages if m["role"] != "system"]
    for at, message in enumerate(rest):
        if message["role"] == "user":
            rest[at] = {**message, "content": f"{instructions}\n\n{message['content']}"}
            return rest
    return [{"role": "user", "content": instructions}, *rest]


def read_answer(
    answer: Mapping[str, Any],
    client: HttpClient,
    request: Request,
    *,
    dropped: tuple[str, ...],
    seconds: float,
    wrapped: bool,
) -> Response:
    """Turn a chat completion into a `Response`.

    A reason, a name or a count of another type counts as not given; a text, a tool call or a refusal of another type is
    no answer.

    Raises:
        ProviderError: `malformed`: there are no choices, or they are not of the protocol's shape.
    """
    try:
        choice = answer["choices"][0]
        message = choice["message"]
        content, refusal = message.get("content"), message.get("refusal")
        text = content if isinstance(content, str) else _joined(content)
        finish = name_of(choice.get("finish_reason")) or "stop"
        if refusal and (isinstance(refusal, str) or not text):
            finish, text = "refusal", text or string(refusal)
        text = cut(text, request.max_tokens)
        usage = mapping(answer.get("usage"))
        logprobs = mapping(choice.get("logprobs")).get("content") if request.logprobs is not None else None
        return Response(
            text=unwrap(text) if wrapped else text,
            finish_reason="tool_calls" if finish == "function_call" else finish,
            input_tokens=token_count(usage.get("prompt_tokens")),
            output_tokens=_output_tokens(usage),
            cached_tokens=_cached_tokens(usage),
            tool_calls=read_calls(message.get("tool_calls")),
            logprobs=_logprobs(logprobs) if logprobs else None,
            model=name_of(answer.get("model")),
            dropped=dropped,
            seconds=seconds,
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise client.malformed(
            "a chat completion with choices",
            client.excerpt(f"{type(error).__name__} {error} in fields {', '.join(map(str, answer))}"),
        ) from None


def _joined(parts: Any) -> str:
    """Join content that came as a list of parts; None is no text."""
    if parts is None:
        return ""
    return "".join(part.get("text") or "" for part in parts if part.get("type", "text") == "text")


def _output_tokens(usage: Mapping[str, Any]) -> int | None:
    """Return the tokens that are paid as output; some servers count reasoning in the total only."""
    names = "completion_tokens", "total_tokens", "prompt_tokens"
    tokens, total, prompt = (token_count(usage.get(name)) for name in names)
    return tokens if tokens is None or total is None or prompt is None else max(tokens, total - prompt)


def _cached_tokens(usage: Mapping[str, Any]) -> int | None:
    details = mapping(usage.get("prompt_tokens_details"))
    return token_count(details.get("cached_tokens") if details else usage.get("prompt_cache_hit_tokens"))


def _logprobs(tokens: list[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "token": string(token["token"]),
            "logprob": min(0.0, float(token["logprob"])),
            "top": [[string(top["token"]), min(0.0, float(top["logprob"]))] for top in token.get("top_logprobs") or ()],
        }
        for token in tokens
    )


@provider("openai")
def open_openai(name: str, config: OpenAI, root: Path) -> OpenAIProvider:
    """Open `[models.NAME]` with ``provider = "openai"``.

    Raises:
        AuthError: The server is not on this machine, and the environment variable holds no key.
    """
    return OpenAIProvider(
        base_url=config.base_url,
        model=config.model,
        api_key=read_key(
            config.key_variable, url=config.base_url, root=root, owner=f"models.{name}", required=config.hosted
        ),
        identity={"provider": "openai", "model": config.model, "base_url": config.base_url},
        capabilities=capabilities_for(config),
        timeout_s=config.timeout_s,
    )
