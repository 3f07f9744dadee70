"""The steps of `tuneworthy train`, from the dataset to the comparison on test; a step that is done is not repeated."""

import sys
from collections.abc import Mapping
from pathlib import Path

from tuneworthy.cli.options import note
from tuneworthy.cli.run import agree_to_spend, fetch_models, walk
from tuneworthy.config import Project
from tuneworthy.errors import UserError
from tuneworthy.extras import require
from tuneworthy.report.text import percent
from tuneworthy.ship.gguf import FILE, export_gguf
from tuneworthy.ship.merge import merge
from tuneworthy.ship.parity.request import request_of
from tuneworthy.ship.parity.run import check_parity, serving_proof
from tuneworthy.ship.parity.server_forms import VllmForm
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import KINDS, Artifact, Kind, artifacts, open_artifact
from tuneworthy.text import count, visible
from tuneworthy.train.base_model import write_again
from tuneworthy.train.phases import COMPARISON, phase
from tuneworthy.train.render import CLOSE, OPEN, REASONS
from tuneworthy.train.run import Prepared, train_project
from tuneworthy.types import JsonObject, Texts, frozen
from tuneworthy.verdict.forecast import FEWEST_SEEDS, pilot_sizes

STEPS = ("train", "merge", "export", "parity", "fine_tune")
# Exit status by the status of parity.
STATUS: Mapping[str, int] = {"pass": 0, "fail": 3, "unknown": 4}
CHECK_SERVER = "tuneworthy train --only parity --server NAME@URL"


@frozen
class StepResult:
    """Outcome of a step.

    Attributes:
        document: For `--json`.
        line: One line for people.
        details: Further lines.
        status: Exit status.
    """

    document: JsonObject
    line: str
    details: Texts = ()
    status: int = 0


def steps_of(project: Project, *, all_rows: bool) -> list[str]:
    """Return the steps of a project: a classifier is not converted, and a model that saw cases is never measured."""
    skipped = {"fine_tune"} if all_rows else set()
    if project.train.method == "classifier":
        skipped |= {"merge", "export", "parity"}
    elif project.serve.model is not None:
        skipped.add("export")
    return [step for step in STEPS if step not in skipped]


def require_training(project: Project) -> None:
    for library in ("torch", "transformers", "trl", "peft", *["bitsandbytes"] * (project.train.method == "qlora")):
        require(library)


def train(project: Project, store: Folder, *, unsafe: bool, full: bool, processes: int) -> StepResult:
    require_training(project)
    with store.lock(note), phase("train"):
        if project.train.method == "classifier":
            from tuneworthy.train.classifier import train_classifier  # needs torch

            made, again = train_classifier(project, store, unsafe=unsafe, full=full, say=note)
        else:
            made, again = train_project(
                project, store, unsafe=unsafe, full=full, processes=processes, say=note, show=show_rows
            )
    about = made.about
    curves, held_out = about.curves, about.held_out
    line = (
        f"{'model' if about.method == 'full' else made.kind} {made.id}, {count(curves.n_steps, 'step')}, loss from "
        f"{curves.first_loss:.3f} to {curves.last_loss:.3f}"
    )
    if held_out and held_out.score is not None:
        early = ", stopped early" if curves.stopped_early else ""
        line += f", score of {held_out.score:.1%} on {held_out.n} held-out rows at step {curves.kept_step}{early}"
    details = [f"peak memory {about.memory.peak_bytes / 2**20:.0f} MiB"]
    details += [about.text.get("detail", "")] if about.text else []
    if not about.gated:
        details.append("The training rows have not passed the data gates. `tuneworthy decide` takes this into account.")
    return StepResult(document=_document(made, again), line=line, details=details)


def show_rows(prepared: Prepared) -> None:
    """Show the rows as the model sees them, with the supervised part marked, on stderr."""
    rendered = prepared.rendered
    note(f"The first rows as the model sees them. {f'{OPEN}{CLOSE}'} marks the supervised tokens:")
    for row in prepared.shown:
        parts = [f"{OPEN}{visible(text)}{CLOSE}" if supervised else visible(text) for text, supervised in row]
        note("  " + "".join(parts).replace("\n", "\n  "))
        note("")
    for reason, n in rendered.reasons.items():
        note(f"dropped: {count(n, 'row')} ({REASONS[reason]})")
    note(
        f"{len(rendered.rows)} rows, {rendered.n_tokens} tokens, {100 * rendered.share:.1f}% supervised; the "
        f"longest row has {rendered.longest} tokens"
    )


