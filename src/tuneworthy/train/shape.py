"""Shape of a model and its number of parameters, from config.json or the header of a GGUF file.

`read_shape` reads plain JSON with a cap on every size; nothing of the model is imported. It estimates the weights from
the sizes as if the layers were Llama's, which is right to 2% for `KNOWN` architectures (no biases, no small norms).
`count_layers` counts them on torch's meta device, where transformers is installed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

from tuneworthy.errors import ModelError
from tuneworthy.providers.gguf import GgufHeader, read_header
from tuneworthy.providers.model_safety import read_config
from tuneworthy.train import messages
from tuneworthy.train.attention import supports
from tuneworthy.train.settings import ALL_LINEAR
from tuneworthy.types import JsonMapping, Texts, frozen

# Largest number that a width or a vocabulary may be.
MAX_SIZE = 2**24
# Most layers, and experts of a layer: libraries name and make them one by one. The deepest models have 130.
MAX_COUNT = 4096
# Architectures whose weights are estimated to 2%; of these, those whose embeddings and head are one matrix
# where config.json does not say, and those whose MLP has no gate.
KNOWN = frozenset({
    "llama", "mistral", "qwen2", "qwen3", "granite", "smollm3", "olmo2", "gemma", "gemma2", "gemma3_text", "phi3",
    "starcoder2", "gpt_neox", "mixtral", "qwen2_moe", "qwen3_moe",
})  # fmt: skip
TIED = frozenset({"smollm3", "gemma", "gemma2", "gemma3_text", "starcoder2"})
UNGATED = frozenset({"starcoder2", "gpt_neox"})
# Architectures named differently in GGUF and config.json.
GGUF_NAMES = {
    "gemma3": "gemma3_text", "qwen2moe": "qwen2_moe", "qwen3moe": "qwen3_moe", "gptneox": "gpt_neox",
}  # fmt: skip
GGUF_KEYS = {
    "block_count": "num_hidden_layers", "embedding_length": "hidden_size", "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads", "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim", "expert_count": "num_experts", "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LinearLayer:
    """A linear layer that occurs in several layers of a model.

    Attributes:
        name: Last part of its name.
        d_in: Width of its input.
        d_out: Width of its output.
        n: How often it occurs in the model.
        attention: Whether it belongs to attention, not to an MLP.
    """

    name: str
    d_in: int
    d_out: int
    n: int
    attention: bool = False

    @property
    def n_params(self) -> int:
        return self.n * self.d_out * self.d_in


@frozen
class Shape:
    """The shape of a decoder-only model.

    Attributes:
        architecture: `model_type` of config.json, or `general.architecture` of a GGUF file.
        known: Whether its weights were counted, or its architecture is one of `KNOWN`.
        hidden: Width of the model.
        n_layers: Layers.
        n_heads: Query heads.
        n_kv_heads: Key heads.
        head_dim: Width of a head.
        ff: Width of a dense MLP.
        vocab: Tokens of the vocabulary.
        tied: Whether embeddings and output head are one matrix.
        max_positions: Tokens that it can attend to; None if unknown.
        n_experts: Experts of a layer; 0 for a dense model.
        n_experts_used: Experts that work on a token.
        expert_ff: Width of an expert.
        shared_ff: Width of the experts that work on every token.
        vision: Whether the model also sees; only its text part is counted.
        linears: Linear layers that PEFT's `all-linear` reaches: experts are plain parameters, which it misses.
        n_expert_weights: Weights of all experts.
        n_other: Weights of norms, routers and biases.
        plain_attention: Whether `train` can let rows share their beginning (`attention`); False if that is not known.
    """

    architecture: str
    known: bool = True
    hidden: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ff: int
    vocab: int
    tied: bool
    max_positions: int | None = None
    n_experts: int = 0
    n_experts_used: int = 0
    expert_ff: int = 0
    shared_ff: int = 0
    vision: bool = False
    linears: Sequence[LinearLayer] = field(default=(), repr=False)
    n_expert_weights: int = 0
    n_other: int = 0
    plain_attention: bool = False

    @property
    def q_width(self) -> int:
        return self.n_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of all key heads together; that of the value heads is the same."""
        return self.n_kv_heads * self.head_dim

    @property
    def moe(self) -> bool:
        return self.n_experts > 0

    @property
    def active_ff(self) -> int:
        return self.n_experts_used * self.expert_ff + self.shared_ff if self.moe else self.ff

    @property
    def n_linear(self) -> int:
        """Weights of all linear layers and experts, without embeddings and output head: what NF4 quantises."""
        return sum(layer.n_params for layer in self.linears) + self.n_expert_weights

    @property
    def n_params(self) -> int:
        return self.n_linear + self.vocab * self.hidden * (1 if self.tied else 2) + self.n_other

    @property
    def n_active(self) -> int:
        """Weights that work on a token, without the embeddings that are only looked up: what time depends on."""
        idle = self.n_expert_weights * (1 - self.n_experts_used / self.n_experts) if self.moe else 0
        return self.n_linear - int(idle) + self.vocab * self.hidden

    @property
    def mlp_share(self) -> float:
        return sum(layer.n_params for layer in self.linears if not layer.attention) / self.n_linear

    def adapted(self, target_modules: str | Texts = ALL_LINEAR) -> Sequence[LinearLayer]:
        """Return the linear layers that get adapters.

        Raises:
            ModelError: None of the names is a linear layer of this model.
        """
        names = {target_modules} if isinstance(target_modules, str) else set(target_modules)
        layers = [layer for layer in self.linears if layer.name in names or names == {ALL_LINEAR}]
        if not layers:
            raise ModelError(
                (
                    f"The model has no linear layers named {', '.join(sorted(names))}. Its linear layers are "
                    f"{', '.join((layer.name for layer in self.linears))}."
                ),
                hint='Set target_modules to "all-linear".',
            )
        return layers

    def n_lora(self, rank: int, target_modules: str | Texts = ALL_LINEAR) -> int:
        """Return the parameters of adapters: the sum of rank · (d_in + d_out).

        Source: arXiv 2106.09685, section 4.
        """
        return rank * sum(layer.n * (layer.d_in + layer.d_out) for layer in self.adapted(target_modules))


