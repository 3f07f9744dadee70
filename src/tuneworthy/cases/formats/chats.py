"""Chat messages: checked, and brought to the OpenAI shape with text content."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from tuneworthy.cases.readers.faults import RowFault, kind_of, show
from tuneworthy.types import Message

ROLES = ("system", "developer", "user", "assistant", "tool")
_ROLE_HINT = f"Roles are {', '.join(ROLES)}"
_MESSAGE = 'a message {"role": ..., "content": ...}'
_UNSEEN = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def is_blank(text: str) -> bool:
    """Whether nothing of `text` can be seen: white space, control, zero-width and direction characters.

    >>> is_blank(" \\u200b\\u202e"), is_blank("ok")
    (True, False)
    """
    bare = text.strip()
    if bare and bare[0].isascii() and bare[0].isprintable():
        return False
    return all(unicodedata.category(char) in _UNSEEN or char in _FILLERS for char in bare)


def check_messages(value: Any, name: str = "messages") -> tuple[Message, ...]:
    """Return `value` as messages of text.

    Lists of text parts become one text; keys whose value is null are left out (Parquet writes them).

    Raises:
        RowFault: Not a list of messages, an unknown role, or content that is not text.
    """
    if not isinstance(value, list) or not value:
        raise RowFault(f"{name} as a list of messages", kind_of(value), code="no_messages")
    return tuple([_message(message, f"{name}[{i}]") for i, message in enumerate(value)])


def _message(message: Any, where: str) -> Message:
    if not isinstance(message, dict):
        raise RowFault(f"{_MESSAGE} at {where}", kind_of(message), code="bad_message")
    role = message.get("role")
    if role not in ROLES:
        if role is None:
            raise RowFault(f"a role at {where}", f"none in {show(message)}", _ROLE_HINT, code="unknown_role")
        raise RowFault(f"a known role at {where}", kind_of(role), _ROLE_HINT, code="unknown_role")
    content = message.get("content")
    if type(content) is str:
        if None in message.values():
            return {key: item for key, item in message.items() if item is not None}
        return message
    clean = {key: item for key, item in message.items() if item is not None}
    if content is None:
        if role == "assistant" and clean.get("tool_calls"):
            return {**clean, "content": None}
        hint = "Only an assistant that calls tools has no content"
        raise RowFault(f"text as content at {where}", "none", hint, code="no_content")
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
        raise RowFault(f"text as content at {where}", kind_of(content), code="not_text")
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) else None
        if not isinstance(text, str):
            hint = "Images and sound are not supported"
            raise RowFault(f"text as content at {where}", kind_of(part), hint, code="not_text")
        texts.append(text)
    return "\n".join(texts)


def check_chat(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return `messages` if they can be learned from: a user's turn, an answer at the end, no empty answer before.

    Raises:
        RowFault: No user's turn, an empty turn of the assistant, or the last message is not an assistant's answer.
    """
    last = messages[-1]
    if last["role"] != "assistant":
        got = f"the role {last['role']!r}"
        raise RowFault("the assistant's answer as last message", got, "Take the rest off", code="no_answer")
    asked = False
    for message in messages:
        if message["role"] == "user":
            asked = True
        elif message["role"] == "assistant" and _says_nothing(message):
            code = "empty_answer" if message is last else "empty_turn"
            raise RowFault(
                "an answer of the assistant", "an empty one", "Write the answer, or take the row out", code=code
            )
    if not asked:
        raise RowFault("at least one user's turn", "none", code="no_question")
    return messages


def _says_nothing(message: Message) -> bool:
    return not message.get("tool_calls") and is_blank(str(message.get("content") or ""))


def turns_text(messages: Sequence[Message]) -> str:
    """Return what is said in `messages`, system messages aside, as one text."""
    turns = [str(m.get("content") or "") for m in messages if m.get("role") not in {"system", "developer"}]
    return "\n".join(turns)
