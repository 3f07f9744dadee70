"""`data build`: gather the rows, run the checks, and freeze what passed its gates.

A build of a million rows takes minutes, so what each check found is stored until the version is frozen: a build that
was killed resumes. The key of that cache is a hash of rows, cases, settings, and the version of each check.
"""

import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from tuneworthy import __version__
from tuneworthy.cases.dataset import search
from tuneworthy.cases.example_store import answer_counts
from tuneworthy.cases.pairs import REJECTED, rejected_answer
from tuneworthy.cases.task_kind import label_counts
from tuneworthy.cases.writer import json_lines
from tuneworthy.config.data import DataSection
from tuneworthy.config.project import Project
from tuneworthy.dataset.base import WHOLE_SET, CheckContext, DataCheck, data_checks
from tuneworthy.dataset.check_runner import CheckedRows, Policy, run_checks
from tuneworthy.dataset.distill.teacher import KEY, teachers_of
from tuneworthy.dataset.effect import EffectMeter
from tuneworthy.dataset.freeze import Version, freeze
from tuneworthy.dataset.judge_auditor import auditor_of, pair_scorer
from tuneworthy.dataset.records import BuildTimes, DataGate, Depends, Effect, LabelRow, Recipe, row_of
from tuneworthy.dataset.rows import ROWS, StoredRows, rows_with
from tuneworthy.dataset.sources import BuildInputs, encoder_of, gather
from tuneworthy.dataset.stages import StagedBatches
from tuneworthy.engine.runner import Progress
from tuneworthy.errors import UserError, did_you_mean
from tuneworthy.store import Folder
from tuneworthy.store.folder import write_atomic
from tuneworthy.store.lines import now
from tuneworthy.text import count
from tuneworthy.types import Example, JsonObject, Say, content_hash


def build_version(
    project: Project,
    store: Folder,
    *,
    unsafe: bool,
    max_usd: float | None = None,
    staged: StagedBatches | None = None,
    progress: Progress | None = None,
    say: Say = lambda _: None,
) -> tuple[Version | None, Recipe]:
    """Run the checks over the project's rows and freeze what stays.

    Args:
        project: Its `[data]` says how.
        store: Its folder; the caller holds the lock.
        unsafe: Whether to freeze although gates failed; the version records it.
        max_usd: Limit of what the judge may spend now, besides the project's own budget.
        staged: Runs batches of rows as tasks; all in this process if None. The version is the same.
        progress: Notified of calls to the judge.
        say: Gets a sentence now and then.

    Returns:
        The frozen version, or None if a gate failed; and its recipe, frozen or not.

    Raises:
        UserError: There is nothing to build from, or no row stays.
    """
    inputs = gather(project, store, say)
    encoder, spec = encoder_of(project, store, say, labels=bool(inputs.labels))
    auditor, judge = auditor_of(project, store, tuple(inputs.labels), progress, max_usd)
    seed, policy = project.split.seed, project.data.policy
    labels = tuple(inputs.labels)
    path = inputs.rows.folder / "rows.jsonl"
    context = CheckContext(
        cases=inputs.cases,
        encoder=encoder,
        labels=labels,
        rated=inputs.rated,
        auditor=auditor,
        scores=pair_scorer(project, inputs.cases, inputs.stored, labels),
        seed=seed,
    )
    meter = EffectMeter(
        dev=inputs.dev, labels=inputs.labels, cases=label_counts(inputs.cases), seed=seed, encoder=encoder
    )
    checks = [*inputs.first_checks, *configured_checks(project.data), *inputs.last_checks]
    depends = replace(inputs.depends, seed=seed, encoder=spec, judge=judge)
    inputs_of_checks = [
        __version__,
        [[check.name, check.version, check.settings] for check in checks],
        dict(policy),
        asdict(depends),
        project.graders[0].model_dump(mode="json"),
    ]
    cache = store.path / "builds" / content_hash(inputs_of_checks)
    for old in cache.parent.iterdir() if cache.parent.is_dir() else ():
        if old != cache:
            shutil.rmtree(old)
    held, reporting = dict(policy), list[str]()
    with staged.pooled() if staged else nullcontext() as pooled:
        run = partial(run_checks, path, checks, context, meter=meter, some=inputs.stored, staged=pooled, say=say)
        while True:
            checked = run(policy=held, cache=None if reporting else cache)
            checked = replace(checked, overlaps=_overlaps(checked, context), policy=policy)
            effect = effect_of_all(checked, meter, say)
            if not effect.loss or not (check := _dearest(checked, held)):
                break
            held |= dict.fromkeys(check.codes.keys() - set(check.gate), "report")  # small losses that show together
            reporting.append(check.name)
    recipe = _recipe(project, inputs, checked, depends, effect)
    recipe.notes.extend(
        f"Together, the checks cost accuracy, so `{name}` only reports what it finds." for name in reporting
    )
    if lost := recipe.lost_labels:
        recipe.notes.append(f"Every row with these labels was dropped, although cases expect them: {', '.join(lost)}.")
    if recipe.failed and not unsafe and (len(checked.rows) or any(checked.questions)):
        write_atomic(
            store.path / "findings.jsonl",
            json_lines(line.to_dict() for line in chain(checked.rejects(), checked.findings())),
        )
        recipe.notes.append(f"All findings, with their rows: {store.path / 'findings.jsonl'}")
        return None, recipe
    if not len(checked.rows):
        raise _nothing_left(checked)
    recipe = replace(recipe, unsafe=bool(recipe.failed), times=replace(recipe.times, created=now()))
    say(f"Writing {len(checked.rows):,} rows")
    version = freeze(store, _contents(checked), recipe)
    if len(more := _only_overlapping(checked, checks, context, held, path)):
        say(f"Writing them with {len(more):,} rows that overlap with cases")
        freeze(store, _contents(checked, more), _with_overlapping(recipe, len(more), version.id))
    shutil.rmtree(cache.parent, ignore_errors=True)
    if staged:
        staged.clear()
    return version, version.recipe


