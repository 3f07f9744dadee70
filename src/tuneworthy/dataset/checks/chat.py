"""Rows that are no chat to learn from: schema, order of the turns, and text that is broken."""

import re
from typing import Any

from tuneworthy.cases.formats.chats import check_chat, check_messages, is_blank
from tuneworthy.cases.readers.faults import RowFault
from tuneworthy.dataset import messages
from tuneworthy.dataset.base import CheckContext, RowFinding, RowFindings, data_check
from tuneworthy.types import Examples, Messages, TextPair, calls_of, role_of

# NUL, half a character, the sign for a lost one, and UTF-8 that was read as Latin-1 or Windows-1252.
_BROKEN = re.compile("[\x00\ud800-\udfff\ufffd]|Ã[\x80-\xbf©¤¶¼]|â€[™œ\x9d\u201c\u201d¦]")


def chat_fault(turns: Messages) -> TextPair | None:
    """Return code and description of what makes `turns` unfit for training, without their content; None if nothing.

    >>> chat_fault([{"role": "user", "content": "Hi"}])
    ('bad_chat', "expected the assistant's answer as last message")
    """
    try:
        chat = check_chat(check_messages(list(turns)))
    except RowFault as fault:
        return "bad_chat", f"expected {fault.fault.expected}"
    for number, message in enumerate(chat):
        content = message.get("content")
        if isinstance(content, str) and _BROKEN.search(content):
            return "broken_text", f"messages[{number}]"
        if not calls_of(message) and role_of(message) != "tool" and is_blank(content or ""):
            return "empty_turn", f"messages[{number}] ({role_of(message)})"
    return _tool_fault(chat)


def _tool_fault(chat: Messages) -> TextPair | None:
    """Return the fault of tool calls and their results: a result without its call, or a call without its result."""
    open_calls: set[Any] = set()
    waiting = False
    for number, message in enumerate(chat):
        if role_of(message) == "tool":
            call_id = message.get("tool_call_id")
            if not waiting or (call_id is not None and open_calls and call_id not in open_calls):
                return "tool_turns", f"messages[{number}] is a tool result without a matching call"
            open_calls.discard(call_id)
            continue
        if open_calls:
            return "tool_turns", f"messages[{number}] comes before the result of an earlier tool call"
        calls = calls_of(message)
        waiting = bool(calls)
        open_calls = {call["id"] for call in calls if isinstance(call, dict) and call.get("id") is not None}
    return None


@data_check("chat", gate=frozenset(messages.REASONS["chat"]), certain=True)
def chat(rows: Examples, context: CheckContext) -> RowFindings:
    """Rows that are not a valid chat: no question, no answer at the end, an unknown role, an empty turn, broken text.

    A trainer either fails on such a row or, worse, teaches the model to answer with nothing or with garbage. Tool
    results must follow the call that they answer.

    Bad: a chat that ends with the user's turn.
    """
    for number, row in enumerate(rows):
        if fault := chat_fault(row.messages):
            yield RowFinding(row=number, code=fault[0], message=fault[1])
