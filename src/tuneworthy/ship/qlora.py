"""Which base an adapter is merged into that was trained over 4-bit weights: measured, not assumed.

In training the adapter saw dequantised weights. Added to the original ones, it corrects an error that they do not have;
added to the dequantised ones, the error stays and is corrected, but the result is rounded once more to 16 bit. Neither
is right for every model, so both are made and the one stays whose next tokens are nearer to what was trained.

Source: facts.md A5 (unsloth-zoo PR #810); bitsandbytes functional.py (`quantize_4bit`, `dequantize_4bit`).
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any, Final

from tuneworthy.errors import UserError
from tuneworthy.providers.safe import INDEX, tensors_of
from tuneworthy.providers.weights import Place, from_float32, write_tensors
from tuneworthy.ship.merge import copy_tokenizer, dtype_of, merge_folder
from tuneworthy.ship.parity.hf_form import HfForm, Tokens, fitted, load, with_adapter
from tuneworthy.ship.parity.measure import Distribution, Plan, divergence
from tuneworthy.ship.parity.rows import rows_of
from tuneworthy.ship.parity.run import TORCH_DTYPES, Asked, plan_of, tokenizer_folder
from tuneworthy.store.artifacts import Artifact
from tuneworthy.store.folder import Folder
from tuneworthy.store.frozen import scratch

Say = Callable[[str], None]
N_PROMPTS: Final = 16


def choose_route(
    store: Folder, trained: Artifact, under: Artifact, room: Path, say: Say
) -> tuple[dict[str, Any], Path]:
    """Return the route whose merged model is nearer to what was trained, and the folder to merge into.

    The folder is `under`'s own for the route `original`, else `room`.

    Args:
        store: The project's folder; the caller holds the lock. trained: The adapter. under: The 16-bit base.
        room: An empty folder, in which the base is written as training saw it.
        say: Gets a sentence now and then.

    Raises:
        UserError: bitsandbytes is not installed, or the rows that were trained on are gone.
    """
    asked = Asked(adapter=trained, base=under, rows=rows_of(store, trained), n_prompts=N_PROMPTS)
    plan = plan_of(asked)
    say("dequantises the base as it was while training")
    dequantise(under.folder, room, trained.manifest.get("settings") or {})
    tokens = Tokens(tokenizer_folder(asked))
    reference = _asked(room, tokens, plan, adapter=trained.folder)
    found = {
        name: mean(map(divergence, reference, _merged(store, trained.folder, base, tokens, plan)))
        for name, base in (("original", under.folder), ("dequantised", room))
    }
    best = min(found, key=lambda name: found[name])
    told = ", ".join(f"{name} {value:.5f}" for name, value in found.items())
    say(f"mean KL from what was trained: {told} (n = {2 * len(plan.chats)}); merges into the {best} base")
    return {"name": best, "mean_kl": found, "n": 2 * len(plan.chats)}, under.folder if best == "original" else room


def dequantise(base: Path, target: Path, settings: Any) -> None:
    """Write a base with its linear layers as 4-bit training sees them, into the empty folder `target`.

    Args:
        base, target: Folders. settings: Of the training run; `quant_type` and `double_quant` where they are set.

    Raises:
        UserError: bitsandbytes is not installed.
    """
    try:
        import torch
        from bitsandbytes import functional
    except ImportError:
        raise UserError("expected the package bitsandbytes for an adapter trained over 4-bit weights, got none",
                        hint="pip install bitsandbytes") from None  # fmt: skip

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


def is_quantised(name: str, place: Place) -> bool:
    """Say whether 4-bit training quantises a weight: every linear layer but the head."""
    return len(place.shape) == 2 and not name.endswith(("embed_tokens.weight", "wte.weight", "lm_head.weight"))


def _asked(folder: Path, tokens: Tokens, plan: Plan, *, adapter: Path | None = None) -> list[Distribution]:
    """Return what follows each prompt, and each prompt with its answer."""
    model = load(folder, TORCH_DTYPES[dtype_of(folder)])
    try:
        if adapter is not None:
            model = with_adapter(fitted(model, adapter), adapter)
        form = HfForm(model, tokens, [plan.end])
        pairs = list(zip(plan.prompt_ids, plan.answer_ids, strict=True))
        return [form.next(ids) for ids, _ in pairs] + [form.next([*ids, *answer]) for ids, answer in pairs]
    finally:
        del model
        gc.collect()


def _merged(store: Folder, adapter: Path, base: Path, tokens: Tokens, plan: Plan) -> list[Distribution]:
    """Return what follows in a merged model that is not kept."""
    with scratch(store.path / "models", ".part-merge") as folder:
        merge_folder(adapter, base, folder)
        return _asked(folder, tokens, plan)
