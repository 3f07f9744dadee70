"""Checks of the sampling settings: the decoding lints, over what the project file sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tuneworthy.decoding.lints import LINTS, Use
from tuneworthy.decoding.presets import purpose_of
from tuneworthy.ladder.check import Fault, check
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.prompts.transforms import asks_to_think
from tuneworthy.providers.capabilities import Capabilities, takes_temperature
from tuneworthy.providers.probe import read_probe
from tuneworthy.rules import Finding
from tuneworthy.types import OutputFormat

ENGINES = frozenset({"llama_cpp", "vllm", "openai", "anthropic"})
GREEDY = {"temperature": 0.0}


@check("decoding_settings", "warning")
def decoding_settings(facts: Facts) -> Iterator[Fault]:
    """A setting of `[decoding]` is one that the decoding lints warn of (docs/decoding-lints.md), each with its fix.

    What `models probe` stored of the model is used: a parameter, a schema or choices that do nothing there are found.
    So is what is wrong with the constrained answers of the rung `few_shot`, which the settings are then tried on.
    So are the parameters of today's prompt, and without the rung `decoding` settings that nobody chose.
    """
    project, output = facts.project, _constraint(facts)
    structure = LINTS.run(_use(facts, _greedy(facts), output)) if output.kind != "free" else []
    yield from _told("few_shot", structure)
    for number, setting in enumerate(project.decoding.grid or ()):
        found = LINTS.run(_use(facts, setting, output))
        yield from _told(f"decoding.grid[{number}]", [one for one in found if one not in structure])
    today = project.prompt.parameters
    if today or "decoding" not in project.ladder.rungs:
        where = "prompt.parameters" if today else f"models.{project.ladder.baseline}"
        yield from _told(where, LINTS.run(_use(facts, today, OutputFormat())))


def _told(where: str, found: Iterable[Finding]) -> Iterator[Fault]:
    for one in found:
        yield Fault(f"{where}: {one.message} ({one.rule})", one.fix, one.severity)


def _constraint(facts: Facts) -> OutputFormat:
    """Return what the rung `few_shot` holds answers to; free if it is not walked, or the model cannot be held."""
    opened = facts.opened[facts.project.ladder.baseline][0]
    if facts.data is None or opened is None or "few_shot" not in facts.project.ladder.rungs:
        return OutputFormat()
    output = facts.data.task.structured
    return output if output.kind in opened.provider.supports else OutputFormat()


def _greedy(facts: Facts) -> dict[str, float]:
    """Return temperature 0 where the model takes it, as the rung `few_shot` sets it."""
    known = _capabilities(facts)
    return GREEDY if known is not None and takes_temperature(known) else {}


def _capabilities(facts: Facts) -> Capabilities | None:
    opened = facts.opened[facts.project.ladder.baseline][0]
    known = getattr(opened.provider, "capabilities", None) if opened else None
    return known if isinstance(known, Capabilities) else None


def _use(facts: Facts, setting: Mapping[str, Any], output: OutputFormat) -> Use:
    """Return how the baseline is used with a setting and a constraint."""
    project = facts.project
    name = project.ladder.baseline
    provider = project.models[name].provider
    opened = facts.opened[name][0]
    return Use(
        engine=provider if provider in ENGINES else "",
        decoding=setting,
        output=output.kind,
        schema=output.schema,
        max_tokens=project.prompt.max_tokens,
        thinks_first=asks_to_think(*facts.prompt_texts.values()),
        retrieved=project.documents is not None,
        purpose=purpose_of(project.decoding.preset),
        compares=True,
        capabilities=_capabilities(facts),
        probed=read_probe(facts.folder, name, opened.provider.identity) if opened else {},
    )
