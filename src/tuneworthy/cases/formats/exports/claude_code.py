"""Claude Code: the log of a session, `~/.claude/projects/*/*.jsonl`, as one conversation with its calls of tools.

What `claude --output-format stream-json` prints is read too: its lines name no parents, and follow one another.

A log holds branches: where the person went back, and where calls ran side by side. What is read is the chain that leads
to the last answer, with all calls of its turns and their results. Turns of subagents are left out.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from tuneworthy.cases import messages
from tuneworthy.cases.formats.chats import word_at
from tuneworthy.cases.formats.logs import exchange
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Fields, Format
from tuneworthy.cases.readers.faults import Dropped, Journal
from tuneworthy.cases.readers.files import Row


def _sessions(rows: Iterator[Row], journal: Journal) -> Iterator[Row]:
    """Yield a row a session, in the place of its last line."""
    entries: list[dict[str, Any]] = []
    session, last = None, 0
    for line, row in rows:
        if row is None:
            yield line, None
        elif word_at(row, "uuid") or word_at(row, "type") in {"user", "assistant"}:
            own = row.get("sessionId", row.get("session_id", session))
            if entries and session is not None and own != session:
                yield last, _session(entries)
                entries = []
            session, last = own, line
            linked = {"uuid": f"line {line}", "parentUuid": entries[-1]["uuid"] if entries else None}
            linked_already = word_at(row, "uuid") and isinstance(row.get("parentUuid", 0), str | None)
            entries.append(row if linked_already else row | linked)
    if entries:
        yield last, _session(entries)


def _session(entries: list[dict[str, Any]]) -> dict[str, Any]:
    chain = _chain([entry for entry in entries if not entry.get("isSidechain")])
    turns: list[dict[str, Any]] = []
    by_response: dict[str, dict[str, Any]] = {}
    for entry in chain:
        message = entry.get("message")
        if not isinstance(message, dict) or entry.get("isMeta") or entry.get("isApiErrorMessage"):
            continue
        content, identity = message.get("content"), message.get("id")
        if isinstance(content, list) and isinstance(identity, str) and identity in by_response:
            by_response[identity]["content"] += content
            continue
        turn = {
            "role": message.get("role", entry.get("type")),
            "content": list(content) if isinstance(content, list) else content,
        }
        turns.append(turn)
        if isinstance(identity, str) and isinstance(content, list):
            by_response[identity] = turn
    while turns and turns[-1]["role"] != "assistant":
        turns.pop()
    models = [entry["message"].get("model") for entry in chain if isinstance(entry.get("message"), dict)]
    return {"messages": turns, "model": next(filter(None, models), None), "session": entries[-1].get("sessionId")}


def _chain(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what leads to the last answer, with the calls and results of its turns that ran beside it."""
    by_uuid = {entry["uuid"]: entry for entry in entries}
    before = dict(pairwise(reversed(by_uuid)))  # a line whose parent was cut off follows the one above it
    answers = (one for one in reversed(entries) if one.get("type") == "assistant" and not one.get("isApiErrorMessage"))
    entry = next(answers, None)
    chain: set[str] = set()
    while entry is not None and entry["uuid"] not in chain:
        chain.add(entry["uuid"])
        parent = entry.get("parentUuid")
        entry = by_uuid.get(parent if parent is None or parent in by_uuid else before.get(entry["uuid"]))
    responses = {_response(by_uuid[uuid]) for uuid in chain} - {None}
    chain |= {uuid for uuid, one in by_uuid.items() if _response(one) in responses}
    chain |= {
        one["uuid"]
        for one in entries
        if one.get("type") == "user" and one.get("parentUuid") in chain and _is_result(one)
    }
    return [one for one in entries if one["uuid"] in chain and word_at(one, "type") in {"user", "assistant"}]


def _response(entry: dict[str, Any]) -> str | None:
    message = entry.get("message")
    return word_at(message, "id") or None if entry.get("type") == "assistant" and isinstance(message, dict) else None


def _is_result(entry: dict[str, Any]) -> bool:
    message = entry.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return isinstance(content, list) and any(
        isinstance(block, dict) and block.get("type") == "tool_result" for block in content
    )


def _example(row: dict[str, Any]) -> Fields:
    if not row["messages"]:
        raise Dropped(messages.NO_RESPONSE)
    *before, last = row["messages"]
    return exchange(before, [last], {"model": row["model"], "group": row["session"]})


EXAMPLE_FORMATS.register("claude_code")(
    Format(
        name="claude_code",
        title="Claude Code log",
        unit="session",
        shape='{"type": "user", "uuid": ..., "parentUuid": ..., "sessionId": ..., "message": {...}}',
        detect=lambda keys, first: (
            {"type", "message"} <= keys
            and (word_at(first, "type") in {"user", "assistant", "system"} or {"sessionId", "uuid"} <= keys)
        ),
        converter=lambda journal: _example,
        records=_sessions,
        priority=-10,
    )
)
