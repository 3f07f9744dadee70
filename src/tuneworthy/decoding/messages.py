"""Every sentence of this folder that a person reads at run time."""

from __future__ import annotations

from typing import Final

# Engines and presets
UNKNOWN_ENGINE: Final = "There is no engine called {name!r}. The engines are {names}."
UNKNOWN_PRESET: Final = "There is no preset called {name!r}. The presets are {names}."
UNKNOWN_TASK_KIND: Final = "There is no kind of task called {kind!r}."
PARAMETER_RANGE: Final = "{name} must be between {low:g} and {high:g}, not {value:g}."
SET_IN_RANGE: Final = "Set {name} to a value in that range."
TEMPERATURE_TOO_HIGH: Final = "{engine} accepts a temperature of at most {most:g}, not {value:g}."
TOP_P_NOT_POSITIVE: Final = "{engine} accepts only a top_p above 0, not {value:g}."
NO_DISTRIBUTION: Final = "Probabilities must be a list of numbers, none of them negative and not all of them 0."
NO_LOGIT: Final = "No logit is finite."
GIVE_LOGITS: Final = "Give the logits of one position."
WRONG_ORDER: Final = "Only llama.cpp takes another order, of exactly these samplers: {samplers}. The order was {order}."
UNKNOWN_TOKENS: Final = "The context has tokens outside the vocabulary (0 to {last})."
NO_PROBABILITIES: Final = "The probabilities of the likeliest tokens must be positive numbers, at least one of them."
MIN_P_TRANSLATED: Final = "{engine} cuts before the temperature, so min_p is m^T there ({url})"
TOP_K_OFF_DEFAULT: Final = "{engine} cuts with a top_k of its own unless it is set ({url})"
TOP_K_OFF_MODEL: Final = "{engine} takes top_k from the model's generation_config.json unless it is set ({url})"

# What one set of parameters does on several engines
ENGINE_DEFAULTS: Final = "{engine}: engine defaults in effect: {values}."
NOT_SUPPORTED: Final = "{engine} ignores {names}, which it does not support."
RAISED: Final = "{engine} raises {name} to {value:g}."
MIN_P_AFTER_TEMPERATURE: Final = (
    "min_p {min_p:g} after temperature {temperature:g} cuts like min_p {at_one:.3f} at temperature 1 (m^T). "
    "llama.cpp cuts before the temperature."
)
PENALTY_OFFSET: Final = (
    "repetition_penalty {penalty:g} depends on a constant offset of the logits that changes no probability: "
    "{token} gets {shares}.{unknown}"
)
OFFSET_UNKNOWN: Final = " The offset of these logits is not known."
TAIL_ASSUMED: Final = "The mass of the tokens behind the last one shown is known; how it is spread is an assumption."

# Lints: comparisons and log-probabilities
ONE_DRAW: Final = "A fixed seed ({seed}) above temperature 0 makes all repeats of an answer the same draw."
ONE_DRAW_FIX: Final = "Remove seed, or set temperature to 0."
THRESHOLD: Final = "A log-probability of {threshold:g} ({share}) is used as a threshold that no graded answers support."
THRESHOLD_SHARE: Final = "a token probability of {share:.2f}"
THRESHOLD_IMPOSSIBLE: Final = "no log-probability is above 0"
THRESHOLD_FIX: Final = "Calibrate it with `tuneworthy decode uncertainty`."

# Lints: sampling parameters
UNSET: Final = "Temperature is 1 and nothing is cut off{where}, so any token can be drawn."
UNSET_VLLM: Final = " (or whatever the model's generation_config.json says)"
UNSET_FIX: Final = "Set temperature or min_p, and compare settings with `tuneworthy decode sweep`."
CREATIVE_TEMPERATURE: Final = (
    "Temperature is {temperature:g}: of a distribution with one token at 85% and a tail, the tail then gets {tail:.1%}."
)
CREATIVE_TEMPERATURE_FIX: Final = (
    "Ask for variety in the prompt (directions, seed words), and set temperature to 1 or less."
)
PENALTY_HIGH: Final = "repetition_penalty is {penalty:g}, above {highest:g}."
PENALTY_HIGH_FIX: Final = (
    "Remove it. Against loops use frequency_penalty, DRY (llama.cpp) or repetition_detection (vLLM)."
)
PENALTY_REPEATS: Final = "repetition_penalty is {penalty:g} although the answer has to {must}."
QUOTES: Final = "quote retrieved text"
REPEATS_KEYS: Final = "repeat keys"
COPIES_LABEL: Final = "copy a label"
PENALTY_REPEATS_FIX: Final = "Set repetition_penalty to 1."
PENALTY_GREEDY: Final = "At temperature 0, {names} can still change which token is the likeliest."
REMOVE: Final = "Remove {names}."
MIN_P_NOT_ALONE: Final = "min_p is not the only cut: {engine} also applies its own {values}."
SET: Final = "Set {values}."
NOT_ACCEPTED: Final = "The model does not accept {parameter}."
USE_EFFORT: Final = "Remove it. This model takes an effort instead."
NO_EFFECT: Final = "The server ignores {name}, as a probe found."
NO_EFFECT_FIX: Final = "Remove {name}, or serve the model with an engine that supports it."
TWO_CUTS: Final = "Both top_p and min_p are set beside a temperature: which of them acts depends on the engine."
TWO_CUTS_FIX: Final = "Keep one of them: set top_p = 1 or min_p = 0. Compare them with `tuneworthy decode explain`."

# Lints: structured output
SAMPLED_STRUCTURE: Final = "A constrained answer is sampled: temperature is {temperature}."
TEMPERATURE_UNSET: Final = "not set, so the engine samples"
SAMPLED_STRUCTURE_FIX: Final = "Set temperature to 0."
FORMAT_TYPE: Final = "response_format has the type {type!r}; known types are json_schema, json_object and text."
FORMAT_KEYS: Final = "response_format.json_schema lacks {names}."
FORMAT_FIX: Final = (
    "Remove it: the rung few_shot constrains answers to a schema. "
    'Elsewhere write {"type": "json_schema", "json_schema": {"name": ..., "schema": ...}}.'
)
DEAD_FIELD: Final = "vLLM ignores the field {name}, so the answer is not constrained."
DEAD_FIELD_FIX: Final = (
    "Remove it: the rung few_shot constrains answers to a schema. Elsewhere send response_format or structured_outputs."
)
SCHEMA_TOO_DEEP: Final = "The schema is nested {levels} levels deep; {engine} accepts {most}."
SCHEMA_TOO_DEEP_FIX: Final = "Flatten the schema."
LIMIT_TOO_LOW: Final = "The shortest answer of the schema takes about {least:.0f} tokens; max_tokens is {most}."
LIMIT_TOO_LOW_FIX: Final = "Raise max_tokens, and treat finish_reason = length as a failure."
NO_ROOM_TO_THINK: Final = "The prompt asks for reasoning first, but the constraint applies from the first token."
NO_ROOM_TO_THINK_FIX: Final = (
    "Put a reasoning field first in the schema, constrain a second call, or use the engine's reasoning parser."
)
NOT_CONSTRAINED: Final = "The server does not constrain answers to {what}, as a probe found."
A_SCHEMA: Final = "a schema"
GIVEN_CHOICES: Final = "given choices"
NOT_CONSTRAINED_FIX: Final = (
    "Serve the model with an engine that does (llama_cpp, vllm), or fix the server and run `tuneworthy models probe`."
)
