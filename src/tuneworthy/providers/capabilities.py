"""Parameters that each model and server accepts: one dated table (`capabilities.json`), read once.

A parameter that a model rejects is left out of the request and reported with its reason in
`Response.dropped`: it is never sent, and never dropped in silence. The first row of the table that matches
the provider, the server's host and the model's name holds.

Source: capabilities.json names the source, its mark and the date of every row.
"""

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from math import inf
from typing import Any, Literal
from urllib.parse import urlsplit

from tuneworthy.config.models import ModelSection
from tuneworthy.store.shapes import bundled
from tuneworthy.types import JsonMapping, JsonObject, TextTuple, frozen

# The JSON of a request, and the parts left out (``"name: reason"``).
RequestParts = tuple[JsonObject, TextTuple]
# Room for hidden thinking by effort, tokens: set by judgement (OpenAI's guide to reasoning models advises 25,000 to
# begin with). Only the tokens used are billed.
THINKING_TOKENS = {
    "none": 0, "minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 24576,
}  # fmt: skip
# The effort that a model which thinks without being asked is taken to have, where its own is not known.
THINKS_BY_ITSELF = "medium"

ChoiceStyle = Literal["none", "grammar", "structured_outputs", "wrapped_schema"]
SchemaStyle = Literal["none", "response_format", "output_config"]
# Hosts of OpenAI's models with both APIs; a gateway may have only chat completions.
_OPENAI_HOSTS = ("api.openai.com", "*.api.openai.com", "*.openai.azure.com")
# Decoding parameters of the Responses API by our name.
_OF_RESPONSES = {"temperature": "temperature", "top_p": "top_p", "effort": "reasoning.effort"}


@frozen
class Parameter:
    """How one decoding parameter is sent.

    Attributes:
        wire: Its name in the request, ours if ""; a dot means an object inside (`output_config.effort`).
        low, high: Values that are accepted, both included.
        values: Values that are accepted, where they are few.
        needs_effort: It is accepted only with this effort.
        excludes: It is not accepted with these.
        as_list: One value is sent as a list of one.
    """

    wire: str = ""
    low: float | None = None
    high: float | None = None
    values: tuple[Any, ...] = ()
    needs_effort: str | None = None
    excludes: TextTuple = ()
    as_list: bool = False

    def objection(self, value: Any, decoding: JsonMapping, effort: str | None) -> str:
        """Say why `value` is not accepted with the rest of `decoding` and the `effort` in force; "" if it is."""
        if self.values and value not in self.values:
            return f"accepts only {', '.join(map(str, self.values))}, not {value}"
        low, high = -inf if self.low is None else self.low, inf if self.high is None else self.high
        if isinstance(value, int | float) and not low <= value <= high:
            ends = ("any" if end is None else f"{end:g}" for end in dict.fromkeys((self.low, self.high)))
            return f"accepts only {' to '.join(ends)}, not {value:g}"
        if self.needs_effort is not None and effort != self.needs_effort:
            return f"accepted only with effort {self.needs_effort}"
        for other in self.excludes:
            if decoding.get(other) is not None:
                return f"not accepted beside {other}"
        return ""


@frozen
class Capabilities:
    """One row of the table.

    Attributes:
        family: Name of the row.
        parameters: Decoding parameters that are accepted, by our name.
        max_tokens: The parameter that limits the answer.
        instructions: The role that a system message is sent in; `none` if the model takes no such message.
        logprobs: Largest number of alternatives per token; None if it gives no log-probabilities.
        logprobs_need_effort: Log-probabilities come only with this effort.
        default_effort: The effort in force by default; None if it is not known.
        thinks: Whether hidden reasoning counts into the tokens of the answer: `no`, `on_request`, `by_default`,
            `always`. A small `max_tokens` cuts a thinking model off before it answers.
        cache_min_tokens: Shortest start of a prompt that the provider caches; None if it is not known.
        choice: How one of several fixed answers is enforced.
        json_schema: How a JSON schema is enforced.
        ranked: Whether given labels can be ranked by their log-probability.
        tools: Whether tools may be offered.
        responses: When OpenAI's Responses API is called instead of chat completions: `with_tools` for a model that
            chat completions gives no tools while it thinks.
        source: Where this is known from.
        mark: V for read in the primary source, V2 in a secondary one, K for unverified.
    """

    family: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    max_tokens: str = "max_tokens"
    instructions: Literal["system", "developer", "none"] = "system"
    logprobs: int | None = None
    logprobs_need_effort: str | None = None
    default_effort: str | None = None
    thinks: Literal["no", "on_request", "by_default", "always"] = "no"
    cache_min_tokens: int | None = None
    choice: ChoiceStyle = "none"
    json_schema: SchemaStyle = "none"
    ranked: bool = False
    tools: bool = True
    responses: Literal["never", "with_tools", "always"] = "never"
    source: str = ""
    mark: str = "K"

    @property
    def supports(self) -> frozenset[str]:
        has = {
            "choice": self.choice != "none",
            "json_schema": self.json_schema != "none",
            "ranked": self.ranked,
            "tools": self.tools,
            "logprobs": self.logprobs is not None,
            "seed": "seed" in self.parameters,
        }
        return frozenset(name for name, holds in has.items() if holds)

    @property
    def efforts(self) -> TextTuple:
        effort = self.parameters.get("effort")
        return effort.values if effort else ()

    def thinking_tokens(self, effort: str | None = None) -> int:
        """Return the tokens that hidden thinking may need besides the answer, at `effort` (None: the model's own)."""
        if self.thinks == "no":
            return 0
        own = "none" if self.thinks == "on_request" else THINKS_BY_ITSELF
        return THINKING_TOKENS[effort or self.default_effort or own]


