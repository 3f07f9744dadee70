"""Decision models behind HTTP: they choose one of the labels of the project file and give the probability of each.

Two protocols say the same: System One (TypeSafe, llama.cpp's server, Fireworks and others) and OpenAI's Decisions API.
A system message is sent as the question; the rest of the chat is what it is asked about. Nothing is sampled, so no
sampling parameter is sent.

Sources: https://docs.typesafe.ai/api; llama.cpp tools/server/README.md (`/v1/systemone`);
https://developers.openai.com/api/docs/guides/decisions and openai-python 3.57, `types/decision_create_params.py` and
`types/decision.py`.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from math import log
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.config.models import DecisionSection
from tuneworthy.providers.base import provider
from tuneworthy.providers.capabilities import capabilities_of, filter_parameters
from tuneworthy.providers.http_client import HttpClient
from tuneworthy.providers.keys import Key, read_key
from tuneworthy.providers.usage import mapping, name_of, token_count
from tuneworthy.types import Message, Request, Response

# The only question of a request.
NAME = "label"
# Of a probability, so that it has a logarithm.
LEAST = 1e-12
# The same, as it may be rounded.
MOST = 1.001
# Of an answer, for each label.
_LABEL_BYTES = 2048

# ``(model, messages, question, criteria) -> body``, and ``answer -> (choice, (label, probability)...)`` or None if the
# model declined.
Writer = Callable[[str, tuple[Message, ...], str, Mapping[str, str]], dict[str, Any]]
Reader = Callable[[Mapping[str, Any]], tuple[str, Iterable[tuple[str, float]]] | None]


class DecisionProvider:
    """Answers through a POST of one typed question.

    Args:
        config: Section of the project file.
        api_key: Sent as a bearer token if it is not empty.
        path: Below the base URL.
        write: Makes the body.
        read: Reads the answer.
    """

    def __init__(self, config: DecisionSection, api_key: Key, path: str, write: Writer, read: Reader) -> None:
        self.identity: Mapping[str, Any] = {
            "provider": config.provider, "model": config.model, "base_url": config.base_url,
            "criteria": dict(config.criteria), "question": config.question,
        }  # fmt: skip
        self.capabilities = capabilities_of(config.provider, config.model)
        self.supports = self.capabilities.supports
        self._config, self._path, self._write, self._read = config, path, write, read
        self.added_bytes = len(orjson.dumps([config.question, config.criteria]))  # of every prompt, which is paid for
        self._client = HttpClient(config.base_url, key=api_key, timeout_s=config.timeout_s)

    def __repr__(self) -> str:
        return f"DecisionProvider({dict(self.identity)!r})"

    async def complete(self, request: Request) -> Response:
        """Answer `request` (see `Provider.complete`)."""
        _, dropped = filter_parameters(self.capabilities, request.decoding)
        system = "\n\n".join(str(turn["content"]) for turn in request.messages if turn["role"] == "system")
        rest = tuple(turn for turn in request.messages if turn["role"] != "system")
        criteria = self._config.criteria
        body = self._write(self._config.model, rest, system or self._config.question, criteria)
        started = time.perf_counter()
        answer = await self._client.post(body, self._path, max_body=_LABEL_BYTES * (len(criteria) + 8))
        seconds = time.perf_counter() - started
        try:
            decided = self._read(answer)
            shares = {label: float(share) for label, share in decided[1]} if decided else {}
            if decided and (decided[0] not in criteria or not set(shares) <= set(criteria)):
                raise ValueError("a label that was not among those sent")
            if not all(0.0 <= share <= MOST for share in shares.values()):
                raise ValueError("a probability outside 0 to 1")
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise self._client.malformed(
                "an answer with a choice and its probabilities",
                self._client.excerpt(f"{type(error).__name__} {error} in fields {', '.join(map(str, answer))}"),
            ) from None
        usage = mapping(answer.get("usage"))
        return Response(
            text=decided[0] if decided else "",
            finish_reason="stop" if decided else "refusal",
            input_tokens=token_count(usage.get("input_tokens")),
            output_tokens=token_count(usage.get("output_tokens")),
            cached_tokens=token_count(mapping(usage.get("input_tokens_details")).get("cached_tokens")),
            model=name_of(answer.get("model")),
            dropped=dropped,
            seconds=seconds,
            label_logprobs={label: log(min(1.0, max(shares.get(label, 0.0), LEAST))) for label in criteria}
            if decided
            else None,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def write_systemone(model: str, messages: tuple[Message, ...], question: str, criteria: Mapping[str, str]) -> Any:
    """Return the body of ``POST /v1/systemone``: one turn as its text, several as a list."""
    turns = [{"role": turn["role"], "content": turn["content"]} for turn in messages]
    return {
        "model": model,
        "state": turns[0]["content"] if len(turns) == 1 else turns,
        "questions": {NAME: {"type": "choice", "instructions": question, "criteria": dict(criteria)}},
    }


def read_systemone(answer: Mapping[str, Any]) -> tuple[str, Iterable[tuple[str, float]]]:
    """Return the choice, and the probability of each label."""
    row = answer["answers"][NAME]
    return row["choice"], row["probabilities"].items()


def write_openai(model: str, messages: tuple[Message, ...], question: str, criteria: Mapping[str, str]) -> Any:
    """Return the body of ``POST /v1/decisions``."""
    turns = [{"role": turn["role"], "content": turn["content"]} for turn in messages]
    choices = [{"value": label, **({"description": text} if text else {})} for label, text in criteria.items()]
    return {
        "model": model,
        "input": turns[0]["content"] if len(turns) == 1 else turns,
        "questions": [{"type": "choice", "name": NAME, "instructions": question, "choices": choices}],
    }


def read_openai(answer: Mapping[str, Any]) -> tuple[str, Iterable[tuple[str, float]]] | None:
    """Return the choice, and the probability of each label; None if the model declined."""
    row = answer["answers"][0]
    if row["type"] == "refusal":
        return None
    return row["choice"], [(one["value"], one["probability"]) for one in row["probabilities"]]


@provider("systemone")
def open_systemone(name: str, config: DecisionSection, root: Path) -> DecisionProvider:
    """Open `[models.NAME]` with ``provider = "systemone"``.

    Raises:
        AuthError: The server is not on this machine, and the environment variable holds no key.
    """
    return DecisionProvider(config, _key(name, config, root), "systemone", write_systemone, read_systemone)


@provider("openai_decisions")
def open_openai_decisions(name: str, config: DecisionSection, root: Path) -> DecisionProvider:
    """Open `[models.NAME]` with ``provider = "openai_decisions"``.

    Raises:
        AuthError: The server is not on this machine, and the environment variable holds no key.
    """
    return DecisionProvider(config, _key(name, config, root), "decisions", write_openai, read_openai)


def _key(name: str, config: DecisionSection, root: Path) -> Key:
    return read_key(config.key_variable, url=config.base_url, root=root, owner=f"models.{name}", required=config.hosted)
