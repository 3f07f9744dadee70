"""Checks of files: which base, which rank, and whether the merged weights are base plus adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from tuneworthy.providers.model_safety import tensors_of
from tuneworthy.providers.weights import Place, from_float32, to_float32
from tuneworthy.ship.lora import LoraAdapter, read_adapter
from tuneworthy.ship.parity.subject import Said, Subject, parity_check

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLE: Final = 16
"""Weights that are compared, spread over the model."""
BLOCK: Final = 64
"""Weights that share a scale in 4-bit formats."""
LEVELS: Final = 16
"""Values that such a block can hold."""
EQUAL: Final = 0.98
"""Least share of weights that are what base plus adapter rounds to; the rest may differ by the order of additions."""


@parity_check("lineage")
class LineageCheck:
    """The adapter names the base at hand, the merged model the adapter, the GGUF file the merged model.

    Bad: an adapter that was trained on one model is merged into another of the same shape.
    """

    code: ClassVar[str]
    causes: ClassVar = {
        "wrong_base": "the adapter was trained against another base",
        "wrong_adapter": "the merged model was made from another adapter",
        "wrong_merged": "the GGUF file was made from another model",
    }

    def look(self, subject: Subject) -> Said:
        """Compare the ids."""
        line = subject.lineage
        if line.told_base is not None and line.told_base != line.base_id:
            return Said("fail", f"expected the base {line.told_base}, got {line.base_id}", "wrong_base", ("adapter",))
        if line.merged_id and line.told_adapter and line.told_adapter != line.adapter_id:
            detail = f"expected a merged model of the adapter {line.adapter_id}, got one of {line.told_adapter}"
            return Said("fail", detail, "wrong_adapter", ("merged",))
        if line.merged_id and (others := [one for one in line.told_merged if one != line.merged_id]):
            detail = f"expected a GGUF file of {line.merged_id}, got one of {others[0]}"
            return Said("fail", detail, "wrong_merged", ("gguf",))
        if line.told_base is None:
            return Said("skipped", "the adapter does not name its base")
        return Said("pass", f"base {line.base_id}, adapter {line.adapter_id}, merged {line.merged_id or 'none'}")


@parity_check("rank")
class RankCheck:
    """The server that applies the adapter allows its rank.

    Bad: an adapter of rank 32 and a vLLM server with its default of 16, which refuses it or serves the base.
    """

    code: ClassVar[str]
    causes: ClassVar = {"rank_above_server_limit": "the adapter's rank is above what the server allows"}

    def look(self, subject: Subject) -> Said:
        """Compare the numbers."""
        line = subject.lineage
        if line.max_rank is None:
            return Said("skipped", "no server applies the adapter")
        numbers = {"rank": line.rank, "max_rank": line.max_rank}
        if line.rank > line.max_rank:
            detail = f"expected a rank of at most {line.max_rank}, which the server allows, got {line.rank}"
            return Said("fail", detail, "rank_above_server_limit", ("served",), numbers)
        return Said("pass", f"rank {line.rank}, the server allows {line.max_rank}", None, ("served",), numbers)


@parity_check("weights")
class WeightsCheck:
    """The merged weights are what base plus adapter rounds to.

    Bad: merged into 4-bit weights, where 64 neighbours hold at most 16 values and most of what was learned is rounded
    away; merged into another base; or not merged at all.
    """

    code: ClassVar[str]
    causes: ClassVar = {
        "adapter_not_applied": "the merged weights are those of the base",
        "merged_in_4bit": "the merged weights lie on the few values of a 4-bit format",
        "wrong_base": "the merged weights are not those of this base plus this adapter",
    }

    def look(self, subject: Subject) -> Said:
        """Compare a sample of weights, bit by bit."""
        line = subject.lineage
        if line.merged is None:
            return Said("skipped", "no merged model")
        lora, base, merged = read_adapter(line.adapter), tensors_of(line.base), tensors_of(line.merged)
        names = [name for name in lora.pairs if name in base and name in merged]
        names = names[:: max(1, len(names) // SAMPLE)]
        if not names:
            return Said("fail", "no weight of the adapter is in both models", "wrong_base", ("merged",))
        found = [_compare(lora, name, base[name], merged[name]) for name in names]
        meant, untouched = (sum(column) / len(found) for column in zip(*((a, b) for a, b, _ in found), strict=True))
        levels = max(most for _, _, most in found)
        numbers = {"n": len(found), "as_meant": meant, "as_base": untouched, "most_levels": levels}
        share = f"{meant:.1%} of the weights in {len(found)} matrices are base plus adapter"
        if levels <= LEVELS:
            detail = f"{share}; at most {levels} values in each {BLOCK} neighbours"
            return Said("fail", detail, "merged_in_4bit", ("merged",), numbers)
        if meant >= EQUAL:
            return Said("pass", share, None, ("merged",), numbers)
        cause = "adapter_not_applied" if untouched >= EQUAL else "wrong_base"
        return Said("fail", f"{share}, {untouched:.1%} are those of the base", cause, ("merged",), numbers)


def _compare(lora: LoraAdapter, name: str, base: Place, merged: Place) -> tuple[float, float, int]:
    """Return the share of weights as they were meant, the share as in the base, and the most values in a block."""
    if merged.shape != base.shape:
        return 0.0, 0.0, LEVELS + 1
    weight, stored = base.read(), merged.read()
    meant = to_float32(from_float32(lora.changed(name, weight), merged.dtype), merged.dtype).reshape(weight.shape)
    return float((stored == meant).mean()), float((stored == weight).mean()), _levels(stored)


def _levels(weights: NDArray[np.float32]) -> int:
    """Return the most different values in one of the first blocks of neighbours."""
    import numpy as np

    flat = weights.reshape(-1)
    blocks = flat[: len(flat) // BLOCK * BLOCK].reshape(-1, BLOCK)[:512]
    ordered = np.sort(blocks, axis=1)
    return int(1 + (np.diff(ordered, axis=1) != 0).sum(axis=1).max()) if len(blocks) else LEVELS + 1
