"""How an `OutputFormat` is written into a request, and how a wrapped answer is read back: pure.

A choice has no common form: llama.cpp takes a grammar, vLLM a list, and servers with JSON schemas only an
object with one field, which `unwrap` opens again.

llama.cpp gets the choices as a grammar that is a tree of their common beginnings: it keeps one stack for each
alternative that is still open and tests candidate tokens against all stacks.

Source: https://platform.openai.com/docs/guides/structured-outputs (`name` is required); llama.cpp grammars/README.md
(escapes, grouping).
"""

from itertools import groupby
from operator import itemgetter
from os.path import commonprefix
from typing import Any

import orjson

from tuneworthy.errors import UserError
from tuneworthy.providers.capabilities import Capabilities
from tuneworthy.types import JsonObject, JsonSchema, OutputFormat, Texts

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def choice_grammar(choices: Texts) -> str:
    r"""Return a grammar whose only sentences are `choices`.

    A grammar is over characters, not tokens: every tokenisation of a choice is accepted, and after its last
    character only the end of the answer is.

    Args:
        choices: At least one; not empty, without NUL. Copies count once.

    Raises:
        UserError: There is no choice, or one that cannot be written.

    >>> print(choice_grammar(["card_lost", "card", 'say "hi"']))
    root ::= ("card" ("_lost")? | "say \"hi\"")
    """
    wanted = sorted(set(choices))
    if not wanted or not wanted[0]:
        raise UserError(
            "A constrained answer needs at least one label, and no label may be empty.", hint="Fix the labels."
        )
    if any("\0" in choice for choice in wanted):
        raise UserError("A label contains a NUL character.", hint="Fix the labels.")
    return f"root ::= {_alternatives(wanted)}"


def quoted(text: str) -> str:
    r"""Return `text` as a GBNF literal.

    >>> print(quoted('a "b"\n'))
    "a \"b\"\n"
    """
    letters = [_ESCAPES.get(one) or (one if one.isprintable() else f"\\U{ord(one):08X}") for one in text]
    return '"' + "".join(letters) + '"'


def _alternatives(endings: Texts) -> str:
    """Return a group that reads one of `endings` (sorted, different; only the first may be empty)."""
    optional = "?" if not endings[0] else ""
    full = endings[1:] if optional else endings
    return "(" + " | ".join(_branch(list(group)) for _, group in groupby(full, key=itemgetter(0))) + ")" + optional


def _branch(group: Texts) -> str:
    start = commonprefix(group)  # noqa: RUF071 (characters are compared, as wanted)
    rest = f" {_alternatives([word[len(start) :] for word in group])}" if len(group) > 1 else ""
    return quoted(start) + rest


# The one field of a wrapped choice.
FIELD = "label"


def constraint(output: OutputFormat, capabilities: Capabilities) -> tuple[JsonObject, str]:
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


def choice_schema(choices: Texts) -> JsonSchema:
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
    if (schema.get("type") == "object" or "properties" in schema) and (
        schema.get("additionalProperties") is not False
        or set(schema.get("properties", {})) != set(schema.get("required", ()))
    ):
        return False
    return all(is_strict(value) for name, value in schema.items() if name not in {"enum", "const", "default"})


def _schema_part(schema: JsonSchema, name: str, capabilities: Capabilities) -> tuple[JsonObject, str]:
    named = {"name": name, "schema": schema, "strict": is_strict(schema)}
    if capabilities.json_schema == "response_format":
        return {"response_format": {"type": "json_schema", "json_schema": named}}, ""
    if capabilities.json_schema == "output_config":
        return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}, ""
    return {}, f"output: json_schema is not enforced ({capabilities.family})"
