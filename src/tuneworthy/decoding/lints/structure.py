"""Lints of structured output, of comparisons of settings, and of uses of log-probabilities."""

from collections.abc import Mapping

from tuneworthy.decoding.lints.base import LINTS, Use
from tuneworthy.decoding.structured import depth, limits, shortest
from tuneworthy.rules import Sentences
from tuneworthy.types import JsonObject

FORMAT_FIX = (
    "Remove response_format: the rung few_shot already constrains answers to a schema. In other rungs, use "
    '{"type": "json_schema", "json_schema": {"name": ..., "schema": ...}}.'
)

BYTES_A_TOKEN = 4
DEAD_FIELDS = ("guided_json", "guided_choice", "guided_regex", "guided_grammar", "guided_decoding_backend")
_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def _nested(levels: int) -> JsonObject:
    schema: JsonObject = {"type": "string"}
    for _ in range(levels - 1):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


@LINTS.rule(
    severity="warning",
    fix="Set temperature to 0.",
    source="https://arxiv.org/abs/2501.10868",
    bad=Use(engine="llama_cpp", decoding={"temperature": 0.7}, output="json_schema"),
    good=Use(engine="llama_cpp", decoding={"temperature": 0}, output="json_schema"),
)
def sampled_structure(use: Use) -> str:
    """A constrained answer is sampled above temperature 0.

    A grammar keeps the syntax right at any temperature; which value appears in a field is still drawn, so the same
    question gives different fields.
    """
    temperature = use.value("temperature", 1)
    return (
        (
            "The constrained answer is sampled because temperature is "
            f"{f'{temperature:g}' if 'temperature' in use.decoding else 'not set'}."
        )
        if use.output != "free" and temperature > 0 and use.decoding.get("effort") is None and use.can_be_greedy
        else ""
    )


@LINTS.rule(
    severity="error",
    fix=FORMAT_FIX,
    source="https://platform.openai.com/docs/guides/structured-outputs",
    bad=Use(
        engine="vllm",
        decoding={"temperature": 0, "response_format": {"type": "json_schema", "json_schema": _SCHEMA}},
    ),
    good=Use(
        engine="vllm",
        decoding={
            "temperature": 0,
            "response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": _SCHEMA}},
        },
    ),
)
def response_format_shape(use: Use) -> str:
    """`response_format` has the wrong shape: a bare schema in place of an object with a name and a schema."""
    response_format = use.decoding.get("response_format")
    if response_format is None:
        return ""
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if kind not in {"json_schema", "json_object", "text"}:
        return (
            f"response_format has the unknown type {str(kind or response_format)[:60]!r}. Known types are "
            "json_schema, json_object and text."
        )
    inner = response_format.get("json_schema")
    lacking = [key for key in ("name", "schema") if not isinstance(inner, Mapping) or key not in inner]
    return f"response_format.json_schema lacks {' and '.join(lacking)}." if kind == "json_schema" and lacking else ""


@LINTS.rule(
    severity="error",
    fix=(
        "Remove the field: the rung few_shot already constrains answers to a schema. In other rungs, "
        "send response_format or structured_outputs."
    ),
    source="https://docs.vllm.ai/en/latest/features/structured_outputs.html",
    bad=Use(engine="vllm", decoding={"temperature": 0, "guided_json": _SCHEMA}),
    good=Use(engine="vllm", decoding={"temperature": 0, "structured_outputs": {"json": _SCHEMA}}),
)
def dead_structure_field(use: Use) -> Sentences:
    """A field that vLLM once read is sent: it is ignored now, and the answer is not constrained."""
    for name in DEAD_FIELDS:
        if name in use.decoding:
            yield f"vLLM ignores the field {name}, so the answer is not constrained."


@LINTS.rule(
    severity="error",
    fix="Flatten the schema.",
    source="https://docs.vllm.ai/en/latest/features/structured_outputs.html",
    bad=Use(engine="vllm", output="json_schema", decoding={"temperature": 0}, schema=_nested(70)),
    good=Use(engine="vllm", output="json_schema", decoding={"temperature": 0}, schema=_nested(5)),
)
def schema_nesting(use: Use) -> str:
    """A schema is nested deeper than the engine accepts."""
    most = limits()[use.engine].nesting if use.engine in limits() else None
    return (
        f"The schema has {levels} levels of nesting, but {use.engine} accepts at most {most}."
        if use.schema is not None and most is not None and (levels := depth(use.schema)) > most
        else ""
    )


@LINTS.rule(
    severity="error",
    fix="Raise max_tokens, and treat finish_reason = length as a failure.",
    source="https://platform.openai.com/docs/guides/structured-outputs",
    bad=Use(
        engine="vllm",
        output="json_schema",
        decoding={"temperature": 0},
        max_tokens=8,
        schema={**_SCHEMA, "properties": {f"field_{i}": {"type": "string"} for i in range(12)}}
        | {"required": [f"field_{i}" for i in range(12)]},
    ),
    good=Use(engine="vllm", output="json_schema", decoding={"temperature": 0}, max_tokens=64, schema=_SCHEMA),
)
def truncated_structure(use: Use) -> str:
    """The limit of the answer is below the shortest answer that the schema allows: every answer is cut off.

    A grammar guarantees the beginning of an answer, never its end. Tokens are estimated as bytes / 4.
    """
    if use.schema is None or use.max_tokens is None:
        return ""
    least = len(shortest(use.schema)) / BYTES_A_TOKEN
    return (
        (
            f"The shortest answer that fits the schema takes about {least:.0f} tokens, but max_tokens is "
            f"{use.max_tokens}."
        )
        if least > use.max_tokens
        else ""
    )


@LINTS.rule(
    severity="warning",
    fix=(
        "Put a reasoning field first in the schema, constrain only a second call, or use the engine's reasoning parser."
    ),
    source="https://arxiv.org/abs/2502.09061",
    bad=Use(engine="vllm", output="json_schema", decoding={"temperature": 0}, thinks_first=True),
    good=Use(engine="vllm", output="free", decoding={"temperature": 0}, thinks_first=True),
)
def thinking_constrained(use: Use) -> str:
    """The prompt asks for reasoning first, but the constraint begins with the first token: there is no room to think.

    Where the engine has a reasoning parser (vLLM), the constraint can begin after the thinking; else ask twice, or put
    a field for the reasoning first in the schema.
    """
    return (
        "The prompt asks for reasoning first, but the constraint applies from the first token."
        if use.thinks_first and use.output != "free" and use.decoding.get("effort") is None
        else ""
    )


@LINTS.rule(
    severity="warning",
    fix="Remove seed, or set temperature to 0.",
    source="https://thinkingmachines.ai/blog/defeating-nondeterminism-in-llm-inference/",
    bad=Use(engine="vllm", decoding={"temperature": 0.7, "min_p": 0.05, "seed": 1}, compares=True),
    good=Use(engine="vllm", decoding={"temperature": 0.7, "min_p": 0.05}, compares=True),
)
def one_draw(use: Use) -> str:
    """Settings are compared on one draw: a seed makes all repeats of a sampled answer the same.

    One seed is one draw. It repeats an answer, where the server obeys it at all; it does not align two models. Even
    temperature 0 varies where the batch changes. Repeats that differ, paired on the means of cases, make a
    comparison fair.
    """
    seed = use.decoding.get("seed")
    return (
        (f"The fixed seed {seed} makes all repeats of an answer identical, even though the temperature is above 0.")
        if use.compares and seed is not None and use.can_be_greedy and use.value("temperature", 1) > 0
        else ""
    )
