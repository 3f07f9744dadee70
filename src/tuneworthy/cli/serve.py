"""`tuneworthy serve`."""

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from tuneworthy.cli import messages
from tuneworthy.cli.export import write_classifier
from tuneworthy.cli.interruption import run_async
from tuneworthy.cli.options import json_option, note, print_json, project_option
from tuneworthy.cli.parity import STATUS
from tuneworthy.config import Project, load
from tuneworthy.errors import OutsideFault, UserError
from tuneworthy.providers.vllm_server import free_port
from tuneworthy.ship.parity.request import request_of
from tuneworthy.ship.serve import NAME, ServingChoice, check_serving, choose, llama_cpp, vllm
from tuneworthy.ship.served import noted
from tuneworthy.store import Folder
from tuneworthy.store.messages import KINDS
from tuneworthy.trust import child_environment


@click.command("serve")
@click.option("--engine", type=click.Choice(["llama_cpp", "vllm"]), default="llama_cpp", show_default=True,
              help="Embedded llama.cpp, or an installed vLLM.")  # fmt: skip
@click.option("--what", type=click.Choice(["gguf", "merged", "adapter", "classifier"]),
              help="Form to serve (default: gguf with llama_cpp, merged with vllm).")  # fmt: skip
@click.option("--id", "identity", help="ID of the model, or the start of it (default: latest).")
@click.option("--port", type=click.IntRange(1, 65535), help="Port on 127.0.0.1 (default: a free one).")
@click.option("--vllm", "executable", default="vllm", show_default=True, help="vLLM executable, by name or path.")
@click.option(
    "--max-lora-rank",
    type=click.IntRange(min=1),
    help="Rank limit of vLLM (default: the smallest that fits the adapter).",
)
@click.option("--print", "only_print", is_flag=True, help="Print the command line instead of running it.")
@click.option("--check", is_flag=True, help="Compare vLLM with the adapter, then stop.")
@project_option
@json_option
def command(
    engine: str, what: str | None, identity: str | None, port: int | None, executable: str, max_lora_rank: int | None,
    only_print: bool, check: bool, root: Path, as_json: bool,
) -> int:  # fmt: skip
    """Serve the fine-tuned model or the classifier until Ctrl-C.

    The server listens on 127.0.0.1 and stops when this command ends. vLLM starts with neutral sampling and a rank limit
    that fits the adapter. With --check, the server and the adapter get the same prompts. The result is stored in
    .tuneworthy/serving.json, and the exit status is 3 if the answers differ. While the server runs,
    .tuneworthy/served.json records which model it serves, so that a run in another terminal can use it as `[serve]
    model`. With --what classifier, the classifier that `export classifier` picks is exported, checked and served.

    \b
    Example:
      tuneworthy serve
      tuneworthy serve --what classifier --port 8000
      tuneworthy serve --engine vllm --what adapter --check
    """
    project = load(root)
    store = Folder(project.root)
    port = port or free_port()
    if check and engine != "vllm":
        raise UserError(
            "--check needs --engine vllm.",
            hint="For the GGUF file, run `tuneworthy parity`, which uses the llama.cpp that serves the file.",
        )
    if what == "classifier":
        _serve_classifier(project, store, port, only_print)
        return 0
    kind = what or ("gguf" if engine == "llama_cpp" else "merged")
    choice = choose(store, engine, kind, identity, port=port, executable=executable, max_rank=max_lora_rank)  # type: ignore[arg-type]
    if only_print:
        click.echo(choice.line)
        return 0
    if check:
        return _check(project, store, choice, as_json)
    _serve(store, choice, port)
    return 0


def _check(project: Project, store: Folder, choice: ServingChoice, as_json: bool) -> int:
    adapter = choice.artifact.id if choice.what == "adapter" else choice.artifact.parent
    with store.lock(note):
        document = check_serving(store, choice, request_of(project, adapter, ()), say=note)
    if as_json:
        print_json(document)
    else:
        for one in document["checks"]:
            click.echo(f"{one['status']:8}{one['name']:15}{one['detail']}")
        click.echo(f"serving: {document['status']}. {document['detail']}")
    return STATUS[document["status"]]


def _serve(store: Folder, choice: ServingChoice, port: int) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    note(messages.say("serve_by_hand", command=choice.line))
    try:
        if choice.engine == "vllm":
            with vllm(choice, store.logs / "vllm.log") as server, noted(store, choice.artifact, "vllm", server.address):
                note(
                    messages.say(
                        "serving", kind=KINDS[choice.what], id=choice.artifact.id, address=server.address, name=NAME
                    )
                )
                _watch(lambda: server.alive, "vLLM", server.log)
        else:
            log = store.logs / "serve.log"
            with (
                llama_cpp(choice, log, port=port) as engine,
                noted(store, choice.artifact, "llama_cpp", engine.address),
            ):
                note(
                    messages.say(
                        "serving", kind=KINDS[choice.what], id=choice.artifact.id, address=engine.address, name=NAME
                    )
                )
                note(f"API key, valid until the server stops: {engine.api_key}")
                _watch(lambda: bool(engine.alive), "llama.cpp", engine.log)
    except KeyboardInterrupt:
        note(messages.say("serving_stopped"))


def _serve_classifier(project: Project, store: Folder, port: int, only_print: bool) -> None:
    """Export the classical winner, and run its server until Ctrl-C or SIGTERM."""
    folder = store.path / "classifier"
    export = run_async(write_classifier(project, folder))
    command = [sys.executable, str(folder / "server.py"), str(port)]
    if only_print:
        click.echo(shlex.join(command))
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    note(messages.say("serve_by_hand", command=shlex.join(command)))
    log = store.logs / "classifier.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file, env=child_environment()) as child:
        try:
            note(
                (
                    "Serving the classical baseline {name} at {address}/predict and {address}/v1. Press Ctrl-C to stop."
                ).format(name=export.name, address=f"http://127.0.0.1:{port}")
            )
            _watch(lambda: child.poll() is None, "server.py", log)
        except KeyboardInterrupt:
            note(messages.say("serving_stopped"))
        finally:
            child.terminate()


def _watch(alive: Callable[[], bool], name: str, log: Path) -> None:
    while alive():
        time.sleep(0.5)
    raise OutsideFault(f"{name} stopped unexpectedly.", hint=f"See the log in {log}.")
