"""Preferences: pairs of a better and a worse answer, and answers marked as wanted or not (KTO)."""

import re
from typing import Any

from tuneworthy.cases.formats.chats import is_chat
from tuneworthy.cases.formats.example_rows import sharegpt_turn
from tuneworthy.cases.formats.logs import exchange
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Fields, Format, register
from tuneworthy.cases.formats.values import at
from tuneworthy.cases.pairs import REJECTED
from tuneworthy.cases.readers.faults import Dropped, Journal
from tuneworthy.types import JsonObject

_BETTER = ("chosen", "preferred_output")
_WORSE = ("rejected", "non_preferred_output")
_ASKS = ("prompt", "question", "instruction", "input")
_READ = frozenset({*_BETTER, *_WORSE, *_ASKS, "conversations", "system", "label"})
_SPEAKER = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def _pair(row: JsonObject, journal: Journal) -> Fields:
    better, worse = (_turns(next((row[key] for key in keys if key in row), None)) for keys in (_BETTER, _WORSE))
    if better == worse:
        raise Dropped("both answers of the pair are the same", "no_preference")
    return exchange(_question(row), better, {**_rest(row), REJECTED: worse[-1]})


def _marked(row: JsonObject, journal: Journal) -> Fields:
    return exchange(
        _question(row),
        at(row, "completion"),
        {**_rest(row), "completion": None, "scores": [{"name": "accepted", "value": at(row, "label")}]},
    )


def _question(row: JsonObject) -> Any:
    before = [{"role": "system", "content": row["system"]}] if at(row, "system") else []
    if isinstance(turns := at(row, "conversations"), list):
        return [*before, *_sharegpt(turns, "conversations")]
    parts = [row[key] for key in _ASKS if row.get(key)]
    if len(parts) == 1 and not isinstance(parts[0], str):
        return parts[0]
    text = "\n\n".join(part for part in parts if isinstance(part, str))
    return [*before, {"role": "user", "content": text}] if text.strip() else before


def _turns(value: Any) -> list[Any]:
    """Return an answer as messages: from text, also a whole conversation in HH-RLHF's form, or from messages."""
    if isinstance(value, str) and value.startswith("\n\nHuman:"):
        _, *parts = _SPEAKER.split(value)
        return [
            {"role": _ROLES[who], "content": text.strip()} for who, text in zip(parts[::2], parts[1::2], strict=True)
        ]
    turns = value if isinstance(value, list) else [value]
    if turns and isinstance(turns[0], dict) and "from" in turns[0]:
        return _sharegpt(turns, "the answer")
    if is_chat([value]):
        return [value]
    return turns if is_chat(turns) else [{"role": "assistant", "content": value}]


def _sharegpt(turns: list[Any], where: str) -> list[Any]:
    return [sharegpt_turn(turn, where, 0) if isinstance(turn, dict) else turn for turn in turns]


def _rest(row: JsonObject) -> JsonObject:
    return {key: value for key, value in row.items() if key not in _READ}


register(
    EXAMPLE_FORMATS,
    Format(
        name="preference",
        title="preference pairs",
        unit="pair",
        detect=lambda keys, first: not keys.isdisjoint(_BETTER) and not keys.isdisjoint(_WORSE),
        convert=_pair,
    ),
    Format(
        name="kto",
        title="KTO rows",
        unit="row",
        detect=lambda keys, first: (
            {"prompt", "completion", "label"} <= keys and str(at(first, "label")).lower() in {"true", "false"}
        ),
        convert=_marked,
    ),
)
