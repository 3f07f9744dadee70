"""`tuneworthy serve`."""

import shlex
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from tuneworthy import processes
from tuneworthy.cli.export import write_export
from tuneworthy.cli.interruption import run_async
from tuneworthy.cli.options import POSITIVE, note, project_option, say
from tuneworthy.config import Project, load
from tuneworthy.dataset.freeze import latest_version
from tuneworthy.errors import OutsideFault, UserError
from tuneworthy.exports.classifier import export_classifier
from tuneworthy.providers.address import free_port
from tuneworthy.shadow.releases import Release, all_releases, open_release, rolled_back, start_release
from tuneworthy.ship.gguf import FILE
from tuneworthy.ship.served import NAME, ServingChoice, choose, llama_cpp, noted
from tuneworthy.store import Folder, write_atomic
from tuneworthy.store.artifacts import KINDS


@click.command("serve")
@click.option("--what", type=click.Choice(["gguf", "merged", "adapter", "classifier"]),
              help="Latest model of this form (merged, adapter: print the command for vLLM).")  # fmt: skip
@click.option("--release", "number", type=POSITIVE, help="Number of a release (default: the current one).")
@click.option("--port", type=click.IntRange(1, 65535), help="Port on 127.0.0.1 (default: a free one).")
@project_option
def command(what: str | None, number: int | None, port: int | None, root: Path) -> None:
    """Serve the fine-tuned model or the classifier until Ctrl-C.

    The server listens on 127.0.0.1 and stops when this command ends. It serves the current release: the one that
    `serve` started last; before any start, the first one. --release starts another. A release that a canary rolled back
    is not current. Without releases, and with --what gguf, it serves the latest GGUF file. Its hash is checked first.

    While it runs, .tuneworthy/server-PORT.json records its model, so that a run in another terminal can use it as
    `[serve] model`.
    With --what classifier, the classifier that `export classifier` picks is exported, checked and served.

    tuneworthy does not start vLLM: run the command that --what merged prints, then check that server with `tuneworthy
    train --only parity --server tuned@URL`.

    \b
    Example:
      tuneworthy serve
      tuneworthy serve --release 1
      tuneworthy serve --what classifier --port 8000
      tuneworthy serve --what merged --port 8000
    """
    project = load(root)
    store = Folder(project.root)
    port = port or free_port()
    if number and what:
        raise UserError("--release and --what exclude each other: a release has one form.", hint="Omit --what.")
    if what == "classifier":
        _serve_classifier(project, store, port)
        return
    release, made = open_release(store, number) if number or (not what and all_releases(store)) else (None, None)
    if release:
        note(
            f"Release {release.number} of {release.created[:10]}.",
            *[f"It was rolled back. {why}" for why in [rolled_back(store, release.variant)] if why],
        )
    choice = choose(store, made.kind if made else what or "gguf", port=port, made=made)  # type: ignore[arg-type]
    if choice.artifact.kind == "gguf":
        _serve(store, choice, port, release)
        return
    say(choice.line)
    if release:
        start_release(store, release)
    if choice.artifact.kind == "merged" and (version := latest_version(store)):
        script = store.path / "vllm_quantise.py"
        write_atomic(script, (Path(__file__).parents[1] / "ship" / "vllm_quantise.txt").read_bytes())
        note(
            "To quantise it first (FP8, W8A8 or W4A16; not run here): "
            + shlex.join(map(str, ("python", script, choice.artifact.folder, version.folder / "rows.jsonl")))
            + " W4A16 tuned-W4A16"
        )
    note(f"Next, while it runs: tuneworthy train --only parity --server {NAME}@http://127.0.0.1:{port}")


def _serve(store: Folder, choice: ServingChoice, port: int, release: Release | None) -> None:
    with (
        _until_stopped(choice.line),
        llama_cpp(choice.artifact.folder / FILE, store.logs / "serve.log", choice.context, port=port) as engine,
        noted(store, choice.artifact, engine.address),
    ):
        if release:
            start_release(store, release)
        note(
            f"Serving the {KINDS['gguf']} {choice.artifact.id} at {engine.address}/v1 as {NAME}. Press Ctrl-C to stop."
            f"\nAPI key, valid until the server stops: {engine.api_key}"
        )
        _watch(lambda: bool(engine.alive), "llama.cpp", engine.log)


def _serve_classifier(project: Project, store: Folder, port: int) -> None:
    folder = store.path / "classifier"
    export = run_async(write_export(export_classifier, project, folder))
    command = processes.python(str(folder.resolve() / "server.py"), str(port))
    log = store.logs / "classifier.log"
    log.parent.mkdir(exist_ok=True)
    with _until_stopped(shlex.join(command)), log.open("wb") as file:
        child = processes.start(command, file)
        try:
            address = f"http://127.0.0.1:{port}"
            note(
                f"Serving the classical baseline {export.name} at {address}/predict and {address}/v1. Press Ctrl-C to "
                "stop."
            )
            _watch(lambda: child.poll() is None, "server.py", log)
        finally:
            child.terminate()
            child.wait()


@contextmanager
def _until_stopped(command: str) -> Iterator[None]:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    note(f"To start the server without tuneworthy, run: {command}")
    try:
        yield
    except KeyboardInterrupt:
        note("Stopped.")


def _watch(alive: Callable[[], bool], name: str, log: Path) -> None:
    while alive():
        time.sleep(0.5)
    raise OutsideFault(f"{name} stopped unexpectedly.", hint=f"See the log in {log}.")
