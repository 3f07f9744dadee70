"""Encoders and rerankers behind HTTP: any `/v1/embeddings`, any `/rerank`. They get the texts; nothing else does.

A fault is retried three times and then ends the search: half an index is none.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from tuneworthy.config.retrieval import EncoderServer, RerankServer
from tuneworthy.errors import OutsideFault
from tuneworthy.providers.keys import read_key

BATCH = 64
TRIES = 3
MOST_BYTES = 256 * 2**20


class ServerEncoder:
    """Dense vectors of a server with `/embeddings`.

    Args:
        config: Its address.
    """

    def __init__(self, config: EncoderServer) -> None:
        self._config = config

    def encode(self, texts: Sequence[str], *, steady: bool = True) -> NDArray[np.float32]:
        """Return (n, width) rows of length 1, of chunks."""
        return self._encode([self._config.document_prefix + text for text in texts])

    def encode_questions(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (n, width) rows of length 1, of questions."""
        return self._encode([self._config.query_prefix + text for text in texts])

    def _encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows: list[Any] = []
        for first in range(0, len(texts), BATCH):
            batch = list(texts[first : first + BATCH])
            answer = _post(self._config, "embeddings", {"model": self._config.model, "input": batch})
            try:
                given = sorted(answer["data"], key=lambda row: row["index"])
                vectors = [row["embedding"] for row in given]
                if len(vectors) != len(batch):
                    raise ValueError(f"{len(vectors)} vectors for {len(batch)} texts")
                rows.append(np.asarray(vectors, np.float32))
            except (KeyError, TypeError, ValueError) as error:
                raise _odd(self._config, "embeddings", error) from None
        found: NDArray[np.float32] = np.concatenate(rows)
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12))


class ServerReranker:
    """Scores of a server with `/rerank`.

    Args:
        config: Its address.
    """

    def __init__(self, config: RerankServer) -> None:
        self._config = config

    def score(self, question: str, texts: Sequence[str]) -> list[float]:
        """Return how well each text answers `question`."""
        content = {"model": self._config.model, "query": question, "documents": list(texts), "top_n": len(texts)}
        answer = _post(self._config, "rerank", content)
        try:
            scores = {row["index"]: float(row["relevance_score"]) for row in answer["results"]}
            return [scores[number] for number in range(len(texts))]
        except (KeyError, TypeError, ValueError) as error:
            raise _odd(self._config, "rerank", error) from None


def _post(config: EncoderServer | RerankServer, path: str, content: Any) -> Any:
    """Send JSON and return the JSON that comes back; redirects are not followed, and the key is in no message.

    Raises:
        OutsideFault: There was no answer that can be read.
    """
    key = read_key(config.api_key_env, owner="retrieval")
    url = f"{config.base_url.rstrip('/')}/{path}"
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key.reveal()}"} if key else {})
    request = urllib.request.Request(url, orjson.dumps(content), headers)
    opener = urllib.request.build_opener(_NoRedirect)
    for attempt in range(TRIES):
        try:
            with opener.open(request, timeout=config.timeout_s) as answer:
                return orjson.loads(answer.read(MOST_BYTES))
        except (OSError, orjson.JSONDecodeError) as error:
            passing = True
            if isinstance(error, urllib.error.HTTPError):
                passing = error.code in {408, 429} or error.code >= 500
                error.close()
            if not passing or attempt == TRIES - 1:
                words = key.redact(str(error))
                raise OutsideFault(f"{config.base_url}: expected an answer of /{path}, got {words}",
                                   hint="run the same command again when it works") from None  # fmt: skip
            time.sleep(0.5 * 2**attempt)
    raise AssertionError("unreachable")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none: a key must not travel to another host."""


def _odd(config: EncoderServer | RerankServer, path: str, error: Exception) -> OutsideFault:
    return OutsideFault(f"{config.base_url}: expected the answer of /{path}, got another ({error!r:.80})",
                        hint="see that base_url and model name such a server")  # fmt: skip
