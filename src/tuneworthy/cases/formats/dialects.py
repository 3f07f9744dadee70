"""Messages as other APIs and frameworks write them, brought to the OpenAI shape with text content.

Read are OpenAI (its first calls and the items of the Responses API too), Anthropic, Gemini, OpenTelemetry and
LangChain. What the model thought is left out; an image is a fault.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from tuneworthy.cases import messages
from tuneworthy.cases.formats.chats import ROLES, word_at
from tuneworthy.cases.readers.faults import Dropped, RowFault, kind_of
from tuneworthy.types import Message

_ROLE_NAMES: Final = {"human": "user", "ai": "assistant", "model": "assistant", "function": "tool"}
_TEXTS: Final = frozenset({"text", "input_text", "output_text"})
_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_content", "summary_text"})
_CALLS: Final = frozenset({"tool_use", "tool_call", "functionCall", "function_call"})
_RESULTS: Final = frozenset({"tool_result", "tool_call_response", "functionResponse"})
_BARE_KEYS: Final = ("text", "functionCall", "functionResponse")
_READ: Final = frozenset({"role", "content", "parts", "function_call", "type", "finish_reason"})
_LANGCHAIN: Final = re.compile(r"(human|ai|system|tool|function|chat)(?:Message(?:Chunk)?)?", re.IGNORECASE)
# Signs of messages that a program wrote down: as JSON or as Python writes a dictionary, and as Python shows an object.
_AS_DATA: Final = re.compile(
    r"""\\*["']role\\*["']\s*:\s*\\*["'](?:system|developer|user|assistant|tool|human|ai|model)\\*["']"""
    r"""|\\*["']lc\\*["']\s*:\s*1\b|\\*["']generations\\*["']\s*:\s*\["""
)
_SAYS: Final = re.compile(r"""\\*["'](?:content|parts|kwargs|text|tool_calls)\\*["']\s*:""")
_AS_OBJECT: Final = re.compile(
    r"\s*\[?\s*(?:(?:AI|Human|System|Tool|Function|Chat)Message(?:Chunk)?|ChatCompletion(?:Message)?|ChatGeneration"
    r"|LLMResult|ChatResult|ModelResponse|Message|Choices?)"
    r"\((?:content|id|role|finish_reason|generations|message|text|name)="
    r"|\s*content=.*(?:additional_kwargs|response_metadata)=",
    re.DOTALL,
)


def modern(value: Any, name: str = "messages") -> Any:
    """Return messages in the OpenAI shape; what is no list stays as it is, for `check_messages` to name.

    Raises:
        RowFault: A part is no text, or an item is no message.
        Dropped: The model refused.
    """
    if not isinstance(value, list) or all(map(_is_plain, value)):
        return value
    turns: list[Any] = []
    for i, item in enumerate(value):
        for turn in _turns(item, f"{name}[{i}]"):
            if isinstance(turn, _LooseCall) and turns and turns[-1].get("role") == "assistant":
                turns[-1] = {**turns[-1], "tool_calls": [*turns[-1].get("tool_calls", ()), turn.value]}
            else:
                turns.append(turn.message if isinstance(turn, _LooseCall) else turn)
    return turns


def is_chat(value: Any) -> bool:
    """Whether `value` is a list of messages in any of the dialects.

    >>> is_chat([{"role": "model", "parts": []}]), is_chat([{"type": "human", "content": "a"}]), is_chat([{"a": 1}])
    (True, True, False)
    """
    return isinstance(value, list) and bool(value) and all(map(_is_message, value))


def is_written_down(text: str) -> bool:
    """Whether a text is messages or a response that a program wrote down, and not what the messages say.

    >>> is_written_down('[{"role": "assistant", "content": "4"}]'), is_written_down('{"role": "chef", "name": "Bo"}')
    (True, False)
    >>> is_written_down("content='4' additional_kwargs={}"), is_written_down("4")
    (True, False)
    """
    if text.lstrip()[:1] in {"[", "{", "("}:
        return _AS_DATA.search(text) is not None and _SAYS.search(text) is not None
    return _AS_OBJECT.match(text) is not None


def check_words(turns: Sequence[Message]) -> None:
    """Look at a converted conversation once more, whatever converted it: no answer is messages that were written down.

    Raises:
        RowFault: One is.
    """
    for turn in turns:
        content = turn.get("content")
        if turn.get("role") == "assistant" and isinstance(content, str) and is_written_down(content):
            raise RowFault(messages.WRITTEN_DOWN, kind_of(content))


@dataclass(frozen=True, slots=True)
class _LooseCall:
    """A call that is an item of its own: part of the assistant's message before it, if there is one."""

    value: dict[str, Any]

    @property
    def message(self) -> dict[str, Any]:
        return {"role": "assistant", "content": None, "tool_calls": [self.value]}


@dataclass(slots=True)
class _Parts:
    texts: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)


def _is_plain(message: Any) -> bool:
    return (
        type(message) is dict
        and type(message.get("content")) is str
        and message.get("role") in ROLES
        and "function_call" not in message
        and "type" not in message
    )


def _is_message(item: Any) -> bool:
    if not isinstance(item, dict):
        return isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and item[0] in _ROLE_NAMES
    if word_at(item, "type") in _ITEMS:
        return True
    role = item.get("role")
    known = isinstance(role, str) and _ROLE_NAMES.get(role, role) in ROLES
    return known and not {"content", "parts", "tool_calls", "function_call"}.isdisjoint(item)


