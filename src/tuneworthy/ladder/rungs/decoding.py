"""Rung `decoding`: sampling parameters, or effort if the model cannot be set to greedy."""

from dataclasses import dataclass, replace

from tuneworthy.arrays import Floats
from tuneworthy.config import Project
from tuneworthy.decoding.lints import LINTS, Use
from tuneworthy.decoding.presets import accepted, auto, engine_for, preset_of
from tuneworthy.ladder import messages
from tuneworthy.ladder.measurement import is_sampled
from tuneworthy.ladder.own_models import config_of
from tuneworthy.ladder.rung import Proposal, Rung, SearchResult, View, rung
from tuneworthy.ladder.task_info import TaskInfo
from tuneworthy.money.serving import SAVING
from tuneworthy.prompts.transforms import asks_to_think
from tuneworthy.providers.capabilities import Capabilities, takes_temperature
from tuneworthy.search.racing import Race
from tuneworthy.search.tag_settings import with_tag_settings
from tuneworthy.store import Folder
from tuneworthy.types import Cases, JsonMapping, JsonObject, Texts, Traces, Variant

# Dev cases that are answered a second time to see whether sampling matters, and the fewest that can show it.
MAX_REPEATED, MIN_REPEATED = 40, 20
TO_TRY_ANYWAY = "to try settings anyway, list them in decoding.grid"


@rung("decoding")
class DecodingRung(Rung):
    """What `decode sweep` adopted for this prompt and model, the preset for the kind of task, greedy; or a grid.

    The grid of the project file replaces all of these. A setting that the model rejects is never a candidate, nor is a
    parameter that a stored probe found to do nothing. Without a grid or an adopted sweep, the rung is skipped where
    sampling hardly matters: answers are greedy, or a second answer to the same dev cases seldom scores differently. If
    a share d of the cases scores differently, greedy answers gain at most d. Findings of the decoding lints on
    candidates are noted. Tags of the cases get settings of their own where these are better on dev.
    """

    async def propose(self, view: View) -> Proposal:
        best = view.incumbent
        capabilities = view.models[best.model].capabilities
        if capabilities is None:
            return Proposal(skipped=f"{best.model} accepts no sampling parameters", skip_code="no_parameters")
        chosen = _chosen(view)
        if not chosen and best.decoding.get("temperature") == 0:
            return Proposal(
                skipped=f"answers are greedy (temperature 0), so sampling could only add noise; {TO_TRY_ANYWAY}",
                skip_code="greedy",
                notes=_warnings(view, best),
            )
        if not view.project.decoding.grid:
            chosen += settings_for(view.project, view.task, best.model, capabilities)
        candidates: dict[str, Variant] = {}
        notes = []
        for setting in chosen:
            usable, dropped = accepted(capabilities, setting)
            if dropped:
                notes.append(messages.say("not_accepted", model=best.model, what=", ".join(dropped)))
            if usable and usable != dict(best.decoding):
                candidate = with_setting(best, usable, capabilities)
                notes += _warnings(view, candidate)
                candidates[candidate.id] = replace(candidate, notes=(*best.notes, label(usable)))
        if not candidates:
            return Proposal(
                skipped=f"{best.model} accepts none of the sampling settings to try",
                skip_code="no_parameters",
                notes=notes,
            )
        return Proposal(candidates=list(candidates.values()), notes=notes, more_calls={best.model: _n_repeated(view)})

    async def search(self, view: View) -> SearchResult:
        """Answer some dev cases a second time; skip the rung where fewer than the margin score differently."""
        cases = view.dev[: _n_repeated(view)]
        traces = await view.session.ask(view.incumbent, cases, repeats=2)
        first, second = [(await view.session.score(traces[place::2], cases))[0] for place in (0, 1)]
        differ = int((first != second).sum())  # an unscored answer differs
        if differ >= view.project.task.margin * len(cases):
            return SearchResult()
        return SearchResult(
            skipped=(
                f"a second answer scores differently in {differ} of {len(cases)} dev cases, so sampling hardly "
                f"matters; {TO_TRY_ANYWAY}"
            ),
            skip_code="stable",
        )

    async def combine(self, view: View, raced: Race, dev: Cases) -> tuple[Race, Texts]:
        """Give tags of the cases the settings that are best for them."""
        session = view.session

        async def answers(variant: Variant, cases: Cases) -> tuple[Floats, Floats, Traces]:
            traces = await session.ask(variant, cases)
            return *(await session.score(traces, cases))[:2], traces

        today = [view.incumbent] if len(session.stored(view.incumbent, dev)) == len(dev) else []
        return await with_tag_settings(raced, today, dev, answers, SAVING) if view.searched else (raced, ())