def merge_adapter(store: Folder) -> StepResult:
    with store.lock(note), phase("merge"):
        before = _made_from(store, "merged", open_artifact(store, "adapter"))
        made = before or merge(store, say=note)
    line = f"{KINDS['merged']} {made.id}, {made.about.dtype}, {made.about.route.name} base weights"
    return StepResult(document=_document(made, before is not None), line=line)


def export(store: Folder) -> StepResult:
    """Write the latest merged model as a GGUF file of 16 bits, unless it has been exported in any type."""
    with store.lock(note), phase("export"):
        merged = open_artifact(store, "merged")
        before = _made_from(store, "gguf", merged)
        made = before or export_gguf(store, merged, "f16", say=note)
    path = made.folder / FILE
    line = f"{KINDS['gguf']} {made.id}, {made.about.file_type}, {path.stat().st_size / 2**20:.0f} MiB"
    return StepResult(document=_document(made, before is not None, path), line=line)


def _made_from(store: Folder, kind: Kind, source: Artifact) -> Artifact | None:
    made = [one for one in artifacts(store, kind) if one.parent == source.id and one.whole]
    return write_again(store, made[-1]) if made else None


def _document(made: Artifact, again: bool, path: Path | None = None) -> JsonObject:
    return {made.kind: made.id, "path": str(path or made.folder), "again": again, **made.manifest}


def check_forms(project: Project, store: Folder, server: str | None, *, again: bool) -> StepResult:
    """Compare the latest adapter with the models that were made from it, and with a server.

    Args:
        project: The project.
        store: Its folder.
        server: `NAME@URL` of a model on a vLLM server.
        again: Whether to compare models that have been compared.
    """
    served = None
    if server is not None:
        name, _, url = server.partition("@")
        if not (name and url):
            raise UserError(f"--server {server} is not of the form NAME@URL.", hint=f"Run `{CHECK_SERVER}`.")
        served = VllmForm(url.rstrip("/").removesuffix("/v1"), name)
    with store.lock(note), phase("parity"):
        asked = request_of(project, served=served)
        models = {one.id for one in (asked.merged, *asked.ggufs) if one is not None}
        if not models and served is None:
            raise UserError(
                f"There is no merged or exported model to compare with the adapter {asked.adapter.id}.",
                hint="Run `tuneworthy train`.",
            )
        document = None if again else store.read("parity", dict)
        if document is None or document.get("adapter") != asked.adapter.id or models != {*document.get("models", ())}:
            document = check_parity(store, asked, say=note)
        if served is not None:
            store.write("serving", serving_proof(asked, document))
    cause = f", cause: {document['cause']}" if document["cause"] else ""
    return StepResult(
        document=document,
        line=f"{document['status']} ({document['n_prompts']} prompts{cause})",
        details=[f"{one['status']:8}{one['name']:15}{one['detail']}" for one in document["checks"]],
        status=STATUS[document["status"]],
    )


def compare(project: Project) -> StepResult:
    """Run the rung `fine_tune`: compare the trained model on test."""
    agree_to_spend(project, None, yes=sys.stdin.isatty())
    fetch_models(project)
    with phase(COMPARISON):
        record = walk(project, ["fine_tune"])
    row = record.rung("fine_tune")
    assert row is not None
    score = "" if row.score is None else f", {percent(row.score)} on test"
    return StepResult(document=record.to_dict(), line=row.status.replace("_", " ") + score)


def run_pilot(project: Project, store: Folder, unsafe: bool, processes: int) -> StepResult:
    require_training(project)
    from tuneworthy.train.pilot import run_pilot  # needs torch

    with store.lock(note), phase("pilot"):
        document = run_pilot(
            project, store, sizes=pilot_sizes, n_seeds=FEWEST_SEEDS, unsafe=unsafe, say=note, processes=processes
        )
    points = [
        f"{point['size']} rows, {point['data']}, seed {point['seed']}, {point['steps']} steps: {point['score']:.1%}"
        for point in document["points"]
    ]
    points += filter(None, [document["continued"].get("detail")])
    line = f"{document['baseline']:.1%} before training on {document['n_dev']} dev cases"
    return StepResult(document=document, line=line, details=points)
