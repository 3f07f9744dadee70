"""`tuneworthy parity`."""

from pathlib import Path

import click

from tuneworthy.cli.options import POSITIVE, adapter_option, json_option, note, print_result, project_option, say
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.ship.parity.request import request_of
from tuneworthy.ship.parity.run import check_parity, serving_proof
from tuneworthy.ship.parity.server_forms import VllmForm
from tuneworthy.store import Folder
from tuneworthy.types import JsonObject, Texts

FORMS = ("merged", "gguf")
# Exit status.
STATUS = {"pass": 0, "fail": 3, "unknown": 4}


@click.command("parity")
@adapter_option
@click.option("--form", "forms", multiple=True, type=click.Choice(FORMS), help="Form to compare (default: all).")
@click.option("--url", help="Address of a running vLLM server to compare too, without /v1.")
@click.option("--served-model", help="Model (or adapter) name on that server.")
@click.option("--max-lora-rank", type=POSITIVE, help="Rank limit of that server, if it applies the adapter.")
@click.option("--prompts", type=POSITIVE, default=200, show_default=True, help="Number of training rows to use.")
@project_option
@json_option
def command(
    adapter: str | None, forms: Texts, url: str | None, served_model: str | None,
    max_lora_rank: int | None, prompts: int, root: Path,
) -> int:  # fmt: skip
    """Prove that the served model is the trained model.

    Compares the adapter on its base with the merged model, with its GGUF files, and with a server.

    Compares the template, prompt token IDs, end of turn, next-token distributions and greedy answers. It also checks
    facts that only the adapter can know: training answers that the adapter gives word by word and the base does not. If
    a check fails, the command names the cause and exits with status 3. If there are too few answers to show that no
    form is worse by the margin, parity is unknown and the exit status is 4. The result is stored in
    .tuneworthy/parity.json, and with --url in .tuneworthy/serving.json too.

    \b
    Example:
      tuneworthy parity
      tuneworthy parity --url http://127.0.0.1:8000 --served-model tuned
    """
    project = load(root)
    store = Folder(project.root)
    if url is not None and served_model is None:
        raise UserError("--url needs --served-model.", hint="Set --served-model to the model's name on that server.")
    asked = request_of(
        project, adapter, forms or None,
        served=VllmForm(url.rstrip("/").removesuffix("/v1"), served_model) if url and served_model else None,
        max_rank=max_lora_rank if url else None, n_prompts=prompts,
    )  # fmt: skip
    if asked.merged is None and not asked.ggufs and asked.served is None:
        raise UserError(
            f"There is no merged or exported model to compare with the adapter {asked.adapter.id}.",
            hint="Run `tuneworthy merge`, then `tuneworthy export gguf`.",
        )
    with store.lock(note):
        document = check_parity(store, asked, say=note)
        if asked.served is not None:
            store.write("serving", serving_proof(asked, document))
    print_result(document, _say, document)
    return STATUS[document["status"]]


def _say(document: JsonObject) -> None:
    for one in document["checks"]:
        say(f"{one['status']:8}{one['name']:15}{one['detail']}")
    if document["status"] == "pass":
        say(f"parity: pass ({document['n_prompts']} prompts)")
    elif document["cause"]:
        name = next(one["name"] for one in document["checks"] if one["status"] == "fail")
        say(f"parity: fail (first failed check: {name}; cause: `{document['cause']}`)")
    else:
        say(f"parity: unknown. {document['detail']}")
