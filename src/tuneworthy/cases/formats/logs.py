"""What was asked and what was answered, as requests, responses and traces hold it, to one conversation.

An API's request and response are read, and what tools keep of them: a text, messages in any dialect, variables, or any
of these under the keys that frameworks wrap them in. A response that is a text stays that text, also if it is JSON,
unless the JSON is messages.
"""

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, Final

from tuneworthy.cases import messages
from tuneworthy.cases.formats.chats import check_chat, check_messages, is_blank, word_at
from tuneworthy.cases.formats.columns import parsed
from tuneworthy.cases.formats.dialects import is_chat, modern
from tuneworthy.cases.formats.registry import Fields
from tuneworthy.cases.formats.tool_calls import tools_of, with_calls, with_weights
from tuneworthy.cases.normalize import variables_text
from tuneworthy.cases.readers.faults import Dropped, RowFault, kind_of, show
from tuneworthy.types import Message

_ENDINGS: Final = {
    **dict.fromkeys(("max_output_tokens", "max_tokens", "model_context_window_exceeded"), "length"),
    **dict.fromkeys(("end_turn", "stop_sequence", "completed"), "stop"),
    **dict.fromkeys(("tool_use", "tool_call"), "tool_calls"),
    **dict.fromkeys(("refusal", "safety"), "content_filter"),
}
# Keys of a request beside what is asked.
_SETTINGS: Final = frozenset(
    {
        *(
            "model",
            "tools",
            "tool_choice",
            "temperature",
            "top_p",
            "top_k",
            "max_tokens",
            "max_completion_tokens",
            "stop",
        ),
        *(
            "max_output_tokens",
            "stream",
            "stop_sequences",
            "seed",
            "n",
            "user",
            "metadata",
            "response_format",
            "system",
        ),
        *("instructions", "systemInstruction", "system_instruction", "generationConfig", "functions", "function_call"),
        *("parallel_tool_calls", "reasoning", "reasoning_effort", "store", "service_tier", "logprobs", "top_logprobs"),
        *("frequency_penalty", "presence_penalty", "text", "truncation", "include", "thinking", "betas", "timeout"),
        *("extra_headers", "extra_body", "extra_query", "stream_options", "previous_response_id", "args"),
    }
)
_ASKS: Final = ("messages", "contents", "input", "prompt", "prompts", "kwargs", "inputs")
# Keys under which frameworks wrap an answer alone.
_TEXT_KEYS: Final = frozenset(
    {
        *("output", "answer", "response", "text", "result", "completion", "content", "generated_text", "output_text"),
        *("message", "messages"),
    }
)


def fields_of(turns: tuple[Message, ...], row: Mapping[str, Any], read: Set[str]) -> Fields:
    """Return the fields of an example; whatever else the row holds is kept in `meta`, tools in the OpenAI shape.

    Raises:
        RowFault: The turns are no chat to learn from (`check_chat`), or tags and tools are no lists.
    """
    fields: Fields = {"messages": check_chat(with_weights(with_calls(turns)))}
    if row.keys() <= read:
        return fields
    if row.get("group") is not None:
        fields["group"] = str(row["group"])
    if (tags := row.get("tags")) is not None:
        if not isinstance(tags, str | list):
            raise RowFault(messages.TAGS, kind_of(tags))
        fields["tags"] = (tags,) if isinstance(tags, str) else tuple(str(tag) for tag in tags)
    meta = {k: v for k, v in row.items() if k not in read and k not in {"group", "tags"} and v is not None}
    if isinstance(inner := meta.get("meta"), dict):
        meta = {**inner, **{k: v for k, v in meta.items() if k != "meta"}}
    if "tools" in meta:
        meta["tools"] = tools_of(meta["tools"])
        if not meta["tools"]:
            del meta["tools"]
    if meta:
        fields["meta"] = meta
    return fields


