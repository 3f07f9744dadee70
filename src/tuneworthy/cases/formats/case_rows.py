"""The formats of cases: ours, promptfoo, Inspect, openai/evals, Langfuse, and columns of any name."""

from collections.abc import Sequence, Set
from typing import Any

from tuneworthy.cases import messages
from tuneworthy.cases.formats.chats import check_messages, is_blank
from tuneworthy.cases.formats.columns import INPUT_NAMES, find_column
from tuneworthy.cases.formats.promptfoo import expanded, test_fields
from tuneworthy.cases.formats.registry import CASE_FORMATS, Fields, Format, has, register
from tuneworthy.cases.formats.tool_calls import plain_calls, with_calls
from tuneworthy.cases.formats.values import at
from tuneworthy.cases.messages import DropReason
from tuneworthy.cases.readers.faults import Dropped, Journal, RowFault
from tuneworthy.cases.readers.files import Rows
from tuneworthy.errors import nearest
from tuneworthy.types import JsonObject, TodaysAnswer, Turns, calls_of, canonical, content_hash, role_of, text_of

NATIVE = '{"input": "text" or {variables}, or "messages": [...], "expected": ...}'
_PLAIN = frozenset({"id", "input", "expected"})
_KEYS = _PLAIN | {"messages", "group", "tags", "documents", "tools", "today", "drafted", "graded"}


def native_fields(row: JsonObject, journal: Journal) -> Fields:
    """Convert a row of our own format.

    Raises:
        RowFault: A missing or unknown key, or a value of the wrong type.
    """
    if row.get("graded") is not None:  # `turn_rows` has replaced every row with valid places
        raise RowFault(messages.GRADED, row["graded"])
    fields = _question(row)
    if "expected" in row:
        fields["expected"] = row["expected"]
    if (given := row.get("id")) is not None:
        fields["id"] = _name(given, "id")
    if not row.keys() <= _PLAIN:
        _add_rest(fields, row, journal)
    return fields


def _question(row: JsonObject) -> Fields:
    value = row.get("input")
    if type(value) is str and "messages" not in row:
        if not value or value.isspace():
            raise RowFault(messages.INPUT_TEXT, got="an empty string")
        return {"input": value}
    turns = row.get("messages")
    if value is None and turns is None:
        if "input" in row:
            raise RowFault(messages.INPUT_TEXT, value)
        _unknown(row.keys() - _KEYS)
        raise RowFault("`input` or `messages`", got=messages.keys(row), hint=f"Write each row as {NATIVE}.")
    if value is not None and turns is not None:
        raise RowFault("either `input` or `messages`", got="both", hint="Remove one of them.")
    if turns is not None:
        return {"messages": ends_with_user(check_messages(turns))}
    if isinstance(value, dict) and value:
        return {"input": value}
    raise RowFault("a string or an object of variables for `input`", value)


def ends_with_user(turns: Turns) -> Turns:
    """Return `turns` if a user (or a tool) had the last word.

    Raises:
        RowFault: Another role did.
    """
    role = role_of(turns[-1])
    if role not in {"user", "tool"}:
        raise RowFault(
            "a conversation that ends with a user turn",
            got=f"a final turn with the role {role!r}",
            hint="Move the answer to `expected`." if role == "assistant" else "Add a user turn at the end.",
        )
    return turns


def turn_rows(rows: Rows, journal: Journal) -> Rows:
    """Yield a row for each graded turn of a conversation, and any other row as it is.

    The turn is the expected answer to the messages before it, with their recorded tool results. A question that an
    earlier conversation has word for word, such as a greeting, is asked once.
    """
    asked = set[bytes]()
    for line, row in rows:
        parts = [row] if row is None or "messages" not in row or "expected" in row else _turns(row)
        for part in parts:
            if part is not row and part is not None:
                if (key := canonical([part["messages"], part.get("tools")])) in asked:
                    journal.drop(line, DropReason("the turn asks the same as a turn of an earlier conversation"))
                    continue
                asked.add(key)
            yield line, part


def _turns(row: JsonObject) -> list[JsonObject]:
    """Return the rows of the turns of a conversation; any other row, and a faulty one, as it is."""
    try:
        turns = with_calls(check_messages(row["messages"]))
    except RowFault:
        return [row]
    answers = [
        n
        for n in range(1, len(turns))
        if role_of(turns[n]) == "assistant"
        and role_of(turns[n - 1]) in {"user", "tool"}
        and (calls_of(turns[n]) or not is_blank(text_of(turns[n])))
    ]
    chosen = row.get("graded")
    if chosen is None and role_of(turns[-1]) == "assistant":
        chosen = answers
    if not isinstance(chosen, list) or not chosen or any(n not in answers for n in chosen):
        return [row]
    shared = {key: value for key, value in row.items() if key not in {"id", "messages", "graded"}}
    shared["group"] = row.get("group") or row.get("id") or content_hash(turns)
    return [shared | {"messages": list(turns[:n]), "expected": plain_calls(turns[n]) or turns[n]["content"]}
            for n in sorted(chosen)]  # fmt: skip


