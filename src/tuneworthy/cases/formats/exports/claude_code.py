"""Claude Code: session logs, `~/.claude/projects/*/*.jsonl`, one conversation with its tool calls each.

The output of `claude --output-format stream-json` is read too: its lines name no parents, and follow one another.

A log has branches where the user went back or calls ran in parallel. The chain to the last answer is read, with all
calls of its turns and their results. Turns of subagents are left out.
"""

from collections.abc import Set
from itertools import pairwise

from tuneworthy.cases import messages
from tuneworthy.cases.formats.logs import exchange
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Fields, Format, register
from tuneworthy.cases.formats.values import at, dict_at, dicts_at, word_at
from tuneworthy.cases.readers.faults import Dropped, Journal
from tuneworthy.cases.readers.files import Rows
from tuneworthy.types import JsonObject, role_of

_TURNS = frozenset({"user", "assistant"})


def _sessions(rows: Rows, journal: Journal) -> Rows:
    entries: list[JsonObject] = []
    session, last = None, 0
    for line, row in rows:
        if row is None:
            yield line, None
        elif word_at(row, "uuid") or word_at(row, "type") in _TURNS:
            own = row.get("sessionId", row.get("session_id", session))
            if entries and session is not None and own != session:
                yield last, _session(entries)
                entries = []
            session, last = own, line
            linked = word_at(row, "uuid") and isinstance(row.get("parentUuid", 0), str | None)
            link = {"uuid": f"line {line}", "parentUuid": at(entries, f"{len(entries) - 1}/uuid")}
            entries.append(row if linked else row | link)
    if entries:
        yield last, _session(entries)


def _session(entries: list[JsonObject]) -> JsonObject:
    chain = _chain([entry for entry in entries if not at(entry, "isSidechain")])
    turns: list[JsonObject] = []
    by_response: dict[str, JsonObject] = {}
    for entry in chain:
        message = at(entry, "message")
        if not isinstance(message, dict) or at(entry, "isMeta") or at(entry, "isApiErrorMessage"):
            continue
        content, identity = at(message, "content"), at(message, "id")
        if not isinstance(content, list):
            turns.append({"role": message.get("role", at(entry, "type")), "content": content})
        elif isinstance(identity, str) and identity in by_response:
            by_response[identity]["content"] += content
        else:
            turns.append({"role": message.get("role", at(entry, "type")), "content": [*content]})
            if isinstance(identity, str):
                by_response[identity] = turns[-1]
    while turns and role_of(turns[-1]) != "assistant":
        turns.pop()
    model = next(filter(None, (at(entry, "message/model") for entry in chain)), None)
    return {"messages": turns, "model": model, "session": at(entries[-1], "sessionId")}


def _chain(entries: list[JsonObject]) -> list[JsonObject]:
    """Return the path to the last answer, with the calls and results of its turns that ran in parallel."""
    by_uuid = {str(at(entry, "uuid")): entry for entry in entries}
    before = dict(pairwise(reversed(by_uuid)))  # a line whose parent was cut off follows the line above it
    linked = any(at(entry, "parentUuid") for entry in entries)
    place: str | None = None
    for entry in entries:
        if at(entry, "type") == "assistant" and not at(entry, "isApiErrorMessage"):
            place = str(at(entry, "uuid"))
    chain: set[str] = set()
    while place in by_uuid and place not in chain:
        chain.add(place)
        parent = at(by_uuid[place], "parentUuid")
        place = parent if (parent is None and linked) or parent in by_uuid else before.get(place)
    responses = {_response(by_uuid[uuid]) for uuid in chain} - {""}
    chain |= {uuid for uuid, entry in by_uuid.items() if _response(entry) in responses}
    chain |= {
        uuid
        for uuid, entry in by_uuid.items()
        if at(entry, "type") == "user"
        and at(entry, "parentUuid") in chain
        and any(word_at(block, "type") == "tool_result" for block in dicts_at(entry, "message/content"))
    }
    return [entry for entry in entries if at(entry, "uuid") in chain and word_at(entry, "type") in _TURNS]


def _response(entry: JsonObject) -> str:
    return word_at(dict_at(entry, "message"), "id") if at(entry, "type") == "assistant" else ""


def _example(row: JsonObject, journal: Journal) -> Fields:
    turns = row["messages"]
    if not turns:
        raise Dropped(messages.NO_RESPONSE)
    return exchange(turns[:-1], turns[-1:], {"model": at(row, "model"), "group": at(row, "session")})


def _detect(keys: Set[str], first: JsonObject) -> bool:
    known = word_at(first, "type") in {*_TURNS, "system"} or {"sessionId", "uuid"} <= keys
    return {"type", "message"} <= keys and known


register(
    EXAMPLE_FORMATS,
    Format(
        name="claude_code",
        title="Claude Code log",
        unit="session",
        detect=_detect,
        convert=_example,
        records=_sessions,
    ),
)
