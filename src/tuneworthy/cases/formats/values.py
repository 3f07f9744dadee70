"""Access to values inside a stranger's JSON: a missing or wrong step gives nothing instead of an error."""

from contextlib import suppress
from datetime import datetime
from typing import Any

from tuneworthy.types import JsonMapping, JsonObject


def at(value: Any, path: str) -> Any:
    """Return the value at a path of keys and indexes, or None.

    >>> at({"choices": [{"text": "4"}]}, "choices/0/text"), at({"choices": "x"}, "choices/0/text")
    ('4', None)
    """
    if isinstance(value, dict) and "/" not in path:
        return value.get(path)
    for step in path.split("/"):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def first_at(value: Any, *paths: str) -> Any:
    """Return the first value at one of `paths` that is not empty, or None.

    >>> first_at({"a": "", "b": {"c": 1}}, "a", "b/c")
    1
    """
    for path in paths:
        if found := at(value, path):
            return found
    return None


def dict_at(value: Any, path: str) -> JsonObject:
    inner = at(value, path)
    return inner if isinstance(inner, dict) else {}


def list_at(value: Any, path: str) -> list[Any]:
    inner = at(value, path)
    return inner if isinstance(inner, list) else []


def dicts_at(value: Any, path: str) -> list[JsonObject]:
    return [item for item in list_at(value, path) if isinstance(item, dict)]


def word_at(row: JsonMapping, key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else ""


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def seconds_between(begun: Any, ended: Any) -> float | None:
    """Return the seconds between two dates, ISO 8601 or nanoseconds since the epoch, or None.

    >>> seconds_between("2026-11-01T10:00:00Z", "2026-11-01T10:00:00.8Z"), seconds_between("1000000000", 2500000000)
    (0.8, 1.5)
    """
    with suppress(TypeError, ValueError, OverflowError):
        if "-" in str(begun):
            return (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds()
        return (int(ended) - int(begun)) / 1e9
    return None
