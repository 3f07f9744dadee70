"""[models.NAME]: the language models, and the user's own pipelines, that variants run on."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SerializeAsAny

from tuneworthy.config.base import Count, NonNegative, Positive, Section
from tuneworthy.config.strangers import tagged_section
from tuneworthy.trust import LOOPBACK, Grant, program_grant


class ModelSection(Section):
    """What all models share; the base of an installed provider's own section.

    `hosted` says whether the data leaves this machine; a hosted model needs a price.
    """

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
        """Whether the data leaves this machine."""
        return False

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


class Vllm(ModelSection):
    """vLLM, started and stopped by the tool, on this machine."""

    provider: Literal["vllm"]
    model: str
    """Folder of safetensors, or `hf:ORG/REPO`."""
    adapter: str | None = None
    """Folder of a LoRA adapter that is applied while serving."""
    context: Count = 2048
    """Most tokens of a request and its answer together."""
    executable: str = "vllm"
    """vLLM's program, by name or path."""
    arguments: list[str] = []
    """Further arguments of `vllm serve`."""
    start_s: Positive = 600.0
    """Limit of starting, seconds."""
    timeout_s: Positive = 300.0
    """Limit of one attempt, seconds."""

    @property
    def grant(self) -> Grant | None:
        """What it takes to start it; None for vLLM as it was installed: arguments can name code."""
        usual = self.executable == "vllm" and not self.arguments
        return None if usual else program_grant(self.executable, self.arguments)


class OpenAI(AddressedModel):
    """Any server that speaks the OpenAI chat-completions protocol."""

    provider: Literal["openai"]
    model: str
    """Model id, as the server calls it."""
    base_url: str = "https://api.openai.com/v1"
    """Address of the server, up to and including the version."""
    api_key_env: str | None = "OPENAI_API_KEY"
    """Environment variable that holds the key; keys are never written. Empty: no key is sent."""


class Anthropic(AddressedModel):
    """Anthropic's messages API."""

    provider: Literal["anthropic"]
    model: str
    """Model id, as the server calls it."""
    base_url: str = "https://api.anthropic.com"
    """Address of the server, without the version."""
    api_key_env: str = "ANTHROPIC_API_KEY"
    """Environment variable that holds the key; keys are never written. Empty: no key is sent."""


class DecisionSection(AddressedModel):
    """What decision models share: they choose one of `criteria` and give the probability of each.

    The system prompt is sent as the question, the rest of the chat as what it is asked about.
    """

    provider: str
    model: str
    """Model id, as the server calls it."""
    base_url: str
    """Address of the server, up to and including the version."""
    api_key_env: str | None
    """Environment variable that holds the key; keys are never written. Empty: no key is sent."""
    criteria: dict[str, str] = Field(min_length=2, max_length=255)
    """Each label, and what it means (may be empty)."""
    question: str = "Which label fits the text?"
    """What is asked where there is no system prompt."""


class SystemOne(DecisionSection):
    """A decision model behind the System One protocol: TypeSafe, llama.cpp's server, and others."""

    provider: Literal["systemone"]
    base_url: str = "https://api.typesafe.ai/v1"
    """Address of the server, up to and including the version."""
    api_key_env: str | None = "TYPESAFE_API_KEY"
    """Environment variable that holds the key; keys are never written. Empty: no key is sent."""


class OpenAIDecisions(DecisionSection):
    """OpenAI's Decisions API."""

    provider: Literal["openai_decisions"]
    base_url: str = "https://api.openai.com/v1"
    """Address of the server, up to and including the version."""
    api_key_env: str | None = "OPENAI_API_KEY"
    """Environment variable that holds the key; keys are never written. Empty: no key is sent."""


class Http(AddressedModel):
    """A pipeline of the user's own: POST `{"input", "messages"}` to `url`, get `{"answer"}` back."""

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

    provider: Literal["python"]
    function: str = Field(pattern=r"^.+:[A-Za-z_]\w*$")
    """`file.py:name` below the project, or `package.module:name`."""
    concurrency: Count = 8
    """Calls in flight, at most."""


class Scripted(ModelSection):
    """Deterministic answers for tests: a function `(Request) -> str | Response`."""

    provider: Literal["scripted"]
    function: str = Field(pattern=r"^.+:[A-Za-z_]\w*$")
    """`file.py:name` below the project, or `package.module:name`."""
    latency_ms: NonNegative = 0.0
    """Delay of each answer."""
    plays_hosted: bool = False
    """Whether it stands for a hosted model."""

    @property
    def hosted(self) -> bool:
        return self.plays_hosted


class StrangerModel(ModelSection):
    """A model of an installed provider that names no section of its own; it is taken for hosted."""

    provider: str
    model: str = ""
    """Model id, as the provider knows it."""

    @property
    def hosted(self) -> bool:
        return True


MODEL_SECTIONS: Final[Mapping[str, type[ModelSection]]] = {
    "llama_cpp": LlamaCpp, "vllm": Vllm, "openai": OpenAI, "anthropic": Anthropic, "systemone": SystemOne,
    "openai_decisions": OpenAIDecisions, "http": Http, "python": Python, "scripted": Scripted,
}  # fmt: skip
KnownModel = LlamaCpp | Vllm | OpenAI | Anthropic | SystemOne | OpenAIDecisions | Http | Python | Scripted
Model = Annotated[KnownModel, tagged_section("providers", "provider", MODEL_SECTIONS, StrangerModel), SerializeAsAny()]
