"""How each engine decodes: the order of its samplers and its defaults.

The table is data (`engines.json`), with its source and date. The same numbers are not the same sampler: HF and vLLM
cut after the temperature, llama.cpp before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Literal

from tuneworthy.errors import UnknownName, UserError
from tuneworthy.store.shapes import bundled_rows
from tuneworthy.types import Bounds, JsonMapping, JsonObject, NamedFloats, NamedTexts, TextTuple, frozen

EngineName = Literal["hf", "vllm", "llama_cpp"]
NAMES: tuple[EngineName, ...] = ("hf", "vllm", "llama_cpp")
# Who sets one of these is taken to set HF's `do_sample` as well, without which they do nothing there.
ASKS_TO_SAMPLE = frozenset({"temperature", "top_k", "top_p", "min_p"})
# Neutral values, which change no probability.
NEUTRAL: NamedFloats = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0}
_SPANS: Mapping[str, Bounds] = {
    "temperature": (0.0, float("inf")),
    "top_k": (-1, float("inf")),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (1e-9, float("inf")),
    "frequency_penalty": (-2.0, 2.0),
    "presence_penalty": (-2.0, 2.0),
}


@frozen
class Sampling:
    """Sampling parameters; None is not set, and means something else on each engine.

    Attributes:
        temperature: Divides the logits; 0 is greedy.
        top_k: Tokens that are kept; 0 (or -1) keeps all.
        top_p: Mass that is kept, from the likeliest down.
        min_p: Least probability that is kept, relative to the likeliest token.
        repetition_penalty: Divides positive logits of tokens that occurred, multiplies negative logits.
        frequency_penalty: Taken off the logit for each time that a token occurred.
        presence_penalty: Subtracted from the logits of tokens that occurred.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None

    def __post_init__(self) -> None:
        for name, value in self.set_values().items():
            low, high = _SPANS[name]
            if not low <= value <= high:
                raise UserError(
                    f"{name} must be between {low:g} and {high:g}, not {value:g}.",
                    hint=f"Set {name} to a value in this range.",
                )

    @classmethod
    def of(cls, decoding: JsonMapping) -> Sampling:
        """Return those of the parameters of a variant that are sampling parameters (`seed` and `stop` are not)."""
        names = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in decoding.items() if name in names and value is not None})

    def set_values(self) -> NamedFloats:
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name)) is not None}


@frozen
class SamplingEngine:
    """How one engine samples.

    Attributes:
        engine: Name in project files.
        label: Name for people.
        version: The version whose source was read.
        order: The samplers in the order in which they are applied.
        defaults: Values of unset parameters.
        greedy_when_unset: Whether it is greedy until it is asked to sample; a penalty does not ask (`ASKS_TO_SAMPLE`).
        greedy_at_most: Temperatures up to this one are greedy.
        least_temperature: Temperatures between that and this are raised to it.
        most_temperature: The highest that it accepts.
        lacks: Parameters that it does not have.
        repetition_window: Tokens that penalties look back at, or `all`.
        keeps_ties: Whether top_k keeps all tokens that are as likely as the last one.
        generation_config: Whether the model's generation_config.json fills unset parameters.
    """

    engine: EngineName
    label: str
    version: str
    order: TextTuple
    defaults: Mapping[str, int | float]
    greedy_when_unset: bool = False
    greedy_at_most: float = 0.0
    least_temperature: float = 0.0
    most_temperature: float | None = None
    lacks: TextTuple = ()
    repetition_window: int | Literal["all"] = "all"
    keeps_ties: bool = True
    generation_config: bool = False
    notes: str = ""
    source: str = ""
    mark: str = "K"

    def may_differ(self, values: NamedFloats) -> NamedFloats:
        """Return those of `values` that must be set, since the engine or the model may have other defaults."""
        return {name: one for name, one in values.items() if self.generation_config or self.defaults[name] != one}


@frozen
class Resolved:
    """Effective parameters of an engine for a set of parameters.

    Attributes:
        values: Every parameter.
        origins: Origin per parameter: `given`, `default` or `raised`.
        greedy: Whether the likeliest token is taken.
        ignored: Parameters that the engine does not have.
    """

    values: NamedFloats
    origins: NamedTexts
    greedy: bool
    ignored: TextTuple = ()


@lru_cache(maxsize=1)
def engines() -> dict[str, SamplingEngine]:
    return {row.engine: row for row in bundled_rows("tuneworthy.decoding", "engines.json", "engines", SamplingEngine)}


def engine_of(name: str) -> SamplingEngine:
    """Return the engine called `name`.

    Raises:
        UnknownName: No engine has this name.
    """
    if name not in engines():
        raise UnknownName("engine", name, list(engines()))
    return engines()[name]


def resolve(sampling: Sampling, engine: SamplingEngine) -> Resolved:
    """Return what `engine` runs.

    Args:
        sampling: The set parameters.
        engine: Where.

    Raises:
        UserError: The engine refuses a value.

    >>> resolve(Sampling(temperature=0.7), engine_of("llama_cpp")).values["top_k"]
    40
    >>> resolve(Sampling(), engine_of("hf")).greedy
    True
    """
    chosen = sampling.set_values()
    values = {**engine.defaults, **chosen}
    origins = dict.fromkeys(engine.defaults, "default") | dict.fromkeys(chosen, "given")
    for name in engine.lacks:
        values[name], origins[name] = engine.defaults[name], "default"
    temperature = values["temperature"]
    if engine.most_temperature is not None and temperature > engine.most_temperature:
        raise UserError(
            f"{engine.label} accepts temperatures of at most {engine.most_temperature:g}, not {temperature:g}."
        )
    if engine.engine == "vllm" and values["top_p"] <= 0:
        raise UserError(f"{engine.label} accepts only top_p values above 0, not {values['top_p']:g}.")
    greedy = temperature <= engine.greedy_at_most or (engine.greedy_when_unset and ASKS_TO_SAMPLE.isdisjoint(chosen))
    if not greedy and temperature < engine.least_temperature:
        values["temperature"], origins["temperature"] = engine.least_temperature, "raised"
    return Resolved(
        values=values,
        origins=origins,
        greedy=greedy,
        ignored=tuple(name for name in chosen if name in engine.lacks),
    )


def carried(decoding: JsonMapping, source: str | None, target: str | None) -> JsonObject:
    """Return parameters for another engine: defaults of `source` are set explicitly.

    Args:
        decoding: Parameters of a variant.
        source: Engine that used them; None samples at temperature 1 without a cut, as hosted models do.
        target: Engine that is to use them; None if that is not known, and nothing is added.

    >>> carried({"temperature": 0.7}, None, "llama_cpp")
    {'temperature': 0.7, 'top_k': 0, 'top_p': 1.0, 'min_p': 0.0}
    """
    if target is None or target == source or decoding.get("temperature") == 0:
        return dict(decoding)
    own = {"temperature": 1.0, **NEUTRAL}
    left = own if source is None else {name: engine_of(source).defaults[name] for name in own}
    unset = {name: one for name, one in left.items() if decoding.get(name) is None}
    return {**decoding, **engine_of(target).may_differ(unset)}