def _chosen(view: View) -> list[JsonObject]:
    """Return the settings of the grid, else those of an adopted sweep."""
    swept = swept_setting(Folder(view.project.root), view.incumbent)
    return [*(view.project.decoding.grid or ([swept] if swept else []))]


def _n_repeated(view: View) -> int:
    """Return the number of dev cases to answer a second time; 0 where that says nothing."""
    best = view.incumbent
    capabilities = view.models[best.model].capabilities
    return (
        min(MAX_REPEATED, view.n_dev)
        if (capabilities is not None and takes_temperature(capabilities) and is_sampled(view.project, best))
        and view.n_dev >= MIN_REPEATED
        and not _chosen(view)
        else 0
    )


def with_setting(base: Variant, setting: JsonMapping, capabilities: Capabilities) -> Variant:
    """Return a variant with other parameters, and with more room to think where their effort needs more."""
    room, before = (capabilities.thinking_tokens(one.get("effort")) for one in (setting, base.decoding))
    return replace(
        base,
        name=f"decoding/{label(setting)}",
        decoding=dict(setting),
        by_tag={},
        max_tokens=base.max_tokens + max(0, room - before),
    )


def _warnings(view: View, variant: Variant) -> list[str]:
    use = Use(
        engine=engine_for(config_of(view.project, variant.model).provider) or "",
        decoding=variant.decoding,
        output=variant.output.kind,
        schema=variant.output.schema,
        max_tokens=variant.max_tokens,
        thinks_first=variant.answer_after is not None or asks_to_think(variant.system or "", variant.user),
        retrieved=variant.retrieval is not None,
        compares=True,
        capabilities=view.models[variant.model].capabilities,
    )
    return [
        f"{label(variant.decoding)}: {one.message.rstrip('.')} ({one.rule})"
        for one in LINTS.run(use)
        if one.severity != "note"
    ]


def settings_for(project: Project, task: TaskInfo, model: str, capabilities: Capabilities) -> list[JsonObject]:
    """Return the settings that are worth trying on a model: greedy, the preset, a cooler preset; or its efforts."""
    chosen = (
        auto(task.kind, documents=project.documents is not None)
        if project.decoding.preset == "auto"
        else preset_of(project.decoding.preset)
    )
    if capabilities.efforts and not takes_temperature(capabilities):
        first = chosen.fit(config_of(project, model).provider, capabilities)
        return [first, *[{"effort": one} for one in capabilities.efforts if one != first.get("effort")]]
    greedy = {"temperature": 0.0}
    sampled = chosen if chosen.values["temperature"].value > 0 else preset_of("rag")
    warm = sampled.fit(config_of(project, model).provider, capabilities)
    mild = preset_of("rag" if sampled.name != "rag" else "chat").fit(config_of(project, model).provider, capabilities)
    return [greedy, warm, mild] if chosen.values["temperature"].value == 0 else [warm, greedy, mild]


@dataclass(frozen=True)
class SweepWinner:
    setting: JsonObject


@dataclass(frozen=True)
class StoredSweep:
    """Contents of `sweeps/<key>.json`."""

    adopted: bool
    winner: SweepWinner | None


def store_sweep(folder: Folder, base: Variant, document: JsonMapping) -> None:
    folder.write(f"sweeps/{prompt_key(base)}", document)


def swept_setting(folder: Folder, base: Variant) -> JsonObject | None:
    document = folder.read(f"sweeps/{prompt_key(base)}", StoredSweep)
    return document.winner.setting if document and document.adopted and document.winner else None


def label(setting: JsonMapping) -> str:
    """Return a setting as a short name.

    >>> label({"temperature": 0.7, "top_k": 0})
    'temperature=0.7,top_k=0'
    """
    return ",".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in setting.items())


def prompt_key(variant: Variant) -> str:
    """Return a variant's key without its sampling parameters, on which its sweep does not depend."""
    return replace(variant, decoding={}, by_tag={}).id
