"""Lints of the sampling parameters themselves."""

import numpy as np

from tuneworthy.decoding.engines import engines
from tuneworthy.decoding.lints.base import LINTS, Use
from tuneworthy.decoding.samplers import NEUTRAL, PENALTIES, at_temperature
from tuneworthy.providers.capabilities import capabilities_of, filter_parameters
from tuneworthy.rules import Finding, Findings

HIGHEST_PENALTY = 1.1
_TIGHT = np.array([0.85, 0.05, 0.03, *[0.007] * 10])


@LINTS.rule(
    severity="warning",
    fix="Set temperature or min_p. Run `tuneworthy decode sweep` to compare settings.",
    source="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
    bad=Use(engine="openai"),
    good=Use(engine="openai", decoding={"temperature": 0}),
)
def unset_sampling(use: Use) -> str:
    """Nothing is set where that means temperature 1 and the whole vocabulary, or whatever the model's file says.

    OpenAI samples at temperature 1 with no cut; vLLM takes the values of the model's generation_config.json, and does
    the same if there is no such file; HF is greedy until it samples, and llama.cpp has cuts of its own. Where a model
    takes no sampling parameters, its effort is what can be set.
    """
    is_cut = use.value("top_k", 0) > 0 or use.value("top_p", 1) < 1 or use.value("min_p", 0) > 0
    if use.engine not in {"openai", "vllm"} or not use.can_be_greedy or use.value("temperature", 1) < 1 or is_cut:
        return ""
    where = " (unless the model's generation_config.json says otherwise)" if use.engine == "vllm" else ""
    return f"Temperature is at least 1, and no sampler truncates the distribution{where}, so any token can be drawn."


@LINTS.rule(
    severity="note",
    fix="Ask for variety in the prompt (directions, seed words), and set temperature to at most 1.",
    source="https://arxiv.org/abs/1904.09751",
    bad=Use(engine="vllm", purpose="creative", decoding={"temperature": 1.5, "min_p": 0.05}),
    good=Use(engine="vllm", purpose="creative", decoding={"temperature": 0.9, "min_p": 0.05}),
)
def temperature_for_creativity(use: Use) -> str:
    """A temperature above 1 is used to get more creative answers.

    A temperature divides all log-odds: it lifts unlikely tokens, wrong as well as fresh, and adds
    nothing that the prompt did not ask for.
    """
    temperature = use.value("temperature", 1)
    return (
        (
            f"Temperature is {temperature:g}. For example, a long tail with a total probability of 15.0% at "
            f"temperature 1 rises to {float(at_temperature(_TIGHT, temperature)[1:].sum()):.1%}."
        )
        if use.purpose == "creative" and temperature > 1
        else ""
    )


@LINTS.rule(
    severity="warning",
    fix=(
        "Remove the penalty. To prevent loops, use frequency_penalty, DRY (llama.cpp) or repetition_detection (vLLM)."
    ),
    source="https://huggingface.co/docs/transformers/main_classes/text_generation",
    bad=Use(engine="vllm", decoding={"temperature": 0.7, "repetition_penalty": 1.2}),
    good=Use(engine="vllm", decoding={"temperature": 0.7, "repetition_penalty": 1.05}),
)
def repetition_penalty_high(use: Use) -> str:
    """A repetition penalty above 1.1 breaks grammar on long answers; mild values differ by model.

    It divides positive logits and multiplies negative logits, so it depends on an offset that changes no
    probability: at a logit of 20 and a penalty of 1.1 the odds are multiplied by 0.16, at 5 by 0.63.
    """
    penalty = use.value("repetition_penalty", 1)
    return (
        f"repetition_penalty is {penalty:g}, above the recommended maximum of {HIGHEST_PENALTY:g}."
        if penalty > HIGHEST_PENALTY
        else ""
    )


@LINTS.rule(
    severity="warning",
    fix="Set repetition_penalty to 1.",
    source="https://docs.vllm.ai/en/latest/api/vllm/sampling_params.html",
    bad=Use(engine="vllm", decoding={"temperature": 0.2, "repetition_penalty": 1.05}, retrieved=True),
    good=Use(engine="vllm", decoding={"temperature": 0.2, "repetition_penalty": 1.0}, retrieved=True),
)
def repetition_penalty_quotes(use: Use) -> str:
    """A repetition penalty where the answer must repeat: words of retrieved text, the keys of JSON, a label.

    HF, vLLM and llama.cpp count the tokens of the prompt as well, so what appears in the documents is pushed down.
    """
    penalty = use.value("repetition_penalty", 1)
    repeated = {"json_schema": "repeat keys", "choice": "copy a label"}.get(use.output, "")
    must = "quote retrieved text" if use.retrieved else repeated
    return f"repetition_penalty is {penalty:g}, but the answer has to {must}." if penalty != 1 and must else ""