def _turns(item: Any, where: str) -> list[Any]:
    if isinstance(item, list) and _is_message(item):
        item = {"role": item[0], "content": item[1]}
    if not isinstance(item, dict):
        return [item]
    kind = item.get("type")
    read = _ITEMS.get(kind) if isinstance(kind, str) else None
    if read is None and isinstance(kind, str) and "role" not in item:
        raise RowFault(messages.MESSAGE_OR_CALL.at(where=where), kind_of(item))
    return (read or _message)(item, where)


def _message(item: dict[str, Any], where: str) -> list[Any]:
    role = item.get("role", "assistant" if item.get("type") == "message" else None)
    content = item.get("parts", item.get("content"))
    calls = [item["function_call"]] if isinstance(item.get("function_call"), dict) else []
    message = {key: value for key, value in item.items() if key not in _READ}
    message |= {"role": _ROLE_NAMES.get(role, role) if isinstance(role, str) else role, "content": content}
    if role is None:
        del message["role"]
    results: list[dict[str, Any]] = []
    if isinstance(content, list):
        parts = _parts(content, where)
        calls, results = calls + parts.calls, parts.results
        message["content"] = "\n".join(parts.texts) if parts.texts else None if calls else ""
        if not parts.texts and not calls and (results or len(content)):
            return results
    if calls:
        message["tool_calls"] = calls
    return [*results, message]


def _parts(content: list[Any], where: str) -> _Parts:
    """Read the parts of a message.

    Raises:
        RowFault: One is neither text nor a call nor a result.
        Dropped: The model refused.
    """
    parts = _Parts()
    for part in content:
        block = {"type": "text", "text": part} if isinstance(part, str) else part
        if not isinstance(block, dict):
            raise RowFault(messages.TEXT_PART.at(where=where), kind_of(block))
        kind = word_at(block, "type") or next((key for key in _BARE_KEYS if key in block), "")
        text = block.get("text", block.get("content")) if kind in _TEXTS else None
        if isinstance(text, str):
            parts.texts.append(text)
        elif kind in _CALLS:
            parts.calls.append(_call(_inner(block, kind)))
        elif kind in _RESULTS:
            parts.results.append(_result(_inner(block, kind), where))
        elif kind == "refusal":
            raise Dropped(messages.REFUSED)
        elif kind not in _THOUGHTS:
            raise RowFault(messages.TEXT_PART.at(where=where), kind_of(block))
    return parts


def _inner(block: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return what a part holds: under its kind, as in Gemini, or the part itself."""
    inner = block.get(kind)
    return inner if isinstance(inner, dict) else block


def _call(block: dict[str, Any]) -> dict[str, Any]:
    """Return a call as `tool_calls.call_of` reads it."""
    arguments = next((block[key] for key in ("arguments", "args", "input") if block.get(key) is not None), None)
    if block.get("type") == "custom_tool_call":
        arguments = {"input": arguments}
    if block.get("type") == "local_shell_call":
        arguments = block.get("action")
    name = block.get("name") or {"local_shell_call": "local_shell"}.get(str(block.get("type")))
    return {"id": block.get("call_id") or block.get("id"), "name": name, "arguments": arguments}


def _result(block: dict[str, Any], where: str) -> dict[str, Any]:
    value = next((block[key] for key in ("content", "output", "response", "result") if key in block), "")
    if isinstance(value, list) and all(isinstance(part, dict) and "type" in part for part in value):
        value = "\n".join(_parts(value, where).texts)
    text = value if isinstance(value, str) else "" if value is None else orjson.dumps(value).decode()
    identity = block.get("tool_use_id") or block.get("call_id") or block.get("id")
    return {"role": "tool", "content": text, **({"tool_call_id": identity} if identity else {})}


def _langchain(item: dict[str, Any], where: str) -> list[Any]:
    """Read a message of LangChain: serialised, as `messages_to_dict` gives it, or flat."""
    inner = next((item[key] for key in ("kwargs", "data") if isinstance(item.get(key), dict)), item)
    path = item.get("id")
    kinds = (inner.get("type"), item.get("type"), *(path[-1:] if isinstance(path, list) else ()))
    match = next((match for kind in kinds if isinstance(kind, str) and (match := _LANGCHAIN.fullmatch(kind))), None)
    if match is None:
        raise RowFault(messages.MESSAGE_OR_CALL.at(where=where), kind_of(item))
    role = match[1].lower()
    turns = _message({"role": inner.get("role", role), "content": inner.get("content")}, where)
    extra = inner.get("additional_kwargs")
    calls = inner.get("tool_calls") or (extra.get("tool_calls") if isinstance(extra, dict) else None)
    message = turns[-1] if turns else {"role": "assistant", "content": None}
    if isinstance(calls, list) and "tool_calls" not in message:
        message["tool_calls"] = [
            call if "function" in call else _call(call) for call in calls if isinstance(call, dict)
        ]
        message["content"] = message["content"] or None
    if identity := inner.get("tool_call_id"):
        message["tool_call_id"] = identity
    return [*turns[:-1], message]


_ITEMS: Final[dict[str, Callable[[dict[str, Any], str], list[Any]]]] = {
    "message": _message,
    "reasoning": lambda item, where: [],
    **dict.fromkeys(
        ("function_call", "custom_tool_call", "local_shell_call"), lambda item, where: [_LooseCall(_call(item))]
    ),
    **dict.fromkeys(("function_call_output", "custom_tool_call_output"), lambda item, where: [_result(item, where)]),
    **dict.fromkeys(
        ("constructor", "human", "ai", "system", "tool", "function", "chat", "AIMessageChunk", "HumanMessageChunk"),
        _langchain,
    ),
}
