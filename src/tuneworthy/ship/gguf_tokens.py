"""The tokenizer of a Hugging Face folder as keys of a GGUF file.

llama.cpp knows pre-tokenizers by name and not by rule, so a tokenizer is written only if its rule is one of those whose
name is known; `parity` then compares the ids on real prompts.

Source: llama.cpp convert_hf_to_gguf.py (get_vocab_base, get_vocab_base_pre), src/llama-vocab.cpp.
"""

import re
from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import AliasChoices, BaseModel, Field, ValidationError

from tuneworthy.errors import ModelError, UserError
from tuneworthy.providers.model_safety import optional_config, read_config
from tuneworthy.types import JsonObject, frozen

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
