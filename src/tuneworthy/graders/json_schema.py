"""Grader `json_schema`: the answer is JSON that is valid under a schema of the project.

It judges only form: a case needs no label. References are resolved within the schema file only; nothing is
fetched. A schema is checked and applied in the limited child: its patterns and alternatives may take any time.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import urldefrag

import jsonschema
import orjson
from jsonschema.exceptions import SchemaError
from referencing.jsonschema import EMPTY_REGISTRY

from tuneworthy import limited
from tuneworthy.config.graders import JsonSchema
from tuneworthy.errors import UserError
from tuneworthy.graders.base import FORMAT, GRADERS, RIGHT, AnswerGrader, GradingContext
from tuneworthy.graders.json_text import NOTHING, find_json
from tuneworthy.input_files import read_input
from tuneworthy.types import Case, Score, Texts, Trace, content_hash

# Of checking a schema and of judging one answer by it, seconds of processor time.
OPEN_S = 10.0
APPLY_S = 2.0
_FIX_SCHEMA = "Fix the schema file."
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def load_schema(data: bytes, name: str) -> Any:
    """Read a JSON Schema and check that it is one, and that it needs nothing from outside.

    Raises:
        UserError: It is not JSON, not a valid schema, or refers to another file or the network.
    """
    try:
        schema = orjson.loads(data)
        fault = limited.call(schema_fault, orjson.dumps(schema).decode(), limit_s=OPEN_S)
    except orjson.JSONDecodeError as error:
        raise UserError(f"{name} is not valid JSON: {error}.", hint=_FIX_SCHEMA) from None
    except TypeError as error:  # deeper than it can be written
        fault = str(error)
    except limited.OverLimit as error:
        fault = error.reason
    if fault:
        raise UserError(f"{name} is not a valid JSON Schema: {fault}.", hint=_FIX_SCHEMA)
    own = set(_strings(schema, ("$id", "id")))
    outside = (one for one in _strings(schema, _REFERENCES) if urldefrag(one)[0] not in {"", *own})
    if reference := next(outside, ""):
        raise UserError(
            f"{name} refers to {reference!r}, which is outside the file.",
            hint="Copy the referenced schema into $defs.",
        )
    return schema


def _strings(value: Any, keys: Texts) -> Iterator[str]:
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, dict):
            yield from (one[key] for key in keys if isinstance(one.get(key), str))
            stack.extend(one.values())
        elif isinstance(one, list):
            stack.extend(one)


@GRADERS.register("json_schema")
class JsonSchemaGrader(AnswerGrader[JsonSchema]):
    """Valid 1; JSON that breaks the schema 0 (`schema`); no JSON 0 (`format`)."""

    needs_expected = False

    def __init__(self, config: JsonSchema, context: GradingContext) -> None:
        schema = load_schema(read_input(context.file(config.path, "a JSON Schema")), config.path)
        super().__init__(config, schema_hash=content_hash(schema))
        self._schema = orjson.dumps(schema).decode()
        self._strict = config.strict

    def __call__(self, trace: Trace, case: Case) -> Score:
        value = find_json(trace.text, strict=self._strict)
        if value is NOTHING:
            return FORMAT
        try:
            error = limited.call(first_error, self._schema, value, limit_s=APPLY_S)
        except limited.OverLimit as over:
            return Score.failed(f"the schema cannot be applied ({over.reason})"[:300])
        return RIGHT if error is None else Score(reason="schema", detail={"error": error})


def schema_fault(schema: str) -> str:
    """Return why a schema cannot be used; "" if it can be. It runs in the limited child."""
    value = orjson.loads(schema)
    try:
        jsonschema.validators.validator_for(value, jsonschema.Draft202012Validator).check_schema(value)
    except (SchemaError, RecursionError, AttributeError, TypeError) as error:
        return str(getattr(error, "message", str(error)))[:200] or type(error).__name__
    return ""


def first_error(schema: str, value: Any) -> str | None:
    """Return where and how `value` breaks a schema most; None if it is valid. It runs in the limited child."""
    error = jsonschema.exceptions.best_match(_validator(schema).iter_errors(value))
    return None if error is None else f"{error.json_path}: {error.message}"[:300]


@lru_cache(maxsize=4)
def _validator(schema: str) -> Any:
    value = orjson.loads(schema)
    return jsonschema.validators.validator_for(value, jsonschema.Draft202012Validator)(value, registry=EMPTY_REGISTRY)
