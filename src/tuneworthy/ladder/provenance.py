"""Provenance of a run, and later changes: detected by hash or value, named, never mixed.

Invariant: a fact that is unknown on one side (an older record, a judge that cannot be opened here) is never called
changed, but a record without settings whose project file has another hash is.
"""

from collections.abc import Mapping
from operator import attrgetter

from tuneworthy import __version__
from tuneworthy.cases.splits import Split
from tuneworthy.config.ladder import Reflection
from tuneworthy.config.project import Project
from tuneworthy.engine.served_model import SERVED
from tuneworthy.engine.toolbox import Toolbox
from tuneworthy.errors import UserError
from tuneworthy.graders.base import Grader
from tuneworthy.ladder import messages
from tuneworthy.ladder.own_models import IN_PROCESS, TUNED
from tuneworthy.ladder.record import NOT_REACHED, Provenance, RunKind, RunRecord, read_record
from tuneworthy.retrieval.library import DocumentLibrary
from tuneworthy.store import Folder
from tuneworthy.types import JsonMapping, JsonObject, content_hash


def provenance(
    project: Project, split: Split, graders: Mapping[str, Grader], examples: str, library: DocumentLibrary | None = None
) -> Provenance:
    """Return versions, seed, hashes and settings: what someone needs to get the same numbers.

    Args:
        project: The project file.
        split: The cases.
        graders: Those whose identity can be had, by name.
        examples: Hash of the shot pool.
        library: The documents, or None.
    """
    sides = (split.dev, split.asked)
    return Provenance(
        tuneworthy=__version__,
        seed=project.split.seed,
        project=content_hash(project.model_dump(mode="json")),
        split=content_hash([[case.id for case in side] for side in sides]),
        labels=content_hash([[[case.id, case.expected] for case in side] for side in sides]),
        groups=content_hash([[[case.id, case.group] for case in side] for side in sides]),
        graders={name: content_hash(dict(grader.identity)) for name, grader in graders.items()},
        examples=examples,
        documents=library.corpus.hash if library else "",
        models=sorted(project.models),
        settings=settings(project),
    )


# Keys of the project file in addition to those of whole sections.
SETTINGS = "task.target", "task.margin", "ladder.baseline", "ladder.repeats", "split.seed", "prompt.rank_labels"


# Parts of a variant that `[prompt]` sets.
PROMPT = "system", "user", "max_tokens", "stop", "decoding"


def settings(project: Project) -> JsonObject:
    return {
        **{key: attrgetter(key)(project) for key in SETTINGS},
        **{f"reflection.{key}": getattr(project.reflection, key, None) for key in Reflection.model_fields},
        **{
            f"{section}.{key}": value
            for section in ("retrieval", "few_shot", "decoding", "constraints")
            for key, value in getattr(project, section).model_dump(mode="json").items()
        },
        **({"tools": Toolbox(project).stamp} if project.tools else {}),
    }


def changed_since(record: RunRecord, project: Project, now: Provenance, opened: Mapping[str, JsonMapping]) -> list[str]:
    """Return the changes since a run, and its incomplete measurements, in words.

    Args:
        record: Of the run.
        project: The project file now.
        now: `provenance` now.
        opened: Identity of each model now, if it can be opened.
    """
    half = [
        f"the rung {row.rung} is incomplete ({row.n} of {record.n_test} cases)"
        for row in record.rungs
        if row.score is not None and row.n != record.n_test
    ]
    where = [f"the run was measured elsewhere (signed by: {record.elsewhere:.18})"] if record.elsewhere else []
    return [*where, *half, *data_changes(record.provenance, now), *_edits(record, project, opened)]


def data_changes(then: Provenance, now: Provenance) -> list[str]:
    """Return the changes of cases, examples, documents and graders, in words."""
    changed = [change for name, change in messages.CHANGED.items() if getattr(then, name) != getattr(now, name)]
    if then.split != now.split:  # other cases have other hashes of labels and groups, whether or not one was edited
        changed = [
            change for change in changed if change not in {messages.CHANGED["labels"], messages.CHANGED["groups"]}
        ]
    return changed + [
        f"the {'judge' if name.startswith('judge') else f'grader {name}'} has changed"
        for name, grader in now.graders.items()
        if then.graders and then.graders.get(name) != grader
    ]