def capabilities_of(provider: str, model: str, host: str = "") -> Capabilities:
    """Return what `model` accepts.

    Args:
        provider: Provider of the project file (`openai`, `anthropic`, `llama_cpp`, `vllm`, ...).
        model: Model id, as sent.
        host: Host name of the server; tells OpenAI itself from compatible servers.
    """
    for row in _table().families:
        if provider in row.providers and _matches(host, row.hosts) and _matches(model, row.models):
            parts = [*(_table().parameter_sets[name] for name in row.parameter_sets), row.parameters]
            merged = {name: one for part in parts for name, one in part.items()}
            found = replace(
                row,
                parameters={name: replace(one, wire=one.wire or name) for name, one in merged.items()},
                responses=row.responses if _matches(host, _OPENAI_HOSTS) else "never",
            )
            return for_responses(found) if found.responses == "always" else found
    return Capabilities(family="unknown", tools=False)


def capabilities_for(config: ModelSection) -> Capabilities:
    provider, address = config.protocol or config.provider, urlsplit("".join(config.addresses[:1]))
    found = capabilities_of(provider, str(getattr(config, "model", "")), address.hostname or "")
    named = provider == "openai" and address.path.rstrip("/").endswith("/responses")
    return for_responses(found) if named else found


def for_responses(capabilities: Capabilities) -> Capabilities:
    """Return the model's capabilities through the Responses API, which has no seed, stop or penalties.

    Source: https://platform.openai.com/docs/api-reference/responses/create
    """
    return replace(
        capabilities,
        responses="always",
        parameters={
            name: replace(one, wire=_OF_RESPONSES[name])
            for name, one in capabilities.parameters.items()
            if name in _OF_RESPONSES
        },
        max_tokens="max_output_tokens",
    )


def filter_parameters(capabilities: Capabilities, decoding: JsonMapping) -> RequestParts:
    """Split `decoding` into the parameters to send and those left out.

    Args:
        capabilities: Parameters that the model accepts.
        decoding: Parameters by our name; None counts as not set.

    Returns:
        The parameters to send by their name in the request (dots not yet opened), and for each one left
        out ``"name: reason"``.
    """
    sent = {}
    dropped = []
    effort = decoding.get("effort") or capabilities.default_effort
    for name, value in decoding.items():
        if value is None:
            continue
        parameter = capabilities.parameters.get(name)
        objection = parameter.objection(value, decoding, effort) if parameter else "not accepted"
        if parameter is None or objection:
            dropped.append(f"{name}: {objection} ({capabilities.family})")
        else:
            sent[parameter.wire] = [value] if parameter.as_list and isinstance(value, str) else value
    return sent, tuple(dropped)


def takes_temperature(capabilities: Capabilities, *, effort: str | None = None) -> bool:
    """Whether a model accepts temperature 0, greedy: some take no temperature, some only 1, some only with one effort.

    Args:
        capabilities: Parameters that the model accepts.
        effort: Effort of the request; None is the model's own.
    """
    return not any(
        note.startswith("temperature:")
        for note in filter_parameters(capabilities, {"effort": effort, "temperature": 0.0})[1]
    )


@frozen
class _ModelFamily(Capabilities):
    """Row of the table: patterns of providers, hosts and models, and sets of parameters that several rows share."""

    providers: TextTuple
    hosts: TextTuple
    models: TextTuple
    parameter_sets: TextTuple = ()


@frozen
class _CapabilityTable:
    date: str
    parameter_sets: Mapping[str, Mapping[str, Parameter]]
    families: tuple[_ModelFamily, ...]


@lru_cache(maxsize=1)
def _table() -> _CapabilityTable:
    return bundled(__package__, "capabilities.json", _CapabilityTable)


def _matches(text: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(text.lower(), pattern) for pattern in patterns)
