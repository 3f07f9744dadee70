"""Anthropic: requests with their responses, and conversations with calls of tools."""

from typing import Any

from tuneworthy.cases.formats.chats import word_at
from tuneworthy.cases.formats.example_rows import log_example, messages_example
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Fields, Format

_BLOCKS = frozenset({"tool_use", "tool_result", "thinking", "redacted_thinking"})


def _example(row: dict[str, Any]) -> Fields:
    return messages_example(row) if "response" not in row and "response_body" not in row else log_example(row)


def _detect(keys: Any, first: dict[str, Any]) -> bool:
    response = first.get("response", first.get("response_body"))
    if isinstance(response, dict):
        return response.get("type") == "message" or ("stop_reason" in response and "content" in response)
    turns = first.get("messages")
    contents = [turn.get("content") for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else []
    blocks = [block for content in contents if isinstance(content, list) for block in content]
    kinds = {word_at(block, "type") for block in blocks if isinstance(block, dict)}
    return not _BLOCKS.isdisjoint(kinds) or (isinstance(first.get("system"), str) and bool(contents))


EXAMPLE_FORMATS.register("anthropic")(
    Format(
        name="anthropic",
        title="Anthropic messages",
        unit="conversation",
        shape='{"system": ..., "messages": [{"role": "user", "content": [{"type": "text", ...}]}, ...]}',
        detect=_detect,
        converter=lambda journal: _example,
        priority=-5,
    )
)
