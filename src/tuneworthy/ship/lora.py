"""PEFT adapter, or all trained weights, as changes of a base; needs only numpy.

Invariant: every tensor of the adapter is accounted for. An unknown tensor is refused by its name: an adapter whose
names do not meet the base's is how other tools come to serve the base unchanged.

Source: peft tuners/lora/layer.py (`get_delta_weight`), tuners/lora/dora.py, utils/save_and_load.py.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tuneworthy.errors import ModelError, UserError
from tuneworthy.patterns import compile_pattern
from tuneworthy.providers.model_safety import number_of, patterns_of, read_config, tensors_of
from tuneworthy.providers.weights import Place
from tuneworthy.ship import messages

# Time to match a pattern, which a stranger's config may write so that it never ends.
PATTERN_S: Final = 1.0
_PREFIX: Final = "base_model.model."
_PART: Final = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)(\.weight)?"
)
# Where PEFT keeps what differs from layer to layer.
_PATTERNS: Final = {"r": "rank_pattern", "lora_alpha": "alpha_pattern"}


@dataclass(frozen=True, slots=True)
class Pair:
    """The two low-rank factors of one weight.

    Attributes:
        a: ``(rank, d_in)``; of an embedding ``(rank, n_tokens)``.
        b: ``(d_out, rank)``; of an embedding ``(dim, rank)``.
        scale: alpha / rank, or alpha / sqrt(rank).
        embedding: Whether the product has to be transposed.
        magnitude: Lengths of the rows of the whole weight, ``(d_out,)``, of a DoRA adapter.
    """

    a: Place
    b: Place
    scale: float
    embedding: bool = False
    magnitude: Place | None = None

    @property
    def rank(self) -> int:
        """Rank of the product."""
        return self.a.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight that it changes."""
        shape = (self.b.shape[0], self.a.shape[1])
        return shape[::-1] if self.embedding else shape

    def delta(self) -> NDArray[np.float32]:
        """Return the change, in the shape of the weight."""
        product = self.scale * (self.b.read() @ self.a.read())
        return product.T if self.embedding else product


@dataclass(frozen=True, slots=True)
class LoraAdapter:
    """Content of an adapter folder.

    Attributes:
        config: Its `adapter_config.json`; empty where all weights were trained.
        pairs: Name of a weight of the base to its factors.
        whole: Name of a weight of the base to its replacement (`modules_to_save`, biases, all weights).
    """

    config: Mapping[str, Any] = field(repr=False)
    pairs: Mapping[str, Pair]
    whole: Mapping[str, Place]

    @property
    def full(self) -> bool:
        """Whether all weights were trained: nothing of the base stays."""
        return not self.config

    @property
    def rank(self) -> int:
        """The highest rank, which a server that applies the adapter must allow."""
        return max((pair.rank for pair in self.pairs.values()), default=0)

    def changed(self, name: str, weight: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the weight `name` of the base as the adapter makes it."""

        if name in self.whole:
            return self.whole[name].read()
        pair = self.pairs[name]
        changed = weight + pair.delta()
        if pair.magnitude is None:
            return changed
        lengths = np.linalg.norm(changed, axis=1, keepdims=True)
        return np.asarray(changed * (pair.magnitude.read().reshape(-1, 1) / lengths))


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
        return LoraAdapter({}, {}, tensors_of(folder))
    config = read_config(folder / "adapter_config.json")
    if (kind := config.get("peft_type")) != "LORA":
        raise ModelError(
            f"The adapter in {folder} has the PEFT type {kind or 'none'}, not LORA.", hint=messages.TRAIN_AGAIN
        )
    for key, why in messages.UNMERGEABLE_SETTINGS.items():
        if config.get(key):
            raise UserError(
                f"The adapter in {folder} cannot be merged because it {why} ({key}).", hint=messages.TRAIN_AGAIN
            )
    parts: dict[str, dict[str, Place]] = {}
    whole: dict[str, Place] = {}
    for name, place in tensors_of(folder).items():
        plain = name.removeprefix(_PREFIX)
        if match := _PART.fullmatch(plain):
            parts.setdefault(match["module"], {})[match["part"]] = place
        elif plain != name and plain.rsplit(".", 1)[-1] in {"weight", "bias"} and "lora_" not in plain:
            whole[plain.replace(".modules_to_save.", ".").replace(".base_layer.", ".")] = place
        else:
            raise UserError(
                f"The adapter in {folder} contains {name[:100]}, which is not a LoRA tensor.",
                hint=messages.TRAIN_AGAIN,
            )
    pairs = {f"{module}.weight": _pair(folder, config, module, factors) for module, factors in parts.items()}
    return LoraAdapter(config, pairs, whole)


def _pair(folder: Path, config: Mapping[str, Any], module: str, factors: Mapping[str, Place]) -> Pair:
    embedding = "lora_embedding_A" in factors
    a, b = (factors.get(f"lora_embedding_{side}" if embedding else f"lora_{side}") for side in "AB")
    if a is None or b is None or len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != b.shape[1]:
        raise ModelError(
            f"The adapter in {folder} lacks a matching pair of LoRA matrices (A and B) for {module[:100]}.",
            hint=messages.TRAIN_AGAIN,
        )
    rank = int(_by_pattern(config, "r", module))
    if rank != a.shape[0]:
        raise ModelError(
            f"The adapter in {folder} has rank {a.shape[0]} in {module[:100]}, but its config says {rank}.",
            hint=messages.TRAIN_AGAIN,
        )
    alpha = _by_pattern(config, "lora_alpha", module)
    scale = alpha / (sqrt(rank) if config.get("use_rslora") else rank)
    if config.get("fan_in_fan_out") and not embedding:
        raise UserError(
            (
                f"The adapter in {folder} cannot be merged because it "
                f"{'stores weights input-first, as GPT-2 does'} ({'fan_in_fan_out'})."
            ),
            hint=messages.TRAIN_AGAIN,
        )
    return Pair(a, b, scale, embedding, factors.get("lora_magnitude_vector"))


def _by_pattern(config: Mapping[str, Any], name: str, module: str) -> float:
    key = _PATTERNS[name]
    for pattern, value in patterns_of(config, key).items():
        try:
            fits = compile_pattern(rf"(.*\.)?({pattern})").fullmatch(module, timeout=PATTERN_S)
        except (UserError, TimeoutError) as error:
            reason = str(error).rstrip(".") or "matching takes too long"
            raise ModelError(
                f"The pattern {pattern[:60]!r} in {key} is not usable: {reason}.",
                hint=messages.TRAIN_AGAIN,
            ) from None
        if fits:
            return number_of(value, key)
    return number_of(config.get(name, 8), name)
