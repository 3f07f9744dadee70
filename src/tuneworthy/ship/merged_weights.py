"""Writes base plus adapter as 16-bit weights, tensor by tensor; one weight at a time is in memory.

Never into 4-bit: there the sum is rounded to 16 values a block, and most of the training falls below the rounding
(PEFT itself warns).
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from tuneworthy.errors import ModelError, UserError
from tuneworthy.providers.model_safety import INDEX, read_config, template_of, tensors_of
from tuneworthy.providers.weights import FLOATS, Place, from_float32, read_tensors, to_float32, write_tensors
from tuneworthy.ship import messages
from tuneworthy.ship.lora import LoraAdapter, read_adapter
from tuneworthy.store.folder import write_atomic
from tuneworthy.types import JsonObject

# What torch calls the types of safetensors.
TORCH_DTYPES: Final = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
TOKENIZER_FILES: Final = (
    "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json", "added_tokens.json",
    "tokenizer.model", "vocab.json", "merges.txt",
)  # fmt: skip
_COPIED: Final = ("config.json", "generation_config.json")
_EMBEDDINGS: Final = ("embed_tokens.weight", "wte.weight")
_HEAD: Final = "lm_head.weight"


@dataclass(slots=True)
class Rounding:
    """What rounding to 16 bits took of the changes.

    Attributes:
        errors: Length of (stored - exact) over the length of the change, one a weight.
    """

    errors: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float | int]:
        """Return the median and the worst share that was lost, with n."""
        ordered = sorted(self.errors)
        return {"n": len(ordered), "median": ordered[len(ordered) // 2], "worst": ordered[-1]} if ordered else {"n": 0}


def merge_folder(adapter: Path, base: Path, target: Path) -> Rounding:
    """Write the merged model of two folders into the empty folder `target`; one weight at a time is in memory.

    Raises:
        ModelError: A file that may not be loaded.
        UserError: The base is in 4-bit, or the adapter changes a weight that the base lacks, or has in another shape.
    """
    check_sixteen_bit(base)  # every way to a merged model comes by here
    lora, tensors = read_adapter(adapter), tensors_of(base)
    config = read_config(base / "config.json")
    lora, added = _untied(lora, tensors, config)
    if lora.full:  # all weights of the base must have been trained; a copy of tied embeddings is left out
        tied = {_HEAD} if config.get("tie_word_embeddings") else set()
        for name in tensors.keys() - lora.whole.keys() - tied:
            raise UserError(f"The trained model lacks {name}, which is in {base}.", hint=messages.TRAIN_AGAIN)
        tensors = {name: place for name, place in tensors.items() if name in lora.whole}
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
        places = {name: path.name for path in sorted(target.glob("*.safetensors")) for name in read_tensors(path)}
        size = sum(path.stat().st_size for path in target.glob("*.safetensors"))
        document = {"metadata": {"total_size": size}, "weight_map": places}
        write_atomic(target / INDEX, orjson.dumps(document, option=orjson.OPT_INDENT_2))
    _fit_config(config, lora, tensors, target)
    return rounding


def _merge_file(
    lora: LoraAdapter, tensors: Mapping[str, Place], added: Mapping[str, Place], path: Path, rounding: Rounding
) -> None:

    dtype = next(iter(tensors.values())).dtype

    def shapes() -> Iterator[tuple[str, str, tuple[int, ...]]]:
        for name, place in tensors.items():
            yield name, place.dtype, lora.whole[name].shape if name in lora.whole else place.shape
        for name, place in added.items():
            yield name, dtype, place.shape

    def content(name: str) -> bytes:
        if name in added:
            return from_float32(added[name].read(), dtype)
        place = tensors[name]
        if name not in lora.pairs and name not in lora.whole:
            return place.raw()
        weight = place.read()
        changed = lora.changed(name, weight)
        raw = from_float32(changed, place.dtype)
        stored = to_float32(raw, place.dtype).reshape(changed.shape)
        if not np.isfinite(stored).all():
            raise UserError(
                f"{name}: the merged weight has values that the dtype of the base model cannot represent.",
                hint="Train again with a lower learning rate.",
            )
        if changed.shape == weight.shape:
            length = float(np.linalg.norm(changed - weight))
            rounding.errors.append(float(np.linalg.norm(stored - changed)) / length if length else 0.0)
        return raw

    write_tensors(path, shapes(), content)


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
    if not lora.pairs and not lora.whole and not added:
        raise UserError("The adapter does not change any weights.", hint=messages.TRAIN_AGAIN)
    shapes = {name: pair.shape for name, pair in lora.pairs.items()}
    shapes |= {name: place.shape for name, place in lora.whole.items()}
    for name, shape in shapes.items():
        if name not in tensors:
            raise UserError(
                f"The adapter changes {name[:100]}, which is not in {base}, so a merge would not apply it.",
                hint=messages.MERGE_INTO_OWN_BASE,
            )
        first = 0 if name in lora.pairs else 1  # embeddings that were trained whole may have more rows
        if shape[first:] != tensors[name].shape[first:]:
            raise UserError(
                (
                    f"{name}: the adapter needs a weight of shape {shape}, but the base model has "
                    f"{tensors[name].shape}. The adapter belongs to a different base model."
                ),
                hint=messages.MERGE_INTO_OWN_BASE,
            )


def _fit_config(config: JsonObject, lora: LoraAdapter, tensors: Mapping[str, Place], target: Path) -> None:
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
        UserError: Its config says so, or it has weights of other types than 16 or 32 bits.
    """
    quantised = read_config(folder / "config.json").get("quantization_config")
    if quantised:
        kind = quantised.get("quant_method", "unknown") if isinstance(quantised, dict) else "unknown"
        raise UserError(
            (
                f"The weights in {folder} are quantised ({kind}). A merge would round away most of what the adapter "
                "learned."
            ),
            hint=messages.MERGE_INTO_16BIT,
        )
    for name, place in tensors_of(folder).items():
        if place.dtype not in FLOATS:
            raise UserError(
                f"{folder}: {name[:80]} is stored as {place.dtype}, not as a 16-bit or 32-bit float.",
                hint=messages.MERGE_INTO_16BIT,
            )


def dtype_of(folder: Path) -> str:
    """Return the type that most bytes of a model are in, as safetensors calls it.

    Raises:
        ModelError: It has no weights.
    """
    sizes: Counter[str] = Counter()
    for place in tensors_of(folder).values():
        sizes[place.dtype] += place.end - place.start
    if not sizes:
        raise ModelError(f"{folder} contains no weights.")
    return max(sizes, key=lambda dtype: sizes[dtype])
