"""Logged requests and responses of any API or framework, brought to one conversation.

A request or a response may be text, messages in any dialect, variables, or any of these under the keys that frameworks
wrap them in. A response that is a text stays text, even if it is JSON, unless the JSON is messages. A streamed answer,
as a list of events or the text of server-sent events, is joined to one response first.
"""

import re
from collections.abc import Callable, Set
from typing import Any

from tuneworthy.cases import messages
from tuneworthy.cases.formats.chats import EVENT_TEXT, check_chat, check_messages, is_blank, is_chat, modern
from tuneworthy.cases.formats.columns import parsed
from tuneworthy.cases.formats.registry import Fields
from tuneworthy.cases.formats.tool_calls import tools_of, with_calls, with_weights
from tuneworthy.cases.formats.values import at, dict_at, dicts_at, first_at, names, word_at
from tuneworthy.cases.normalize import variables_text
from tuneworthy.cases.readers.faults import Dropped, Journal, RowFault, show
from tuneworthy.types import JsonMapping, JsonObject, Turns, text_of

Answer = tuple[list[Any], str | None]

# Finish reasons of other APIs, in OpenAI's terms.
_ENDINGS = {
    **dict.fromkeys(("max_output_tokens", "max_tokens", "model_context_window_exceeded"), "length"),
    **dict.fromkeys(("end_turn", "stop_sequence", "completed"), "stop"),
    **dict.fromkeys(("tool_use", "tool_call"), "tool_calls"),
    **dict.fromkeys(("refusal", "safety"), "content_filter"),
}
# Keys of a request in addition to its messages.
_SETTINGS = names(
    "model tools tool_choice temperature top_p top_k max_tokens max_completion_tokens stop max_output_tokens stream "
    "stop_sequences seed n user metadata response_format system instructions systemInstruction system_instruction "
    "generationConfig functions function_call parallel_tool_calls reasoning reasoning_effort store service_tier "
    "logprobs top_logprobs frequency_penalty presence_penalty text truncation include thinking betas timeout "
    "extra_headers extra_body extra_query stream_options previous_response_id args"
)
_ASKS = ("messages", "contents", "input", "prompt", "prompts", "kwargs", "inputs")
# Keys of objects that wrap only an answer.
_TEXT_KEYS = names("output answer response text result completion content generated_text output_text message messages")
# Lists of media, to which a text refers as `<image>`.
_MEDIA = ("images", "videos", "audios")
_SAID_KEYS = ("role", "content", "tool_calls", "tool_call_id", "name")


def fields_of(turns: Turns, row: JsonMapping, read: Set[str]) -> Fields:
    """Return the fields of an example; the row's other keys go to `meta`, tools in the OpenAI shape.

    Raises:
        RowFault: The turns are no chat to learn from (`check_chat`), or tags and tools are no lists.
    """
    fields: Fields = {"messages": check_chat(with_weights(with_calls(turns)))}
    if row.keys() <= read:
        return fields
    marks = [*(f"<{key[:-1]}>" for key in _MEDIA if row.get(key)), '"braintrust_attachment"']
    if any(mark in text_of(turn) for turn in turns for mark in marks):
        raise RowFault("a question in text", got="one about a picture, a recording or a file", code="not_text")
    meta = {key: value for key, value in row.items() if key not in read and value is not None}
    if (group := row.get("group")) is not None:
        fields["group"] = str(group)
        meta.pop("group", None)
    if (tags := row.get("tags")) is not None:
        if not isinstance(tags, str | list):
            raise RowFault("a list of strings for `tags`", tags)
        fields["tags"] = (tags,) if isinstance(tags, str) else tuple(map(str, tags))
        meta.pop("tags", None)
    if isinstance(inner := meta.get("meta"), dict):
        del meta["meta"]
        meta = inner | meta
    if "tools" in meta:
        meta["tools"] = tools_of(meta["tools"])
        if not meta["tools"]:
            del meta["tools"]
    if meta:
        fields["meta"] = meta
    return fields


