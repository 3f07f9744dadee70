"""GGUF keys, tensors and tokenizer of a Hugging Face model.

Only architectures whose every deviation is known are converted; a setting without a place in the file is refused by
name and never left out. Each one is held against llama.cpp in the tests.

llama.cpp knows pre-tokenizers by name and not by rule, so a tokenizer is written only if its rule is one of those whose
name is known; `parity` then compares the ids on real prompts.

Source: llama.cpp convert_hf_to_gguf.py (TextModel, LlamaModel, Qwen2Model, Qwen3Model, Qwen2MoeModel, GemmaModel,
Gemma2Model, Gemma3Model, get_vocab_base, get_vocab_base_pre), src/llama-model.cpp and src/llama-vocab.cpp; the `gguf`
package's TensorNameMap.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from math import pi
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from tuneworthy.arrays import Floats32
from tuneworthy.errors import ModelError, UserError
from tuneworthy.providers.gguf_writer import Tensor
from tuneworthy.providers.model_safety import optional_config, read_config, tensors_of
from tuneworthy.providers.weights import Place
from tuneworthy.types import JsonObject, frozen, positional

USE_CONVERTER = "Convert the model with llama.cpp's convert_hf_to_gguf.py."
# llama.cpp's types of tokens.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# Regular expression of a pre-tokenizer to the name that llama.cpp knows it by.
_RULES = {_LETTERS + "{1,3}" + _REST: "llama-bpe", _LETTERS + _REST: "qwen2"}
_SPACE = "\u2581"
_BYTE_TOKEN = re.compile("<0x..>", re.DOTALL)


M = TypeVar("M", bound=BaseModel)


class TokenizerStep(BaseModel):
    """A normalizer, pre-tokenizer or post-processor of tokenizer.json, or a sequence."""

    type: str | None = None
    use_regex: bool = True
    individual_digits: bool = False
    behavior: str | None = None
    pattern: dict[str, str] = {}
    prepend: str | None = None
    prepend_scheme: str = "always"
    single: list[JsonObject] = []
    parts: "list[TokenizerStep] | None" = Field(
        default=None, validation_alias=AliasChoices("normalizers", "pretokenizers", "processors")
    )

    @property
    def steps(self) -> "list[TokenizerStep]":
        return self.parts or [self]


class AddedToken(BaseModel):
    """A token that was added to the vocabulary."""

    id: int
    content: str
    special: bool = False


class TokenModel(BaseModel):
    """The vocabulary and merges of tokenizer.json."""

    vocab: dict[str, int] = {}
    merges: list[str | list[str]] = []
    byte_fallback: bool = False
    unk_token: str | None = None


class TokenizerFile(BaseModel):
    """The parts of tokenizer.json that a GGUF file takes over."""

    model: TokenModel = TokenModel()
    added_tokens: list[AddedToken] = []
    normalizer: TokenizerStep | None = None
    pre_tokenizer: TokenizerStep | None = None
    post_processor: TokenizerStep | None = None


@frozen
class Vocabulary:
    """A tokenizer as llama.cpp reads it.

    Attributes:
        model: `gpt2` (bytes) or `llama` (sentencepiece).
        pre: Name of the pre-tokenizer.
        tokens: Texts by id, filled up to the rows of the embeddings.
        types: Types by id.
        scores: Scores by id, of a `llama` one.
        merges: Merges of a `gpt2` one.
        add_space: Whether a space is put before a text.
    """

    model: str
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float] | None = None
    merges: list[str] | None = None
    add_space: bool = False


def read_vocabulary(folder: Path, n_rows: int) -> Vocabulary:
    """Return the vocabulary of a model folder.

    Args:
        folder: Holds tokenizer.json.
        n_rows: Rows of the embeddings.

    Raises:
        UserError: Its kind is not known here, or it has more tokens than rows.
    """
    document = read_tokenizer(folder)
    model = document.model
    tokens, types = _tokens(document, n_rows)
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model.merges]
    if not model.byte_fallback:
        return Vocabulary(model="gpt2", pre=pre_tokenizer(document), tokens=tokens, types=types,
                          merges=[" ".join(pair) for pair in pairs])  # fmt: skip
    rank = {"".join(pair): -float(place) for place, pair in reversed(list(enumerate(pairs, 1)))}
    scores = [rank.get(token, 0.0 if kind != NORMAL else -float(len(pairs) + 1))
              for token, kind in zip(tokens, types, strict=True)]  # fmt: skip
    steps = [*(document.normalizer or TokenizerStep()).steps, document.pre_tokenizer or TokenizerStep()]
    adds_space = any(
        (step.type == "Prepend" and step.prepend == _SPACE)
        or (step.type == "Metaspace" and step.prepend_scheme != "never")
        for step in steps
    )
    types = [
        BYTE if kind == NORMAL and _BYTE_TOKEN.fullmatch(token) else kind
        for token, kind in zip(tokens, types, strict=True)
    ]
    return Vocabulary(model="llama", pre="default", tokens=tokens, types=types, scores=scores,
                      add_space=adds_space)  # fmt: skip


def read_tokenizer(folder: Path) -> TokenizerFile:
    """Return tokenizer.json.

    Raises:
        UserError: The file is missing, or its kind is not known here.
        ModelError: A value is missing or has the wrong type.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"{path} is missing.", hint="Save the tokenizer with transformers as a fast tokenizer.")
    document = orjson.loads(path.read_bytes())
    kind = (document.get("model") or {}).get("type")
    if kind not in {"BPE", None}:
        raise UserError(
            f"{folder}: the tokenizer type {kind} cannot be exported as GGUF. Only BPE is supported.",
            hint=USE_CONVERTER,
        )
    return validated(TokenizerFile, document, path)


