"""A table of chunks on disk (LanceDB, embedded): words (BM25) and dense vectors, each searched apart.

Invariant: an index is either whole or not there; its folder is named by all that it was made of.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from tuneworthy.errors import UserError
from tuneworthy.retrieval.chunking import Chunk
from tuneworthy.store import write_atomic

TABLE = "chunks"
ABOUT = "about.json"
BLOCK = 1024
"""Chunks that are encoded and written at once."""
SAMPLE = 5000
"""Chunks that tell how common a word is."""
INSTALL = "pip install 'tuneworthy[rag]'"


class Encoder(Protocol):
    """Turns texts into rows of length 1."""

    def encode(self, texts: Sequence[str], *, steady: bool = True) -> NDArray[np.float32]:
        """Return (n, width)."""
        ...


Hits = NDArray[np.int64]
"""Numbers of chunks, best first."""


def lancedb_missing() -> str:
    """Return why no index can be made, with the line that mends it; "" if LanceDB is installed."""
    from importlib.util import find_spec

    return "" if find_spec("lancedb") else f"expected LanceDB for the search index, got none: {INSTALL}"


@dataclass(frozen=True, slots=True)
class Found:
    """Chunks of one list with their scores, best first."""

    chunks: Hits
    scores: NDArray[np.float32]


class Index:
    """An opened table; make one with `open_index`.

    Args:
        folder: Where it lies.
    """

    def __init__(self, folder: Path) -> None:
        import lancedb

        self.about: dict[str, Any] = orjson.loads((folder / ABOUT).read_bytes())
        self._table = lancedb.connect(folder).open_table(TABLE)

    def __len__(self) -> int:
        return int(self.about["n_chunks"])

    def words(self, question: str, n: int) -> Found:
        """Return the `n` chunks that share the most telling words with `question` (BM25)."""
        from lancedb.query import MatchQuery

        if not any(character.isalnum() for character in question):
            return Found(np.empty(0, np.int64), np.empty(0, np.float32))
        found = self._table.search(MatchQuery(question, "text"), query_type="fts").select(["number", "_score"])
        return _ranked(found.limit(n).to_arrow(), "_score", 1.0)

    def vectors(self, vector: NDArray[np.float32], n: int) -> Found:
        """Return the `n` chunks whose vectors are nearest to `vector` (width,); all are looked at."""
        found = self._table.search(vector, vector_column_name="vector").distance_type("dot").bypass_vector_index()
        return _ranked(found.select(["number", "_distance"]).limit(n).to_arrow(), "_distance", -1.0)

    def hybrid(self, question: str, vector: NDArray[np.float32], n: int) -> Hits:
        """Return LanceDB's own fusion of both: what ours is compared with."""
        found = self._table.search(query_type="hybrid", fts_columns="text").vector(vector).text(question)
        rows = found.distance_type("dot").limit(n).to_arrow()
        return np.asarray(rows["number"].to_numpy(), np.int64)

    def chunks(self, numbers: Sequence[int]) -> dict[int, Chunk]:
        """Return chunks by their numbers."""
        wanted = sorted(set(numbers))
        if not wanted:
            return {}
        rows = self._table.search().where(f"number IN ({', '.join(map(str, wanted))})")
        found = rows.select(["number", "document", "heading", "body"]).limit(len(wanted)).to_arrow().to_pylist()
        return {row["number"]: Chunk(row["document"], row["heading"], row["body"]) for row in found}

    def sample(self) -> list[str]:
        """Return what is searched of the first `SAMPLE` chunks."""
        rows = self._table.search().select(["number", "text"]).limit(SAMPLE).to_arrow()
        return [str(text) for text in rows["text"].to_pylist()]


def open_index(folder: Path, chunks: Iterator[Chunk], encoder: Encoder | None, *, language: str = "English") -> Index:
    """Open the index in `folder`; build it first if it is not there.

    Args:
        folder: Named by all that the index is made of.
        chunks: Taken only if it is to be built.
        encoder: Of the dense vectors; None for words alone.
        language: Of stemming and stop words.

    Raises:
        UserError: LanceDB is not installed, or there is nothing to search.
    """
    if missing := lancedb_missing():
        raise UserError(missing, hint="")
    if not (folder / ABOUT).exists():
        _build(folder, chunks, encoder, language)
    return Index(folder)


def _build(folder: Path, chunks: Iterator[Chunk], encoder: Encoder | None, language: str) -> None:
    import lancedb
    from lancedb.index import FTS

    shutil.rmtree(folder, ignore_errors=True)  # of a build that was cut short
    folder.mkdir(parents=True)
    database, table, n_chunks = lancedb.connect(folder), None, 0
    for block in _blocks(chunks):
        rows = _rows(block, n_chunks, encoder)
        if table is None:
            table = database.create_table(TABLE, rows)
        else:
            table.add(rows)
        n_chunks += len(block)
    if table is None:
        raise UserError("expected documents that say something, got none", hint="see [documents] path")
    config = FTS(language=language, stem=True, remove_stop_words=True, ascii_folding=True, with_position=False)
    table.create_index("text", config=config)
    table.optimize()
    write_atomic(folder / ABOUT, orjson.dumps({"n_chunks": n_chunks, "language": language}))


def _rows(block: Sequence[Chunk], first: int, encoder: Encoder | None) -> Any:
    import pyarrow as pa

    texts = [chunk.indexed for chunk in block]
    columns: dict[str, Any] = {
        "number": pa.array(range(first, first + len(block)), pa.int64()),
        "document": [chunk.document for chunk in block],
        "heading": [chunk.heading for chunk in block],
        "body": [chunk.text for chunk in block],
        "text": texts,
    }
    if encoder is not None:
        vectors = np.ascontiguousarray(encoder.encode(texts, steady=False), np.float32)  # (n, width)
        columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    return pa.table(columns)


def _blocks(chunks: Iterator[Chunk]) -> Iterator[list[Chunk]]:
    block: list[Chunk] = []
    for chunk in chunks:
        block.append(chunk)
        if len(block) == BLOCK:
            yield block
            block = []
    if block:
        yield block


def _ranked(rows: Any, score: str, sign: float) -> Found:
    """Return hits with the best first; equals keep the order of the documents, so that a list never wavers."""
    numbers = rows["number"].to_numpy().astype(np.int64)
    scores = sign * rows[score].to_numpy().astype(np.float32)
    order = np.lexsort((numbers, -scores))
    return Found(numbers[order], scores[order])
