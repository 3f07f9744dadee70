"""Dense vectors of an embedding model in a GGUF file: the embedded llama.cpp in a child process of its own.

A text that is longer than the context is halved until the model takes its head.
"""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from tuneworthy.config.retrieval import LlamaCppEncoder
from tuneworthy.errors import ModelError, OutsideFault
from tuneworthy.providers.gguf import read_header
from tuneworthy.providers.llama_cpp import Engine, cores
from tuneworthy.providers.models import check_pinned, find, pull

BATCH = 32
TIMEOUT_S = 600.0
SLOTS = 1
_TOO_LONG = re.compile("exceed|too large|larger than")


def llama_missing() -> str:
    """Return why nothing can be encoded; "" if xllamacpp is installed."""
    return "" if _version() else "expected the package xllamacpp, got none: pip install 'tuneworthy[local]'"


def llama_identity(config: LlamaCppEncoder, root: Path) -> Mapping[str, Any]:
    """Return what determines the vectors; the hash of a file that is not here yet is "".

    Raises:
        ModelError: The file is none that llama.cpp could load.
    """
    path = find(config.model, root)
    return {
        **config.model_dump(include={"type", "model", "pooling", "query_prefix", "document_prefix", "context"}),
        "sha256": check_pinned(config.model, path) if path else "",
        "engine": f"xllamacpp {_version()}",
    }


class LlamaEncoder:
    """Encodes through a child process, which is started now and ends with `close` or with this process.

    Args:
        config: The model.
        root: The project folder.
        log: File that native code prints to.

    Raises:
        ModelError: The model is not there, or does not load.
    """

    def __init__(self, config: LlamaCppEncoder, root: Path, log: Path) -> None:
        if missing := llama_missing():
            raise ModelError(missing)
        path = pull(config.model, root)
        if path.is_dir():
            raise ModelError(f"expected a GGUF file for retrieval.encoder, got the folder {path}",
                             hint="name a GGUF file")  # fmt: skip
        context = min(config.context, read_header(path).context_length or config.context)
        self._config = config
        self._engine = Engine(
            {
                "path": str(path.resolve()), "alias": config.model, "parent": 0, "api_key": "", "slots": SLOTS,
                "context": context, "threads": config.threads or cores(), "cache_mib": 0,
                "cache_prompt": False, "slot_folder": "", "embeds": True, "pooling": config.pooling,
            },
            log,
        )  # fmt: skip
        self._engine.start_blocking()

    def encode(self, texts: Sequence[str], *, steady: bool = True) -> NDArray[np.float32]:
        """Return (n, width) rows of length 1, of chunks."""
        return self._encode([self._config.document_prefix + text for text in texts])

    def encode_questions(self, texts: Sequence[str], repeat: int = 0) -> NDArray[np.float32]:
        """Return (n, width) rows of length 1, of questions."""
        return self._encode([self._config.query_prefix + text for text in texts])

    def close(self) -> None:
        """End the child."""
        self._engine.close()

    def _encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        found = np.concatenate([self._batch(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)])
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12))

    def _batch(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (n, width); texts of a batch that is refused are sent alone, and halved until they are taken."""
        try:
            return self._post(texts)
        except urllib.error.HTTPError as error:
            words = error.read(300).decode("utf-8", "replace")
            error.close()
            if len(texts) > 1:
                return np.concatenate([self._batch([text]) for text in texts])
            if len(texts[0]) > 1 and _TOO_LONG.search(words):
                return self._batch([texts[0][: len(texts[0]) // 2]])
            raise ModelError(f"{self._config.model}: expected a vector of llama.cpp, got {words}",
                             hint="name an embedding model, or set `pooling`") from None  # fmt: skip
        except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
            raise OutsideFault(f"{self._config.model}: expected vectors of llama.cpp, got {error!r:.80}",
                               hint=f"see {self._engine.log}") from None  # fmt: skip

    def _post(self, texts: Sequence[str]) -> NDArray[np.float32]:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._engine.api_key}"}
        content = orjson.dumps({"model": self._config.model, "input": list(texts)})
        request = urllib.request.Request(f"{self._engine.address}/v1/embeddings", content, headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            rows = sorted(orjson.loads(answer.read())["data"], key=lambda row: row["index"])
        found = np.asarray([row["embedding"] for row in rows], np.float32)
        if found.ndim != 2 or len(found) != len(texts) or not np.isfinite(found).all():
            raise ValueError(f"{len(rows)} vectors for {len(texts)} texts, or odd ones")
        return found


def _version() -> str:
    try:
        return version("xllamacpp")
    except PackageNotFoundError:
        return ""
