"""Between base and tuned model: an adapter with a share of its strength, which forgets less and costs no training.

The weights of base plus scaled adapter lie on the line between the base and the tuned model. What is scaled is the
alpha of the adapter, so merging, exporting and parity see an adapter like any other.

Source: WiSE-FT, arXiv 2109.01903.
"""

import shutil
from pathlib import Path

import orjson

from tuneworthy.errors import UserError
from tuneworthy.providers.model_safety import number_of, patterns_of, read_config
from tuneworthy.ship.lora import all_trained, read_adapter
from tuneworthy.store.artifacts import Artifact, write_artifact
from tuneworthy.store.folder import Folder, write_atomic
from tuneworthy.types import content_hash

_OWN = frozenset({"format", "kind", "parent", "files", "times"})
CONFIG = "adapter_config.json"


def with_share(store: Folder, trained: Artifact, share: float) -> Artifact:
    """Return an adapter that changes the base by `share` of what `trained` does; written once.

    Args:
        store: The project's folder; the caller has the lock.
        trained: An adapter of low rank alone.
        share: Above 0, at most 1.

    Raises:
        UserError: Whole weights were trained, or DoRA, whose effect is not proportional to alpha.
    """
    if share == 1:
        return trained
    lora = None if all_trained(trained.folder) else read_adapter(trained.folder)
    if lora is None or lora.whole or any(pair.magnitude is not None for pair in lora.pairs.values()):
        raise UserError(
            (
                f"Only a share of adapter {trained.id} cannot be merged, because it trained whole weights or is a "
                "DoRA adapter."
            ),
            hint="Omit --share.",
        )
    config = read_config(trained.folder / CONFIG)
    config["lora_alpha"] = share * number_of(config.get("lora_alpha", 8), "lora_alpha")
    patterns = patterns_of(config, "alpha_pattern")
    config["alpha_pattern"] = {name: share * number_of(alpha, name) for name, alpha in patterns.items()}

    def fill(folder: Path) -> None:
        for name in trained.about.files:
            shutil.copyfile(trained.folder / name, folder / name)
        write_atomic(folder / CONFIG, orjson.dumps(config, option=orjson.OPT_INDENT_2))

    about = {key: value for key, value in trained.manifest.items() if key not in _OWN}
    settings = about["settings"]
    about["settings"] = {**settings, **({"alpha": share * settings["alpha"]} if "alpha" in settings else {})}
    about |= {"run": content_hash([about.get("run"), share]), "share": {"of": trained.id, "share": share}}
    return write_artifact(store, "adapter", fill, parent=trained.parent, about=about)
