"""`tuneworthy train`."""

import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import click

from tuneworthy.cli import train_steps
from tuneworthy.cli.options import POSITIVE, json_option, note, print_json, project_option, say, wants_json
from tuneworthy.cli.run import agree_to_spend
from tuneworthy.config import load
from tuneworthy.dataset.freeze import latest_version
from tuneworthy.errors import TuneworthyError, UserError
from tuneworthy.ladder.record import read_record
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.store import Folder
from tuneworthy.train.duration import readable_time
from tuneworthy.train.phases import recording
from tuneworthy.types import JsonObject


@click.command("train")
@click.option("--only", type=click.Choice(train_steps.STEPS), help="Run one step only.")
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
        raise UserError("--server belongs to --only parity.", hint=f"Run `{train_steps.CHECK_SERVER}`.")
    project = load(root)
    if processes > 1 and (only not in {None, "train"} or project.train.method == "classifier"):
        raise UserError("--processes belongs to the training of a language model.", hint="Omit --processes.")
    store = Folder(project.root)
    if all_rows:
        _check_verdict(store, pilot=pilot)
    only = "pilot" if pilot else only
    steps = [only] if only else train_steps.steps_of(project, all_rows=all_rows)
    if "fine_tune" in steps and sys.stdin.isatty():
        agree_to_spend(project, None, yes=False)
    runs = {
        "train": partial(train_steps.train, project, store, unsafe=unsafe, full=all_rows, processes=processes),
        "merge": partial(train_steps.merge_adapter, store),
        "export": partial(train_steps.export, store),
        "parity": partial(train_steps.check_forms, project, store, server, again=bool(only)),
        "fine_tune": partial(train_steps.compare, project),
        "pilot": partial(train_steps.run_pilot, project, store, unsafe, processes),
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


def _run(steps: Mapping[str, Callable[[], train_steps.StepResult]]) -> tuple[JsonObject, int]:
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
