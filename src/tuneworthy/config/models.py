"""[models.NAME]: the language models, and the user's own pipelines, that variants run on."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SerializeAsAny

from tuneworthy.config.base import Count, NonNegative, Positive, Section
from tuneworthy.config.strangers import tagged_section
from tuneworthy.registry import Registry
from tuneworthy.trust import LOOPBACK


class ModelSection(Section):
    """Keys of every model, and the properties that its provider declares; the base of an installed provider's section.

    Attributes:
        protocol: Provider whose rows of the capability table apply; "" for the provider's own rows.
        vendor_hosts: Host patterns of the vendor's own API, where the price table applies.
        own_pipeline: Whether it is the user's own pipeline, which sets its own prompt and parameters.
        repeatable: Whether equal requests get equal answers.
        ranks_labels: Whether it can rank labels and score plain texts by their log-probability.
        user_served: Whether it runs on the user's own server or machine unless it is hosted.
    """

    protocol: ClassVar[str] = ""
    vendor_hosts: ClassVar[tuple[str, ...]] = ()
    own_pipeline: ClassVar[bool] = False
    repeatable: ClassVar[bool] = False
    ranks_labels: ClassVar[bool] = False
    user_served: ClassVar[bool] = False

    timeout_s: Positive = 60.0
    """Limit of one attempt, seconds."""
    retries: int = Field(default=6, ge=0)
    """Further attempts after a failure that may pass."""
    concurrency: Count = 64
    """Calls in flight, at most; lowered when the server says that it is too much."""
    input_usd_per_mtok: NonNegative | None = None
    """Price of a million input tokens; the built-in price table if not set."""
    output_usd_per_mtok: NonNegative | None = None
    """Price of a million output tokens; the built-in price table if not set."""

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
        """The variable whose value is sent as the key: a server on this machine gets one only if that is written."""
        written = (self.hosted and not getattr(self, "forwards", None)) or "api_key_env" in self.model_fields_set
        return getattr(self, "api_key_env", None) or None if written else None


class AddressedModel(ModelSection):
    """What models behind an address share."""

    forwards: bool | None = None
    """Whether a server at a local address passes calls on to a hosted model, as a proxy does. Needed if the model has a
    price and the constraints forbid hosted models."""

    @property
    def address(self) -> str:
        """Where calls are sent."""
        return str(getattr(self, "base_url", ""))

    @property
    def hosted(self) -> bool:
        return bool(self.forwards) or urlsplit(self.address).hostname not in LOOPBACK

    @property
    def may_forward(self) -> bool:
        priced = bool(self.input_usd_per_mtok or self.output_usd_per_mtok)
        return priced and self.forwards is None and not self.hosted


class LlamaCpp(ModelSection):
    """The embedded llama.cpp, in a child process."""

    ranks_labels: ClassVar[bool] = True
    user_served: ClassVar[bool] = True

    provider: Literal["llama_cpp"]
    model: str
    """`pypi:NAME`, `hf:ORG/REPO[/FILE.gguf]`, or the path of a GGUF file."""
    slots: Count = 8
    """Sequences decoded together."""
    context: Count = 2048
    """Context of one slot, tokens."""
    threads: Count | None = None
    """CPU threads; all cores that the process may use if not set."""
    cache_mib: Count | None = None
    """Memory for prompts that no slot holds any more, MiB; if not set, so much that the process of a small model stays
    below 1.5 GiB."""
    concurrency: Count = 8
    """Calls in flight, at most."""
    timeout_s: Positive = 300.0
    """Limit of one attempt, seconds."""

    @property
    def local_file(self) -> str:
        return self.model

    @property
    def slot_context(self) -> int:
        return self.context


class ChatServer(AddressedModel):
    """Server that speaks the OpenAI chat-completions protocol."""

    user_served: ClassVar[bool] = True

    provider: str
    model: str
    """Model id, as the server calls it."""
    base_url: str
    """Address of the server, up to and including the version."""
    api_key_env: str | None
    """Environment variable that contains the key; keys are never written. Empty: no key is sent."""


class OpenAI(ChatServer):
    """Any server that speaks the OpenAI chat-completions protocol."""

    vendor_hosts: ClassVar[tuple[str, ...]] = ("api.openai.com", "*.api.openai.com")

    provider: Literal["openai"]
    base_url: str = "https://api.openai.com/v1"
    """Address of the server, up to and including the version."""
    api_key_env: str | None = "OPENAI_API_KEY"
    """Environment variable that contains the key; keys are never written. Empty: no key is sent."""


class Vllm(ChatServer):
    """A vLLM server of your own (`vllm serve MODEL`); it also ranks labels by their log-probability."""

    ranks_labels: ClassVar[bool] = True

    provider: Literal["vllm"]
    base_url: str = "http://127.0.0.1:8000/v1"
    """Address of the server, up to and including the version."""
    api_key_env: str | None = None
    """Environment variable that contains the key; keys are never written."""
    timeout_s: Positive = 300.0
    """Limit of one attempt, seconds."""


class Anthropic(AddressedModel):
    """Anthropic's messages API."""

    vendor_hosts: ClassVar[tuple[str, ...]] = ("api.anthropic.com",)

    provider: Literal["anthropic"]
    model: str
    """Model id, as the server calls it."""
    base_url: str = "https://api.anthropic.com"
    """Address of the server, without the version."""
    api_key_env: str = "ANTHROPIC_API_KEY"
    """Environment variable that holds the key; keys are never written. Empty: no key is sent."""


class Http(AddressedModel):
    """A pipeline of the user's own: POST `{"input", "messages"}` to `url`, get `{"answer"}` back."""

    own_pipeline: ClassVar[bool] = True
    repeatable: ClassVar[bool] = True

    provider: Literal["http"]
    url: str
    """Address that is posted to."""
    version: str = ""
    """Of what answers there: change it when the pipeline changes, so that no old answer is served for the new one."""
    api_key_env: str | None = None
    """Sent as a bearer token if set."""

    @property
    def address(self) -> str:
        return self.url


class Python(ModelSection):
    """A pipeline of the user's own: a function `(input) -> str`, sync or async."""

    own_pipeline: ClassVar[bool] = True
    repeatable: ClassVar[bool] = True

    provider: Literal["python"]
    function: str = Field(pattern=r"^.+:[A-Za-z_]\w*$")
    """`file.py:name` below the project, or `package.module:name`."""
    concurrency: Count = 8
    """Calls in flight, at most."""


class Scripted(ModelSection):
    """Deterministic answers for tests: a function `(Request) -> str | Response`."""

    repeatable: ClassVar[bool] = True

    provider: Literal["scripted"]
    function: str = Field(pattern=r"^.+:[A-Za-z_]\w*$")
    """`file.py:name` below the project, or `package.module:name`."""
    latency_ms: NonNegative = 0.0
    """Delay of each answer."""
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

    provider: str
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
_SECTION: Final = tagged_section("providers", "provider", MODEL_SECTIONS, StrangerModel, PROVIDERS)
KnownModel = LlamaCpp | Vllm | OpenAI | Anthropic | Http | Python | Scripted
Model = Annotated[KnownModel, _SECTION, SerializeAsAny()]
