"""Encoders and rerankers behind HTTP: any `/v1/embeddings`, any `/rerank`. They get the texts and nothing else.

A fault is tried again twice and then ends the search; earlier answers are stored.
"""

import asyncio
import base64
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from tuneworthy.arrays import Floats32
from tuneworthy.config.retrieval import EncoderServer, RerankServer, SearchServer
from tuneworthy.errors import OutsideFault, ProviderError
from tuneworthy.providers.drain import drain
from tuneworthy.providers.http_client import HttpClient
from tuneworthy.providers.keys import read_key
from tuneworthy.providers.usage import token_count
from tuneworthy.retrieval.account import Account
from tuneworthy.store.responses import response_key
from tuneworthy.text import count
from tuneworthy.types import JsonMapping, NamedTexts, Texts, canonical

# Limit of one attempt, seconds.
TIMEOUT_S = 60.0
BATCH = 64
TRIES = 3
# Before the second try, seconds; doubled before each further one.
PAUSE_S = 0.5
MAX_BYTES = 256 * 2**20
MAYBE_BILLED = frozenset({"timeout", "connection", "malformed", "incomplete"})

Result = TypeVar("Result")
Config = TypeVar("Config", bound=SearchServer)
# Returns the request for some texts.
Content = Callable[[Texts], JsonMapping]
# Returns the answers in the order of the texts, given what came and how many are expected.
Reader = Callable[[Any, int], list[str]]


class RetrievalServer(Generic[Config]):
    """Requests missing results.

    Args:
        config: The server.
        account: Pays, and stores the answers.
        root: The project folder, whose consent sends the key.

    Attributes:
        path: Where requests are posted to.
    """

    path: ClassVar[str]

    def __init__(self, config: Config, account: Account, root: Path = Path()) -> None:
        self._config, self._account, self._root = config, account, root
        self._identity = canonical({"base_url": config.base_url, "path": self.path})

    async def answers(self, batches: Sequence[Texts], repeat: int, content: Content, read: Reader) -> NamedTexts:
        """Return the answer about each text, a request a batch.

        Raises:
            BudgetSpent: A call could exceed the budget.
            UserError: The server has no price, or its key is missing.
            OutsideFault: No answer came, or one that cannot be read.
        """
        answers: dict[str, str] = {}
        client: HttpClient | None = None
        try:
            for batch in batches:
                keys = {text: response_key(self._identity, content([text]), repeat) for text in batch}
                stored = self._account.stored(list(keys.values()))
                if missing := [text for text, key in keys.items() if key not in stored]:
                    client = client or HttpClient(
                        self._config.base_url,
                        key=read_key(
                            self._config.key_variable, url=self._config.base_url, root=self._root, owner="retrieval"
                        ),
                        timeout_s=TIMEOUT_S,
                        max_body=MAX_BYTES,
                    )
                    stored |= await self._ask(client, [keys[text] for text in missing], content(missing), read)
                answers |= {text: stored[key] for text, key in keys.items()}
        finally:
            if client is not None:
                await client.close()
        return answers

    def odd_answer(self, reason: object) -> OutsideFault:
        return OutsideFault(
            f"The response from {self._config.base_url}/{self.path} does not follow the API: {reason}.",
            hint="Check base_url and model of this server in [retrieval].",
        )

    async def _attempt(
        self, client: HttpClient, keys: Sequence[bytes], content: JsonMapping, read: Reader, ceiling: float
    ) -> dict[bytes, str]:
        with self._account.call(keys, ceiling) as call:
            started = time.perf_counter()
            try:
                answer = await client.post(content, self.path)
                answers = dict(zip(keys, read(answer, len(keys)), strict=True))
            except ProviderError as error:
                if error.code not in MAYBE_BILLED:
                    call.not_billed()
                raise
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise self.odd_answer(f"{error!r:.80}") from None
            usage = answer.get("usage")
            tokens = usage.get("total_tokens", usage.get("prompt_tokens")) if isinstance(usage, dict) else None
            call.commit(
                answers, self._config.cost_usd(token_count(tokens) or None, ceiling), time.perf_counter() - started
            )
            return answers

    async def _ask(
        self, client: HttpClient, keys: Sequence[bytes], content: JsonMapping, read: Reader
    ) -> dict[bytes, str]:
        ceiling = self._config.ceiling_usd(content.get("query", ""), content.get("documents") or content["input"])
        for attempt in range(TRIES):
            try:
                return await _finished(self._attempt(client, keys, content, read, ceiling), self._account.grace_s)
            except ProviderError as error:
                failure = error.with_traceback(None)  # it would keep the response
            if not failure.retryable or (attempt and failure.code == "malformed"):
                break
            if attempt < TRIES - 1:
                await asyncio.sleep(PAUSE_S * 2**attempt)
        raise OutsideFault(
            f"No response from {self._config.base_url}/{self.path}. {failure.message}",
            hint="Run the same command again once the server works. Finished calls are not paid for twice.",
        )


class ServerEncoder(RetrievalServer[EncoderServer]):
    """Dense vectors of a server with `/embeddings`; rows have length 1."""

    path = "embeddings"

    async def encode_chunks(self, texts: Texts) -> Floats32:
        return await self._encode([self._config.prefixes[1] + text for text in texts], 0)

    async def encode_questions(self, texts: Texts, repeat: int = 0) -> Floats32:
        return await self._encode([self._config.prefixes[0] + text for text in texts], repeat)

    async def _encode(self, texts: Texts, repeat: int) -> Floats32:
        vectors = await self.answers(
            [texts[first : first + BATCH] for first in range(0, len(texts), BATCH)],
            repeat,
            lambda batch: {"model": self._config.model, "input": list(batch)},
            _vectors,
        )
        rows = [np.frombuffer(base64.b64decode(vectors[text]), "<f4") for text in texts]
        if len({len(row) for row in rows}) != 1:
            raise self.odd_answer("vectors of different dimensions")
        matrix = np.stack(rows).astype(np.float32)
        return np.asarray(matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12))


class ServerReranker(RetrievalServer[RerankServer]):
    """Scores of a server with `/rerank`."""

    path = "rerank"

    async def score(self, question: str, texts: Texts, repeat: int = 0) -> list[float]:
        asked = {"model": self._config.model, "query": question}
        scores = await self.answers(
            [texts], repeat, lambda batch: {**asked, "documents": list(batch), "top_n": len(batch)}, _scores
        )
        return [float(scores[text]) for text in texts]


async def _finished(call: Coroutine[Any, Any, Result], grace_s: float) -> Result:
    """Return what `call` returns; where this task is cancelled, let it end and be stored: it may be billed already."""
    task = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await drain([task], grace_s)
        task.cancel()
        raise


def _vectors(answer: Any, n: int) -> list[str]:
    rows = [row["embedding"] for row in sorted(answer["data"], key=lambda row: row["index"])]
    matrix = np.asarray(rows, "<f4")
    if matrix.ndim != 2 or len(matrix) != n:
        raise ValueError(f"{count(len(rows), 'vector')} for {count(n, 'text')}")
    if not np.isfinite(matrix).all():
        raise ValueError("vectors with NaN or infinite values")
    return [base64.b64encode(row.tobytes()).decode() for row in matrix]


def _scores(answer: Any, n: int) -> list[str]:
    scores = {row["index"]: float(row["relevance_score"]) for row in answer["results"]}
    if not np.isfinite(list(scores.values())).all():
        raise ValueError("scores with NaN or infinite values")
    return [repr(scores[place]) for place in range(n)]
