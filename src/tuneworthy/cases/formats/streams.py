"""Streamed answers of APIs: lists of events, or the text of server-sent events, joined to one response."""

import re
from typing import Any

from tuneworthy.cases.formats.columns import parsed
from tuneworthy.cases.formats.dialects import EVENT_TEXT
from tuneworthy.cases.formats.values import at, dict_at, dicts_at, first_at, word_at
from tuneworthy.cases.readers.faults import Dropped
from tuneworthy.types import JsonObject

_EVENT = re.compile(r"^data:\s*(\{.*\})\s*$", re.MULTILINE)
_KINDS = ("message_", "content_block_", "response.", "ping", "AIMessageChunk")
# Places of a text, of a call's id, name and arguments, and of the finish reason in events.
_TEXTS = ("choices/0/delta/content", "choices/0/text", "delta/text", "content_block/text", "message/content", "content")
_IDS, _NAMES = ("id", "content_block/id"), ("function/name", "content_block/name")
_ARGUMENTS = ("function/arguments", "delta/partial_json")
_ENDINGS = ("choices/0/finish_reason", "delta/stop_reason", "candidates/0/finishReason", "done_reason", "done")


def events_of(value: Any) -> list[JsonObject]:
    """Return the events of a streamed answer; no events if `value` is another answer.

    >>> events_of('data: {"choices": []}\\n\\ndata: [DONE]'), events_of("data: see below")
    ([{'choices': []}, {'choices': [], 'done': True}], [])
    """
    if isinstance(value, str):
        ended = [{"choices": [], "done": True}] * ("[DONE]" in value)
        value = [*map(parsed, _EVENT.findall(value)), *ended] if EVENT_TEXT.match(value) else parsed(value)
    return value if isinstance(value, list) and len(value) > 1 and all(map(_is_event, value)) else []


def _is_event(event: Any) -> bool:
    if not isinstance(event, dict):
        return False
    in_choice = "choices" in event and not at(event, "choices/0/message")
    of_ollama = {"done", "message"} <= event.keys()
    return in_choice or of_ollama or "candidates" in event or word_at(event, "type").startswith(_KINDS)


def assembled(events: list[JsonObject]) -> JsonObject:
    """Return the response that was streamed as `events`.

    Raises:
        Dropped: They end before the answer does.

    >>> first, last = {"delta": {"content": "It"}}, {"delta": {"content": " is."}, "finish_reason": "stop"}
    >>> assembled([{"choices": [first]}, {"choices": [last]}])["choices"][0]["message"]["content"]
    [{'type': 'text', 'text': 'It is.'}]
    """
    text, ending, calls = "", None, dict[str, JsonObject]()
    for event in events:
        if at(event, "choices/0/index"):
            continue  # another answer to the same question
        if word_at(event, "type").endswith((".completed", ".incomplete", ".failed")):
            return dict_at(event, "response")  # the Responses API sends all once more
        ending = first_at(event, *_ENDINGS) or ending
        said = first_at(event, *_TEXTS)
        parts = [part for part in dicts_at(event, "candidates/0/content/parts") if not part.get("thought")]
        text += said if isinstance(said, str) else "".join(str(part.get("text", "")) for part in parts)
        calls.update((f"part {len(calls) + n}", part) for n, part in enumerate(parts) if "functionCall" in part)
        for part in dicts_at(event, "choices/0/delta/tool_calls") or [event]:
            name, more = first_at(part, *_NAMES), first_at(part, *_ARGUMENTS)
            if name or more:
                begun = {"type": "tool_use", "id": first_at(part, *_IDS), "name": name, "input": ""}
                numbered = {"index": begun["id"]} | part  # Gemini sends each call whole, without a number
                calls.setdefault(str(at(numbered, "index")), begun)["input"] += str(more or "")
    if not ending and word_at(events[-1], "type") != "AIMessageChunk":
        raise Dropped("the stream ends before the answer does", "cut_off")
    content = [*([{"type": "text", "text": text}] if text else []), *calls.values()]
    return {"choices": [{"message": {"content": content}, "finish_reason": None if ending is True else ending}]}
