"""Lines of `calls.jsonl`: requests with their answers, and functions with their arguments; masked, without headers.

Masks are as `cases.pii` has them, shared by question and answer, plus the values of fields that name a secret, and keys
by their value: those that this process has read, and those of the call's own headers.
"""

import json
import re
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import orjson

from tuneworthy.calls.recorder import SkippedCall
from tuneworthy.cases import pii
from tuneworthy.redaction import HIDDEN, redact
from tuneworthy.shadow.protocols import STREAMS, answer_of, asked_by
from tuneworthy.text import number_text
from tuneworthy.types import JsonObject, Texts

# Fields of a request that set how it is answered, and those of an answer that are kept.
_SETTINGS = (
    "temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "max_output_tokens", "stop",
    "stop_sequences", "seed", "n", "response_format", "text", "tool_choice", "function_call", "reasoning",
    "reasoning_effort", "thinking", "frequency_penalty", "presence_penalty", "verbosity",
)  # fmt: skip
_ANSWER = (
    "type",
    "role",
    "model",
    "choices",
    "output",
    "content",
    "usage",
    "stop_reason",
    "status",
    "incomplete_details",
)
# Fields of a request by which the API adds what the request does not contain.
_STORED = ("previous_response_id", "conversation", "prompt", "context_management", "container")
_SECRET_FIELD = re.compile(
    r"(?i)(?:pass(?:word|wd|phrase|code)|pwd|secret|credentials?|authorization|cookie|private_?key|(?:api|access|account)"
    r"[_-]?key|(?:access|auth|api|refresh|bearer|id|session|csrf|bot)[_-]?token)\Z"
)
# Fields whose text can be JSON: arguments of a tool; questions and answers of spans.
_JSON_FIELDS = frozenset({"arguments", "input", "output", "mlflow.spanInputs", "mlflow.spanOutputs"})
_PARAGRAPH = re.compile(r"(\n[ \t\r]*\n)")
# Longer paragraphs are not remembered, characters.
_MAX_REMEMBERED = 8_000
# A prompt has the same paragraphs in each call.
_remembered = lru_cache(8_192)(pii.find)


def _look(text: str) -> list[pii.PiiMatch]:
    """Return the personal data of a text, paragraph by paragraph, each once."""
    found, start = [], 0
    for paragraph in _PARAGRAPH.split(text):
        look = _remembered if len(paragraph) <= _MAX_REMEMBERED else pii.find
        found += [pii.PiiMatch(one.kind, one.start + start, one.end + start, one.digest) for one in look(paragraph)]
        start += len(paragraph)
    return found


class RowMasker:
    """Masks one line.

    Args:
        keys: Values of the call's headers that must not be in it.
    """

    def __init__(self, keys: Texts = ()) -> None:
        self.keys, self.masker = keys, pii.Masker(look=_look)

    def mask(self, value: Any, field: str = "") -> Any:
        """Return `value` masked; `field` is the key that it has."""
        if isinstance(value, dict):
            return {self.text(key): self.mask(one, key) for key, one in value.items() if key != "logprobs"}
        if isinstance(value, list):
            return [self.mask(one, field) for one in value]
        if isinstance(value, str):
            return self._named(value, field)
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = number_text(value)
            masked = self._named(text, field)
            return value if masked == text else masked
        return value

    def text(self, text: str) -> str:
        return self.masker.mask(redact(text, self.keys))

    def _named(self, text: str, field: str) -> str:
        """Return the value of a field masked: the name can be what makes it personal."""
        if text and _SECRET_FIELD.search(field):
            return HIDDEN
        if field in _JSON_FIELDS:
            try:
                before = orjson.loads(text)
            except orjson.JSONDecodeError:
                before = None
            if isinstance(before, dict | list):
                return text if (after := self.mask(before)) == before else orjson.dumps(after).decode()
        start = f"{field}: "
        masked = self.text(start + text)
        return masked.removeprefix(start) if masked.startswith(start) else self.text(text)


def path_of(path: str) -> str:
    """Return the key of `STREAMS` at the end of the path of an address; "" without one.

    >>> path_of("/openai/deployments/gpt/chat/completions"), path_of("/v1/embeddings")
    ('/v1/chat/completions', '')
    """
    return next((name for name in STREAMS if path.endswith(name.removeprefix("/v1"))), "")


def exchange_row(url: str, request: bytes, answer: bytes, *, streamed: bool, keys: Texts = ()) -> JsonObject:
    """Return a request and its answer as the fields of a line.

    Args:
        url: Address of the request; its path ends with a key of `STREAMS`, at least without `/v1`.
        request: Body.
        answer: Body, unpacked.
        streamed: Whether it is a stream of events.
        keys: As `RowMasker` takes them.

    Raises:
        SkippedCall: It is no question with a whole answer.
    """
    parts = urlsplit(url)
    path = path_of(parts.path)
    try:
        question = orjson.loads(request)
        if not isinstance(question, dict) or not question.keys() & {"messages", "input"}:
            raise SkippedCall("no question in the request")
        if any(question.get(key) for key in _STORED):
            raise SkippedCall("part of the question is stored at the API")
        asked = asked_by(question) | {key: question[key] for key in _SETTINGS if key in question}
    except ValueError as error:
        raise SkippedCall("unreadable request" if isinstance(error, orjson.JSONDecodeError) else str(error)) from None
    try:
        whole = answer_of(path, answer, streamed=streamed)
    except ValueError:
        raise SkippedCall("unfinished answer" if streamed else "unreadable answer") from None
    if not any(isinstance(whole.get(key), list) for key in ("choices", "output", "content")):
        raise SkippedCall("no answer in the response")
    masker = RowMasker(keys)
    host = f"{parts.scheme}://{parts.hostname or ''}" + (f":{parts.port}" if parts.port else "")
    return {
        "model": masker.text(str(question.get("model") or whole.get("model") or "")),
        "provider": "anthropic" if path == "/v1/messages" else "openai",
        "base_url": host + masker.text(parts.path.removesuffix(path.removeprefix("/v1"))),
        "streamed": streamed,
        "request": masker.mask(asked),
        "response": masker.mask({key: whole[key] for key in _ANSWER if whole.get(key) is not None}),
    }


def function_row(arguments: bytes, output: bytes) -> JsonObject:
    """Return the arguments and the output of a function, both JSON, as the fields of a line."""
    masker = RowMasker()
    return {"input": masker.mask(json.loads(arguments)), "output": masker.mask(json.loads(output))}
