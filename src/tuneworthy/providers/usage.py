"""Parsing of server answers: plausible token counts, reasons, and texts of a bounded size.

A count is an integer at or above 0; a prompt and an answer have at least a token for so many characters, a prompt has
no more tokens than bytes, and no answer above its limit. Whatever else a server reports counts as not reported.
"""

from dataclasses import replace
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, TypeAdapter

from tuneworthy.types import JsonMapping, JsonObject, Request, Response

# A token covers fewer characters than this on average, in any text that is not mostly blank.
CHARACTERS_PER_TOKEN = 16
# No text of an answer has more characters a token than this on average.
_MOST_CHARACTERS = 64
# Bytes around an answer, and bytes per token on the wire: escaped, and with each alternative.
_ENVELOPE_BYTES = 256 * 2**10
_TOKEN_BYTES = 64
_ALTERNATIVE_BYTES = 128
# Of any answer; 64 such answers at once fit into 256 MiB.
_MOST_BYTES = 4 * 2**20
_LONGEST_NAME = 200


def token_count(value: Any) -> int | None:
    """Return a count of tokens; None for anything else.

    >>> token_count(3), token_count(True), token_count(-1), token_count("3")
    (3, None, None, None)
    """
    return value if type(value) is int and value >= 0 else None


def mapping(value: Any) -> JsonMapping:
    return value if isinstance(value, dict) else {}


def name_of(value: Any) -> str:
    return value[:_LONGEST_NAME] if isinstance(value, str) else ""


def most_bytes(request: Request) -> int:
    alternatives = 0 if request.logprobs is None else 1 + request.logprobs
    return min(_MOST_BYTES, _ENVELOPE_BYTES + request.max_tokens * (_TOKEN_BYTES + _ALTERNATIVE_BYTES * alternatives))


def cut(text: str, max_tokens: int) -> str:
    return text[: max_tokens * _MOST_CHARACTERS]


class WireModel(BaseModel):
    """Part of an answer of a server; unknown fields are dropped."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class CalledFunction(WireModel):
    """Function of a tool call; unknown fields stay."""

    model_config = ConfigDict(extra="allow")
    name: str
    arguments: Annotated[
        str, BeforeValidator(lambda value: orjson.dumps(value).decode() if isinstance(value, dict) else value or "")
    ] = ""


class WireToolCall(WireModel):
    """Tool call in OpenAI's shape; unknown fields stay."""

    model_config = ConfigDict(extra="allow")
    function: CalledFunction


# A field of another type counts as not reported.
Name = Annotated[str, BeforeValidator(name_of)]
Logprob = Annotated[float, AfterValidator(lambda value: min(0.0, value))]


class _TokenAlternative(WireModel):
    token: str
    logprob: Logprob


class _AnswerToken(_TokenAlternative):
    top_logprobs: list[_TokenAlternative] | None = None


_TOKENS = TypeAdapter(list[_AnswerToken] | None)


def token_logprobs(content: Any, request: Request) -> tuple[JsonObject, ...] | None:
    """Return OpenAI's log-probabilities of an answer as those of a `Response`; None without any, or a wish for them.

    Raises:
        ValidationError: A token or a log-probability has another type.
    """
    tokens = _TOKENS.validate_python(content) if request.logprobs is not None else None
    return (
        tuple(
            {
                "token": token.token,
                "logprob": token.logprob,
                "top": [[other.token, other.logprob] for other in token.top_logprobs or ()],
            }
            for token in tokens or ()
        )
        or None
    )


def read_usage(value: Any, *, apart: bool = False) -> JsonObject:
    """Return the counts of a `Response` from the usage of any protocol; other types count as not reported.

    Some servers count reasoning in the total only, and it is paid as output.

    Args:
        value: Reported usage.
        apart: Whether the count of the prompt leaves out the tokens of the cache, as Anthropic's does.
    """
    usage = mapping(value)
    places = [usage, *(mapping(usage.get(f"{name}_tokens_details")) for name in ("prompt", "input"))]

    def count(*names: str) -> int | None:
        found = (token_count(place.get(name)) for name in names for place in places)
        return next((n for n in found if n is not None), None)

    prompt, written = count("prompt_tokens", "input_tokens"), count("completion_tokens", "output_tokens")
    if prompt is not None and written is not None:
        written = max(written, (count("total_tokens") or 0) - prompt)
    cached = count("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")
    cache_written = count("cache_write_tokens", "cache_creation_input_tokens")
    if prompt is not None and apart:
        prompt += (cached or 0) + (cache_written or 0)
    return {
        "input_tokens": prompt,
        "output_tokens": written,
        "cached_tokens": cached,
        "written_tokens": cache_written,
    }


def believed(request: Request, response: Response, most_input: int) -> Response:
    """Return `response`, without its counts if they cannot be true.

    Args:
        request: The request.
        response: What came.
        most_input: Most tokens that the prompt can have.
    """
    read, wrote, cached = response.input_tokens, response.output_tokens, response.cached_tokens
    written = len(response.text) + sum(len(str(call.get("function"))) for call in response.tool_calls)
    texts = [message.get("content") for message in request.messages]
    least_input = max(1, sum(len(text) for text in texts if isinstance(text, str)) // CHARACTERS_PER_TOKEN)
    least_output = max(1, len(response.text) // CHARACTERS_PER_TOKEN) if written else 0
    if (
        read is None
        or wrote is None
        or not least_input <= read <= most_input
        or not least_output <= wrote <= request.max_tokens
    ):
        return replace(response, input_tokens=None, output_tokens=None, cached_tokens=None, written_tokens=None)
    of_cache = (cached or 0) + (response.written_tokens or 0)
    return response if of_cache <= read else replace(response, cached_tokens=None, written_tokens=None)
