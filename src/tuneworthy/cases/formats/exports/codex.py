"""Codex: the log of a session, `~/.codex/sessions/**/rollout-*.jsonl`, as one conversation with its calls of tools."""

from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from typing import Any, Final

from tuneworthy.cases import messages
from tuneworthy.cases.formats.chats import word_at
from tuneworthy.cases.formats.logs import exchange
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Fields, Format
from tuneworthy.cases.readers.faults import Dropped, Journal
from tuneworthy.cases.readers.files import Row

_LINES: Final = frozenset({"session_meta", "response_item", "event_msg", "turn_context", "compacted"})
_ITEMS: Final = frozenset(
    {
        "message",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "local_shell_call",
    }
)


@dataclass(slots=True)
class _CodexSession:
    line: int = 0
    id: str | None = None
    model: str | None = None
    system: list[dict[str, Any]] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)

    def row(self) -> Row:
        """Return the conversation so far, up to what the model said last."""
        items = list(self.items)
        while items and not _is_said(items[-1]):
            items.pop()
        return self.line, {"messages": [*self.system, *items], "model": self.model, "session": self.id}


def _sessions(rows: Iterator[Row], journal: Journal) -> Iterator[Row]:
    """Yield a row a session, and one before each compaction, in the place of its last line."""
    session = _CodexSession()
    for line, row in rows:
        if row is None:
            yield line, None
            continue
        kind, payload = word_at(row, "type"), row.get("payload")
        if kind in _ITEMS:  # the first logs of Codex: bare items
            kind, payload = "response_item", row
        if not isinstance(payload, dict):
            continue
        if kind in {"session_meta", "compacted"} and session.items:
            yield session.row()
            session = _CodexSession(line, session.id, session.model, session.system)
        if kind == "session_meta":
            prompt = payload.get("base_instructions") or payload.get("instructions")
            text = prompt.get("text") if isinstance(prompt, dict) else prompt
            system = [{"role": "system", "content": text}] if isinstance(text, str) and text.strip() else []
            session = _CodexSession(line, payload.get("id"), system=system)
        elif kind == "compacted":
            history = payload.get("replacement_history")
            summary = {"type": "message", "role": "user", "content": str(payload.get("message") or "")}
            session.items = history if isinstance(history, list) else [summary]
        elif kind == "turn_context":
            session.model = payload.get("model") or session.model
        elif kind == "response_item" and word_at(payload, "type", "message") in _ITEMS:
            session.items.append(payload)
            session.line = line
    if session.items or session.id:
        yield session.row()


def _is_said(item: Any) -> bool:
    """Whether the model said or called this."""
    kind = word_at(item, "type", "message") if isinstance(item, dict) else ""
    return kind in {"function_call", "custom_tool_call", "local_shell_call"} or (
        kind == "message" and item.get("role") == "assistant"
    )


def _example(row: dict[str, Any]) -> Fields:
    if not any(map(_is_said, row["messages"])):
        raise Dropped(messages.NO_RESPONSE)
    return exchange([], row["messages"], {"model": row["model"], "group": row["session"]})


def _detect(keys: Set[str], first: dict[str, Any]) -> bool:
    kind = word_at(first, "type")
    bare = {"type", "role", "content"} <= keys and kind in _ITEMS | {"reasoning"}
    return bare or ({"type", "payload"} <= keys and kind in _LINES | {"session.start"})


EXAMPLE_FORMATS.register("codex")(
    Format(
        name="codex",
        title="Codex log",
        unit="session",
        shape='{"timestamp": ..., "type": "response_item", "payload": {"type": "message", ...}}',
        detect=_detect,
        converter=lambda journal: _example,
        records=_sessions,
        priority=-10,
    )
)
