"""Ranks given labels on llama.cpp: the log-probability of every label as the answer to a prompt.

Its server reports log-probabilities of generated tokens only. So each label is generated: a grammar allows the label's
own tokens and nothing else, and the server reports a token's log-probability before the grammar. All labels of a
request go to one slot, one after the other in the order of their tokens, so that the prompt, and the tokens that a
label shares with the one before, are read once. Slots work side by side on several requests.

Invariant: the tokens of a label are those of the prompt with the label behind it, less those of the prompt.

Sources: lm-evaluation-harness, `loglikelihood` (a sum over the tokens of the continuation, its end not among them);
llama.cpp tools/server/README.md (`/completion`: `n_probs`, `id_slot`; `/apply-template`; `/tokenize`) and
grammars/README.md ("Tokens").
"""

import asyncio
import time
from collections.abc import Sequence

from tuneworthy.errors import ProviderError
from tuneworthy.providers.base import OTHER_TOKENS, PLAIN_START
from tuneworthy.providers.http_client import HttpClient
from tuneworthy.text import n_shared
from tuneworthy.types import JsonMapping, Request, Response, TextTuple, Tokens

# So much of the end of a prompt decides how the label behind it is split into tokens.
TAIL_CHARS = 16


class LabelRanker:
    """Ranks labels on one engine.

    Args:
        client: Of the engine.
        slots: Number of its slots.
    """

    def __init__(self, client: HttpClient, slots: int) -> None:
        self._client = client
        self._free: asyncio.Queue[int] = asyncio.Queue()
        self._tokens: dict[tuple[str, TextTuple], list[list[int]]] = {}
        for slot in range(slots):
            self._free.put_nowait(slot)

    async def rank(self, request: Request, sent: Sequence[JsonMapping]) -> Response:
        """Return the most probable of `request.output.choices`, and all their log-probabilities.

        Args:
            request: The request; without messages its choices are plain texts, and those that cannot be scored are
                not in the response.
            sent: Its messages, in the roles that the model takes.

        Raises:
            ProviderError: A call failed, or the server generated other tokens than those of the label.
        """
        started = time.perf_counter()
        text = PLAIN_START
        if sent:
            text = str((await self._client.post({"messages": list(sent)}, "apply-template"))["prompt"])
        prompt = [token for token, _ in await self._pieces(text)]
        choices = request.output.choices
        labels = dict(zip(choices, await self._label_tokens(choices, text, len(prompt)), strict=True))
        if sent and not all(labels.values()):
            raise ProviderError(
                "The model reads a character of a label as several tokens, so the label cannot be ranked.",
                code="malformed",
                retryable=False,
            )
        labels = {label: tokens for label, tokens in labels.items() if tokens}
        slot = request.timing.lane if request.timing else await self._free.get()
        try:
            logprobs = await self._walk(prompt, list(labels.values()), slot)
        finally:
            if not request.timing:
                self._free.put_nowait(slot)
        sums = {
            label: sum(logprobs[tuple(tokens[:end])] for end in range(1, len(tokens) + 1))
            for label, tokens in labels.items()
        }
        return Response(
            text=max(sums, key=sums.__getitem__, default=""),
            input_tokens=len(prompt),
            output_tokens=len(logprobs),
            label_logprobs=sums,
            seconds=time.perf_counter() - started,
        )

    async def _walk(self, prompt: Tokens, labels: Sequence[list[int]], slot: int) -> dict[tuple[int, ...], float]:
        logprobs: dict[tuple[int, ...], float] = {}
        before: list[int] = []
        for label in sorted(labels):
            shared = n_shared(before, label)
            rest, before = label[shared:], label
            answer = await self._client.post(
                {
                    "prompt": [*prompt, *label[:shared]], "n_predict": len(rest),
                    "grammar": "root ::= " + " ".join(f"<[{token}]>" for token in rest),
                    "n_probs": 1, "temperature": 0, "samplers": [], "cache_prompt": True, "id_slot": slot,
                },
                "completion",
            )  # fmt: skip
            rows = answer.get("completion_probabilities") or []
            if [row.get("id") for row in rows] != rest:
                raise ProviderError(OTHER_TOKENS, code="malformed", retryable=False)
            for number, row in enumerate(rows, shared + 1):
                logprobs[tuple(label[:number])] = min(0.0, float(row["logprob"]))
        return logprobs

    async def _label_tokens(self, labels: TextTuple, text: str, n_prompt: int) -> list[list[int]]:
        """Return the tokens per label behind the prompt `text`, which has `n_prompt`.

        A label with a character that is cut into several tokens has no tokens: no grammar generates it.
        """
        key = text[-TAIL_CHARS:], labels
        if key not in self._tokens:
            pieces = [(await self._pieces(text + label))[n_prompt:] for label in labels]
            self._tokens[key] = [
                [token for token, _ in row] if all(whole for _, whole in row) else [] for row in pieces
            ]
        return self._tokens[key]

    async def _pieces(self, text: str) -> list[tuple[int, bool]]:
        answer = await self._client.post(
            {"content": text, "add_special": True, "parse_special": True, "with_pieces": True}, "tokenize"
        )
        return [(int(token["id"]), isinstance(token["piece"], str)) for token in answer["tokens"]]
