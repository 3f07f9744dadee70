"""What a model's config.json (or the header of its GGUF file) says of its shape, and what can be counted from it.

Read as plain JSON with every size held against a cap: nothing of the model is imported or run. Parameters are counted
layer by layer and agree with transformers to the last one (tests/numerics/test_shape.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import orjson

from tuneworthy.errors import ModelError
from tuneworthy.providers.gguf import GgufHeader, read_header
from tuneworthy.train.settings import ALL_LINEAR

MAX_CONFIG_BYTES: Final = 4 * 2**20
MAX_SIZE: Final = 2**24
"""Largest number that a width or a vocabulary may be."""
MAX_COUNT: Final = 4096
"""Most layers, and experts of a layer: libraries name and make them one by one. The deepest models have 130."""
_HINT = "name a folder with a config.json of a decoder-only text model, or a GGUF file"


@dataclass(frozen=True, slots=True)
class LinearLayer:
    """A linear layer: its name, its widths, and whether it has a bias."""

    name: str
    d_in: int
    d_out: int
    bias: bool = False

    @property
    def n_params(self) -> int:
        """Weights and biases."""
        return self.d_in * self.d_out + (self.d_out if self.bias else 0)


@dataclass(frozen=True, slots=True)
class Family:
    """How the layers of an architecture differ from those of Llama.

    Attributes:
        tied: Whether embeddings and output head are one if config.json does not say.
        gated: Whether the MLP has a gate. fused: Whether q, k, v are one layer, and gate and up another.
        fused_qkv: Whether only q, k, v are one layer.
        qkv_bias, out_bias, mlp_bias: Which linear layers have a bias if config.json does not say.
        norms: Norms a layer. norm_bias: Whether they have a bias.
        qk_norms: Norms on queries and keys: of a head's width, or "wide" for all heads together.
        shared_gate: Whether the shared expert has a gate.
    """

    tied: bool = False
    gated: bool = True
    fused: bool = False
    fused_qkv: bool = False
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    norms: int = 2
    norm_bias: bool = False
    qk_norms: bool | str = False
    shared_gate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The shape of a decoder-only model.

    Attributes:
        architecture: `model_type` of config.json, or `general.architecture` of a GGUF file.
        known: Whether it is a family whose layers are counted exactly; others are counted as if they were Llama's.
        hidden, n_layers, n_heads, n_kv_heads, head_dim, ff, vocab: Widths and counts; `ff` is that of a dense layer.
        tied: Whether embeddings and output head are one matrix.
        dtype: Of the stored weights.
        max_positions: Tokens that it can attend to; None if not told.
        n_experts, n_experts_used, expert_ff, shared_ff: Of a mixture of experts, else 0.
        n_dense_layers: Layers of a mixture of experts that have none.
        vision: Whether config.json is of a model that also sees; only its text part is counted.
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
    dtype: str = "bfloat16"
    max_positions: int | None = None
    n_experts: int = 0
    n_experts_used: int = 0
    expert_ff: int = 0
    shared_ff: int = 0
    n_dense_layers: int = 0
    vision: bool = False
    family: Family = field(default=Family(), repr=False)

    @property
    def q_width(self) -> int:
        """Width of all query heads together."""
        return self.n_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of all key heads together; that of the value heads is the same."""
        return self.n_kv_heads * self.head_dim

    @property
    def moe(self) -> bool:
        """Whether it is a mixture of experts."""
        return self.n_experts > 0

    @property
    def attention_linears(self) -> Sequence[LinearLayer]:
        """Linear layers of the attention of one layer."""
        kind, q, kv = self.family, self.q_width, self.kv_width
        out = "dense" if kind.fused_qkv else "o_proj"
        last = LinearLayer(out, q, self.hidden, kind.out_bias)
        if kind.fused or kind.fused_qkv:
            name = "query_key_value" if kind.fused_qkv else "qkv_proj"
            return (LinearLayer(name, self.hidden, q + 2 * kv, kind.qkv_bias), last)
        widths = {"q_proj": q, "k_proj": kv, "v_proj": kv}
        return (*(LinearLayer(name, self.hidden, width, kind.qkv_bias) for name, width in widths.items()), last)

    @property
    def mlp_linears(self) -> Sequence[LinearLayer]:
        """Linear layers of a dense MLP."""
        return self._mlp(self.ff)

    @property
    def linears(self) -> Sequence[LinearLayer]:
        """Linear layers of a layer that PEFT's `all-linear` reaches: experts are plain parameters, which it misses."""
        if not self.moe:
            return (*self.attention_linears, *self.mlp_linears)
        return (*self.attention_linears, *self._shared())

    @property
    def n_linear(self) -> int:
        """Weights of all linear layers and experts, without embeddings, output head and norms: what NF4 quantises."""
        return self.n_layers * sum(one.n_params for one in self.attention_linears) + self._mlp_weights()

    @property
    def n_embedding(self) -> int:
        """Weights of the embeddings and of the output head, if it is another matrix."""
        return self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def n_norm(self) -> int:
        """Weights of all norms."""
        kind = self.family
        wide = self.q_width + self.kv_width if kind.qk_norms == "wide" else 2 * self.head_dim
        a_layer = kind.norms * self.hidden * (2 if kind.norm_bias else 1) + (wide if kind.qk_norms else 0)
        return self.n_layers * a_layer + self.hidden * (2 if kind.norm_bias else 1)

    @property
    def n_params(self) -> int:
        """All weights."""
        return self.n_linear + self.n_embedding + self.n_norm

    @property
    def n_active(self) -> int:
        """Weights that work on a token, without the embeddings that are only looked up: what time depends on."""
        idle = self._expert_params() * (self.n_experts - self.n_experts_used)
        return self.n_linear - idle * (self.n_layers - self.n_dense_layers) + self.vocab * self.hidden

    def adapted(self, target_modules: str | Sequence[str] = ALL_LINEAR) -> Sequence[LinearLayer]:
        """Return the linear layers of a layer that get adapters.

        Raises:
            ModelError: None of the names is a linear layer of this model.
        """
        if isinstance(target_modules, str) and target_modules == ALL_LINEAR:
            return self.linears
        names = {target_modules} if isinstance(target_modules, str) else set(target_modules)
        found = [one for one in self.linears if one.name in names]
        if not found:
            known = ", ".join(one.name for one in self.linears)
            told = ", ".join(sorted(names))
            raise ModelError(f"expected target modules among {known}, got {told}", hint=f"write {ALL_LINEAR!r}")
        return found

    def n_lora(self, rank: int, target_modules: str | Sequence[str] = ALL_LINEAR) -> int:
        """Return the parameters of adapters: the sum of rank · (d_in + d_out).

        Source: facts.md A2, A3; arXiv 2106.09685 section 4.
        """
        return self.n_layers * sum(rank * (one.d_in + one.d_out) for one in self.adapted(target_modules))

    def _mlp(self, ff: int, prefix: str = "") -> Sequence[LinearLayer]:
        kind, bias = self.family, self.family.mlp_bias
        if kind.fused:
            return (
                LinearLayer(prefix + "gate_up_proj", self.hidden, 2 * ff, bias),
                LinearLayer(prefix + "down_proj", ff, self.hidden, bias),
            )
        if not kind.gated:
            up, down = ("dense_h_to_4h", "dense_4h_to_h") if kind.fused_qkv else ("c_fc", "c_proj")
            return (LinearLayer(up, self.hidden, ff, bias), LinearLayer(down, ff, self.hidden, bias))
        wide = [LinearLayer(prefix + name, self.hidden, ff, bias) for name in ("gate_proj", "up_proj")]
        return (*wide, LinearLayer(prefix + "down_proj", ff, self.hidden, bias))

    def _shared(self) -> Sequence[LinearLayer]:
        gate = (
            (LinearLayer("shared_expert_gate", self.hidden, 1),) if self.family.shared_gate and self.shared_ff else ()
        )
        return (*(self._mlp(self.shared_ff) if self.shared_ff else ()), *gate)

    def _expert_params(self) -> int:
        return sum(one.n_params for one in self._mlp(self.expert_ff)) if self.moe else 0

    def _mlp_weights(self) -> int:
        dense = sum(one.n_params for one in self.mlp_linears)
        if not self.moe:
            return self.n_layers * dense
        router = self.hidden * self.n_experts
        sparse = self.n_experts * self._expert_params() + router + sum(one.n_params for one in self._shared())
        return (self.n_layers - self.n_dense_layers) * sparse + self.n_dense_layers * dense


