"""Merges an adapter into the weights that it was trained on; of all weights, rounds them to 16 bits.

An adapter that was trained over a 4-bit base (QLoRA) learned to correct the dequantised weights, so it is merged into
these: on the original weights it would correct an error that they do not have.
"""

from pathlib import Path

from tuneworthy.providers.chat_template import template_sha256
from tuneworthy.providers.model_safety import read_config, template_of
from tuneworthy.ship.ancestry import lineage
from tuneworthy.ship.merged_weights import all_trained, base_in_training, check_sixteen_bit, dtype_of, merge_folder
from tuneworthy.store.artifacts import Artifact, write_artifact
from tuneworthy.store.folder import Folder
from tuneworthy.store.frozen import scratch
from tuneworthy.types import Say


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
