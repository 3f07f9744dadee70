"""`data build` as a whole: gather, check, and freeze what passed its gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from tuneworthy import __version__
from tuneworthy.config.project import Project
from tuneworthy.dataset.base import Check, Context
from tuneworthy.dataset.build import Built, chosen_checks, code_hash, forget, run_checks
from tuneworthy.dataset.distill.teacher import teachers_of
from tuneworthy.dataset.freeze import Version, freeze
from tuneworthy.dataset.judge_audit import NO_JUDGE, auditor_of
from tuneworthy.dataset.sources import NO_ENCODER, Gathered, Say, encoder_of, gather
from tuneworthy.errors import UserError
from tuneworthy.evaluate.runner import Progress
from tuneworthy.store import Folder


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a build.

    Attributes:
        version: The frozen version; None if a gate failed. recipe: What describes it, frozen or not.
        failed: Gates that did not pass, in words.
    """

    version: Version | None
    recipe: Mapping[str, Any]
    failed: tuple[str, ...]


def build_version(
    project: Project,
    store: Folder,
    *,
    unsafe: bool = False,
    max_usd: float | None = None,
    progress: Progress | None = None,
    say: Say = lambda _: None,
) -> Outcome:
    """Run the checks over the project's rows and freeze what stays.

    Args:
        project: Its `[data]` says how. store: Its folder; the caller holds the lock.
        unsafe: Whether to freeze although gates failed; the version records it.
        max_usd: Limit of what the judge may spend now, beside the project's own budget.
        progress: Told what is asked.
        say: Gets a sentence now and then.

    Raises:
        UserError: There is nothing to build from, or no row stays.
    """
    gathered = gather(project, store, say)
    encoder, spec = encoder_of(project, store, say)
    auditor, judge = auditor_of(project, store, gathered.labels, progress, max_usd)
    context = Context(
        cases=gathered.cases, encoder=encoder, labels=gathered.labels, auditor=auditor, seed=project.split.seed
    )
    first, last = ([one] if one else [] for one in (gathered.held_out, gathered.found_bad))
    checks: list[Check] = [*first, *chosen_checks(project.data), *last]
    depends = {**gathered.depends, "seed": context.seed, "encoder": spec, "judge": judge}
    path = gathered.rows.folder / "rows.jsonl"
    built = run_checks(store, path, checks, context, policy=project.data.policy, depends=depends, say=say)
    recipe = _recipe(project, gathered, built, depends)
    failed = tuple(f"{gate.check}: {gate.detail}" for gate in built.failed)
    if not len(built.rows):
        hint = "see which check drops them in docs/data-checks.md, and [data] in the project file"
        raise UserError(f"expected rows that pass the checks, got none of {len(built.before)}", hint=hint)
    if failed and not unsafe:
        return Outcome(None, recipe, failed)
    frozen = {key: value for key, value in recipe.items() if key != "seconds"}
    frozen["unsafe"] = bool(failed)
    times = {"created": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": recipe["seconds"]}
    version = freeze(store, built.contents(), {**frozen, "times": times})
    forget(store)
    return Outcome(version, version.recipe, failed)


def _recipe(project: Project, gathered: Gathered, built: Built, depends: Mapping[str, Any]) -> dict[str, Any]:
    """Return what describes the version, but for its files."""
    read = gathered.rows.document
    notes = [*gathered.notes, *([] if depends["encoder"] else [NO_ENCODER]), *([] if depends["judge"] else [NO_JUDGE])]
    notes += [f"the check {name} is off" for name in project.data.off]
    return {
        "task": project.task.name,
        "input": {
            "import": gathered.rows.id,
            **{key: read[key] for key in ("sources", "n_read", "n_kept", "n_rejected", "n_repaired", "reasons")},
            "sha256": read["sha256"],
        },
        "code": {"version": __version__, "sha256": code_hash()},
        "settings": project.data.model_dump(mode="json"),
        "depends": dict(depends),
        "checks": [stage.document() for stage in built.stages],
        "n_rows": len(built.rows),
        "gates": [asdict(gate) for gate in built.gates],
        "notes": notes,
        "licence": project.data.licence,
        "teachers": teachers_of(built.rows),
        "seconds": {stage.check.code: round(stage.seconds, 3) for stage in built.stages},
    }
