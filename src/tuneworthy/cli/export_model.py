"""`tuneworthy export gguf`, `ollama`, `card`."""

from pathlib import Path

import click

from tuneworthy.cli.options import (
    json_option,
    note,
    print_result,
    project_option,
    say,
    writing_to,
)
from tuneworthy.config import load
from tuneworthy.providers.gguf_writer import WRITTEN
from tuneworthy.report.model_card import model_card
from tuneworthy.report.write import write_text
from tuneworthy.shadow.releases import record_release
from tuneworthy.ship.ancestry import lineage
from tuneworthy.ship.gguf import FILE, K_QUANTS, export_gguf
from tuneworthy.ship.ollama import export_ollama
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import open_artifact
from tuneworthy.trust import own_path


@click.command("gguf")
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
        source = lineage(store)[1] if untouched else open_artifact(store, "merged", None)
        made = export_gguf(store, source, file_type, say=note)
    path = made.folder / FILE
    print_result(
        {"id": made.id, "path": str(path), **made.manifest},
        say,
        f"gguf {made.id} ({file_type}, {path.stat().st_size / 2**20:.0f} MiB)\n{path}",
    )
    note(f"Next: tuneworthy {'run --rung fine_tune' if untouched else 'train'}")


@click.command("ollama")
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


@click.command("card")
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
