"""A table of chunks on disk (LanceDB, embedded): words (BM25) and dense vectors, each searched apart.

Invariant: an index is either complete or not there; its folder is named by all that it was made of.
"""

import asyncio
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from tuneworthy.arrays import Floats32, Ints
from tuneworthy.errors import UserError
from tuneworthy.retrieval.chunking import Chunk
from tuneworthy.retrieval.documents import SET_PATH
from tuneworthy.retrieval.encoder import VectorEncoder
from tuneworthy.retrieval.servers import ServerEncoder
from tuneworthy.store import write_atomic

TABLE = "chunks"
ABOUT = "about.json"
# Chunks that are encoded and written at once.
# What turns chunks and questions into vectors.
ChunkEncoder = VectorEncoder | ServerEncoder
BLOCK = 1024
# Chunks that tell how common a word is.
SAMPLE = 5000


def lancedb_missing() -> str:
    """Return why no index can be made, and the command that helps; "" if LanceDB is installed."""
    return (
        ""
        if find_spec("lancedb")
        else 'The search index needs the package LanceDB. Run `pip install "tuneworthy[rag]"`.'
    )


@dataclass(frozen=True, slots=True)
class RankedChunks:
    """Chunks of one list with their scores, best first.

    Attributes:
        chunks: Their numbers.
        scores: Higher is better.
    """

    chunks: Ints
    scores: Floats32


class ChunkIndex:
    """An opened table; make one with `open_index`.

    Args:
        folder: Where it lies.
    """

    def __init__(self, folder: Path) -> None:
        import lancedb

        self.table = lancedb.connect(folder).open_table(TABLE)

    def __len__(self) -> int:
        return int(self.table.count_rows())

    def search_words(self, question: str, n: int) -> RankedChunks:
        from lancedb.query import MatchQuery

        if not any(character.isalnum() for character in question):
            return RankedChunks(np.empty(0, np.int64), np.empty(0, np.float32))
        query = self.table.search(MatchQuery(question, "text"), query_type="fts").select(["number", "_score"])
        return _ranked(query.limit(n).to_arrow(), "_score", 1.0)

    def search_vectors(self, vector: Floats32, n: int) -> RankedChunks:
        """Return the `n` chunks whose vectors are nearest to `vector` (width,), searched exhaustively."""
        query = self.table.search(vector, vector_column_name="vector").distance_type("dot").bypass_vector_index()
        return _ranked(query.select(["number", "_distance"]).limit(n).to_arrow(), "_distance", -1.0)

    def chunks(self, numbers: Sequence[int]) -> dict[int, Chunk]:
        wanted = sorted(set(numbers))
        if not wanted:
            return {}
        query = self.table.search().where(f"number IN ({', '.join(map(str, wanted))})")
        rows = query.select(["number", "document", "heading", "body"]).limit(len(wanted)).to_arrow().to_pylist()
        return {row["number"]: Chunk(row["document"], row["heading"], row["body"]) for row in rows}

    def sample(self) -> list[str]:
        """Return the searched text of the first `SAMPLE` chunks."""
        rows = self.table.search().select(["number", "text"]).limit(SAMPLE).to_arrow()
        return [str(text) for text in rows["text"].to_pylist()]


async def open_index(
    folder: Path, chunks: Iterator[Chunk], encoder: ChunkEncoder | None, *, language: str = "English"
) -> ChunkIndex:
    """Open the index in `folder`; build it first if it is not there.

    Args:
        folder: Named by all that the index is made of.
        chunks: Read only if it is to be built.
        encoder: Of the dense vectors; None for words only.
        language: Of stemming and stop words.

    Raises:
        UserError: LanceDB is not installed, or the documents have no text.
    """
    if missing := lancedb_missing():
        raise UserError(missing)
    if not (folder / ABOUT).exists():
        await _build(folder, chunks, encoder, language)
    return ChunkIndex(folder)


async def _build(folder: Path, chunks: Iterator[Chunk], encoder: ChunkEncoder | None, language: str) -> None:
    import lancedb
    from lancedb.index import FTS

    shutil.rmtree(folder, ignore_errors=True)  # of a build that was cut short
    folder.mkdir(parents=True)
    database, table, n_chunks = lancedb.connect(folder), None, 0
    while block := list(islice(chunks, BLOCK)):
        rows = await _rows(block, n_chunks, encoder)
        if table is None:
            table = database.create_table(TABLE, rows)
        else:
            table.add(rows)
        n_chunks += len(block)
        await asyncio.sleep(0)  # a local encoder gives way to others, and to Ctrl-C
    if table is None:
        raise UserError("The documents contain no text.", hint=SET_PATH)
    table.create_index(
        "text",
        config=FTS(language=language, stem=True, remove_stop_words=True, ascii_folding=True, with_position=False),
    )
    table.optimize()
    write_atomic(folder / ABOUT, orjson.dumps({"n_chunks": n_chunks, "language": language}))


async def _rows(block: Sequence[Chunk], first: int, encoder: ChunkEncoder | None) -> Any:
    import pyarrow as pa

    texts = [chunk.indexed for chunk in block]
    columns = {
        "number": pa.array(range(first, first + len(block)), pa.int64()),
        "document": [chunk.document for chunk in block],
        "heading": [chunk.heading for chunk in block],
        "body": [chunk.text for chunk in block],
        "text": texts,
    }
    if encoder is not None:
        vectors = np.ascontiguousarray(await encoder.encode_chunks(texts), np.float32)  # (n, width)
        columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    return pa.table(columns)


def _ranked(rows: Any, score: str, sign: float) -> RankedChunks:
    """Return hits with the best first; ties keep the order of the documents, so that a list is always the same."""
    numbers = rows["number"].to_numpy().astype(np.int64)
    scores = sign * rows[score].to_numpy().astype(np.float32)
    order = np.lexsort((numbers, -scores))
    return RankedChunks(numbers[order], scores[order])