@cache
def families() -> Mapping[str, Family]:
    """Return the architectures whose layers are counted exactly."""
    document = orjson.loads(files(__package__).joinpath("families.json").read_bytes())
    return {name: Family(**row) for name, row in document["families"].items()}


def read_shape(path: Path) -> Shape:
    """Read the shape of the model at `path`: a folder with config.json, a config.json, or a GGUF file.

    Raises:
        ModelError: There is none, it is no decoder-only text model, or a size in it cannot be true.
    """
    if path.is_file() and path.suffix == ".gguf":
        return shape_of_gguf(read_header(path))
    path = path / "config.json" if path.is_dir() else path
    try:
        size = path.stat().st_size
        if size > MAX_CONFIG_BYTES:
            raise ModelError(f"{path}: expected at most {MAX_CONFIG_BYTES} bytes, got {size}", hint=_HINT)
        document = orjson.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: expected a config.json, got {error.strerror or error}", hint=_HINT) from None
    except orjson.JSONDecodeError as error:
        raise ModelError(f"{path}: expected JSON, got: {error}", hint=_HINT) from None
    if not isinstance(document, dict):
        raise ModelError(f"{path}: expected an object, got {type(document).__name__}", hint=_HINT)
    return shape_of_config(document, str(path))


def shape_of_config(document: Mapping[str, Any], where: str = "config.json") -> Shape:
    """Return the shape that the content of a config.json describes.

    Raises:
        ModelError: A size is missing or cannot be true.
    """
    inner = document.get("text_config")
    config = _Config({**document, **inner} if isinstance(inner, dict) else document, where)
    name = config.word("model_type", "")
    family = families().get(name)
    kind = family or Family()
    heads, hidden = config.size("num_attention_heads", "n_head"), config.size("hidden_size", "n_embd")
    biased = config.flag("attention_bias", "use_bias", default=kind.qkv_bias)
    out_bias = config.flag("attention_bias", "use_bias", default=kind.out_bias) if family is None else kind.out_bias
    if name in {"llama", "qwen3", "granite", "smollm3", "olmo2", "gemma", "gemma2", "gemma3_text", "qwen3_moe"}:
        out_bias = biased
    n_experts = config.optional("num_local_experts", "num_experts", "n_routed_experts", most=MAX_COUNT)
    layers = config.size("num_hidden_layers", "n_layer", most=MAX_COUNT)
    return Shape(
        architecture=name or "unknown",
        known=family is not None,
        hidden=hidden,
        n_layers=layers,
        n_heads=heads,
        n_kv_heads=config.optional("num_key_value_heads") or heads,
        head_dim=config.optional("head_dim") or max(1, hidden // heads),
        ff=config.optional("intermediate_size", "n_inner") or 4 * hidden,
        vocab=config.size("vocab_size"),
        tied=config.flag("tie_word_embeddings", default=kind.tied),
        dtype=config.word("dtype", config.word("torch_dtype", "bfloat16")),
        max_positions=config.optional("max_position_embeddings") or None,
        n_experts=n_experts,
        n_experts_used=config.optional("num_experts_per_tok") if n_experts else 0,
        expert_ff=config.optional("moe_intermediate_size", "intermediate_size") if n_experts else 0,
        shared_ff=config.optional("shared_expert_intermediate_size") if n_experts else 0,
        n_dense_layers=_n_dense(config, layers) if n_experts else 0,
        vision=isinstance(inner, dict) or "vision_config" in document,
        family=_with_bias(
            kind, qkv=biased, out=out_bias, mlp=config.flag("mlp_bias", "use_bias", default=kind.mlp_bias)
        ),
    )


def shape_of_gguf(header: GgufHeader) -> Shape:
    """Return the shape that the header of a GGUF file describes.

    Raises:
        ModelError: A size is missing, or differs from layer to layer.
    """
    name = header.architecture
    renamed = {"gemma3": "gemma3_text", "qwen2moe": "qwen2_moe", "qwen3moe": "qwen3_moe", "gptneox": "gpt_neox"}
    values = {key.removeprefix(name + "."): value for key, value in header.values.items()}
    config = _Config({**values, "vocab_size": header.vocab_size}, "the GGUF header")
    family = families().get(renamed.get(name, name))
    heads, hidden = config.size("attention.head_count"), config.size("embedding_length")
    n_experts = config.optional("expert_count", most=MAX_COUNT)
    ff = config.optional("feed_forward_length")
    return Shape(
        architecture=renamed.get(name, name),
        known=family is not None,
        hidden=hidden,
        n_layers=config.size("block_count", most=MAX_COUNT),
        n_heads=heads,
        n_kv_heads=config.optional("attention.head_count_kv") or heads,
        head_dim=config.optional("attention.key_length") or max(1, hidden // heads),
        ff=ff or config.size("expert_feed_forward_length"),
        vocab=config.size("vocab_size"),
        tied=header.tied,
        dtype=header.file_type,
        max_positions=header.context_length,
        n_experts=n_experts,
        n_experts_used=config.optional("expert_used_count"),
        expert_ff=(config.optional("expert_feed_forward_length") or ff) if n_experts else 0,
        shared_ff=config.optional("expert_shared_feed_forward_length"),
        family=family or Family(),
    )


def _with_bias(kind: Family, *, qkv: bool, out: bool, mlp: bool) -> Family:
    return Family(
        **{name: getattr(kind, name) for name in Family.__slots__} | {"qkv_bias": qkv, "out_bias": out, "mlp_bias": mlp}
    )


def _n_dense(config: _Config, n_layers: int) -> int:
    """Count the layers without experts: those that are named, those between the sparse ones, and the first ones."""
    named = config.values.get("mlp_only_layers")
    named = {one for one in named if isinstance(one, int)} if isinstance(named, list) else set()
    step = config.optional("decoder_sparse_step") or 1
    first = min(config.optional("first_k_dense_replace"), n_layers)
    return sum(1 for layer in range(n_layers) if layer < first or layer in named or (layer + 1) % step)


@dataclass(frozen=True, slots=True)
class _Config:
    """Reads sizes by any of several keys."""

    values: Mapping[str, Any]
    where: str

    def size(self, *keys: str, most: int = MAX_SIZE) -> int:
        """Return the first of `keys` that is told; at least one must be."""
        found = self.optional(*keys, most=most)
        if not found:
            raise ModelError(f"{self.where}: expected {keys[0]}, got none", hint=_HINT)
        return found

    def optional(self, *keys: str, most: int = MAX_SIZE) -> int:
        """Return the first of `keys` that is told, else 0."""
        for key in keys:
            value = self.values.get(key)
            if value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
                raise ModelError(
                    f"{self.where}: expected {key} between 0 and {most}, got {str(value)[:40]}", hint=_HINT
                )
            return value
        return 0

    def flag(self, *keys: str, default: bool) -> bool:
        """Return the first of `keys` that is true or false, else `default`."""
        return next((value for key in keys if isinstance(value := self.values.get(key), bool)), default)

    def word(self, key: str, default: str) -> str:
        """Return a text."""
        value = self.values.get(key)
        return value if isinstance(value, str) else default