def exchange(question: Any, answer: Any, about: JsonMapping, *, api: bool = False) -> Fields:
    """Return a question and its answer as the fields of an example.

    Args:
        question: A request, messages, variables or a text.
        answer: A response, messages, data or a text.
        about: Other fields, for `fields_of`; model, tools and finish reason default to those of the request and the
            response.
        api: Whether the answer is a response of an API, so that any other object is no answer.

    Raises:
        RowFault: A message is not text.
        Dropped: There is no answer.
    """
    before = asked(question)
    turns, ending = answered(answer, api=api)
    if any(word_at(turn, "role") in {"user", "system", "developer"} for turn in turns):  # the state of the whole graph
        keep = word_at(turns[0], "role") != "system"
        before = [turn for turn in before[:1] if keep and isinstance(turn, dict) and word_at(turn, "role") == "system"]
    facts = {
        "model": at(answer, "model") or at(question, "model"),
        "finish_reason": ending,
        "tools": first_at(question, "tools", "functions"),
    }
    facts = {key: value for key, value in facts.items() if value} | {
        key: value for key, value in about.items() if value is not None
    }
    return fields_of(check_messages([*before, *turns], "request.messages"), facts, frozenset())


def feedback(journal: Journal, tool: str, *places: Any) -> JsonObject:
    """Return the scores and the correction of an answer from the facts about its trace or run."""
    sources = dict.fromkeys(str(place) for place in places if place)
    facts = [fact for source in sources for fact in journal.facts.get(f"{tool}:{source}", ())]
    return {
        "scores": [fact for fact in facts if "correction" not in fact] or None,
        "correction": next((fact["correction"] for fact in facts if fact.get("correction")), None),
    }


def asked(value: Any) -> list[Any]:
    """Return the messages of a request.

    Raises:
        RowFault: It has no messages, or they are not text.
    """
    value = _opened(value)
    if isinstance(value, str) and not is_blank(value):
        return [{"role": "user", "content": value}]
    if isinstance(value, list):
        if len(value) == 1 and not is_chat(value) and isinstance(value[0], list | str):
            return asked(value[0])
        return list(modern(value, "request.messages"))
    if not isinstance(value, dict) or not value:
        raise RowFault(messages.REQUEST_INPUT, value)
    if is_chat([value]):
        return list(modern([value], "request.messages"))
    for key in _ASKS:
        if value.get(key) and (key in {"messages", "contents"} or value.keys() <= _SETTINGS | {key}):
            return [*_system(value), *asked(value[key])]
    if isinstance(args := value.get("args"), list) and len(args) == 1 and not value.get("kwargs"):
        return asked(args[0])
    if value.keys() <= _SETTINGS.union(_ASKS):
        raise RowFault(messages.REQUEST_INPUT, value)
    if len(value) == 1 and isinstance(text := next(iter(value.values())), str | list):
        return asked(text)
    return [{"role": "user", "content": variables_text(value)}]


def _system(request: JsonObject) -> list[Any]:
    value = first_at(request, "system", "instructions", "systemInstruction", "system_instruction")
    if isinstance(value, dict):
        value = at(value, "parts")
    if isinstance(value, str):
        return [] if is_blank(value) else [{"role": "system", "content": value}]
    return list(modern([{"role": "system", "content": value}], "request.system")) if isinstance(value, list) else []


def answered(value: Any, *, api: bool = False) -> Answer:
    """Return the messages of an answer, and its finish reason.

    Raises:
        RowFault: The answer is not text.
        Dropped: The request failed, or the answer is empty.
    """
    events = events_of(value)
    value = assembled(events) if events else _opened(value)
    if value is None or value in ([], {}):
        raise Dropped(messages.NO_RESPONSE)
    if isinstance(value, str) and is_blank(value):
        raise Dropped(messages.EMPTY_RESPONSE)
    if isinstance(value, dict):
        return _of_object(value, api=api)
    if is_chat(value):
        return _said(modern(value, "response")), _ending(value[-1])
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list | dict | str):
        return answered(value[0], api=api)
    return [{"role": "assistant", "content": value if isinstance(value, str) else show(value, 10**9)}], None


def _of_object(value: JsonObject, *, api: bool) -> Answer:
    for key, (read, marks) in _ANSWERS.items():
        if isinstance(at(value, key), list) and (api or _has(value[key], marks)) and not events_of(value[key]):
            return read(value)
    if is_chat([value]):
        return _said(modern([value], "response")), _ending(value)
    message, turns, text = at(value, "message"), at(value, "messages"), at(value, "text")
    if isinstance(message, dict | list):  # a choice, or a generation of LangChain
        said, ending = answered(message)
        return said, _ending(value) or ending
    if at(value, "error") or (api and value.keys() <= {"error"}):
        raise Dropped(messages.FAILED_REQUEST)
    if isinstance(turns, list):
        return answered(turns)
    if isinstance(text, str) and value.keys() & {"generation_info", "finish_reason", "logprobs"}:
        return answered(text)[0], _ending(value)
    if len(value) == 1 and value.keys() <= _TEXT_KEYS:
        return answered(next(iter(value.values())))
    if api:
        raise Dropped(messages.FAILED_REQUEST)
    return [{"role": "assistant", "content": show(value, 10**9)}], None


