"""Chat messages: checked, and brought to the OpenAI shape with text content.

Dialects are OpenAI, Anthropic, Gemini, OpenTelemetry and LangChain. OpenAI's first function calls and the items of its
Responses API are read too. Reasoning is left out; an image is a fault.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Any

import orjson

from tuneworthy.cases import messages
from tuneworthy.cases.formats.values import at, dict_at, first_at, word_at
from tuneworthy.cases.readers.faults import Dropped, RowFault, show
from tuneworthy.types import JsonObject, Message, Messages, Turns, calls_of, role_of, text_of

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


_ROLE_NAMES = {"human": "user", "ai": "assistant", "model": "assistant", "function": "tool"}
_TEXTS = frozenset({"text", "input_text", "output_text"})
_THOUGHTS = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_content", "summary_text", "step-start"})
_CALLS = frozenset({"tool_use", "tool_call", "functionCall", "function_call"})
_RESULTS = frozenset({"tool_result", "tool_call_response", "functionResponse"})
# Calls that are items of their own: parts of the assistant's message before them, if there is one.
_LOOSE_CALLS = ("function_call", "custom_tool_call", "local_shell_call")
_BARE_KEYS = ("text", "functionCall", "functionResponse")
_READ = frozenset({"role", "content", "parts", "function_call", "type", "finish_reason"})
_LANGCHAIN = re.compile(r"(human|ai|system|tool|function|chat)(?:Message(?:Chunk)?)?", re.IGNORECASE)
# The beginning of the text of server-sent events.
EVENT_TEXT = re.compile(r"\s*(?:(?:event|id|retry)?:.*\n)*data:\s*(?:\{|\[DONE)")
# Signs of messages that a program wrote down: as JSON or as Python writes a dictionary, and as Python shows an object.
_AS_DATA = re.compile(
    r"""\\*["'](?:message\.)?role\\*["']\s*:\s*\\*["'](?:system|developer|user|assistant|tool|human|ai|model)\\*["']"""
    r"""|\\*["']object\\*["']\s*:\s*\\*["'](?:chat\.|text_)completion|\\*["']type\\*["']\s*:\s*\\*["']AIMessage|\\*["']delta\\*["']\s*:\s*\{\\*["']type"""
    r"""|\\*["'](?:additional_kwargs|toolCallId)\\*["']\s*:|\\*["']lc\\*["']\s*:\s*1\b|\\*["']generations\\*["']\s*:\s*\["""
)
_SAYS = re.compile(r"""\\*["'](?:message\.)?(?:content|parts|kwargs|text|tool_calls|toolName)\\*["']\s*:""")
_AS_OBJECT = re.compile(
    r"\s*\[?\s*(?:(?:AI|Human|System|Tool|Function|Chat)Message(?:Chunk)?|ChatCompletion(?:Message)?|ChatGeneration"
    r"|LLMResult|ChatResult|ModelResponse|Message|Choices?)"
    r"\((?:content|id|role|finish_reason|generations|message|text|name)="
    r"|\s*content=.*(?:additional_kwargs|response_metadata)=",
    re.DOTALL,
)


def modern(value: Any, name: str = "messages") -> Any:
    """Return messages in the OpenAI shape; any other value stays as it is, for `check_messages` to report.

    Raises:
        RowFault: A part is no text, or an item is no message.
        Dropped: The model refused.
    """
    if not isinstance(value, list) or all(map(_is_plain, value)):
        return value
    turns: list[Any] = []
    for i, item in enumerate(value):
        more = _turns(item, f"{name}[{i}]")
        if at(item, "type") in _LOOSE_CALLS and turns and at(turns[-1], "role") == "assistant":
            turns[-1] = {**turns[-1], "tool_calls": [*turns[-1].get("tool_calls", ()), *more[0]["tool_calls"]]}
        else:
            turns += more
    return turns


def is_chat(value: Any) -> bool:
    """Whether `value` is a list of messages in any of the dialects.

    >>> is_chat([{"role": "model", "parts": []}]), is_chat([{"type": "human", "content": "a"}]), is_chat([{"a": 1}])
    (True, True, False)
    """
    return isinstance(value, list) and bool(value) and all(map(_is_message, value))


def is_written_down(text: str) -> bool:
    """Whether a text is a dump of messages or of a response, instead of their content.

    >>> is_written_down('[{"role": "assistant", "content": "4"}]'), is_written_down('{"role": "chef", "name": "Bo"}')
    (True, False)
    >>> is_written_down("content='4' additional_kwargs={}"), is_written_down("4")
    (True, False)
    """
    if text.lstrip()[:1] in {"[", "{", "("}:
        return _AS_DATA.search(text) is not None and _SAYS.search(text) is not None
    return _AS_OBJECT.match(text) is not None or EVENT_TEXT.match(text) is not None


def check_words(turns: Messages) -> None:
    """Look at a converted conversation once more, whatever converted it: no answer is messages that were written down.

    Raises:
        RowFault: One is.
    """
    for turn in turns:
        content = at(turn, "content")
        if at(turn, "role") == "assistant" and isinstance(content, str) and is_written_down(content):
            raise RowFault(messages.WRITTEN_DOWN, content)


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
    role = at(item, "role")
    known = isinstance(role, str) and _ROLE_NAMES.get(role, role) in ROLES
    return known and not {"content", "parts", "tool_calls", "function_call"}.isdisjoint(item)


