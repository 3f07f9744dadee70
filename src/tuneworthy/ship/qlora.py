"""The base that an adapter is merged into which was trained over 4-bit weights: measured, not assumed.

In training the adapter saw dequantised weights. Added to the original ones, it corrects an error that they do not have;
added to the dequantised ones, the error stays and is corrected, but the result is rounded once more to 16 bits. Neither
is right for every model (unsloth-zoo pull request 810), so both are made, and the one is kept whose next tokens are
nearer to what was trained, on rows that were held out of the training.
"""

import gc
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final

from tuneworthy.errors import UserError
from tuneworthy.providers.model_safety import INDEX, tensors_of
from tuneworthy.providers.weights import Place, from_float32, write_tensors
from tuneworthy.ship import messages
from tuneworthy.ship.merged_weights import TORCH_DTYPES, copy_tokenizer, dtype_of, merge_folder
from tuneworthy.ship.parity.measure import NextToken, ParityPlan, divergence
from tuneworthy.ship.parity.request import ParityRequest, plan_of, rows_of, tokenizer_folder
from tuneworthy.ship.parity.transformers_form import TransformersForm, load, renderer_of, with_adapter
from tuneworthy.store.artifacts import Artifact
from tuneworthy.store.folder import Folder
from tuneworthy.store.frozen import scratch
from tuneworthy.train.render import Renderer
from tuneworthy.types import JsonObject

N_PROMPTS: Final = 32


def choose_route(
    store: Folder,
    trained: Artifact,
    original: Artifact,
    quantised: Path,
    say: Callable[[str], None],
    *,
    examples: Path | None = None,
) -> tuple[JsonObject, Path]:
    """Return the route whose merged model is nearer to what was trained, and the folder to merge into.

    The folder is that of `original` for the route `original`, else `quantised`.

    Args:
        store: The project's folder; the caller has the lock.
        trained: The adapter.
        original: The 16-bit base.
        quantised: Folder of the base as training saw it.
        say: Gets a sentence now and then.
        examples: The project's examples, for a run that took no frozen version.

    Raises:
        UserError: The training rows are gone.
    """
    rows, held_out = rows_of(store, trained, examples), trained.about.held_out.rows if trained.about.held_out else ()
    rows = [row for row in rows if row.id in held_out] or rows
    request = ParityRequest(adapter=trained, base=original, rows=rows, n_prompts=N_PROMPTS)
    plan, renderer = plan_of(request), renderer_of(tokenizer_folder(request), original.folder)
    reference = _next_tokens(quantised, renderer, plan, adapter=trained.folder)
    bases = {"original": original.folder, "dequantised": quantised}
    by_route: dict[str, list[float]] = {}
    for name, base in bases.items():
        with scratch(store.path / "models", ".part-merge") as folder:
            merge_folder(trained.folder, base, folder)
            by_route[name] = [*map(divergence, reference, _next_tokens(folder, renderer, plan))]
    kl = {name: mean(values) for name, values in by_route.items()}
    best, n = min(kl, key=lambda name: kl[name]), len(reference)
    gaps = [a - b for a, b in zip(*by_route.values(), strict=True)]
    half = 1.96 * stdev(gaps) / n**0.5
    low, high = mean(gaps) - half, mean(gaps) + half
    say(
        f"Mean KL from the trained model on held-out rows: {kl['original']:.5f} if merged into the original base "
        f"model, {kl['dequantised']:.5f} if merged into the dequantised one. Difference: {mean(gaps):.5f} [{low:.5f}, "
        f"{high:.5f}] (n = {n}). Merging into the {best} base model."
    )
    return {"name": best, "mean_kl": kl, "difference_ci95": [low, high], "n": n}, bases[best]


def _next_tokens(folder: Path, renderer: Renderer, plan: ParityPlan, *, adapter: Path | None = None) -> list[NextToken]:
    model = load(folder, TORCH_DTYPES[dtype_of(folder)])
    try:
        if adapter is not None:
            model = with_adapter(model, adapter)
        form = TransformersForm(model, renderer, [plan.end])
        pairs = list(zip(plan.prompt_ids, plan.answer_ids, strict=True))
        return form.following([ids for ids, _ in pairs] + [[*ids, *answer] for ids, answer in pairs])
    finally:
        del model
        gc.collect()


@contextmanager
def base_in_training(
    store: Folder, trained: Artifact, original: Artifact, say: Callable[[str], None]
) -> Iterator[Path]:
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
    functional = _functional()
    import torch

    tensors = tensors_of(base)

    def content(name: str) -> bytes:
        place = tensors[name]
        if not is_quantised(name, place):
            return place.raw()
        weight = torch.from_numpy(place.read().copy()).to(getattr(torch, TORCH_DTYPES[place.dtype]))
        rounded = functional.dequantize_4bit(
            *functional.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
        )
        return from_float32(rounded.float().reshape(place.shape).numpy(), place.dtype)

    for path in {place.path: None for place in tensors.values()}:
        shapes = [(name, place.dtype, place.shape) for name, place in tensors.items() if place.path == path]
        write_tensors(target / path.name, shapes, content)
    for name in ("config.json", "generation_config.json", INDEX):
        if (base / name).is_file():
            shutil.copyfile(base / name, target / name)
    copy_tokenizer(base, base, target)


def _functional() -> Any:
    try:
        from bitsandbytes import functional
    except ImportError:
        raise UserError(
            "The package bitsandbytes is not installed. Merging an adapter trained on 4-bit weights needs it.",
            hint=messages.INSTALL_TRAIN,
        ) from None
    return functional


def is_quantised(name: str, place: Place) -> bool:
    """Say whether 4-bit training quantises a weight: every linear layer but the head."""
    return len(place.shape) == 2 and not name.endswith(("embed_tokens.weight", "wte.weight", "lm_head.weight"))
