"""The teacher, pinned: `meta.teacher` of every row that a model answered, and the teachers of a set of rows.

A pin names all that makes answers alike: the model (as configured, and as the server reports it), the prompt, the
parameters. Rows with different pins have different teachers; the day of the answer is not part of the pin.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final, Literal

from tuneworthy.dataset import messages
from tuneworthy.types import Example, Variant, content_hash

# Where a row's `meta` holds the teacher.
KEY: Final = "teacher"
_NOT_PROMPT: Final = ("name", "notes", "model", "model_identity", "decoding", "max_tokens")
_PIN: Final = ("model", "identity", "prompt", "parameters", "served")
Terms = Literal["pass", "fail", "unknown", "not_applicable"]


def describe_teacher(
    variant: Variant, *, hosted: bool, allows_training: bool | None, terms: str | None
) -> dict[str, Any]:
    """Return what a teacher's rows have in common.

    Args:
        variant: What answers.
        hosted: Whether it runs elsewhere.
        allows_training: Whether its terms allow training on its outputs; None if unknown.
        terms: Where the terms say so.
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
    """Return the teacher of a row, or None; a mere name becomes one.

    >>> teacher_of(Example(messages=(), id="", meta={"teacher": {"model": "m", "parameters": [1]}}))
    {'model': 'm'}
    """
    value = row.meta.get(KEY)
    if isinstance(value, Mapping):
        teacher = {str(key): item for key, item in value.items()}
        if not isinstance(teacher.get("parameters", {}), Mapping):
            del teacher["parameters"]
        return teacher or None
    return {"model": value} if isinstance(value, str) and value else None


def pin(teacher: Mapping[str, Any]) -> str:
    """Return the hash that two answers share if the same teacher gave them.

    >>> pin({"model": "m", "date": "2026-11-24"}) == pin({"model": "m", "date": "2026-12-01"})
    True
    """
    return content_hash({key: teacher.get(key) for key in _PIN})


def name_of(teacher: Mapping[str, Any]) -> str:
    """Return a short name of a teacher: model, the server's name for it if that differs, prompt."""
    return messages.teacher_name(str(teacher.get("model", "?")), teacher.get("served"), teacher.get("prompt"))


def teachers_of(rows: Iterable[Example]) -> list[dict[str, Any]]:
    """Return the teachers of `rows` for a recipe, those with most rows first; empty if only people answered.

    Each is as `describe_teacher` returns it, with `pin`, `served`, `n_rows`, and the `first` and `last` day of answers.
    """
    teachers: dict[str, dict[str, Any]] = {}
    counts: Counter[str] = Counter()
    for row in rows:
        if (teacher := teacher_of(row)) is None:
            continue
        key = content_hash([pin(teacher), teacher.get("allows_training"), teacher.get("terms")])
        counts[key] += 1
        day = str(teacher.get("date", ""))
        facts = {name: value for name, value in teacher.items() if name not in {"date", "samples"}}
        one = teachers.setdefault(key, {**facts, "pin": pin(teacher), "first": day, "last": day})
        one["first"], one["last"] = min(one["first"], day), max(one["last"], day)
    return [{**teachers[key], "n_rows": n} for key, n in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]


def terms_of(recipe: Mapping[str, Any]) -> tuple[Terms, str]:
    """Return whether the terms of a version's teachers allow training on its rows, and why: the gate `teacher_terms`.

    Args:
        recipe: Of a frozen version.

    >>> terms_of({"teachers": [{"model": "m", "n_rows": 3, "allows_training": None}]})[0]
    'unknown'
    """
    teachers = recipe.get("teachers")
    if teachers is None:
        return "unknown", "this version does not record its teachers, so run `tuneworthy data build` again"
    if not teachers:
        return "not_applicable", "no row was answered by a model"
    if forbidden := [one for one in teachers if one.get("allows_training") is False]:
        return "fail", messages.each_teacher(forbidden, "the model's terms of use forbid training on its outputs")
    if unknown := [one for one in teachers if one.get("allows_training") is not True]:
        return "unknown", messages.each_teacher(
            unknown,
            ("whether the model's terms of use allow training is unknown, because teacher.allows_training is not set"),
        )
    return "pass", messages.each_teacher(teachers, messages.training_allowed(one.get("terms") for one in teachers))
