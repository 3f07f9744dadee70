"""Any server that speaks the OpenAI chat-completions protocol, without an SDK.

An SDK costs ten times the CPU of the protocol (numbers.md) and retries on its own. The embedded llama.cpp and
vLLM reuse `OpenAIProvider` with their own row of the capability table.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter

from tuneworthy.config.models import OpenAI
from tuneworthy.providers.base import provider
from tuneworthy.providers.capabilities import Capabilities, RequestParts, filter_parameters
from tuneworthy.providers.constraints import constraint, put, unwrap
from tuneworthy.providers.http_client import HttpClient, ServedProvider, Sign, server_options
from tuneworthy.providers.keys import Key
from tuneworthy.providers.usage import Count, Logprob, Name, WireModel, WireToolCall, cut, mapping
from tuneworthy.types import (
    JsonMapping,
    JsonObject,
    Message,
    OutputFormat,
    Request,
    Response,
    TextTuple,
    Turns,
    role_of,
)


class OpenAIProvider(ServedProvider):
    """Answers through ``POST {base_url}/chat/completions``.

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

    async def complete(self, request: Request) -> Response:
        return await self.exchange(
            request, self.body(request), "chat/completions", read_answer, "a chat completion with choices"
        )

    def body(self, request: Request) -> RequestParts:
        """Return the JSON that is sent for `request`, and the parts left out (``"name: reason"``)."""
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
            latest, part, objection = self._constraint
            if latest is not request.output:  # all requests of a variant share one object
                part, objection = constraint(request.output, self.capabilities)
                self._constraint = (request.output, part, objection)
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

    def _ask_for_logprobs(self, body: JsonObject, request: Request) -> TextTuple:
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


class _TokenAlternative(WireModel):
    token: str
    logprob: Logprob


class _ChatToken(_TokenAlternative):
    top_logprobs: list[_TokenAlternative] | None = None


class _ChatLogprobs(WireModel):
    content: list[_ChatToken] | None = None


class _ChatChoice(WireModel):
    message: _ChatMessage
    finish_reason: Name = ""
    logprobs: Any = None


class _PromptDetails(WireModel):
    cached_tokens: Count = None


class _ChatUsage(WireModel):
    prompt_tokens: Count = None
    completion_tokens: Count = None
    total_tokens: Count = None
    prompt_tokens_details: Annotated[_PromptDetails, BeforeValidator(mapping)] = _PromptDetails()
    prompt_cache_hit_tokens: Count = None

    @property
    def output_tokens(self) -> int | None:
        """Tokens that are paid as output; some servers count reasoning in the total only."""
        written, total, prompt = self.completion_tokens, self.total_tokens, self.prompt_tokens
        return written if written is None or total is None or prompt is None else max(written, total - prompt)

    @property
    def cached_tokens(self) -> int | None:
        cached = self.prompt_tokens_details.cached_tokens
        return self.prompt_cache_hit_tokens if cached is None else cached


class _ChatCompletion(WireModel):
    choices: Annotated[list[_ChatChoice], Field(min_length=1)]
    model: Name = ""
    system_fingerprint: Name = ""
    usage: Annotated[_ChatUsage, BeforeValidator(mapping)] = _ChatUsage()


def read_answer(answer: JsonMapping, request: Request, *, wrapped: bool) -> Response:
    """Turn a chat completion into a `Response`.

    A reason, a name or a count of another type counts as not given.

    Raises:
        ValidationError: There are no choices, or a text, a tool call or a refusal has another type.
    """
    completion = _ChatCompletion.model_validate(answer)
    choice, usage = completion.choices[0], completion.usage
    message, text, finish = choice.message, choice.message.text, choice.finish_reason or "stop"
    if message.refusal and (isinstance(message.refusal, str) or not text):
        finish, text = "refusal", text or TypeAdapter(str).validate_python(message.refusal)
    text = cut(text, request.max_tokens)
    logprobs = None
    if request.logprobs is not None:
        tokens = _ChatLogprobs.model_validate(mapping(choice.logprobs)).content
        logprobs = tuple(map(_token, tokens)) if tokens else None
    return Response(
        text=unwrap(text) if wrapped else text,
        finish_reason="tool_calls" if finish == "function_call" else finish,
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        tool_calls=tuple(call.model_dump() for call in message.tool_calls or ()),
        logprobs=logprobs,
        model=completion.model,
        fingerprint=completion.system_fingerprint,
    )


def _token(token: _ChatToken) -> JsonObject:
    return {
        "token": token.token,
        "logprob": token.logprob,
        "top": [[other.token, other.logprob] for other in token.top_logprobs or ()],
    }


@provider("openai")
def open_openai(name: str, config: OpenAI, root: Path) -> OpenAIProvider:
    """Open `[models.NAME]` with ``provider = "openai"``.

    Raises:
        AuthError: The server is not on this machine, and the environment variable has no key.
    """
    return OpenAIProvider(**server_options(name, config, root))
