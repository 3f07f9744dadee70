"""Reduce JSON documents to decisions and numbers: no sentences, paths, times, versions or hashes."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

# Texts, measured times, sizes of files, and settings that name no result.
LEFT_OUT = frozenset(
    (
        "answer",
        "code",
        "companion",
        "cost",
        "created",
        "date",
        "detail",
        "domain_text",
        "example",
        "files",
        "fix",
        "hint",
        "id",
        "import",
        "latency_n",
        "latency_p50_ci",
        "latency_p50_ms",
        "latency_p95_ci",
        "latency_p95_ms",
        "made_by",
        "mark",
        "message",
        "minutes",
        "n_bytes",
        "notes",
        "path",
        "probe",
        "question",
        "read",
        "schema_version",
        "seconds",
        "settings",
        "sha256",
        "stale",
        "times",
        "title",
        "today",
        "unit",
        "valid_until",
        "version",
        "why",
        "words",
        "would_change",
        "wrong",
    )
)
# The key of a list's dictionaries, in order of preference.
NAMES = ("rung", "option", "gate", "class", "check", "reason", "name", "label", "expected", "option", "share")
CODE = re.compile(r"[A-Za-z][\w./:+=@-]{0,59}")
HASH = re.compile(r"[0-9a-f]{16}|[0-9a-f]{64}")
Tree = dict[str, Any]


def digest(value: Any, length: int = 10) -> str:
    """Return a short hash of a JSON document."""
    return "h" + hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:length]


def facts(value: Any, key: str = "") -> Any:
    """Reduce a document; None if nothing of it is left."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return rounded(value)
    if isinstance(value, str):
        if key == "command":
            return value or None
        if key in {"violates", "violated"}:
            return bool(value)
        return value if CODE.fullmatch(value) and not HASH.fullmatch(value) else None
    if isinstance(value, dict):
        if "mark" in value and "value" in value:  # an assumption
            return facts(value["value"])
        kept = {_name(each): facts(inner, each) for each, inner in value.items() if each not in LEFT_OUT}
        return {each: inner for each, inner in kept.items() if inner is not None and inner != {}} or None
    if isinstance(value, list | tuple):
        return _listed(list(value))
    return None


def rounded(value: float) -> float | int | str:
    """Round to six digits."""
    if isinstance(value, int):
        return value
    if not math.isfinite(value):
        return str(value)
    short = float(f"{value:.6g}")
    return int(short) if short.is_integer() else short


def _name(key: str) -> str:
    return key if CODE.fullmatch(key) else digest(key, 6)


def _listed(rows: list[Any]) -> Any:
    if not rows:
        return None
    if not all(isinstance(row, dict) for row in rows):
        kept = [facts(row) for row in rows]
        if all(isinstance(row, str) for row in kept):
            return sorted(kept)  # options of equal worth come in the order of their measured latency
        return kept if any(row is not None for row in kept) else None
    named: Tree = {}
    key = next((each for each in NAMES if all(isinstance(row.get(each), str | int | float) for row in rows)), "")
    for number, row in enumerate(rows):
        name = _name(str(row[key])) if key else str(number)
        while name in named:
            name += "'"
        named[name] = facts({each: inner for each, inner in row.items() if each != key}) or {}
    return named


def pack(tree: Any, base: Any) -> Any:
    """Leave out what a tree shares with another; null stands for a key that only the other has."""
    if not (isinstance(tree, dict) and isinstance(base, dict)):
        return tree
    packed = {key: pack(inner, base.get(key)) for key, inner in tree.items() if inner != base.get(key)}
    return packed | {key: None for key in base if key not in tree}


def unpack(packed: Any, base: Any) -> Any:
    """Undo `pack`."""
    if not (isinstance(packed, dict) and isinstance(base, dict)):
        return packed
    merged = base | {key: unpack(inner, base.get(key)) for key, inner in packed.items()}
    return {key: inner for key, inner in merged.items() if inner is not None}


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each leaf with its path."""
    if isinstance(tree, dict) and tree:
        for key, inner in tree.items():
            yield from leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list) and tree:
        for number, inner in enumerate(tree):
            yield from leaves(inner, f"{path}[{number}]")
    else:
        yield path, tree


def differences(before: Tree, after: Tree) -> dict[str, str]:
    """Return each path whose value differs."""
    old, new = dict(leaves(before)), dict(leaves(after))
    found = {}
    for path in [*old, *(path for path in new if path not in old)]:
        if path not in new:
            found[path] = f"{old[path]!r} is gone"
        elif path not in old:
            found[path] = f"{new[path]!r} is new"
        elif not _equal(old[path], new[path]):
            found[path] = f"{old[path]!r} became {new[path]!r}"
    return found


def _equal(a: Any, b: Any) -> bool:
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (a, b))
    return math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-9) if numbers else bool(a == b)


def matches(path: str, pattern: str) -> bool:
    """Whether a path is named by a pattern: `*` stands for any letters, brackets for themselves."""
    return fnmatchcase(path, pattern.replace("[", "[[]"))