def shown_run(project: Project, name: RunKind = "run") -> RunRecord | None:
    """Return the run that readers show, unfinished or not; None before a rung was finished.

    Raises:
        UserError: A record cannot be read.
    """
    whole, unfinished = (read_record(Folder(project.root), name, unfinished=one) for one in (False, True))
    return later_of(unfinished, whole, project) if unfinished and unfinished.rungs else whole


def required_run(project: Project, *, quick: bool = False) -> RunRecord:
    """Return the run that readers show; the last quick run if there is no other and `quick`.

    Raises:
        UserError: There is no run, or it cannot be read.
    """
    if (record := shown_run(project) or (shown_run(project, "quick") if quick else None)) is None:
        raise UserError(run_note(Folder(project.root)), hint="Run `tuneworthy run` first.")
    return record


def later_of(later: RunRecord, earlier: RunRecord | None, project: Project) -> RunRecord:
    """Return the later of two runs; the earlier one if only that is of this project file, or if the later has no more.

    So a run that was started after an edit counts, and no longer once the edit is undone; and a run that repeats
    another one counts once it has more.
    """
    if earlier is None or earlier.elsewhere:
        return later
    is_edited, was_edited = (bool(_edits(one, project)) for one in (later, earlier))
    if is_edited != was_edited:
        return earlier if is_edited else later
    is_same = all(
        getattr(later.provenance, name) == getattr(earlier.provenance, name) for name in (*messages.CHANGED, "graders")
    )
    now, before = ({row.rung for row in one.rungs if row.reason_code != NOT_REACHED} for one in (later, earlier))
    return earlier if is_same and not now > before else later


def run_note(folder: Folder, name: RunKind = "run", otherwise: str = "There is no run yet.") -> str:
    """Return how far the unfinished run is, as a sentence; without one, return `otherwise`."""
    if (record := read_record(folder, name, unfinished=True)) is None:
        return otherwise
    rungs = ", ".join(row.rung for row in record.rungs) or "no rung yet"
    return (
        f"The {'quick run' if record.quick else 'run'} is incomplete: {record.partial.rstrip('.')}. Finished: {rungs}."
    )


def _edits(record: RunRecord, project: Project, opened: Mapping[str, JsonMapping] = {}) -> list[str]:
    then = record.provenance
    added = (name for name in project.models if name not in then.models and name not in project.forms)
    return [
        *["the first grader has changed"] * (record.primary != project.graders[0].type),
        *_variants(record, project, opened),
        *(f"the model {name} has been added" for name in added),
        *setting_changes(then, settings(project)),
    ]


def setting_changes(then: Provenance, now: JsonMapping) -> list[str]:
    """Return the changes of settings, in words; `now` has their values by name."""
    return [
        f"{name} was {messages.shown(then.settings[name])} and is now {messages.shown(value)}"
        if name != "tools"
        else "the tools have changed"
        for name, value in now.items()
        if name in then.settings and then.settings[name] != value
    ]


def _variants(record: RunRecord, project: Project, opened: Mapping[str, JsonMapping]) -> list[str]:
    """Compare today's prompt with the baseline's, and the models with those of every variant that was measured."""
    baseline = record.rung("baseline")
    base = record.variant_of(baseline) if baseline else None
    changed = []
    today = project.variant("", "", {})
    if base is not None and any(getattr(base, name) != getattr(today, name) for name in PROMPT):
        changed.append("the prompt has changed")
    for name, identity in {variant.model: variant.model_identity for variant in record.variants.values()}.items():
        if name not in project.models:
            changed += [] if name.startswith((*IN_PROCESS, TUNED)) else [f"the model {name} has been removed"]
        elif name in opened and content_hash(dict(opened[name])) != content_hash(dict(identity)):
            served = opened[name].get(SERVED)
            changed.append(
                f"the model {name} has changed" + (f" (its server answers as {served[-1]})" if served else "")
            )
    return changed
