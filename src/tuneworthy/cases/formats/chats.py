"""Chat messages: checked, and brought to the OpenAI shape with text content."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from tuneworthy.cases import messages
from tuneworthy.cases.readers.faults import RowFault, kind_of, show
from tuneworthy.types import Message

ROLES = ("system", "developer", "user", "assistant", "tool")
_UNSEEN = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def word_at(row: Mapping[str, Any], key: str, default: str = "") -> str:
    """Return the text under `key`; "" if something else stands there, `default` if nothing does."""
    value = row.get(key, default)
    return value if isinstance(value, str) else ""


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
        raise RowFault(messages.MESSAGES.at(name=name), kind_of(value))
    return tuple([_message(message, f"{name}[{i}]") for i, message in enumerate(value)])


def _message(message: Any, where: str) -> Message:
    if not isinstance(message, dict):
        raise RowFault(messages.MESSAGE.at(where=where), kind_of(message))
    role = message.get("role")
    if role not in ROLES:
        fault = messages.A_ROLE if role is None else messages.KNOWN_ROLE
        got = f"no role in {show(message)}" if role is None else kind_of(role)
        raise RowFault(fault.at(where=where, roles=", ".join(ROLES)), got)
    content = message.get("content")
    clean = {key: item for key, item in message.items() if item is not None} if None in message.values() else message
    if type(content) is str:
        return clean
    if content is None:
        if role == "assistant" and clean.get("tool_calls"):
            return {**clean, "content": None}
        raise RowFault(messages.CONTENT.at(where=where), messages.say("none"))
    return {**clean, "content": text_of_parts(content, where)}


def text_of_parts(content: Any, where: str) -> str:
    """Join the parts ``{"type": "text", "text": ...}`` of `content`.

    Raises:
        RowFault: A part that is not text.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise RowFault(messages.NOT_TEXT.at(where=where), kind_of(content))
    if bad := [part for part in content if not isinstance(part, dict) or not isinstance(part.get("text"), str)]:
        raise RowFault(messages.TEXT_PART.at(where=where), kind_of(bad[0]))
    return "\n".join(part["text"] for part in content)


def check_chat(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return `turns` if they can be learned from: a user's turn, an answer at the end, no empty answer before.

    Raises:
        RowFault: No user's turn, an empty turn of the assistant, or the last message is not an assistant's answer.
    """
    last = turns[-1]
    if last["role"] != "assistant":
        raise RowFault(messages.LAST_ANSWER, f"a message with the role {last['role']!r}")
    if empty := [message for message in turns if message["role"] == "assistant" and _says_nothing(message)]:
        code = "empty_answer" if empty[0] is last else "empty_turn"
        raise RowFault(messages.EMPTY_ANSWER._replace(code=code), messages.say("an_empty_one"))
    if all(message["role"] != "user" for message in turns):
        raise RowFault(messages.USER_TURN, messages.say("none"))
    return turns


def _says_nothing(message: Message) -> bool:
    return not message.get("tool_calls") and is_blank(str(message.get("content") or ""))


def turns_text(turns: Sequence[Message]) -> str:
    """Return the content of `turns`, system messages aside, as one text."""
    return "\n".join(str(m.get("content") or "") for m in turns if m.get("role") not in {"system", "developer"})