def exchange(question: Any, answer: Any, about: Mapping[str, Any], *, api: bool = False) -> Fields:
    """Return the example that a question and its answer make.

    Args:
        question: A request, messages, variables or a text.
        answer: A response, messages, data or a text.
        about: What else is known of it, for `fields_of`; model, tools and finish reason are taken from the request and
            the response where it does not say.
        api: Whether the answer is a response of an API, so that any other object is no answer.

    Raises:
        RowFault: One of them is not text.
        Dropped: There is no answer.
    """
    before = asked(question)
    turns, ending = answered(answer, api=api)
    if any(word_at(turn, "role") in {"user", "system", "developer"} for turn in turns):  # the state of the whole graph
        heads = [turn for turn in before[:1] if isinstance(turn, dict) and word_at(turn, "role") == "system"]
        before = heads if word_at(turns[0], "role") != "system" else []
    request = question if isinstance(question, dict) else {}
    response = answer if isinstance(answer, dict) else {}
    facts = {
        "model": response.get("model") or request.get("model"),
        "finish_reason": ending,
        "tools": request.get("tools") or request.get("functions"),
    }
    facts = {key: value for key, value in facts.items() if value} | {k: v for k, v in about.items() if v is not None}
    return fields_of(check_messages([*before, *turns], "request.messages"), facts, frozenset())


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
        raise RowFault(messages.REQUEST_INPUT, kind_of(value))
    if is_chat([value]):
        return list(modern([value], "request.messages"))
    for key in _ASKS:
        if value.get(key) and (key in {"messages", "contents"} or value.keys() <= _SETTINGS | {key}):
            return [*_system(value), *asked(value[key])]
    if isinstance(args := value.get("args"), list) and len(args) == 1 and not value.get("kwargs"):
        return asked(args[0])
    if value.keys() <= _SETTINGS.union(_ASKS):
        raise RowFault(messages.REQUEST_INPUT, kind_of(value))
    if len(value) == 1 and isinstance(text := next(iter(value.values())), str | list):
        return asked(text)
    return [{"role": "user", "content": variables_text(value)}]


def _system(request: dict[str, Any]) -> list[Any]:
    """Return the instructions that stand beside the messages, in the APIs of OpenAI, Anthropic and Gemini."""
    keys = ("system", "instructions", "systemInstruction", "system_instruction")
    value = next((request[key] for key in keys if request.get(key)), None)
    if isinstance(value, dict):
        value = value.get("parts")
    if isinstance(value, str):
        return [] if is_blank(value) else [{"role": "system", "content": value}]
    return list(modern([{"role": "system", "content": value}], "request.system")) if isinstance(value, list) else []


def answered(value: Any, *, api: bool = False) -> tuple[list[Any], str | None]:
    """Return the messages of an answer, and why it ended.

    Raises:
        RowFault: The answer is not text.
        Dropped: The request failed, or nothing was said.
    """
    value = _opened(value)
    if value is None or value in ([], {}):
        raise Dropped(messages.NO_RESPONSE)
    if isinstance(value, str):
        if is_blank(value):
            raise Dropped(messages.EMPTY_RESPONSE)
        return [{"role": "assistant", "content": value}], None
    if isinstance(value, list):
        if len(value) == 1 and not is_chat(value) and isinstance(value[0], list | dict | str):
            return answered(value[0], api=api)
        if is_chat(value):
            return _said(modern(value, "response")), _ending(value[-1])
    if isinstance(value, dict):
        return _of_object(value, api=api)
    return [{"role": "assistant", "content": show(value, 10**9)}], None


def _of_object(value: dict[str, Any], *, api: bool) -> tuple[list[Any], str | None]:
    for key, (read, marks) in _ANSWERS.items():
        if isinstance(value.get(key), list) and (api or _has(value[key], marks)):
            return read(value)
    if is_chat([value]):
        return _said(modern([value], "response")), _ending(value)
    if isinstance(value.get("message"), dict | list):  # a choice, or a generation of LangChain
        turns, ending = answered(value["message"])
        return turns, _ending(value) or ending
    if value.get("error") or (api and value.keys() <= {"error"}):
        raise Dropped(messages.FAILED_REQUEST)
    if isinstance(value.get("messages"), list):
        return answered(value["messages"])
    if isinstance(value.get("text"), str) and value.keys() & {"generation_info", "finish_reason", "logprobs"}:
        return answered(value["text"])[0], _ending(value)
    if len(value) == 1 and value.keys() <= _TEXT_KEYS:
        return answered(next(iter(value.values())))
    if api:
        raise Dropped(messages.FAILED_REQUEST)
    return [{"role": "assistant", "content": show(value, 10**9)}], None


