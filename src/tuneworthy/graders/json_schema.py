"""Grader `json_schema`: the answer is JSON that is valid under a schema of the project.

It judges form alone: a case needs no label. References are resolved within the schema file only; nothing is
fetched.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urldefrag

import jsonschema
import orjson
from jsonschema.exceptions import SchemaError
from referencing.jsonschema import EMPTY_REGISTRY

from tuneworthy.config.graders import JsonSchema
from tuneworthy.errors import UserError
from tuneworthy.graders import messages
from tuneworthy.graders.base import FORMAT, GRADERS, RIGHT, AnswerGrader, GradingContext
from tuneworthy.graders.json_text import NOTHING, find_json
from tuneworthy.types import Case, Score, Trace, content_hash

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def load_schema(data: bytes, name: str) -> Any:
    """Read a JSON Schema and check that it is one, and that it needs nothing from outside.

    Raises:
        UserError: It is not JSON, not a valid schema, or refers to another file or the network.
    """
    try:
        schema = orjson.loads(data)
        jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator).check_schema(schema)
    except orjson.JSONDecodeError as error:
        raise UserError(messages.say("no_json", name=name, error=error), hint=messages.say("fix_schema")) from None
    except (SchemaError, RecursionError, AttributeError, TypeError) as error:
        raise UserError(
            messages.say("no_schema", name=name, error=str(getattr(error, "message", str(error)))[:200]),
            hint=messages.say("fix_schema"),
        ) from None
    own = set(_strings(schema, ("$id", "id")))
    for reference in _strings(schema, _REFERENCES):
        base = urldefrag(reference)[0]
        if base and base not in own:
            raise UserError(
                messages.say("outside_reference", name=name, reference=reference), hint=messages.say("copy_reference")
            )
    return schema


def _strings(value: Any, keys: tuple[str, ...]) -> Iterator[str]:
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
        schema = load_schema(context.file(config.path, messages.say("json_schema")).read_bytes(), config.path)
        super().__init__(config, schema_hash=content_hash(schema))
        kind = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
        self._validator = kind(schema, registry=EMPTY_REGISTRY)
        self._strict = config.strict

    def __call__(self, trace: Trace, case: Case) -> Score:
        """Read the JSON in the answer and validate it."""
        value = find_json(trace.text, strict=self._strict)
        if value is NOTHING:
            return FORMAT
        try:
            error = jsonschema.exceptions.best_match(self._validator.iter_errors(value))
        except Exception as fault:
            return Score.failed(messages.say("schema_failed", error=fault)[:300])
        if error is None:
            return RIGHT
        return Score(reason="schema", detail={"error": f"{error.json_path}: {error.message}"[:300]})
