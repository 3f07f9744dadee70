"""OpenTelemetry: spans and log records of model calls, as OTLP writes them in JSON.

Read are the attributes of the present conventions (`gen_ai.input.messages`), the events of those before, and the
numbered attributes of OpenLLMetry and OpenInference. Evaluations are events of the span that they are about.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tuneworthy.cases import messages
from tuneworthy.cases.formats.chats import word_at
from tuneworthy.cases.formats.columns import parsed
from tuneworthy.cases.formats.logs import exchange
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Convert, Fields, Format
from tuneworthy.cases.readers.faults import Dropped, Journal
from tuneworthy.cases.readers.files import Row

_EVALUATION: Final = "gen_ai.evaluation.result"
_DETAILS: Final = "gen_ai.client.inference.operation.details"
_CHATS: Final = frozenset({"chat", "generate_content", "text_completion", "completion"})
_ROLES: Final = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
    "gen_ai.choice": "assistant",
}
# Prefixes of numbered attributes: what was asked, and what was answered.
_NUMBERED: Final = (
    ("gen_ai.prompt", "gen_ai.completion"),
    ("llm.input_messages", "llm.output_messages"),
    ("input.value", "output.value"),
)
# Keys of a span that stands alone: of OTLP, of the SDK's own JSON, and of OTLP's by Python.
_SPAN: Final = frozenset({"spanId", "context", "start_time_unix_nano"})
_FAILED: Final = frozenset({"2", "STATUS_CODE_ERROR", "ERROR"})


def _value(value: Any) -> Any:
    """Return a value of OTLP, `{"stringValue": ...}`, as plain data; plain data stays as it is."""
    if not isinstance(value, dict) or len(value) != 1:
        return value
    kind, inner = next(iter(value.items()))
    if kind == "arrayValue":
        values = inner.get("values") if isinstance(inner, dict) else None
        return [_value(item) for item in values] if isinstance(values, list) else []
    if kind == "kvlistValue":
        return _attributes(inner.get("values") if isinstance(inner, dict) else None)
    return inner if str(kind).endswith("Value") else value


def _attributes(pairs: Any) -> dict[str, Any]:
    if isinstance(pairs, dict):
        return {key: _value(value) for key, value in pairs.items()}
    listed = pairs if isinstance(pairs, list) else ()
    return {str(pair["key"]): _value(pair.get("value")) for pair in listed if isinstance(pair, dict) and "key" in pair}


def _parts(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the spans and log records of a line: a whole export, or what is within one."""
    if not _SPAN.isdisjoint(row):
        yield row
    for key in ("resourceSpans", "scopeSpans", "spans", "resourceLogs", "scopeLogs", "logRecords"):
        for part in row[key] if isinstance(row.get(key), list) else ():
            if isinstance(part, dict):
                yield from _parts(part) if key not in {"spans", "logRecords"} else (part,)


def _name(part: Mapping[str, Any], attributes: Mapping[str, Any]) -> str:
    return str(part.get("eventName") or attributes.get("event.name") or part.get("name") or "")


def _place(part: Mapping[str, Any]) -> str:
    context = part.get("context")
    return str(part.get("spanId") or (context.get("span_id") if isinstance(context, dict) else None) or "")


