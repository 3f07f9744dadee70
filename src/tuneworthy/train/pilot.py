"""The pilot: small trainings that show what more rows bring, and whether building the data did.

At least four sizes with two seeds each, of the built rows; and the raw rows of the largest size, with as many steps,
where the checks dropped enough rows to tell raw from built.
Each is scored on dev by the project's first grader, as is the model before any training: the baseline. Dev has no part
in any training, nor in when it ends. A point that was measured is stored: a pilot that was stopped resumes.

    .tuneworthy/pilot.json   {"dataset", "base", "name", "baseline", "n_dev", "n_examples", "points": [...],
                              "earlier": [pilots of other bases]}
"""

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NotRequired

from tuneworthy.cases import read_dataset
from tuneworthy.config.project import Project
from tuneworthy.dataset.effect import FEW
from tuneworthy.dataset.freeze import Version, find_version
from tuneworthy.errors import UserError
from tuneworthy.store import Folder
from tuneworthy.store.shapes import OpenRecord
from tuneworthy.train import messages
from tuneworthy.train.base_model import base_spec, load_model
from tuneworthy.train.rehearsal import rehearsal_rows
from tuneworthy.train.render import TokenRow
from tuneworthy.train.run import prepare, scorer
from tuneworthy.train.trainer import train_rows
from tuneworthy.train.training_rows import Material, TaskMetric, gather
from tuneworthy.types import Example, JsonObject, Say, content_hash

Side = Literal["built", "raw"]
# Rows, seed, and which rows.
PilotRun = tuple[int, int, Side]
FILE = "pilot"


def run_pilot(
    project: Project,
    store: Folder,
    *,
    sizes: Callable[[int], list[int]],
    n_seeds: int,
    unsafe: bool,
    say: Say,
) -> JsonObject:
    """Run the missing trainings of the pilot and return its document.

    Args:
        project: The project.
        store: Its folder; the caller has the lock.
        sizes: From the number of rows to the sizes of the pilot.
        n_seeds: Trainings per size.
        unsafe: Take rows that are not gated; raw rows are not compared then.
        say: Gets a sentence now and then.

    Raises:
        UserError: There are no rows or no dev cases, or only a judge can score them.
    """
    if project.train.method == "preference":
        raise UserError(messages.ANSWERS_ONLY, hint=messages.USE_LORA)
    dataset = read_dataset(project)
    material = gather(project, store, unsafe=unsafe, say=say, dataset=dataset)
    if material.metric is None:
        raise UserError(
            "The pilot needs enough held-out rows that a grader can score without calling a model.",
            hint="If the first of [[graders]] is a judge, put another grader first. Otherwise, import more rows.",
        )
    prepared = prepare(project, store, unsafe=unsafe, say=say, material=material)
    dev = dataset.split.dev
    metric = replace(material.metric, cases=dev)
    of = content_hash([material.dataset, prepared.base.artifact.id, prepared.settings.identity, metric.identity])
    stored = store.read(FILE, StoredPilot)
    pilots = [stored, *stored.get("earlier", ())] if stored else []
    points, baseline = next(((one["points"], one["baseline"]) for one in pilots if one.get("of") == of), None) or (
        [],
        None,
    )
    if baseline is None:  # the model before training, with the same prompt and precision
        model = load_model(Path(prepared.base.artifact.folder), prepared.settings.dtype)
        baseline = metric.score(scorer(prepared, dev)(model), say)
    document = {
        "of": of,
        "dataset": material.dataset,
        "base": prepared.base.artifact.id,
        "name": base_spec(project),
        "baseline": baseline,
        "n_dev": len(dev),
        "n_examples": len(material.train),
        "points": points,
        "earlier": [{**one, "earlier": []} for one in pilots if one["base"] != prepared.base.artifact.id],
    }
    store.write(FILE, document)
    version = find_version(store, material.dataset)
    raw = raw_rows(version, material, say) if version else []
    own = rehearsal_rows(store.path / "training", prepared.base, prepared.settings, len(prepared.rendered.rows), say)
    done = {(point["size"], point["seed"], point["data"]) for point in points}
    tried = sizes(len(material.train))
    plan: list[PilotRun] = [(size, seed, "built") for size in tried for seed in range(n_seeds)]
    plan += [(max(tried), seed, "raw") for seed in range(n_seeds) if raw]
    for number, (size, seed, side) in enumerate(plan, start=1):
        if (size, seed, side) not in done:
            say(f"Pilot: training {number} of {len(plan)} ({size} {side} rows, seed {seed}).")
            pool = material.train if side == "built" else raw
            order = sorted(pool, key=lambda row: row.id)
            random.Random(seed).shuffle(order)  # a larger size of one seed has the rows of the smaller one
            drawn = content_hash([material.dataset, [row.id for row in order[:size]]])
            some = replace(material, train=tuple(order[:size]), dataset=drawn)
            points.append(_point(project, store, some, metric, (size, seed, side), own=own, say=say))
            store.write(FILE, document)
            say(f"{size} {side} rows, seed {seed}: dev score {points[-1]['score']:.1%}.")
    return document


def raw_rows(version: Version, material: Material, say: Say) -> list[Example]:
    """Return the rows as they came; no rows where so few were dropped that raw and built rows are nearly equal."""
    built, dropped = (
        [row for row in rows if material.student.fits(row)] for rows in (version.examples(), version.dropped())
    )
    if len(dropped) < max(1.0, FEW * len(built)):
        say(
            f"The checks dropped only {len(dropped)} of {len(built) + len(dropped)} rows. The raw rows are "
            "nearly the built ones, so they are not trained on."
        )
        return []
    return [*built, *dropped]


class StoredPilot(OpenRecord):
    """Parts of `pilot.json` that a resumed pilot needs."""

    of: NotRequired[str]
    base: str
    points: list[JsonObject]
    baseline: float
    earlier: NotRequired[list["StoredPilot"]]


def _point(
    project: Project,
    store: Folder,
    material: Material,
    metric: TaskMetric,
    which: PilotRun,
    *,
    own: Sequence[TokenRow],
    say: Say,
) -> JsonObject:
    """Train once on the rows of `material`, and a share of those of rehearsal, and score on dev.

    The epochs are those of [train], to the end: steps follow from the size.
    """
    size, seed, side = which
    prepared = prepare(project, store, unsafe=True, say=lambda _: None, material=material)
    settings = replace(prepared.settings, seed=seed)
    some = own[: settings.n_rehearsal(size)]
    steps = max(1, round(settings.epochs * (size + len(some)) / settings.batch_size))
    run = store.path / "training" / f"pilot-{content_hash([prepared.id, seed, side])}"
    ask = scorer(prepared, metric.cases)
    ran = train_rows(
        prepared.base.artifact.folder,
        prepared.rendered.rows,
        settings,
        run,
        tokenizer=prepared.base.tokenizer,
        rehearsal=some,
        evaluate=lambda model: metric.score(ask(model), say),
        evals_per_epoch=0.5 / max(1.0, settings.epochs),  # once, at the end
        max_steps=steps,
    )
    score = ran.progress.evals[-1].metric
    shutil.rmtree(run, ignore_errors=True)
    return {"size": size, "seed": seed, "score": score, "data": side, "steps": steps}