def validated(model: type[M], document: Any, path: Path) -> M:
    """Return a foreign document as a model.

    Raises:
        ModelError: A value is missing or has the wrong type.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        raise ModelError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from None


def _tokens(document: TokenizerFile, n_rows: int) -> tuple[list[str], list[int]]:
    model = document.model
    named = {number: (token, NORMAL) for token, number in model.vocab.items()}
    if model.unk_token is not None:
        named[model.vocab[model.unk_token]] = (model.unk_token, UNKNOWN)
    for added in document.added_tokens:
        if named.get(added.id, ("", NORMAL))[1] != UNKNOWN:
            named[added.id] = (added.content, CONTROL if added.special else USER_DEFINED)
    if max(named) >= n_rows:
        raise UserError(
            f"The tokenizer has {max(named) + 1} tokens, but the embeddings have only {n_rows} rows, so added tokens "
            "would be lost.",
            hint="Resize the embeddings to the tokenizer, then train again.",
        )
    filled = [named.get(number, (f"[PAD{number}]", UNUSED)) for number in range(n_rows)]
    return [token for token, _ in filled], [kind for _, kind in filled]


def pre_tokenizer(document: TokenizerFile) -> str:
    """Return llama.cpp's name of the pre-tokenizer of a byte-level tokenizer.

    Raises:
        UserError: No name is known for its rule.
    """
    steps = (document.pre_tokenizer or TokenizerStep()).steps
    kinds = [step.type or "none" for step in steps]
    normalizer = document.normalizer.type if document.normalizer else None
    if normalizer not in {None, "NFC"}:
        raise UserError(f"A tokenizer with the normalizer {normalizer} cannot be exported as GGUF.", hint=USE_CONVERTER)
    if kinds == ["ByteLevel"] and steps[0].use_regex:
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and steps[0].individual_digits and steps[1].use_regex:
        return "smollm"
    split = kinds == ["Split", "ByteLevel"] and not steps[1].use_regex and steps[0].behavior == "Isolated"
    if split and (name := _RULES.get(steps[0].pattern.get("Regex", ""))):
        return name
    raise UserError(f"The GGUF export does not support the pre-tokenizer {' + '.join(kinds)}.", hint=USE_CONVERTER)


def end_ids(folder: Path) -> list[int]:
    """Return the ids that end an answer, the tokenizer's own end first.

    Raises:
        ModelError: A config may not be read.
    """
    ids = {token.content: token.id for token in read_tokenizer(folder).added_tokens}
    end = token_text(read_config(folder / "tokenizer_config.json").get("eos_token"))
    ends = [ids[end]] if end in ids else []
    for name in ("generation_config.json", "config.json"):
        listed = optional_config(folder, name).get("eos_token_id")
        ends += listed if isinstance(listed, list) else [listed] if isinstance(listed, int) else []
    return list(dict.fromkeys(ends))


def token_text(entry: Any) -> str | None:
    """Return the text of a special token in a tokenizer's config."""
    text = entry.get("content") if isinstance(entry, dict) else entry
    return text if isinstance(text, str) else None


