"""Grader `tool_call`: the expected tools are called with the expected arguments.

Calls are read from the response's `tool_calls` (OpenAI shape). A call that is only written out as text is not
a call: reason `format`. Where the case has the tool's JSON schema, it says which arguments are equal: "3" and 3 for an
integer, a missing argument and its default, lists in any order if their items are unique.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import chain
from typing import Any

from tuneworthy.config.graders import ToolCall
from tuneworthy.graders.base import FORMAT, GRADERS, RIGHT, AnswerGrader
from tuneworthy.graders.json_fields import Atom, as_number, atom, compare
from tuneworthy.graders.json_text import find_json, is_deep
from tuneworthy.types import Case, JsonMapping, Score, Trace

Call = tuple[str, JsonMapping]
_CALL_KEYS = frozenset({"name", "function", "tool", "tool_name", "tool_calls", "arguments", "parameters"})
# Schemas inside one another that are read; one may refer to itself.
_MAX_DEPTH = 16


def read_call(value: Any) -> Call | None:
    """Return name and arguments of a call, `{"name", "arguments"}` or OpenAI's shape; None if it is unreadable.

    >>> read_call({"type": "function", "function": {"name": "book", "arguments": '{"n": 2}'}})
    ('book', {'n': 2})
    """
    if isinstance(value, Mapping) and isinstance(value.get("function"), Mapping):
        value = value["function"]
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments") or {}
    if isinstance(arguments, str):
        arguments = find_json(arguments, strict=True)
    return (value["name"], arguments) if isinstance(arguments, Mapping) and not is_deep(arguments) else None


def expected_calls(expected: Any) -> list[Call] | None:
    if isinstance(expected, str):
        expected = find_json(expected, strict=True)
    calls = [read_call(one) for one in (expected if isinstance(expected, list | tuple) else [expected])]
    return None if any(one is None for one in calls) else [one for one in calls if one]


@GRADERS.register("tool_call")
class ToolCallGrader(AnswerGrader[ToolCall]):
    """All expected calls, in any order, and no others: 1; else 0 with what went wrong."""

    takes_calls = True

    def label_fault(self, expected: Any) -> str:
        return (
            (f'{str(expected)[:80]!r} is neither a tool call with "name" and "arguments" nor a list of such calls')
            if expected_calls(expected) is None
            else ""
        )

    def case_fault(self, case: Case) -> str:
        return "" if case.tools and isinstance(case.expected, str) else super().case_fault(case)

    def __call__(self, trace: Trace, case: Case) -> Score:
        if fault := self.case_fault(case):
            return Score.failed(fault)
        expected = expected_calls(case.expected) or []
        calls = [read_call(call) for call in (*trace.calls, *(trace.response.tool_calls if trace.response else ()))]
        read = [call for call in calls if call]
        if len(read) < len(calls) or (not calls and _written_out(trace.text)):
            return FORMAT
        if not calls and not expected:
            return RIGHT if trace.text.strip() else FORMAT
        detail = {"called": [{"name": name, "arguments": dict(arguments)} for name, arguments in read]}
        if sorted(name for name, _ in read) != sorted(name for name, _ in expected):
            return Score(reason="wrong_tool" if calls else "no_call", detail=detail)
        return RIGHT if self._all_match(expected, read, case.tools) else Score(reason="wrong_arguments", detail=detail)

    def _all_match(self, expected: Sequence[Call], called: Sequence[Call], tools: Sequence[JsonMapping]) -> bool:
        rest, schemas = list(called), dict(map(_declared, tools))
        for call in expected:
            for other in rest:
                if call[0] == other[0] and _agree(call[1], other[1], schemas.get(call[0])):
                    rest.remove(other)
                    break
            else:
                return False
        return True


def _agree(one: JsonMapping, other: JsonMapping, schema: JsonMapping | None) -> bool:
    if schema is not None:
        form, another = (comparable(value, schema, schema) for value in (one, other))
        return bool(form == another)
    return all(counts.fp == counts.fn == 0 for counts in compare(one, other).values())


def _declared(tool: JsonMapping) -> tuple[str, Any]:
    """Return the name and the schema of the arguments of a tool."""
    function = tool.get("function", tool)
    return str(function.get("name")), function.get("parameters")


def comparable(value: Any, schema: JsonMapping, root: JsonMapping, depth: int = 0) -> Any:
    """Return an argument in a form that equal arguments share.

    Args:
        value: Any JSON.
        schema: Of the value.
        root: Whole schema, for references.
        depth: Schemas around this one.

    >>> schema = {"properties": {"n": {"type": "integer", "default": 1}}}
    >>> comparable({"n": "3"}, schema, schema) == comparable({"n": 3.0}, schema, schema), comparable({}, schema, schema)
    (True, {'n': ('n', 1)})
    """
    parts = [*_parts(schema, root)] if depth < _MAX_DEPTH else []
    if isinstance(value, Mapping):
        return {
            key: comparable(one, field, root, depth + 1) for key, (one, field) in _fields(value, parts, root).items()
        }
    if isinstance(value, list | tuple):
        of_item = next((_mapping(part["items"]) for part in parts if "items" in part), {})
        items = [comparable(one, of_item, root, depth + 1) for one in value]
        return sorted(items, key=repr) if any(part.get("uniqueItems") for part in parts) else items
    return _scalar(value, {name for part in parts for name in _listed(part.get("type"))})


def _fields(value: JsonMapping, parts: Sequence[JsonMapping], root: JsonMapping) -> dict[str, tuple[Any, JsonMapping]]:
    """Return the fields that are set, those with a default too, each with its schema; null is not set."""
    fields = dict(chain.from_iterable(_mapping(part.get("properties")).items() for part in parts))
    others = next((_mapping(part["additionalProperties"]) for part in parts if "additionalProperties" in part), {})
    schemas = {key: [*_parts(_mapping(field), root)] for key, field in fields.items()}
    given = {key: part["default"] for key, some in schemas.items() for part in some if "default" in part}
    given |= {str(key): one for key, one in value.items() if one is not None}
    return {key: (one, _mapping(fields.get(key, others))) for key, one in given.items() if one is not None}


def _scalar(value: Any, types: Set[Any]) -> Atom:
    if isinstance(value, str) and "string" not in types:
        number = as_number(value)
        if number is not None and types & {"integer", "number"}:
            value = number
        elif "boolean" in types and value.casefold() in {"true", "false"}:
            value = value.casefold() == "true"
    kind, one = atom(value)
    return kind, int(one) if isinstance(one, float) and one.is_integer() else one


def _parts(schema: JsonMapping, root: JsonMapping, depth: int = 0) -> Iterator[JsonMapping]:
    """Yield a schema, and those that it refers to or chooses from."""
    yield schema
    place: Any = root
    for key in str(schema.get("$ref", "")).removeprefix("#").split("/")[1:]:
        place = _mapping(_mapping(place).get(key))
    inner = [schema[key] for key in ("anyOf", "oneOf", "allOf") if isinstance(schema.get(key), list)]
    for part in [*([place] if "$ref" in schema else []), *chain.from_iterable(inner)]:
        if isinstance(part, Mapping) and depth < _MAX_DEPTH:
            yield from _parts(part, root, depth + 1)


def _mapping(value: Any) -> JsonMapping:
    return value if isinstance(value, Mapping) else {}


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _written_out(text: str) -> bool:
    value = find_json(text)
    if isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, dict) and not _CALL_KEYS.isdisjoint(value)
