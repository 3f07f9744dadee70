"""Grader `tool_call`: the expected tools are called with the expected arguments.

Calls are read from the response's `tool_calls` (OpenAI shape). A call that is only written out as text is not
a call: reason `format`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tuneworthy.config.graders import ToolCall
from tuneworthy.graders.base import FORMAT, GRADERS, RIGHT, AnswerGrader
from tuneworthy.graders.json_fields import compare
from tuneworthy.graders.json_text import find_json, is_deep
from tuneworthy.types import Case, JsonMapping, Score, Trace

Call = tuple[str, JsonMapping]
_CALL_KEYS = frozenset({"name", "function", "tool", "tool_name", "tool_calls", "arguments", "parameters"})


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

    def label_fault(self, expected: Any) -> str:
        return (
            (f'{str(expected)[:80]!r} is neither a tool call with "name" and "arguments" nor a list of such calls')
            if expected_calls(expected) is None
            else ""
        )

    def __call__(self, trace: Trace, case: Case) -> Score:
        expected = expected_calls(case.expected)
        if expected is None:
            return Score.failed(self.label_fault(case.expected))
        calls = [read_call(call) for call in (*trace.calls, *(trace.response.tool_calls if trace.response else ()))]
        read = [call for call in calls if call]
        if len(read) < len(calls) or (not calls and expected and _written_out(trace.text)):
            return FORMAT
        if not calls and not expected:
            return RIGHT if trace.text.strip() else FORMAT
        detail = {"called": [{"name": name, "arguments": dict(arguments)} for name, arguments in read]}
        if sorted(name for name, _ in read) != sorted(name for name, _ in expected):
            return Score(reason="wrong_tool" if calls else "no_call", detail=detail)
        return RIGHT if self._all_match(expected, read) else Score(reason="wrong_arguments", detail=detail)

    def _all_match(self, expected: Sequence[Call], called: Sequence[Call]) -> bool:
        rest = list(called)
        for call in expected:
            for other in rest:
                if call[0] == other[0] and all(one.fp == one.fn == 0 for one in compare(call[1], other[1]).values()):
                    rest.remove(other)
                    break
            else:
                return False
        return True


def _written_out(text: str) -> bool:
    value = find_json(text)
    if isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, dict) and not _CALL_KEYS.isdisjoint(value)
