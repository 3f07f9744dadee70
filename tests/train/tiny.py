"""A tiny model, tokenizer and template for tests of training; `write_tiny` needs torch and transformers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for turn in messages %}<{{ turn.role }}>{{ turn.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
SPECIAL = ["<pad>", "<system>", "<user>", "<assistant>", "<end>"]
LETTERS = [chr(code) for code in range(32, 127)]
VOCAB = {text: at for at, text in enumerate([*SPECIAL, *LETTERS])}
END = VOCAB["<end>"]
_PIECES = re.compile("|".join(map(re.escape, SPECIAL)) + "|.", re.DOTALL)


class Letters:
    """A tokenizer of letters, with what `render` asks of one."""

    all_special_tokens = SPECIAL

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        ids = [VOCAB[piece] for piece in _PIECES.findall(text)]
        return {"input_ids": [END, *ids] if add_special_tokens else ids}

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool) -> str:
        return "".join(list(VOCAB)[at] for at in token_ids)

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        return [list(VOCAB)[at] for at in ids]


def write_tiny(folder: Path, *, dtype: str = "float32", seed: int = 0, tied: bool = True) -> Any:
    """Write a random Llama of two layers with its tokenizer; return the tokenizer. Tied, it says the same again."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(VOCAB),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        eos_token_id=END,
        pad_token_id=0,
        tie_word_embeddings=tied,
    )
    LlamaForCausalLM(config).to(getattr(torch, dtype)).save_pretrained(folder)
    inner = Tokenizer(models.WordLevel(VOCAB, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    inner.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        eos_token="<end>",
        additional_special_tokens=["<system>", "<user>", "<assistant>"],
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return tokenizer


def write_tiny_encoder(folder: Path, words: Sequence[str] = (), *, seed: int = 0) -> None:
    """Write a random BERT of two layers whose vocabulary has letters, digits and `words`."""
    import torch
    from transformers import BertConfig, BertModel

    signs = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *dict.fromkeys([*signs, *words]), *(f"##{sign}" for sign in signs)]
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