def _with_overlapping(recipe: Recipe, n: int, honest: str) -> Recipe:
    gate = DataGate("contamination", False, f"rows that overlap with cases: {n}")
    return replace(
        recipe,
        n_rows=recipe.n_rows + n,
        gates=[gate if one.check == gate.check else one for one in recipe.gates],
        honest=honest,
    )


def _contents(checked: CheckedRows, more: Collection[Example] = ()) -> dict[str, Iterator[bytes]]:
    """Return the lines of each file of a version, with `more` rows that were rejected at first."""
    sources = {row.source for row in more}
    return {
        ROWS: chain(map(checked.rows.line, map(int, checked.rows.places)), json_lines(map(row_of, more))),
        "rejects.jsonl": json_lines(line.to_dict() for line in checked.rejects() if line.source not in sources),
        "findings.jsonl": json_lines(line.to_dict() for line in checked.findings()),
    }


def _nothing_left(checked: CheckedRows) -> UserError:
    counts = Counter(
        (stage.check.name, stage.check.codes[one.code]) for stage in checked.stages for one in stage.dropped.values()
    )
    reasons = "; ".join(f"{n} by `{check}` ({words})" for (check, words), n in counts.most_common())
    why = f"No row passed the checks. All {count(len(checked.before), 'row was', 'rows were')} dropped: {reasons}."
    if not checked.overlaps:
        return UserError(why, hint="Change [data] in the project file, or import different rows.")
    return UserError(
        why,
        hint=(
            f"{count(len(checked.overlaps), 'row overlaps', 'rows overlap')} a case or a dev row. Training on "
            "such rows would make the test score meaningless. Import rows whose questions are not cases. To use "
            "fewer rows as cases, start a new project and pass --n-cases to `init`."
        ),
    )


def configured_checks(data: DataSection) -> list[DataCheck]:
    """Return the checks that run, in their order, with the settings of `[data]`.

    Raises:
        UserError: `off` or `policy` names no check (or code).
    """
    checks = data_checks()
    codes = {code for check in checks.values() for code in check.codes}
    decided = {
        name.partition(":")[0] if name.startswith(("renamed_label:", "label_spelling:")) else name
        for name in data.policy
    }
    for key, names, valid in (("off", {*data.off}, set(checks)), ("policy", decided, {*checks, *codes})):
        for name in sorted(names - valid):
            raise UserError(
                f"data.{key}: there is no check {name!r}.",
                hint=f"{did_you_mean(name, valid)} Choose from {', '.join(checks)}.".strip(),
            )
    settings: dict[str, JsonObject] = {
        "personal_data": {"engine": data.pii_engine},
        "teacher_mix": {"allowed": data.teacher_mix},
    }
    return [check.configured(**settings.get(name, {})) for name, check in checks.items() if name not in data.off]


