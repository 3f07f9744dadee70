"""A base as 4-bit training saw it: its linear layers quantised and brought back to 16 bit.

An adapter that was trained over 4-bit weights learned what it learned on these weights, so they are what every form of
it is held against.

Source: bitsandbytes functional.py (`quantize_4bit`, `dequantize_4bit`); facts.md 0 #6.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tuneworthy.errors import UserError
from tuneworthy.providers.model_safety import INDEX, tensors_of
from tuneworthy.providers.weights import Place, from_float32, write_tensors
from tuneworthy.ship.merge import copy_tokenizer
from tuneworthy.ship.parity.transformers_form import TORCH_DTYPES
from tuneworthy.store.artifacts import Artifact
from tuneworthy.store.folder import Folder
from tuneworthy.store.frozen import scratch


@contextmanager
def seen_in_training(store: Folder, trained: Artifact, under: Artifact, say: Callable[[str], None]) -> Iterator[Path]:
    """Give the folder of the weights that an adapter was trained on: its base's own, or a dequantised one for a while.

    Args:
        store: The project's folder; the caller holds the lock. trained: The adapter. under: The 16-bit base.
        say: Gets a sentence now and then.

    Raises:
        UserError: bitsandbytes is needed and not installed.
    """
    settings = trained.manifest.get("settings") or {}
    if settings.get("method") != "qlora":
        yield under.folder
        return
    with scratch(store.path / "models", ".part-dequantised") as room:
        say("dequantises the base as it was while training")
        dequantise(under.folder, room, settings)
        yield room


def dequantise(base: Path, target: Path, settings: Any) -> None:
    """Write a base with its linear layers as 4-bit training sees them, into the empty folder `target`.

    Args:
        base, target: Folders. settings: Of the training run; `quant_type` and `double_quant` where they are set.

    Raises:
        UserError: bitsandbytes is not installed.
    """
    functional = _functional()
    import torch

    def content(place: Place, name: str) -> bytes:
        if not is_quantised(name, place):
            return place.raw()
        weight = torch.from_numpy(place.read().copy()).to(getattr(torch, TORCH_DTYPES[place.dtype]))
        packed, state = functional.quantize_4bit(
            weight, quant_type=settings.get("quant_type", "nf4"), compress_statistics=settings.get("double_quant", True)
        )
        back = functional.dequantize_4bit(packed, state).float().reshape(place.shape)
        return from_float32(back.numpy(), place.dtype)

    tensors = tensors_of(base)
    for path in {place.path: None for place in tensors.values()}:
        part = {name: place for name, place in tensors.items() if place.path == path}
        write_tensors(target / path.name, [(name, place.dtype, place.shape) for name, place in part.items()],
                      lambda name, part=part: content(part[name], name))  # type: ignore[misc]  # fmt: skip
    for name in ("config.json", "generation_config.json", INDEX):
        if (base / name).is_file():
            shutil.copyfile(base / name, target / name)
    copy_tokenizer(base, base, target)


def _functional() -> Any:
    try:
        from bitsandbytes import functional
    except ImportError:
        raise UserError("expected the package bitsandbytes for an adapter trained over 4-bit weights, got none",
                        hint="pip install bitsandbytes") from None  # fmt: skip
    return functional


def is_quantised(name: str, place: Place) -> bool:
    """Say whether 4-bit training quantises a weight: every linear layer but the head."""
    return len(place.shape) == 2 and not name.endswith(("embed_tokens.weight", "wte.weight", "lm_head.weight"))
