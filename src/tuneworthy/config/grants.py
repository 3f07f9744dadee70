"""Grants: permissions that a project file needs, read off its sections, nothing opened.

Each kind is looked for in all sections, by its keys, so that a new section with a function, a key or a program is
found as well. What enforces a grant is at the place of use (see `trust`).
"""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from tuneworthy import processes
from tuneworthy.config.base import Section
from tuneworthy.config.graders import GRADER_SECTIONS
from tuneworthy.config.ladder import RUNGS
from tuneworthy.config.models import MODEL_SECTIONS, form_of
from tuneworthy.config.project import Project
from tuneworthy.config.tools import McpServer
from tuneworthy.registry import entry_grant
from tuneworthy.trust import (
    Grant,
    Untrusted,
    allowed,
    code_grant,
    content_grant,
    contents,
    file_grant,
    is_allowed,
    key_grant,
    server_grant,
    trust_file,
)

# Prices of calls: a price that is too low would lift every spending limit.
_PRICES = ("input_usd_per_mtok", "output_usd_per_mtok", "usd_per_mtok", "usd_per_call")


def grants_of(project: Project, *, priced: bool = False) -> list[Grant]:
    """Return all grants of the project, sorted; if `priced`, those of a file with prices."""
    paths = list(_paths(project))
    grants = [grant for section in _sections(project) for grant in section_grants(section, project, priced=priced)]
    grants += [entry_grant("rungs", name) for name in project.ladder.rungs if name not in RUNGS]
    grants += [file_grant(project.root, name) for name in paths]
    return sorted({grant for grant in grants if grant is not None})


def missing_grants(project: Project) -> list[Grant]:
    """Return the missing grants of the project; a key that is not set can't be sent."""
    grants = grants_of(project)
    missing = [] if is_allowed(project.root, *grants) else [one for one in grants if not is_allowed(project.root, one)]
    return [grant for grant in missing if grant.kind != "key" or os.environ.get(grant.what)]


def require_grants(project: Project) -> None:
    """Go on only if a person allowed the project all that it needs.

    Raises:
        Untrusted: The project needs a permission that it lacks.
    """
    if missing := missing_grants(project):
        raise Untrusted(project.root, missing)


def _sections(value: object) -> Iterator[Section]:
    if isinstance(value, Section):
        yield value
        value = {**{name: getattr(value, name) for name in type(value).model_fields}, **(value.model_extra or {})}
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _sections(part)


def section_grants(section: Section, project: Project, *, priced: bool = False) -> Iterator[Grant | None]:
    variable, function = getattr(section, "key_variable", None), getattr(section, "function", None)
    root = project.root.resolve()
    own = getattr(section, "base_url", None) or getattr(section, "url", "")
    priced = priced or any(getattr(section, name, None) is not None for name in _PRICES)
    for url in getattr(section, "addresses", None) or (own,):
        if isinstance(url, str) and url:
            yield server_grant(url, any_path=not hasattr(section, "base_url"))
        if isinstance(variable, str):
            yield key_grant(variable, str(url), priced=priced)
    if isinstance(function, str):
        yield (code := code_grant(function, root))
        yield content_grant(root, Path(code.where)) if os.path.isfile(code.where) else None  # noqa: PTH113 - it may be long
    if isinstance(section, McpServer):
        path = processes.program(section.command[0], root)
        yield Grant("program", shlex.join(section.command), path) if path else None
        # it may import each of them, as they lie in its working folder; the user's own exports need no further consent
        yield from contents(root, {one.where for one in allowed(trust_file())})
        for file in filter(os.path.isfile, [root / word for word in section.command[1:]]):
            yield content_grant(root, file.resolve()) if file.resolve().is_relative_to(root) else None
    for kind, tag, sections in (("providers", "provider", MODEL_SECTIONS), ("graders", "type", GRADER_SECTIONS)):
        name = getattr(section, tag, None)
        if isinstance(name, str) and name not in sections:
            yield entry_grant(kind, name)


def _paths(project: Project) -> Iterator[str]:
    """Yield the paths of the project file, and those that are read without being named in it."""
    yield project.cases.path
    yield from (part.path for part in (project.examples, *project.regressions) if part is not None)
    yield project.documents.path if project.documents is not None else "documents"
    specs = [project.train.base, project.data.encoder]
    for part in (*project.models.values(), project.retrieval.encoder, project.retrieval.reranker):
        if not hasattr(part, "key_variable") or getattr(part, "local_file", None):
            specs += [getattr(part, "model", None)]
    for spec in specs:
        if isinstance(spec, str) and not (source := form_of(spec)[1]).startswith(("pypi:", "hf:")):
            yield source
