"""The forms that a server runs: a GGUF file in the embedded llama.cpp, and vLLM with a merged model or an adapter."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tuneworthy.errors import ModelError, OutsideFault, ProviderError, UserError
from tuneworthy.providers.chat_template import Chat
from tuneworthy.providers.gguf import read_header
from tuneworthy.providers.http_client import HttpClient, blocking
from tuneworthy.providers.keys import Key
from tuneworthy.ship.parity.measure import TOP, Greedy, NextToken

TIMEOUT_S: Final = 300.0
VLLM_TOP: Final = 20
"""Log-probabilities that a vLLM server gives unless it was started with more."""


def post(address: str, path: str, body: Mapping[str, Any], api_key: str = "") -> Any:
    """Return what a server answers to a JSON document.

    Raises:
        OutsideFault: It does not answer.
        UserError: It refuses.
    """
    try:
        return blocking(_post(address, path, body, api_key))
    except ProviderError as error:
        if error.retryable:
            raise OutsideFault(error.message) from None
        raise UserError(error.message) from None


async def _post(address: str, path: str, body: Mapping[str, Any], api_key: str) -> Any:
    async with HttpClient(address, key=Key(api_key), timeout_s=TIMEOUT_S) as client:
        return client.read(await client.send("POST" if body else "GET", path.lstrip("/"), body or None))


def _body(chat: Chat) -> dict[str, Any]:
    """Return a chat as a chat endpoint takes it."""
    return {"messages": list(chat.messages), **({"tools": list(chat.tools)} if chat.tools else {})}


class LlamaForm:
    """A GGUF file in a llama.cpp of its own; close it.

    Args:
        path: The file. log: What llama.cpp prints. context: Tokens of a prompt and its answer that there is room for.

    Raises:
        ModelError: It does not load.
    """

    def __init__(self, path: Path, log: Path, context: int) -> None:
        try:
            import xllamacpp  # noqa: F401
        except ImportError:
            raise UserError(
                "expected the package xllamacpp, got none", hint="pip install 'tuneworthy[local]'"
            ) from None
        from tuneworthy.providers.llama_cpp import Engine, cores

        header = read_header(path)
        self._engine = Engine(
            {
                "path": str(path.resolve()), "alias": path.stem, "parent": 0, "api_key": "", "slots": 1,
                "context": min(context, header.context_length or context), "threads": cores(),
                "cache_mib": 0, "cache_prompt": True, "slot_folder": "",
            },
            log,
        )  # fmt: skip
        self._letter: int | None = None
        asyncio.run(self._engine.start())

    def close(self) -> None:
        """End llama.cpp."""
        asyncio.run(self._engine.stop())

    def template(self) -> str | None:
        """Return the template of the file."""
        template: str | None = self._post("/props", {}).get("chat_template")
        return template

    def prompt_ids(self, chats: Sequence[Chat]) -> list[list[int]]:
        """Return the ids that the chat endpoint reads, held against its own count.

        Raises:
            ModelError: It counts another number of tokens than the text has.
        """
        found = []
        for chat in chats:
            text = self._post("/apply-template", _body(chat))["prompt"]
            found.append(self._tokenize(text, add=True))
        if found:
            body = {**_body(chats[0]), "max_tokens": 1, "temperature": 0}
            counted = self._post("/v1/chat/completions", body)["usage"]["prompt_tokens"]
            if counted != len(found[0]):
                raise ModelError(f"expected llama.cpp to read {len(found[0])} tokens, got {counted}")
        return found

    def token_ids(self, text: str) -> list[int]:
        """Return the ids of `text`."""
        return self._tokenize(text, add=False)

    def next(self, ids: Sequence[int]) -> NextToken:
        """Return what follows `ids`; log-probabilities before any sampler.

        llama.cpp tells none where the chosen token ends the answer or is half a character, so a plain letter is forced:
        a bias is a sampler too.
        """
        if self._letter is None:
            self._letter = self.token_ids("a")[-1]
        told = self._complete(ids, 1, n_probs=TOP, logit_bias=[[self._letter, 10_000.0]])
        top = told["completion_probabilities"][0]["top_logprobs"]
        return NextToken({one["id"]: one["logprob"] for one in top})

    def greedy(self, prompts: Sequence[Sequence[int]], most: Sequence[int]) -> list[Greedy]:
        """Return the most likely answers."""
        return [self._greedy(ids, n) for ids, n in zip(prompts, most, strict=True)]

    def _greedy(self, ids: Sequence[int], n: int) -> Greedy:
        """Return the most likely answer; llama.cpp counts the token that ended it among its tokens."""
        told = self._complete(ids, n)
        tokens, ended = told["tokens"], told["stop_type"] == "eos"
        return Greedy(tuple(tokens[:-1] if ended else tokens), told["content"], ended)

    def _complete(self, ids: Sequence[int], n: int, **more: Any) -> Any:
        return self._post("/completion", {
            "prompt": list(ids), "n_predict": n, "temperature": 0, "top_k": 0, "top_p": 1.0, "min_p": 0.0,
            "repeat_penalty": 1.0, "cache_prompt": True, "return_tokens": True, **more,
        })  # fmt: skip

    def _tokenize(self, text: str, *, add: bool) -> list[int]:
        ids: list[int] = self._post("/tokenize", {"content": text, "add_special": add, "parse_special": True})["tokens"]
        return ids

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return post(self._engine.address, path, body, self._engine.api_key)


class VllmForm:
    """A model (or an adapter on it) that a vLLM server answers for.

    Args:
        address: Without the version, e.g. `http://127.0.0.1:8000`. model: As the server calls it.
        top: Log-probabilities to ask for. api_key: Sent as a bearer token if set.
    """

    def __init__(self, address: str, model: str, *, top: int = VLLM_TOP, api_key: str = "") -> None:
        self._address, self._model, self._top, self._api_key = address, model, top, api_key

    def template(self) -> str | None:
        """Return None: the server does not tell."""
        return None

    def prompt_ids(self, chats: Sequence[Chat]) -> list[list[int]]:
        """Return the ids that the chat endpoint reads."""
        return [self._post("/tokenize", {**_body(chat), "add_generation_prompt": True})["tokens"] for chat in chats]

    def token_ids(self, text: str) -> list[int]:
        """Return the ids of `text`."""
        ids: list[int] = self._post("/tokenize", {"prompt": text, "add_special_tokens": False})["tokens"]
        return ids

    def next(self, ids: Sequence[int]) -> NextToken:
        """Return what follows `ids`; vLLM gives log-probabilities before any sampler."""
        told = self._complete(ids, 1, logprobs=self._top, ignore_eos=True)
        top = told["logprobs"]["top_logprobs"][0]
        return NextToken({int(name.removeprefix("token_id:")): value for name, value in top.items()})

    def greedy(self, prompts: Sequence[Sequence[int]], most: Sequence[int]) -> list[Greedy]:
        """Return the most likely answers."""
        return [self._greedy(ids, n) for ids, n in zip(prompts, most, strict=True)]

    def _greedy(self, ids: Sequence[int], n: int) -> Greedy:
        """Return the most likely answer."""
        told = self._complete(ids, n, logprobs=0)
        tokens = [int(one.removeprefix("token_id:")) for one in told["logprobs"]["tokens"]]
        ended = told["finish_reason"] == "stop"
        return Greedy(tuple(tokens[:-1] if ended else tokens), told["text"], ended)

    def _complete(self, ids: Sequence[int], n: int, **more: Any) -> Any:
        return self._post("/v1/completions", {
            "prompt": list(ids), "max_tokens": n, "temperature": 0, "return_tokens_as_token_ids": True, **more,
        })["choices"][0]  # fmt: skip

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return post(self._address, path, {"model": self._model, **body}, self._api_key)
