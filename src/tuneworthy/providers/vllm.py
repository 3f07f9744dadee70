"""vLLM server of the user's own: OpenAI-compatible answers, and labels ranked by their log-probability.

A request that ranks carries the prompt once for each label, with the label behind it, and asks for the
log-probabilities of the prompt. vLLM reads each of these prompts whole: a request for them does not take its cache of
prefixes.

Source: vllm/entrypoints/openai/completion/protocol.py (`prompt_logprobs`), vllm/entrypoints/serve/tokenize/protocol.py.
"""

import time
from math import fsum
from pathlib import Path
from typing import Any

from tuneworthy.config.models import Vllm
from tuneworthy.errors import ProviderError
from tuneworthy.providers.base import OTHER_TOKENS, PLAIN_START, provider
from tuneworthy.providers.http_client import HttpClient, server_options
from tuneworthy.providers.keys import Key
from tuneworthy.providers.openai import OpenAIProvider
from tuneworthy.types import JsonMapping, Request, Response, TextTuple, TokenLists, Tokens


class PromptRanker:
    """Ranks labels on one server.

    Args:
        address: Of the server, without the version.
        model: As the server calls it.
        timeout_s: Limit of one call, seconds.
        key: Sent as a bearer token if it is not empty.
    """

    def __init__(self, *, address: str, model: str, timeout_s: float, key: Key | None = None) -> None:
        self._client = HttpClient(address, key=key, timeout_s=timeout_s)
        self._model = model
        self._tokens: dict[TextTuple, list[list[int]]] = {}

    async def rank(self, request: Request) -> Response:
        """Return the most probable of `request.output.choices`, and all log-probabilities.

        Without messages the choices are plain texts.

        Raises:
            ProviderError: A call failed, or its answer has no tokens or their log-probabilities are missing.
        """
        started = time.perf_counter()
        labels = request.output.choices
        prompt = await self._tokenize(
            **({"messages": request.messages} if request.messages else {"prompt": PLAIN_START})
        )
        if labels not in self._tokens:
            self._tokens[labels] = [await self._label_tokens(request, prompt, label) for label in labels]
        prompts = [[*prompt, *tokens] for tokens in self._tokens[labels]]
        answer = await self._client.post(
            {"model": self._model, "prompt": prompts, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0},
            "v1/completions",
            max_body=2**20 + 200 * sum(map(len, prompts)),
        )
        sums = dict(zip(labels, _sums(answer, prompts, len(prompt)), strict=True))
        return Response(
            text=max(sums, key=sums.__getitem__),
            input_tokens=sum(map(len, prompts)),
            output_tokens=len(prompts),
            label_logprobs=sums,
            seconds=time.perf_counter() - started,
        )

    async def close(self) -> None:
        await self._client.close()

    async def _label_tokens(self, request: Request, prompt: Tokens, label: str) -> list[int]:
        """Return the tokens of `label` as the chat template continues the prompt with it.

        Where the template begins an answer in another way than it continues one, the label's own tokens. Without
        messages there is no template.
        """
        chat = {
            "messages": [*request.messages, {"role": "assistant", "content": label}],
            "add_generation_prompt": False,
            "continue_final_message": True,
        }
        whole = await self._tokenize(**(chat if request.messages else {"prompt": PLAIN_START + label}))
        if len(whole) > len(prompt) and whole[: len(prompt)] == list(prompt):
            return whole[len(prompt) :]
        return await self._tokenize(prompt=label, add_special_tokens=False)

    async def _tokenize(self, **content: Any) -> list[int]:
        answer = await self._client.post({"model": self._model, **content}, "tokenize")
        try:
            return [int(token) for token in answer["tokens"]]
        except (KeyError, TypeError, ValueError):
            raise self._client.malformed("a list of tokens", ", ".join(map(str, answer))) from None


def _sums(answer: JsonMapping, prompts: TokenLists, start: int) -> list[float]:
    """Return the log-probability per prompt of its tokens from `start` on.

    Raises:
        ProviderError: That of one is not there.
    """
    try:
        rows = {choice["index"]: choice["prompt_logprobs"] for choice in answer["choices"]}
        return [
            fsum(min(0.0, float(rows[number][at][str(tokens[at])]["logprob"])) for at in range(start, len(tokens)))
            for number, tokens in enumerate(prompts)
        ]
    except (IndexError, KeyError, TypeError, ValueError):
        raise ProviderError(OTHER_TOKENS, code="malformed", retryable=False) from None


class VllmProvider(OpenAIProvider):
    """Answers through a running vLLM server.

    Args:
        ranker: Ranks labels on the same server.
        **options: Of `OpenAIProvider`.
    """

    def __init__(self, ranker: PromptRanker, **options: Any) -> None:
        super().__init__(**options)
        self._ranker = ranker

    async def complete(self, request: Request) -> Response:
        return await (self._ranker.rank(request) if request.output.kind == "ranked" else super().complete(request))

    async def close(self) -> None:
        await super().close()
        await self._ranker.close()


@provider("vllm")
def open_vllm(name: str, config: Vllm, root: Path) -> VllmProvider:
    options = server_options(name, config, root)
    return VllmProvider(
        PromptRanker(
            address=config.base_url.rstrip("/").removesuffix("/v1"),
            model=config.model,
            key=options["api_key"],
            timeout_s=config.timeout_s,
        ),
        **options,
    )
