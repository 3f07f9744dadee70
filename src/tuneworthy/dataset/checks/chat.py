"""Rows that are no chat to learn from: schema, order of the turns, and text that is broken."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tuneworthy.cases.formats.chats import check_chat, check_messages, is_blank
from tuneworthy.cases.readers.faults import RowFault
from tuneworthy.dataset.base import Context, Finding, check
from tuneworthy.types import Example, Message

_BROKEN = re.compile("[\x00\ud800-\udfff\ufffd]|Ã[\x80-\xbf©¤¶¼]|â€[™œ\x9d\u201c\u201d¦]")
"""NUL, half a character, the sign for a lost one, and UTF-8 that was read as Latin-1 or Windows-1252."""


def chat_fault(messages: Sequence[Message]) -> tuple[str, str] | None:
    """Return the reason why `messages` are no chat to learn from, and words without their content; None if they are.

    >>> chat_fault([{"role": "user", "content": "Hi"}])
    ('bad_chat', "expected the assistant's answer as last message")
    """
    try:
        chat = check_chat(check_messages(list(messages)))
    except RowFault as fault:
        return "bad_chat", f"expected {fault.expected}"
    for number, message in enumerate(chat):
        content = message.get("content")
        if isinstance(content, str) and _BROKEN.search(content):
            return "broken_text", f"messages[{number}]"
        if not message.get("tool_calls") and message["role"] != "tool" and is_blank(content or ""):
            return "empty_turn", f"messages[{number}] of {message['role']}"
    return _tool_fault(chat)


def _tool_fault(chat: Sequence[Message]) -> tuple[str, str] | None:
    """Return the fault of tool calls and their results: a result nobody asked for, or a call without a result."""
    open_calls: set[Any] = set()
    waiting = False
    for number, message in enumerate(chat):
        if message["role"] == "tool":
            asked = message.get("tool_call_id")
            if not waiting or (asked is not None and open_calls and asked not in open_calls):
                return "tool_turns", f"messages[{number}] is a tool's result that was not asked for"
            open_calls.discard(asked)
            continue
        if open_calls:
            return "tool_turns", f"messages[{number}] comes before a tool's result"
        calls = message.get("tool_calls") or ()
        waiting = bool(calls)
        open_calls = {call["id"] for call in calls if isinstance(call, dict) and call.get("id") is not None}
    return None


@check("chat")
@dataclass(frozen=True, slots=True)
class Chat:
    """Rows that are no chat: no question, no answer at the end, an unknown role, an empty turn, broken text.

    A trainer either fails on such a row or, worse, teaches the model to answer with nothing or with garbage. Tool
    results must follow the call that they answer.

    Bad: a chat that ends with the user's turn.
    """

    code: ClassVar[str]
    reasons: ClassVar = {
        "bad_chat": "not a chat that ends with an answer",
        "broken_text": "text with NUL, half characters, or read in the wrong encoding",
        "empty_turn": "a turn in which nothing is said",
        "tool_turns": "tool calls and results that do not belong together",
    }
    whole: ClassVar = False
    gate: ClassVar = frozenset(reasons)

    def find(self, rows: Sequence[Example], context: Context) -> Iterator[Finding]:
        """Yield the first fault of each row."""
        for number, row in enumerate(rows):
            if fault := chat_fault(row.messages):
                yield Finding(number, *fault)
