"""[models.NAME]: the language models, and the user's own pipelines, that variants run on."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, SerializeAsAny, model_validator

from tuneworthy.config.base import Address, Count, FunctionSection, KeyedServer, NonNegative, Timed
from tuneworthy.config.strangers import tagged_section
from tuneworthy.registry import Registry
from tuneworthy.trust import LOOPBACK
from tuneworthy.types import JsonMapping, TextPair, TextTuple

# Types that a GGUF file of 16 or 8 bits a weight is quantised to, the most bits first.
QUANTISED = ("q8_0", "q5_0", "q4_0")


def form_of(spec: str) -> TextPair:
    """Return the type and the source of a quantised form, `q8_0:SPEC`; an empty type for any other model."""
    kind, _, source = spec.partition(":")
    return ("", spec) if kind not in QUANTISED or source.partition(":")[0] in {*QUANTISED, ""} else (kind, source)


class ModelSection(Timed):
    """Keys of every model, and the properties that its provider declares; the base of an installed provider's section.

    Attributes:
        protocol: Provider whose rows of the capability table apply; "" for the provider's own rows.
        vendor_hosts: Host patterns of the vendor's own API, where the price table applies.
        own_pipeline: Whether it is the user's own pipeline, which sets its own prompt and parameters.
        repeatable: Whether equal requests get equal answers.
        ranks_labels: Whether it can rank labels and score plain texts by their log-probability.
        user_served: Whether it runs on the user's own server or machine unless it is hosted.
        defaults: Values of keys that the provider sets otherwise than this class.
        default_key: Environment variable of the vendor's own API key.
    """

    protocol: ClassVar[str] = ""
    vendor_hosts: ClassVar[tuple[str, ...]] = ()
    own_pipeline: ClassVar[bool] = False
    repeatable: ClassVar[bool] = False
    ranks_labels: ClassVar[bool] = False
    user_served: ClassVar[bool] = False
    defaults: ClassVar[JsonMapping] = {}
    default_key: ClassVar[str | None] = None

    provider: str
    """Provider that answers."""
    retries: int = Field(default=6, ge=0, lt=2**31)
    """Further attempts after a failure that may pass."""
    concurrency: Count = 64
    """Maximum number of calls in flight to one server, lowered when it refuses more; 8 for `llama_cpp` and `python`."""
    input_usd_per_mtok: NonNegative | None = None
    """Price of a million input tokens; the built-in price table if not set."""
    output_usd_per_mtok: NonNegative | None = None
    """Price of a million output tokens; the built-in price table if not set."""

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {**cls.defaults, **({"base_url": ""} if data.get("endpoints") else {}), **data}

    @property
    def addresses(self) -> TextTuple:
        """Addresses of the servers that answer, each with `concurrency` calls in flight; empty without a server."""
        return ()

    @property
    def calls_in_flight(self) -> int:
        """Maximum number of calls in flight, over all servers."""
        return self.concurrency * max(1, len(self.addresses))

    @property
    def hosted(self) -> bool:
        """Whether the data leaves this machine; a hosted model needs a price."""
        return False

    @property
    def local_file(self) -> str | None:
        """Spec of the model file that runs in this process's own engine; None without one."""
        return None

    @property
    def slot_context(self) -> int | None:
        """Limit of a prompt and its answer together, tokens; None if the project file does not set it."""
        return None

    @property
    def assumed_seconds(self) -> float | None:
        """Seconds of a call before any was measured; None for the usual assumption."""
        return None

    @property
    def may_forward(self) -> bool:
        """Whether it is open that a server on this machine passes calls on to a hosted model."""
        return False

    @property
    def key_variable(self) -> str | None:
        """The variable whose value is sent as the key; None without a key."""
        return None


class AddressedModel(ModelSection, KeyedServer):
    """Keys of models behind an address."""

    forwards: bool | None = None
    """Whether a server at a local address passes calls on to a hosted model, as a proxy does. Needed if the model has a
    price and the constraints forbid hosted models."""

    @property
    def hosted(self) -> bool:
        return bool(self.forwards) or any(urlsplit(url).hostname not in LOOPBACK for url in self.addresses)

    @property
    def may_forward(self) -> bool:
        return bool(self.input_usd_per_mtok or self.output_usd_per_mtok) and self.forwards is None and not self.hosted

    @property
    def key_variable(self) -> str | None:
        if "api_key_env" in self.model_fields_set:
            return self.api_key_env or None
        return self.default_key if self.hosted and not self.forwards else None


class ModelWithId(ModelSection):
    """A model with a name of its own."""

    model: str
    """Id of the model, as its server calls it; of the embedded llama.cpp `pypi:NAME`,
    `hf:ORG/REPO[@REVISION][/FILE.gguf]`, the path of a GGUF file, or `q8_0:` (`q5_0:`, `q4_0:`) before one of these."""


def _server(url: str) -> tuple[str | int | None, ...]:
    """Return the same value for two spellings of an address."""
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname in LOOPBACK else parts.hostname
    return host, parts.port or {"http": 80, "https": 443}.get(parts.scheme), parts.path.rstrip("/")


