"""Chat messages: checked, and brought to the OpenAI shape with text content."""

import unicodedata
from typing import Any

from tuneworthy.cases import messages
from tuneworthy.cases.readers.faults import RowFault, show
from tuneworthy.types import Message, Messages, Turns, calls_of, role_of, text_of

ROLES = ("system", "developer", "user", "assistant", "tool")
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


def check_messages(value: Any, name: str = "messages") -> Turns:
    """Return `value` as messages of text.

    Lists of text parts become one text; keys whose value is null are left out (Parquet writes them).

    Raises:
        RowFault: Not a list of messages, an unknown role, or content that is not text.
    """
    if not isinstance(value, list) or not value:
        raise RowFault(f"a list of messages for {name}", value, code="no_messages")
    return tuple([_message(message, f"{name}[{i}]") for i, message in enumerate(value)])


def _message(message: Any, where: str) -> Message:
    if not isinstance(message, dict):
        raise RowFault(f'a message {{"role": ..., "content": ...}} at {where}', message, code="bad_message")
    role = message.get("role")
    if role not in ROLES:
        fault = messages.known_role(where, ", ".join(ROLES))
        if role is None:
            raise RowFault(fault._replace(expected=f"a role at {where}"), got=f"no role in {show(message)}")
        raise RowFault(fault, role)
    content = message.get("content")
    clean = {key: item for key, item in message.items() if item is not None} if None in message.values() else message
    if type(content) is str:
        return clean
    if content is None:
        if role == "assistant" and clean.get("tool_calls"):
            return {**clean, "content": None}
        raise RowFault(
            f"text content at {where}",
            got="none",
            hint="Only an assistant turn with tool calls may omit content.",
            code="no_content",
        )
    return {**clean, "content": text_of_parts(content, where)}


def text_of_parts(content: Any, where: str) -> str:
    """Join the parts ``{"type": "text", "text": ...}`` of `content`.

    Raises:
        RowFault: A part that is not text.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise RowFault(f"text content at {where}", content, code="not_text")
    if bad := [part for part in content if not isinstance(part, dict) or not isinstance(part.get("text"), str)]:
        raise RowFault(messages.text_part(where), bad[0])
    return "\n".join(part["text"] for part in content)


def check_chat(turns: Turns) -> Turns:
    """Return `turns` if they can be learned from: a user's turn, an answer at the end, no empty answer before.

    Raises:
        RowFault: No user's turn, an empty turn of the assistant, or the last message is not an assistant's answer.
    """
    last = turns[-1]
    if role_of(last) != "assistant":
        raise RowFault(
            "an assistant answer as the last message",
            got=f"a message with the role {role_of(last)!r}",
            hint="Remove the messages after the last answer.",
            code="no_answer",
        )
    for message in turns:
        if role_of(message) == "assistant" and not calls_of(message) and is_blank(text_of(message)):
            raise RowFault(
                messages.EMPTY_ANSWER._replace(code="empty_answer" if message is last else "empty_turn"),
                got="an empty string",
            )
    if all(role_of(message) != "user" for message in turns):
        raise RowFault("at least one user turn", got="none", code="no_question")
    return turns


def turns_text(turns: Messages) -> str:
    return "\n".join(text_of(m) for m in turns if role_of(m) not in {"system", "developer"})
