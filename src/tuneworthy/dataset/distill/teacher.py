"""The teacher, pinned: what stands in `meta.teacher` of every row that a model answered, and what a set of rows says.

A pin names all that makes answers alike: the model (as configured, and as the server calls what it ran), the prompt,
the parameters. Rows with different pins have different teachers; the day is told, and is no part of the pin.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final, Literal

from tuneworthy.types import Example, Variant, content_hash

KEY: Final = "teacher"
"""Where a row's `meta` holds the teacher."""
_NOT_PROMPT: Final = ("name", "notes", "model", "model_identity", "decoding", "max_tokens")
_PIN: Final = ("model", "identity", "prompt", "parameters", "served")
Terms = Literal["pass", "fail", "unknown", "not_applicable"]


def described(variant: Variant, *, hosted: bool, allows_training: bool | None, terms: str | None) -> dict[str, Any]:
    """Return what a teacher's rows have in common.

    Args:
        variant: What answers.
        hosted: Whether it runs elsewhere.
        allows_training: Whether its terms allow training on what it says; None if nobody said.
        terms: Where that stands.
    """
    identity, content = dict(variant.model_identity), asdict(variant)
    names = (identity[key] for key in ("model", "url", "function", "file") if identity.get(key))
    return {
        "model": str(next(names, variant.model)),
        "identity": content_hash(identity),
        "variant": variant.name,
        "prompt": content_hash({key: value for key, value in content.items() if key not in _NOT_PROMPT}),
        "parameters": {**dict(variant.decoding), "max_tokens": variant.max_tokens},
        "hosted": hosted,
        "allows_training": allows_training,
        "terms": terms,
    }


def teacher_of(row: Example) -> dict[str, Any] | None:
    """Return the teacher that a row names, or None; a mere name becomes one.

    >>> teacher_of(Example(messages=(), id="", meta={"teacher": {"model": "m", "parameters": [1]}}))
    {'model': 'm'}
    """
    told = row.meta.get(KEY)
    if isinstance(told, Mapping):
        known = {str(key): value for key, value in told.items()}
        if not isinstance(known.get("parameters", {}), Mapping):
            del known["parameters"]
        return known or None
    return {"model": told} if isinstance(told, str) and told else None


def pin(teacher: Mapping[str, Any]) -> str:
    """Return the hash that two answers share if the same teacher gave them.

    >>> pin({"model": "m", "date": "2026-11-24"}) == pin({"model": "m", "date": "2026-12-01"})
    True
    """
    return content_hash({key: teacher.get(key) for key in _PIN})


def name_of(teacher: Mapping[str, Any]) -> str:
    """Return a teacher in a few words: model, what the server ran if it calls it otherwise, prompt."""
    model, served = str(teacher.get("model", "?")), teacher.get("served")
    parts = [model, *([f"served as {served}"] if served and served != model else [])]
    parts += [f"prompt {teacher['prompt']}"] if teacher.get("prompt") else []
    return ", ".join(parts)


def teachers_of(rows: Iterable[Example]) -> list[dict[str, Any]]:
    """Return the teachers of `rows` for a recipe, those with most rows first; empty if nobody but people answered.

    Each is as `described`, with `pin`, `served`, `n_rows`, and the `first` and the `last` day of its answers.
    """
    found: dict[str, dict[str, Any]] = {}
    counts: Counter[str] = Counter()
    for row in rows:
        if (teacher := teacher_of(row)) is None:
            continue
        key = content_hash([pin(teacher), teacher.get("allows_training"), teacher.get("terms")])
        counts[key] += 1
        day = str(teacher.get("date", ""))
        kept = {name: value for name, value in teacher.items() if name not in {"date", "samples"}}
        one = found.setdefault(key, {**kept, "pin": pin(teacher), "first": day, "last": day})
        one["first"], one["last"] = min(one["first"], day), max(one["last"], day)
    return [{**found[key], "n_rows": n} for key, n in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]


def terms_of(recipe: Mapping[str, Any]) -> tuple[Terms, str]:
    """Return whether the terms of a version's teachers allow training on its rows, and why: the gate `teacher_terms`.

    Args:
        recipe: Of a frozen version.

    >>> terms_of({"teachers": [{"model": "m", "n_rows": 3, "allows_training": None}]})
    ('unknown', 'm (3 rows): nobody said whether its terms allow training; answer teacher.allows_training')
    """
    teachers = recipe.get("teachers")
    if teachers is None:
        return "unknown", "the version was frozen before teachers were recorded; build it again"
    if not teachers:
        return "not_applicable", "no model answered these rows"
    forbids = [one for one in teachers if one.get("allows_training") is False]
    open_ = [one for one in teachers if one.get("allows_training") not in (True, False)]
    if forbids:
        return "fail", _each(forbids, "its terms forbid training on its outputs")
    if open_:
        return "unknown", _each(open_, "nobody said whether its terms allow training; answer teacher.allows_training")
    where = sorted({str(one["terms"]) for one in teachers if one.get("terms")})
    terms = f" ({'; '.join(where)})" if where else ""
    return "pass", _each(teachers, f"the terms allow training on its outputs{terms}")


def _each(teachers: Iterable[Mapping[str, Any]], words: str) -> str:
    return "; ".join(f"{one.get('model')} ({one['n_rows']} rows): {words}" for one in teachers)
