"""The teacher, pinned: `meta.teacher` of every row that a model answered, and the teachers of a set of rows.

A pin names all that makes answers alike: the model (as configured, and as the server reports it), the prompt, the
parameters. Rows with different pins have different teachers; the day of the answer is not part of the pin.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Literal

from tuneworthy.dataset.records import TeacherPin, TeacherRecord
from tuneworthy.types import Example, JsonObject, Variant, content_hash

# Key of the teacher in a row's `meta`.
KEY = "teacher"
# Types of the fields of a pin that are no texts.
_NO_TEXTS: Mapping[str, type] = {"parameters": Mapping, "samples": Mapping, "hosted": bool, "allows_training": bool}
_NOT_PROMPT = ("name", "notes", "model", "model_identity", "decoding", "by_tag", "max_tokens")
Terms = Literal["pass", "fail", "unknown", "not_applicable"]


def describe_teacher(variant: Variant, *, hosted: bool, allows_training: bool | None, terms: str | None) -> TeacherPin:
    """Return the part of the pin that all rows of a teacher share.

    Args:
        variant: The variant that answers.
        hosted: Whether it runs elsewhere.
        allows_training: Whether its terms allow training on its outputs; None if unknown.
        terms: Where the terms say so.
    """
    identity = dict(variant.model_identity)
    names = (identity[key] for key in ("model", "url", "function", "file") if identity.get(key))
    return TeacherPin(
        model=str(next(names, variant.model)),
        identity=content_hash(identity),
        variant=variant.name,
        prompt=_prompt_hash(variant),
        parameters={**dict(variant.decoding), "max_tokens": variant.max_tokens},
        hosted=hosted,
        allows_training=allows_training,
        terms=terms,
    )


def _prompt_hash(variant: Variant) -> str:
    return content_hash(
        {key: value for key, value in asdict(variant).items() if key not in _NOT_PROMPT and (key != "tools" or value)}
    )


def is_teacher(variant: Variant, pinned: TeacherPin) -> bool:
    """Return whether a variant has the model and the prompt of a teacher, whatever its parameters are."""
    return (
        content_hash(dict(variant.model_identity)) == pinned.identity
        and _prompt_hash(replace(variant, cascade=None)) == pinned.prompt
    )


def teacher_of(row: Example) -> TeacherPin | None:
    """Return the teacher of a row, or None; a mere name becomes one, and values of another type are left out.

    >>> teacher_of(Example(messages=(), id="", meta={"teacher": {"model": "m", "parameters": [1]}})).parameters
    """
    value = row.meta.get(KEY)
    if isinstance(value, str) and value:
        return TeacherPin(model=value)
    if not isinstance(value, Mapping) or not value:
        return None
    facts: JsonObject = {
        field.name: item
        for field in fields(TeacherPin)
        if isinstance(item := value.get(field.name), _NO_TEXTS.get(field.name, str))
    }
    return TeacherPin(**facts)


def pin(teacher: TeacherPin) -> str:
    """Return the hash that two answers share if the same teacher gave them.

    >>> pin(TeacherPin(model="m", date="2026-11-24")) == pin(TeacherPin(model="m", date="2026-12-01"))
    True
    """
    return content_hash([teacher.model, teacher.identity, teacher.prompt, teacher.parameters, teacher.served])


def name_of(teacher: TeacherPin) -> str:
    served = f", served as {teacher.served}" if teacher.served and teacher.served != teacher.model else ""
    prompt = f", prompt {teacher.prompt}" if teacher.prompt else ""
    return f"{teacher.model}{served}{prompt}"


def teachers_of(rows: Iterable[Example]) -> list[TeacherRecord]:
    teachers: dict[str, TeacherPin] = {}
    days: dict[str, list[str]] = {}
    for row in rows:
        if (teacher := teacher_of(row)) is not None:
            key = content_hash([pin(teacher), teacher.allows_training, teacher.terms])
            teachers.setdefault(key, teacher)
            days.setdefault(key, []).append(teacher.date)
    return [
        TeacherRecord(
            **asdict(replace(teachers[key], date="", samples=None)),
            pin=pin(teachers[key]),
            n_rows=len(dates),
            first=min(dates),
            last=max(dates),
        )
        for key, dates in sorted(days.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    ]


def terms_of(teachers: Sequence[TeacherRecord]) -> tuple[Terms, str]:
    """Return whether the terms of a version's teachers allow training on its rows, and why: gate `teacher_terms`."""
    if not teachers:
        return "not_applicable", "no row was answered by a model"
    if forbidden := [one for one in teachers if one.allows_training is False]:
        return "fail", _each(forbidden, "the model's terms of use forbid training on its outputs")
    if unknown := [one for one in teachers if one.allows_training is None]:
        return "unknown", _each(
            unknown,
            "whether the model's terms of use allow training is unknown, because teacher.allows_training is not set",
        )
    where = "; ".join(sorted({one.terms for one in teachers if one.terms}))
    return "pass", _each(
        teachers, f"the model's terms of use allow training on its outputs{f' ({where})' if where else ''}"
    )


def _each(teachers: Sequence[TeacherRecord], terms: str) -> str:
    return "; ".join(f"{one.model} (n = {one.n_rows}): {terms}" for one in teachers)
