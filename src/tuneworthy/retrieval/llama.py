"""Dense vectors of an embedding model in a GGUF file: the embedded llama.cpp in a child process of its own.

A text that is longer than the context is halved until the model takes its head.
"""

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneworthy.config.retrieval import LlamaCppEncoder
from tuneworthy.errors import ModelError, OutsideFault, ProviderError
from tuneworthy.providers.gguf import read_header
from tuneworthy.providers.http_client import HttpClient
from tuneworthy.providers.keys import Key
from tuneworthy.providers.llama_child import EngineSettings
from tuneworthy.providers.llama_cpp import Engine, cores
from tuneworthy.providers.models import check_pinned, find, pull
from tuneworthy.retrieval import messages
from tuneworthy.retrieval.servers import read_vectors

BATCH = 32
TIMEOUT_S = 600.0
# Tokens of a text that are read, at most.
MAX_CONTEXT = 2048
SLOTS = 1
_TOO_LONG = re.compile("exceed|too large|larger than")


def llama_cpp_version() -> str:
    """Return the version of xllamacpp; "" if it is not installed."""
    try:
        return version("xllamacpp")
    except PackageNotFoundError:
        return ""


def llama_identity(config: LlamaCppEncoder, root: Path) -> Mapping[str, Any]:
    """Return what determines the vectors; the hash of a file that is not here yet is "".

    Raises:
        ModelError: llama.cpp cannot load the file.
    """
    path = find(config.model, root)
    return {
        **config.model_dump(include={"type", "model", "pooling", "query_prefix", "document_prefix"}),
        "sha256": check_pinned(config.model, path) if path else "",
        "engine": f"xllamacpp {llama_cpp_version()}",
    }


class LlamaEncoder:
    """Encodes through a child process, which starts with the first text and ends with `close` or with this process.

    Args:
        config: The model.
        root: The project folder.
        log: File that native code prints to.

    Raises:
        ModelError: The model is not there, or llama.cpp cannot load it.
    """

    def __init__(self, config: LlamaCppEncoder, root: Path, log: Path) -> None:
        if not llama_cpp_version():
            raise ModelError("The package xllamacpp is not installed.", hint=messages.say("install", extra="local"))
        path = pull(config.model, root)
        if path.is_dir():
            raise ModelError(
                f"retrieval.encoder needs a GGUF file, but {path} is a folder.",
                hint="Set model in [retrieval.encoder] to a GGUF file.",
            )
        context = min(MAX_CONTEXT, read_header(path).context_length or MAX_CONTEXT)
        self._config, self._log = config, log
        self._settings = EngineSettings(
            path=str(path.resolve()), alias=config.model, slots=SLOTS, context=context,
            threads=cores(), cache_prompt=False, embeds=True, pooling=config.pooling,
        )  # fmt: skip
        self._engine: Engine | None = None

    async def encode_chunks(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (n, width) rows of length 1."""
        return await self._encode([self._config.document_prefix + text for text in texts])

    async def encode_questions(self, texts: Sequence[str], repeat: int = 0) -> NDArray[np.float32]:
        """Return (n, width) rows of length 1."""
        return await self._encode([self._config.query_prefix + text for text in texts])

    def close(self) -> None:
        """End the child."""
        if self._engine is not None:
            self._engine.close()

    async def _encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self._engine is None or not self._engine.alive:
            self._engine = Engine(self._settings, self._log)
            await self._engine.start()
        async with HttpClient(self._engine.address, key=Key(self._engine.api_key), timeout_s=TIMEOUT_S) as client:
            batches = [await self._batch(client, texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)]
        matrix = np.concatenate(batches)
        return np.asarray(matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12))

    async def _batch(self, client: HttpClient, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (n, width); texts of a refused batch are sent singly, and halved until they are taken."""
        content = {"model": self._config.model, "input": list(texts)}
        try:
            answer = await client.send("POST", "v1/embeddings", content)
            if answer.accepted:
                return read_vectors(client.read(answer), len(texts))
        except (ProviderError, ValueError, KeyError, TypeError) as error:
            message = f"{self._config.model}: llama.cpp returns no vectors ({str(error)[:80]})."
            raise OutsideFault(message, hint=f"See the log {self._log}.") from None
        if len(texts) > 1:
            return np.concatenate([await self._batch(client, [text]) for text in texts])
        reason = client.excerpt(answer.body, 300)
        if len(texts[0]) > 1 and _TOO_LONG.search(reason):
            return await self._batch(client, [texts[0][: len(texts[0]) // 2]])
        message = f"{self._config.model} returns no vector: {reason}"
        raise ModelError(message, hint="Set model in [retrieval.encoder] to an embedding model, or set pooling there.")
