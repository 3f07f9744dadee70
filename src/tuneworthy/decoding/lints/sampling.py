"""Lints of the sampling parameters themselves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tuneworthy.decoding.engines import engines
from tuneworthy.decoding.lints.base import Fault, Use, lint
from tuneworthy.decoding.samplers import at_temperature
from tuneworthy.providers.capabilities import filter_parameters

PENALTIES = {"repetition_penalty": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0}
HIGHEST_PENALTY = 1.1
_TIGHT = np.array([0.85, 0.05, 0.03, *[0.007] * 10])
PROBED = ("min_p", "seed", "top_k", "top_p", "repetition_penalty", "stop")
"""Parameters of which `models probe` finds whether they act."""


def _uncut(use: Use) -> bool:
    """Whether nothing is cut off: no top_k, top_p or min_p acts."""
    return use.value("top_k", 0) <= 0 and use.value("top_p", 1) >= 1 and use.value("min_p", 0) <= 0


@lint(
    "unset_sampling",
    "warning",
    source="article, failure mode 1; facts.md 0, row 19",
    bad=Use(engine="openai"),
    good=Use(engine="openai", decoding={"temperature": 0}),
)
def unset_sampling(use: Use) -> Iterator[Fault]:
    """Nothing is set where that means temperature 1 and the whole vocabulary, or whatever the model's file says.

    OpenAI samples at temperature 1 with no cut; vLLM takes what the model's generation_config.json says and that only
    if there is none; HF is greedy until it samples, and llama.cpp has cuts of its own. Where a model takes no sampling
    parameters, its effort is what can be set.
    """
    sampled = use.can_be_greedy and use.value("temperature", 1) >= 1 and _uncut(use)
    if use.engine in {"openai", "vllm"} and sampled:
        where = {"vllm": " (or what the model's generation_config.json says)"}.get(use.engine, "")
        yield (
            f"expected a temperature or a cut, got temperature 1 with top_p 1{where}: any token may come",
            "set temperature or min_p, and measure it: tuneworthy decode sweep",
        )


@lint(
    "temperature_for_creativity",
    "note",
    source="article, failure mode 2; facts.md C5",
    bad=Use(engine="vllm", purpose="creative", decoding={"temperature": 1.5, "min_p": 0.05}),
    good=Use(engine="vllm", purpose="creative", decoding={"temperature": 0.9, "min_p": 0.05}),
)
def temperature_for_creativity(use: Use) -> Iterator[Fault]:
    """A temperature above 1 is used to get more creative answers.

    A temperature divides all log-odds: it lifts unlikely tokens, the wrong ones as well as the fresh ones, and adds
    nothing that the prompt did not ask for.
    """
    temperature = use.value("temperature", 1)
    if use.purpose == "creative" and temperature > 1:
        tail = float(at_temperature(_TIGHT, temperature)[1:].sum())
        yield (
            f"expected at most temperature 1, got {temperature:g}: of a distribution of 85 % and a tail, the tail then "
            f"gets {tail:.0%}",
            "ask for variety in the prompt (directions, seed words), and set temperature to 1 or less",
        )


@lint(
    "repetition_penalty_high",
    "warning",
    source="article, failure mode 3 (above 1.2); facts.md 0, row 22",
    bad=Use(engine="vllm", decoding={"temperature": 0.7, "repetition_penalty": 1.2}),
    good=Use(engine="vllm", decoding={"temperature": 0.7, "repetition_penalty": 1.05}),
)
def repetition_penalty_high(use: Use) -> Iterator[Fault]:
    """A repetition penalty above 1.1 breaks grammar on long answers; what is mild for one model is not for another.

    It divides positive logits and multiplies negative ones, so it depends on an offset of the logits that changes no
    probability: at a logit of 20 and a penalty of 1.1 the odds fall to 0.16 of what they were, at 5 to 0.63.
    """
    penalty = use.value("repetition_penalty", 1)
    if penalty > HIGHEST_PENALTY:
        yield (
            f"expected repetition_penalty at most {HIGHEST_PENALTY:g}, got {penalty:g}",
            "remove it; against loops use frequency_penalty, DRY (llama.cpp) or repetition_detection (vLLM)",
        )


@lint(
    "repetition_penalty_quotes",
    "warning",
    source="facts.md 0, row 22",
    bad=Use(engine="vllm", decoding={"temperature": 0.2, "repetition_penalty": 1.05}, retrieved=True),
    good=Use(engine="vllm", decoding={"temperature": 0.2, "repetition_penalty": 1.0}, retrieved=True),
)
def repetition_penalty_quotes(use: Use) -> Iterator[Fault]:
    """A repetition penalty where the answer must repeat: words of retrieved text, the keys of JSON, a label.

    HF, vLLM and llama.cpp count the tokens of the prompt as well, so what stands in the documents is pushed down.
    """
    penalty = use.value("repetition_penalty", 1)
    repeated = {"json_schema": "repeat keys", "choice": "copy a label"}.get(use.output, "")
    must = "quote retrieved text" if use.retrieved else repeated
    if penalty != 1 and must:
        yield (
            f"expected no repetition_penalty where an answer has to {must}, got {penalty:g}",
            "set repetition_penalty to 1",
        )


@lint(
    "penalty_when_greedy",
    "warning",
    source="facts.md 0, row 20",
    bad=Use(engine="vllm", decoding={"temperature": 0, "repetition_penalty": 1.1}),
    good=Use(engine="vllm", decoding={"temperature": 0, "top_p": 0.9}),
)
def penalty_when_greedy(use: Use) -> Iterator[Fault]:
    """A penalty at temperature 0: cuts are without effect there, but a penalty still changes the likeliest token.

    Logits 10 and 9.5: a repetition penalty of 1.1 makes the first 9.09, and the second is taken.
    """
    acting = [name for name, neutral in PENALTIES.items() if use.value(name, neutral) != neutral]
    if use.decoding.get("temperature") == 0 and acting:
        yield (
            f"expected no penalty at temperature 0, got {', '.join(acting)}: it changes which token is the likeliest",
            f"remove {', '.join(acting)}",
        )


@lint(
    "min_p_behind_top_k",
    "warning",
    source="facts.md C1 (min_p needs top_k = 0 on llama.cpp and HF)",
    bad=Use(engine="llama_cpp", decoding={"temperature": 0.7, "top_p": 1.0, "min_p": 0.05}),
    good=Use(engine="llama_cpp", decoding={"temperature": 0.7, "top_p": 1.0, "top_k": 0, "min_p": 0.05}),
)
def min_p_behind_top_k(use: Use) -> Iterator[Fault]:
    """min_p is meant to be the only cut, but the engine adds cuts that nobody set.

    HF takes the 50 likeliest tokens and llama.cpp the 40 likeliest and a top_p of 0.95, unless told otherwise.
    """
    engine = engines().get(use.engine)
    if engine is None or use.decoding.get("min_p") in {None, 0} or use.decoding.get("temperature") == 0:
        return
    off = {"top_k": 0.0, "top_p": 1.0}
    lacking = [name for name, value in off.items() if use.decoding.get(name) is None and engine.defaults[name] != value]
    if lacking:
        told = ", ".join(f"{name} {engine.defaults[name]:g}" for name in lacking)
        fix = ", ".join(f"{name} = {off[name]:g}" for name in lacking)
        yield f"expected min_p to be the only cut on {engine.label}, got its own {told} as well", f"set {fix}"


@lint(
    "ignored_parameter",
    "error",
    source="facts.md C1 (servers ignore fields that they do not know), C4",
    bad=Use(engine="vllm", decoding={"min_p": 0.1}, probed={"min_p": "no"}),
    good=Use(engine="vllm", decoding={"min_p": 0.1}, probed={"min_p": "yes"}),
)
def ignored_parameter(use: Use) -> Iterator[Fault]:
    """A parameter is set that the model does not accept, or that a probe found to do nothing.

    vLLM ignores fields that it does not know without a word; hosted models of 2026 refuse temperature, or have it
    dropped on the way. Comparing settings of such a parameter compares noise with noise.
    """
    if use.capabilities is not None:
        for words in filter_parameters(use.capabilities, use.decoding)[1]:
            name = words.partition(":")[0]
            fix = "remove it; this model takes an effort" if use.capabilities.efforts else f"remove {name}"
            yield f"expected parameters that the model accepts, got {words}", fix
    for name in PROBED:
        if use.decoding.get(name) is not None and use.idle(name):
            yield (
                f"expected {name} to act, got a server that ignores it (a probe found so)",
                f"remove {name}, or serve the model with an engine that has it",
            )


@lint(
    "temperature_with_top_p",
    "note",
    source="facts.md C1 (golden vectors: the same numbers keep other tokens on each engine)",
    bad=Use(engine="llama_cpp", decoding={"temperature": 1.4, "top_p": 0.9, "top_k": 0, "min_p": 0.1}),
    good=Use(engine="llama_cpp", decoding={"temperature": 0.7, "top_p": 1.0, "top_k": 0, "min_p": 0.1}),
)
def temperature_with_top_p(use: Use) -> Iterator[Fault]:
    """top_p and min_p together with a temperature: which one cuts depends on the engine's order.

    HF cuts with top_p before min_p and vLLM after it, both after the temperature; llama.cpp cuts before the
    temperature. Numbers that were tuned on one engine keep other tokens on another.
    """
    if use.value("top_p", 1) < 1 and use.value("min_p", 0) > 0 and use.value("temperature", 1) not in {0.0, 1.0}:
        yield (
            "expected one cut beside a temperature, got top_p and min_p: which one acts depends on the engine",
            "keep one of them: set top_p = 1 or min_p = 0 (compare with: tuneworthy decode explain)",
        )