@LINTS.rule(
    severity="warning",
    source="https://docs.vllm.ai/en/latest/api/vllm/sampling_params.html",
    bad=Use(engine="vllm", decoding={"temperature": 0, "repetition_penalty": 1.1}),
    good=Use(engine="vllm", decoding={"temperature": 0, "top_p": 0.9}),
)
def penalty_when_greedy(use: Use) -> Findings:
    """A penalty at temperature 0: cuts are without effect there, but a penalty still changes the likeliest token.

    Logits 10 and 9.5: a repetition penalty of 1.1 makes the first 9.09, and the second is taken.
    """
    acting = [name for name in PENALTIES if use.value(name, NEUTRAL[name]) != NEUTRAL[name]]
    if use.decoding.get("temperature") == 0 and acting:
        names = ", ".join(acting)
        yield Finding(
            message=f"At temperature 0, {names} can still change which token is most likely.",
            fix=f"Remove {names}.",
        )


@LINTS.rule(
    severity="warning",
    source="https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
    bad=Use(engine="llama_cpp", decoding={"temperature": 0.7, "top_p": 1.0, "min_p": 0.05}),
    good=Use(engine="llama_cpp", decoding={"temperature": 0.7, "top_p": 1.0, "top_k": 0, "min_p": 0.05}),
)
def min_p_behind_top_k(use: Use) -> Findings:
    """min_p is meant to be the only cut, but the engine adds cuts of its own.

    HF takes the 50 likeliest tokens and llama.cpp the 40 likeliest and a top_p of 0.95, unless told otherwise.
    """
    engine = engines().get(use.engine)
    if engine is None or use.decoding.get("min_p") in {None, 0} or use.decoding.get("temperature") == 0:
        return
    off = {"top_k": 0.0, "top_p": 1.0}
    lacking = [name for name, value in off.items() if use.decoding.get(name) is None and engine.defaults[name] != value]
    if lacking:
        values = ", ".join(f"{name} {engine.defaults[name]:g}" for name in lacking)
        neutral = ", ".join(f"{name} = {off[name]:g}" for name in lacking)
        yield Finding(
            message=(
                f"min_p is not the only sampler that truncates: {engine.label} also applies its defaults ({values})."
            ),
            fix=f"Set {neutral}.",
        )


@LINTS.rule(
    severity="warning",
    source="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
    bad=Use(engine="anthropic", decoding={"min_p": 0.1}, capabilities=capabilities_of("anthropic", "claude-opus-5")),
    good=Use(engine="vllm", decoding={"min_p": 0.1}, capabilities=capabilities_of("vllm", "m")),
)
def ignored_parameter(use: Use) -> Findings:
    """A parameter is set that the model does not accept, with its reason.

    vLLM ignores fields that it does not know without a word; hosted models of 2026 refuse temperature, or have it
    dropped on the way. Comparing settings of such a parameter compares noise with noise.
    """
    if use.capabilities is not None:
        for parameter in filter_parameters(use.capabilities, use.decoding)[1]:
            fix = (
                "Remove the parameter. This model takes a reasoning effort instead."
                if use.capabilities.efforts
                else f"Remove {parameter.partition(':')[0]}."
            )
            yield Finding(message=f"The model does not accept the parameter {parameter.rpartition(' (')[0]}.", fix=fix)


@LINTS.rule(
    severity="note",
    fix="Keep only one: set top_p = 1 or min_p = 0. Run `tuneworthy decode explain` to compare both.",
    source="https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
    bad=Use(engine="llama_cpp", decoding={"temperature": 1.4, "top_p": 0.9, "top_k": 0, "min_p": 0.1}),
    good=Use(engine="llama_cpp", decoding={"temperature": 0.7, "top_p": 1.0, "top_k": 0, "min_p": 0.1}),
)
def temperature_with_top_p(use: Use) -> str:
    """top_p and min_p together with a temperature: which one cuts depends on the engine's order.

    HF cuts with top_p before min_p and vLLM after it, both after the temperature; llama.cpp cuts before the
    temperature. Numbers that were tuned on one engine keep other tokens on another.
    """
    return (
        (
            "top_p and min_p are both set, together with a temperature. Which of the two takes effect depends on "
            "the engine."
        )
        if use.value("top_p", 1) < 1 and use.value("min_p", 0) > 0 and use.value("temperature", 1) not in {0.0, 1.0}
        else ""
    )
