"""What each model and server accepts: one dated table (`capabilities.json`), read once.

A parameter that a model rejects is left out of the request and reported with its reason in
`Response.dropped`: it is never sent, and never dropped in silence. The first row of the table that matches
the provider, the server's host and the model's name holds.

Source: capabilities.json names the source, its mark and the date of every row.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import urlsplit

import orjson

from tuneworthy.config.models import ModelSection

# Room for hidden thinking by effort, tokens: set by judgement (OpenAI's guide to reasoning models advises 25,000 to
# begin with). Only what is used is paid for.
THINKING_TOKENS: Mapping[str, int] = {
    "none": 0, "minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 24576,
}  # fmt: skip
# The effort that a model which thinks without being asked is taken to have, where its own is not known.
THINKS_BY_ITSELF = "medium"

ChoiceStyle = Literal["none", "grammar", "structured_outputs", "wrapped_schema"]
SchemaStyle = Literal["none", "response_format", "output_config"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """How one decoding parameter is sent.

    Attributes:
        wire: Its name in the request; a dot means an object inside (`output_config.effort`).
        low, high: Values that are accepted, both included.
        values: Values that are accepted, where they are few.
        needs_effort: It is accepted only beside this effort.
        excludes: It is not accepted beside these.
        as_list: One value is sent as a list of one.
    """

    wire: str
    low: float | None = None
    high: float | None = None
    values: tuple[Any, ...] = ()
    needs_effort: str | None = None
    excludes: tuple[str, ...] = ()
    as_list: bool = False

    def objection(self, value: Any, decoding: Mapping[str, Any], effort: str | None) -> str:
        """Say why `value` is not accepted beside the rest of `decoding` and the `effort` in force; "" if it is."""
        if self.values and value not in self.values:
            return f"accepts only {', '.join(map(str, self.values))}, not {value}"
        if isinstance(value, int | float) and not self._in_span(value):
            return f"accepts only {_span(self.low, self.high)}, not {value:g}"
        if self.needs_effort is not None and effort != self.needs_effort:
            return f"accepted only with effort {self.needs_effort}"
        for other in self.excludes:
            if decoding.get(other) is not None:
                return f"not accepted beside {other}"
        return ""

    def _in_span(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """One row of the table.

    Attributes:
        family: Name of the row.
        parameters: Decoding parameters that are accepted, by our name.
        max_tokens: The parameter that limits the answer.
        instructions: The role that a system message is sent in; `none` if the model takes no such message.
        logprobs: Largest number of alternatives per token; None if it gives no log-probabilities.
        logprobs_need_effort: Log-probabilities come only with this effort.
        default_effort: The effort in force when none is set; None if it is not known.
        thinks: Whether hidden reasoning counts into the tokens of the answer: `no`, `on_request`, `by_default`,
            `always`. A small `max_tokens` cuts a thinking model off before it answers.
        cache_min_tokens: Shortest prompt that the provider caches on request; None if it needs no request.
        choice: How one of several fixed answers is enforced.
        json_schema: How a JSON schema is enforced.
        ranked: Whether given labels can be ranked by their log-probability.
        tools: Whether tools may be offered.
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
    source: str = ""
    mark: str = "K"

    @property
    def supports(self) -> frozenset[str]:
        """The features of `Provider.supports`."""
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
    def efforts(self) -> tuple[str, ...]:
        """The effort values that may be swept; empty if the model takes none."""
        effort = self.parameters.get("effort")
        return effort.values if effort else ()

    def thinking_tokens(self, effort: str | None = None) -> int:
        """Return the tokens that hidden thinking may need beside the answer, at `effort` (None: the model's own)."""
        if self.thinks == "no":
            return 0
        own = THINKS_BY_ITSELF if self.thinks in {"by_default", "always"} else "none"
        return THINKING_TOKENS[effort or self.default_effort or own]


def capabilities_of(provider: str, model: str, host: str = "") -> Capabilities:
    """Return what `model` accepts.

    Args:
        provider: Provider of the project file (`openai`, `anthropic`, `llama_cpp`, `vllm`, ...).
        model: Model id, as sent.
        host: Host name of the server; tells OpenAI itself from compatible servers.
    """
    for row in _rows():
        if provider in row["providers"] and _matches(host, row["hosts"]) and _matches(model, row["models"]):
            return _read(row)
    return Capabilities(family="unknown", tools=False)


def capabilities_for(config: ModelSection) -> Capabilities:
    """Return what the model of a section accepts."""
    host = urlsplit(str(getattr(config, "base_url", ""))).hostname or ""
    provider = config.protocol or str(getattr(config, "provider", ""))
    return capabilities_of(provider, str(getattr(config, "model", "")), host)


def filter_parameters(
    capabilities: Capabilities, decoding: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Split `decoding` into what is sent and what is left out.

    Args:
        capabilities: Parameters that the model accepts.
        decoding: Parameters by our name; None counts as not set.

    Returns:
        The parameters to send by their name in the request (dots not yet opened), and for each one left
        out ``"name: reason"``.
    """
    if not decoding:
        return {}, ()
    sent: dict[str, Any] = {}
    dropped: list[str] = []
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


def takes_temperature(capabilities: Capabilities, value: float = 0.0, *, effort: str | None = None) -> bool:
    """Whether a model accepts a temperature: some take none, some only 1, some only beside one effort.

    Args:
        capabilities: Parameters that the model accepts.
        value: The temperature; 0 is greedy.
        effort: What is set beside it; None is the model's own.
    """
    return not any(
        note.startswith("temperature:")
        for note in filter_parameters(capabilities, {"effort": effort, "temperature": value})[1]
    )


def table_date() -> str:
    """Return the day that the table was collected, ISO."""
    return str(_table()["date"])


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    table: dict[str, Any] = orjson.loads(files(__package__).joinpath("capabilities.json").read_bytes())
    return table


def _rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = _table()["families"]
    return rows


def _matches(text: str, patterns: list[str]) -> bool:
    low = text.lower()
    return any(fnmatchcase(low, pattern) for pattern in patterns)


def _read(row: Mapping[str, Any]) -> Capabilities:
    """Turn a row into its class; names of `shared` parameter sets stand for their content."""
    parameters: dict[str, Parameter] = {}
    for name in row.get("parameter_sets", ()):
        parameters |= {key: _parameter(key, value) for key, value in _table()["parameter_sets"][name].items()}
    parameters |= {key: _parameter(key, value) for key, value in row.get("parameters", {}).items()}
    fields = {k: v for k, v in row.items() if k not in {"providers", "hosts", "models", "parameter_sets", "parameters"}}
    return Capabilities(parameters=parameters, **fields)


def _parameter(name: str, value: Mapping[str, Any]) -> Parameter:
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
    return Parameter(wire=fields.pop("wire", name), **fields)


def _span(low: float | None, high: float | None) -> str:
    if low == high:
        return f"{low:g}"
    return " to ".join("any" if end is None else f"{end:g}" for end in (low, high))
