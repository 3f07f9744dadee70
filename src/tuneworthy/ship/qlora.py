"""Which base an adapter is merged into that was trained over 4-bit weights: measured, not assumed.

In training the adapter saw dequantised weights. Added to the original ones, it corrects an error that they do not have;
added to the dequantised ones, the error stays and is corrected, but the result is rounded once more to 16 bit. Neither
is right for every model, so both are made and the one stays whose next tokens are nearer to what was trained.

Source: facts.md A5 (unsloth-zoo PR #810).
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any, Final

from tuneworthy.ship.merge import dtype_of, merge_folder
from tuneworthy.ship.parity.measure import NextToken, ParityPlan, divergence
from tuneworthy.ship.parity.run import ParityRequest, plan_of, tokenizer_folder
from tuneworthy.ship.parity.trained_rows import rows_of
from tuneworthy.ship.parity.transformers_form import (
    TORCH_DTYPES,
    FolderTokenizer,
    TransformersForm,
    fitted,
    load,
    with_adapter,
)
from tuneworthy.store.artifacts import Artifact
from tuneworthy.store.folder import Folder
from tuneworthy.store.frozen import scratch

Say = Callable[[str], None]
N_PROMPTS: Final = 16


def choose_route(
    store: Folder, trained: Artifact, under: Artifact, seen: Path, say: Say
) -> tuple[dict[str, Any], Path]:
    """Return the route whose merged model is nearer to what was trained, and the folder to merge into.

    The folder is `under`'s own for the route `original`, else `seen`.

    Args:
        store: The project's folder; the caller holds the lock. trained: The adapter. under: The 16-bit base.
        seen: The folder of the base as training saw it.
        say: Gets a sentence now and then.

    Raises:
        UserError: The rows that were trained on are gone.
    """
    asked = ParityRequest(adapter=trained, base=under, rows=rows_of(store, trained), n_prompts=N_PROMPTS)
    plan = plan_of(asked)
    tokens = FolderTokenizer(tokenizer_folder(asked))
    reference = _asked(seen, tokens, plan, adapter=trained.folder)
    found = {
        name: mean(map(divergence, reference, _merged(store, trained.folder, base, tokens, plan)))
        for name, base in (("original", under.folder), ("dequantised", seen))
    }
    best = min(found, key=lambda name: found[name])
    told = ", ".join(f"{name} {value:.5f}" for name, value in found.items())
    say(f"mean KL from what was trained: {told} (n = {2 * len(plan.chats)}); merges into the {best} base")
    return {"name": best, "mean_kl": found, "n": 2 * len(plan.chats)}, under.folder if best == "original" else seen


def _asked(folder: Path, tokens: FolderTokenizer, plan: ParityPlan, *, adapter: Path | None = None) -> list[NextToken]:
    """Return what follows each prompt, and each prompt with its answer."""
    model = load(folder, TORCH_DTYPES[dtype_of(folder)])
    try:
        if adapter is not None:
            model = with_adapter(fitted(model, adapter), adapter)
        form = TransformersForm(model, tokens, [plan.end])
        pairs = list(zip(plan.prompt_ids, plan.answer_ids, strict=True))
        return [form.next(ids) for ids, _ in pairs] + [form.next([*ids, *answer]) for ids, answer in pairs]
    finally:
        del model
        gc.collect()


def _merged(store: Folder, adapter: Path, base: Path, tokens: FolderTokenizer, plan: ParityPlan) -> list[NextToken]:
    """Return what follows in a merged model that is not kept."""
    with scratch(store.path / "models", ".part-merge") as folder:
        merge_folder(adapter, base, folder)
        return _asked(folder, tokens, plan)
