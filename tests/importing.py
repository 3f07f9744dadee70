"""An import by itself, as `data build FILES` makes and prints it, in a folder that needs no project."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tuneworthy.cli.data_build import say_import
from tuneworthy.cli.options import expected_option, input_option, note
from tuneworthy.dataset.importing.importer import import_files
from tuneworthy.dataset.records import ImportRequest
from tuneworthy.errors import TuneworthyError
from tuneworthy.store import Folder


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@input_option
@expected_option
@click.option("--replace", is_flag=True)
@click.pass_context
def _command(context: click.Context, files: Sequence[Path], replace: bool, **request: Any) -> None:
    context.obj["done"] = import_files(
        Folder(context.obj["root"]), files, ImportRequest(**request), note, fresh=replace
    )


def import_into(root: Path, *words: str | Path) -> dict[str, Any]:
    """Import files with options into `root`; return exit status and document, and print as the command does."""
    found: dict[str, Any] = {"root": root}
    try:
        _command.main([*map(str, words)], standalone_mode=False, obj=found)
    except TuneworthyError as error:
        note(f"error[{error.error_code}]: {error}")
        told = {
            "code": error.error_code,
            "message": error.message,
            "hint": error.hint,
            "exit_status": error.exit_status,
        }
        return {"exit": error.exit_status, "document": {"error": told}}
    done = found["done"]
    say_import(done)
    return {"exit": 0, "document": json.loads(json.dumps({"path": str(done.folder), **asdict(done.record)}))}
