"""Anthropic: requests with their responses, and conversations with tool calls."""

from collections.abc import Set

from tuneworthy.cases.formats.example_rows import log_example, messages_example
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Format, register
from tuneworthy.cases.formats.values import dicts_at, word_at
from tuneworthy.types import JsonObject

_BLOCKS = frozenset({"tool_use", "tool_result", "thinking", "redacted_thinking"})


def _detect(keys: Set[str], first: JsonObject) -> bool:
    response = first.get("response", first.get("response_body"))
    if isinstance(response, dict):
        return response.get("type") == "message" or {"stop_reason", "content"} <= response.keys()
    turns = dicts_at(first, "messages")
    kinds = {word_at(block, "type") for turn in turns for block in dicts_at(turn, "content")}
    return not _BLOCKS.isdisjoint(kinds) or (isinstance(first.get("system"), str) and bool(turns))


register(
    EXAMPLE_FORMATS,
    Format(
        name="anthropic",
        title="Anthropic messages",
        unit="conversation",
        detect=_detect,
        convert=lambda row, journal: (
            messages_example if {"response", "response_body"}.isdisjoint(row) else log_example
        )(row, journal),
    ),
)