def read_shape(path: Path) -> Shape:
    """Read the shape of the model at `path`: a folder with config.json, a config.json, or a GGUF file.

    Raises:
        ModelError: It is missing, it is no decoder-only text model, or a size in it cannot be true.
    """
    if path.is_file() and path.suffix == ".gguf":
        return shape_of_gguf(read_header(path))
    path = path / "config.json" if path.is_dir() else path
    return shape_of_config(read_config(path), str(path))


def shape_of_config(document: JsonMapping, where: str = "config.json") -> Shape:
    """Return the shape that the content of a config.json describes, its weights estimated.

    Raises:
        ModelError: A size is missing or cannot be true.
    """
    text = document.get("text_config")
    config = {**document, **text} if isinstance(text, dict) else document

    def optional(*keys: str, most: int = MAX_SIZE) -> int:
        key = next((key for key in keys if config.get(key) is not None), None)
        value = 0 if key is None else config[key]
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise ModelError(
                f"{where}: {key} must be a whole number from 0 to {most}, not {str(value)[:40]}.",
                hint=messages.SHAPE_HINT,
            )
        return value

    def needed(*keys: str, most: int = MAX_SIZE) -> int:
        if not (value := optional(*keys, most=most)):
            raise ModelError(f"{where}: {keys[0]} is missing.", hint=messages.SHAPE_HINT)
        return value

    name, tied = str(config.get("model_type") or "unknown"), config.get("tie_word_embeddings")
    heads, hidden = needed("num_attention_heads", "n_head"), needed("hidden_size", "n_embd")
    experts = optional("num_local_experts", "num_experts", "n_routed_experts", most=MAX_COUNT)
    shape = Shape(
        architecture=name,
        known=name in KNOWN,
        hidden=hidden,
        n_layers=needed("num_hidden_layers", "n_layer", most=MAX_COUNT),
        n_heads=heads,
        n_kv_heads=optional("num_key_value_heads") or heads,
        head_dim=optional("head_dim") or max(1, hidden // heads),
        ff=optional("intermediate_size", "n_inner", "moe_intermediate_size") or 4 * hidden,
        vocab=needed("vocab_size"),
        tied=tied if isinstance(tied, bool) else name in TIED,
        max_positions=optional("max_position_embeddings") or None,
        n_experts=experts,
        n_experts_used=optional("num_experts_per_tok") if experts else 0,
        expert_ff=optional("moe_intermediate_size", "intermediate_size") if experts else 0,
        shared_ff=optional("shared_expert_intermediate_size") if experts else 0,
        vision=isinstance(text, dict) or "vision_config" in document,
    )
    return _estimated(shape)


def shape_of_gguf(header: GgufHeader) -> Shape:
    """Return the shape that the header of a GGUF file describes, its weights estimated.

    Raises:
        ModelError: A size is missing, or differs from layer to layer.
    """
    sizes = {name: header.values.get(f"{header.architecture}.{key}") for key, name in GGUF_KEYS.items()}
    config = {
        **sizes, "model_type": GGUF_NAMES.get(header.architecture, header.architecture),
        "vocab_size": header.vocab_size, "tie_word_embeddings": header.tied,
        "max_position_embeddings": header.context_length,
    }  # fmt: skip
    return shape_of_config(config, "The GGUF header")


def _estimated(shape: Shape) -> Shape:
    h, q, kv, n = shape.hidden, shape.q_width, shape.kv_width, shape.n_layers
    widths = {"q_proj": (h, q), "k_proj": (h, kv), "v_proj": (h, kv), "o_proj": (q, h)}
    linears = [LinearLayer(name, *width, n, attention=True) for name, width in widths.items()]
    up = ("up_proj",) if shape.architecture in UNGATED else ("gate_proj", "up_proj")
    if ff := shape.shared_ff if shape.moe else shape.ff:
        linears += [LinearLayer(name, h, ff, n) for name in up]
        linears.append(LinearLayer("down_proj", ff, h, n))
    return replace(
        shape,
        linears=tuple(linears),
        n_expert_weights=n * shape.n_experts * (len(up) + 1) * h * shape.expert_ff,
        n_other=h + n * h * (2 + shape.n_experts),
    )


def count_layers(shape: Shape, folder: Path) -> Shape:
    """Return the shape with its weights counted in the model that transformers makes of config.json, on no device.

    The shape is returned as it is where there is no config.json, transformers is not installed or does not know the
    architecture. No code of the model runs.

    Args:
        shape: As it was read there, so that its sizes are held against the caps.
        folder: With the config.json.

    Raises:
        ModelError: The config names code of its own.
    """
    if not (folder / "config.json").is_file() or find_spec("transformers") is None:
        return shape
    read_config(folder / "config.json")
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True).get_text_config()
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception:  # an architecture or a size that transformers rejects; its errors have no common class
        return shape
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    layers = Counter(
        (name.rpartition(".")[2], module.in_features, module.out_features, "att" in name)
        for name, module in model.named_modules() if isinstance(module, torch.nn.Linear) and module is not head
    )  # fmt: skip
    linears = tuple(LinearLayer(name, d_in, d_out, n, own) for (name, d_in, d_out, own), n in layers.items())
    weights = dict(model.named_parameters())  # each matrix once, tied or not
    counted = replace(
        shape,
        known=True,
        linears=linears,
        n_expert_weights=sum(weight.numel() for weight in weights.values() if weight.ndim == 3),
        tied=head is not None and head.weight is embeddings.weight,
        n_other=0,
        plain_attention=supports(config),
    )
    return replace(counted, n_other=sum(weight.numel() for weight in weights.values()) - counted.n_params)
