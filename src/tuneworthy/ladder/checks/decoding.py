"""Checks of the sampling settings: the decoding lints, over the project file's settings."""

from collections.abc import Iterable

from tuneworthy.decoding.lints import LINTS, Use
from tuneworthy.decoding.presets import VARIED
from tuneworthy.ladder.checks import check
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.prompts.transforms import asks_to_think
from tuneworthy.providers.capabilities import takes_temperature
from tuneworthy.rules import Finding, Findings
from tuneworthy.types import JsonMapping, OutputFormat

ENGINES = frozenset({"llama_cpp", "vllm", "openai", "anthropic"})
GREEDY = {"temperature": 0.0}


@check(severity="warning")
def decoding_settings(facts: Facts) -> Findings:
    """A decoding lint warns of a setting of `[decoding]`; each finding has its fix.

    It also examines the constrained answers of the rung `few_shot`, the parameters of today's prompt, and without the
    rung `decoding` the engine's defaults.
    """
    project, output = facts.project, OutputFormat()
    opened, capabilities = facts.opened[project.ladder.baseline][0], facts.baseline_capabilities
    if facts.data is not None and opened is not None and "few_shot" in project.ladder.rungs:
        structured = facts.data.task.structured
        output = structured if structured.kind in opened.provider.supports else output
    greedy = GREEDY if capabilities is not None and takes_temperature(capabilities) else {}
    structure = LINTS.run(_use(facts, greedy, output)) if output.kind != "free" else []
    yield from _located("few_shot", structure)
    for number, setting in enumerate(project.decoding.grid or ()):
        lints = [one for one in LINTS.run(_use(facts, setting, output)) if one not in structure]
        yield from _located(f"decoding.grid[{number}]", lints)
    today = project.prompt.parameters
    if today or "decoding" not in project.ladder.rungs:
        where = "prompt.parameters" if today else f"models.{project.ladder.baseline}"
        yield from _located(where, LINTS.run(_use(facts, today, OutputFormat())))


def _located(where: str, lints: Iterable[Finding]) -> Findings:
    for lint in lints:
        yield Finding(
            message=f"{where}: {lint.message.rstrip('.')} ({lint.rule})",
            fix=lint.fix,
            severity=lint.severity,
        )


def _use(facts: Facts, setting: JsonMapping, output: OutputFormat) -> Use:
    project = facts.project
    provider = project.models[project.ladder.baseline].provider
    return Use(
        engine=provider if provider in ENGINES else "",
        decoding=setting,
        output=output.kind,
        schema=output.schema,
        max_tokens=project.prompt.max_tokens,
        thinks_first=asks_to_think(*facts.prompt_texts.values()),
        retrieved=project.documents is not None,
        purpose="creative" if project.decoding.preset in VARIED else "",
        compares=True,
        capabilities=facts.baseline_capabilities,
    )
