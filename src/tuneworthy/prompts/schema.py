"""A JSON schema inferred from answers: the shape that the examples show, closed to other fields."""

from collections.abc import Iterable, Sequence
from types import NoneType
from typing import Any

from tuneworthy.types import JsonObject, JsonSchema

# A `bool` is an `int` too.
_TYPES: list[tuple[type, str]] = [
    (NoneType, "null"),
    (dict, "object"),
    (list, "array"),
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (str, "string"),
]


def infer_schema(values: Iterable[Any]) -> JsonSchema | None:
    """Return the schema of `values` (parsed JSON), or None if they are not all objects.

    A field is required if every value has it. Objects and lists are described one level at a time.

    >>> infer_schema([{"a": 1}, {"a": 2, "b": "x"}])["required"]
    ['a']
    """
    rows = list(values)
    return _object(rows) if rows and all(isinstance(row, dict) for row in rows) else None


def _object(rows: Sequence[JsonObject]) -> JsonSchema:
    names = sorted({name for row in rows for name in row})
    return {
        "type": "object",
        "properties": {name: _value([row[name] for row in rows if name in row]) for name in names},
        "required": [name for name in names if all(name in row for row in rows)],
        "additionalProperties": False,
    }


def _value(values: Sequence[Any]) -> JsonSchema:
    kinds = {next(name for kind, name in _TYPES if isinstance(value, kind)) for value in values}
    schema: JsonSchema = {"type": sorted(kinds) if len(kinds) > 1 else kinds.pop()}
    if "object" in str(schema["type"]):
        inner = _object([value for value in values if isinstance(value, dict)])
        schema |= {key: inner[key] for key in ("properties", "required", "additionalProperties")}
    if "array" in str(schema["type"]):
        items = [item for value in values if isinstance(value, list) for item in value]
        schema["items"] = _value(items) if items else {}
    return schema
