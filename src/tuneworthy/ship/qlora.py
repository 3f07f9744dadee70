"""The base that an adapter is merged into which was trained over 4-bit weights: measured, not assumed.

In training the adapter saw dequantised weights. Added to the original ones, it corrects an error that they do not have;
added to the dequantised ones, the error stays and is corrected, but the result is rounded once more to 16 bits. Neither
is right for every model (unsloth-zoo pull request 810), so both are made, and the one is kept whose next tokens are
nearer to what was trained.
"""

import gc
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any, Final

from tuneworthy.ship import messages
from tuneworthy.ship.merged_weights import TORCH_DTYPES, dtype_of, merge_folder
from tuneworthy.ship.parity.measure import NextToken, ParityPlan, divergence
from tuneworthy.ship.parity.request import ParityRequest, plan_of, tokenizer_folder
from tuneworthy.ship.parity.trained_rows import rows_of
from tuneworthy.ship.parity.transformers_form import FolderTokenizer, TransformersForm, fitted, load, with_adapter
from tuneworthy.store.artifacts import Artifact
from tuneworthy.store.folder import Folder
from tuneworthy.store.frozen import scratch

N_PROMPTS: Final = 16


def choose_route(
    store: Folder, trained: Artifact, original: Artifact, quantised: Path, say: Callable[[str], None]
) -> tuple[dict[str, Any], Path]:
    """Return the route whose merged model is nearer to what was trained, and the folder to merge into.

    The folder is that of `original` for the route `original`, else `quantised`.

    Args:
        store: The project's folder; the caller holds the lock.
        trained: The adapter.
        original: The 16-bit base.
        quantised: Folder of the base as training saw it.
        say: Gets a sentence now and then.

    Raises:
        UserError: The training rows are gone.
    """
    request = ParityRequest(adapter=trained, base=original, rows=rows_of(store, trained), n_prompts=N_PROMPTS)
    plan, tokenizer = plan_of(request), FolderTokenizer(tokenizer_folder(request))
    reference = _next_tokens(quantised, tokenizer, plan, adapter=trained.folder)
    bases = {"original": original.folder, "dequantised": quantised}
    kl: dict[str, float] = {}
    for name, base in bases.items():
        with scratch(store.path / "models", ".part-merge") as folder:
            merge_folder(trained.folder, base, folder)
            kl[name] = mean(map(divergence, reference, _next_tokens(folder, tokenizer, plan)))
    best, n = min(kl, key=lambda name: kl[name]), 2 * len(plan.chats)
    say(messages.say("route", **kl, n=n, best=best))
    return {"name": best, "mean_kl": kl, "n": n}, bases[best]


def _next_tokens(
    folder: Path, tokenizer: FolderTokenizer, plan: ParityPlan, *, adapter: Path | None = None
) -> list[NextToken]:
    model = load(folder, TORCH_DTYPES[dtype_of(folder)])
    try:
        if adapter is not None:
            model = with_adapter(fitted(model, adapter), adapter)
        form = TransformersForm(model, tokenizer, [plan.end])
        pairs = list(zip(plan.prompt_ids, plan.answer_ids, strict=True))
        return [form.next(ids) for ids, _ in pairs] + [form.next([*ids, *answer]) for ids, answer in pairs]
    finally:
        del model
        gc.collect()
