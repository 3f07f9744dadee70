"""Structured output per engine, and the depth and shortest answer of a schema.

The table is data (`structured.json`), with its source and date.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from tuneworthy.store.shapes import bundled_rows
from tuneworthy.types import JsonMapping, JsonSchema, NamedTexts, frozen

_DEEPEST = 200
_SHORTEST: NamedTexts = {
    "string": '""', "integer": "0", "number": "0", "boolean": "true", "null": "null", "array": "[]", "object": "{}",
}  # fmt: skip


@frozen
class StructuredOutputLimits:
    """What one engine does.

    Attributes:
        nesting: Levels of a schema that it accepts; None if no limit is known.
        thinking: How reasoning can come before the constrained part.
        truncation: What happens at `max_tokens`.
        backends: What enforces the schema.
        source: Page that says so.
        mark: V (read there), V2 (read in a secondary source), K (not verified).
    """

    engine: str
    nesting: int | None = None
    thinking: str = ""
    truncation: str = ""
    backends: str = ""
    source: str = ""
    mark: str = "K"


@lru_cache(maxsize=1)
def limits() -> dict[str, StructuredOutputLimits]:
    return {
        row.engine: row
        for row in bundled_rows("tuneworthy.decoding", "structured.json", "engines", StructuredOutputLimits)
    }


def depth(schema: Any, root: JsonMapping | None = None, seen: int = 0) -> int:
    """Return how many levels of objects and lists a schema has, references opened; a recursive one counts as 200.

    >>> depth({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}})
    3
    """
    root = schema if root is None else root
    if seen >= _DEEPEST or not isinstance(schema, Mapping):
        return 0
    if "$ref" in schema:
        return depth(_target(schema["$ref"], root), root, seen + 1)
    same = [one for key in ("anyOf", "oneOf", "allOf") for one in schema.get(key, ())]
    items = schema.get("items")
    below = [*schema.get("properties", {}).values(), *([items] if isinstance(items, Mapping) else [])]
    inner = max((depth(one, root, seen + 1) for one in below), default=0)
    return min(_DEEPEST, max(1 + inner, max((depth(schema, root, seen + 1) for schema in same), default=0)))


def shortest(schema: Any, root: JsonMapping | None = None, seen: int = 0) -> str:
    """Return about the shortest JSON that fits a schema: only required fields, empty texts.

    >>> shortest({"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]})
    '{"a":""}'
    """
    root = schema if root is None else root
    if seen >= _DEEPEST or not isinstance(schema, Mapping):
        return "0"
    if "$ref" in schema:
        return shortest(_target(schema["$ref"], root), root, seen + 1)
    if "const" in schema or "enum" in schema:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        return min((orjson.dumps(value).decode() for value in values), key=len)
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return min((shortest(one, root, seen + 1) for one in schema[key]), key=len)
    kind = schema.get("type", "object" if "properties" in schema else "null")
    return min((_shortest_of(one, schema, root, seen) for one in (kind if isinstance(kind, list) else [kind])), key=len)


def _shortest_of(kind: str, schema: JsonMapping, root: JsonMapping, seen: int) -> str:
    if kind == "object":
        known = schema.get("properties", {})
        pairs = [f'"{name}":{shortest(known.get(name, {}), root, seen + 1)}' for name in schema.get("required", ())]
        return "{" + ",".join(pairs) + "}"
    if kind == "array" and schema.get("minItems"):
        return "[" + ",".join([shortest(schema.get("items", {}), root, seen + 1)] * int(schema["minItems"])) + "]"
    if kind == "string":
        return '"' + " " * int(schema.get("minLength", 0)) + '"'
    return _SHORTEST.get(kind, "0")


def _target(reference: str, root: JsonMapping) -> JsonSchema:
    node = root
    for part in str(reference).removeprefix("#/").split("/"):
        node = node.get(part, {}) if isinstance(node, Mapping) else {}
    return node if isinstance(node, dict) else {}
