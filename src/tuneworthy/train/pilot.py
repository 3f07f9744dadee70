"""The pilot: small trainings that show what more rows bring, and whether building the data or raw text helps.

At least four sizes with two seeds each, of the built rows; and the raw rows of the largest size, with as many steps,
where the checks dropped enough rows to tell raw from built. Where the project has documents, the largest size is also
trained after their raw text (continued pretraining) and compared with the same rows and seeds, paired on dev.
Each is scored on dev by the project's first grader, as is the model before any training: the baseline. Dev has no part
in any training, nor in when it ends. A point that was measured is stored: a pilot that was stopped resumes.

    .tuneworthy/pilot.json   {"dataset", "base", "name", "baseline", "n_dev", "n_examples", "points": [...],
                              "documents", "continued", "earlier": [pilots of other bases]}
"""

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NotRequired

import numpy as np

from tuneworthy.cases import read_dataset
from tuneworthy.config.project import Project
from tuneworthy.dataset.effect import FEW
from tuneworthy.dataset.freeze import Version, find_version
from tuneworthy.errors import UserError
from tuneworthy.retrieval.library import documents_hash
from tuneworthy.stats.paired import compare
from tuneworthy.store import Folder
from tuneworthy.store.shapes import OpenRecord
from tuneworthy.train import messages
from tuneworthy.train.base_model import base_spec, load_model
from tuneworthy.train.rehearsal import rehearsal_rows
from tuneworthy.train.render import TokenRow
from tuneworthy.train.run import evaluator_of, measure_text, prepare, train_phases
from tuneworthy.train.trainer import adapted
from tuneworthy.train.training_rows import Material, TaskMetric, gather, raw_text
from tuneworthy.types import Cases, Example, JsonObject, Say, content_hash

Side = Literal["built", "raw", "continued"]
# Rows, seed, and which rows.
PilotRun = tuple[int, int, Side]
FILE = "pilot"
# Blocks of raw text in a training of the pilot, at most.
MAX_BLOCKS = 256


def run_pilot(
    project: Project,
    store: Folder,
    *,
    sizes: Callable[[int], list[int]],
    n_seeds: int,
    unsafe: bool,
    say: Say,
    processes: int = 1,
) -> JsonObject:
    """Run the missing trainings of the pilot and return its document.

    Args:
        project: The project.
        store: Its folder; the caller has the lock.
        sizes: From the number of rows to the sizes of the pilot.
        n_seeds: Trainings per size.
        unsafe: Take rows that are not gated; raw rows are not compared then.
        say: Gets a sentence now and then.
        processes: Processes to train on.

    Raises:
        UserError: There are no rows or no dev cases, or only a judge can score them.
    """
    if project.train.method == "preference":
        raise UserError(
            "The pilot and the check of the learning rate train on answers, not on pairs.", hint=messages.USE_LORA
        )
    dataset = read_dataset(project)
    material = gather(project, store, unsafe=unsafe, say=say, dataset=dataset)
    if material.metric is None:
        raise UserError(
            "The pilot needs enough held-out rows that a grader can score without calling a model.",
            hint="If the first of [[graders]] is a judge, put another grader first. Otherwise, import more rows.",
        )
    prepared = prepare(project, store, unsafe=unsafe, say=say, material=material, processes=processes)
    dev = dataset.split.dev
    metric = replace(material.metric, cases=dev)
    of = content_hash(
        ["grades", material.dataset, prepared.base.artifact.id, prepared.settings.identity, metric.identity]
    )
    stored = store.read(FILE, StoredPilot)
    pilots = [stored, *stored.get("earlier", ())] if stored else []
    points, baseline = next(((one["points"], one["baseline"]) for one in pilots if one.get("of") == of), None) or (
        [],
        None,
    )
    text, measured, notes = (
        raw_text(project, dataset, material.kind)
        if prepared.settings.method in {"lora", "continued"}
        else ((), (), ("It needs adapters on the 16-bit base.",))
    )
    points = [point for point in points if point["text"] in {"", content_hash(text)}]
    if baseline is None:  # the model before training, with the same prompt and precision
        model = load_model(Path(prepared.base.artifact.folder), prepared.settings.dtype)
        baseline = evaluator_of(prepared, metric, say)(model)
    document: JsonObject = {
        "of": of,
        "dataset": material.dataset,
        "base": prepared.base.artifact.id,
        "name": base_spec(project),
        "metric": content_hash(metric.identity),
        "baseline": baseline,
        "n_dev": len(dev),
        "n_examples": len(material.train),
        "points": points,
        "documents": documents_hash(project),
        "earlier": [{**one, "earlier": []} for one in pilots if one["base"] != prepared.base.artifact.id],
    }
    store.write(FILE, document)
    version = find_version(store, material.dataset)
    raw = raw_rows(version, material, say) if version else []
    own = rehearsal_rows(store.path / "training", prepared.base, prepared.settings, len(prepared.rendered.rows), say)
    done = {(point["size"], point["seed"], point["data"]) for point in points}
    last = [max(tried := sizes(len(material.train)))]
    sides: dict[Side, list[int]] = {"built": tried, "raw": last * bool(raw), "continued": last * bool(text)}
    plan = [(size, seed, side) for side, some in sides.items() for size in some for seed in range(n_seeds)]
    for number, (size, seed, side) in enumerate(plan, start=1):
        if (size, seed, side) not in done:
            say(f"Pilot: training {number} of {len(plan)} ({size} rows, {side}, seed {seed}).")
            order = sorted({"raw": raw}.get(side, material.train), key=lambda row: row.id)
            random.Random(seed).shuffle(order)  # a larger size of one seed has the rows of the smaller one
            drawn = content_hash([material.dataset, [row.id for row in order[:size]]])
            some = replace(
                material,
                train=tuple(order[:size]),
                dataset=drawn,
                text={"continued": text}.get(side, ()),
                measured=measured,
            )
            which: PilotRun = (size, seed, side)
            points.append(_point(project, store, some, metric, which, own=own, say=say, processes=processes))
            store.write(FILE, document)
            say(f"{size} rows, {side}, seed {seed}: dev score {points[-1]['score']:.1%}.")
    document["continued"] = (
        continued_result(points, dev) if text else {"helps": False, "detail": f"Raw text was not compared. {notes[0]}"}
    )
    store.write(FILE, document)
    return document


