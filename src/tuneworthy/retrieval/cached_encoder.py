"""Vectors of texts, encoded once: a file next to the project's other answers, so that a killed run goes on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128_digest

from tuneworthy.retrieval.encoder import Encoder

# Texts that are encoded at a time; what was encoded before the process died stays.
CHUNK: Final = 2048


class CachedEncoder:
    """An encoder that sends another one only the texts that are not in its file.

    Args:
        encoder: Encodes the others; its vector of a text must not depend on the texts next to it.
        path: The file; one for each encoder.
    """

    def __init__(self, encoder: Encoder, path: Path) -> None:
        self.encoder, self.path = encoder, path
        self._record = np.dtype([("key", "V16"), ("vector", "<f4", encoder.encode([""]).shape[1])])
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.truncate(file.tell() // self._record.itemsize * self._record.itemsize)
        self._places = {key.tobytes(): place for place, key in enumerate(np.array(self._records()["key"]))}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, ``(n_texts, dim)``."""
        keys = [xxh3_128_digest(text.encode("utf-8", "surrogatepass")) for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._places}
        missing = list(new)
        for first in range(0, len(missing), CHUNK):
            block = missing[first : first + CHUNK]
            records = np.empty(len(block), self._record)
            records["vector"] = self.encoder.encode([new[key] for key in block])
            records["key"] = np.frombuffer(b"".join(block), "V16")
            with self.path.open("ab") as file:
                file.write(records.tobytes())
            for key in block:
                self._places[key] = len(self._places)
        places = [self._places[key] for key in keys]
        vectors: NDArray[np.float32] = np.array(self._records()["vector"][places], np.float32)
        return vectors

    def _records(self) -> NDArray[np.void]:
        if not self.path.stat().st_size:
            return np.empty(0, self._record)
        return np.memmap(self.path, self._record, mode="r")