def _choices(response: dict[str, Any]) -> tuple[list[Any], str | None]:
    choices = response["choices"]
    if not choices or not isinstance(choices[0], dict):
        raise Dropped(messages.FAILED_REQUEST)
    first = choices[0]
    if isinstance(first.get("text"), str):
        return answered(first["text"])[0], _ending(first)
    message = first.get("message")
    if not isinstance(message, dict):
        where = messages.LOG_OBJECT.at(name="response.choices[0].message")._replace(code="bad_message")
        raise RowFault(where, kind_of(message))
    return _said(modern([{**message, "role": "assistant"}], "response")), _ending(first)


def _output(response: dict[str, Any]) -> tuple[list[Any], str | None]:
    """Read the items of the Responses API."""
    turns = [turn for turn in modern(response["output"], "response.output") if isinstance(turn, dict)]
    if len(turns) > 1 and all(turn.get("role") == "assistant" for turn in turns):
        raise RowFault(messages.ONE_MESSAGE, str(len(turns)))
    turns = _said(turns)
    details = response.get("incomplete_details")
    why = details.get("reason") if isinstance(details, dict) else None
    return turns, _named_ending(why) if why else "tool_calls" if turns[-1].get("tool_calls") else "stop"


def _generations(result: dict[str, Any]) -> tuple[list[Any], str | None]:
    return answered(result["generations"][:1])


def _candidates(response: dict[str, Any]) -> tuple[list[Any], str | None]:
    first = next(iter(response["candidates"]), None)
    if not isinstance(first, dict) or not isinstance(first.get("content"), dict):
        raise Dropped(messages.FAILED_REQUEST)
    return _said(modern([{"role": "model", **first["content"]}], "response")), _ending(first)


def _has(items: Any, marks: Set[str]) -> bool:
    while isinstance(items, list) and items:
        items = items[0]
    return isinstance(items, dict) and not marks.isdisjoint(items)


# Under which key an API's response has its answers, how they are read, and what one of them has.
_ANSWERS: Final[dict[str, tuple[Callable[[dict[str, Any]], tuple[list[Any], str | None]], Set[str]]]] = {
    "choices": (_choices, {"message", "text"}),
    "output": (_output, {"type"}),
    "generations": (_generations, {"message", "text"}),
    "candidates": (_candidates, {"content"}),
}


def _said(turns: list[Any]) -> list[Any]:
    """Return the turns of an answer without what the API says beside them, if the last says something.

    Raises:
        Dropped: It says nothing, or it refuses.
    """
    if not turns or (not turns[-1].get("content") and not turns[-1].get("tool_calls")):
        raise Dropped(messages.REFUSED if turns and turns[-1].get("refusal") else messages.EMPTY_RESPONSE)
    keys = ("role", "content", "tool_calls", "tool_call_id", "name")
    return [{key: turn[key] for key in keys if turn.get(key) is not None} for turn in turns]


def _ending(value: Any) -> str | None:
    """Return why an answer ended, as the API or the framework says it."""
    places: Iterable[Any] = (value,)
    if isinstance(value, dict):
        places = (value, value.get("generation_info"), value.get("response_metadata"), value.get("kwargs"))
    keys = ("finish_reason", "stop_reason", "finishReason")
    why = next((one[key] for one in places if isinstance(one, dict) for key in keys if one.get(key)), None)
    return None if why is None else _named_ending(why)


def _named_ending(why: Any) -> str:
    name = str(why).lower()
    return _ENDINGS.get(name, name)


def _opened(value: Any) -> Any:
    """Return the messages, the request or the response that a text of JSON holds; any other text stays text."""
    data = parsed(value)
    if data is value or is_chat(data):
        return data
    while isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, dict):
        return value
    wrapped = is_chat([data]) or any(_has(data.get(key), marks) for key, (_, marks) in _ANSWERS.items())
    return data if wrapped or any(is_chat(one) or is_chat([one]) for one in data.values()) else value
