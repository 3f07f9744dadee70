"""PEFT adapter of linear layers, or all trained weights, as changes of a base; needs only numpy.

Invariant: every tensor of the adapter is accounted for. An unknown tensor or setting is refused by its name: an adapter
whose names do not meet the base's is how other tools come to serve the base unchanged.

Source: peft tuners/lora/layer.py (`get_delta_weight`), utils/save_and_load.py.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from tuneworthy.arrays import Floats32
from tuneworthy.errors import ModelError, UserError
from tuneworthy.providers.model_safety import number_of, read_config, tensors_of
from tuneworthy.providers.weights import Place
from tuneworthy.types import positional

TRAIN_AGAIN = (
    "Run `tuneworthy train` to train the adapter again. If it reports that this run has finished, change [train] first."
)
# Settings of PEFT that `train` never makes.
UNMERGEABLE_SETTINGS = {
    "use_dora": "is a DoRA adapter",
    "use_rslora": "is scaled by rsLoRA",
    "modules_to_save": "trains whole modules",
    "rank_pattern": "has ranks that differ from layer to layer",
    "alpha_pattern": "has scales that differ from layer to layer",
    "fan_in_fan_out": "stores weights input-first, as GPT-2 does",
    "layer_replication": "repeats layers of the base model",
    "target_parameters": "adapts fused expert parameters",
    "megatron_config": "was trained with Megatron",
    "trainable_token_indices": "trains individual embedding rows",
    "lora_bias": "adds biases inside the adapter",
    "alora_invocation_tokens": "acts on only part of the prompt",
    "arrow_config": "routes between several adapters",
}
_PART = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")


@positional
class Pair:
    """The two low-rank factors of one weight.

    Attributes:
        a: ``(rank, d_in)``.
        b: ``(d_out, rank)``.
        scale: alpha / rank.
    """

    a: Place
    b: Place
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.b.shape[0], self.a.shape[1])


@positional
class LoraAdapter:
    """Content of an adapter folder.

    Attributes:
        pairs: Name of a weight of the base to its factors.
        whole: Name of a weight of the base to its replacement; empty unless all weights were trained.
    """

    pairs: Mapping[str, Pair]
    whole: Mapping[str, Place]

    @property
    def rank(self) -> int:
        """The rank, which a server that applies the adapter must allow; 0 where all weights were trained."""
        return max((pair.a.shape[0] for pair in self.pairs.values()), default=0)

    def changed(self, name: str, weight: Floats32) -> Floats32:
        if name in self.whole:
            return self.whole[name].read()
        pair = self.pairs[name]
        return weight + pair.scale * (pair.b.read() @ pair.a.read())


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
        return LoraAdapter({}, tensors_of(folder))
    config = read_config(folder / "adapter_config.json")
    if (kind := config.get("peft_type")) != "LORA":
        raise ModelError(f"The adapter in {folder} has the PEFT type {kind or 'none'}, not LORA.", hint=TRAIN_AGAIN)
    for key, why in UNMERGEABLE_SETTINGS.items():
        if config.get(key):
            raise UserError(f"The adapter in {folder} cannot be merged because it {why} ({key}).", hint=TRAIN_AGAIN)
    modules: dict[str, dict[str, Place]] = {}
    for name, place in tensors_of(folder).items():
        if (match := _PART.fullmatch(name)) is None:
            raise UserError(
                f"The adapter in {folder} contains {name[:100]}, which is not a LoRA tensor of a linear layer.",
                hint=TRAIN_AGAIN,
            )
        modules.setdefault(match["module"], {})[match["side"]] = place
    rank, alpha = (number_of(config.get(name, 8), name) for name in ("r", "lora_alpha"))
    for module, sides in modules.items():
        shapes = [sides[side].shape for side in "AB" if side in sides]
        if [len(shape) for shape in shapes] != [2, 2] or not shapes[0][0] == shapes[1][1] == rank:
            raise ModelError(
                f"The adapter in {folder} lacks a matching pair of LoRA matrices (A and B) of rank {rank:g} for "
                f"{module[:100]}.",
                hint=TRAIN_AGAIN,
            )
    return LoraAdapter(
        {f"{module}.weight": Pair(sides["A"], sides["B"], alpha / rank) for module, sides in modules.items()}, {}
    )
