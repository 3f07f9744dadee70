"""Chat messages: checked, and brought to the OpenAI shape with text content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tuneworthy.cases.faults import RowFault, kind_of, show
from tuneworthy.types import Message

ROLES = ("system", "developer", "user", "assistant", "tool")
_ROLE_HINT = f"Roles are {', '.join(ROLES)}"
_MESSAGE = 'a message {"role": ..., "content": ...}'


def check_messages(value: Any, name: str = "messages") -> tuple[Message, ...]:
    """Return `value` as messages of text.

    Lists of text parts become one text; keys whose value is null are left out (Parquet writes them).

    Raises:
        RowFault: Not a list of messages, an unknown role, or content that is not text.
    """
    if not isinstance(value, list) or not value:
        raise RowFault(f"{name} as a list of messages", kind_of(value))
    return tuple([_message(message, f"{name}[{i}]") for i, message in enumerate(value)])


def _message(message: Any, where: str) -> Message:
    if not isinstance(message, dict):
        raise RowFault(f"{_MESSAGE} at {where}", kind_of(message))
    role = message.get("role")
    if role not in ROLES:
        if role is None:
            raise RowFault(f"a role at {where}", f"none in {show(message)}", _ROLE_HINT)
        raise RowFault(f"a known role at {where}", kind_of(role), _ROLE_HINT)
    content = message.get("content")
    if type(content) is str:
        if None in message.values():
            return {key: item for key, item in message.items() if item is not None}
        return message
    clean = {key: item for key, item in message.items() if item is not None}
    if content is None:
        if role == "assistant" and clean.get("tool_calls"):
            return {**clean, "content": None}
        raise RowFault(f"text as content at {where}", "none", "Only an assistant that calls tools has no content")
    clean["content"] = text_of_parts(content, where)
    return clean


def text_of_parts(content: Any, where: str) -> str:
    """Join the parts ``{"type": "text", "text": ...}`` of `content`.

    Raises:
        RowFault: A part that is not text.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise RowFault(f"text as content at {where}", kind_of(content))
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) else None
        if not isinstance(text, str):
            raise RowFault(f"text as content at {where}", kind_of(part), "Images and sound are not supported")
        texts.append(text)
    return "\n".join(texts)


def check_chat(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return `messages` if they can be learned from: a user's turn, and an answer at the end.

    Raises:
        RowFault: No user's turn, or the last message is not an assistant's answer.
    """
    last = messages[-1]
    if last["role"] != "assistant":
        raise RowFault("the assistant's answer as last message", f"the role {last['role']!r}", "Take the rest off")
    if not last.get("tool_calls") and not str(last.get("content") or "").strip():
        raise RowFault("an answer of the assistant", "an empty one", "Write the answer, or take the row out")
    if not any(message["role"] == "user" for message in messages):
        raise RowFault("at least one user's turn", "none")
    return messages


def turns_text(messages: Sequence[Message]) -> str:
    """Return what is said in `messages`, system messages aside, as one text."""
    turns = [str(m.get("content") or "") for m in messages if m.get("role") not in {"system", "developer"}]
    return "\n".join(turns)
