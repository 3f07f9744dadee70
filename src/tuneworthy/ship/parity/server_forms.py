"""The forms that a server runs: a GGUF file in the embedded llama.cpp, and vLLM with a merged model or an adapter."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tuneworthy.errors import ModelError, OutsideFault, ProviderError, UserError
from tuneworthy.providers.http_client import HttpClient, blocking
from tuneworthy.providers.keys import Key
from tuneworthy.ship.parity.measure import TOP, Greedy, ModelForm, NextToken
from tuneworthy.ship.served import SLOTS
from tuneworthy.train.render import RowChat
from tuneworthy.types import JsonMapping, JsonObject, TokenLists, Tokens

TIMEOUT_S = 300.0
# Log-probabilities that a vLLM server gives unless it was started with more.
VLLM_TOP = 20


class ServerForm(ModelForm):
    """A model that answers over HTTP.

    Args:
        address: Address without the version, e.g. `http://127.0.0.1:8000`.
        api_key: Sent as a bearer token if set.
        fields: Sent with every request.
    """

    def __init__(self, address: str, *, api_key: str = "", fields: JsonMapping | None = None) -> None:
        self._address, self._api_key, self._fields = address, api_key, fields or {}

    def _post(self, path: str, body: JsonMapping) -> Any:
        """Return the JSON that the server answers to a document, or to a GET without one.

        Raises:
            OutsideFault: It does not answer.
            UserError: It refuses.
        """

        async def send() -> Any:
            async with HttpClient(self._address, key=Key(self._api_key), timeout_s=TIMEOUT_S) as client:
                return client.read(await client.send("POST" if content else "GET", path, content or None))

        content = {**self._fields, **body}
        try:
            return blocking(send())
        except ProviderError as error:
            raise (OutsideFault if error.retryable else UserError)(error.message) from None


def _body(chat: RowChat) -> JsonObject:
    return {"messages": list(chat.messages), **({"tools": list(chat.tools)} if chat.tools else {})}


class LlamaForm(ServerForm):
    """A GGUF file in a llama.cpp (`ship.served.llama_cpp`) of its own."""

    def __init__(self, engine: Any) -> None:
        super().__init__(engine.address, api_key=engine.api_key)

    def template(self) -> str | None:
        template: str | None = self._post("props", {}).get("chat_template")
        return template

    def prompt_ids(self, chats: Sequence[RowChat]) -> list[list[int]]:
        """Return the ids that the chat endpoint reads, compared with its own count.

        Raises:
            ModelError: It counts another number of tokens than the text has.
        """
        prompts = [self._post("apply-template", _body(chat))["prompt"] for chat in chats]
        ids = [self._tokenize(prompt, add=True) for prompt in prompts]
        if ids:
            body = {**_body(chats[0]), "max_tokens": 1, "temperature": 0}
            counted = self._post("v1/chat/completions", body)["usage"]["prompt_tokens"]
            if counted != len(ids[0]):
                raise ModelError(
                    f"llama.cpp counts {counted} tokens in a chat request, but its own tokenizer counts "
                    f"{len(ids[0])} in the same prompt."
                )
        return ids

    def token_ids(self, text: str) -> list[int]:
        return self._tokenize(text, add=False)

    def following(self, texts: TokenLists) -> list[NextToken]:
        """Return what follows each text; log-probabilities before any sampler.

        llama.cpp gives no probabilities where the chosen token ends the answer or is half a character, so a plain
        letter is forced: a bias is a sampler too.
        """
        letter = self.token_ids("a")[-1]
        replies = (self._complete(ids, 1, n_probs=TOP, logit_bias=[[letter, 10_000.0]]) for ids in texts)
        return [
            {token["id"]: token["logprob"] for token in reply["completion_probabilities"][0]["top_logprobs"]}
            for reply in replies
        ]

    def answer(self, ids: Tokens, most: int) -> Greedy:
        reply = self._complete(ids, most)
        return _greedy(reply["tokens"], reply["content"], ended=reply["stop_type"] == "eos")

    def greedy(self, prompts: TokenLists, most: Tokens) -> list[Greedy]:
        """Return the most likely answer to each prompt, several written side by side."""
        with ThreadPoolExecutor(SLOTS) as pool:
            return list(pool.map(self.answer, prompts, most))

    def _complete(self, ids: Tokens, n: int, **more: Any) -> Any:
        return self._post("completion", {
            "prompt": list(ids), "n_predict": n, "temperature": 0, "top_k": 0, "top_p": 1.0, "min_p": 0.0,
            "repeat_penalty": 1.0, "cache_prompt": True, "return_tokens": True, **more,
        })  # fmt: skip

    def _tokenize(self, text: str, *, add: bool) -> list[int]:
        return list(self._post("tokenize", {"content": text, "add_special": add, "parse_special": True})["tokens"])


class VllmForm(ServerForm):
    """A model (or an adapter on it) that a vLLM server answers for.

    Args:
        address: Address without the version, e.g. `http://127.0.0.1:8000`.
        model: Its name on the server.
        top: Log-probabilities to ask for.
    """

    def __init__(self, address: str, model: str, *, top: int = VLLM_TOP) -> None:
        super().__init__(address, fields={"model": model})
        self._top = top

    def prompt_ids(self, chats: Sequence[RowChat]) -> list[list[int]]:
        return [self._post("tokenize", {**_body(chat), "add_generation_prompt": True})["tokens"] for chat in chats]

    def token_ids(self, text: str) -> list[int]:
        return list(self._post("tokenize", {"prompt": text, "add_special_tokens": False})["tokens"])

    def following(self, texts: TokenLists) -> list[NextToken]:
        replies = (self._complete(ids, 1, logprobs=self._top, ignore_eos=True) for ids in texts)
        return [
            {_number(name): value for name, value in reply["logprobs"]["top_logprobs"][0].items()} for reply in replies
        ]

    def greedy(self, prompts: TokenLists, most: Tokens) -> list[Greedy]:
        return list(map(self.answer, prompts, most))

    def answer(self, ids: Tokens, most: int) -> Greedy:
        reply = self._complete(ids, most, logprobs=0)
        return _greedy(
            list(map(_number, reply["logprobs"]["tokens"])), reply["text"], ended=reply["finish_reason"] == "stop"
        )

    def _complete(self, ids: Tokens, n: int, **more: Any) -> Any:
        return self._post("v1/completions", {
            "prompt": list(ids), "max_tokens": n, "temperature": 0, "return_tokens_as_token_ids": True, **more,
        })["choices"][0]  # fmt: skip


def _number(token: str) -> int:
    return int(token.removeprefix("token_id:"))


def _greedy(tokens: Tokens, text: str, *, ended: bool) -> Greedy:
    return Greedy(tuple(tokens[:-1] if ended else tokens), text, ended)
