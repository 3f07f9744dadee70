"""OpenTelemetry: spans and log records of model calls in OTLP JSON.

Read are the attributes of the current conventions (`gen_ai.input.messages`), the events of earlier versions, and the
numbered attributes of OpenLLMetry and OpenInference. Evaluations are events of the span that they evaluate.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tuneworthy.cases import messages
from tuneworthy.cases.formats.columns import parsed
from tuneworthy.cases.formats.example_rows import SAMPLING
from tuneworthy.cases.formats.logs import exchange
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Fields, Format, register
from tuneworthy.cases.formats.values import at, dicts_at, first_at, list_at, seconds_between, word_at
from tuneworthy.cases.readers.faults import Dropped, Journal
from tuneworthy.cases.readers.files import Rows
from tuneworthy.types import JsonObject, Texts

_EVALUATION = "gen_ai.evaluation.result"
_DETAILS = "gen_ai.client.inference.operation.details"
_CHATS = frozenset({"chat", "generate_content", "text_completion", "completion"})
_ROLES = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
    "gen_ai.choice": "assistant",
}
# Attributes of a request and of its response, also as prefixes of numbered attributes, the current first.
_ASKED = ("gen_ai.input.messages", "gen_ai.prompt", "llm.input_messages", "input.value")
_ANSWERED = ("gen_ai.output.messages", "gen_ai.completion", "llm.output_messages", "output.value")
_CALL_PREFIXES = (
    *("gen_ai.input.", "gen_ai.output.", "gen_ai.prompt", "gen_ai.completion"),
    *("llm.input_messages", "llm.output_messages"),
)
# Keys of a single span: of OTLP, of the SDK's own JSON, and of OTLP's by Python.
_SPAN = frozenset({"spanId", "context", "context.span_id", "start_time_unix_nano"})
# Prefix of the attributes where they are columns.
_FLAT = "attributes."
_STARTED = ("startTimeUnixNano", "start_time_unix_nano", "timeUnixNano")
_ENDED = ("endTimeUnixNano", "end_time_unix_nano", "end_time")
# Tokens of a request and of its answer, the current attributes first.
_SENT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt")
_GOT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion")
_FAILED = frozenset({"2", "STATUS_CODE_ERROR", "ERROR"})
_ENDINGS = {"tool_call": "tool_calls", "max_tokens": "length"}


def _value(value: Any) -> Any:
    if not isinstance(value, dict) or len(value) != 1:
        return value
    kind, inner = next(iter(value.items()))
    if kind == "arrayValue":
        return [_value(item) for item in list_at(inner, "values")]
    if kind == "kvlistValue":
        return _attributes(at(inner, "values"))
    return inner if str(kind).endswith("Value") else value


def _attributes(pairs: Any) -> JsonObject:
    if isinstance(pairs, dict):
        return {key: _value(value) for key, value in pairs.items()}
    listed = pairs if isinstance(pairs, list) else ()
    return {str(pair["key"]): _value(at(pair, "value")) for pair in listed if isinstance(pair, dict) and "key" in pair}


class _OtelPart:
    """A span, a log record or an event.

    Attributes:
        row: As exported.
        own: Its attributes.
        name: Of the event or the span.
        place: Id of the span.
        events: Of a span.
    """

    def __init__(self, row: JsonObject) -> None:
        columns = {key[len(_FLAT) :]: parsed(item) for key, item in row.items() if key.startswith(_FLAT)}
        self.row, self.own = row, _attributes(columns or at(row, "attributes"))
        self.name = str(at(row, "eventName") or at(self.own, "event.name") or at(row, "name") or "")
        self.place = str(first_at(row, "spanId", "context/span_id", "context.span_id") or "")
        self.events = [_OtelPart(event) for event in dicts_at(row, "events")]

    @property
    def is_call(self) -> bool:
        operation = word_at(self.own, "gen_ai.operation.name")
        kind = at(self.own, "openinference.span.kind") or at(self.row, "span_kind")
        if operation or kind is not None:
            return operation in _CHATS or kind == "LLM"
        has_text = any(key.startswith(_CALL_PREFIXES) for key in self.own) or at(self.own, "llm/input_messages")
        return has_text or any(event.name in _ROLES for event in self.events)

    @property
    def failed(self) -> bool:
        code = str(first_at(self.row, "status/code", "status/status_code", "status_code"))
        return bool(at(self.own, "error.type")) or code in _FAILED


def _parts(row: JsonObject) -> Iterator[_OtelPart]:
    if not _SPAN.isdisjoint(row):
        yield _OtelPart(row)
    for key in ("resourceSpans", "scopeSpans", "resourceLogs", "scopeLogs"):
        for inner in dicts_at(row, key):
            yield from _parts(inner)
    for key in ("spans", "logRecords"):
        yield from map(_OtelPart, dicts_at(row, key))


def _calls(rows: Rows, journal: Journal) -> Rows:
    """Yield a row per model call: a span, or the log records of one span."""
    pending: dict[str, list[Any]] = defaultdict(list)
    for line, row in rows:
        if row is None:
            yield line, None
            continue
        for part in _parts(row):
            if part.name in _ROLES and "body" in part.row:
                body = _value(part.row["body"])
                turn = _event_turn(part.name, part.own | (body if isinstance(body, dict) else {"content": body}))
                if part.name == "gen_ai.choice":
                    asked = pending.pop(part.place, [])
                    yield line, {"part": part, "asked": asked, "answered": [turn], "failed": False}
                else:
                    pending[part.place].append(turn)
            elif part.name == _DETAILS or part.is_call:
                # From the attributes of a span or, failing these, from its events.
                asked, answered = _first_text(part, _ASKED, said=False), _first_text(part, _ANSWERED, said=True)
                system = parsed(at(part.own, "gen_ai.system_instructions"))
                if system and isinstance(asked, list):
                    content = [system["message"]] if isinstance(system, dict) and "message" in system else system
                    asked = [{"role": "system", "content": content}, *asked]
                answered = answered[:1] if isinstance(answered, list) else answered
                yield line, {"part": part, "asked": asked, "answered": answered, "failed": part.failed}
            elif part.name != _EVALUATION:
                journal.note("spans and log records that are not model calls are skipped")


def _first_text(part: _OtelPart, places: Texts, *, said: bool) -> Any:
    for place in places:
        nested = parsed(at(part.own, place) or at(part.own, place.replace(".", "/")))
        if text := _numbered(part.own, place) or nested:
            return [*map(_numbered_turn, text)] if place.startswith("llm.") and text is nested else text
    turns = [
        _event_turn(event.name, event.own)
        for event in part.events
        if event.name in _ROLES and (event.name == "gen_ai.choice") == said
    ]
    texts = [parsed(at(event.own, places[1])) for event in part.events]  # gen_ai.content.prompt and .completion
    return turns or next(filter(None, texts), [])


def _event_turn(name: str, event: JsonObject) -> JsonObject:
    content = parsed(at(event, "gen_ai.event.content"))
    event = event | content if isinstance(content, dict) else event
    inner = parsed(at(event, "message"))
    if not isinstance(inner, dict):
        inner = event if inner is None else {"content": inner}
    turn = {"content": parsed(at(inner, "content"))}
    if (calls := at(inner, "tool_calls")) is not None:
        turn["tool_calls"] = parsed(calls)
    if name == "gen_ai.tool.message" and (identity := at(event, "id")):
        turn["tool_call_id"] = identity
    if ending := at(event, "finish_reason"):
        turn["finish_reason"] = ending
    role = at(inner, "role")
    return {**turn, "role": role if role in _ROLES.values() else _ROLES[name]}


def _numbered(own: JsonObject, prefix: str) -> list[Any]:
    root: JsonObject = {}
    for key, value in own.items():
        if key.startswith(f"{prefix}."):
            node = root
            *path, last = key[len(prefix) + 1 :].split(".")
            for step in path:
                node = node.setdefault(step, {}) if isinstance(node.get(step, {}), dict) else {}
            node[last] = value
    turns = _listed(root)
    return [_numbered_turn(turn) for turn in turns] if isinstance(turns, list) else []


def _listed(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    inner = {key: _listed(value) for key, value in node.items()}
    return [inner[key] for key in sorted(inner, key=int)] if inner and all(map(str.isdecimal, inner)) else inner


def _numbered_turn(turn: Any) -> Any:
    if isinstance(turn, dict) and any(key.startswith("message.") for key in turn):  # a cell of Phoenix
        turn = {"message": {key.removeprefix("message."): item for key, item in turn.items()}}
    if isinstance(message := at(turn, "message"), dict):  # OpenInference
        contents = message.pop("contents", None)
        turn = message
        if isinstance(contents, list):
            turn["content"] = [part.get("message_content", part) for part in contents if isinstance(part, dict)]
        if isinstance(at(turn, "tool_calls"), list):
            turn["tool_calls"] = [call.get("tool_call", call) for call in dicts_at(turn, "tool_calls")]
    if not isinstance(turn, dict):
        return turn
    content = parsed(at(turn, "content"))
    in_parts = isinstance(content, list) and all(isinstance(part, dict) and "type" in part for part in content)
    return {"role": "assistant", **turn, "content": content if in_parts else at(turn, "content")}


def _example(row: JsonObject, journal: Journal) -> Fields:
    part, asked, answered = row["part"], row["asked"], row["answered"]
    if row["failed"]:
        raise Dropped(messages.FAILED_REQUEST)
    if not asked or not answered:
        raise Dropped(messages.NO_CONTENT)
    usage = {"input_tokens": first_at(part.own, *_SENT), "output_tokens": first_at(part.own, *_GOT)}
    about = {
        "model": first_at(
            part.own, "gen_ai.response.model", "gen_ai.request.model", "llm.model_name", "llm/model_name"
        ),
        "tools": parsed(at(part.own, "gen_ai.tool.definitions")) or None,
        "group": first_at(part.own, "gen_ai.conversation.id", "session.id"),
        "scores": journal.facts.get(f"otel:{part.place}"),
        "usage": usage if all(usage.values()) else None,
        "settings": {key: part.own[f"gen_ai.request.{key}"] for key in SAMPLING if f"gen_ai.request.{key}" in part.own}
        or None,
        "seconds": seconds_between(first_at(part.row, *_STARTED, "start_time"), first_at(part.row, *_ENDED)),
        # nanoseconds without their last nine digits are seconds
        "timestamp": str(first_at(part.row, *_STARTED) or "")[:-9] or at(part.row, "start_time"),
    }
    reasons = parsed(at(part.own, "gen_ai.response.finish_reasons"))
    if isinstance(reasons, list) and reasons:
        about["finish_reason"] = _ENDINGS.get(str(reasons[0]), str(reasons[0]))
    return exchange(asked, answered, about)


def _scores(row: JsonObject) -> Iterator[tuple[str, Any]]:
    for part in _parts(row):
        for event in (part, *part.events):
            for key in ("gen_ai.evaluation.score.label", "gen_ai.evaluation.score.value"):
                if event.name == _EVALUATION and (value := at(event.own, key)) is not None:
                    yield f"otel:{part.place}", {"name": at(event.own, "gen_ai.evaluation.name"), "value": value}


register(
    EXAMPLE_FORMATS,
    Format(
        name="otel",
        title="OpenTelemetry export",
        unit="model call",
        detect=lambda keys, first: (
            not keys.isdisjoint({"resourceSpans", "scopeSpans", "resourceLogs", "scopeLogs"})
            or (any(key.startswith("attributes") for key in keys) and not keys.isdisjoint(_SPAN))
        ),
        convert=_example,
        records=_calls,
        facts=_scores,
    ),
)