@positional
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
ARCHITECTURES = {
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
_EXPERT = re.compile(r"(?P<experts>.+\.experts)\.(?P<number>\d+)\.(?P<part>\w+\.weight)")
# What llama.cpp takes for granted of Gemma 3: a layer in six sees everything, the others a window, each with its base.
_WINDOWED = 6
_LOCAL_BASE = 10000.0


class RopeConfig(BaseModel):
    """Settings of the rotary embedding; transformers 5 writes them together, 4 did not."""

    model_config = ConfigDict(extra="ignore")

    rope_type: str | None = None
    type: str | None = None
    rope_theta: float | None = None
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 1.0
    original_max_position_embeddings: float = 1.0
    full_attention: "RopeConfig | None" = None
    sliding_attention: "RopeConfig | None" = None

    @property
    def kind(self) -> str:
        return self.rope_type or self.type or "default"


class HfConfig(BaseModel):
    """The keys of config.json that a GGUF file takes over, or that it cannot store."""

    model_config = ConfigDict(extra="ignore")

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    rms_norm_eps: float
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    sliding_window: int | None = None
    use_sliding_window: bool | None = None
    attn_logit_softcapping: float | None = None
    final_logit_softcapping: float | None = None
    tie_word_embeddings: bool | None = None
    rope_parameters: RopeConfig | None = None
    rope_scaling: RopeConfig | None = None
    rope_theta: float = 10000.0
    rope_local_base_freq: float | None = None
    hidden_activation: str | None = None
    hidden_act: str | None = None
    layer_types: list[str] | None = None
    query_pre_attn_scalar: float | None = None
    use_bidirectional_attention: Any = None
    quantization_config: Any = None
    num_experts: int | None = None
    num_local_experts: int | None = None
    num_experts_per_tok: int | None = None
    moe_intermediate_size: int | None = None
    mlp_only_layers: list[int] | None = None
    decoder_sparse_step: int = 1
    norm_topk_prob: bool | None = None
    name_or_path: str | None = Field(None, alias="_name_or_path")

    @property
    def n_kv_heads(self) -> int:
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def n_experts(self) -> int:
        """Experts of a layer; transformers 5 writes `num_local_experts`."""
        return self.num_experts or self.num_local_experts or 0

    @property
    def head_size(self) -> int:
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def rope(self) -> RopeConfig:
        """The rotary embedding, with its base; Gemma 3 has others for its windows."""
        scaling = self.rope_parameters or self.rope_scaling or RopeConfig()
        scaling = scaling.full_attention or scaling
        return scaling.model_copy(update={"rope_theta": scaling.rope_theta or self.rope_theta})


class GgufModel:
    """A Hugging Face folder, as keys and tensors of a GGUF file.

    Args:
        folder: Holds config.json and safetensors.

    Raises:
        UserError: Its architecture, or one of its settings, is not supported.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        named = (read_config(folder / "config.json").get("architectures") or ["none"])[0]
        if named not in ARCHITECTURES:
            raise UserError(
                (
                    f"The {named} architecture cannot be exported as GGUF. Supported architectures are "
                    f"{', '.join(ARCHITECTURES)}."
                ),
                hint=USE_CONVERTER,
            )
        self.architecture, self.config = (
            ARCHITECTURES[named],
            validated(HfConfig, read_config(folder / "config.json"), folder / "config.json"),
        )
        self.places = tensors_of(folder)
        for setting, occurs in self._lost():
            if occurs:
                raise UserError(f"The GGUF export does not support {setting}.", hint=USE_CONVERTER)

    @property
    def n_rows(self) -> int:
        """Rows of the embeddings: at least as many as there are tokens."""
        return next(place.shape[0] for name, place in self.places.items() if name.endswith("embed_tokens.weight"))

    def values(self) -> dict[str, int | float | str]:
        """Return the keys of the config that llama.cpp reads, each with its value."""
        config, name, rope = self.config, self.architecture.name, self.config.rope
        values: dict[str, int | float | str | None] = {
            "block_count": config.num_hidden_layers,
            "context_length": config.max_position_embeddings,
            "embedding_length": config.hidden_size,
            "feed_forward_length": config.intermediate_size,
            "attention.head_count": config.num_attention_heads,
            "attention.head_count_kv": config.n_kv_heads,
            "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
            "rope.freq_base": rope.rope_theta,
            "vocab_size": self.n_rows,
        }
        if self.architecture.own_head_size or config.head_size * config.num_attention_heads != config.hidden_size:
            values |= {"attention.key_length": config.head_size, "attention.value_length": config.head_size}
        if rope.kind == "linear":
            values |= {"rope.scaling.type": "linear", "rope.scaling.factor": rope.factor}
        match name:
            case "llama":
                values["rope.dimension_count"] = config.head_size
                if config.sliding_window:  # llama.cpp knows no window, so the file promises no more context
                    values["context_length"] = min(config.max_position_embeddings, config.sliding_window)
            case "gemma2":
                values["attn_logit_softcapping"] = config.attn_logit_softcapping
                values["final_logit_softcapping"] = config.final_logit_softcapping
                values["attention.sliding_window"] = config.sliding_window
            case "gemma3":
                values["attention.sliding_window"] = config.sliding_window
            case "qwen3moe":
                values["expert_count"] = config.n_experts
                values["expert_used_count"] = config.num_experts_per_tok
                values["expert_feed_forward_length"] = config.moe_intermediate_size
        return {f"{name}.{key}": value for key, value in values.items() if value is not None}

    def tensors(self) -> Iterator[Tensor]:
        """Yield every tensor of the file, in the order of the source.

        Raises:
            UserError: A tensor of the source has no place in the file.
        """
        import gguf

        arch = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == self.architecture.name)
        names = gguf.get_tensor_name_map(arch, self.config.num_hidden_layers)
        tied = self.config.tie_word_embeddings
        tied = self.architecture.name.startswith("gemma") if tied is None else tied
        if self.config.rope.kind == "llama3":
            yield Tensor("rope_freqs.weight", (self.config.head_size // 2,), self._llama3_factors)
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
                    hint=USE_CONVERTER,
                )
            if expert is None:
                yield Tensor(target, place.shape, self._reader(name, place))
                continue
            each = [
                self.places[f"{expert['experts']}.{number}.{expert['part']}"] for number in range(self.config.n_experts)
            ]
            yield Tensor(
                target,
                (len(each), *place.shape),
                partial(lambda places: np.stack([one.read() for one in places]), each),
            )

    def _reader(self, name: str, place: Place) -> Callable[[], Floats32]:
        q, k = name.endswith(("q_proj.weight", "q_proj.bias")), name.endswith(("k_proj.weight", "k_proj.bias"))
        if self.architecture.permute and (q or k):
            heads = self.config.num_attention_heads if q else self.config.n_kv_heads
            return lambda: permuted(place.read(), heads)
        if self.architecture.norm_offset and name.endswith("norm.weight"):
            return lambda: place.read() + self.architecture.norm_offset
        return place.read

    def _llama3_factors(self) -> Floats32:
        """Return the divisor per frequency, ``(head_size / 2,)``.

        Source: transformers modeling_rope_utils.py, `_compute_llama3_parameters`.
        """

        rope, size = self.config.rope, self.config.head_size
        factor, low, high = rope.factor, rope.low_freq_factor, rope.high_freq_factor
        old = rope.original_max_position_embeddings
        waves = 2 * pi * (rope.rope_theta or 0.0) ** (np.arange(0, size, 2, dtype=np.float64) / size)
        smooth = (old / waves - low) / (high - low)
        between = 1 / ((1 - smooth) / factor + smooth)
        return np.where(waves < old / high, 1.0, np.where(waves > old / low, factor, between)).astype(np.float32)

    def _lost(self) -> Iterator[tuple[str, object]]:
        config, name, kind = self.config, self.architecture.name, self.config.rope.kind
        wanted = "gelu" if name.startswith("gemma") else "silu"
        activation = config.hidden_activation or config.hidden_act or wanted
        yield f"RoPE scaling {kind}", kind not in {"default", "linear", "llama3"}
        yield "sliding-window attention (use_sliding_window)", config.use_sliding_window
        yield "weights that are already quantised", config.quantization_config
        yield f"the activation function {activation}", not activation.startswith(wanted)
        if name == "gemma3":
            layers = [("full" if (n + 1) % _WINDOWED == 0 else "sliding") + "_attention"
                      for n in range(config.num_hidden_layers)]  # fmt: skip
            local = config.rope_parameters and config.rope_parameters.sliding_attention
            base = (local and local.rope_theta) or config.rope_local_base_freq or _LOCAL_BASE
            scalar = config.query_pre_attn_scalar or config.head_size
            yield "Gemma 3 without one layer of full attention in six", (config.layer_types or layers) != layers
            yield f"Gemma 3 with a RoPE base other than 10000 in its windows, not {base}", base != _LOCAL_BASE
            yield f"Gemma 3 with attention scaled not by the head size, but by {scalar:g}", scalar != config.head_size
            yield "soft-capped logits of Gemma 3", config.attn_logit_softcapping or config.final_logit_softcapping
            yield "bidirectional attention", config.use_bidirectional_attention
        if name == "qwen3moe":
            yield (
                "layers without experts (experts only in all layers)",
                (config.mlp_only_layers or config.decoder_sparse_step != 1),
            )
            yield "experts whose weights do not sum to 1 (norm_topk_prob)", not config.norm_topk_prob


def permuted(rows: Floats32, n_heads: int) -> Floats32:
    """Reorder the rows of q or k from halves (Hugging Face) to pairs (llama.cpp).

    Args:
        rows: ``(n_heads * head_size, ...)``.

    >>> import numpy as np
    >>> permuted(np.arange(4.0, dtype=np.float32), 1).tolist()
    [0.0, 2.0, 1.0, 3.0]
    """
    return rows.reshape(n_heads, 2, rows.shape[0] // n_heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)
