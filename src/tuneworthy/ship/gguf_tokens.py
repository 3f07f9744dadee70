"""The tokenizer of a Hugging Face folder as keys of a GGUF file.

llama.cpp knows pre-tokenizers by name and not by rule, so a tokenizer is written only if its rule is one of those whose
name is known; `parity` then compares the ids on real prompts.

Source: llama.cpp convert_hf_to_gguf.py (get_vocab_base, get_vocab_base_pre), src/llama-vocab.cpp.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from tuneworthy.errors import UserError
from tuneworthy.providers.model_safety import read_config
from tuneworthy.ship import messages

# llama.cpp's types of tokens.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# Regular expression of a pre-tokenizer to the name that llama.cpp knows it by.
_RULES: Final[Mapping[str, str]] = {_LETTERS + "{1,3}" + _REST: "llama-bpe", _LETTERS + _REST: "qwen2"}
_SPACE: Final = "\u2581"
_BYTE_TOKEN: Final = re.compile("<0x..>", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
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
    model = document["model"]
    if model.get("type") not in {"BPE", None}:
        raise UserError(
            (f"{folder}: the tokenizer type {model.get('type')} cannot be exported as GGUF. Only BPE is supported."),
            hint=messages.USE_CONVERTER,
        )
    tokens, types = _tokens(folder, document, n_rows)
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    if not model.get("byte_fallback"):
        return Vocabulary(model="gpt2", pre=pre_tokenizer(document), tokens=tokens, types=types,
                          merges=[" ".join(pair) for pair in pairs])  # fmt: skip
    rank = {"".join(pair): -float(place) for place, pair in reversed(list(enumerate(pairs, 1)))}
    scores = [rank.get(token, 0.0 if kind != NORMAL else -float(len(pairs) + 1))
              for token, kind in zip(tokens, types, strict=True)]  # fmt: skip
    pairs_of = zip(tokens, types, strict=True)
    types = [BYTE if kind == NORMAL and _BYTE_TOKEN.fullmatch(token) else kind for token, kind in pairs_of]
    return Vocabulary(model="llama", pre="default", tokens=tokens, types=types, scores=scores,
                      add_space=_adds_space(document))  # fmt: skip


def read_tokenizer(folder: Path) -> dict[str, Any]:
    """Return tokenizer.json.

    Raises:
        UserError: The file is missing.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"{path} is missing.", hint="Save the tokenizer with transformers as a fast tokenizer.")
    document: dict[str, Any] = orjson.loads(path.read_bytes())
    return document


def _tokens(folder: Path, document: Mapping[str, Any], n_rows: int) -> tuple[list[str], list[int]]:
    model = document["model"]
    named = {number: (token, NORMAL) for token, number in model["vocab"].items()}
    if (unknown := model.get("unk_token")) is not None:
        named[model["vocab"][unknown]] = (unknown, UNKNOWN)
    for added in document.get("added_tokens", []):
        kind = CONTROL if added["special"] else USER_DEFINED
        if named.get(added["id"], ("", NORMAL))[1] != UNKNOWN:
            named[added["id"]] = (added["content"], kind)
    if max(named) >= n_rows:
        raise UserError(
            (
                f"The tokenizer has {max(named) + 1} tokens, but the embeddings have only {n_rows} rows, so added "
                "tokens would be lost."
            ),
            hint=messages.RESIZE_EMBEDDINGS,
        )
    filled = [named.get(number, (f"[PAD{number}]", UNUSED)) for number in range(n_rows)]
    return [token for token, _ in filled], [kind for _, kind in filled]


def pre_tokenizer(document: Mapping[str, Any]) -> str:
    """Return llama.cpp's name of the pre-tokenizer of a byte-level tokenizer.

    Raises:
        UserError: No name is known for its rule.
    """
    root = document.get("pre_tokenizer") or {}
    steps = root.get("pretokenizers", [root])
    kinds = [step.get("type") or "none" for step in steps]
    normalizer = (document.get("normalizer") or {}).get("type")
    if normalizer not in {None, "NFC"}:
        raise UserError(
            f"A tokenizer with the normalizer {normalizer} cannot be exported as GGUF.",
            hint=messages.USE_CONVERTER,
        )
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits") and steps[1].get("use_regex", True):
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and not steps[1].get("use_regex", True):
        rule = steps[0].get("pattern", {}).get("Regex")
        if rule in _RULES and steps[0].get("behavior") == "Isolated":
            return _RULES[rule]
    raise UserError(
        f"The GGUF export does not support the pre-tokenizer {' + '.join(map(str, kinds))}.",
        hint=messages.USE_CONVERTER,
    )


def _adds_space(document: Mapping[str, Any]) -> bool:
    normalizer = document.get("normalizer") or {}
    steps = [*normalizer.get("normalizers", [normalizer]), document.get("pre_tokenizer") or {}]
    if any(step.get("type") == "Prepend" and step.get("prepend") == _SPACE for step in steps):
        return True
    return any(step.get("type") == "Metaspace" and step.get("prepend_scheme", "always") != "never" for step in steps)


def end_ids(folder: Path) -> list[int]:
    """Return the ids that end an answer, the tokenizer's own end first.

    Raises:
        ModelError: A config may not be read.
    """
    ids = {token["content"]: token["id"] for token in read_tokenizer(folder).get("added_tokens", [])}
    end = token_text(read_config(folder / "tokenizer_config.json").get("eos_token"))
    ends = [ids[end]] if end in ids else []
    for name in ("generation_config.json", "config.json"):
        if (folder / name).is_file():
            listed = read_config(folder / name).get("eos_token_id")
            ends += listed if isinstance(listed, list) else [listed] if isinstance(listed, int) else []
    return list(dict.fromkeys(ends))


def token_text(entry: Any) -> str | None:
    """Return the text of a special token as a tokenizer's config holds it."""
    text = entry.get("content") if isinstance(entry, dict) else entry
    return text if isinstance(text, str) else None
