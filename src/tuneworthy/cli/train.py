"""`tuneworthy train`: from the dataset to the comparison on test; a step that is done is not repeated."""

import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import click

from tuneworthy.cli.options import POSITIVE, json_option, note, print_json, project_option, say, wants_json
from tuneworthy.cli.run import agree_to_spend, fetch_models, walk
from tuneworthy.config import Project, load
from tuneworthy.dataset.freeze import latest_version
from tuneworthy.errors import TuneworthyError, UserError
from tuneworthy.extras import require
from tuneworthy.ladder.record import read_record
from tuneworthy.ladder.rung_details import TunedDetail
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
from tuneworthy.train.duration import readable_time
from tuneworthy.train.phases import COMPARISON, phase, recording
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
    return StepResult(
        document=_document(made, before is not None),
        line=f"{KINDS['merged']} {made.id}, {made.about.dtype}, {made.about.route.name} base weights",
    )


def export(store: Folder) -> StepResult:
    """Write the latest merged model as a GGUF file of 16 bits, unless it has been exported in any type."""
    with store.lock(note), phase("export"):
        merged = open_artifact(store, "merged")
        before = _made_from(store, "gguf", merged)
        made = before or export_gguf(store, merged, "f16", say=note)
    path = made.folder / FILE
    return StepResult(
        document=_document(made, before is not None, path),
        line=f"{KINDS['gguf']} {made.id}, {made.about.file_type}, {path.stat().st_size / 2**20:.0f} MiB",
    )


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


@click.command("train")
@click.option("--only", type=click.Choice(STEPS), help="Run one step only.")
@click.option("--pilot", is_flag=True, help="Train at four sizes with two seeds instead, to forecast the gain.")
@click.option("--unsafe", is_flag=True, help="Accept data that did not pass its gates; the adapter records it.")
@click.option("--all-rows", is_flag=True, help="Also use rows that overlap cases, after the verdict.")
@click.option("--server", metavar="NAME@URL", help="Model or adapter of a running vLLM server, for --only parity.")
@click.option(
    "--processes",
    type=POSITIVE,
    default=1,
    show_default=True,
    metavar="N",
    help="Processes to train on, each with a GPU if there are any.",
)
@project_option
@json_option
def command(
    only: str | None, pilot: bool, unsafe: bool, all_rows: bool, server: str | None, processes: int, root: Path
) -> int:
    """Train a model, check it and compare it on test.

    Trains on the latest frozen version of the data with the settings of [train], merges the adapter, exports it as
    GGUF, proves that all forms answer alike (parity), and compares the model on test (the rung `fine_tune`). A
    classifier is only trained and compared. An interrupted run resumes, and a finished step is not repeated.

    Part of the rows is held out, and training stops when they show no further gain. Failed parity does not end the
    command, but its exit status is 3, or 4 if there are too few answers to tell.

    Rows that overlap with dev or test cases are in none of this, since the score would mean nothing. After a
    comparison, --all-rows trains the model to ship: with these rows, and never measured.

    \b
    Example:
      tuneworthy train
      tuneworthy train --only parity --server tuned@http://127.0.0.1:8000
    """
    if pilot and only:
        raise UserError("Use --pilot without --only.", hint="Run the pilot first.")
    if server and only != "parity":
        raise UserError("--server belongs to --only parity.", hint=f"Run `{CHECK_SERVER}`.")
    project = load(root)
    if processes > 1 and (only not in {None, "train"} or project.train.method == "classifier"):
        raise UserError("--processes belongs to the training of a language model.", hint="Omit --processes.")
    store = Folder(project.root)
    if all_rows:
        _check_verdict(store, pilot=pilot)
    only = "pilot" if pilot else only
    steps = [only] if only else steps_of(project, all_rows=all_rows)
    if "fine_tune" in steps and sys.stdin.isatty():
        agree_to_spend(project, None, yes=False)
    runs = {
        "train": partial(train, project, store, unsafe=unsafe, full=all_rows, processes=processes),
        "merge": partial(merge_adapter, store),
        "export": partial(export, store),
        "parity": partial(check_forms, project, store, server, again=bool(only)),
        "fine_tune": partial(compare, project),
        "pilot": partial(run_pilot, project, store, unsafe, processes),
    }
    with recording(store, note):
        documents, status = _run({step: runs[step] for step in steps})
    follow = (
        "serve --what gguf"
        if all_rows and not only
        else "decide"
        if server or only in {None, "pilot", "fine_tune"}
        else "train"
    )
    note(f"Next: tuneworthy {follow}")
    if wants_json():
        print_json(documents[only] if only else documents)
    return status


def _run(steps: Mapping[str, Callable[[], StepResult]]) -> tuple[JsonObject, int]:
    """Run the steps in order, and show each with its time; return their documents and the exit status."""
    documents: JsonObject = {}
    status = 0
    for step, run in steps.items():
        began = time.monotonic()
        try:
            done = run()
        except TuneworthyError:
            rest = "run --rung fine_tune" if step == "fine_tune" else "train"
            if documents:
                note(f"The step `{step}` stopped. Earlier steps are done; to continue, run `tuneworthy {rest}`.")
            raise
        documents[step], status = done.document, status or done.status
        line = f"{step}: {done.line} ({readable_time(time.monotonic() - began)})"
        (note if wants_json() else say)(*(f"  {line}" for line in done.details), line)
    return documents, status


def _check_verdict(store: Folder, *, pilot: bool) -> None:
    """Refuse rows that overlap with cases until a model without them was compared on test.

    Raises:
        UserError: It was not.
    """
    record, latest = read_record(store), latest_version(store)
    tuned = record.detail(TunedDetail) if record else None
    if pilot or latest is None or tuned is None or tuned.dataset != latest.id:
        raise UserError(
            "No model that was trained on the latest version has been compared on the test set yet.",
            hint="Run `tuneworthy train` without --all-rows.",
        )
