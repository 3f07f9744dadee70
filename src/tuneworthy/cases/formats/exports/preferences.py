"""Preferences: pairs of a better and a worse answer, and answers that are marked as wanted or not (KTO)."""

import re
from typing import Any

from tuneworthy.cases import messages
from tuneworthy.cases.formats.chats import word_at
from tuneworthy.cases.formats.dialects import is_chat
from tuneworthy.cases.formats.logs import exchange
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Fields, Format
from tuneworthy.cases.pairs import REJECTED
from tuneworthy.cases.readers.faults import Dropped

_BETTER = ("chosen", "preferred_output")
_WORSE = ("rejected", "non_preferred_output")
_ASKS = ("prompt", "question", "instruction", "input")
_READ = frozenset({*_BETTER, *_WORSE, *_ASKS, "conversations", "system", "label"})
_SPEAKER = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def _pair(row: dict[str, Any]) -> Fields:
    better, worse = (_turns(next((row[key] for key in keys if key in row), None)) for keys in (_BETTER, _WORSE))
    if better == worse:
        raise Dropped(messages.NO_PREFERENCE)
    return exchange(_question(row), better, {**_rest(row), REJECTED: worse[-1]})


def _marked(row: dict[str, Any]) -> Fields:
    scores = [{"name": "accepted", "value": row.get("label")}]
    return exchange(_question(row), row.get("completion"), {**_rest(row, "completion"), "scores": scores})


def _question(row: dict[str, Any]) -> Any:
    """Return what was asked; an empty list where the better answer is the whole conversation."""
    if isinstance(turns := row.get("conversations"), list):
        return [*_system(row), *map(_sharegpt, turns)]
    parts = [row[key] for key in _ASKS if row.get(key)]
    if len(parts) == 1 and not isinstance(parts[0], str):
        return parts[0]
    text = "\n\n".join(part for part in parts if isinstance(part, str))
    return [*_system(row), *([{"role": "user", "content": text}] if text.strip() else ())]


def _system(row: dict[str, Any]) -> list[Any]:
    return [{"role": "system", "content": row["system"]}] if row.get("system") else []


def _turns(value: Any) -> list[Any]:
    """Return an answer as messages: it may be text, also a whole conversation as HH-RLHF writes it, or messages."""
    if isinstance(value, str) and value.startswith("\n\nHuman:"):
        _, *parts = _SPEAKER.split(value)
        return [
            {"role": _ROLES[who], "content": text.strip()} for who, text in zip(parts[::2], parts[1::2], strict=True)
        ]
    if isinstance(value, dict) and "from" in value:
        return [_sharegpt(value)]
    if isinstance(value, list) and value and isinstance(value[0], dict) and "from" in value[0]:
        return [*map(_sharegpt, value)]
    return value if is_chat(value) else [value] if is_chat([value]) else [{"role": "assistant", "content": value}]


def _sharegpt(turn: Any) -> Any:
    if not isinstance(turn, dict) or "from" not in turn:
        return turn
    speaker = word_at(turn, "from")
    role = {"human": "user", "gpt": "assistant"}.get(speaker, speaker)
    return {"role": role, "content": turn.get("value")}


def _rest(row: dict[str, Any], *read: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in _READ and key not in read}


for _format in (
    Format(
        name="preference",
        title="preference pairs",
        unit="pair",
        shape='{"prompt": ..., "chosen": ..., "rejected": ...}',
        detect=lambda keys, first: not keys.isdisjoint(_BETTER) and not keys.isdisjoint(_WORSE),
        converter=lambda journal: _pair,
        priority=-7,
    ),
    Format(
        name="kto",
        title="KTO rows",
        unit="row",
        shape='{"prompt": ..., "completion": ..., "label": true}',
        detect=lambda keys, first: (
            {"prompt", "completion", "label"} <= keys and str(first.get("label")).lower() in {"true", "false"}
        ),
        converter=lambda journal: _marked,
        priority=-7,
    ),
):
    EXAMPLE_FORMATS.register(_format.name)(_format)
