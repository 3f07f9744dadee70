"""Sections of installed packages: `type = "..."` of a grader, `provider = "..."` of a model.

Known types are validated by the unions of this package. Any other is looked up among the entry points of its kind; what
the entry point names may have an attribute `section`, a pydantic `Section` that validates the keys. Its package is
imported for that only if the project is trusted with it; before, any keys pass.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, ValidatorFunctionWrapHandler, WrapValidator

from tuneworthy.config.base import Section
from tuneworthy.errors import UnknownName
from tuneworthy.registry import entry_grant, installed, load_installed
from tuneworthy.trust import is_allowed


def open_to_strangers(kind: str, tag: str, union: Any, default: type[Section]) -> WrapValidator:
    """Return a validator that lets sections of installed packages pass beside a closed union.

    Args:
        kind: Suffix of the entry-point group `tuneworthy.<kind>`.
        tag: Key that names the type.
        union: The sections of this package, each with a literal `tag`.
        default: Section for an entry point that names none.
    """
    unread: type[Section] = type(f"Unread{default.__name__}", (default,), {"model_config": ConfigDict(extra="allow")})
    known = tags_of(union, tag)

    def validate(value: Any, closed_union: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        name = value.get(tag) if isinstance(value, dict) else None
        if not isinstance(name, str) or name in known:
            return closed_union(value)
        grant = entry_grant(kind, name)
        if grant is None:
            raise ValueError(str(UnknownName(kind.removesuffix("s"), name, {*known, *installed(kind)})))
        if not is_allowed((info.context or {}).get("root", Path()), grant):
            return unread.model_validate(value)
        section: type[Section] = getattr(load_installed(kind, name), "section", default)
        return section.model_validate(value)

    return WrapValidator(validate)


def tags_of(union: Any, tag: str) -> set[str]:
    """Return the names of the sections in a closed union."""
    return {get_args(section.model_fields[tag].annotation)[0] for section in get_args(union)}


def open_name(kind: str, noun: str, known: Collection[str]) -> Any:
    """Return the type of a name: one of `known`, or one that an installed package offers."""

    def check(name: str) -> str:
        if name not in known and name not in installed(kind):
            raise ValueError(str(UnknownName(noun, name, [*known, *sorted(installed(kind))])))
        return name

    return Annotated[str, AfterValidator(check), Field(json_schema_extra={"enum": list(known)})]
