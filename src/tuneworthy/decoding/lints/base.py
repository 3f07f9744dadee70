"""What decoding lints examine: one use of a model, as far as it is known."""

from dataclasses import field
from typing import Final

from tuneworthy.providers.capabilities import Capabilities, takes_temperature
from tuneworthy.rules import Finding, RuleBook
from tuneworthy.types import JsonMapping, frozen

LINTS: Final[RuleBook[Finding]] = RuleBook(
    "decoding_lints", [f"tuneworthy.decoding.lints.{name}" for name in ("sampling", "structure")]
)


@frozen
class Use:
    """How a model is used, as far as it is known.

    Attributes:
        engine: `hf`, `vllm`, `llama_cpp`, `openai` or `anthropic`; "" if not known.
        decoding: Parameters that are set, by our names, and other fields of the request (`response_format`, ...).
        output: `free`, `choice` or `json_schema`.
        schema: Schema of the answer, if there is one.
        max_tokens: Limit of the answer; None if not known.
        thinks_first: Whether the prompt asks for reasoning before the answer, in the same text.
        retrieved: Whether documents appear in the prompt.
        purpose: `creative` where variety is wanted; "" otherwise.
        compares: Whether the answers are used to compare two settings.
        capabilities: Parameters that the model accepts.
    """

    engine: str = ""
    decoding: JsonMapping = field(default_factory=dict)
    output: str = "free"
    schema: JsonMapping | None = None
    max_tokens: int | None = None
    thinks_first: bool = False
    retrieved: bool = False
    purpose: str = ""
    compares: bool = False
    capabilities: Capabilities | None = None

    def value(self, name: str, neutral: float) -> float:
        value = self.decoding.get(name)
        return neutral if value is None else float(value)

    @property
    def can_be_greedy(self) -> bool:
        """Whether the model takes temperature 0 together with the set effort; True if unknown."""
        return self.capabilities is None or takes_temperature(self.capabilities, effort=self.decoding.get("effort"))