def _overlaps(checked: CheckedRows, context: CheckContext) -> frozenset[int]:
    """Return the places of rows that overlap with a case, found by the check or dropped before it ran."""
    places = {one.row for stage in checked.stages for one in stage.decisions
              if one.code.startswith("overlap_") and one.row != WHOLE_SET}  # fmt: skip
    changed = {place: row for stage in checked.stages for place, row in stage.changed.items()}
    dropped = checked.before.keep(checked.dropped, changed)
    places.update(int(dropped.places[hit.row]) for hit in search(dropped, context.cases))
    return frozenset(places)


def _only_overlapping(
    checked: CheckedRows, checks: Sequence[DataCheck], context: CheckContext, policy: Policy, path: Path
) -> StoredRows:
    """Return the rows that were dropped only as overlaps with cases: they pass all later checks as well."""
    names = [stage.check.name for stage in checked.stages]
    place = names.index("contamination") if "contamination" in names else len(names) - 1
    changed = {at: row for stage in checked.stages[:place] for at, row in stage.changed.items()}
    dropped = checked.stages[place].dropped if "contamination" in names else {}
    some = checked.before.keep(np.array(sorted(dropped), np.int64), changed)
    return run_checks(path, checks[place + 1 :], context, policy=policy, some=some).rows


def _dearest(checked: CheckedRows, policy: Policy) -> DataCheck | None:
    """Return the check that drops rows at the greatest loss of accuracy, as far as it may report them instead."""
    losses = {
        shown.delta: stage.check
        for stage in checked.stages
        if stage.dropped and stage.effect is not None and (shown := stage.effect.shown or stage.effect.rows)
        and shown.delta < 0
        and stage.check.codes.keys() - set(stage.check.gate)
        and not policy.keys() & {stage.check.name, *stage.check.codes}
    }  # fmt: skip
    return losses[min(losses)] if losses else None


def effect_of_all(checked: CheckedRows, meter: EffectMeter, say: Say) -> Effect:
    left_out = checked.overlaps.union(*(stage.dropped for stage in checked.stages if stage.check.certain))
    places = np.setdiff1d(checked.before.places, np.array(sorted(left_out), np.int64))
    return meter.measure(
        checked.before.keep(places, {n: row for stage in checked.stages for n, row in stage.changed.items()}),
        {n: other for stage in checked.stages for n, other in stage.repeats.items() if n not in left_out},
        begin=partial(say, "Measuring how dropping these rows changes accuracy"),
    )


def _label_rows(inputs: BuildInputs, checked: CheckedRows) -> list[LabelRow]:
    if not inputs.labels:
        return []
    after, cases = answer_counts(checked.rows), label_counts(inputs.cases)
    return [LabelRow(label, n, after[label], cases.get(label, 0)) for label, n in inputs.labels.items()]


def _recipe(project: Project, inputs: BuildInputs, checked: CheckedRows, depends: Depends, effect: Effect) -> Recipe:
    unjudged = [] if depends.judge else ["No judge rated the rows. To add a judge, set model in [data.judge]."]
    read = inputs.rows.record
    return Recipe(
        task=project.task.name,
        # the content names a version, wherever its files are
        input=replace(read, sources=[replace(one, path="") for one in read.sources], seconds=0.0),
        code=__version__,
        settings=project.data.model_dump(mode="json"),
        depends=depends,
        checks=[stage.record() for stage in checked.stages],
        n_rows=len(checked.rows),
        n_pairs=sum(bool(rejected_answer(row)) for _, row in rows_with(checked.rows, REJECTED)),
        effect=effect,
        labels=_label_rows(inputs, checked),
        gates=checked.gates,
        notes=[*inputs.notes, *unjudged, *(f"The check {name} is off." for name in project.data.off)],
        licence=project.data.licence,
        teachers=teachers_of(row for _, row in rows_with(checked.rows, KEY)),
        times=BuildTimes(seconds={stage.check.name: round(stage.seconds, 3) for stage in checked.stages}),
    )