def _choices(response: JsonObject) -> Answer:
    first = at(response, "choices/0")
    if not isinstance(first, dict):
        raise Dropped(messages.FAILED_REQUEST)
    text, message = at(first, "text"), at(first, "message")
    if isinstance(text, str):
        return answered(text)[0], _ending(first)
    if not isinstance(message, dict):
        raise RowFault("an object for `response.choices[0].message`", message, code="bad_message")
    return _said(modern([message | {"role": "assistant"}], "response")), _ending(first)


def _output(response: JsonObject) -> Answer:
    turns = [turn for turn in modern(response["output"], "response.output") if isinstance(turn, dict)]
    if len(turns) > 1 and all(at(turn, "role") == "assistant" for turn in turns):
        raise RowFault("one message in `response.output`", got=str(len(turns)), code="bad_message")
    turns = _said(turns)
    if why := at(response, "incomplete_details/reason"):
        return turns, _named_ending(why)
    return turns, "tool_calls" if at(turns[-1], "tool_calls") else "stop"


def _candidates(response: JsonObject) -> Answer:
    first = at(response, "candidates/0")
    content = at(first, "content")
    if not isinstance(content, dict):
        raise Dropped(messages.FAILED_REQUEST)
    return _said(modern([{"role": "model"} | content], "response")), _ending(first)


def _has(items: Any, marks: Set[str]) -> bool:
    while isinstance(items, list) and items:
        items = items[0]
    return isinstance(items, dict) and not marks.isdisjoint(items)


# Keys of the answers in API responses: how they are read, and the keys of an answer.
_ANSWERS: dict[str, tuple[Callable[[JsonObject], Answer], Set[str]]] = {
    "choices": (_choices, {"message", "text"}),
    "output": (_output, {"type"}),
    "generations": (lambda result: answered(result["generations"][:1]), {"message", "text"}),
    "candidates": (_candidates, {"content"}),
}


def _said(turns: list[Any]) -> list[Any]:
    """Return the turns of an answer without the API's other keys.

    Raises:
        Dropped: The last turn is empty, or a refusal.
    """
    last = turns[-1] if turns else {}
    if not at(last, "content") and not at(last, "tool_calls"):
        raise Dropped(messages.REFUSED if at(last, "refusal") else messages.EMPTY_RESPONSE)
    return [{key: turn[key] for key in _SAID_KEYS if turn.get(key) is not None} for turn in turns]


def _ending(value: Any) -> str | None:
    """Return the finish reason of an API or a framework."""
    for place in (value, *(at(value, key) for key in ("generation_info", "response_metadata", "kwargs"))):
        if place and (why := first_at(place, "finish_reason", "stop_reason", "finishReason")):
            return _named_ending(why)
    return None


def _named_ending(why: Any) -> str:
    name = str(why).lower()
    return _ENDINGS.get(name, name)


def _opened(value: Any) -> Any:
    data = parsed(value)
    if data is value or is_chat(data):
        return data
    while isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, dict):
        return value
    if is_chat([data]) or any(_has(at(data, key), marks) for key, (_, marks) in _ANSWERS.items()):
        return data
    return data if any(is_chat(inner) or is_chat([inner]) for inner in data.values()) else value


_EVENT = re.compile(r"^data:\s*(\{.*\})\s*$", re.MULTILINE)
_KINDS = ("message_", "content_block_", "response.", "ping", "AIMessageChunk")
# Places of a text, of a call's id, name and arguments, and of the finish reason in events.
_TEXTS = ("choices/0/delta/content", "choices/0/text", "delta/text", "content_block/text", "message/content", "content")
_IDS, _NAMES = ("id", "content_block/id"), ("function/name", "content_block/name")
_ARGUMENTS = ("function/arguments", "delta/partial_json")
_EVENT_ENDINGS = ("choices/0/finish_reason", "delta/stop_reason", "candidates/0/finishReason", "done_reason", "done")


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
        ending = first_at(event, *_EVENT_ENDINGS) or ending
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
