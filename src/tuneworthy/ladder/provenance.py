"""Provenance of a run, and later changes: detected by hash or value, named, never mixed.

Invariant: a fact that is unknown on one side (an older record, a judge that cannot be opened here) is never called
changed, but a record without settings whose project file has another hash is.
"""

from collections.abc import Mapping
from contextlib import suppress
from operator import attrgetter

from tuneworthy import __version__
from tuneworthy.cases.splits import Split
from tuneworthy.config.ladder import Reflection
from tuneworthy.config.project import Project
from tuneworthy.engine.models import Models
from tuneworthy.engine.served_model import SERVED
from tuneworthy.errors import TuneworthyError
from tuneworthy.graders.base import Grader
from tuneworthy.ladder import messages
from tuneworthy.ladder.classical_models import IN_PROCESS
from tuneworthy.ladder.record import Provenance, RunRecord
from tuneworthy.ladder.tuned_models import TUNED
from tuneworthy.retrieval.library import DocumentLibrary
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


def settings(project: Project) -> JsonObject:
    return {
        **{key: attrgetter(key)(project) for key in SETTINGS},
        **{f"reflection.{key}": getattr(project.reflection, key, None) for key in Reflection.model_fields},
        **{
            f"{section}.{key}": value
            for section in ("retrieval", "few_shot", "decoding", "constraints")
            for key, value in getattr(project, section).model_dump(mode="json").items()
        },
    }


def identities(project: Project, models: Models) -> dict[str, JsonMapping]:
    found = {}
    for name in project.models:
        with suppress(TuneworthyError):
            found[name] = models[name].provider.identity
    return found


def changed_since(record: RunRecord, project: Project, now: Provenance, opened: Mapping[str, JsonMapping]) -> list[str]:
    """Return the changes since a run, and its incomplete measurements, in words.

    Args:
        record: Of the run.
        project: The project file now.
        now: `provenance` now.
        opened: Model to identity now (`identities`).
    """
    then = record.provenance
    changed = [change for name, change in messages.CHANGED.items() if getattr(then, name) != getattr(now, name)]
    if then.split != now.split:  # other cases have other hashes of labels and groups, whether or not one was edited
        changed = [
            change for change in changed if change not in {messages.CHANGED["labels"], messages.CHANGED["groups"]}
        ]
    changed += [
        f"the {'judge' if name.startswith('judge') else f'grader {name}'} has changed"
        for name, grader in now.graders.items()
        if then.graders and then.graders.get(name) != grader
    ]
    if record.primary != project.graders[0].type:
        changed.append("the first grader has changed")
    changed += _variants(record, project, opened)
    changed += [f"the model {name} has been added" for name in project.models if name not in then.models]
    settings_changed = [
        f"{name} was {messages.shown(then.settings[name])} and is now {messages.shown(value)}"
        for name, value in now.settings.items()
        if name in then.settings and then.settings[name] != value
    ]
    half = [
        f"the rung {row.rung} is incomplete ({row.n} of {record.n_test} cases)"
        for row in record.rungs
        if row.score is not None and row.n != record.n_test
    ]
    return [*record.limits, *half, *changed, *settings_changed]


def _variants(record: RunRecord, project: Project, opened: Mapping[str, JsonMapping]) -> list[str]:
    """Compare today's prompt with the baseline's, and the models with those of every variant that was measured."""
    baseline = record.rung("baseline")
    base = record.variant_of(baseline) if baseline else None
    changed = []
    prompt = project.prompt
    today = {
        "system": project.text(prompt.system),
        "user": project.text(prompt.user) or "{{ input }}",
        "max_tokens": prompt.max_tokens,
        "stop": tuple(prompt.stop),
        "decoding": dict(prompt.parameters),
    }
    if base is not None and any(getattr(base, name) != value for name, value in today.items()):
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
