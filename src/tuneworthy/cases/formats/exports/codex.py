"""Codex: session logs, `~/.codex/sessions/**/rollout-*.jsonl`, one conversation with its tool calls each."""

from collections.abc import Set
from dataclasses import dataclass, field, replace
from typing import Any

from tuneworthy.cases import messages
from tuneworthy.cases.formats.logs import exchange
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Fields, Format, register
from tuneworthy.cases.formats.values import at, first_at, word_at
from tuneworthy.cases.readers.faults import Dropped, Journal
from tuneworthy.cases.readers.files import Row, Rows
from tuneworthy.types import JsonObject

_LINES = frozenset({"session_meta", "response_item", "event_msg", "turn_context", "compacted"})
_CALLS = frozenset({"function_call", "custom_tool_call", "local_shell_call"})
_ITEMS = _CALLS | {"message", "function_call_output", "custom_tool_call_output"}


@dataclass(slots=True)
class _CodexSession:
    line: int = 0
    id: str | None = None
    model: str | None = None
    system: list[JsonObject] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)

    def row(self) -> Row:
        items = list(self.items)
        while items and not _is_said(items[-1]):
            items.pop()
        return self.line, {"messages": [*self.system, *items], "model": self.model, "session": self.id}

    def read(self, kind: str, payload: JsonObject, line: int) -> None:
        if kind == "session_meta":
            prompt = first_at(payload, "base_instructions", "instructions")
            text = at(prompt, "text") if isinstance(prompt, dict) else prompt
            self.line, self.id, self.model = line, at(payload, "id"), None
            self.system = [{"role": "system", "content": text}] if isinstance(text, str) and text.strip() else []
            self.items = []
        elif kind == "compacted":
            history = at(payload, "replacement_history")
            summary = {"type": "message", "role": "user", "content": str(at(payload, "message") or "")}
            self.items = history if isinstance(history, list) else [summary]
        elif kind == "turn_context":
            self.model = at(payload, "model") or self.model
        elif kind == "response_item" and word_at(payload, "type", "message") in _ITEMS:
            self.items.append(payload)
            self.line = line


def _sessions(rows: Rows, journal: Journal) -> Rows:
    """Yield one row per session, and one before each compaction, at its last line."""
    session = _CodexSession()
    for line, row in rows:
        if row is None:
            yield line, None
            continue
        kind, payload = word_at(row, "type"), row.get("payload")
        if kind in _ITEMS:  # the first logs of Codex: bare items
            kind, payload = "response_item", row
        if isinstance(payload, dict):
            if kind in {"session_meta", "compacted"} and session.items:
                yield session.row()
                session = replace(session, line=line, items=[])
            session.read(kind, payload, line)
    if session.items or session.id:
        yield session.row()


def _is_said(item: Any) -> bool:
    kind = word_at(item, "type", "message") if isinstance(item, dict) else ""
    return kind in _CALLS or (kind == "message" and at(item, "role") == "assistant")


def _example(row: JsonObject, journal: Journal) -> Fields:
    turns = row["messages"]
    if not any(map(_is_said, turns)):
        raise Dropped(messages.NO_RESPONSE)
    return exchange([], turns, {"model": at(row, "model"), "group": at(row, "session")})


def _detect(keys: Set[str], first: JsonObject) -> bool:
    kind = word_at(first, "type")
    is_bare = {"type", "role", "content"} <= keys and kind in _ITEMS | {"reasoning"}
    return is_bare or ({"type", "payload"} <= keys and kind in _LINES | {"session.start"})


register(
    EXAMPLE_FORMATS,
    Format(
        name="codex",
        title="Codex log",
        unit="session",
        detect=_detect,
        convert=_example,
        records=_sessions,
    ),
)
