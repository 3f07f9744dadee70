"""Preference pairs: rows with a worse answer in `meta`."""

from collections.abc import Mapping

from tuneworthy.cases.formats.chats import is_blank
from tuneworthy.types import Example, JsonMapping, JsonObject, Message

# The key of the worse answer in a row's `meta`.
REJECTED = "rejected"


def rejected_answer(row: Example) -> str:
    """Return the worse answer of a pair; "" where a row is no pair.

    >>> chat = ({"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"})
    >>> rejected_answer(Example(messages=chat, id="", meta=with_rejected({}, {"role": "assistant", "content": "5"})))
    '5'
    """
    worse = row.meta.get(REJECTED)
    text = worse.get("content") if isinstance(worse, Mapping) else worse
    is_answer = isinstance(text, str) and not is_blank(text) and bool(row.answer)
    return str(text) if is_answer and not (isinstance(worse, Mapping) and worse.get("tool_calls")) else ""


def with_rejected(meta: JsonMapping, worse: Message) -> JsonObject:
    """Return `meta` of a row with its worse answer, if that is text and it has no worse one yet."""
    if not isinstance(worse.get("content"), str) or worse.get("tool_calls") or meta.get(REJECTED):
        return dict(meta)
    return {**meta, REJECTED: {"role": "assistant", "content": worse["content"]}}
