"""Every sentence of this folder that a person reads at run time."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    __name__,
    {
        # Engines and presets
        "unknown_task_kind": "Unknown task type {kind!r}.",
        "parameter_range": "{name} must be between {low:g} and {high:g}, not {value:g}.",
        "set_in_range": "Set {name} to a value in this range.",
        "temperature_too_high": "{engine} accepts temperatures of at most {most:g}, not {value:g}.",
        "top_p_not_positive": "{engine} accepts only top_p values above 0, not {value:g}.",
        "no_distribution": "Probabilities must be non-negative numbers, and at least one must be positive.",
        "no_logit": "The logits contain NaN, or the largest of them is not finite.",
        "give_logits": "Pass the logits of one position as a one-dimensional array.",
        "wrong_order": (
            "Only llama.cpp supports a custom sampler order. The order must contain exactly {samplers}, not {order}."
        ),
        "unknown_tokens": "The context contains token IDs outside the vocabulary (0 to {last}).",
        "no_probabilities": (
            "Pass at least one token probability. Probabilities must be non-negative, and at least one must be "
            "positive."
        ),
        "min_p_translated": "{engine} applies min_p before the temperature, so min_p = m is translated to m^T ({url})",
        "top_k_off_default": "{engine} has a default top_k that applies unless you set it ({url})",
        "top_k_off_model": "{engine} takes top_k from the model's generation_config.json unless you set it ({url})",
        # What one set of parameters does on several engines
        "engine_defaults": "{engine} applies its defaults: {values}.",
        "not_supported": "{engine} does not support {names} and ignores them.",
        "raised": "{engine} raises {name} to {value:g}.",
        "min_p_after_temperature": (
            "After temperature {temperature:g}, min_p {min_p:g} has the effect of min_p {at_one:.3f} at temperature 1 "
            "({min_p:g}^{temperature:g}). llama.cpp applies min_p before the temperature."
        ),
        "penalty_offset": (
            "The effect of repetition_penalty {penalty:g} depends on a constant offset of all logits, which otherwise "
            "changes no probability. Depending on the offset, the probability of {token} is {shares}.{unknown}"
        ),
        "offset_unknown": " The offset of these logits is unknown.",
        "tail_assumed": (
            "The total probability of the hidden tail tokens is known, but its distribution over them is assumed."
        ),
        # Lints: comparisons and log-probabilities
        "one_draw": (
            "The fixed seed {seed} makes all repeats of an answer identical, even though the temperature is above 0."
        ),
        "one_draw_fix": "Remove seed, or set temperature to 0.",
        "threshold": "The log-probability threshold {threshold:g} ({share}) has not been calibrated on graded answers.",
        "threshold_share": "a token probability of {share:.2f}",
        "threshold_impossible": "no log-probability is above 0",
        "threshold_fix": "Run `tuneworthy decode uncertainty` to calibrate the threshold.",
        # Lints: sampling parameters
        "unset": (
            "Temperature is at least 1, and no sampler truncates the distribution{where}, so any token can be drawn."
        ),
        "unset_vllm": " (unless the model's generation_config.json says otherwise)",
        "unset_fix": "Set temperature or min_p. Run `tuneworthy decode sweep` to compare settings.",
        "creative_temperature": (
            "Temperature is {temperature:g}. For example, a long tail with a total probability of 15.0% at temperature "
            "1 rises to {tail:.1%}."
        ),
        "creative_temperature_fix": (
            "Ask for variety in the prompt (directions, seed words), and set temperature to at most 1."
        ),
        "penalty_high": "repetition_penalty is {penalty:g}, above the recommended maximum of {highest:g}.",
        "penalty_high_fix": (
            "Remove the penalty. To prevent loops, use frequency_penalty, DRY (llama.cpp) or repetition_detection "
            "(vLLM)."
        ),
        "penalty_repeats": "repetition_penalty is {penalty:g}, but the answer has to {must}.",
        "quotes": "quote retrieved text",
        "repeats_keys": "repeat keys",
        "copies_label": "copy a label",
        "penalty_repeats_fix": "Set repetition_penalty to 1.",
        "penalty_greedy": "At temperature 0, {names} can still change which token is most likely.",
        "remove": "Remove {names}.",
        "min_p_not_alone": (
            "min_p is not the only sampler that truncates: {engine} also applies its defaults ({values})."
        ),
        "set": "Set {values}.",
        "not_accepted": "The model does not accept the parameter {parameter}.",
        "use_effort": "Remove the parameter. This model takes a reasoning effort instead.",
        "no_effect": "A probe found that the server ignores {name}.",
        "no_effect_fix": "Remove {name}, or serve the model with an engine that supports it.",
        "two_cuts": (
            "top_p and min_p are both set, together with a temperature. Which of the two takes effect depends on the "
            "engine."
        ),
        "two_cuts_fix": "Keep only one: set top_p = 1 or min_p = 0. Run `tuneworthy decode explain` to compare both.",
        # Lints: structured output
        "sampled_structure": "The constrained answer is sampled because temperature is {temperature}.",
        "temperature_unset": "not set",
        "sampled_structure_fix": "Set temperature to 0.",
        "format_type": (
            "response_format has the unknown type {type!r}. Known types are json_schema, json_object and text."
        ),
        "format_keys": "response_format.json_schema lacks {names}.",
        "format_fix": (
            "Remove response_format: the rung few_shot already constrains answers to a schema. In other rungs, use "
            '{"type": "json_schema", "json_schema": {"name": ..., "schema": ...}}.'
        ),
        "dead_field": "vLLM ignores the field {name}, so the answer is not constrained.",
        "dead_field_fix": (
            "Remove the field: the rung few_shot already constrains answers to a schema. In other rungs, send "
            "response_format or structured_outputs."
        ),
        "schema_too_deep": "The schema has {levels} levels of nesting, but {engine} accepts at most {most}.",
        "schema_too_deep_fix": "Flatten the schema.",
        "limit_too_low": (
            "The shortest answer that fits the schema takes about {least:.0f} tokens, but max_tokens is {most}."
        ),
        "limit_too_low_fix": "Raise max_tokens, and treat finish_reason = length as a failure.",
        "no_room_to_think": "The prompt asks for reasoning first, but the constraint applies from the first token.",
        "no_room_to_think_fix": (
            "Put a reasoning field first in the schema, constrain only a second call, or use the engine's reasoning "
            "parser."
        ),
        "not_constrained": "A probe found that the server does not constrain answers to {what}.",
        "a_schema": "a schema",
        "given_choices": "fixed choices",
        "not_constrained_fix": (
            "Serve the model with an engine that constrains answers (llama_cpp or vllm), or fix the server and run "
            "`tuneworthy models probe MODEL`."
        ),
    },
).say
