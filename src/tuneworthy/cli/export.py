"""`tuneworthy export`."""

import re
from pathlib import Path

import click

from tuneworthy.cli.export_model import gguf, ollama, quantized
from tuneworthy.cli.interruption import run_async
from tuneworthy.cli.lazy import CommandGroup
from tuneworthy.cli.options import json_option, note, print_result, project_option
from tuneworthy.config import Project, load
from tuneworthy.ladder.commands.export_variant import export_variant
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import resolve


@click.group("export", cls=CommandGroup)
def command() -> None:
    """Write the winner as files to use elsewhere.

    \b
    Example:
      tuneworthy export variant best
    """


for _model in (gguf, ollama, quantized):
    command.add_command(_model)


@command.command("variant")
@click.argument("which", default="best")
@project_option
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write (default: variant-NAME).")
@json_option
def variant(which: str, root: Path, out: Path | None, as_json: bool) -> None:
    """Write the prompt and a client snippet of a variant.

    WHICH is `best`, a rung of the last run, or a variant ID.

    \b
    Example:
      tuneworthy export variant best --out winner
    """
    paths = list(map(str, run_async(_write(load(root), which, out))))
    print_result(as_json, paths, click.echo, "\n".join(paths))


async def _write(project: Project, which: str, out: Path | None) -> list[Path]:
    async with open_session(project, waiting=note) as session:
        found = resolve(session, which)
        folder = out or Path("variant-" + re.sub(r"[^\w.-]+", "-", found.name))
        return export_variant(session, found, folder)
