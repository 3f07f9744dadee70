"""Merges an adapter into the 16-bit base that it was trained against, tensor by tensor.

Never into 4-bit: there the sum is rounded to 16 values a block, and most of what was learned falls below the rounding
(PEFT itself warns). An adapter that was trained over a 4-bit base (QLoRA) learned to mend *that* base, so it is merged
into the original weights and into the dequantised ones, both are measured against what was trained, and the nearer one
stays (see `qlora`).

Source: facts.md A5; unsloth-zoo PR #810 (no route is right for every model: measure).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from tuneworthy.errors import ModelError, UserError
from tuneworthy.providers.chat_template import template_sha256
from tuneworthy.providers.model_safety import INDEX, read_config, template_of, tensors_of
from tuneworthy.providers.weights import FLOATS, Place, from_float32, read_tensors, to_float32, write_tensors
from tuneworthy.ship.lora import LoraAdapter, read_adapter
from tuneworthy.store.artifacts import Artifact, open_artifact, write_artifact
from tuneworthy.store.folder import Folder, write_atomic
from tuneworthy.store.frozen import scratch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Say = Callable[[str], None]
TOKENIZER_FILES: Final = (
    "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json", "added_tokens.json",
    "tokenizer.model", "vocab.json", "merges.txt",
)  # fmt: skip
_COPIED: Final = ("config.json", "generation_config.json")
_EMBEDDINGS: Final = ("embed_tokens.weight", "wte.weight")
_HEAD: Final = "lm_head.weight"


@dataclass(slots=True)
class Rounding:
    """What rounding to 16 bit took of the changes.

    Attributes:
        errors: Length of (what was stored - what was meant) over the length of the change, one a weight.
    """

    errors: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float | int]:
        """Return the median and the worst share that was lost, with n."""
        ordered = sorted(self.errors)
        return {"n": len(ordered), "median": ordered[len(ordered) // 2], "worst": ordered[-1]} if ordered else {"n": 0}


def lineage(store: Folder, adapter: str | None = None, base: str | None = None) -> tuple[Artifact, Artifact]:
    """Return the adapter (the latest if not named) and the base that it was trained against, both as they were made.

    Args:
        store: The project's folder. adapter, base: Starts of ids.

    Raises:
        UserError: One is not there or was changed, or `base` is not the one.
    """
    found = open_artifact(store, "adapter", adapter)
    if found.parent is None:
        raise UserError(f"expected an adapter that names its base, got {found.id} without one", hint="train it again")
    if base is not None and open_artifact(store, "base", base).id != found.parent:
        raise UserError(
            f"expected the base {found.parent}, against which {found.id} was trained, got {base} (cause: wrong_base)",
            hint="leave --base out",
        )
    return found, open_artifact(store, "base", found.parent)


def merge(store: Folder, adapter: str | None = None, base: str | None = None, *, say: Say = lambda _: None) -> Artifact:
    """Merge an adapter of the project into its base and return the artifact.

    Args:
        store: The project's folder; the caller holds the lock.
        adapter, base: Starts of ids; the latest adapter, and what it was trained against, if not named.
        say: Gets a sentence now and then.

    Raises:
        UserError: No such artifacts, the wrong base, a base in 4-bit, or an adapter that does not fit.
    """
    trained, under = lineage(store, adapter, base)
    check_sixteen_bit(under.folder)
    from tuneworthy.ship.nf4 import seen_in_training

    with seen_in_training(store, trained, under, say) as seen:
        route: Mapping[str, Any] = {"name": "original"}
        source = under.folder
        if seen != under.folder:
            from tuneworthy.ship.qlora import choose_route

            route, source = choose_route(store, trained, under, seen, say)
        made = _write(store, trained, source, route)
    lost = made.manifest["rounding"]
    say(f"merged {lost['n']} weights; rounding took {lost.get('median', 0):.2%} of a change in the median")
    return made


def _write(store: Folder, trained: Artifact, source: Path, route: Mapping[str, Any]) -> Artifact:
    """Write the artifact; what is measured while its files are written stands in its manifest."""
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


def merge_folder(adapter: Path, base: Path, target: Path) -> Rounding:
    """Write the merged model of two folders into the empty folder `target`; memory holds one weight at a time.

    Raises:
        ModelError: A file that may not be loaded.
        UserError: The base is in 4-bit, or the adapter changes what the base does not have, or in another shape.
    """
    check_sixteen_bit(base)  # every way to a merged model comes by here
    lora, tensors = read_adapter(adapter), tensors_of(base)
    config = read_config(base / "config.json")
    lora, added = _untied(lora, tensors, config)
    _check_fit(lora, tensors, added, base)
    rounding = Rounding()
    for name in _COPIED:
        if (base / name).is_file():
            shutil.copyfile(base / name, target / name)
    copy_tokenizer(adapter, base, target)
    for path in {place.path: None for place in tensors.values()}:
        _merge_file(lora, {n: p for n, p in tensors.items() if p.path == path}, added, target / path.name, rounding)
        added = {}
    if (base / INDEX).is_file():
        _write_index(target)
    _fit_config(config, lora, tensors, target)
    return rounding


def _write_index(target: Path) -> None:
    """Write which weight lies in which file."""
    places = {name: path.name for path in sorted(target.glob("*.safetensors")) for name in read_tensors(path)}
    size = sum(path.stat().st_size for path in target.glob("*.safetensors"))
    document = {"metadata": {"total_size": size}, "weight_map": places}
    write_atomic(target / INDEX, orjson.dumps(document, option=orjson.OPT_INDENT_2))


def _merge_file(
    lora: LoraAdapter, tensors: Mapping[str, Place], added: Mapping[str, Place], path: Path, rounding: Rounding
) -> None:
    """Write one file of the merged model; `added` are weights that the base has not."""

    def shapes() -> Iterator[tuple[str, str, tuple[int, ...]]]:
        for name, place in tensors.items():
            yield name, place.dtype, lora.whole[name].shape if name in lora.whole else place.shape
        dtype = next(iter(tensors.values())).dtype
        for name, place in added.items():
            yield name, dtype, place.shape

    def content(name: str) -> bytes:
        if name in added:
            return from_float32(added[name].read(), next(iter(tensors.values())).dtype)
        place = tensors[name]
        if name not in lora.pairs and name not in lora.whole:
            return place.raw()
        weight = place.read()
        changed = lora.changed(name, weight)
        raw = from_float32(changed, place.dtype)
        stored = to_float32(raw, place.dtype).reshape(changed.shape)
        _check_finite(name, stored)
        if changed.shape == weight.shape:
            rounding.errors.append(_share(stored - changed, changed - weight))
        return raw

    write_tensors(path, shapes(), content)


def _check_finite(name: str, stored: NDArray[np.float32]) -> None:
    import numpy as np

    if not np.isfinite(stored).all():
        raise UserError(f"{name}: expected finite weights, got numbers that the base's type cannot hold",
                        hint="train again with a lower learning rate")  # fmt: skip


def _share(error: NDArray[np.float32], change: NDArray[np.float32]) -> float:
    import numpy as np

    length = float(np.linalg.norm(change))
    return float(np.linalg.norm(error)) / length if length else 0.0


def _untied(
    lora: LoraAdapter, tensors: Mapping[str, Place], config: Mapping[str, Any]
) -> tuple[LoraAdapter, dict[str, Place]]:
    """Settle a head that the base ties to its embeddings: left out if the adapter saved the same, else a new weight.

    Returns:
        The adapter, and weights that the base does not have.
    """
    head = lora.whole.get(_HEAD)
    if head is None or _HEAD in tensors:
        return lora, {}
    rest = {name: place for name, place in lora.whole.items() if name != _HEAD}
    rows = next((place for name, place in rest.items() if name.endswith(_EMBEDDINGS)), None)
    if config.get("tie_word_embeddings") and rows is not None and rows.raw() == head.raw():
        return LoraAdapter(lora.config, lora.pairs, rest), {}
    return LoraAdapter(lora.config, lora.pairs, rest), {_HEAD: head}


def _check_fit(lora: LoraAdapter, tensors: Mapping[str, Place], added: Mapping[str, Place], base: Path) -> None:
    """Refuse an adapter that changes a weight which the base does not have, or of another shape."""
    if not lora.pairs and not lora.whole and not added:
        raise UserError("expected an adapter that changes weights, got one that is empty", hint="train it again")
    for name, pair in lora.pairs.items():
        _known(name, tensors, base)
        rows, columns = pair.b.shape[0], pair.a.shape[1]
        shape = (columns, rows) if pair.embedding else (rows, columns)
        if tensors[name].shape != shape:
            raise UserError(f"{name}: expected an adapter for the shape {tensors[name].shape}, got one for {shape}"
                            " (cause: wrong_base)", hint="merge into the base it was trained against")  # fmt: skip
    for name, place in lora.whole.items():
        _known(name, tensors, base)
        if place.shape[1:] != tensors[name].shape[1:]:
            raise UserError(f"{name}: expected the shape {tensors[name].shape}, got {place.shape} (cause: wrong_base)")


def _known(name: str, tensors: Mapping[str, Place], base: Path) -> None:
    if name not in tensors:
        raise UserError(
            f"expected weights of {base} in the adapter, got {name[:100]}, which it does not have"
            " (cause: adapter_not_applied)",
            hint="the adapter was trained on a model whose weights are named otherwise",
        )


def _fit_config(config: dict[str, Any], lora: LoraAdapter, tensors: Mapping[str, Place], target: Path) -> None:
    """Write what the merged weights changed of the config: the number of tokens, a head of its own."""
    embeddings = [name for name in lora.whole if name.endswith(_EMBEDDINGS)]
    fitted = dict(config)
    for name in embeddings:
        fitted["vocab_size"] = lora.whole[name].shape[0]
    if _HEAD in tensors_of(target) and _HEAD not in tensors:
        fitted["tie_word_embeddings"] = False
    if fitted != config:
        write_atomic(target / "config.json", orjson.dumps(fitted, option=orjson.OPT_INDENT_2))


def copy_tokenizer(adapter: Path, base: Path, target: Path) -> None:
    """Copy the tokenizer and the template that were trained with: the adapter's where it has them, else the base's."""
    source = adapter if (adapter / "tokenizer.json").is_file() else base
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    if template_of(target) is None and (template := template_of(adapter) or template_of(base)) is not None:
        (target / "chat_template.jinja").write_text(template, encoding="utf-8")


def check_sixteen_bit(folder: Path) -> None:
    """Refuse a base that is quantised.

    Raises:
        UserError: Its config says so, or weights of it are of no type of 16 or 32 bit.
    """
    config = read_config(folder / "config.json")
    quantised = config.get("quantization_config")
    if quantised:
        kind = quantised.get("quant_method", "?") if isinstance(quantised, dict) else "?"
        raise UserError(
            f"{folder}: expected a base in 16 bit, got one that is quantised ({kind}): most of what was learned would"
            " fall below the rounding (cause: merged_in_4bit)",
            hint="merge into the 16-bit base it was made from",
        )
    for name, place in tensors_of(folder).items():
        if place.dtype not in FLOATS:
            raise UserError(f"{folder}: expected weights in 16 bit, got {name[:80]} in {place.dtype}"
                            " (cause: merged_in_4bit)")  # fmt: skip


def dtype_of(folder: Path) -> str:
    """Return the type that most bytes of a model are in.

    Raises:
        ModelError: It has no weights.
    """
    sizes: dict[str, int] = {}
    for place in tensors_of(folder).values():
        sizes[place.dtype] = sizes.get(place.dtype, 0) + place.end - place.start
    if not sizes:
        raise ModelError(f"{folder}: expected weights, got none")
    return max(sizes, key=lambda dtype: sizes[dtype])
