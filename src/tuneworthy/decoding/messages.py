"""Every sentence of this folder that a person reads at run time."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # Engines and presets
        "unknown_engine": "There is no engine called {name!r}. The engines are {names}.",
        "unknown_preset": "There is no preset called {name!r}. The presets are {names}.",
        "unknown_task_kind": "There is no kind of task called {kind!r}.",
        "parameter_range": "{name} must be between {low:g} and {high:g}, not {value:g}.",
        "set_in_range": "Set {name} to a value in that range.",
        "temperature_too_high": "{engine} accepts a temperature of at most {most:g}, not {value:g}.",
        "top_p_not_positive": "{engine} accepts only a top_p above 0, not {value:g}.",
        "no_distribution": "Probabilities must be a list of numbers, none of them negative and not all of them 0.",
        "no_logit": "No logit is finite.",
        "give_logits": "Give the logits of one position.",
        "wrong_order": "Only llama.cpp takes another order, of exactly these samplers: {samplers}. The order was {order}.",
        "unknown_tokens": "The context has tokens outside the vocabulary (0 to {last}).",
        "no_probabilities": "The probabilities of the likeliest tokens must be positive numbers, at least one of them.",
        "min_p_translated": "{engine} cuts before the temperature, so min_p is m^T there ({url})",
        "top_k_off_default": "{engine} cuts with a top_k of its own unless it is set ({url})",
        "top_k_off_model": "{engine} takes top_k from the model's generation_config.json unless it is set ({url})",
        # What one set of parameters does on several engines
        "engine_defaults": "{engine}: engine defaults in effect: {values}.",
        "not_supported": "{engine} ignores {names}, which it does not support.",
        "raised": "{engine} raises {name} to {value:g}.",
        "min_p_after_temperature": (
            "min_p {min_p:g} after temperature {temperature:g} cuts like min_p {at_one:.3f} at temperature 1 (m^T). "
            "llama.cpp cuts before the temperature."
        ),
        "penalty_offset": (
            "repetition_penalty {penalty:g} depends on a constant offset of the logits that changes no probability: "
            "{token} gets {shares}.{unknown}"
        ),
        "offset_unknown": " The offset of these logits is not known.",
        "tail_assumed": "The mass of the tokens behind the last one shown is known; how it is spread is an assumption.",
        # Lints: comparisons and log-probabilities
        "one_draw": "A fixed seed ({seed}) above temperature 0 makes all repeats of an answer the same draw.",
        "one_draw_fix": "Remove seed, or set temperature to 0.",
        "threshold": "A log-probability of {threshold:g} ({share}) is used as a threshold that no graded answers support.",
        "threshold_share": "a token probability of {share:.2f}",
        "threshold_impossible": "no log-probability is above 0",
        "threshold_fix": "Calibrate it with `tuneworthy decode uncertainty`.",
        # Lints: sampling parameters
        "unset": "Temperature is 1 and nothing is cut off{where}, so any token can be drawn.",
        "unset_vllm": " (or whatever the model's generation_config.json says)",
        "unset_fix": "Set temperature or min_p, and compare settings with `tuneworthy decode sweep`.",
        "creative_temperature": (
            "Temperature is {temperature:g}: of a distribution with one token at 85% and a tail, the tail then gets {tail:.1%}."
        ),
        "creative_temperature_fix": (
            "Ask for variety in the prompt (directions, seed words), and set temperature to 1 or less."
        ),
        "penalty_high": "repetition_penalty is {penalty:g}, above {highest:g}.",
        "penalty_high_fix": (
            "Remove it. Against loops use frequency_penalty, DRY (llama.cpp) or repetition_detection (vLLM)."
        ),
        "penalty_repeats": "repetition_penalty is {penalty:g} although the answer has to {must}.",
        "quotes": "quote retrieved text",
        "repeats_keys": "repeat keys",
        "copies_label": "copy a label",
        "penalty_repeats_fix": "Set repetition_penalty to 1.",
        "penalty_greedy": "At temperature 0, {names} can still change which token is the likeliest.",
        "remove": "Remove {names}.",
        "min_p_not_alone": "min_p is not the only cut: {engine} also applies its own {values}.",
        "set": "Set {values}.",
        "not_accepted": "The model does not accept {parameter}.",
        "use_effort": "Remove it. This model takes an effort instead.",
        "no_effect": "The server ignores {name}, as a probe found.",
        "no_effect_fix": "Remove {name}, or serve the model with an engine that supports it.",
        "two_cuts": "Both top_p and min_p are set beside a temperature: which of them acts depends on the engine.",
        "two_cuts_fix": "Keep one of them: set top_p = 1 or min_p = 0. Compare them with `tuneworthy decode explain`.",
        # Lints: structured output
        "sampled_structure": "A constrained answer is sampled: temperature is {temperature}.",
        "temperature_unset": "not set, so the engine samples",
        "sampled_structure_fix": "Set temperature to 0.",
        "format_type": "response_format has the type {type!r}; known types are json_schema, json_object and text.",
        "format_keys": "response_format.json_schema lacks {names}.",
        "format_fix": (
            "Remove it: the rung few_shot constrains answers to a schema. "
            'Elsewhere write {"type": "json_schema", "json_schema": {"name": ..., "schema": ...}}.'
        ),
        "dead_field": "vLLM ignores the field {name}, so the answer is not constrained.",
        "dead_field_fix": (
            "Remove it: the rung few_shot constrains answers to a schema. Elsewhere send response_format or structured_outputs."
        ),
        "schema_too_deep": "The schema is nested {levels} levels deep; {engine} accepts {most}.",
        "schema_too_deep_fix": "Flatten the schema.",
        "limit_too_low": "The shortest answer of the schema takes about {least:.0f} tokens; max_tokens is {most}.",
        "limit_too_low_fix": "Raise max_tokens, and treat finish_reason = length as a failure.",
        "no_room_to_think": "The prompt asks for reasoning first, but the constraint applies from the first token.",
        "no_room_to_think_fix": (
            "Put a reasoning field first in the schema, constrain a second call, or use the engine's reasoning parser."
        ),
        "not_constrained": "The server does not constrain answers to {what}, as a probe found.",
        "a_schema": "a schema",
        "given_choices": "given choices",
        "not_constrained_fix": (
            "Serve the model with an engine that does (llama_cpp, vllm), or fix the server and run `tuneworthy models probe`."
        ),
    }
).say
