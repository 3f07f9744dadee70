"""`tuneworthy train`."""

from pathlib import Path

import click

from tuneworthy.cli.options import json_option, note, print_result, project_option, say
from tuneworthy.config import load
from tuneworthy.dataset.freeze import latest_version
from tuneworthy.errors import UserError
from tuneworthy.extras import require
from tuneworthy.ladder.record import read_record
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact
from tuneworthy.text import count, visible
from tuneworthy.train.render import CLOSE, OPEN, REASONS
from tuneworthy.train.run import Prepared, train_project
from tuneworthy.types import JsonMapping
from tuneworthy.verdict.forecast import FEWEST_SEEDS, pilot_sizes


@click.command("train")
@click.option("--unsafe", is_flag=True, help="Accept data that did not pass its gates; the adapter records it.")
@click.option("--lr-check", is_flag=True, help="Try three learning rates briefly and use the best.")
@click.option("--all-rows", is_flag=True, help="Also use rows that overlap cases, after the verdict.")
@click.option("--pilot", is_flag=True, help="Train at four sizes with two seeds instead, to forecast the gain.")
@project_option
@json_option
def command(
    unsafe: bool,
    lr_check: bool,
    pilot: bool,
    all_rows: bool,
    root: Path,
) -> None:
    """Train an adapter, all weights or a classifier.

    Uses the latest frozen version of the data and the settings of [train], where `method` names the kind of training.
    The loss covers only the answers, including their end token, and the command shows three rows as the model sees
    them. Part of the rows is held out, and training stops when the first grader finds no further gain on them. An
    interrupted run resumes, and a finished run is not repeated. The command calls no server.

    Rows that overlap with dev or test cases are in none of this, since the score would mean nothing. After a run has
    compared the trained model on test, --all-rows trains the model to ship: with these rows, and never measured.

    \b
    Example:
      tuneworthy train
      tuneworthy train --pilot
    """
    if pilot and lr_check:
        raise UserError(
            "Use either --pilot or --lr-check.", hint="Check the learning rate first, set it, and then run the pilot."
        )
    project = load(root)
    if all_rows:
        _check_verdict(Folder(project.root), pilot=pilot)
    for library in ("torch", "transformers", "trl", "peft", *["bitsandbytes"] * (project.train.method == "qlora")):
        require(library)
    store = Folder(project.root)
    with store.lock(note):
        if project.train.method == "classifier" and not (pilot or lr_check):
            from tuneworthy.train.classifier import train_classifier  # needs torch

            made, again = train_classifier(project, store, unsafe=unsafe, full=all_rows, say=note)
            _print(made, again)
            return
        if pilot:
            from tuneworthy.train.pilot import run_pilot  # needs torch

            document = run_pilot(project, store, sizes=pilot_sizes, n_seeds=FEWEST_SEEDS, unsafe=unsafe, say=note)
            print_result(document, _show_pilot, document, store.path / "pilot.json")
            return
        made, again = train_project(
            project, store, unsafe=unsafe, lr_check=lr_check, full=all_rows, say=note, show=_show_rows
        )
    _print(made, again)


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
            hint="Run `tuneworthy train` without --all-rows, export the model, and run `tuneworthy run`.",
        )


def _print(made: Artifact, again: bool) -> None:
    print_result({made.kind: made.id, "path": str(made.folder), "again": again, **made.manifest}, _say, made, again)


def _show_pilot(document: JsonMapping, path: Path) -> None:
    say(f"baseline: {document['baseline']:.1%} on {document['n_dev']} dev cases")
    for point in document["points"]:
        say(
            f"  {point['size']} {point['data']} rows, seed {point['seed']}, {point['steps']} steps: "
            f"{point['score']:.1%}"
        )
    say(f"Wrote {path}. Run `tuneworthy decide` to forecast the gain from all {document['n_examples']} rows.")


def _show_rows(prepared: Prepared) -> None:
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


def _say(made: Artifact, again: bool) -> None:
    about = made.about
    curves, held_out = about.curves, about.held_out
    if again:
        say("This training run had already finished, so it was not repeated.")
    say(
        f"{curves.n_steps} steps in {about.seconds:.0f} s, loss from {curves.first_loss:.3f} to "
        f"{curves.last_loss:.3f}, peak memory {about.memory.peak_bytes / 2**20:.0f} MiB"
    )
    if held_out and held_out.score is not None:
        early = ", stopped early" if curves.stopped_early else ""
        line = f"score of {held_out.score:.1%} on {held_out.n} held-out rows at step {curves.kept_step}"
        say(line + early)
    if not about.gated:
        say("The training rows have not passed the data gates. `tuneworthy decide` takes this into account.")
    what = "model" if about.method == "full" else made.kind
    say(f"{what} {made.id}: {made.folder}")
