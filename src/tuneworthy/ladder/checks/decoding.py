"""Checks of the sampling settings: the decoding lints, over what the project file sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tuneworthy.decoding.lints import Use, lint_use
from tuneworthy.ladder.check import Fault, check
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.providers.capabilities import Capabilities
from tuneworthy.providers.probe import read_probe

ENGINES = frozenset({"llama_cpp", "vllm", "openai", "anthropic"})


@check("decoding_settings", "warning")
def decoding_settings(facts: Facts) -> Iterator[Fault]:
    """A setting of `[decoding]` is one that the decoding lints warn of (docs/decoding-lints.md), each with its fix.

    What `models probe` stored of the model is used: a parameter that does nothing there is found. Without the rung
    `decoding`, settings that nobody chose are found too.
    """
    project = facts.project
    for number, setting in enumerate(project.decoding.grid or ()):
        for found in lint_use(_use(facts, setting)):
            yield Fault(f"decoding.grid[{number}]: {found.message} ({found.code})", found.fix, found.level)
    if "decoding" not in project.ladder.rungs:
        for found in lint_use(_use(facts, {})):
            yield Fault(f"models.{project.ladder.baseline}: {found.message} ({found.code})", found.fix, found.level)


def _use(facts: Facts, setting: dict[str, Any]) -> Use:
    """Return how the baseline is used with a setting."""
    project = facts.project
    name = project.ladder.baseline
    provider = project.models[name].provider
    opened = facts.opened[name][0]
    known = getattr(opened.provider, "capabilities", None) if opened else None
    data = facts.data
    return Use(
        engine=provider if provider in ENGINES else "",
        decoding=setting,
        retrieved=getattr(project, "documents", None) is not None,
        max_tokens=project.prompt.max_tokens,
        schema=data.task.schema if data and data.task.kind == "json" else None,
        compares=True,
        repeats=max(3, project.ladder.repeats),
        capabilities=known if isinstance(known, Capabilities) else None,
        probed=read_probe(facts.folder, name, opened.provider.identity) if opened else {},
    )
