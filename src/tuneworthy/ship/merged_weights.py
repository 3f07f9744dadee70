"""Writes base plus adapter as 16-bit weights, tensor by tensor; needs only NumPy, except for QLoRA.

Never into 4-bit: there the sum is rounded to 16 values a block, and most of the training falls below the rounding
(PEFT itself warns).

Invariant: every tensor of the adapter is accounted for. An unknown tensor or setting is refused by its name: an adapter
whose names do not meet the base's is how other tools come to serve the base unchanged.

Source: peft tuners/lora/layer.py (`get_delta_weight`), utils/save_and_load.py.
"""

import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import orjson

from tuneworthy.arrays import Floats32
from tuneworthy.errors import ModelError, UserError
from tuneworthy.extras import require
from tuneworthy.providers.model_safety import INDEX, number_of, read_config, template_of, tensors_of
from tuneworthy.providers.weights import FLOATS, Place, from_float32, read_tensors, to_float32, write_tensors
from tuneworthy.store.artifacts import Artifact
from tuneworthy.store.folder import Folder, write_atomic
from tuneworthy.store.frozen import scratch
from tuneworthy.types import Say, Texts, positional

TRAIN_AGAIN = (
    "Run `tuneworthy train` to train the adapter again. If it reports that this run has finished, change [train] first."
)
# Settings of PEFT that `train` never makes.
UNMERGEABLE_SETTINGS = {
    "use_dora": "is a DoRA adapter",
    "use_rslora": "is scaled by rsLoRA",
    "modules_to_save": "trains whole modules",
    "rank_pattern": "has ranks that differ from layer to layer",
    "alpha_pattern": "has scales that differ from layer to layer",
    "fan_in_fan_out": "stores weights input-first, as GPT-2 does",
    "layer_replication": "repeats layers of the base model",
    "target_parameters": "adapts fused expert parameters",
    "megatron_config": "was trained with Megatron",
    "trainable_token_indices": "trains individual embedding rows",
    "lora_bias": "adds biases inside the adapter",
    "alora_invocation_tokens": "acts on only part of the prompt",
    "arrow_config": "routes between several adapters",
}
_PART = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")


@positional
class Pair:
    """The two low-rank factors of one weight.

    Attributes:
        a: ``(rank, d_in)``.
        b: ``(d_out, rank)``.
        scale: alpha / rank.
    """

    a: Place
    b: Place
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.b.shape[0], self.a.shape[1])


@positional
class LoraAdapter:
    """Content of an adapter folder.

    Attributes:
        pairs: Name of a weight of the base to its factors.
        whole: Name of a weight of the base to its replacement; empty unless all weights were trained.
    """

    pairs: Mapping[str, Pair]
    whole: Mapping[str, Place]

    @property
    def rank(self) -> int:
        """The rank, which a server that applies the adapter must allow; 0 where all weights were trained."""
        return max((pair.a.shape[0] for pair in self.pairs.values()), default=0)

    def changed(self, name: str, weight: Floats32) -> Floats32:
        if name in self.whole:
            return self.whole[name].read()
        pair = self.pairs[name]
        return weight + pair.scale * (pair.b.read() @ pair.a.read())


def all_trained(folder: Path) -> bool:
    """Return whether the folder of a run has all weights, not an adapter."""
    return (folder / "config.json").is_file() and not (folder / "adapter_config.json").is_file()


def read_adapter(folder: Path) -> LoraAdapter:
    """Return the adapter in `folder`, or all weights that were trained.

    Raises:
        ModelError: It is no LoRA adapter, or not one whose file may be loaded.
        UserError: It is of a kind that is not merged here, or has an unknown tensor.
    """
    if all_trained(folder):
        return LoraAdapter({}, tensors_of(folder))
    config = read_config(folder / "adapter_config.json")
    if (kind := config.get("peft_type")) != "LORA":
        raise ModelError(f"The adapter in {folder} has the PEFT type {kind or 'none'}, not LORA.", hint=TRAIN_AGAIN)
    for key, why in UNMERGEABLE_SETTINGS.items():
        if config.get(key):
            raise UserError(f"The adapter in {folder} cannot be merged because it {why} ({key}).", hint=TRAIN_AGAIN)
    modules: dict[str, dict[str, Place]] = {}
    for name, place in tensors_of(folder).items():
        if (match := _PART.fullmatch(name)) is None:
            raise UserError(
                f"The adapter in {folder} contains {name[:100]}, which is not a LoRA tensor of a linear layer.",
                hint=TRAIN_AGAIN,
            )
        modules.setdefault(match["module"], {})[match["side"]] = place
    rank, alpha = (number_of(config.get(name, 8), name) for name in ("r", "lora_alpha"))
    for module, sides in modules.items():
        shapes = [sides[side].shape for side in "AB" if side in sides]
        if [len(shape) for shape in shapes] != [2, 2] or not shapes[0][0] == shapes[1][1] == rank:
            raise ModelError(
                f"The adapter in {folder} lacks a matching pair of LoRA matrices (A and B) of rank {rank:g} for "
                f"{module[:100]}.",
                hint=TRAIN_AGAIN,
            )
    return LoraAdapter(
        {f"{module}.weight": Pair(sides["A"], sides["B"], alpha / rank) for module, sides in modules.items()}, {}
    )


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


@contextmanager
def base_in_training(store: Folder, trained: Artifact, original: Artifact, say: Say) -> Iterator[Path]:
    """Give the folder of the weights that an adapter was trained on: the base's own, or a dequantised copy.

    Args:
        store: The project's folder; the caller has the lock.
        trained: The adapter.
        original: The 16-bit base.
        say: Gets a sentence now and then.

    Raises:
        UserError: bitsandbytes is needed and not installed.
    """
    if trained.about.method != "qlora":
        yield original.folder
        return
    with scratch(store.path / "models", ".part-dequantised") as room:
        say("Dequantising the base model to the weights that training used.")
        dequantise(original.folder, room)
        yield room


def dequantise(base: Path, target: Path) -> None:
    """Write a base with its linear layers as 4-bit training sees them: quantised and brought back to 16 bits.

    Source: bitsandbytes functional.py (`quantize_4bit`, `dequantize_4bit`); arXiv 2305.14314, equation 5.

    Args:
        base: Its folder.
        target: An empty folder.

    Raises:
        UserError: bitsandbytes is not installed.
    """
    require("bitsandbytes")
    import torch
    from bitsandbytes import functional

    tensors = tensors_of(base)

    def content(name: str) -> bytes:
        place = tensors[name]
        if len(place.shape) != 2 or name.endswith(("embed_tokens.weight", "wte.weight", "lm_head.weight")):
            return place.raw()  # of the linear layers, all but the head are quantised
        weight = torch.from_numpy(place.read().copy()).to(getattr(torch, TORCH_DTYPES[place.dtype]))
        rounded = functional.dequantize_4bit(
            *functional.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
        )
        return from_float32(rounded.float().reshape(place.shape).numpy(), place.dtype)

    for path in {place.path: None for place in tensors.values()}:
        shapes = [(name, place.dtype, place.shape) for name, place in tensors.items() if place.path == path]
        write_tensors(target / path.name, shapes, content)
    copy_files(("config.json", "generation_config.json", INDEX), base, target)
    copy_tokenizer(base, base, target)