def _add_rest(fields: Fields, row: JsonObject, journal: Journal) -> None:
    """Add group, tags, documents and tools; speak up about keys that are not ours."""
    if (group := row.get("group")) is not None:
        fields["group"] = _name(group, "group")
    for name in ("tags", "documents"):
        if row.get(name) is not None:
            fields[name] = tuple(_name(item, f"item of `{name}`") for item in _list(row[name], name))
    if row.get("tools") is not None:
        tools = _list(row["tools"], "tools")
        if bad := [tool for tool in tools if not isinstance(tool, dict)]:
            raise RowFault(messages.TOOLS, bad[0])
        fields["tools"] = tuple(tools)
    if row.get("today") is not None:
        fields["today"] = _today(row["today"])
    if (drafted := row.get("drafted")) is not None:
        if not isinstance(drafted, bool):
            raise RowFault("true or false for `drafted`", drafted)
        fields["drafted"] = drafted
    if unknown := row.keys() - _KEYS:
        _unknown(unknown)
        journal.note(f"ignored keys: {', '.join(sorted(unknown))}")


def _today(value: Any) -> TodaysAnswer:
    counts = [at(value, key) for key in ("calls", "same")] if isinstance(value, dict) else []
    if not counts or "answer" not in value or not all(type(n) is int for n in counts) or not 0 < counts[1] <= counts[0]:
        raise RowFault('{"answer": ..., "model": "...", "calls": 3, "same": 2} for `today`', value)
    return TodaysAnswer(value["answer"], str(value.get("model", "")), *counts)


def _unknown(keys: Set[str]) -> None:
    for key in sorted(keys):
        if near := nearest(key, _KEYS, 0.8):
            raise RowFault("a known key", got=f"`{key}`", hint=f"Did you mean `{near}`?")


def _list(value: Any, name: str) -> Sequence[Any]:
    if not isinstance(value, str | list):
        raise RowFault(f"a list for `{name}`", value)
    return (value,) if isinstance(value, str) else value


def _name(value: Any, what: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise RowFault(f"a string for {what}", value)
    return str(value)


def _expect(fields: Fields, value: Any, journal: Journal) -> None:
    """Set the expected answer of a foreign row; null and empty text mean that it has no answer."""
    if value is None or value in ("", []):
        journal.note(f"the expected answer is {'null' if value is None else 'empty'}, so the case is unlabelled")
    else:
        fields["expected"] = value[0] if isinstance(value, list) and len(value) == 1 else value


def _foreign(row: JsonObject, value: Any) -> Fields:
    """Start a foreign row: `value` is a text, variables or a chat."""
    if isinstance(turns := at(value, "messages"), list):
        value = turns
    fields = _question({"messages" if isinstance(value, list) else "input": value})
    if (given := at(row, "id")) is not None:
        fields["id"] = _name(given, "id")
    return fields


def _note_unread(row: JsonObject, read: Set[str], journal: Journal) -> None:
    if unread := sorted(key for key, value in row.items() if key not in read and value not in (None, "", [], {})):
        journal.note(f"ignored keys: {', '.join(unread)}")


def inspect_fields(row: JsonObject, journal: Journal) -> Fields:
    fields = _foreign(row, at(row, "input"))
    if choices := at(row, "choices"):
        if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
            raise RowFault("a list of strings for `choices`", choices)
        text = "\n\n" + "\n".join(f"{chr(65 + i)}) {choice}" for i, choice in enumerate(choices))
        if "messages" in fields:
            *before, last = fields["messages"]
            fields["messages"] = (*before, last | {"content": f"{last['content']}{text}"})
        elif isinstance(fields["input"], str):
            fields["input"] += text
        else:
            raise RowFault("a string or a chat for `input`, because the row has `choices`", fields["input"])
        journal.note("the choices are appended to the question as a lettered list")
    target = at(row, "target")
    if target is not None and not isinstance(target, str | list):
        raise RowFault("a string or a list of strings for `target`", target)
    _expect(fields, target, journal)
    _note_unread(row, {"id", "input", "target", "choices"}, journal)
    return fields


def _openai_evals(row: JsonObject, journal: Journal) -> Fields:
    value = at(row, "input")
    if isinstance(value, list) and value and at(value[-1], "role") == "system":
        value = [*value[:-1], value[-1] | {"role": "user"}]
        journal.note("the chat ends with a system message, which is treated as a user message")
    fields = _foreign(row, value)
    _expect(fields, at(row, "ideal"), journal)
    _note_unread(row, {"id", "input", "ideal"}, journal)
    return fields


def _langfuse(row: JsonObject, journal: Journal) -> Fields:
    if str(at(row, "status")).upper() == "ARCHIVED":
        raise Dropped("the Langfuse item is archived")
    fields = _foreign(row, at(row, "input"))
    _expect(fields, row.get("expectedOutput", at(row, "expected_output")), journal)
    _note_unread(row, {"id", "input", "expectedOutput", "expected_output", "status"}, journal)
    return fields


register(
    CASE_FORMATS,
    Format(
        name="promptfoo",
        detect=has("vars", without="input"),
        convert=test_fields,
        records=expanded,
    ),
    Format(
        name="openai_evals",
        detect=has("input ideal"),
        convert=_openai_evals,
    ),
    Format(
        name="langfuse",
        detect=has("input", some="expectedOutput expected_output datasetId datasetName"),
        convert=_langfuse,
    ),
    Format(
        name="inspect",
        detect=has("input target", without="expected"),
        convert=inspect_fields,
    ),
    Format(
        name="native",
        detect=lambda keys, first: bool({"input", "messages"} & keys) or not keys,
        convert=native_fields,
        records=turn_rows,
    ),
    Format(
        name="columns",
        detect=lambda keys, first: find_column(first.keys(), INPUT_NAMES) is not None,
        convert=native_fields,
    ),
)