class ServedModel(ModelWithId, AddressedModel):
    """A model that a server calls by its id."""

    base_url: Address = ""
    """Server address: of OpenAI's protocol with the version (`http://127.0.0.1:8080/v1`), of Anthropic's without; the
    vendor's API, or `http://127.0.0.1:8000/v1` for `vllm`, if not set. `/responses` at its end calls OpenAI's Responses
    API."""
    endpoints: list[Address] = []
    """Addresses of several servers of the same model, which share its calls, each with `concurrency` calls in flight.
    They replace `base_url`; set next to them, it only names the server whose stored answers count for all."""

    @property
    def addresses(self) -> TextTuple:
        servers: dict[tuple[str | int | None, ...], str] = {}
        for url in self.endpoints:
            servers.setdefault(_server(url), url)
        return (*servers.values(),) or (self.base_url,)

    def at(self, url: str) -> Self:
        """Return the section of only the server at `url`."""
        return self.model_copy(update={"base_url": url, "endpoints": []})


class ChatServer(ServedModel):
    """Server that speaks the OpenAI chat-completions protocol."""

    user_served: ClassVar[bool] = True
    bearer: ClassVar[bool] = False
    """Whether its key is sent as a bearer token, so that `check` may ask it; a section of your own that signs requests
    leaves it False."""


class OpenAI(ChatServer):
    """Any server that speaks the OpenAI chat-completions protocol or the Responses API."""

    defaults: ClassVar[JsonMapping] = {"base_url": "https://api.openai.com/v1"}
    default_key: ClassVar[str | None] = "OPENAI_API_KEY"
    vendor_hosts: ClassVar[tuple[str, ...]] = ("api.openai.com", "*.api.openai.com")
    bearer: ClassVar[bool] = True


class Vllm(ChatServer):
    """A vLLM server of your own (`vllm serve MODEL`); it also ranks labels by their log-probability."""

    defaults: ClassVar[JsonMapping] = {"base_url": "http://127.0.0.1:8000/v1", "timeout_s": 300.0}
    ranks_labels: ClassVar[bool] = True
    bearer: ClassVar[bool] = True


class Anthropic(ServedModel):
    """Anthropic's messages API."""

    defaults: ClassVar[JsonMapping] = {"base_url": "https://api.anthropic.com"}
    default_key: ClassVar[str | None] = "ANTHROPIC_API_KEY"
    vendor_hosts: ClassVar[tuple[str, ...]] = ("api.anthropic.com",)


class LlamaCpp(ModelWithId):
    """The embedded llama.cpp, in a child process on all cores."""

    defaults: ClassVar[JsonMapping] = {"concurrency": 8, "timeout_s": 300.0}
    ranks_labels: ClassVar[bool] = True
    user_served: ClassVar[bool] = True

    slots: Count = 8
    """Sequences decoded together."""
    context: Count = 2048
    """Context of one slot, tokens."""

    @property
    def local_file(self) -> str:
        return self.model

    @property
    def slot_context(self) -> int:
        return self.context


class Http(AddressedModel):
    """A pipeline of your own: POST `{"input", "messages"}` to `url`, get `{"answer"}` back."""

    own_pipeline: ClassVar[bool] = True
    repeatable: ClassVar[bool] = True

    url: Address
    """Address that is posted to; a key is sent as a bearer token."""
    version: str = ""
    """Version of the pipeline: change it when the pipeline changes, so that no old answer is served for the new one."""

    @property
    def addresses(self) -> TextTuple:
        return (self.url,)


class FunctionModel(ModelSection, FunctionSection):
    """A Python function that answers."""

    repeatable: ClassVar[bool] = True


class Python(FunctionModel):
    """A pipeline of your own: a function `(input) -> str`, sync or async."""

    defaults: ClassVar[JsonMapping] = {"concurrency": 8}
    own_pipeline: ClassVar[bool] = True


class Scripted(FunctionModel):
    """Deterministic answers for tests: a function `(Request) -> str | Response`."""

    latency_ms: NonNegative = 0.0
    """Delay before each answer."""
    plays_hosted: bool = False
    """Whether it simulates a hosted model."""

    @property
    def hosted(self) -> bool:
        return self.plays_hosted

    @property
    def assumed_seconds(self) -> float:
        return self.latency_ms / 1000


class StrangerModel(ModelSection):
    """A model of an installed provider that names no section of its own; it is taken for hosted."""

    model: str = ""
    """Model id, as the provider knows it."""

    @property
    def hosted(self) -> bool:
        return True


# Provider to its module, which registers a factory ``(name, config, root) -> Provider``. A section that is not in
# `MODEL_SECTIONS` is the factory's attribute `section`.
PROVIDERS: Final[Registry[Any]] = Registry(
    "providers",
    {
        name: f"tuneworthy.providers.{name}"
        for name in ("anthropic", "http", "llama_cpp", "openai", "python", "scripted", "vllm")
    },
    chosen=True,
)
MODEL_SECTIONS: Final[Mapping[str, type[ModelSection]]] = {
    "llama_cpp": LlamaCpp, "vllm": Vllm, "openai": OpenAI, "anthropic": Anthropic, "http": Http, "python": Python,
    "scripted": Scripted,
}  # fmt: skip
# Provider to the module that lists the quantised forms of its models: ``(spec, root) -> types``.
FORMS: Final[Registry[Any]] = Registry("forms", {"llama_cpp": "tuneworthy.providers.models"})
_SECTION = tagged_section("providers", "provider", MODEL_SECTIONS, StrangerModel, PROVIDERS)
KnownModel = LlamaCpp | Vllm | OpenAI | Anthropic | Http | Python | Scripted
Model = Annotated[KnownModel, _SECTION, SerializeAsAny()]
