"""The base as 4-bit training (QLoRA) sees it: its linear layers quantised and brought back to 16 bits."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuneworthy.extras import require
from tuneworthy.providers.model_safety import INDEX, tensors_of
from tuneworthy.providers.weights import from_float32, write_tensors
from tuneworthy.ship.merged_weights import TORCH_DTYPES, copy_files, copy_tokenizer
from tuneworthy.store.artifacts import Artifact
from tuneworthy.store.folder import Folder
from tuneworthy.store.frozen import scratch
from tuneworthy.types import Say


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
