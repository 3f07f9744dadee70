"""Ranks given labels on vLLM: the log-probability of each one as the answer to a prompt.

One request carries the prompt once for each label, with the label behind it, and asks for the log-probabilities of the
prompt. vLLM reads each of these prompts whole: a request for them does not take its cache of prefixes.

Source: vllm/entrypoints/openai/completion/protocol.py (`prompt_logprobs`), vllm/entrypoints/serve/tokenize/protocol.py.
"""

import time
from collections.abc import Mapping, Sequence
from math import fsum
from typing import Any

from tuneworthy.errors import ProviderError
from tuneworthy.providers import messages
from tuneworthy.providers.http_client import HttpClient
from tuneworthy.types import Request, Response


class PromptRanker:
    """Ranks labels on one server.

    Args:
        address: Of the server, without the version.
        model: As the server calls it.
        timeout_s: Limit of one call, seconds.
    """

    def __init__(self, *, address: str, model: str, timeout_s: float) -> None:
        self._client = HttpClient(address, timeout_s=timeout_s)
        self._model = model
        self._tokens: dict[tuple[str, ...], list[list[int]]] = {}

    async def rank(self, request: Request) -> Response:
        """Return the most probable of `request.output.choices`, and the log-probability of each.

        Raises:
            ProviderError: A call failed, or the answer has no log-probabilities of these tokens.
        """
        started = time.perf_counter()
        labels = request.output.choices
        prompt = await self._tokenize(messages=request.messages)
        if labels not in self._tokens:
            self._tokens[labels] = [await self._label_tokens(request, prompt, label) for label in labels]
        prompts = [[*prompt, *tokens] for tokens in self._tokens[labels]]
        answer = await self._client.post(
            {"model": self._model, "prompt": prompts, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0},
            "v1/completions",
            max_body=2**20 + 200 * sum(map(len, prompts)),
        )
        try:
            rows = sorted(answer["choices"], key=lambda choice: choice["index"])
            sums = {
                label: fsum(_logprobs(row.get("prompt_logprobs") or (), whole, len(prompt)))
                for label, row, whole in zip(labels, rows, prompts, strict=True)
            }
        except (AttributeError, KeyError, TypeError, ValueError):  # other answers than those to these prompts
            raise ProviderError(messages.say("other_tokens"), code="malformed", retryable=False) from None
        return Response(
            text=max(sums, key=sums.__getitem__),
            input_tokens=sum(map(len, prompts)),
            output_tokens=len(prompts),
            label_logprobs=sums,
            seconds=time.perf_counter() - started,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _label_tokens(self, request: Request, prompt: Sequence[int], label: str) -> list[int]:
        """Return the tokens of `label` as the chat template continues the prompt with it.

        Where the template begins an answer in another way than it continues one, those of the label alone.
        """
        turns = [*request.messages, {"role": "assistant", "content": label}]
        whole = await self._tokenize(messages=turns, add_generation_prompt=False, continue_final_message=True)
        if len(whole) > len(prompt) and whole[: len(prompt)] == list(prompt):
            return whole[len(prompt) :]
        return await self._tokenize(prompt=label, add_special_tokens=False)

    async def _tokenize(self, **content: Any) -> list[int]:
        answer = await self._client.post({"model": self._model, **content}, "tokenize")
        return [int(token) for token in answer["tokens"]]


def _logprobs(rows: Sequence[Mapping[str, Any] | None], tokens: Sequence[int], start: int) -> list[float]:
    """Return the log-probability of each of `tokens` from `start` on.

    Raises:
        ProviderError: One is not there.
    """
    try:
        return [min(0.0, float((rows[at] or {})[str(tokens[at])]["logprob"])) for at in range(start, len(tokens))]
    except (IndexError, KeyError, TypeError, ValueError):
        raise ProviderError(messages.say("other_tokens"), code="malformed", retryable=False) from None
