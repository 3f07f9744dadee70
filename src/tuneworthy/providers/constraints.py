"""How an `OutputFormat` is written into a request, and how a wrapped answer is read back: pure.

A choice has no common form: llama.cpp takes a grammar, vLLM a list, and servers with JSON schemas alone an
object with one field, which `unwrap` opens again.

Source: https://platform.openai.com/docs/guides/structured-outputs (`name` is required).
"""

from typing import Any

import orjson

from tuneworthy.providers.capabilities import Capabilities
from tuneworthy.providers.grammar import choice_grammar
from tuneworthy.types import JsonObject, JsonSchema, OutputFormat

# The one field of a wrapped choice.
FIELD = "label"


def constraint(output: OutputFormat, capabilities: Capabilities) -> tuple[JsonObject, str]:
    """Return the part of a request body that enforces `output`, and why it cannot ("" if it can)."""
    if output.kind == "free":
        return {}, ""
    if output.kind == "json_schema" and output.schema is not None:
        return _schema_part(output.schema, "answer", capabilities)
    if output.kind == "choice" and output.choices:
        if capabilities.choice == "grammar":
            return {"grammar": choice_grammar(output.choices)}, ""
        if capabilities.choice == "structured_outputs":
            return {"structured_outputs": {"choice": list(output.choices)}}, ""
        if capabilities.choice == "wrapped_schema":
            return _schema_part(choice_schema(output.choices), "choice", capabilities)
    return {}, f"output: {output.kind} is not enforced ({capabilities.family})"


def choice_schema(choices: tuple[str, ...]) -> JsonSchema:
    """Write `choices` as the schema of an object with one field."""
    return {
        "type": "object",
        "properties": {FIELD: {"type": "string", "enum": list(choices)}},
        "required": [FIELD],
        "additionalProperties": False,
    }


def unwrap(text: str) -> str:
    """Return the label in a wrapped choice; `text` itself if it is cut off or refused."""
    try:
        label = orjson.loads(text)[FIELD]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return text
    return label if isinstance(label, str) else text


def put(body: JsonObject, wire: str, value: Any) -> None:
    """Set a field; each dot in its name opens an object (which is copied, as it may be shared)."""
    first, dot, rest = wire.partition(".")
    if not dot:
        body[first] = value
        return
    inner = dict(body.get(first, {}))
    put(inner, rest, value)
    body[first] = inner


def is_strict(schema: Any) -> bool:
    """Whether `schema` is in OpenAI's strict subset: each object closed, and all its fields required.

    Source: OpenAI, structured outputs, "supported schemas".
    """
    if isinstance(schema, list):
        return all(map(is_strict, schema))
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        if schema.get("additionalProperties") is not False:
            return False
        if set(schema.get("properties", {})) != set(schema.get("required", ())):
            return False
    return all(is_strict(value) for name, value in schema.items() if name not in {"enum", "const", "default"})


def _schema_part(schema: JsonSchema, name: str, capabilities: Capabilities) -> tuple[JsonObject, str]:
    if capabilities.json_schema == "response_format":
        return {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": name, "schema": schema, "strict": is_strict(schema)},
            }
        }, ""
    if capabilities.json_schema == "output_config":
        return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}, ""
    return {}, f"output: json_schema is not enforced ({capabilities.family})"
