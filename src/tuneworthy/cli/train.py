"""`tuneworthy train`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from tuneworthy.cli.options import json_option, note, print_json, project_option
from tuneworthy.config import Project, load
from tuneworthy.errors import UserError
from tuneworthy.report.text import visible
from tuneworthy.store import Folder
from tuneworthy.train.render import CLOSE, OPEN, REASONS
from tuneworthy.train.run import Prepared, Trained, train_project
from tuneworthy.verdict.forecast import FEWEST_SEEDS, pilot_sizes


@click.command("train", short_help="Train an adapter on the frozen data.")
@click.option("--unsafe", is_flag=True, help="Take data that did not pass its gates; the adapter records it.")
@click.option("--lr-check", is_flag=True, help="Try three learning rates for some steps first, and take the best.")
@click.option("--pilot", is_flag=True, help="Train at four sizes with two seeds instead, for a forecast of the gain.")
@project_option
@json_option
def command(unsafe: bool, lr_check: bool, pilot: bool, root: Path, as_json: bool) -> int:
    """Train an adapter on the latest frozen version of the training data, as [train] says.

    The loss is taken of the answers alone, their end included; three rows are shown as the model sees them. A slice of
    the rows is held out, and the run ends when the project's first grader no longer finds it better there. A run that
    was stopped goes on where it was; one that is done is not run again. Nothing is asked of a server.

    \b
    Example:
      tuneworthy train
      tuneworthy train --pilot
    """
    if pilot and lr_check:
        raise UserError("expected one of --pilot and --lr-check, got both", hint="check the rate first, then set it")
    _need_libraries()
    project = load(root)
    store = Folder(project.root)
    with store.lock(note):
        return _pilot(project, store, unsafe, as_json) if pilot else _train(project, store, unsafe, lr_check, as_json)


def _train(project: Project, store: Folder, unsafe: bool, lr_check: bool, as_json: bool) -> int:
    done = train_project(project, store, unsafe=unsafe, lr_check=lr_check, say=note, show=_show_rows)
    if as_json:
        print_json({"adapter": done.adapter.id, "path": str(done.adapter.folder), "again": done.again,
                    **done.adapter.manifest})  # fmt: skip
    else:
        _say(done)
    return 0


def _pilot(project: Project, store: Folder, unsafe: bool, as_json: bool) -> int:
    from tuneworthy.train.pilot import run_pilot  # needs torch

    document = run_pilot(project, store, sizes=pilot_sizes, n_seeds=FEWEST_SEEDS, unsafe=unsafe, say=note)
    if as_json:
        print_json(document)
        return 0
    click.echo(f"baseline {document['baseline']:.3f} on {document['n_dev']} dev cases")
    for point in document["points"]:
        what = f"{point['size']} {point['data']} rows, seed {point['seed']}, {point['steps']} steps"
        click.echo(f"  {what}: {point['score']:.3f}")
    click.echo(f"{store.path / 'pilot.json'}: `decide` forecasts what all {document['n_examples']} rows bring")
    return 0


def _need_libraries() -> None:
    """Say in one line what is missing, before anything is read."""
    missing = [name for name in ("torch", "transformers", "trl", "peft") if find_spec(name) is None]
    if missing:
        raise UserError(
            f"expected torch, transformers, trl and peft, got no {missing[0]}", hint="pip install 'tuneworthy[train]'"
        )


def _show_rows(prepared: Prepared) -> None:
    """Show what the model sees and which of it is supervised, on stderr."""
    told = prepared.rendered
    colours = sys.stderr.isatty()
    marks = "green is" if colours else f"{OPEN}{CLOSE} is"
    note(f"The first rows as the model sees them; {marks} what it learns to say:")
    for row in prepared.shown:
        seen = [(visible(text), bit) for text, bit in row]
        parts = [
            (click.style(text, fg="green") if colours else f"{OPEN}{text}{CLOSE}") if bit else text
            for text, bit in seen
        ]
        note("  " + "".join(parts).replace("\n", "\n  "))
        note("")
    for reason, n in told.reasons.items():
        note(f"left out: {n} rows ({REASONS[reason]})")
    note(f"{len(told.rows)} rows, {told.n_tokens} tokens, {told.share:.1%} supervised; the longest has {told.longest}")


def _say(done: Trained) -> None:
    told: Mapping[str, Any] = done.adapter.manifest
    curves, held = told["curves"], told["held_out"]
    if done.again:
        click.echo("This run was done before; nothing was trained again.")
    click.echo(
        f"{curves['n_steps']} steps in {told['seconds']:.0f} s, loss {curves['first_loss']:.3f} to "
        f"{curves['last_loss']:.3f}, peak memory {told['memory']['peak_bytes'] / 2**20:.0f} MiB"
    )
    if held and held["score"] is not None:
        early = ", stopped early" if curves["stopped_early"] else ""
        click.echo(f"task metric {held['score']:.3f} on {held['n']} held-out rows at step {curves['kept_step']}{early}")
    if not told["gated"]:
        click.echo("The data was not gated: `decide` will show it.")
    click.echo(f"adapter {done.adapter.id}: {done.adapter.folder}")
