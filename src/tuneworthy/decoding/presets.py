"""Sampling parameters for six kinds of use, per engine and model; every value with its source and how far to trust it.

The values are data (`presets.json`). Defaults of the engine are set to neutral, and min_p is translated for
llama.cpp, which cuts before the temperature. A model without sampling parameters gets a level of effort.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

from tuneworthy.decoding.engines import NEUTRAL, EngineName, engine_of
from tuneworthy.decoding.samplers import min_p_at_one
from tuneworthy.errors import UnknownName, UserError
from tuneworthy.providers.capabilities import Capabilities, RequestParts, filter_parameters, takes_temperature
from tuneworthy.store.shapes import bundled_rows
from tuneworthy.types import JsonMapping, JsonObject, Texts, TextTuple, frozen

Mark = Literal["customary", "measured", "contested"]
LEVELS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_ENGINES: Mapping[str, EngineName] = {"llama_cpp": "llama_cpp", "vllm": "vllm"}
# Where variety is wanted.
VARIED = frozenset({"creative", "brainstorm"})


@frozen
class Value:
    """A value, its trust mark and its source."""

    value: Any
    mark: Mark
    source: str


@frozen
class Preset:
    """The parameters for one kind of use.

    Attributes:
        name: Short name.
        title: Name for people.
        kinds: Kinds of task that `auto` takes it for.
        values: Value per parameter.
        effort: Effort for models that take no sampling parameters.
    """

    name: str
    title: str
    kinds: TextTuple
    values: Mapping[str, Value]
    effort: Value

    def on(self, engine: str | None, temperature: float | None = None) -> dict[str, Value]:
        """Return the values for an engine; None is any server that speaks its protocol.

        Args:
            engine: Whose.
            temperature: Replaces the preset's own: min_p is translated at it.
        """
        found = dict(self.values)
        known = engine_of(engine) if engine else None
        min_p = found.get("min_p")
        if known is None or min_p is None:
            return found
        if known.order.index("min_p") < known.order.index("temperature"):
            at = found["temperature"].value if temperature is None else temperature
            source = (
                f"{known.label} applies min_p before the temperature, so min_p = m is translated to m^T "
                f"({known.source})"
            )
            found["min_p"] = Value(
                value=round(min_p_at_one(min_p.value, at), 4), mark=min_p.mark, source=f"{min_p.source}; {source}"
            )
        if "top_k" in known.may_differ(NEUTRAL):
            reason = (
                "{engine} has a default top_k that applies unless you set it ({url})"
                if known.defaults["top_k"]
                else "{engine} takes top_k from the model's generation_config.json unless you set it ({url})"
            )
            found["top_k"] = Value(value=0, mark="measured", source=reason.format(engine=known.label, url=known.source))
        return found

    def decoding(self, engine: str | None, temperature: float | None = None) -> JsonObject:
        """Return only the parameters (see `on`)."""
        return {name: one.value for name, one in self.on(engine, temperature).items()}

    def fit(self, provider: str, capabilities: Capabilities) -> JsonObject:
        """Return the request's settings: the parameters that the model accepts, or an effort where it cannot be greedy.

        Args:
            provider: As in the project file.
            capabilities: The model's row of the table.
        """
        if capabilities.efforts and not takes_temperature(capabilities):
            return {"effort": nearest_effort(str(self.effort.value), capabilities.efforts)}
        return accepted(capabilities, self.decoding(engine_for(provider)))[0]


def accepted(capabilities: Capabilities, setting: JsonMapping) -> RequestParts:
    """Split a setting into what acts on the model and, in words, what does not."""
    _, dropped = filter_parameters(capabilities, setting)
    names = {reason.partition(":")[0] for reason in dropped}
    return {name: value for name, value in setting.items() if name not in names}, dropped


def nearest_effort(wanted: str, offered: Texts) -> str:
    """Return the level of `offered` that is nearest to `wanted`, the lower of two.

    >>> nearest_effort("medium", ["low", "high"])
    'low'
    """
    known = sorted(LEVELS.index(level) for level in offered if level in LEVELS)
    if wanted in offered or not known:
        return wanted if wanted in offered else offered[0]
    at = LEVELS.index(wanted)
    return LEVELS[min(known, key=lambda place: abs(place - at))]


@lru_cache(maxsize=1)
def presets() -> dict[str, Preset]:
    return {preset.name: preset for preset in bundled_rows("tuneworthy.decoding", "presets.json", "presets", Preset)}


def preset_of(name: str) -> Preset:
    """Return the preset called `name`.

    Raises:
        UnknownName: No preset has this name.
    """
    if name not in presets():
        raise UnknownName("preset", name, list(presets()))
    return presets()[name]


def auto(kind: str, *, documents: bool = False) -> Preset:
    """Return the preset for a kind of task (`label`, `json`, `short_answer`, `free_text`).

    Args:
        kind: Of the task, as the expected answers show it.
        documents: Whether answers rest on documents: free text then is no chat.
    """
    if documents and kind == "free_text":
        return presets()["rag"]
    for one in presets().values():
        if kind in one.kinds:
            return one
    raise UserError(f"Unknown task type {kind!r}.")


def engine_for(provider: str) -> EngineName | None:
    """Return the engine whose samplers a provider of the project file runs, None if that is not known."""
    return _ENGINES.get(provider)
