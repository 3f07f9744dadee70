"""`tuneworthy demo`."""

from __future__ import annotations

import asyncio
from importlib.resources import as_file, files
from pathlib import Path
from shutil import copyfile

import click

from tuneworthy.cli.options import json_option, note, print_json

FILES = ("tuneworthy.toml", "cases.jsonl", "examples.jsonl", "prompts/system.md", "labels.md")


@click.command("demo", short_help="Write a complete small project and walk its ladder.")
@click.argument("folder", type=click.Path(path_type=Path), default="tuneworthy-demo")
@json_option
def command(folder: Path, as_json: bool) -> None:
    """Write a complete small project into FOLDER and walk its ladder, with the embedded model, to verdict and report.

    No key and no GPU are needed; the model (90 MB) is fetched once. Run it again to go on after an interruption.

    \b
    Example:
      tuneworthy demo my-demo
    """
    from tuneworthy.cli.climb import fetch_models, walk
    from tuneworthy.cli.report import write_report
    from tuneworthy.config import load
    from tuneworthy.verdict.run import decide_project

    write_demo(folder)
    project = load(folder)
    fetch_models(project)
    record = walk(project)
    asyncio.run(decide_project(project))
    page = write_report(project, folder / "report.html")
    if as_json:
        print_json(record.to_dict())
        return
    from tuneworthy.cli.show import show_climb

    show_climb(record)
    click.echo(f"The report: {page}")


def write_demo(folder: Path) -> None:
    """Write the demo project, or leave the one that is there."""
    if (folder / "tuneworthy.toml").exists():
        note(f"{folder} is there already: going on with it.")
        return
    for name in FILES:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with as_file(files("tuneworthy.demo").joinpath(name)) as source:
            copyfile(source, target)
