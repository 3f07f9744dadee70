"""Encoders and rerankers behind HTTP: any `/v1/embeddings`, any `/rerank`. They get the texts; nothing else does.

A fault is tried again twice and then ends the search: half an index is none, and what was answered is kept.
"""

from __future__ import annotations

import base64
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from tuneworthy.config.retrieval import EncoderServer, RerankServer
from tuneworthy.errors import OutsideFault
from tuneworthy.providers.keys import read_key
from tuneworthy.retrieval.account import Account, Call
from tuneworthy.store.responses import response_key
from tuneworthy.types import canonical

BATCH = 64
TRIES = 3
MOST_BYTES = 256 * 2**20


class ServerEncoder:
    """Dense vectors of a server with `/embeddings`.

    Args:
        config: Its address.
        account: Pays, and keeps the vectors.
    """

    def __init__(self, config: EncoderServer, account: Account) -> None:
        self._config = config
        self._server = _Server(config, "embeddings", account)

    def encode(self, texts: Sequence[str], *, steady: bool = True) -> NDArray[np.float32]:
        """Return (n, width) rows of length 1, of chunks."""
        return self._encode([self._config.document_prefix + text for text in texts], 0)

    def encode_questions(self, texts: Sequence[str], repeat: int = 0) -> NDArray[np.float32]:
        """Return (n, width) rows of length 1, of questions; another repeat is asked for anew."""
        return self._encode([self._config.query_prefix + text for text in texts], repeat)

    def _encode(self, texts: Sequence[str], repeat: int) -> NDArray[np.float32]:
        kept: dict[str, str] = {}
        for first in range(0, len(texts), BATCH):
            batch = list(dict.fromkeys(texts[first : first + BATCH]))
            kept |= self._server.answers(batch, repeat, self._content, _vectors)
        rows = [np.frombuffer(base64.b64decode(kept[text]), "<f4") for text in texts]
        if len({len(row) for row in rows}) != 1:
            raise _odd(self._config, "embeddings", ValueError("vectors of several widths"))
        found: NDArray[np.float32] = np.stack(rows).astype(np.float32)
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12))

    def _content(self, texts: Sequence[str]) -> dict[str, Any]:
        return {"model": self._config.model, "input": list(texts)}


class ServerReranker:
    """Scores of a server with `/rerank`.

    Args:
        config: Its address.
        account: Pays, and keeps the scores.
    """

    def __init__(self, config: RerankServer, account: Account) -> None:
        self._config = config
        self._server = _Server(config, "rerank", account)

    def score(self, question: str, texts: Sequence[str], repeat: int = 0) -> list[float]:
        """Return how well each text answers `question`; another repeat is asked for anew."""

        def content(new: Sequence[str]) -> dict[str, Any]:
            return {"model": self._config.model, "query": question, "documents": list(new), "top_n": len(new)}

        kept = self._server.answers(list(dict.fromkeys(texts)), repeat, content, _scores)
        return [float(kept[text]) for text in texts]


class _Server:
    """Asks for what is not kept yet.

    Args:
        config: The server. path: What is posted to. account: Pays, and keeps what comes.
    """

    def __init__(self, config: EncoderServer | RerankServer, path: str, account: Account) -> None:
        self._config, self._path, self._account = config, path, account
        self._identity = canonical({"base_url": config.base_url, "path": path})

    def answers(self, texts: Sequence[str], repeat: int, content: Any, read: Any) -> dict[str, str]:
        """Return the answer about each of `texts`, each once.

        Args:
            texts: What is asked about. repeat: Another one is asked for anew.
            content: Returns what is sent for some of the texts.
            read: Returns the answers in their order, given what came and how many are expected.

        Raises:
            BudgetSpent: A call could exceed the budget.
            UserError: Nobody knows what the server costs.
            OutsideFault: There was no answer, or none that can be read.
        """
        keys = {text: response_key(self._identity, content([text]), repeat) for text in texts}
        kept = self._account.kept(list(keys.values()))
        if missing := [text for text in texts if keys[text] not in kept]:
            kept |= self._ask([keys[text] for text in missing], content(missing), read)
        return {text: kept[key] for text, key in keys.items()}

    def _ask(self, keys: Sequence[bytes], content: Mapping[str, Any], read: Any) -> dict[bytes, str]:
        ceiling = self._config.ceiling_usd(content.get("query", ""), content.get("documents") or content["input"])
        for attempt in range(TRIES):
            with self._account.call(keys[0], ceiling) as call:
                started = time.perf_counter()
                answer = self._post(content, call, last=attempt == TRIES - 1)
                if answer is not None:
                    try:
                        found = dict(zip(keys, read(answer, len(keys)), strict=True))
                    except (KeyError, TypeError, ValueError, AttributeError) as error:
                        raise _odd(self._config, self._path, error) from None
                    cost = self._config.cost_usd(_tokens(answer), ceiling)
                    call.answered(found, cost, time.perf_counter() - started)
                    return found
            time.sleep(0.5 * 2**attempt)
        raise AssertionError("unreachable")

    def _post(self, content: Mapping[str, Any], call: Call, *, last: bool) -> Any:
        """Send JSON and return the JSON that comes back, None if another attempt is worth it.

        Redirects are not followed, and the key is in no message.
        """
        config = self._config
        try:
            key = read_key(config.api_key_env, owner="retrieval")
        except BaseException:
            call.refused()
            raise
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key.reveal()}"} if key else {})
        url = f"{config.base_url.rstrip('/')}/{self._path}"
        request = urllib.request.Request(url, orjson.dumps(content), headers)
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=config.timeout_s) as answer:
                return orjson.loads(answer.read(MOST_BYTES))
        except (OSError, HTTPException, ValueError) as error:
            passing = True
            if isinstance(error, urllib.error.HTTPError):
                passing = error.code in {408, 429} or error.code >= 500
                call.refused()
                error.close()
            if passing and not last:
                return None
            words = key.redact(str(error))
            raise OutsideFault(
                f"{config.base_url}: expected an answer of /{self._path}, got {words}",
                hint="run the same command again when it works; what was answered is kept",
            ) from None


def _vectors(answer: Any, n: int) -> list[str]:
    """Return `n` vectors as base64 of their float32."""
    rows = [row["embedding"] for row in sorted(answer["data"], key=lambda row: row["index"])]
    found = np.asarray(rows, "<f4")
    if found.ndim != 2 or len(found) != n or not np.isfinite(found).all():
        raise ValueError(f"{len(rows)} vectors for {n} texts, or odd ones")
    return [base64.b64encode(row.tobytes()).decode() for row in found]


def _scores(answer: Any, n: int) -> list[str]:
    scores = {row["index"]: float(row["relevance_score"]) for row in answer["results"]}
    if not np.isfinite(list(scores.values())).all():
        raise ValueError("a score that is no number")
    return [repr(scores[place]) for place in range(n)]


def _tokens(answer: Any) -> int | None:
    """Return the tokens that the server says it billed; None if it does not tell."""
    usage = answer.get("usage") if isinstance(answer, dict) else None
    found = usage.get("total_tokens", usage.get("prompt_tokens")) if isinstance(usage, dict) else None
    return found if isinstance(found, int) and found >= 0 else None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none: a key must not travel to another host."""


def _odd(config: EncoderServer | RerankServer, path: str, error: Exception) -> OutsideFault:
    return OutsideFault(f"{config.base_url}: expected the answer of /{path}, got another ({error!r:.80})",
                        hint="see that base_url and model name such a server")  # fmt: skip
