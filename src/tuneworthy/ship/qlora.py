"""The base that an adapter is merged into which was trained over 4-bit weights: measured, not assumed.

In training the adapter saw dequantised weights. Added to the original ones, it corrects an error that they do not have;
added to the dequantised ones, the error stays and is corrected, but the result is rounded once more to 16 bits. Neither
is right for every model (unsloth-zoo pull request 810), so both are made, and the one is kept whose next tokens are
nearer to what was trained, on rows that were held out of the training.
"""

import gc
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Final

from tuneworthy.ship.merged_weights import TORCH_DTYPES, dtype_of, merge_folder
from tuneworthy.ship.parity.measure import NextToken, ParityPlan, divergence
from tuneworthy.ship.parity.request import ParityRequest, plan_of, rows_of, tokenizer_folder
from tuneworthy.ship.parity.transformers_form import TransformersForm, fitted, load, renderer_of, with_adapter
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
            model = with_adapter(fitted(model, adapter), adapter)
        form = TransformersForm(model, renderer, [plan.end])
        pairs = list(zip(plan.prompt_ids, plan.answer_ids, strict=True))
        return form.following([ids for ids, _ in pairs] + [[*ids, *answer] for ids, answer in pairs])
    finally:
        del model
        gc.collect()