def _events(part: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    events = part.get("events")
    listed = [event for event in events if isinstance(event, dict)] if isinstance(events, list) else []
    return [(_name(event, own), own) for event in listed for own in (_attributes(event.get("attributes")),)]


def _calls(rows: Iterator[Row], journal: Journal) -> Iterator[Row]:
    """Yield a row a call of a model: a span with what it holds, or the log records of one span."""
    pending: dict[str, list[Any]] = {}
    for line, row in rows:
        if row is None:
            yield line, None
            continue
        for part in _parts(row):
            own = _attributes(part.get("attributes"))
            name, place = _name(part, own), _place(part)
            if name in _ROLES and "body" in part:
                body = _value(part["body"])
                turn = _event_turn(name, {**own, **(body if isinstance(body, dict) else {"content": body})})
                asked = pending.setdefault(place, [])
                if name == "gen_ai.choice":
                    yield line, {"asked": pending.pop(place), "answered": [turn], "own": own, "place": place}
                else:
                    asked.append(turn)
            elif name == _DETAILS or _is_call(own, _events(part)):
                status = part.get("status")
                code = str(status.get("code", status.get("status_code"))) if isinstance(status, dict) else ""
                failed = bool(own.get("error.type")) or code in _FAILED
                yield line, {**_conversation(own, _events(part)), "own": own, "place": place, "failed": failed}
            elif name != _EVALUATION:
                journal.note("spans and log records that are not model calls are skipped")


def _is_call(own: Mapping[str, Any], events: list[tuple[str, dict[str, Any]]]) -> bool:
    operation = word_at(own, "gen_ai.operation.name")
    if operation or "openinference.span.kind" in own:
        return operation in _CHATS or own.get("openinference.span.kind") == "LLM"
    prefixes = ("gen_ai.input.", "gen_ai.output.", *(prefix for pair in _NUMBERED[:2] for prefix in pair))
    return any(key.startswith(prefixes) for key in own) or any(name in _ROLES for name, _ in events)


def _conversation(own: dict[str, Any], events: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return what was asked and answered, from the attributes of a span or, failing these, from its events."""
    asked, answered = parsed(own.get("gen_ai.input.messages")), parsed(own.get("gen_ai.output.messages"))
    for before, after in _NUMBERED:
        asked = asked or _numbered(own, before) or parsed(own.get(before))
        answered = answered or _numbered(own, after) or parsed(own.get(after))
    turns = [(name, _event_turn(name, event)) for name, event in events if name in _ROLES]
    asked = asked or [turn for name, turn in turns if name != "gen_ai.choice"]
    answered = answered or [turn for name, turn in turns if name == "gen_ai.choice"]
    for _, event in events:  # gen_ai.content.prompt, gen_ai.content.completion
        asked, answered = (
            asked or parsed(event.get("gen_ai.prompt")),
            answered or parsed(event.get("gen_ai.completion")),
        )
    system = parsed(own.get("gen_ai.system_instructions"))
    if system and isinstance(asked, list):
        content = [system["message"]] if isinstance(system, dict) and "message" in system else system
        asked = [{"role": "system", "content": content}, *asked]
    return {"asked": asked, "answered": answered[:1] if isinstance(answered, list) else answered}


def _event_turn(name: str, event: dict[str, Any]) -> dict[str, Any]:
    content = parsed(event.get("gen_ai.event.content"))
    event = {**event, **content} if isinstance(content, dict) else event
    inner = parsed(event.get("message"))
    inner = inner if isinstance(inner, dict) else {"content": inner} if inner is not None else event
    turn = {key: parsed(inner[key]) for key in ("content", "tool_calls") if inner.get(key) is not None}
    identity = {"tool_call_id": event["id"]} if name == "gen_ai.tool.message" and event.get("id") else {}
    ending = {"finish_reason": event["finish_reason"]} if event.get("finish_reason") else {}
    role = inner.get("role") if inner.get("role") in _ROLES.values() else _ROLES[name]
    return {"content": None, **turn, **identity, **ending, "role": role}


def _numbered(own: Mapping[str, Any], prefix: str) -> list[Any]:
    """Return the messages that appear in attributes such as `gen_ai.prompt.0.content`."""
    root: dict[str, Any] = {}
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
    """Return an object whose keys are numbers as a list, also within it."""
    if not isinstance(node, dict):
        return node
    inner = {key: _listed(value) for key, value in node.items()}
    return [inner[key] for key in sorted(inner, key=int)] if inner and all(map(str.isdecimal, inner)) else inner


def _numbered_turn(turn: Any) -> Any:
    if isinstance(turn, dict) and isinstance(turn.get("message"), dict):  # OpenInference
        turn = turn["message"]
        contents = turn.pop("contents", None)
        if isinstance(contents, list):
            turn["content"] = [part.get("message_content", part) for part in contents if isinstance(part, dict)]
        calls = turn.get("tool_calls")
        if isinstance(calls, list):
            turn["tool_calls"] = [call.get("tool_call", call) for call in calls if isinstance(call, dict)]
    if isinstance(turn, dict):
        content = parsed(turn.get("content"))
        parts = isinstance(content, list) and all(isinstance(part, dict) and "type" in part for part in content)
        turn = {"role": "assistant", **turn, "content": content if parts else turn.get("content")}
    return turn


def _example(row: dict[str, Any], journal: Journal) -> Fields:
    own = row["own"]
    if row.get("failed"):
        raise Dropped(messages.FAILED_REQUEST)
    if not row["asked"] or not row["answered"]:
        raise Dropped(messages.NO_CONTENT)
    reasons = parsed(own.get("gen_ai.response.finish_reasons"))
    about = {
        "model": own.get("gen_ai.response.model") or own.get("gen_ai.request.model") or own.get("llm.model_name"),
        "tools": parsed(own.get("gen_ai.tool.definitions")) or None,
        "group": own.get("gen_ai.conversation.id") or own.get("session.id"),
        "scores": journal.facts.get(f"otel:{row['place']}"),
    }
    if isinstance(reasons, list) and reasons:
        about["finish_reason"] = {"tool_call": "tool_calls", "max_tokens": "length"}.get(
            str(reasons[0]), str(reasons[0])
        )
    return exchange(row["asked"], row["answered"], about)


def _scores(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for part in _parts(row):
        own = _attributes(part.get("attributes"))
        for name, event in [(_name(part, own), own), *_events(part)]:
            if name == _EVALUATION:
                for key in ("gen_ai.evaluation.score.label", "gen_ai.evaluation.score.value"):
                    if event.get(key) is not None:
                        yield f"otel:{_place(part)}", {"name": event.get("gen_ai.evaluation.name"), "value": event[key]}


def _converter(journal: Journal) -> Convert:
    return lambda row: _example(row, journal)


EXAMPLE_FORMATS.register("otel")(
    Format(
        name="otel",
        title="OpenTelemetry export",
        unit="model call",
        shape='{"resourceSpans": [{"scopeSpans": [{"spans": [...]}]}]}',
        detect=lambda keys, first: (
            not keys.isdisjoint({"resourceSpans", "scopeSpans", "resourceLogs", "scopeLogs"})
            or ("attributes" in keys and not keys.isdisjoint(_SPAN))
        ),
        converter=_converter,
        records=_calls,
        facts=_scores,
        priority=-10,
    )
)
