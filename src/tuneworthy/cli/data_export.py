"""`tuneworthy data export`."""

from dataclasses import asdict
from pathlib import Path

import click

from tuneworthy.cli.options import (
    FOLDER_PATH,
    json_option,
    note,
    print_result,
    project_option,
    say,
    writing_to,
)
from tuneworthy.config import load
from tuneworthy.dataset.export import DatasetManifest, export_version
from tuneworthy.dataset.freeze import open_version
from tuneworthy.people.review_log import FILE_NAME, state_of
from tuneworthy.store import Folder
from tuneworthy.text import count
from tuneworthy.trust import own_path
from tuneworthy.types import Paths


@click.command("export")
@click.option(
    "--format",
    "name",
    required=True,
    metavar="NAME",
    help="openai, trl, preference, sharegpt, alpaca, llama_factory, axolotl, parquet, or a format from a package.",
)
@click.option(
    "--out",
    type=FOLDER_PATH,
    help="Folder to write (default: dataset-VERSION-NAME).",
)
@project_option
@json_option
def command(name: str, out: Path | None, root: Path) -> None:
    """Write the latest frozen version in the format of a trainer.

    The command sets 10% of the rows aside for validation and writes a manifest. Rows with the same group or question
    stay in the same set. Rows that do not fit the format are dropped and counted. A version that failed a gate
    or was not reviewed is exported too, and the manifest records it.

    \b
    Example:
      tuneworthy data export --format trl
      tuneworthy data export --format llama_factory --out faq
    """
    project = load(root)
    version = open_version(Folder(project.root))
    state = state_of(project.root / FILE_NAME, version.id)
    folder = out or own_path(project.root, f"dataset-{version.id[:8]}-{name}")
    with writing_to(folder):
        paths, manifest = export_version(version, name, folder, seed=project.split.seed, review=state)
    print_result({"path": str(folder), **asdict(manifest)}, _say, paths, manifest)


def _say(paths: Paths, manifest: DatasetManifest) -> None:
    note(*manifest.notes)
    for reason, n in manifest.left_out.items():
        say(f"  dropped: {count(n, 'row')} ({reason})")
    say(", ".join(f"{split}: {n} rows" for split, n in manifest.n_rows.items()))
    say(*paths)