def continued_result(points: Sequence[JsonObject], cases: Cases) -> JsonObject:
    """Compare the rows after raw text with the same rows only, paired on the cases, as means over the seeds.

    Raw text helps if the interval is above 0, the score rises with each seed, and general text is not
    shown to need 5% more bits.

    Args:
        points: The trainings of the pilot.
        cases: The cases that scored them.
    """
    after = [point for point in points if point["data"] == "continued"]
    alone = [point for point in points if point["data"] == "built" and point["size"] == after[0]["size"]]
    (a_num, a_den), (b_num, b_den) = (np.mean([point["grades"] for point in side], axis=0).T for side in (alone, after))
    found = compare(a_num, a_den, b_num, b_den, [case.group or case.id for case in cases], alpha=None)
    domain, general = (np.mean([point["bits"][name] for point in after], axis=0) for name in ("domain", "general"))
    part = f" (the first {MAX_BLOCKS} of {n:,} blocks)" if (n := after[0].get("blocks", 0)) > MAX_BLOCKS else ""
    forgets = any(point["bits"]["regression"]["status"] == "fail" for point in after)
    return {
        "helps": bool(found.ci[0] > 0)
        and not forgets
        and all(b["score"] > a["score"] for a, b in zip(alone, after, strict=True)),
        "delta": found.delta,
        "ci95": found.ci,
        "n": found.n,
        "domain": domain.tolist(),
        "general": general.tolist(),
        "detail": f"In the pilot, raw text{part} before the rows changed the dev score by {100 * found.delta:+.1f} "
        f"points [{100 * found.ci[0]:+.1f}, {100 * found.ci[1]:+.1f}] (n = {found.n}, {len(after)} seeds), the bits "
        f"per byte of held-out text from {domain[0]:.2f} to {domain[1]:.2f}, and of general text from "
        f"{general[0]:.2f} to {general[1]:.2f}{' (a regression)' if forgets else ''}.",
    }


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
    processes: int,
) -> JsonObject:
    """Train once on the rows of `material`, and a share of those of rehearsal, and score on dev.

    The epochs are those of [train], to the end: steps follow from the size. The raw text of `material` comes first.
    """
    size, seed, side = which
    project = project.model_copy(
        update={"train": project.train.model_copy(update={"method": "continued"})} if material.text else {}
    )
    prepared = prepare(project, store, unsafe=True, say=lambda _: None, material=material, processes=processes)
    settings = replace(prepared.settings, seed=seed)
    some = own[: settings.n_rehearsal(size)]
    steps = max(1, round(settings.epochs * (size + len(some)) / settings.batch_size))
    run = store.path / "training" / f"pilot-{content_hash([prepared.id, seed, side])}"
    prepared = replace(prepared, settings=settings, rehearsal=some)
    ran = train_phases(prepared, run, max_blocks=MAX_BLOCKS, max_steps=steps)
    model = adapted(prepared.base.artifact.folder, settings, ran.adapter)
    answered = evaluator_of(prepared, metric, say).answers(model)
    point = {
        "size": size,
        "seed": seed,
        "score": metric.score(answered, say),
        "data": side,
        "steps": steps,
        "grades": [[0, 0] if one.unscored else [one.num, one.den] for one in metric.grades(answered)],
        "text": content_hash(material.text) if material.text else "",
        "blocks": ran.n_blocks,
        "bits": measure_text(prepared, ran.adapter) if material.text else None,
    }
    shutil.rmtree(run, ignore_errors=True)
    return point
