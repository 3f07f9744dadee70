"""Writes base plus adapter as 16-bit weights, tensor by tensor; one weight at a time is in memory.

Never into 4-bit: there the sum is rounded to 16 values a block, and most of the training falls below the rounding
(PEFT itself warns).
"""

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import orjson

from tuneworthy.errors import ModelError, UserError
from tuneworthy.providers.model_safety import INDEX, read_config, template_of, tensors_of
from tuneworthy.providers.weights import FLOATS, Place, from_float32, read_tensors, to_float32, write_tensors
from tuneworthy.ship.lora import TRAIN_AGAIN, LoraAdapter, read_adapter
from tuneworthy.store.folder import write_atomic
from tuneworthy.types import Texts

# What torch calls the types of safetensors.
TORCH_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json", "added_tokens.json",
    "tokenizer.model", "vocab.json", "merges.txt",
)  # fmt: skip
_COPIED = ("config.json", "generation_config.json")
_HEAD = "lm_head.weight"
MERGE_INTO_16BIT = "Merge into the original 16-bit base model."
MERGE_INTO_OWN_BASE = "Merge into the base model that the adapter was trained on."


def merge_folder(adapter: Path, base: Path, target: Path) -> int:
    """Write the merged model of two folders into the empty folder `target`; one weight at a time is in memory.

    Returns:
        The number of changed weights.

    Raises:
        ModelError: A file that may not be loaded.
        UserError: The base is in 4-bit, or the adapter changes a weight that the base lacks, or has in another shape.
    """
    check_sixteen_bit(base)  # every way to a merged model comes by here
    lora, tensors = read_adapter(adapter), tensors_of(base)
    if lora.whole:  # all weights of the base must have been trained; a copy of tied embeddings is left out
        tied = {_HEAD} if read_config(base / "config.json").get("tie_word_embeddings") else set()
        for name in tensors.keys() - lora.whole.keys() - tied:
            raise UserError(f"The trained model lacks {name}, which is in {base}.", hint=TRAIN_AGAIN)
        tensors = {name: place for name, place in tensors.items() if name in lora.whole}
    _check_fit(lora, tensors, base)
    copy_files(_COPIED, base, target)
    copy_tokenizer(adapter, base, target)
    for path in {place.path: None for place in tensors.values()}:
        _merge_file(lora, {n: p for n, p in tensors.items() if p.path == path}, target / path.name)
    if (base / INDEX).is_file():
        places = {name: path.name for path in sorted(target.glob("*.safetensors")) for name in read_tensors(path)}
        size = sum(path.stat().st_size for path in target.glob("*.safetensors"))
        write_atomic(
            target / INDEX,
            orjson.dumps({"metadata": {"total_size": size}, "weight_map": places}, option=orjson.OPT_INDENT_2),
        )
    return len(lora.pairs or lora.whole)


def _merge_file(lora: LoraAdapter, tensors: Mapping[str, Place], path: Path) -> None:
    def content(name: str) -> bytes:
        place = tensors[name]
        if name not in lora.pairs and name not in lora.whole:
            return place.raw()
        raw = from_float32(lora.changed(name, place.read()), place.dtype)
        if not np.isfinite(to_float32(raw, place.dtype)).all():
            raise UserError(
                f"{name}: the merged weight has values that the dtype of the base model cannot represent.",
                hint="Train again with a lower learning rate.",
            )
        return raw

    write_tensors(path, [(name, place.dtype, place.shape) for name, place in tensors.items()], content)


def _check_fit(lora: LoraAdapter, tensors: Mapping[str, Place], base: Path) -> None:
    shapes = {name: change.shape for name, change in (lora.pairs or lora.whole).items()}
    if not shapes:
        raise UserError("The adapter does not change any weights.", hint=TRAIN_AGAIN)
    for name, shape in shapes.items():
        if name not in tensors:
            raise UserError(
                f"The adapter changes {name[:100]}, which is not in {base}, so a merge would not apply it.",
                hint=MERGE_INTO_OWN_BASE,
            )
        if shape != tensors[name].shape:
            raise UserError(
                (
                    f"{name}: the adapter needs a weight of shape {shape}, but the base model has "
                    f"{tensors[name].shape}. The adapter belongs to a different base model."
                ),
                hint=MERGE_INTO_OWN_BASE,
            )


def copy_files(names: Texts, source: Path, target: Path) -> None:
    """Copy the files that are in `source`."""
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def copy_tokenizer(adapter: Path, base: Path, target: Path) -> None:
    """Copy the tokenizer and the template that were trained with: the adapter's where it has them, else the base's."""
    source = adapter if (adapter / "tokenizer.json").is_file() else base
    copy_files(TOKENIZER_FILES, source, target)
    if template_of(target) is None and (template := template_of(adapter) or template_of(base)) is not None:
        (target / "chat_template.jinja").write_text(template, encoding="utf-8")


def check_sixteen_bit(folder: Path) -> None:
    """Refuse a base that is quantised.

    Raises:
        UserError: Its config says so, or it has weights of other types than 16 or 32 bits.
    """
    if quantised := read_config(folder / "config.json").get("quantization_config"):
        kind = quantised.get("quant_method", "unknown") if isinstance(quantised, dict) else "unknown"
        raise UserError(
            (
                f"The weights in {folder} are quantised ({kind}). A merge would round away most of what the adapter "
                "learned."
            ),
            hint=MERGE_INTO_16BIT,
        )
    for name, place in tensors_of(folder).items():
        if place.dtype not in FLOATS:
            raise UserError(
                f"{folder}: {name[:80]} is stored as {place.dtype}, not as a 16-bit or 32-bit float.",
                hint=MERGE_INTO_16BIT,
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
