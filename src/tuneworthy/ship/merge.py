"""Merges an adapter into the 16-bit base that it was trained on; of all weights, rounds them to 16 bits.

An adapter that was trained over a 4-bit base (QLoRA) learned to correct *that* base. It is merged into the original
weights and into the dequantised ones; both are measured against what was trained, and the nearer one stays (see
`qlora`): no route is right for every model (unsloth-zoo pull request 810).
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.errors import UserError
from tuneworthy.providers.chat_template import template_sha256
from tuneworthy.providers.model_safety import number_of, patterns_of, read_config, template_of
from tuneworthy.ship.ancestry import lineage
from tuneworthy.ship.lora import all_trained, read_adapter
from tuneworthy.ship.merged_weights import check_sixteen_bit, dtype_of, merge_folder
from tuneworthy.ship.qlora import base_in_training, choose_route
from tuneworthy.store.artifacts import Artifact, write_artifact
from tuneworthy.store.folder import Folder, write_atomic
from tuneworthy.store.frozen import scratch
from tuneworthy.types import content_hash

Say = Callable[[str], None]
# Parts of a manifest that each artifact has for itself.
_OWN = frozenset({"format", "kind", "parent", "files", "times"})
CONFIG = "adapter_config.json"


def merge(
    store: Folder,
    adapter: str | None = None,
    base: str | None = None,
    *,
    share: float = 1.0,
    examples: Path | None = None,
    say: Say = lambda _: None,
) -> Artifact:
    """Merge an adapter of the project into its base and return the artifact; all weights are rounded to 16 bits.

    Args:
        store: The project's folder; the caller has the lock.
        adapter: Start of the adapter's id; the latest if not named.
        base: Start of the id of the base; what the adapter was trained on if not named.
        share: Of what training changed that is kept; below 1, an adapter of that strength is written and merged.
        examples: The project's examples, for a run over 4-bit weights that took no frozen version.
        say: Gets a sentence now and then.

    Raises:
        UserError: No such artifacts, the wrong base, a base in 4-bit, or an adapter that does not fit.
    """
    trained, original = lineage(store, adapter, base)
    check_sixteen_bit(original.folder)
    trained = with_share(store, trained, share)
    with base_in_training(store, trained, original, say) as quantised:
        route: Mapping[str, Any] = {"name": "original"}
        source = original.folder
        if quantised != original.folder:
            route, source = choose_route(store, trained, original, quantised, say, examples=examples)
        made = _write(store, trained, source, route)
    lost = made.about.rounding
    full = all_trained(trained.folder)
    say(
        (
            f"There is no adapter to merge, because all weights were trained. Rounded {lost.n} weight tensors to "
            f"the dtype of the base model. In the median tensor, rounding lost {lost.median:.1%} of the "
            "change."
        )
        if full
        else (
            f"Merged the adapter into {lost.n} weight matrices. In the median matrix, rounding lost "
            f"{lost.median:.1%} of the change."
        )
    )
    return made


def _write(store: Folder, trained: Artifact, source: Path, route: Mapping[str, Any]) -> Artifact:
    with scratch(store.path / "models", ".part-merge") as folder:
        rounding = merge_folder(trained.folder, source, folder)
        config = read_config(folder / "config.json")
        template = template_of(folder)
        about = {
            "dtype": dtype_of(folder),
            "route": route,
            "rounding": rounding.summary(),
            "architecture": (config.get("architectures") or ["?"])[0],
            "template_sha256": template_sha256(template) if template is not None else None,
        }

        def fill(target: Path) -> None:
            for path in folder.iterdir():
                path.rename(target / path.name)

        return write_artifact(store, "merged", fill, parent=trained.id, about=about)


def with_share(store: Folder, trained: Artifact, share: float) -> Artifact:
    """Return an adapter that changes the base by `share` of what `trained` does; written once.

    The weights of base plus scaled adapter lie on the line between the base and the tuned model (WiSE-FT, arXiv
    2109.01903). Only the adapter's alpha is scaled, so merging, exporting and parity see an adapter like any other.

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
