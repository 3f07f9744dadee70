"""Lints of structured output: that it is asked for in the right shape, and comes whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tuneworthy.decoding.lints.base import Fault, Use, lint
from tuneworthy.decoding.structured import depth, engine_limits, shortest

BYTES_A_TOKEN = 4
DEAD_FIELDS = ("guided_json", "guided_choice", "guided_regex", "guided_grammar", "guided_decoding_backend")
_RUN = "remove it (the rung few_shot holds answers to a schema by itself)"
_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def _nested(levels: int) -> dict[str, Any]:
    """Return a schema of so many levels."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels - 1):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


@lint(
    "sampled_structure",
    "warning",
    source="article, failure mode 4; facts.md 0, row 16",
    bad=Use(engine="llama_cpp", decoding={"temperature": 0.7}, output="json_schema"),
    good=Use(engine="llama_cpp", decoding={"temperature": 0}, output="json_schema"),
)
def sampled_structure(use: Use) -> Iterator[Fault]:
    """A constrained answer is sampled above temperature 0.

    A grammar keeps the syntax right at any temperature; which value stands in a field is still drawn, so the same
    question gives different fields.
    """
    temperature = use.value("temperature", 1)
    if use.output != "free" and temperature > 0 and use.decoding.get("effort") is None and use.can_be_greedy:
        set_to = f"{temperature:g}" if "temperature" in use.decoding else "none, so the engine samples"
        yield f"expected temperature 0 for a constrained answer, got {set_to}", "set temperature to 0"


@lint(
    "response_format_shape",
    "error",
    source="facts.md 0, row 23 (vLLM 0.33 requires the name)",
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
def response_format_shape(use: Use) -> Iterator[Fault]:
    """`response_format` has the wrong shape: a schema stands where an object with a name and a schema belongs."""
    told = use.decoding.get("response_format")
    if told is None:
        return
    right = f'{_RUN}; elsewhere write {{"type": "json_schema", "json_schema": {{"name": ..., "schema": ...}}}}'
    kind = told.get("type") if isinstance(told, Mapping) else None
    if kind not in {"json_schema", "json_object", "text"}:
        got = repr(str(kind or told)[:60])
        yield f"response_format: expected a type of json_schema, json_object or text, got {got}", right
    elif kind == "json_schema":
        inner = told.get("json_schema")
        lacking = [key for key in ("name", "schema") if not isinstance(inner, Mapping) or key not in inner]
        if lacking:
            yield f"response_format.json_schema: expected name and schema, got none of {', '.join(lacking)}", right


@lint(
    "dead_structure_field",
    "error",
    source="facts.md C1 (removed fields are ignored: the output is not constrained)",
    bad=Use(engine="vllm", decoding={"temperature": 0, "guided_json": _SCHEMA}),
    good=Use(engine="vllm", decoding={"temperature": 0, "structured_outputs": {"json": _SCHEMA}}),
)
def dead_structure_field(use: Use) -> Iterator[Fault]:
    """A field that vLLM once read is sent: it is ignored now, and the answer is not constrained."""
    for name in DEAD_FIELDS:
        if name in use.decoding:
            yield (
                f"expected a field that constrains the answer, got {name}, which is ignored",
                f"{_RUN}; elsewhere send response_format or structured_outputs",
            )


@lint(
    "schema_nesting",
    "error",
    source="facts.md C3 (vLLM caps schemas at 64 levels)",
    bad=Use(engine="vllm", output="json_schema", decoding={"temperature": 0}, schema=_nested(70)),
    good=Use(engine="vllm", output="json_schema", decoding={"temperature": 0}, schema=_nested(5)),
)
def schema_nesting(use: Use) -> Iterator[Fault]:
    """A schema is nested deeper than the engine accepts."""
    most = engine_limits(use.engine).nesting
    if use.schema is not None and most is not None and (levels := depth(use.schema)) > most:
        yield f"expected a schema of at most {most} levels on {use.engine}, got {levels}", "flatten the schema"


@lint(
    "truncated_structure",
    "error",
    source="facts.md C3 (finish_reason length: cut-off JSON)",
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
def truncated_structure(use: Use) -> Iterator[Fault]:
    """The limit of the answer is below the shortest answer that the schema allows: every answer is cut off.

    A grammar guarantees the beginning of an answer, never its end. Tokens are estimated as bytes / 4.
    """
    if use.schema is None or use.max_tokens is None:
        return
    least = len(shortest(use.schema)) / BYTES_A_TOKEN
    if least > use.max_tokens:
        yield (
            f"expected max_tokens of at least {least:.0f} for the shortest answer of the schema, got {use.max_tokens}",
            "raise max_tokens, and treat finish_reason = length as a failure",
        )


@lint(
    "thinking_constrained",
    "warning",
    source="facts.md C3 (CRANE: up to about 10 points of reasoning)",
    bad=Use(engine="vllm", output="json_schema", decoding={"temperature": 0}, thinks_first=True),
    good=Use(engine="vllm", output="free", decoding={"temperature": 0}, thinks_first=True),
)
def thinking_constrained(use: Use) -> Iterator[Fault]:
    """The prompt asks for reasoning first, but the constraint begins with the first token: there is no room to think.

    Where the engine has a reasoning parser (vLLM), the constraint can begin after the thinking; else ask twice, or put
    a field for the reasoning first in the schema.
    """
    if use.thinks_first and use.output != "free" and use.decoding.get("effort") is None:
        yield (
            "expected the constraint to begin after the reasoning, got one from the first token on",
            "put a reasoning field first in the schema, constrain a second call, or use the engine's reasoning parser",
        )


@lint(
    "ignored_constraint",
    "error",
    source="facts.md C1 (probe that a schema acts: the answer parses)",
    bad=Use(engine="vllm", output="json_schema", decoding={"temperature": 0}, probed={"json_schema": "no"}),
    good=Use(engine="vllm", output="json_schema", decoding={"temperature": 0}, probed={"json_schema": "yes"}),
)
def ignored_constraint(use: Use) -> Iterator[Fault]:
    """A probe found that the server does not hold its answers to the schema, or to the choices, that it is sent.

    Servers ignore fields that they do not know without a word. Free and structured output are then the same variant,
    and what does not parse counts as wrong.
    """
    if use.output != "free" and use.idle(use.output):
        what = "a schema" if use.output == "json_schema" else "given choices"
        yield (
            f"expected a server that holds answers to {what}, got one that does not (a probe found so)",
            "serve the model with an engine that does (llama_cpp, vllm), or mend the server and probe it again",
        )
