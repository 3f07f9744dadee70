"""Merges an adapter into the weights that it was trained on; of all weights, rounds them to 16 bits.

An adapter that was trained over a 4-bit base (QLoRA) learned to correct the dequantised weights, so it is merged into
these: on the original weights it would correct an error that they do not have. The lineage of an artifact gives the
adapter and base of a merge, and the context length that its rows need.
"""

from pathlib import Path

from tuneworthy.errors import UserError
from tuneworthy.providers.chat_template import template_sha256
from tuneworthy.providers.model_safety import read_config, template_of
from tuneworthy.ship.merged_weights import (
    TRAIN_AGAIN,
    all_trained,
    base_in_training,
    check_sixteen_bit,
    dtype_of,
    merge_folder,
)
from tuneworthy.store.artifacts import Artifact, Manifest, find_artifact, open_artifact, write_artifact
from tuneworthy.store.folder import Folder
from tuneworthy.store.frozen import scratch
from tuneworthy.types import Say

# Tokens that a chat has room for at least, if the model can read as many.
LEAST = 4096
# Longer contexts are rounded up to its multiple.
ROUND = 1024


def lineage(store: Folder, adapter: str | None = None) -> tuple[Artifact, Artifact]:
    """Return an adapter (the latest if not named) and the base that it was trained on, both unchanged since.

    Args:
        store: The project's folder.
        adapter: Start of the adapter's id.

    Raises:
        UserError: One is missing or was changed.
    """
    trained = open_artifact(store, "adapter", adapter)
    if trained.parent is None:
        raise UserError(f"The adapter {trained.id} does not record its base model.", hint=TRAIN_AGAIN)
    return trained, open_artifact(store, "base", trained.parent)


def ancestors(store: Folder, made: Artifact) -> dict[str, Artifact]:
    """Return a model and all models that it was made from, by kind: gguf, merged, adapter, base."""
    chain = [made]
    while len(chain) < 4 and (parent := chain[-1].parent) and (artifact := find_artifact(store, parent)) is not None:
        chain.append(artifact)
    return {one.kind: one for one in chain}


def context_of(store: Folder, made: Artifact, least: int = LEAST) -> int:
    """Return the tokens to keep room for: the longest training row and an answer, `least` at least.

    The limit of the model would be too much: room for 131,072 tokens of Llama 3.1 8B takes 16 GiB.

    Args:
        store: The project's folder.
        made: An adapter, or a model that was made from an adapter.
        least: Smallest context.
    """
    chain = ancestors(store, made)
    about = chain["adapter"].about if "adapter" in chain else None
    tokens = longest_row(about) + int((about.prompt or {}).get("max_tokens", 0)) if about else 0
    needed = max(least, -(-tokens // ROUND) * ROUND)
    config = next((path for link in chain.values() if (path := link.folder / "config.json").is_file()), None)
    return min(needed, int(read_config(config).get("max_position_embeddings") or needed)) if config else needed


def longest_row(about: Manifest) -> int:
    """Return the tokens of the longest row that a run took, by its adapter's manifest; 0 if that is not recorded."""
    return int(about.settings.get("max_length") or about.rows.longest)


def merge(
    store: Folder,
    adapter: str | None = None,
    *,
    say: Say = lambda _: None,
) -> Artifact:
    """Merge an adapter of the project into its base and return the artifact; all weights are rounded to 16 bits.

    Args:
        store: The project's folder; the caller has the lock.
        adapter: Start of the adapter's id; the latest if not named.
        say: Gets a sentence now and then.

    Raises:
        UserError: No such artifacts, a base in 4-bit, or an adapter that does not fit.
    """
    trained, original = lineage(store, adapter)
    check_sixteen_bit(original.folder)
    with base_in_training(store, trained, original, say) as source:
        made = _write(store, trained, source, "original" if source == original.folder else "dequantised")
    n = made.about.n_changed
    say(
        f"There is no adapter, because all weights were trained: rounded {n} tensors to the dtype of the base model."
        if all_trained(trained.folder)
        else f"Merged the adapter into {n} weight matrices."
    )
    return made


def _write(store: Folder, trained: Artifact, source: Path, route: str) -> Artifact:
    with scratch(store.path / "models", ".part-merge") as folder:
        n = merge_folder(trained.folder, source, folder)
        config = read_config(folder / "config.json")
        template = template_of(folder)
        about = {
            "dtype": dtype_of(folder),
            "route": {"name": route},
            "n_changed": n,
            "architecture": (config.get("architectures") or ["?"])[0],
            "template_sha256": template_sha256(template) if template is not None else None,
        }

        def fill(target: Path) -> None:
            for path in folder.iterdir():
                path.rename(target / path.name)

        return write_artifact(store, "merged", fill, parent=trained.id, about=about)
