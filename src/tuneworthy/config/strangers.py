"""Sections told apart by a tag: `type = "..."` of a grader, `provider = "..."` of a model, ours or a package's.

A name that is not ours is looked up among the entry points of its kind; the object it names may have an attribute
`section`, a pydantic `Section` that validates the keys. Its package is imported for that only if the project is trusted
with it; before, any keys pass.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationInfo, WrapValidator

from tuneworthy.config.base import Section
from tuneworthy.errors import UnknownName
from tuneworthy.registry import Registry, entry_grant, installed, load_installed
from tuneworthy.trust import is_allowed


def tagged_section(
    kind: str,
    tag: str,
    sections: Mapping[str, type[Section]],
    default: type[Section],
    registry: Registry[Any] | None = None,
) -> WrapValidator:
    """Return a validator that chooses the section of a table by its tag.

    Args:
        kind: Suffix of the entry-point group `tuneworthy.<kind>`.
        tag: Key that names the type.
        sections: The sections of this package by tag.
        default: Section for an entry point without its own.
        registry: Registry whose built-in entries may have a `section` too.
    """
    unread: type[Section] = type(f"Unread{default.__name__}", (default,), {"model_config": ConfigDict(extra="allow")})

    def validate(value: Any, _: Any, info: ValidationInfo) -> Any:
        if isinstance(value, Section):
            return value
        if not isinstance(value, dict) or not isinstance(name := value.get(tag), str):
            raise ValueError(f"The key {tag} is missing. Choose one of: {', '.join(sections)}.")
        if name in sections:
            return sections[name].model_validate(value, context=info.context)
        grant = entry_grant(kind, name)
        if registry is not None and name in registry.builtins:
            section: type[Section] = getattr(registry.get(name), "section", default)
            return section.model_validate(value, context=info.context)
        if grant is None:
            raise ValueError(str(UnknownName(kind.removesuffix("s"), name, {*sections, *installed(kind)})))
        if not is_allowed((info.context or {}).get("root", Path()), grant):
            return unread.model_validate(value)
        section = getattr(load_installed(kind, name), "section", default)
        return section.model_validate(value)

    return WrapValidator(validate)
