"""The check of merged weights: are they base plus adapter?"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuneworthy.providers.model_safety import tensors_of
from tuneworthy.providers.weights import Place, from_float32, to_float32
from tuneworthy.ship.lora import LoraAdapter, read_adapter
from tuneworthy.ship.parity import PARITY_CHECKS, FormFinding
from tuneworthy.ship.parity.subject import Subject

# Weights that are compared, spread over the model.
SAMPLE: Final = 16
# Weights that share a scale in 4-bit formats.
BLOCK: Final = 64
# Values that such a block can hold.
LEVELS: Final = 16
# Smallest share of weights that are what base plus adapter rounds to; the order of additions may change the rest.
EQUAL: Final = 0.98


@PARITY_CHECKS.rule(
    "weights",
    codes={
        "adapter_not_applied": "the merged weights are those of the base",
        "merged_in_4bit": "the merged weights lie on the few values of a 4-bit format",
        "module_dropped": "some merged weights are those of the base, which training changed",
        "wrong_base": "the merged weights are not those of this base plus this adapter",
    },
)
def weights(subject: Subject) -> FormFinding:
    """The merged weights are what base plus adapter rounds to, in a sample that is compared bit by bit.

    Of a full fine-tuning, they are the rounded trained weights. Every weight that is the same as in the base is
    compared as well, so that no module is dropped unseen.

    Bad: merged into 4-bit weights, where 64 neighbours have at most 16 values and most of the change is rounded
    away; merged into another base; or not merged at all.
    """
    line = subject.lineage
    if line.merged is None:
        return FormFinding(message="There is no merged model yet.", status="skipped")
    lora, base, merged = read_adapter(line.adapter), tensors_of(line.base), tensors_of(line.merged)
    every = [name for name in (lora.pairs or lora.whole) if name in base and name in merged]
    alike = [name for name in every if merged[name].raw() == base[name].raw()][:SAMPLE]
    names = [*dict.fromkeys([*every[:: max(1, len(every) // SAMPLE)], *alike])]
    if not names:
        return FormFinding(
            message="The base model and the merged model have no adapted weight in common.",
            code="wrong_base",
            forms=("merged",),
        )
    rows = [_compare(lora, name, base[name], merged[name]) for name in names]
    meant, untouched, levels = (list(column) for column in zip(*rows, strict=True))
    n, as_meant, as_base, most = len(rows), sum(meant) / len(rows), sum(untouched) / len(rows), max(levels)
    message = (
        f"In {n} matrices, {as_meant:.1%} of the weights match the trained ones, and {as_base:.1%} are unchanged "
        f"from the base model. Any {BLOCK} neighbouring weights have at most {most} distinct values."
    )
    numbers = {"n": n, "as_meant": as_meant, "as_base": as_base, "most_levels": most}
    lost = [name for name, share in zip(names, meant, strict=True) if share < EQUAL and name in alike]
    if most > LEVELS and as_meant >= EQUAL and not lost:
        return FormFinding(message=message, status="pass", forms=("merged",), numbers=numbers)
    code = "merged_in_4bit" if most <= LEVELS else "adapter_not_applied" if as_base >= EQUAL else "wrong_base"
    if lost and code == "wrong_base":
        code, message = (
            "module_dropped",
            (
                f"{len(lost)} matrices of the merged model, such as {lost[0]}, equal those of the base model, "
                "although training changed them."
            ),
        )
    return FormFinding(message=message, code=code, forms=("merged",), numbers=numbers)


def _compare(lora: LoraAdapter, name: str, base: Place, merged: Place) -> tuple[float, float, int]:
    """Return the share of weights that are base plus adapter, the share as in the base, and most values in a block."""
    if merged.shape != base.shape:
        return 0.0, 0.0, LEVELS + 1
    weight, stored = base.read(), merged.read()
    meant = to_float32(from_float32(lora.changed(name, weight), merged.dtype), merged.dtype).reshape(weight.shape)
    return float((stored == meant).mean()), float((stored == weight).mean()), _levels(stored)


def _levels(numbers: NDArray[np.float32]) -> int:
    """Return the most different values in one of the first blocks of neighbours."""

    flat = numbers.reshape(-1)
    blocks = np.sort(flat[: len(flat) // BLOCK * BLOCK].reshape(-1, BLOCK)[:512], axis=1)
    return int(1 + (np.diff(blocks, axis=1) != 0).sum(axis=1).max()) if len(blocks) else LEVELS + 1