def _turns(item: Any, where: str) -> list[Any]:
    if isinstance(item, list) and _is_message(item):
        item = {"role": item[0], "content": item[1]}
    if not isinstance(item, dict):
        return [item]
    kind = at(item, "type")
    read = _ITEMS.get(kind) if isinstance(kind, str) else None
    if read is None and isinstance(kind, str) and "role" not in item:
        raise RowFault(f"a message or a call at {where}", item, code="bad_message")
    return (read or _turns_of_message)(item, where)


def _turns_of_message(item: JsonObject, where: str) -> list[Any]:
    role = item.get("role", "assistant" if at(item, "type") == "message" else None)
    content = item.get("parts", at(item, "content"))
    call = at(item, "function_call")
    calls = [call] if isinstance(call, dict) else []
    message = {key: value for key, value in item.items() if key not in _READ}
    if role is not None:
        message["role"] = _ROLE_NAMES.get(role, role) if isinstance(role, str) else role
    message["content"] = content
    results: list[JsonObject] = []
    if isinstance(content, list):
        texts, more, results = _parts(content, where)
        calls += more
        message["content"] = "\n".join(texts) if texts or not calls else None
        if content and not texts and not calls:
            return results
    if calls:
        message["tool_calls"] = calls
    return [*results, message]


def _parts(content: list[Any], where: str) -> tuple[list[str], list[JsonObject], list[JsonObject]]:
    """Read the texts, calls and results in a message.

    Raises:
        RowFault: One is neither text nor a call nor a result.
        Dropped: The model refused.
    """
    texts, calls, results = list[str](), list[JsonObject](), list[JsonObject]()
    for part in content:
        block = {"type": "text", "text": part} if isinstance(part, str) else part
        if not isinstance(block, dict):
            raise RowFault(messages.text_part(where), block)
        kind = word_at(block, "type") or next((key for key in _BARE_KEYS if key in block), "")
        text = first_at(block, "text", "content", "value") if kind in _TEXTS and not block.get("thought") else None
        if isinstance(text, str):
            texts.append(text)
        elif kind in _CALLS:
            calls.append(_call(dict_at(block, kind) or block))
        elif kind in _RESULTS:
            results.append(_result(dict_at(block, kind) or block, where))
        elif kind == "refusal":
            raise Dropped(messages.REFUSED)
        elif kind not in _THOUGHTS and not block.get("thought"):
            raise RowFault(messages.text_part(where), block)
    return texts, calls, results


def _call(block: JsonObject) -> JsonObject:
    """Return a call as `tool_calls.call_of` reads it."""
    arguments = next((block[key] for key in ("arguments", "args", "input") if block.get(key) is not None), None)
    kind, name = at(block, "type"), at(block, "name")
    if kind == "custom_tool_call":
        arguments = {"input": arguments}
    if kind == "local_shell_call":
        arguments, name = at(block, "action"), name or "local_shell"
    return {"id": first_at(block, "call_id", "id"), "name": name or None, "arguments": arguments}


def _result(block: JsonObject, where: str) -> JsonObject:
    value = next((block[key] for key in ("content", "output", "response", "result") if key in block), None)
    if isinstance(value, list) and all(isinstance(part, dict) and "type" in part for part in value):
        value = "\n".join(_parts(value, where)[0])
    result = {
        "role": "tool",
        "content": (value if isinstance(value, str) else "" if value is None else orjson.dumps(value).decode()),
    }
    if identity := first_at(block, "tool_use_id", "call_id", "id"):
        result["tool_call_id"] = identity
    return result


def _langchain(item: JsonObject, where: str) -> list[Any]:
    """Read a message of LangChain: serialised, as `messages_to_dict` gives it, or flat."""
    inner = next((item[key] for key in ("kwargs", "data") if isinstance(item.get(key), dict)), item)
    path = at(item, "id")
    match = None
    for kind in (at(inner, "type"), at(item, "type"), path[-1] if isinstance(path, list) and path else None):
        match = match or (_LANGCHAIN.fullmatch(kind) if isinstance(kind, str) else None)
    if match is None:
        raise RowFault(f"a message or a call at {where}", item, code="bad_message")
    turns = _turns_of_message({"role": inner.get("role", match[1].lower()), "content": at(inner, "content")}, where)
    calls = first_at(inner, "tool_calls", "additional_kwargs/tool_calls")
    message = turns.pop() if turns else {"role": "assistant", "content": None}
    if isinstance(calls, list) and "tool_calls" not in message:
        calls = [call if "function" in call else _call(call) for call in calls if isinstance(call, dict)]
        message |= {"tool_calls": calls, "content": message["content"] or None}
    if identity := at(inner, "tool_call_id"):
        message["tool_call_id"] = identity
    return [*turns, message]


_ITEMS: dict[str, Callable[[JsonObject, str], list[Any]]] = {
    "message": _turns_of_message,
    "reasoning": lambda item, where: [],
    **dict.fromkeys(
        _LOOSE_CALLS, lambda item, where: [{"role": "assistant", "content": None, "tool_calls": [_call(item)]}]
    ),
    **dict.fromkeys(("function_call_output", "custom_tool_call_output"), lambda item, where: [_result(item, where)]),
    **dict.fromkeys(
        ("constructor", "human", "ai", "system", "tool", "function", "chat", "AIMessageChunk", "HumanMessageChunk"),
        _langchain,
    ),
}
