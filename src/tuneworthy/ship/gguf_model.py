"""What of a Hugging Face model stands where in a GGUF file: the numbers of its config, and each tensor.

Only architectures whose every deviation is known are converted; a setting that the file cannot hold is refused by name
and never left out. Each one is held against llama.cpp in the tests.

Source: llama.cpp convert_hf_to_gguf.py (TextModel, LlamaModel, Qwen2Model, Qwen3Model, Qwen2MoeModel, GemmaModel,
Gemma2Model, Gemma3Model) and src/llama-model.cpp; the `gguf` package's TensorNameMap.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import pi
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tuneworthy.errors import UserError
from tuneworthy.providers.model_safety import read_config, tensors_of
from tuneworthy.providers.weights import Place
from tuneworthy.ship import messages


@dataclass(frozen=True, slots=True)
class Architecture:
    """How a family of models is written.

    Attributes:
        name: As llama.cpp calls it.
        permute: Whether the rows of q and k are reordered for its rotary embedding.
        norm_offset: Added to the weights of norms, which Hugging Face stores as a difference to 1.
        own_head_size: Whether the config's head_dim is written although it may be hidden size / heads.
    """

    name: str
    permute: bool = False
    norm_offset: float = 0.0
    own_head_size: bool = False


# Class of a model, as its config names it.
ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    "LlamaForCausalLM": Architecture("llama", permute=True),
    "MistralForCausalLM": Architecture("llama", permute=True),
    "Qwen2ForCausalLM": Architecture("qwen2"),
    "Qwen3ForCausalLM": Architecture("qwen3", own_head_size=True),
    "GemmaForCausalLM": Architecture("gemma", norm_offset=1.0, own_head_size=True),
    "Gemma2ForCausalLM": Architecture("gemma2", norm_offset=1.0, own_head_size=True),
    "Gemma3ForCausalLM": Architecture("gemma3", norm_offset=1.0, own_head_size=True),
    "Qwen3MoeForCausalLM": Architecture("qwen3moe", own_head_size=True),
}
# One weight of one expert; the file has those of all experts of a layer as one tensor.
_EXPERT: Final = re.compile(r"(?P<experts>.+\.experts)\.(?P<number>\d+)\.(?P<part>\w+\.weight)")
# What llama.cpp takes for granted of Gemma 3: a layer in six sees everything, the others a window, each with its base.
_WINDOWED: Final = 6
_LOCAL_BASE: Final = 10000.0


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the file to be written.

    Attributes:
        name: In the file.
        shape: Rows first.
        read: Returns it in 32 bits.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[], NDArray[np.float32]]


class GgufModel:
    """A Hugging Face folder, seen as what is written to a GGUF file.

    Args:
        folder: Holds config.json and safetensors.

    Raises:
        UserError: Its architecture, or a setting of it, is not known here.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = read_config(folder / "config.json")
        named = (self.config.get("architectures") or ["none"])[0]
        if named not in ARCHITECTURES:
            raise UserError(
                (
                    f"The {named} architecture cannot be exported as GGUF. Supported architectures are "
                    f"{', '.join(ARCHITECTURES)}."
                ),
                hint=messages.USE_CONVERTER,
            )
        self.architecture = ARCHITECTURES[named]
        self.places = tensors_of(folder)
        self._check()

    @property
    def n_layers(self) -> int:
        """Blocks of the transformer."""
        return int(self.config["num_hidden_layers"])

    @property
    def n_rows(self) -> int:
        """Rows of the embeddings: at least as many as there are tokens."""
        return next(place.shape[0] for name, place in self.places.items() if name.endswith("embed_tokens.weight"))

    @property
    def head_size(self) -> int:
        """Numbers of one head of the attention."""
        return int(self.config.get("head_dim") or self.config["hidden_size"] // self.config["num_attention_heads"])

    @property
    def rope(self) -> dict[str, Any]:
        """The settings of the rotary embedding; transformers 5 writes them together, 4 did not."""
        scaling = self.config.get("rope_parameters") or self.config.get("rope_scaling") or {}
        scaling = scaling.get("full_attention", scaling)  # Gemma 3 has others for its windows
        theta = scaling.get("rope_theta", self.config.get("rope_theta", 10000.0))
        kind = scaling.get("rope_type", scaling.get("type", "default"))
        return {**scaling, "rope_theta": float(theta), "rope_type": kind}

    def values(self) -> Iterator[tuple[str, int | float | str]]:
        """Yield the keys of the config that llama.cpp reads, each with its value."""
        config, name = self.config, self.architecture.name
        yield f"{name}.block_count", self.n_layers
        yield f"{name}.context_length", self._context()
        yield f"{name}.embedding_length", int(config["hidden_size"])
        yield f"{name}.feed_forward_length", int(config["intermediate_size"])
        yield f"{name}.attention.head_count", int(config["num_attention_heads"])
        yield f"{name}.attention.head_count_kv", self._n_kv_heads
        yield f"{name}.attention.layer_norm_rms_epsilon", float(config["rms_norm_eps"])
        yield f"{name}.rope.freq_base", self.rope["rope_theta"]
        yield f"{name}.vocab_size", self.n_rows
        if self.architecture.own_head_size or self.head_size * config["num_attention_heads"] != config["hidden_size"]:
            yield f"{name}.attention.key_length", self.head_size
            yield f"{name}.attention.value_length", self.head_size
        if name == "llama":
            yield f"{name}.rope.dimension_count", self.head_size
        if self.rope["rope_type"] == "linear":
            yield f"{name}.rope.scaling.type", "linear"
            yield f"{name}.rope.scaling.factor", float(self.rope["factor"])
        if name == "gemma2":
            yield f"{name}.attn_logit_softcapping", float(config["attn_logit_softcapping"])
            yield f"{name}.final_logit_softcapping", float(config["final_logit_softcapping"])
            yield f"{name}.attention.sliding_window", int(config["sliding_window"])
        if name == "gemma3":
            yield f"{name}.attention.sliding_window", int(config["sliding_window"])
        if name == "qwen3moe":
            yield f"{name}.expert_count", self._n_experts
            yield f"{name}.expert_used_count", int(config["num_experts_per_tok"])
            yield f"{name}.expert_feed_forward_length", int(config["moe_intermediate_size"])

    def tensors(self) -> Iterator[Tensor]:
        """Yield every tensor of the file, in the order of the source.

        Raises:
            UserError: The source holds one that has no place in the file.
        """
        import gguf

        arch = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == self.architecture.name)
        names = gguf.get_tensor_name_map(arch, self.n_layers)
        tied = self.config.get("tie_word_embeddings", self.architecture.name.startswith("gemma"))
        if self.rope["rope_type"] == "llama3":
            yield Tensor("rope_freqs.weight", (self.head_size // 2,), self._llama3_factors)
        for name, place in self.places.items():
            if name.endswith("rotary_emb.inv_freq") or (name == "lm_head.weight" and tied):
                continue
            expert = _EXPERT.fullmatch(name)
            if expert and int(expert["number"]):
                continue  # with the first of its layer
            whole = f"{expert['experts']}.{expert['part']}" if expert else name
            target = names.get_name(whole, try_suffixes=(".weight", ".bias"))
            if target is None:
                raise UserError(
                    f"GGUF files for the {self.architecture.name} architecture cannot store {name[:100]}.",
                    hint=messages.USE_CONVERTER,
                )
            if expert is None:
                yield Tensor(target, place.shape, self._reader(name, place))
                continue
            numbers = range(self._n_experts)
            each = [self.places[f"{expert['experts']}.{number}.{expert['part']}"] for number in numbers]
            yield Tensor(target, (len(each), *place.shape), partial(_stacked, each))

    @property
    def _n_experts(self) -> int:
        return int(
            self.config.get("num_experts") or self.config["num_local_experts"]
        )  # transformers 5 writes the latter

    @property
    def _n_kv_heads(self) -> int:
        return int(self.config.get("num_key_value_heads") or self.config["num_attention_heads"])

    def _context(self) -> int:
        """Return the context that the file may promise: within the window, where llama.cpp knows none."""
        context = int(self.config["max_position_embeddings"])
        window = self.config.get("sliding_window")
        return min(context, int(window)) if window and self.architecture.name == "llama" else context

    def _reader(self, name: str, place: Place) -> Callable[[], NDArray[np.float32]]:
        q, k = name.endswith(("q_proj.weight", "q_proj.bias")), name.endswith(("k_proj.weight", "k_proj.bias"))
        if self.architecture.permute and (q or k):
            heads = int(self.config["num_attention_heads"]) if q else self._n_kv_heads
            return lambda: permuted(place.read(), heads)
        if self.architecture.norm_offset and name.endswith("norm.weight"):
            return lambda: place.read() + self.architecture.norm_offset
        return place.read

    def _llama3_factors(self) -> NDArray[np.float32]:
        """Return what each frequency is divided by, ``(head_size / 2,)``.

        Source: transformers modeling_rope_utils.py, `_compute_llama3_parameters`.
        """

        rope, size = self.rope, self.head_size
        factor, low, high = (float(rope[key]) for key in ("factor", "low_freq_factor", "high_freq_factor"))
        old = float(rope["original_max_position_embeddings"])
        waves = 2 * pi * rope["rope_theta"] ** (np.arange(0, size, 2, dtype=np.float64) / size)
        smooth = (old / waves - low) / (high - low)
        between = 1 / ((1 - smooth) / factor + smooth)
        factors = np.where(waves < old / high, 1.0, np.where(waves > old / low, factor, between))
        return factors.astype(np.float32)

    def _lost_of_gemma3(self) -> dict[str, object]:
        config, local = self.config, (self.config.get("rope_parameters") or {}).get("sliding_attention") or {}
        base = local.get("rope_theta", config.get("rope_local_base_freq", _LOCAL_BASE))
        layers = [("full" if (n + 1) % _WINDOWED == 0 else "sliding") + "_attention" for n in range(self.n_layers)]
        scalar = config.get("query_pre_attn_scalar", self.head_size)
        return {
            "the export supports Gemma 3 only with one layer of full attention in six": config.get(
                "layer_types", layers
            )
            != layers,
            f"the export supports Gemma 3 only with a RoPE base of 10000 in its windows, not {base}": base
            != _LOCAL_BASE,
            f"the export supports Gemma 3 only with attention scaled by the head size, not by {scalar}": scalar
            != self.head_size,
            "the export does not support soft-capped logits of Gemma 3": config.get("attn_logit_softcapping")
            or config.get("final_logit_softcapping"),
            "the export does not support bidirectional attention": config.get("use_bidirectional_attention"),
        }

    def _lost_of_experts(self) -> dict[str, object]:
        config = self.config
        dense = config.get("mlp_only_layers") or config.get("decoder_sparse_step", 1) != 1
        return {
            "the export supports experts only in all layers": dense,
            "the export supports experts only with weights that sum to 1 (norm_topk_prob)": not config.get(
                "norm_topk_prob"
            ),
        }

    def _check(self) -> None:
        config = self.config
        wanted = "gelu" if self.architecture.name.startswith("gemma") else "silu"
        activation = str(config.get("hidden_activation") or config.get("hidden_act") or wanted)
        scaling = self.rope["rope_type"]
        lost = {
            f"the export does not support the RoPE scaling {scaling}": scaling not in {"default", "linear", "llama3"},
            "the export does not support sliding-window attention (use_sliding_window)": config.get(
                "use_sliding_window"
            ),
            "it is already quantised": config.get("quantization_config"),
            f"the export does not support the activation function {activation}": not activation.startswith(wanted),
            **(self._lost_of_gemma3() if self.architecture.name == "gemma3" else {}),
            **(self._lost_of_experts() if self.architecture.name == "qwen3moe" else {}),
        }
        for setting, occurs in lost.items():
            if occurs:
                raise UserError(f"The model cannot be exported as GGUF: {setting}.", hint=messages.USE_CONVERTER)


def _stacked(places: Sequence[Place]) -> NDArray[np.float32]:
    return np.stack([place.read() for place in places])


def permuted(rows: NDArray[np.float32], n_heads: int) -> NDArray[np.float32]:
    """Reorder the rows of q or k from halves (Hugging Face) to pairs (llama.cpp).

    Args:
        rows: ``(n_heads * head_size, ...)``.

    >>> import numpy as np
    >>> permuted(np.arange(4.0, dtype=np.float32), 1).tolist()
    [0.0, 2.0, 1.0, 3.0]
    """
    halves = rows.reshape(n_heads, 2, rows.shape[0] // n_heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)
